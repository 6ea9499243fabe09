r"""Two inputs at a finite angle in a critical scale-invariant network: kernel, NTK, prediction.

With slopes a_pm, A_2 = (a_+^2 + a_-^2)/2, C_W = 1/A_2, C_b = 0, equal norms and K_d = K*,

    cos psi' = g(psi) = cos psi + rho (sin psi - psi cos psi)                         PDLT (10.86)
    Theta_d'  = Theta_d + lambda_b + lambda_W A_2 K*                                   PDLT (10.88)
    Theta_+-' = (1 - rho psi) Theta_+- + lambda_b + lambda_W A_2 K* g(psi)             PDLT (10.89)

cos zeta = Theta_+-/Theta_d is what the prediction keeps of the label. Trained on one label the
variance at the other input is

    C_-- = K* [(1 - cos zeta)^2 + 2 cos zeta (1 - cos psi)]                            PDLT (10.95)

Deep down, for every rho > 0 and equal rates in all layers, PDLT (10.90)-(10.95),

    psi l -> 3/rho,  cos zeta -> 1/4,  robustness -> -3/4,  C_--/K* -> 9/16

with corrections log(l)/l, once l is far above 3/(rho psi^(1)). With Bayesian rates the robustness
is cos psi - 1 -> -9/(2 rho^2 l^2). For linear networks, rho = 0, nothing changes with depth,
(10.98).

Differences from 1 are carried, not the numbers near 1.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, ArrayLike, Float

from finitewidth.activations import Activation
from finitewidth.criticality.moments import described, slopes
from finitewidth.flow import angle_flow, turning_rate
from finitewidth.precision import in_double_precision
from finitewidth.validation import check_count, check_per_layer


class FiniteAngle(eqx.Module):
    """Two inputs of equal norms at every depth; entry l-1 is layer l.

    Attributes:
        angle: psi, of the preactivations, shape (L,).
        shift: robustness cos zeta - 1, shape (L,).
    """

    angle: Float[Array, " L"]
    shift: Float[Array, " L"]

    @property
    @in_double_precision
    def cosine(self) -> Float[Array, " L"]:
        """Cos zeta = Theta_+-/Theta_d, PDLT (10.84), shape (L,)."""
        return 1 + self.shift

    @property
    @in_double_precision
    def bayes_shift(self) -> Float[Array, " L"]:
        """Robustness cos psi - 1 of exact Bayesian inference, shape (L,)."""
        return -2 * jnp.sin(self.angle / 2) ** 2

    @property
    @in_double_precision
    def variance(self) -> Float[Array, " L"]:
        """C_--/K*, the variance of the prediction at the other input, PDLT (10.95), (L,)."""
        return self.shift**2 - 2 * self.cosine * self.bayes_shift

    def to_xarray(self) -> xr.Dataset:
        """Return everything as a labelled data set over depth."""
        names = ("angle", "shift", "cosine", "variance", "bayes_shift")
        return xr.Dataset(
            {name: ("depth", np.asarray(getattr(self, name))) for name in names},
            coords={"depth": np.arange(1, len(self.angle) + 1)},
        )

    def __repr__(self) -> str:
        return (
            f"Two inputs at depth {len(self.angle)}: psi = {float(self.angle[-1]):.6g}, "
            f"cos zeta = {float(self.cosine[-1]):.6g}, C/K* = {float(self.variance[-1]):.6g}"
        )


@in_double_precision
def finite_angle_flow(
    activation: str | Activation | Callable,
    first_angle: float,
    depth: int,
    K_star: float = 1.0,
    lambda_b: ArrayLike = 1.0,
    lambda_W: ArrayLike = 1.0,
) -> FiniteAngle:
    """Run kernel and NTK of two inputs through a critical scale-invariant network, exactly.

    PDLT (10.86)-(10.89), at infinite width.

    Args:
        activation: linear, relu, leaky_relu(a) or abs.
        first_angle: psi^(1), the angle between the inputs, from 0 to pi.
        depth: number of layers L.
        K_star: kernel of both inputs, |x|^2/(n_0 A_2).
        lambda_b: learning rates of biases, a number or one for each layer; a factor common to
            all rates is of no matter, so that tilde lambda/L, PDLT (10.91), may be given without
            1/L.
        lambda_W: of weights.

    Returns:
        Angles and robustness of layers 1 .. L; each step is good to rounding, also for small
        angles.

    Raises:
        ValueError: for an activation that is not scale-invariant, an angle out of range, or rates
            of the first layer that are both zero.

    Example:
        >>> found = finite_angle_flow("relu", 1.0, 1000, 1.3, 0.7, 1.1)
        >>> [round(float(found.cosine[l - 1]), 6) for l in (10, 100, 1000)]
        [0.42771, 0.279658, 0.253898]
    """
    sigma = described(activation)
    rho = turning_rate(sigma)
    plus, minus = slopes(sigma)
    if not (math.isfinite(K_star) and K_star > 0):
        raise ValueError(f"K_star: wanted a positive kernel, got {K_star}.")
    psi = angle_flow(sigma, first_angle, check_count(depth, "depth"))
    biases = check_per_layer(lambda_b, depth, "lambda_b")
    weights = check_per_layer(lambda_W, depth, "lambda_W") * ((plus**2 + minus**2) / 2 * K_star)
    if not float(biases[0] + weights[0]) > 0:
        raise ValueError("lambda_b, lambda_W: wanted rates of layer 1 that are not both 0.")
    return FiniteAngle(psi, _shifts(rho, psi, biases, weights))


@partial(jax.jit, static_argnums=0)
def _shifts(
    rho: float, psi: Float[Array, " L"], biases: Float[Array, " L"], weights: Float[Array, " L"]
) -> Float[Array, " L"]:
    diagonal = jnp.cumsum(biases + weights)
    # 1 - cos psi of a layer is 1 - g(psi) of the layer below.
    apart = weights * 2 * jnp.sin(psi / 2) ** 2

    def step(missing: Array, now: tuple[Array, ...]) -> tuple[Array, Array]:
        angle, Theta, added = now
        missing = missing + rho * angle * (Theta - missing) + added
        return missing, missing

    _, rest = jax.lax.scan(step, apart[0], (psi[:-1], diagonal[:-1], apart[1:]))
    return -jnp.concatenate([apart[:1], rest]) / diagonal


class DeepLimits(NamedTuple):
    """What a critical scale-invariant network with equal rates tends to, rho > 0.

    Attributes:
        angle: psi l, PDLT (10.90).
        cosine: cos zeta, PDLT (10.93).
        shift: robustness, PDLT (10.94).
        variance: C_--/K*, PDLT (10.95).
        bayes_shift: l^2 times the robustness of Bayesian inference, PDLT footnote 37.
    """

    angle: float
    cosine: float
    shift: float
    variance: float
    bayes_shift: float


def finite_angle_limits(activation: str | Activation | Callable) -> DeepLimits:
    """Return the deep limits of two inputs in a scale-invariant network, PDLT (10.90)-(10.95).

    Args:
        activation: relu, leaky_relu(a) or abs; for linear see `linear_cosine`.

    Returns:
        Limits for l far above 3/(rho psi^(1)), approached like log(l)/l.

    Raises:
        ValueError: for an activation that is not scale-invariant, or linear.

    Example:
        >>> finite_angle_limits("relu").shift
        -0.75
    """
    rho = turning_rate(activation)
    if rho == 0:
        raise ValueError("activation: linear networks keep every angle; see `linear_cosine`.")
    return DeepLimits(3 / rho, 1 / 4, -3 / 4, 9 / 16, -9 / (2 * rho**2))


def linear_cosine(
    angle: float, mean_square: float, lambda_b: float = 1.0, lambda_W: float = 1.0
) -> float:
    """Return cos zeta of a deep linear network with equal rates, the same at any depth.

    cos zeta = [lambda_b + lambda_W u cos psi]/[lambda_b + lambda_W u], u = A_2 K* = |x|^2/n_0, PDLT
    (10.98); exact at infinite width.

    Args:
        angle: psi between the inputs.
        mean_square: u.
        lambda_b: learning rate of biases.
        lambda_W: of weights.

    Returns:
        The ratio Theta_+-/Theta_d.

    Example:
        >>> round(linear_cosine(math.pi / 2, 1.0, lambda_b=1.0, lambda_W=3.0), 12)
        0.25
    """
    weight = lambda_W * mean_square
    return (lambda_b + weight * math.cos(angle)) / (lambda_b + weight)
