r"""Products of a scale-invariant activation and its slope at two inputs, in closed form.

    sigma(z) = a_+ z (z > 0), a_- z (z < 0); with p factors sigma and any number of sigma' at an
    input, their product is a_+^k z^p or a_-^k z^p, k the number of all factors there. So

    <z_1^p z_2^q theta(z_1) theta(z_2)> = K11^(p/2) K22^(q/2) I_pq(psi)

    2 pi I_00 = pi - psi
    2 pi I_11 = sin psi + (pi - psi) cos psi
    2 pi I_20 = pi - psi + sin psi cos psi
    2 pi I_31 = 3 (pi - psi) cos psi + sin psi (2 + cos^2 psi)
    2 pi I_22 = 3 sin psi cos psi + (pi - psi)(1 + 2 cos^2 psi)

with cos psi = K12/(K11 K22)^(1/2)

are summed over the four quadrants; PDLT (5.159) is the case p = q = 1.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from finitewidth.activations import PiecewiseLinear

Angle = tuple[Array, Array, Array]


def piecewise_linear_pair(
    activation: PiecewiseLinear,
    first: tuple[int, ...],
    second: tuple[int, ...],
    K11: Float[Array, "*#shape"],
    K22: Float[Array, "*#shape"],
    K12: Float[Array, "*shape"],
) -> Float[Array, "*shape"]:
    """Return <prod D^m sigma(z_1) prod D^m sigma(z_2)> over orders m of 0 and 1, at most four.

    Args:
        activation: sigma.
        first: orders of the factors at the first input.
        second: orders of the factors at the second input; the numbers of zeros in both add up to
            an even number.
        K11: variances of z_1.
        K22: variances of z_2.
        K12: covariances.

    Returns:
        The expectation, elementwise. Zero where an input is zero and carries a factor sigma.
    """
    p, q = first.count(0), second.count(0)
    plus, minus = activation.a_plus, activation.a_minus
    area = K11 * K22
    safe = jnp.where(area > 0, area, 1.0)
    # The angle enters through smooth combinations; the floor only guards the derivative of sqrt.
    sin = jnp.sqrt(jnp.maximum(area - K12**2, 0.0) / safe + 1e-30)
    # A zero input is parallel to itself and at a right angle to all others.
    cos = jnp.where(area > 0, K12 / jnp.sqrt(safe), jnp.where(K11 == K22, 1.0, 0.0))
    sin = jnp.where(area > 0, sin, 1.0 - cos)
    psi = jnp.arctan2(sin, cos)
    k, m = len(first), len(second)
    acute = (plus ** (k + m) + (-1) ** (p + q) * minus ** (k + m)) * _quadrant(
        p, q, (psi, sin, cos)
    )
    obtuse = ((-1) ** q * plus**k * minus**m + (-1) ** p * minus**k * plus**m) * _quadrant(
        p, q, (jnp.pi - psi, sin, -cos)
    )
    return K11 ** (p / 2) * K22 ** (q / 2) * (acute + obtuse)


def _quadrant(p: int, q: int, angle: Angle) -> Array:
    if p < q:
        return _quadrant(q, p, angle)
    psi, sin, cos = angle
    match (p, q):
        case (0, 0):
            value = jnp.pi - psi
        case (1, 1):
            value = sin + (jnp.pi - psi) * cos
        case (2, 0):
            value = jnp.pi - psi + sin * cos
        case (3, 1):
            value = 3 * (jnp.pi - psi) * cos + sin * (2 + cos**2)
        case (2, 2):
            value = 3 * sin * cos + (jnp.pi - psi) * (1 + 2 * cos**2)
        case (4, 0):
            value = 3 * (jnp.pi - psi) + sin * cos * (3 + 2 * sin**2)
        case _:
            raise ValueError(f"wanted p + q = 0, 2 or 4 factors sigma, got {p} + {q}.")
    return value / (2 * jnp.pi)
