"""Expectations of a function of one Gaussian variable, and their derivatives in the variance.

    <F>_K = int dz F(z) exp(-z^2/2K)/sqrt(2 pi K),      d<F>_K/dK = <F''>_K/2        PDLT (5.25)

F'' is the derivative of a distribution: at a kink k it holds delta functions, whose expectations
are <delta^(n)(z - k)>_K = K^(-(n+1)/2) He_n(v) phi(v), v = k/sqrt(K).
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from finitewidth.gaussian.factor import Factor, as_factor
from finitewidth.gaussian.panels import RANGE, gauss_legendre, panel_ends
from finitewidth.precision import in_double_precision
from finitewidth.validation import is_concrete

CHUNK = 256
LEVELS = 10


@in_double_precision
def single_moment(
    F: Callable, K: Float[ArrayLike, "..."], kinks: tuple[float, ...] = ()
) -> Float[Array, "..."]:
    """Return <F(z)> for z ~ N(0, K).

    Smooth functions are integrated by midpoint rules in z/sqrt(K), whose spacing is halved until
    the result stays; functions with kinks by Gauss-Legendre panels that end at the kinks. The
    error is below 1e-13 of <|F|> for K in [1e-6, 1e3] if F varies over distances of order 1 (at
    large K, F with kinks: over distances as large as those to the nearest kink and to 0). Rates
    in K, which are means of higher derivatives of F, are good to 1e-12 for K up to 10 and to 1e-7
    at 1e3. Cost: about 10^3 evaluations of F for each K.

    Args:
        F: elementwise JAX function, an `Activation`, or an `ActivationProduct`. Hold on to it:
            a new lambda is compiled anew.
        K: variances, any shape; 0 gives F(0).
        kinks: where F or a derivative of it jumps, beyond the kinks it declares.

    Returns:
        The expectation, in the shape of K; differentiable in K any number of times.

    Raises:
        TypeError: if F cannot be called.
        ValueError: for a negative variance, NaN or infinity.

    Example:
        >>> import jax.numpy as jnp
        >>> round(float(single_moment(jnp.cos, 2.0)), 12)
        0.367879441171
    """
    factor = as_factor(F, tuple(kinks))
    K = jnp.asarray(K, dtype=float)
    if is_concrete(K) and not ((np.asarray(K) >= 0) & np.isfinite(np.asarray(K))).all():
        bad = np.asarray(K)[~((np.asarray(K) >= 0) & np.isfinite(K))].reshape(-1)[0]
        raise ValueError(f"K: wanted finite variances >= 0, got {bad}.")
    return single_primitive(factor, K)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
@partial(jax.jit, static_argnums=0)
def single_primitive(factor: Factor, K: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return <D^m F>_K elementwise; differentiable any number of times."""
    if factor.kinks:
        return _split(factor, K) + _deltas(factor, K)
    return _trapezoid(factor, K)


@single_primitive.defjvp
def _heat_equation(factor: Factor, primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    (K,), (dK,) = primals, tangents
    slope = single_primitive(factor.differentiated(2), K) / 2
    return single_primitive(factor, K), slope * dK


def _split(factor: Factor, K: Array) -> Array:
    u, weight = gauss_legendre(panel_ends(K, factor.kinks, width=1.0))
    density = weight * jnp.exp(-(u**2) / 2) / np.sqrt(2 * np.pi)
    return (density * factor(jnp.sqrt(K)[..., None] * u)).sum(-1)


def _deltas(factor: Factor, K: Array) -> Array:
    scale = jnp.sqrt(jnp.where(K > 0, K, 1.0))
    total = jnp.zeros(K.shape)
    for kink, sizes in factor.jumps():
        v = jnp.clip(kink / scale, -40.0, 40.0)
        density = jnp.exp(-(v**2) / 2) / np.sqrt(2 * np.pi)
        below, hermite = jnp.zeros_like(v), jnp.ones_like(v)
        for n, size in enumerate(sizes):
            if size:
                total += size * hermite * density / scale ** (n + 1)
            below, hermite = hermite, v * hermite - n * below
    return jnp.where(K > 0, total, 0.0)


def _trapezoid(factor: Factor, K: Array) -> Array:
    scale = jnp.sqrt(K)[..., None]

    def rule(level: Array) -> tuple[Array, Array]:
        chunks = 2**level
        spacing = 2 * RANGE / (CHUNK * chunks)

        def body(i: Array, sums: tuple[Array, Array]) -> tuple[Array, Array]:
            u = -RANGE + spacing * (i * CHUNK + jnp.arange(CHUNK) + 0.5)
            term = factor(scale * u) * jnp.exp(-(u**2) / 2) * (spacing / np.sqrt(2 * np.pi))
            return sums[0] + term.sum(-1), sums[1] + jnp.abs(term).sum(-1)

        return jax.lax.fori_loop(0, chunks, body, (jnp.zeros(K.shape), jnp.zeros(K.shape)))

    def unsettled(state: tuple[Array, Array, Array]) -> Array:
        level, _, change = state
        return (level < LEVELS) & (change > 1e-9)

    def refine(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        level, before, _ = state
        value, size = rule(level)
        change = jnp.abs(value - before) / jnp.where(size > 0, size, 1.0)
        return level + 1, value, change.max(initial=0.0)

    # Nodes closer than 0.7 in z from the start: structure of size 1 must not go unseen. The rule
    # before the first is taken to be infinitely far off.
    widest = 2 * RANGE / CHUNK * jnp.sqrt(K.max(initial=0.0))
    level = jnp.ceil(jnp.log2(jnp.maximum(widest / 0.7, 1.0))).astype(int)
    start = (level, jnp.full(K.shape, jnp.inf), jnp.asarray(jnp.inf))
    return jax.lax.while_loop(unsettled, refine, start)[1]
