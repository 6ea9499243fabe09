r"""Robustness deep in a critical network: powers of the depth, and which learning rates tame them.

Class K* = 0, sigma smooth at 0, with Taylor coefficients sigma_1, sigma_2, a_1 and p = p_perp =
b_1/a_1 <= 1, equal norms, ddK_[2] = delta^2 l^-p, PDLT (10.71), (10.72), at the output l = L:

rates of the equivalence principle (10.74), T = lambda_b + lambda_W sigma_1^2/(-a_1),
    Theta_00 = T,   ddTheta_[2] = delta^2 [lambda_W sigma_1^2 + T sigma_2^2/sigma_1^2] L^(1-p)/(2-p)
    robustness = -(2 delta^2/(2-p)) [lambda_W sigma_1^2/T + sigma_2^2/sigma_1^2] L^(1-p)
                                                                    PDLT (10.75), (10.77), (10.78)
layer-independent rates, Theta_00 = lambda_b L/(1+p)                               PDLT (10.79)
    sigma_2 = 0:  ddTheta_[2] = delta^2 [lambda_W sigma_1^2 + (-a_1) lambda_b/2]
                  robustness = -delta^2 [4 lambda_W sigma_1^2/lambda_b + 2 (-a_1)]/L
                                                               PDLT (10.80), (10.81), corrected
    otherwise:    ddTheta_[2] = delta^2 (sigma_2/sigma_1)^2 lambda_b L^(2-p)/(2 (1+p))    derived
                  robustness = -delta^2 (sigma_2/sigma_1)^2 L^(1-p)                       derived

The book prints (10.80) and (10.81) without their second terms, which are of the same order. Deep
limits are approached like log(L)/L.

Half-stable class, K^(1) = K*, layer-independent rates, T = lambda_b + lambda_W g, r = <sigma''^2>,
s' = d<sigma'^2>/dK, all at K* (derived):

    Theta_00 = l T,   ddTheta_[2] = delta^2 [(lambda_W/C_W) l + C_W r T l(l-1)/2]
    ddTheta_[0] = delta^2 C_W (s' - r) T l(l-1)/2
"""

from collections.abc import Callable
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp

from finitewidth.activations import Activation
from finitewidth.criticality import classify
from finitewidth.criticality.moments import OneInput, described
from finitewidth.flow import NearbyNTK
from finitewidth.gaussian import ActivationProduct, single_moment
from finitewidth.precision import in_double_precision
from finitewidth.validation import check_count


class DeepRobustness(eqx.Module):
    """Leading powers of the depth L at the output, class K* = 0; delta^2 is the limit of ddK_2 l^p.

    Attributes:
        p_perp: p of ddK_2 = delta^2 l^-p.
        ntk: Theta_00 = ntk L^ntk_power.
        ntk_power: see `ntk`.
        spread: ddTheta_2 = spread delta^2 L^spread_power.
        spread_power: see `spread`.
        coefficient: robustness = coefficient delta^2 L^power.
        power: see `coefficient`; positive means that deep networks are less robust.
    """

    p_perp: float
    ntk: float
    ntk_power: float
    spread: float
    spread_power: float
    coefficient: float
    power: float

    def __repr__(self) -> str:
        return (
            f"Robustness {self.coefficient:.6g} delta^2 L^{self.power:.4g}, "
            f"Theta_00 {self.ntk:.6g} L^{self.ntk_power:.4g}, "
            f"ddTheta_2 {self.spread:.6g} delta^2 L^{self.spread_power:.4g}"
        )


