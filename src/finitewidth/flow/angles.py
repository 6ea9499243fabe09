r"""Angles between the preactivations of two inputs, and their flow for scale-invariant activations.

    cos psi = K_12/(K_11 K_22)^(1/2)                                     PDLT (5.146)
    cos psi' = cos psi + rho (sin psi - psi cos psi)                     PDLT (5.159), (5.162)
    rho = (a_+ - a_-)^2/[pi (a_+^2 + a_-^2)]                             PDLT (5.163)

The recursion is exact at infinite width for sigma = a_+ z (z >= 0), a_- z (z < 0) without biases,
whatever C_W and the norms are. Deep down, PDLT (5.165)-(5.171),

    psi' = psi - (rho/3) psi^2 + ...,     psi -> 3/(rho l),     K_[2]/K -> 9/(4 rho^2 l^2),

after a crossover at l = 3/(rho psi^(1)) layers; before it the angle is nearly preserved. It is
preserved exactly for linear networks alone, rho = 0.
"""

import math
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from finitewidth.activations import Activation
from finitewidth.criticality.moments import described, slopes
from finitewidth.precision import in_double_precision
from finitewidth.validation import check_count

#: Below this angle sin psi - psi cos psi is summed as a series, which loses no digits.
SMALL_ANGLE = 0.5
#: Terms of that series; the last one is below 1e-16 of the first at SMALL_ANGLE.
SERIES_TERMS = 7


@in_double_precision
def cosine(kernel: ArrayLike, a: int = 0, b: int = 1) -> Float[Array, "*batch"]:
    """Return cos psi = K_ab/(K_aa K_bb)^(1/2), PDLT (5.146).

    Args:
        kernel: or any metric, shape (..., N, N).
        a: first input.
        b: second input.

    Returns:
        The cosine, clipped to [-1, 1], shape (...); NaN for an input with K = 0.

    Example:
        >>> cosine([[4.0, 1.0], [1.0, 1.0]]).tolist()
        0.5
    """
    K = jnp.asarray(kernel, dtype=float)
    return jnp.clip(K[..., a, b] / jnp.sqrt(K[..., a, a] * K[..., b, b]), -1.0, 1.0)


@in_double_precision
def angle_between(kernel: ArrayLike, a: int = 0, b: int = 1) -> Float[Array, "*batch"]:
    """Return the angle psi between two inputs in radians, from the kernel or any metric.

    Args:
        kernel: shape (..., N, N).
        a: first input.
        b: second input.

    Returns:
        psi in [0, pi], shape (...); below 1e-7 it is lost in the rounding of the kernel.

    Example:
        >>> round(float(jnp.degrees(angle_between([[4.0, 1.0], [1.0, 1.0]]))), 9)
        60.0
    """
    return jnp.arccos(cosine(kernel, a, b))


@in_double_precision
def angle_flow(
    activation: str | Activation | Callable, first_angle: ArrayLike, depth: int
) -> Float[Array, "L *batch"]:
    """Return the angle between two inputs in every layer of a scale-invariant network.

    cos psi' = cos psi + rho (sin psi - psi cos psi), PDLT (5.162), exact at infinite width and
    C_b = 0 for any C_W and any norms.

    Args:
        activation: scale-invariant: linear, relu, leaky_relu(a), abs.
        first_angle: psi^(1), the angle of the inputs, in [0, pi], any shape.
        depth: number of layers L.

    Returns:
        psi in radians, layer l in entry l-1. Relative accuracy 1e-14 for each layer, also for
        angles whose cosine is 1 to rounding.

    Raises:
        ValueError: if the activation is not scale-invariant or an angle is not in [0, pi].

    Example:
        >>> [round(float(psi), 6) for psi in angle_flow("relu", 1.2, 3)]
        [1.2, 1.023214, 0.898447]
    """
    rho = turning_rate(activation)
    psi = jnp.asarray(first_angle, dtype=float)
    if not bool(((np.asarray(psi) >= 0) & (np.asarray(psi) <= math.pi)).all()):
        raise ValueError(f"first_angle: wanted angles from 0 to pi, got {first_angle}.")
    return _angles(rho, psi, check_count(depth, "depth"))


@in_double_precision
def turning_rate(activation: str | Activation | Callable) -> float:
    """Return rho of a scale-invariant activation, PDLT (5.163).

    Args:
        activation: linear, relu, leaky_relu(a) or abs.

    Returns:
        rho, from 0 (linear) to 2/pi (abs).

    Raises:
        ValueError: if the activation is not scale-invariant.

    Example:
        >>> round(turning_rate("relu") * math.pi, 12)
        1.0
    """
    sigma = described(activation)
    if sigma.homogeneity != 1:
        raise ValueError(
            f"activation: wanted a scale-invariant one (linear, relu, ...), got {sigma.name}."
        )
    plus, minus = slopes(sigma)
    return (plus - minus) ** 2 / (math.pi * (plus**2 + minus**2))


def crossover_depth(rho: float, first_angle: float) -> float:
    """Return l = 3/(rho psi^(1)), where a small angle has begun to shrink, PDLT (5.171).

    Args:
        rho: of the activation, see `turning_rate`.
        first_angle: psi^(1); with K_[2] and K_[0] of the first layer it is 2 (K_[2]/K_[0])^(1/2).

    Returns:
        The depth at which the angle has halved, to leading order; infinite for rho = 0.

    Example:
        >>> round(crossover_depth(1 / math.pi, 0.01), 2)
        942.48
    """
    return math.inf if rho * first_angle == 0 else 3 / (rho * first_angle)


@in_double_precision
def angle_asymptote(rho: float, first_angle: ArrayLike, layer: ArrayLike) -> Float[Array, "..."]:
    """Return 1/[1/psi^(1) + rho (l-1)/3], the flow of a small angle on both sides of the crossover.

    The solution of psi' = psi - (rho/3) psi^2, PDLT (5.165), which tends to 3/(rho l), (5.166).

    Args:
        rho: of the activation.
        first_angle: psi^(1).
        layer: l.

    Returns:
        The angle; relative corrections are of order psi^(1) and log(l)/l.

    Example:
        >>> round(float(angle_asymptote(1 / math.pi, 0.1, 1000)), 6)
        0.008621
    """
    psi, ell = jnp.asarray(first_angle, dtype=float), jnp.asarray(layer, dtype=float)
    return psi / (1 + rho * psi * (ell - 1) / 3)


@partial(jax.jit, static_argnums=2)
def _angles(rho: float, psi: Array, depth: int) -> Array:
    def step(psi: Array, _: None) -> tuple[Array, Array]:
        # sin^2(psi/2) = (1 - cos psi)/2 and cos^2(psi/2) keep the digits of angles near 0 and pi.
        turned = rho / 2 * _lens(psi)
        sine = jnp.sqrt(jnp.maximum(jnp.sin(psi / 2) ** 2 - turned, 0.0))
        return 2 * jnp.arctan2(sine, jnp.sqrt(jnp.cos(psi / 2) ** 2 + turned)), psi

    _, angles = jax.lax.scan(step, psi, None, length=depth)
    return angles


def _lens(psi: Array) -> Array:
    """Return sin psi - psi cos psi = psi^3/3 - psi^5/30 + ..."""
    series, term = jnp.zeros_like(psi), psi**3
    for k in range(1, SERIES_TERMS + 1):
        series = series + term * (2 * k / math.factorial(2 * k + 1))
        term = -term * psi**2
    return jnp.where(psi < SMALL_ANGLE, series, jnp.sin(psi) - psi * jnp.cos(psi))
