"""Pairs of functions that are analytic around the real axis: Mehler series on trapezoid nodes.

The trapezoid rule for a Hermite coefficient has the error exp(-(2 pi/h - sqrt P) d/sqrt K) for
spacing h, strip half-width d and orders below P: exponentially small, where Gauss-Hermite rules
gain a digit for every few dozen nodes. The coarse rule with every other node has the square root
of that error, which tells whether the spacing suffices.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from finitewidth.gaussian.factor import Factor
from finitewidth.gaussian.pair.mehler import (
    BLOCK,
    Masses,
    Series,
    Source,
    hermite_window,
    next_hermite,
    sum_series,
)
from finitewidth.gaussian.pair.result import Result, correlation, integrate_selected
from finitewidth.gaussian.pair.rotated import rotated_expectation

#: Half-width of the integration range: exp(-u^2/4) is 4e-15 there, and it enters squared.
RANGE = 11.5
#: Nodes on the half line come in chunks.
CHUNK = 168
TOLERANCE = 1e-14
#: Pairs whose bound stays above this are integrated directly.
DIRECT = 1e-12


SIGNS = np.array([1.0, -1.0]).reshape(2, 1, 1)


class Tier(NamedTuple):
    """How much is invested: chunks of nodes, orders, change of <F^2> on thinning accepted."""

    chunks: Array
    limit: Array
    accepted: Array


#: (chunks, limit, accepted). The first suffices for K up to about 10, with a fifth of the nodes.
TIERS = ((1, 736.0, 1e-10), (5, 4096.0, 2e-5))
MOST_CHUNKS = TIERS[-1][0]


class Samples(NamedTuple):
    """A factor on the nodes.

    Attributes:
        values: part of each parity times weight times phi^(1/2), (chunks, parities, M, CHUNK).
        masses: sizes; the arrays have shape (M,) and (parities, M).
        change: relative change of <F^2> if every other node is left out, (M,).
    """

    values: Float[Array, "chunks parities M n"]
    masses: Masses
    change: Float[Array, " M"]


def smooth_pairs(
    F: Factor,
    G: Factor,
    K11: Float[Array, "*rows"],
    K22: Float[Array, "*columns"],
    K12: Float[Array, "*shape"],
) -> Result:
    """Return <F(z_1) G(z_2)> for smooth factors; the three arrays have equally many axes.

    What the largest tier leaves open (large K and |rho| near 1) is integrated directly.
    """
    rho = correlation(K11, K22, K12)
    blank = Series(jnp.zeros(rho.shape), jnp.zeros(rho.shape), jnp.zeros(()), jnp.asarray(False))

    def invest(state: tuple[Array, Series, Array]) -> tuple[Array, Series, Array]:
        level = state[0]
        tier = Tier(*(jnp.asarray(column)[level] for column in zip(*TIERS, strict=True)))
        last = level == len(TIERS) - 1
        return level + 1, *_attempt(F, G, K11, K22, rho, tier, last)

    def unfinished(state: tuple[Array, Series, Array]) -> Array:
        return ~state[1].converged & (state[0] < len(TIERS))

    start = (jnp.zeros((), dtype=int), blank, jnp.zeros(rho.shape))
    _, series, nodes = jax.lax.while_loop(unfinished, invest, start)
    left = series.bound > DIRECT

    def single(k11: Array, k22: Array, k12: Array) -> Array:
        return rotated_expectation(F, G, k11, k22, k12)

    value = integrate_selected(single, left, series.value, K11, K22, K12)
    error = jnp.where(left, DIRECT, jnp.maximum(jnp.maximum(series.bound, nodes), 1e-15))
    return Result(value, error, series.orders, left.sum())


def _attempt(
    F: Factor, G: Factor, K11: Array, K22: Array, rho: Array, tier: Tier, last: Array
) -> tuple[Series, Array]:
    parities = tuple(p for p in (0, 1) if F.allows(p) and G.allows(p))
    spacing = RANGE / (CHUNK * tier.chunks)
    u = spacing * jnp.arange(CHUNK * MOST_CHUNKS)
    rows = K11.size
    flat = [K11.reshape(-1), K22.reshape(-1)]
    if F == G:
        # One evaluation serves both.
        both = _sample(F, jnp.concatenate(flat), u, spacing, tier.chunks, parities)
        samples = [both]
    else:
        samples = [
            _sample(f, k, u, spacing, tier.chunks, parities)
            for f, k in zip((F, G), flat, strict=True)
        ]

    def block(i: Array, p: Array, window: tuple) -> tuple[tuple, Array, Array]:
        def advance(carry: tuple, order: Array) -> tuple[tuple, Array]:
            return next_hermite(u, order, carry), carry[1]

        orders = p + 2 * jnp.arange(BLOCK)
        window, table = jax.lax.scan(advance, window, orders)
        table = table.reshape(BLOCK, MOST_CHUNKS, CHUNK)

        def collect(j: Array, sums: list[Array]) -> list[Array]:
            return [
                total + table[:, j] @ sample.values[j, i].T
                for total, sample in zip(sums, samples, strict=True)
            ]

        start = [jnp.zeros((BLOCK, sample.change.shape[0])) for sample in samples]
        found = jnp.concatenate(jax.lax.fori_loop(0, tier.chunks, collect, start), axis=1)
        left, right = found[:, :rows], found[:, rows:]
        return window, left.reshape(BLOCK, *K11.shape), right.reshape(BLOCK, *K22.shape)

    def start(i: Array) -> tuple:
        windows = [hermite_window(u, parity) for parity in parities]
        return tuple(jnp.stack(entries)[i] for entries in zip(*windows, strict=True))

    whole = jnp.concatenate([sample.masses.whole for sample in samples])
    parts = jnp.concatenate([sample.masses.parts for sample in samples], axis=1)
    change = jnp.concatenate([sample.change for sample in samples])
    coarse = (change > tier.accepted) | (spacing**2 * jnp.concatenate(flat) > 0.6)
    # The error is change^2, but for the shift of the largest wave number by sqrt(P).
    change_F, change_G = change[:rows].reshape(K11.shape), change[rows:].reshape(K22.shape)
    of_nodes = jnp.maximum(change_F, change_G) ** 1.7
    shape_F, shape_G = K11.shape, K22.shape
    source = Source(
        parities,
        start,
        block,
        Masses(whole[:rows].reshape(shape_F), parts[:, :rows].reshape(-1, *shape_F)),
        Masses(whole[rows:].reshape(shape_G), parts[:, rows:].reshape(-1, *shape_G)),
    )
    # The last tier goes on with the pairs that are resolved, the others give up at once.
    give_up = jnp.where(last, coarse.all(), coarse.any())
    series = sum_series(source, rho, jnp.where(give_up, 0.0, tier.limit), TOLERANCE)
    open_pairs = coarse[:rows].reshape(shape_F) | coarse[rows:].reshape(shape_G)
    checked = series._replace(
        bound=jnp.where(open_pairs, jnp.inf, series.bound),
        converged=series.converged & ~coarse.any(),
    )
    return checked, jnp.broadcast_to(of_nodes, rho.shape)


def _sample(
    factor: Factor, K: Array, u: Array, spacing: Array, chunks: Array, parities: tuple[int, ...]
) -> Samples:
    root_K = jnp.sqrt(K)[:, None]
    nodes = u.reshape(MOST_CHUNKS, CHUNK)
    thinned = np.where(np.arange(CHUNK) % 2 == 0, 2.0, 0.0)

    def fill(j: Array, state: tuple) -> tuple:
        values, whole, parts, coarse = state
        v = nodes[j]
        weight = jnp.where(v == 0, spacing, 2 * spacing)
        root = weight * (2 * np.pi) ** -0.25 * jnp.exp(-(v**2) / 4)
        density = weight * (2 * np.pi) ** -0.5 * jnp.exp(-(v**2) / 2)
        if factor.symmetry == 0:
            sides = factor(jnp.asarray(SIGNS) * (root_K * v))
            halves = [(sides[0] + sides[1]) / 2, (sides[0] - sides[1]) / 2]
            square = halves[0] ** 2 + halves[1] ** 2
            halves = [halves[p] for p in parities]
        else:
            halves = [factor(root_K * v)][: len(parities)]
            square = halves[0] ** 2 if halves else jnp.zeros((K.size, CHUNK))
        for i, half in enumerate(halves):
            values = jax.lax.dynamic_update_slice(values, (half * root)[None, None], (j, i, 0, 0))
        parts += jnp.array([half**2 @ density for half in halves]).reshape(parts.shape)
        return values, whole + square @ density, parts, coarse + square @ (density * thinned)

    many = len(parities)
    blank = jnp.zeros(K.shape)
    start = (
        jax.lax.empty((MOST_CHUNKS, many, K.size, CHUNK), float),
        blank,
        jnp.zeros((many, *K.shape)),
        blank,
    )
    values, whole, parts, coarse = jax.lax.fori_loop(0, chunks, fill, start)
    change = jnp.abs(coarse - whole) / jnp.where(whole > 0, whole, 1.0)
    return Samples(values, Masses(whole, parts), change)