@in_double_precision
def robustness_exponent(
    activation: str | Activation | Callable,
    rates: Literal["equivalence", "constant"] = "equivalence",
    lambda_b: float = 1.0,
    lambda_W: float = 1.0,
) -> DeepRobustness:
    """Return how robustness goes with depth in critical networks of the class K* = 0.

    PDLT (10.75)-(10.81), the last two corrected.

    Args:
        activation: name, `Activation` or elementwise JAX function, smooth at 0.
        rates: "equivalence" for lambda_b l^-p L^(p-1), lambda_W (L/l)^(p-1), PDLT (10.74), or
            "constant" for the same in all layers.
        lambda_b: tilde lambda_b; positive for "constant".
        lambda_W: tilde lambda_W.

    Returns:
        Amplitudes and powers.

    Raises:
        ValueError: for an activation of another class, or rates that are not as wanted.

    Example:
        >>> robustness_exponent("tanh", "equivalence", 0.7, 1.1)
        Robustness -1.76 delta^2 L^0, Theta_00 1.25 L^0, ddTheta_2 1.1 delta^2 L^0
        >>> robustness_exponent("tanh", "constant", 0.7, 1.1)
        Robustness -10.2857 delta^2 L^-1, Theta_00 0.35 L^1, ddTheta_2 1.8 delta^2 L^0
    """
    sigma = described(activation)
    found = classify(sigma)
    taylor = sigma.taylor(2)
    if found.name != "K*=0" or found.subclass != "smooth" or taylor is None:
        raise ValueError(
            f"activation: wanted one of the class K*=0 that is smooth at 0, got {sigma.name}, "
            f"class {found.name} ({found.subclass}); see `finite_angle_flow` and `half_stable_ntk`."
        )
    if not (lambda_b >= 0 and lambda_W >= 0 and lambda_b + lambda_W > 0):
        raise ValueError(
            f"lambda_b, lambda_W: wanted rates >= 0, not both 0, got {lambda_b} and {lambda_W}."
        )
    a_1, b_1 = found.constants["a_1"], found.constants["b_1"]
    p, slope = b_1 / a_1, taylor[1] ** 2
    bend = (taylor[2] / taylor[1]) ** 2
    if rates == "equivalence":
        T = lambda_b + lambda_W * slope / -a_1
        spread = (lambda_W * slope + bend * T) / (2 - p)
        return DeepRobustness(p, T, 0.0, spread, 1 - p, -2 * spread / T, 1 - p)
    if rates != "constant":
        raise ValueError(f"rates: wanted 'equivalence' or 'constant', got {rates!r}.")
    if not lambda_b > 0:
        raise ValueError(f"lambda_b: wanted a positive rate for constant rates, got {lambda_b}.")
    T = lambda_b / (1 + p)
    if bend == 0:
        spread = lambda_W * slope - a_1 * lambda_b / 2
        return DeepRobustness(p, T, 1.0, spread, 0.0, -2 * spread / T, -1.0)
    spread = bend * T / 2
    return DeepRobustness(p, T, 1.0, spread, 2 - p, -bend, 1 - p)


@in_double_precision
def half_stable_ntk(
    activation: str | Activation | Callable,
    depth: int,
    lambda_b: float = 1.0,
    lambda_W: float = 1.0,
) -> NearbyNTK:
    """Return the NTK of two nearby inputs of equal norms in a half-stable network on K* (derived).

    Args:
        activation: of the half-stable class (GELU, SWISH, ...), at its critical hyperparameters.
        depth: number of layers L.
        lambda_b: learning rate of biases, the same in all layers.
        lambda_W: of weights.

    Returns:
        The components of layers 1 .. L in units of delta^2 = ddK_2, which does not change. The
        robustness -2 ddTheta_2/Theta_00 tends to -delta^2 C_W <sigma''^2> L.

    Raises:
        ValueError: for an activation of another class.

    Example:
        >>> found = half_stable_ntk("gelu", 12, 0.7, 1.1)
        >>> round(float(found.ddTheta_2[-1]), 4), round(float(found.midpoint_ntk[-1]), 4)
        (59.8796, 30.956)
    """
    sigma = described(activation)
    found = classify(sigma)
    if found.name != "half-stable":
        raise ValueError(
            f"activation: wanted one of the half-stable class, got {sigma.name}, class "
            f"{found.name}."
        )
    point = found.tuning.points[0]
    assert point.K_star is not None
    K, C_W = jnp.asarray(point.K_star), point.C_W
    T = lambda_b + lambda_W * OneInput(sigma).value(K)
    r = single_moment(ActivationProduct(sigma, (2, 2)), K)
    _, s_rate = jax.jvp(
        lambda K: single_moment(ActivationProduct(sigma, (1, 1)), K), (K,), (jnp.ones_like(K),)
    )
    ell = jnp.arange(1.0, check_count(depth, "depth") + 1)
    pairs = ell * (ell - 1) / 2
    zero, one = jnp.zeros_like(ell), jnp.ones_like(ell)
    return NearbyNTK(
        midpoint=K * one,
        ddK_0=zero,
        dK_1=zero,
        ddK_2=one,
        midpoint_ntk=ell * T,
        ddTheta_0=C_W * (s_rate - r) * T * pairs,
        dTheta_1=zero,
        ddTheta_2=lambda_W / C_W * ell + C_W * r * T * pairs,
    )
