r"""The kernel between two sets of inputs, and on the diagonal of one.

    K^(l+1)_ab = C_b + C_W <sigma_a sigma_b>_K^(l)                           PDLT (4.118)

takes K_aa, K_bb and K_ab alone, so that the block between N and M inputs needs N M numbers and the
two diagonals, not the (N + M)^2 numbers of the kernel on all of them.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from finitewidth.gaussian.pair import pair_moments
from finitewidth.network import MLP
from finitewidth.precision import in_double_precision
from finitewidth.validation import check_inputs


@in_double_precision
def cross_kernel(
    net: MLP, x: Float[ArrayLike, "N n0"], other: Float[ArrayLike, "M n0"]
) -> Float[Array, "N M"]:
    """Compute the kernel of the outputs between two sets of inputs, PDLT (4.118).

    Args:
        net: the network.
        x: inputs, shape (N, n_0).
        other: inputs, shape (M, n_0).

    Returns:
        K^(L), shape (N, M).

    Raises:
        ValueError, TypeError: if the inputs are not finite or do not fit the network.

    Accuracy: that of the pair expectations, see `gaussian.pair_moments`.

    Cost: one pair expectation of N x M entries a layer.

    Example:
        >>> import finitewidth as fw
        >>> net = fw.MLP((2, 8, 8, 1), "relu", C_W=2.0)
        >>> fw.flow.cross_kernel(net, [[1.0, 1.0]], [[2.0, 2.0], [0.0, 0.0]]).round(12).tolist()
        [[4.0, 0.0]]
    """
    x, other = check_inputs(x, net.widths[0]), check_inputs(other, net.widths[0], "other")
    return _between(net, x, other)


@in_double_precision
def kernel_diagonal(net: MLP, x: Float[ArrayLike, "N n0"]) -> Float[Array, " N"]:
    """Compute the kernel of the outputs of each input with itself, PDLT (4.118).

    Args:
        net: the network.
        x: inputs, shape (N, n_0).

    Returns:
        K^(L)_aa, shape (N,).

    Raises:
        ValueError, TypeError: if the inputs are not finite or do not fit the network.

    Example:
        >>> import finitewidth as fw
        >>> net = fw.MLP((2, 8, 8, 1), "relu", C_W=2.0)
        >>> fw.flow.kernel_diagonal(net, [[1.0, 1.0], [0.0, 3.0]]).tolist()
        [2.0, 9.0]
    """
    return _diagonals(net, check_inputs(x, net.widths[0]))[-1]


@eqx.filter_jit
def _diagonals(net: MLP, x: Float[Array, "N n0"]) -> Float[Array, "L N"]:
    one_input = pair_moments(net.activation).diagonal_value

    def step(K: Array, above: tuple[Array, Array]) -> tuple[Array, Array]:
        C_b, C_W = above
        K = C_b + C_W * one_input(K)
        return K, K

    first = net.C_b[0] + net.C_W[0] / net.widths[0] * (x**2).sum(axis=1)
    _, higher = jax.lax.scan(step, first, (net.C_b[1:], net.C_W[1:]))
    return jnp.concatenate([first[None], higher])


@eqx.filter_jit
def _between(net: MLP, x: Float[Array, "N n0"], other: Float[Array, "M n0"]) -> Float[Array, "N M"]:
    two_inputs = pair_moments(net.activation).value

    def step(K: Array, layer: tuple[Array, Array, Array, Array]) -> tuple[Array, None]:
        own, of_other, C_b, C_W = layer
        return C_b + C_W * two_inputs(own[:, None], of_other[None, :], K), None

    own, of_other = _diagonals(net, x), _diagonals(net, other)
    first = net.C_b[0] + net.C_W[0] / net.widths[0] * (x @ other.T)
    K, _ = jax.lax.scan(step, first, (own[:-1], of_other[:-1], net.C_b[1:], net.C_W[1:]))
    return K
