r"""The NTK tensors of one input in closed form, one function for each universality class.

Scale-invariant, C_b = 0, PDLT (9.43)-(9.53) and their form off criticality (derived); with
a = A_4/A_2^2, chi = C_W A_2, u = lambda_W |x|^2/n_0, theta_l = lambda_b sum_{k=1}^l chi^(1-k) + u l
(so theta_l = (lambda_b + u) l at criticality) and sums over layers k = 1 .. l-1,

    K = C_W (|x|^2/n_0) chi^(l-1),      Theta = chi^(l-1) theta_l
    V = (3a-1) (l-1) K^2,               F = K chi^(l-1) a sum_{k<l} theta_k,
    B = chi^(2l-2) a sum_{k<l} theta_k^2
    D = K chi^(l-1) d_l,                d_l = sum_{k<l} [(3a-1) u k + (a-1) theta_k]
    A = chi^(2l-2) sum_{k<l} [2 u d_(k+1) - (3a-1) u^2 k + (a-1) theta_k^2]

At a fixed point K* with chi_parallel = chi_perp = 1, which covers the half-stable class, everything
is a polynomial in l; with S_j = binomial(l, j), X = lambda_b + lambda_W g*, rho = lambda_W/C_W,

    Theta = X l,   V = q_4 (l-1),   F = s_2 X S_2,   B = d_4 X^2 (S_2 + 2 S_3)
    D = (rho q_4 + X q_2) S_2 + 4 h X q_4 S_3,       A = see `pinned_ntk`.

K* = 0 class: `finitewidth.flow.ntk_asymptotics`.
"""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from finitewidth.activations import Activation
from finitewidth.criticality import classify
from finitewidth.criticality.moments import described, slopes
from finitewidth.flow.ntk_one_input_moments import layer_moments
from finitewidth.flow.ntk_one_input_tensors import OneInputTensors
from finitewidth.precision import in_double_precision


@in_double_precision
def scale_invariant_ntk(
    activation: str | Activation | Callable,
    layer: ArrayLike,
    mean_square: float = 1.0,
    C_W: float | None = None,
    lambda_b: float = 1.0,
    lambda_W: float = 1.0,
) -> OneInputTensors:
    """Return the NTK tensors of a scale-invariant activation, exact in depth, at uniform rates.

    PDLT (9.43)-(9.53) at criticality; formulas of this module off it. Uniform widths, C_b = 0.

    Args:
        activation: scale-invariant: linear, relu, leaky_relu(a), abs.
        layer: layers l >= 1, any shape of rank 0 or 1; whole numbers.
        mean_square: |x|^2/n_0.
        C_W: rescaled weight variance of every layer; None for the critical one, 1/A_2.
        lambda_b: relative learning rate of biases.
        lambda_W: relative learning rate of weights.

    Returns:
        The tensors at these layers. At criticality the cost does not depend on l; off criticality
        it is O(max l).

    Raises:
        ValueError: if the activation is not scale-invariant or a layer is not a number >= 1.

    Example:
        >>> tensors = scale_invariant_ntk("relu", 5, 0.835, lambda_b=0.6, lambda_W=1.2)
        >>> round(float(tensors.mean[0]), 3), round(float(tensors.A[0]), 3)
        (8.01, 291.801)
    """
    sigma = described(activation)
    if sigma.homogeneity != 1:
        raise ValueError(
            f"activation: wanted a scale-invariant one (linear, relu, ...), got {sigma.name}."
        )
    layer = check_layers(layer)
    plus, minus = slopes(sigma)
    A_2, A_4 = (plus**2 + minus**2) / 2, (plus**4 + minus**4) / 2
    a, u = A_4 / A_2**2, lambda_W * mean_square
    if C_W is None or C_W * A_2 == 1:
        return _critical(layer, mean_square / A_2, a, lambda_b, u)
    return _off_critical(layer, C_W * mean_square, C_W * A_2, a, lambda_b, u)


def _critical(ell: Array, K: float, a: float, lambda_b: float, u: float) -> OneInputTensors:
    S_1, S_2 = ell * (ell - 1) / 2, ell * (ell - 1) * (2 * ell - 1) / 6
    X = lambda_b + u
    return OneInputTensors(
        layer=ell,
        kernel=jnp.full_like(ell, K),
        mean=X * ell,
        vertex=(3 * a - 1) * K**2 * (ell - 1),
        D=((a - 1) * lambda_b + (4 * a - 2) * u) * K * S_1,
        F=a * X * K * S_1,
        B=a * X**2 * S_2,
        # The second term is not in PDLT (9.52), which holds at leading order in depth.
        A=((a - 1) * lambda_b * (lambda_b + 3 * u) + (5 * a - 3) * u**2) * S_2
        + (a - 1) * u * X * S_1,
    )


