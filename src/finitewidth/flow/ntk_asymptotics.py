r"""How the NTK of one input and its fluctuations grow with depth: exponents and amplitudes.

    observable ~ amplitude * (1/l)^p                                           PDLT (9.22)

for Theta, D, F, B and A. Class K* = 0, from C_W g = K - c K^(1+q), chi_perp = 1 - b K^q,
q_4 = N K^2 and d_4 = m at small K, with the balanced rates lambda_b = tilde_b l^-p_perp,
lambda_W = tilde_W l^(p_0 - p_perp), p_0 = 1/q, p_perp = b/(q c), PDLT (9.70):

    K ~ kappa l^-p_0,   kappa = (q c)^-p_0,   V ~ v K^2 l,   v = N/3
    w = tilde_W kappa/C_W,   X = tilde_b + w,   Y = q p_perp X - w
    Theta ~ X l^(1-p_perp)                                                     PDLT (9.71)
    F ~ m kappa X/(4 + p_0 - p_perp) l^(2-p_0-p_perp)                           PDLT (9.81)
    B ~ m X^2/3 l^(3-2 p_perp)                                                 PDLT (9.82)
    D ~ (kappa/3) [(m-1) X - v Y] l^(2-p_0-p_perp)                              PDLT (9.84)
    A ~ (1/3) {(m-1) X^2 - (2 Y/3) [(m-1) X - v Y]} l^(3-2 p_perp)               PDLT (9.86)

The book has q = 1, m = 1, v = 2/3; the other cases (sigma kinked at 0) are derived in the same way.
Scale-invariant and half-stable classes: the leading terms of `finitewidth.flow.ntk_closed_forms`.
"""

import math
from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import ArrayLike

from finitewidth.activations import Activation
from finitewidth.criticality import Asymptotic, Universality, classify
from finitewidth.criticality.moments import described
from finitewidth.flow.ntk_closed_forms import check_layers
from finitewidth.flow.ntk_one_input_moments import fourth_slope_at_zero, layer_moments
from finitewidth.flow.ntk_one_input_tensors import OneInputTensors
from finitewidth.precision import in_double_precision


@in_double_precision
def ntk_asymptotics(
    activation: str | Activation | Callable,
    mean_square: float = 1.0,
    lambda_b: float = 1.0,
    lambda_W: float = 1.0,
) -> tuple[Asymptotic, ...]:
    """Return exponents and amplitudes of Theta, D, F, B and A deep in a critical network.

    PDLT (9.44)-(9.52) scale-invariant, (9.71)-(9.86) K* = 0, derived for the half-stable class
    while its kernel stays at K*.

    Args:
        activation: name, `Activation` or elementwise JAX function.
        mean_square: |x|^2/n_0; matters for the scale-invariant class alone.
        lambda_b: relative learning rate of biases; tilde_b of (9.70) for the class K* = 0.
        lambda_W: relative learning rate of weights; tilde_W for the class K* = 0.

    Returns:
        Entries p_Theta, p_D, p_F, p_B, p_A; empty if no critical point exists. Where powers hold
        only up to logarithms, or not at all, exponents and amplitudes are None.

    Example:
        >>> {law.name: law.exponent for law in ntk_asymptotics("tanh")}
        {'p_Theta': 0.0, 'p_D': 0.0, 'p_F': 0.0, 'p_B': -1.0, 'p_A': -1.0}
    """
    sigma = described(activation)
    universality = classify(sigma)
    if universality.name == "scale-invariant":
        return _scale_invariant(universality, mean_square, lambda_b, lambda_W)
    if universality.name == "K*=0":
        return _decaying(sigma, universality, lambda_b, lambda_W)
    if universality.name == "half-stable":
        return _pinned(sigma, universality, lambda_b, lambda_W)
    return ()


@in_double_precision
def decaying_ntk(
    activation: str | Activation | Callable,
    layer: ArrayLike,
    lambda_b: float = 1.0,
    lambda_W: float = 1.0,
) -> OneInputTensors:
    """Return the leading NTK tensors of the class K* = 0 at balanced rates, PDLT (9.65)-(9.86).

    Args:
        activation: of the class K* = 0 with power laws (tanh, sin, elu, ...).
        layer: layers l >= 1, rank 0 or 1.
        lambda_b: tilde_b, the rate of biases in layer 1.
        lambda_W: tilde_W, the rate of weights in layer 1.

    Returns:
        The power laws at these layers; relative corrections are O(log l/l) for a smooth sigma.

    Raises:
        ValueError: if the activation is not of this class or has logarithms instead of powers.

    Example:
        >>> float(decaying_ntk("sin", 300).F[0])
        0.5
    """
    sigma = described(activation)
    universality = classify(sigma)
    entries = universality.asymptotics + ntk_asymptotics(sigma, 1.0, lambda_b, lambda_W)
    laws = {entry.name: entry for entry in entries}
    if universality.name != "K*=0" or laws["p_A"].amplitude is None:
        raise ValueError(
            "activation: wanted one of the class K*=0 with power laws (tanh, sin, ...), got "
            f"{sigma.name}, class {universality.name} ({universality.subclass})."
        )
    layer = check_layers(layer)

    def law(name: str):
        exponent, amplitude = laws[name].exponent, laws[name].amplitude
        assert exponent is not None and amplitude is not None
        return amplitude * layer**-exponent

    names = ("p_0", "p_Theta", "p_V", "p_D", "p_F", "p_B", "p_A")
    return OneInputTensors(layer, *(law(name) for name in names))


