"""Pairs of functions of which one has kinks: the Mehler series with split panels.

    c_p[D^m F] = K^(-j/2) sqrt((p+1)...(p+j)) c_{p+j}[D^(m-j) F]

(integration by parts onto the Gaussian) reduces derivatives of delta functions to delta functions,
which are nodes of their own: c_p[delta(z - k)] = K^(-1/2) h_p(v) phi(v), v = k/sqrt(K). The
coefficients decay as a power of p, so |rho| has to make the series converge; pairs with |rho|
above about 0.96 are integrated directly.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from finitewidth.gaussian.factor import Factor
from finitewidth.gaussian.pair.conditional import conditional_expectation
from finitewidth.gaussian.pair.mehler import (
    BLOCK,
    Masses,
    Source,
    hermite_window,
    next_hermite,
    sum_series,
)
from finitewidth.gaussian.pair.result import Result, correlation, integrate_selected
from finitewidth.gaussian.panels import gauss_legendre, panel_ends

#: Largest order; panels of half a unit resolve its oscillations with 16 nodes.
LIMIT = 640
WIDTH = 0.5
TOLERANCE = 1e-12
#: Pairs whose bound stays above this are integrated directly.
DIRECT = 1e-11


def kinked_pairs(
    F: Factor,
    G: Factor,
    K11: Float[Array, "..."],
    K22: Float[Array, "..."],
    K12: Float[Array, "..."],
) -> Result:
    """Return <D^m1 F(z_1) D^m2 G(z_2)> as distributions, for factors with kinks."""
    rho = correlation(K11, K22, K12)
    # Pairs that need far more orders than there are do not hold the others up.
    served = jnp.abs(rho) < 0.97
    series = sum_series(
        _source(F, G, K11, K22),
        jnp.where(served, rho, 0.0),
        jnp.asarray(float(LIMIT)),
        TOLERANCE,
    )
    left = ~served | (series.bound > DIRECT)

    def single(k11: Array, k22: Array, k12: Array) -> Array:
        return conditional_expectation(F, G, k11, k22, k12)

    value = integrate_selected(single, left, series.value, K11, K22, K12)
    error = jnp.where(left, 1e-10, jnp.maximum(series.bound, 1e-14))
    return Result(value, error, series.orders, left.sum())


class Samples(NamedTuple):
    """A factor on its nodes.

    Attributes:
        nodes: |u|, shape (M, n).
        values: part of each parity of D^(m-j) F times weight times phi^(1/2), (2, M, n).
        masses: sizes, or None if there are delta functions.
        scale: K^(-j/2), shape (M,).
        shift: j.
    """

    nodes: Float[Array, "M n"]
    values: Float[Array, "2 M n"]
    masses: Masses | None
    scale: Float[Array, " M"]
    shift: int


def _source(F: Factor, G: Factor, K11: Array, K22: Array) -> Source:
    parities = tuple(p for p in (0, 1) if F.allows(p) and G.allows(p))
    factors = (F, G)
    samples = [_sample(f, k.reshape(-1)) for f, k in zip(factors, (K11, K22), strict=True)]

    def start(i: Array) -> tuple:
        windows = []
        for sample in samples:
            by_parity = [hermite_window(sample.nodes, p + sample.shift) for p in parities]
            windows.append(tuple(jnp.stack(e)[i] for e in zip(*by_parity, strict=True)))
        return tuple(windows)

    def block(i: Array, p: Array, windows: tuple) -> tuple[tuple, Array, Array]:
        parity = jnp.asarray(parities)[i]
        values = [s.values[(parity + s.shift) % 2] for s in samples]

        def advance(carry: tuple, order: Array) -> tuple[tuple, tuple]:
            later, found = [], []
            for sample, window, value in zip(samples, carry, values, strict=True):
                lowered = jnp.sqrt(jnp.prod(order + jnp.arange(1, sample.shift + 1)))
                found.append((value * window[1]).sum(-1) * lowered * sample.scale)
                later.append(next_hermite(sample.nodes, order + sample.shift, window))
            return tuple(later), tuple(found)

        windows, (left, right) = jax.lax.scan(advance, windows, p + 2 * jnp.arange(BLOCK))
        return windows, left.reshape(BLOCK, *K11.shape), right.reshape(BLOCK, *K22.shape)

    masses = []
    for sample, shape in zip(samples, (K11.shape, K22.shape), strict=True):
        if sample.masses is None:
            masses.append(None)
        else:
            parts = sample.masses.parts[np.array(parities, dtype=int)]
            whole = sample.masses.whole.reshape(shape)
            masses.append(Masses(whole, parts.reshape(-1, *shape)))
    return Source(parities, start, block, *masses)


def _sample(factor: Factor, K: Float[Array, " M"]) -> Samples:
    shift = factor.order - factor.regular_order
    regular = factor.differentiated(-shift)
    root_K = jnp.sqrt(K)[:, None]
    u, weight = gauss_legendre(panel_ends(K, tuple(abs(k) for k in factor.kinks), WIDTH, low=0.0))
    plus, minus = regular(jnp.stack([root_K * u, -root_K * u]))
    parts = jnp.stack([(plus + minus) / 2, (plus - minus) / 2])
    root = 2 * weight * (2 * np.pi) ** -0.25 * jnp.exp(-(u**2) / 4)
    density = 2 * weight * (2 * np.pi) ** -0.5 * jnp.exp(-(u**2) / 2)
    sizes = (parts**2 * density).sum(-1)
    values = parts * root
    for kink, jumps in regular.jumps() if regular.has_peaks else ():
        inverse = jnp.where(root_K > 0, 1 / jnp.where(root_K > 0, root_K, 1.0), 0.0)
        v = jnp.clip(kink * inverse, -40.0, 40.0)
        height = jumps[0] * inverse * (2 * np.pi) ** -0.25 * jnp.exp(-(v**2) / 4)
        u = jnp.concatenate([u, jnp.abs(v)], axis=-1)
        values = jnp.concatenate([values, jnp.stack([height, height * jnp.sign(v)])], axis=-1)
    infinite = shift > 0 or regular.has_peaks
    masses = None if infinite else Masses(sizes.sum(0), sizes)
    scale = jnp.where(K > 0, jnp.where(K > 0, K, 1.0) ** (-shift / 2), float(shift == 0))
    return Samples(u, values, masses, scale, shift)
