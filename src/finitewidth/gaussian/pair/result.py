"""What a method returns for an array of pairs, and what the methods share."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class Result(NamedTuple):
    """Values of a pair expectation and how they were reached.

    Attributes:
        value: shape (*shape).
        error: bound or estimate of the error relative to (<F^2> <G^2>)^(1/2), (*shape).
        orders: orders of the Mehler series that were summed.
        direct: number of pairs that were integrated directly.
    """

    value: Float[Array, "*shape"]
    error: Float[Array, "*shape"]
    orders: Array
    direct: Array


def correlation(K11: Array, K22: Array, K12: Array) -> Array:
    """Return rho = K12/sqrt(K11 K22), cut off at -1 and 1; 0 for a zero input."""
    size = jnp.sqrt(K11 * K22)  # exactly K for K11 = K22 = K
    rho = jnp.where(size > 0, K12 / jnp.where(size > 0, size, 1.0), 0.0)
    return jnp.clip(rho, -1.0, 1.0)


def integrate_selected(
    single_pair: Callable[[Array, Array, Array], Array],
    selected: Array,
    value: Array,
    K11: Array,
    K22: Array,
    K12: Array,
) -> Array:
    """Replace the selected entries of `value` by direct integrals, one at a time."""
    shape = value.shape
    k11, k22, k12 = (jnp.broadcast_to(k, shape).reshape(-1) for k in (K11, K22, K12))

    def integrate() -> Array:
        (where,) = jnp.nonzero(selected.reshape(-1), size=value.size, fill_value=0)

        def body(i: Array, values: Array) -> Array:
            j = where[i]
            return values.at[j].set(single_pair(k11[j], k22[j], k12[j]))

        return jax.lax.fori_loop(0, selected.sum(), body, value.reshape(-1)).reshape(shape)

    return jax.lax.cond(selected.any(), integrate, lambda: value)