def _off_critical(
    layer: Array, first: float, chi: float, a: float, lambda_b: float, u: float
) -> OneInputTensors:
    k = jnp.arange(1.0, float(np.max(layer)) + 1)
    growth = chi ** (k - 1)
    theta = lambda_b * jnp.cumsum(1 / growth) + u * k

    def below(terms: Array) -> Array:
        """Sum over the layers below each one."""
        return jnp.cumsum(terms) - terms

    d = below((3 * a - 1) * u * k + (a - 1) * theta)
    d_next = d + (3 * a - 1) * u * k + (a - 1) * theta
    alpha = below(2 * u * d_next - (3 * a - 1) * u**2 * k + (a - 1) * theta**2)
    K = first * growth
    values = (
        K,
        growth * theta,
        (3 * a - 1) * (k - 1) * K**2,
        K * growth * d,
        K * growth * a * below(theta),
        growth**2 * a * below(theta**2),
        growth**2 * alpha,
    )
    return OneInputTensors(layer, *(value[layer.astype(int) - 1] for value in values))


@in_double_precision
def pinned_ntk(
    activation: str | Activation | Callable,
    layer: ArrayLike,
    lambda_b: float = 1.0,
    lambda_W: float = 1.0,
) -> OneInputTensors:
    """Return the NTK tensors of a half-stable activation whose first kernel is placed on K*.

    There chi_parallel = chi_perp = 1 in every layer, but h does not vanish, so that D grows like
    l^3 and A like l^5: A/(n Theta^2) -> (8/15) h^2 q_4 l^3/n (derived; not in the book).

    Args:
        activation: of the half-stable class (gelu, silu, ...), at its critical C_b and C_W.
        layer: layers l >= 1, rank 0 or 1.
        lambda_b: relative learning rate of biases, the same in all layers.
        lambda_W: relative learning rate of weights.

    Returns:
        The tensors at these layers, exact in depth at uniform widths. Cost: O(1) for each layer.

    Raises:
        ValueError: if the activation is not of the half-stable class.

    Example:
        >>> tensors = pinned_ntk("gelu", [10, 1000], lambda_b=0.7, lambda_W=1.3)
        >>> [f"{float(r):.4g}" for r in tensors.ratios["A"] / tensors.layer]
        ['1.979', '784']
    """
    sigma = described(activation)
    universality = classify(sigma)
    if universality.name != "half-stable":
        raise ValueError(
            "activation: wanted one with a critical point at K* > 0 (gelu, silu, ...), got "
            f"{sigma.name}, class {universality.name}."
        )
    ell = check_layers(layer)
    point = universality.tuning.points[0]
    K, C_W = jnp.asarray(point.K_star), point.C_W
    at = layer_moments(sigma, K)
    g, h, q_4 = at.value, C_W * at.slope_rate / 2, C_W**2 * at.value_variance
    q_2, s_2, d_4 = (C_W**2 * x for x in (at.covariance, at.mixed, at.fourth_slope))
    X, rho = lambda_b + lambda_W * g, lambda_W / C_W
    # Binomials: the sum over layers below l of binomial(k, j) is binomial(l, j+1).
    S_2, S_3 = ell * (ell - 1) / 2, ell * (ell - 1) * (ell - 2) / 6
    S_4 = S_3 * (ell - 3) / 4
    S_5 = S_4 * (ell - 4) / 5
    D_2, D_3 = rho * q_4 + X * q_2, 4 * h * X * q_4  # D_k = D_2 binomial(k, 2) + D_3 binomial(k, 3)
    A = (
        (rho**2 * q_4 + 2 * rho * X * q_2 + X**2 * (d_4 - 1)) * S_2
        + (8 * rho * h * X * q_4 + 2 * rho * D_2 + 8 * h * X * D_2) * S_3
        + X**2 * (2 * (d_4 - 1) + 16 * h**2 * q_4) * S_3
        + (2 * rho * D_3 + 12 * h * X * (D_2 + D_3) + 24 * h**2 * q_4 * X**2) * S_4
        + 16 * h * X * D_3 * S_5
    )
    return OneInputTensors(
        layer=ell,
        kernel=jnp.full_like(ell, K),
        mean=X * ell,
        vertex=q_4 * (ell - 1),
        D=D_2 * S_2 + D_3 * S_3,
        F=s_2 * X * S_2,
        B=d_4 * X**2 * (S_2 + 2 * S_3),
        A=A,
    )


def check_layers(layer: ArrayLike) -> Float[Array, " layers"]:
    """Return layer numbers as a vector, or say what is wrong with them.

    Raises:
        ValueError: if they are not whole numbers >= 1.
    """
    numbers = np.atleast_1d(np.asarray(layer, dtype=float))
    if numbers.ndim != 1 or not (numbers >= 1).all() or (numbers != np.floor(numbers)).any():
        raise ValueError(f"layer: wanted whole numbers >= 1 in a list, got {layer}.")
    return jnp.asarray(numbers)