def rate_exponents(universality: Universality) -> tuple[float, float] | None:
    """Return (p_0, p_perp) of the balanced rates of the class K* = 0, PDLT (9.70).

    p_perp is the exponent of prod chi_perp, b/(q c); None where there are no power laws.
    """
    q, c, b = (universality.constants.get(name, math.inf) for name in "qcb")
    if universality.name != "K*=0" or math.isinf(q) or math.isinf(b):
        return None
    # b and c may come from a fit that is good to 1e-10.
    return 1 / q, round(b / (q * c), 9)


def kernel_amplitude(universality: Universality) -> float:
    """Return kappa of K ~ kappa l^-p_0, class K* = 0 with power laws, PDLT (9.65)."""
    q, c = universality.constants["q"], universality.constants["c"]
    return (q * c) ** (-1 / q)


def _scale_invariant(
    universality: Universality, mean_square: float, lambda_b: float, lambda_W: float
) -> tuple[Asymptotic, ...]:
    A_2, A_4 = universality.constants["A_2"], universality.constants["A_4"]
    a, u, K = A_4 / A_2**2, lambda_W * mean_square, mean_square / A_2
    X = lambda_b + u
    A = ((a - 1) * lambda_b * (lambda_b + 3 * u) + (5 * a - 3) * u**2) / 3
    D = ((a - 1) * lambda_b + (4 * a - 2) * u) * K / 2
    return (
        Asymptotic("p_Theta", -1.0, X, "Theta = (lambda_b + u) l", "PDLT (9.44)"),
        Asymptotic("p_D", -2.0, D, "D ~ l^2", "PDLT (9.49)-(9.52)"),
        Asymptotic("p_F", -2.0, a * X * K / 2, "F ~ (a/2) K* X l^2", "PDLT (9.49)-(9.52)"),
        Asymptotic("p_B", -3.0, a * X**2 / 3, "B ~ (a/3) X^2 l^3", "PDLT (9.49)-(9.52)"),
        Asymptotic("p_A", -3.0, A, "A ~ l^3", "PDLT (9.52)"),
    )


def _decaying(
    sigma: Activation, universality: Universality, lambda_b: float, lambda_W: float
) -> tuple[Asymptotic, ...]:
    exponents = rate_exponents(universality)
    if exponents is None:
        law = "no power of the depth: use single_input_ntk"
        return tuple(
            Asymptotic(f"p_{name}", None, None, law, "derived")
            for name in ("Theta", "D", "F", "B", "A")
        )
    p_0, p_perp = exponents
    C_W = universality.tuning.points[0].C_W
    m = C_W**2 * fourth_slope_at_zero(sigma)
    v, q = universality.constants["N"] / 3, 1 / p_0
    kappa = kernel_amplitude(universality)
    w = lambda_W * kappa / C_W
    X = lambda_b + w
    Y = q * p_perp * X - w
    drive = (m - 1) * X - v * Y
    book = universality.subclass == "smooth" and q == 1

    def reference(number: str) -> str:
        return f"PDLT ({number})" if book else "derived"

    linear, square = p_0 + p_perp - 2, 2 * p_perp - 3
    F = m * kappa * X / (4 + p_0 - p_perp)
    A = ((m - 1) * X**2 - 2 / 3 * Y * drive) / 3
    return (
        Asymptotic("p_Theta", p_perp - 1, X, "Theta ~ X l^(1-p_perp)", reference("9.71")),
        Asymptotic("p_D", linear, kappa / 3 * drive, "D ~ K Theta l", reference("9.84")),
        Asymptotic("p_F", linear, F, "F ~ K Theta l/(4+p_0-p_perp)", reference("9.81")),
        Asymptotic("p_B", square, m * X**2 / 3, "B ~ Theta^2 l/3", reference("9.82")),
        Asymptotic("p_A", square, A, "A ~ Theta^2 l", reference("9.86")),
    )


def _pinned(
    sigma: Activation, universality: Universality, lambda_b: float, lambda_W: float
) -> tuple[Asymptotic, ...]:
    point = universality.tuning.points[0]
    C_W, at = point.C_W, layer_moments(sigma, jnp.asarray(point.K_star))
    g, h, q_4 = float(at.value), C_W * float(at.slope_rate) / 2, C_W**2 * float(at.value_variance)
    s_2, d_4 = C_W**2 * float(at.mixed), C_W**2 * float(at.fourth_slope)
    X = lambda_b + lambda_W * g
    while_pinned = "derived, while K = K*"
    return (
        Asymptotic("p_Theta", -1.0, X, "Theta = X l", while_pinned),
        Asymptotic("p_D", -3.0, 2 / 3 * h * X * q_4, "D ~ (2/3) h X q_4 l^3", while_pinned),
        Asymptotic("p_F", -2.0, s_2 * X / 2, "F ~ (s_2/2) X l^2", while_pinned),
        Asymptotic("p_B", -3.0, d_4 * X**2 / 3, "B ~ (d_4/3) X^2 l^3", while_pinned),
        Asymptotic(
            "p_A", -5.0, 8 / 15 * h**2 * X**2 * q_4, "A ~ (8/15) h^2 X^2 q_4 l^5", while_pinned
        ),
    )
