r"""Finite-width tensors as covariances of random matrices, drawn layer by layer.

    B^(1) = 0,    B^(l+1) = (n_l/n_{l-1})^(1/2) J_l[B^(l)] + S_l,    T^(l) = E[B^(l) (x) B^(l)]

with a fresh neuron at every layer for S_l, and J_l its transport (see `flow.neuron_noise`). For the
vertex, B is a fluctuation of the metric to first order: E[B (x) B] = V, PDLT (4.119). Contractions
across the pairs, which no adjoint sum gives, are averages of products of such matrices, for example
sum_bd M_bd T_(ab)(cd) = E[B M B^T]_ac. Unbiased; the error falls like the inverse root of the
number of matrices. They are made and used in chunks, so memory does not grow with their number.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from finitewidth.flow.adjoint_sums import noise_of
from finitewidth.flow.linearized import LinearizedFlow
from finitewidth.flow.neuron_noise import Legs, Roots, Sector

#: Numbers in one array of a chunk of matrices, count x N x N.
CHUNK = 2**22

#: How the sum over drawn matrices is done: the target, and which leg each pair has.
Pair = tuple[int, int]


def matrices_at_once(samples: int) -> int:
    """Return how many matrices a chunk holds: a bounded number of numbers."""
    return max(1, min(256, CHUNK // samples**2))


@eqx.filter_jit
def layer_roots(flow: LinearizedFlow, sector: Sector) -> Roots:
    """Return the roots of the covariances of every layer, stacked. Cost O(L N^3)."""

    def step(_, layer):
        return None, noise_of(layer, sector, ntk=False).roots()

    return jax.lax.scan(step, None, flow.layers)[1]


def draw_matrices(
    flow: LinearizedFlow,
    roots: Roots,
    sector: Sector,
    ntk: bool,
    layer: Int[Array, ""],
    key: PRNGKeyArray,
    count: int,
) -> Legs:
    """Draw independent matrices B at one layer.

    Args:
        flow: kernels and Jacobians.
        roots: from `layer_roots`.
        sector: "covariance" for V, D, A; "F" or "B".
        ntk: whether the leg of the NTK is asked for.
        layer: which layer, counted from 0.
        key: of the neurons.
        count: how many, M.

    Returns:
        One array for each leg, shape (M, N, N). Cost O(L M N^2).
    """

    def step(B, now):
        index, of_layer, of_roots = now
        noise = noise_of(of_layer, sector, ntk)

        def advance(B):
            S = noise.matrices(noise.draw(of_roots, jax.random.fold_in(key, index), count))
            scale = jnp.sqrt(of_layer.above.ratio)
            return jax.tree.map(lambda b, s: scale * b + s, jax.vmap(noise.push)(B), S)

        return jax.lax.cond(index < layer, advance, lambda B: B, B), None

    nothing = jnp.zeros((count, flow.samples, flow.samples))
    with_ntk = sector == "covariance" and ntk
    start = (nothing, nothing if with_ntk else None)
    numbers = jnp.arange(flow.depth - 1)
    return jax.lax.scan(step, start, (numbers, flow.layers, roots))[0]


@eqx.filter_jit
def crossed_sums(
    flow: LinearizedFlow,
    roots: Roots,
    sector: Sector,
    legs: Pair,
    layer: Int[Array, ""],
    M: Float[Array, "N N"],
    transposed: tuple[bool, bool],
    key: PRNGKeyArray,
    chunks: Int[Array, ""],
) -> tuple[Float[Array, "N N"], Float[Array, "N N"]]:
    """Sum L M R over drawn matrices, and the squares of its entries.

    Args:
        flow: kernels and Jacobians.
        roots: from `layer_roots`.
        sector: "covariance" for V, D, A; "F" or "B".
        legs: 0 or 1 for each pair: metric or NTK.
        layer: which layer, counted from 0.
        M: shape (N, N).
        transposed: whether L and R are the transposes of the drawn matrices.
        key: of the neurons.
        chunks: how many chunks of `matrices_at_once` matrices.

    Returns:
        Both sums, shape (N, N). Cost O(N^3) for each matrix.
    """

    def chunk(number, sums):
        L, R = _both(flow, roots, sector, legs, layer, jax.random.fold_in(key, number))
        L = jnp.swapaxes(L, -1, -2) if transposed[0] else L
        R = jnp.swapaxes(R, -1, -2) if transposed[1] else R
        product = L @ M @ R
        return sums[0] + product.sum(axis=0), sums[1] + (product**2).sum(axis=0)

    zero = jnp.zeros((flow.samples, flow.samples))
    return jax.lax.fori_loop(0, chunks, chunk, (zero, zero))


@eqx.filter_jit
def entry_sums(
    flow: LinearizedFlow,
    roots: Roots,
    sector: Sector,
    legs: Pair,
    layer: Int[Array, ""],
    quadruples: Int[Array, "E 4"],
    key: PRNGKeyArray,
    chunks: Int[Array, ""],
) -> tuple[Float[Array, " E"], Float[Array, " E"]]:
    """Sum B_ab B_cd over drawn matrices, and its squares; arguments as in `crossed_sums`."""
    a, b, c, d = quadruples.T

    def chunk(number, sums):
        L, R = _both(flow, roots, sector, legs, layer, jax.random.fold_in(key, number))
        product = L[:, a, b] * R[:, c, d]
        return sums[0] + product.sum(axis=0), sums[1] + (product**2).sum(axis=0)

    zero = jnp.zeros(len(a))
    return jax.lax.fori_loop(0, chunks, chunk, (zero, zero))


def factors(
    flow: LinearizedFlow,
    roots: Roots,
    sector: Sector,
    legs: Pair,
    layer: Int[Array, ""],
    kept: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    key: PRNGKeyArray,
    chunks: int,
) -> tuple[Float[Array, "M a b"], Float[Array, "M c d"] | None]:
    """Return the blocks (a, b) and (c, d) of drawn matrices; None if the second is the first."""
    a, b, c, d = kept
    same = legs[0] == legs[1] and np.array_equal(a, c) and np.array_equal(b, d)
    parts = [
        _blocks(flow, roots, sector, legs, layer, kept, same, jax.random.fold_in(key, number))
        for number in range(chunks)
    ]
    left = jnp.concatenate([part[0] for part in parts])
    rights = [part[1] for part in parts if part[1] is not None]
    return left, jnp.concatenate(rights) if rights else None


@eqx.filter_jit
def _blocks(flow, roots, sector, legs, layer, kept, same, key):
    L, R = _both(flow, roots, sector, legs, layer, key)
    a, b, c, d = (jnp.asarray(indices) for indices in kept)
    left = L[:, a[:, None], b[None, :]]
    return left, None if same else R[:, c[:, None], d[None, :]]


def _both(flow, roots, sector, legs, layer, key) -> tuple[Array, Array]:
    """Draw a chunk of matrices and return them for the first pair and for the second."""
    count = matrices_at_once(flow.samples)
    B = draw_matrices(flow, roots, sector, 1 in legs, layer, key, count)
    left, right = (B[leg] for leg in legs)
    assert left is not None and right is not None
    return left, right
