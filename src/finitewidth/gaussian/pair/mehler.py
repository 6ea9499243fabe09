"""The Mehler series of a pair expectation, with an order that adapts to the kernel.

    <F(z_1) G(z_2)> = sum_p a_p(K11) b_p(K22) rho^p,           rho = K12/sqrt(K11 K22)
    a_p(K) = <F(sqrt(K) u) h_p(u)>_{u ~ N(0,1)},  h_p = He_p/sqrt(p!),  sum_p a_p^2 = <F^2>_K

After P terms the rest is at most |rho|^P (R_F R_G)^(1/2), R_F = <F^2> - sum_{p<P} a_p^2, by
Cauchy-Schwarz; blocks of terms are added until this bound is below a tolerance times
(<F^2> <G^2>)^(1/2). Even and odd orders are summed apart: a parity, or an odd part that is linear,
saves half the work. Hermite functions psi_p = h_p phi^(1/2) follow from each other,

    sqrt(p+1) psi_{p+1} = u psi_p - sqrt(p) psi_{p-1},

which is stable. (The recursion that connects orders of one parity directly is not: near u = 0 it
doubles a phase of pi/2, and rounding errors grow like p^2.)
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

#: Number of orders of one parity that are handled at once.
BLOCK = 16

Window = tuple[Array, Array]


class Masses(NamedTuple):
    """Sizes of one factor.

    Attributes:
        whole: sum_p c_p^2 of all orders, shape (*shape).
        parts: the same by parity, shape (parities, *shape).
    """

    whole: Float[Array, "*shape"]
    parts: Float[Array, "parities *shape"]


class Source(NamedTuple):
    """Where the coefficients of both factors come from, block by block.

    Attributes:
        parities: 0 (even) and/or 1 (odd): the orders that both factors have.
        start: the state before the first block of the i-th parity; a traced index.
        block: (i, p, state) -> (state, c_p, c_{p+2}, ... of F and G, shapes (BLOCK, *shape)).
        F: sizes of F, or None if its coefficients do not have a finite sum of squares.
        G: sizes of G, or None.
    """

    parities: tuple[int, ...]
    start: Callable[[Array], tuple]
    block: Callable[[Array, Array, tuple], tuple[tuple, Array, Array]]
    F: Masses | None
    G: Masses | None


class Series(NamedTuple):
    """A summed series.

    Attributes:
        value: shape (*shape).
        bound: bound on the rest of the series relative to (<F^2> <G^2>)^(1/2), (*shape).
        orders: number of orders used.
        converged: whether the bound is below the tolerance for all pairs.
    """

    value: Float[Array, "*shape"]
    bound: Float[Array, "*shape"]
    orders: Array
    converged: Array


def hermite_window(u: Array, order: int) -> Window:
    """Return (psi_{order-1}, psi_order)."""
    before, now = jnp.zeros_like(u), (2 * np.pi) ** -0.25 * jnp.exp(-(u**2) / 4)
    for p in range(order):
        before, now = now, (u * now - np.sqrt(p) * before) / np.sqrt(p + 1)
    return before, now


def next_hermite(u: Array, p: Array, window: Window) -> Window:
    """Return (psi_{p+1}, psi_{p+2}) from (psi_{p-1}, psi_p)."""
    before, now = window
    middle = (u * now - jnp.sqrt(p) * before) / jnp.sqrt(p + 1)
    return middle, (u * middle - jnp.sqrt(p + 1) * now) / jnp.sqrt(p + 2)


def sum_series(
    source: Source, rho: Float[Array, "*shape"], limit: Array, tolerance: float
) -> Series:
    """Sum the series until the bound on its rest is below the tolerance, or up to a limit.

    Args:
        source: coefficients; their shapes broadcast to that of rho and have as many axes.
        rho: correlation coefficients.
        limit: orders at which to give up.
        tolerance: wanted bound.
    """
    parities = jnp.asarray(source.parities, dtype=float)

    def add(i: Array, whole: Series) -> Series:
        one = _sum_parity(source, i, parities[i], rho, limit, tolerance)
        return Series(
            whole.value + one.value,
            whole.bound + one.bound,
            jnp.maximum(whole.orders, one.orders),
            whole.converged & one.converged,
        )

    nothing = Series(jnp.zeros(rho.shape), jnp.zeros(rho.shape), jnp.zeros(()), jnp.asarray(True))
    if not source.parities:
        return nothing
    return jax.lax.fori_loop(0, len(source.parities), add, nothing)


class _Progress(NamedTuple):
    sum: Array
    rest: Array


class _State(NamedTuple):
    p: Array
    total: Array
    power: Array
    source: tuple
    F: _Progress
    G: _Progress
    bound: Array


def _sum_parity(
    source: Source, i: Array, parity: Array, rho: Array, limit: Array, tolerance: float
) -> Series:
    square = rho**2
    step = square**BLOCK
    _, like_F, like_G = jax.eval_shape(lambda: source.block(i, parity, source.start(i)))
    # The largest |rho| that meets each variance of F: cheap, and close to the best bound.
    near = jnp.abs(rho)
    for axis in range(rho.ndim):
        if like_F.shape[1 + axis] == 1:
            near = near.max(axis=axis, keepdims=True)
    tail = _tail_factor(source, near)

    def body(state: _State) -> _State:
        inner_state, left, right = source.block(i, state.p, state.source)
        inner = jnp.zeros(rho.shape)
        for j in reversed(range(BLOCK)):
            inner = inner * square + left[j] * right[j]
        p = state.p + 2 * BLOCK
        F = _progress(source.F, i, state.F, left)
        G = _progress(source.G, i, state.G, right)
        bound = (near**p * tail * F.rest).max() * G.rest.max()
        return _State(
            p, state.total + state.power * inner, state.power * step, inner_state, F, G, bound
        )

    blank_F, blank_G = jnp.zeros(like_F.shape[1:]), jnp.zeros(like_G.shape[1:])
    first = _State(
        parity,
        jnp.zeros(rho.shape),
        jnp.where(parity == 0, jnp.ones(rho.shape), rho),
        source.start(i),
        _Progress(blank_F, blank_F + 1),
        _Progress(blank_G, blank_G + 1),
        jnp.asarray(jnp.inf),
    )
    last = jax.lax.while_loop(
        lambda state: (state.bound >= tolerance) & (state.p < limit), body, first
    )
    rest = _tail_factor(source, jnp.abs(rho)) * last.F.rest * last.G.rest
    return Series(last.total, jnp.abs(last.power) * rest, last.p, last.bound < tolerance)


def _progress(masses: Masses | None, i: Array, state: _Progress, block: Array) -> _Progress:
    added = (block**2).sum(0)
    if masses is None:
        # A distribution: the coefficients do not decay. The first block that is not zero tells
        # the size of the whole, the last one that of the rest.
        size = jnp.where(state.sum > 0, state.sum, added)
        return _Progress(size, jnp.sqrt(2 * added / jnp.where(size > 0, size, 1.0)))
    total = state.sum + added
    whole = jnp.where(masses.whole > 0, masses.whole, 1.0)
    rest = (masses.parts[i] - total) / whole
    # The difference is known to rounding only, but the other factor may be large at high orders
    # still: below that, the second half of the block tells the size of what comes.
    faint = 8 * (block[BLOCK // 2 :] ** 2).sum(0) / whole
    return _Progress(total, jnp.sqrt(jnp.where(rest > 4e-15, rest, faint)))


def _tail_factor(source: Source, near: Array) -> Array:
    # sum_{p >= P} |rho|^p/|rho|^P, needed where Parseval's sum does not bound the rest.
    if source.F is None or source.G is None:
        return 1 / jnp.maximum(1 - near**2, 1e-12)
    return jnp.ones_like(near)
