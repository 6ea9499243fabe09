r"""Laws that weights are drawn from, all with E[W_ij] = 0 and E[W_ij^2] = C_W / n_in, PDLT (2.20).

Gaussian, uniform and truncated normal entries are independent. A Haar-orthogonal matrix has
orthonormal rows or columns Q and is scaled for rectangular layers,

    W = sqrt(C_W max(n_out, n_in) / n_in) Q,

so that the variance of an entry is the same. At infinite width all laws give the same kernel; at
order 1/n the orthogonal law differs, and the theory in `flow` is for Gaussian entries.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

# The standard deviation of a standard normal variable that is cut off at -2 and 2.
_TRUNCATED_STD = math.sqrt(1 - 4 * math.exp(-2) / math.sqrt(2 * math.pi) / math.erf(math.sqrt(2)))


class Layer(NamedTuple):
    """The parameters of one layer.

    Attributes:
        b: biases, shape (n_out,).
        W: weights, shape (n_out, n_in).
    """

    b: Float[Array, " n_out"]
    W: Float[Array, "n_out n_in"]


def _gaussian(key: PRNGKeyArray, n_out: int, n_in: int) -> Float[Array, "n_out n_in"]:
    return jax.random.normal(key, (n_out, n_in), dtype=float)


def _uniform(key: PRNGKeyArray, n_out: int, n_in: int) -> Float[Array, "n_out n_in"]:
    edge = math.sqrt(3)
    return jax.random.uniform(key, (n_out, n_in), dtype=float, minval=-edge, maxval=edge)


def _truncated_normal(key: PRNGKeyArray, n_out: int, n_in: int) -> Float[Array, "n_out n_in"]:
    draws = jax.random.truncated_normal(key, -2.0, 2.0, (n_out, n_in), dtype=float)
    return draws / _TRUNCATED_STD


# One matrix after the other: jaxlib 0.10 on a CPU can wait for itself for ever where one compiled
# function holds two batched decompositions.
@jax.custom_batching.sequential_vmap
def _qr(matrix: Float[Array, "m n"]) -> tuple[Float[Array, "m n"], Float[Array, "n n"]]:
    q, r = jnp.linalg.qr(matrix)
    return q, r


def _orthogonal(key: PRNGKeyArray, n_out: int, n_in: int) -> Float[Array, "n_out n_in"]:
    tall, wide = max(n_out, n_in), min(n_out, n_in)
    q, r = _qr(jax.random.normal(key, (tall, wide), dtype=float))
    # Without this sign the law of Q would depend on the conventions of the QR routine.
    q = q * jnp.where(jnp.diagonal(r) < 0, -1.0, 1.0)
    return math.sqrt(tall) * (q if n_out >= n_in else q.T)


_LAWS: dict[str, Callable[[PRNGKeyArray, int, int], Float[Array, "n_out n_in"]]] = {
    "gaussian": _gaussian,
    "uniform": _uniform,
    "truncated_normal": _truncated_normal,
    "orthogonal": _orthogonal,
}


def weight_laws() -> tuple[str, ...]:
    """Return the names of the laws that weights can be drawn from."""
    return tuple(_LAWS)


def draw_layer(
    law: str,
    key: PRNGKeyArray,
    n_in: int,
    n_out: int,
    C_b: Float[Array, ""],
    C_W: Float[Array, ""],
) -> Layer:
    """Draw the parameters of one layer; biases are Gaussian under every law.

    Args:
        law: one of `weight_laws()`.
        key: a JAX random key.
        n_in: width of the layer below.
        n_out: width of the layer.
        C_b: bias variance.
        C_W: rescaled weight variance.

    Returns:
        Biases of shape (n_out,) and weights of shape (n_out, n_in).
    """
    bias_key, weight_key = jax.random.split(key)
    b = jnp.sqrt(C_b) * jax.random.normal(bias_key, (n_out,), dtype=float)
    W = jnp.sqrt(C_W / n_in) * _LAWS[law](weight_key, n_out, n_in)
    return Layer(b, W)
