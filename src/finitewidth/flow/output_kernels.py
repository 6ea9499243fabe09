r"""Kernel and frozen NTK of the outputs alone, between any inputs, tile by tile.

    K'     = C_b + C_W <sigma_a sigma_b>_K                                      PDLT (4.118)
    Theta' = lambda_b + lambda_W <sigma_a sigma_b>_K + C_W <sigma'_a sigma'_b>_K Theta    (9.5)

An entry (a, b) depends on the diagonals and on itself alone, so that a tile of entries can be
carried through all layers before the next one is begun: it stays in the processor's cache, nothing
is kept of the hidden layers, and a symmetric matrix needs half of its tiles. A block between N and
M inputs needs N M numbers, not the (N + M)^2 of the kernel on all of them.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int

from finitewidth.gaussian.pair import pair_moments
from finitewidth.network import MLP
from finitewidth.precision import in_double_precision
from finitewidth.validation import check_inputs

#: Rows and columns of a tile: its few arrays of 1/2 MB fit into the cache of a core.
TILE = 256


@in_double_precision
def output_kernels(
    net: MLP, x: Float[ArrayLike, "N n0"]
) -> tuple[Float[Array, "N N"], Float[Array, "N N"]]:
    """Compute kernel and frozen NTK of the outputs, PDLT (4.118), (9.5).

    The last entries of `flow.ntk(net, x, order=0)`, several times as fast for many inputs.

    Args:
        net: the network, with its learning rates.
        x: inputs, shape (N, n_0).

    Returns:
        K^(L) and Theta^(L), each of shape (N, N).

    Raises:
        ValueError, TypeError: if the inputs are not finite or do not fit the network.

    Accuracy: that of the pair expectations, see `gaussian.pair_moments`.

    Cost: two pair expectations of N (N + 256)/2 entries a layer; memory of the results.

    Example:
        >>> import finitewidth as fw
        >>> net = fw.MLP((2, 8, 8, 1), "relu", C_W=2.0)
        >>> K, Theta = fw.flow.output_kernels(net, [[1.0, 1.0], [0.0, 3.0]])
        >>> K.diagonal().tolist(), Theta.diagonal().tolist()
        ([2.0, 9.0], [6.0, 16.5])
    """
    kernels = _symmetric(net, check_inputs(x, net.widths[0]), True)
    return kernels[0], kernels[1]


@in_double_precision
def output_kernel(net: MLP, x: Float[ArrayLike, "N n0"]) -> Float[Array, "N N"]:
    """Compute the kernel of the outputs alone, PDLT (4.118).

    Args:
        net: the network.
        x: inputs, shape (N, n_0).

    Returns:
        K^(L), shape (N, N).

    Raises:
        ValueError, TypeError: if the inputs are not finite or do not fit the network.

    Example:
        >>> import finitewidth as fw
        >>> net = fw.MLP((2, 8, 8, 1), "relu", C_W=2.0)
        >>> fw.flow.output_kernel(net, [[1.0, 1.0], [2.0, 2.0]]).round(12).tolist()
        [[2.0, 4.0], [4.0, 8.0]]
    """
    return _symmetric(net, check_inputs(x, net.widths[0]), False)[0]


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
    return _diagonals(net, check_inputs(x, net.widths[0]))[0][-1]


@eqx.filter_jit
def _diagonals(
    net: MLP, x: Float[Array, "N n0"]
) -> tuple[Float[Array, "L N"], Float[Array, "L N"]]:
    """Return the diagonals of kernel and NTK of all layers."""
    moments = pair_moments(net.activation)

    def step(below: tuple[Array, Array], layer: tuple[Array, ...]) -> tuple[tuple, tuple]:
        (K, Theta), (C_b, C_W, lambda_b, lambda_W) = below, layer
        square = moments.diagonal_value(K)
        slope = moments.diagonal_slope(K)
        above = (C_b + C_W * square, lambda_b + lambda_W * square + C_W * slope * Theta)
        return above, above

    size = (x**2).sum(axis=1) / net.widths[0]
    first = (net.C_b[0] + net.C_W[0] * size, net.lambda_b[0] + net.lambda_W[0] * size)
    _, above = jax.lax.scan(step, first, _above(net))
    K, Theta = (jnp.concatenate([f[None], a]) for f, a in zip(first, above, strict=True))
    return K, Theta


@eqx.filter_jit
def _symmetric(net: MLP, x: Float[Array, "N n0"], ntk: bool) -> Float[Array, "kernels N N"]:
    """Return the kernel, and with `ntk` the NTK, from the tiles on and below the diagonal."""
    N = x.shape[0]
    rows = _tiles(x)
    count = rows.shape[0]
    K, Theta = _diagonals(net, x)
    diagonals = _tiles(K.T)
    i, j = np.tril_indices(count)

    def tile(pair: Int[Array, "2"]) -> Float[Array, "kernels T T"]:
        a, b = pair[0], pair[1]
        return _tile(net, rows[a], rows[b], diagonals[a], diagonals[b], ntk)

    lower = jax.lax.map(tile, jnp.stack([jnp.asarray(i), jnp.asarray(j)], axis=1))
    whole = jnp.zeros((count, count, *lower.shape[1:]))
    whole = whole.at[j, i].set(lower.swapaxes(-1, -2)).at[i, j].set(lower)
    matrices = _assembled(whole)[:, :N, :N]
    own = jnp.stack([K[-1], Theta[-1]])[: matrices.shape[0]]
    # An input and itself: one-input expectations are exact where the pair comes near to parallel.
    return jnp.where(np.eye(N, dtype=bool), own[:, :, None], matrices)


@eqx.filter_jit
def _between(net: MLP, x: Float[Array, "N n0"], other: Float[Array, "M n0"]) -> Float[Array, "N M"]:
    rows, columns = _tiles(x), _tiles(other)
    own, of_other = (_tiles(_diagonals(net, z)[0].T) for z in (x, other))

    def tile(pair: Int[Array, "2"]) -> Float[Array, "kernels T T"]:
        a, b = pair[0], pair[1]
        return _tile(net, rows[a], columns[b], own[a], of_other[b], False)

    pairs = np.indices((rows.shape[0], columns.shape[0])).reshape(2, -1).T
    found = jax.lax.map(tile, jnp.asarray(pairs))
    whole = found.reshape(rows.shape[0], columns.shape[0], *found.shape[1:])
    return _assembled(whole)[0, : x.shape[0], : other.shape[0]]


def _tile(
    net: MLP,
    x: Float[Array, "S n0"],
    other: Float[Array, "T n0"],
    own: Float[Array, "S L"],
    of_other: Float[Array, "T L"],
    ntk: bool,
) -> Float[Array, "kernels S T"]:
    """Carry the entries of one tile through all layers; `own` are diagonals of the kernel."""
    moments = pair_moments(net.activation)

    def step(below: tuple[Array, ...], layer: tuple[Array, ...]) -> tuple[tuple, None]:
        K, K_aa, K_bb = below[0], layer[0][:, None], layer[1][None, :]
        C_b, C_W, lambda_b, lambda_W = layer[2:]
        product = moments.value(K_aa, K_bb, K)
        if not ntk:
            return (C_b + C_W * product,), None
        slope = moments.slope(K_aa, K_bb, K)
        Theta = lambda_b + lambda_W * product + C_W * slope * below[1]
        return (C_b + C_W * product, Theta), None

    overlap = x @ other.T / net.widths[0]
    first = (net.C_b[0] + net.C_W[0] * overlap, net.lambda_b[0] + net.lambda_W[0] * overlap)
    layers = (own.T[:-1], of_other.T[:-1], *_above(net))
    return jnp.stack(jax.lax.scan(step, first if ntk else first[:1], layers)[0])


def _above(net: MLP) -> tuple[Array, Array, Array, Array]:
    return net.C_b[1:], net.C_W[1:], net.lambda_b[1:], net.lambda_W[1:]


def _tiles(rows: Float[Array, "N columns"]) -> Float[Array, "tiles T columns"]:
    """Cut rows into tiles of equal height, the last one filled up with its last row."""
    N = rows.shape[0]
    count = -(-N // TILE)
    size = -(-N // count)
    filled = jnp.concatenate([rows, jnp.broadcast_to(rows[-1], (count * size - N, rows.shape[1]))])
    return filled.reshape(count, size, rows.shape[1])


def _assembled(tiles: Float[Array, "A B kernels S T"]) -> Float[Array, "kernels AS BT"]:
    A, B, kernels, S, T = tiles.shape
    return tiles.transpose(2, 0, 3, 1, 4).reshape(kernels, A * S, B * T)
