"""Pairs that are nearly or exactly collinear, at variances where the Mehler series is too long.

    z_1 = sqrt(K11) (c u + s w),   z_2 = +-sqrt(K22) (c u - s w),   (c, s) = (cos, sin)(theta/2),

with u, w independent and cos(theta) = |K12|/sqrt(K11 K22). Functions that are analytic in a strip
are integrated by the trapezoid rule in both directions; w is short when the pair is collinear.
The spacing is halved until the result stays, one pair at a time.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

CHUNK = 256
RANGE = 9.0
LEVELS = 9


def rotated_expectation(
    F: Callable[[Array], Array],
    G: Callable[[Array], Array],
    K11: Float[Array, ""],
    K22: Float[Array, ""],
    K12: Float[Array, ""],
) -> Float[Array, ""]:
    """Return <F(z_1) G(z_2)> for one pair, by a two-dimensional trapezoid rule."""
    size = jnp.sqrt(K11 * K22)
    area = jnp.sqrt(jnp.maximum((size - K12) * (size + K12), 0.0))
    half = jnp.arctan2(area, jnp.abs(K12)) / 2
    c, s = jnp.cos(half), jnp.sin(half)
    sign = jnp.where(K12 < 0, -1.0, 1.0)

    def integral(h: Array) -> tuple[Array, Array]:
        # Below 1e-9 the direction w changes nothing: one node is enough there.
        flat = s * jnp.maximum(jnp.sqrt(jnp.maximum(K11, K22)), 1.0) < 1e-17
        k = jnp.minimum(0.7, h * c / jnp.maximum(s, 1e-300))
        rows = jnp.floor(RANGE / h)
        columns = jnp.where(flat, 0.0, jnp.floor(RANGE / k))
        width = 2 * columns + 1
        total = (2 * rows + 1) * width

        def body(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            start, value, size = state
            index = start + jnp.arange(CHUNK)
            row = jnp.floor(index / width)
            u = (row - rows) * h
            w = (index - row * width - columns) * k
            density = jnp.exp(-(u**2 + w**2) / 2) / (2 * jnp.pi)
            density *= h * jnp.where(flat, jnp.sqrt(2 * jnp.pi), k)
            density = jnp.where(index < total, density, 0.0)
            z1, z2 = jnp.sqrt(K11) * (c * u + s * w), sign * jnp.sqrt(K22) * (c * u - s * w)
            term = density * F(z1) * G(z2)
            return start + CHUNK, value + term.sum(), size + jnp.abs(term).sum()

        start = (jnp.zeros(()), jnp.zeros(()), jnp.zeros(()))
        _, value, size = jax.lax.while_loop(lambda state: state[0] < total, body, start)
        return value, size

    def unsettled(state: tuple[Array, Array, Array]) -> Array:
        level, _, change = state
        return (level < LEVELS) & (change > 1e-8)

    def refine(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        level, before, _ = state
        value, size = integral(first / 2.0**level)
        change = jnp.abs(value - before) / jnp.where(size > 0, size, 1.0)
        return level + 1, value, jnp.where(level > 0, change, jnp.inf)

    # Nodes closer than 0.7 in z from the start: structure of size 1 must not go unseen.
    first = jnp.minimum(0.5, 0.7 / jnp.sqrt(jnp.maximum(K11, K22)))
    start = (jnp.zeros(()), jnp.zeros(()), jnp.asarray(jnp.inf))
    return jax.lax.while_loop(unsettled, refine, start)[1]
