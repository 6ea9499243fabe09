"""All roots in K of a linear combination of one-input expectations.

Every condition of criticality is one: with x(K) = (1, 1/K, g/K, g', K g'', s, s/K), s = <sigma'^2>,

    fixed point            C_b/K + C_W g/K - 1 = 0
    extremum of K' - K     C_W g' - 1 = 0             (chi_parallel = 1)
    extremum of that       K g'' = 0
    critical tuning        s - g' = 0                 (r(K) = 1, PDLT (5.73))
    line chi_perp = 1      s - g/K - C_b s/K = 0

Roots are bracketed by sign changes on a logarithmic grid and bisected in log K with Optimistix
until the interval is one rounding error wide. A value that rounding errors could have made counts
as no sign at all.
"""

from collections.abc import Iterable
from functools import lru_cache, partial
from itertools import pairwise
from typing import Generic, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
from jaxtyping import Array, Float

from finitewidth.activations import Activation
from finitewidth.criticality.moments import OneInput
from finitewidth.precision import in_double_precision

#: The kernels that are searched. Below and above, fixed points are found from limits.
SEARCH_RANGE = (1e-10, 1e3)
#: Grid points per factor of e.
GRID_DENSITY = 12
#: A combination smaller than this times its largest term has no sign.
ROUNDING = 3e-14


T = TypeVar("T")


class Features(NamedTuple, Generic[T]):
    """The expectations that conditions are combined from, or one weight for each of them."""

    one: T
    inverse: T
    value: T
    rate: T
    curvature: T
    slope: T
    slope_inverse: T


def combination(**weights: float) -> Features[float]:
    """Return the weights of a linear combination of features, 0 for those not named.

    Example:
        >>> combination(slope=1.0, rate=-1.0).slope
        1.0
    """
    return Features(**(dict.fromkeys(Features._fields, 0.0) | weights))


@partial(jax.jit, static_argnums=0)
def features(sigma: Activation, K: Float[Array, "..."]) -> Float[Array, "features ..."]:
    """Compute x(K)."""
    moments = OneInput(sigma)
    rate, bend = jax.jvp(moments.rate, (K,), (jnp.ones_like(K),))
    slope = moments.slope(K)
    return jnp.stack(
        Features(jnp.ones_like(K), 1 / K, moments.value(K) / K, rate, K * bend, slope, slope / K)
    )


@lru_cache(maxsize=64)
@in_double_precision
def search_grid(sigma: Activation) -> tuple[np.ndarray, np.ndarray]:
    """Return the grid of K, shape (M,), and x on it, shape (7, M)."""
    low, high = np.log(SEARCH_RANGE)
    K = np.exp(np.linspace(low, high, int(GRID_DENSITY * (high - low)) + 1))
    values = features_on(sigma, K)
    for array in (K, values):
        array.setflags(write=False)
    return K, values


@in_double_precision
def features_on(sigma: Activation, K: np.ndarray) -> np.ndarray:
    """Return x on an array of kernels, shape (7, M)."""
    # One compiled shape serves a grid and a single K. Integrals refine until the hardest K of a
    # block is done, so that a block spans few K.
    padded = np.pad(K, (0, -K.size % GRID_DENSITY), mode="edge").reshape(-1, GRID_DENSITY)
    blocks = [np.asarray(features(sigma, jnp.asarray(block))) for block in padded]
    return np.concatenate(blocks, axis=1)[:, : K.size]


@in_double_precision
def features_at(sigma: Activation, K: float) -> Features[float]:
    """Return x(K) at one kernel, as plain numbers."""
    return Features(*map(float, features_on(sigma, np.array([K]))[:, 0]))


@partial(jax.jit, static_argnums=0)
def _bisect(
    sigma: Activation,
    weights: Float[Array, " features"],
    lower: Float[Array, ""],
    upper: Float[Array, ""],
) -> Float[Array, ""]:
    def residual(log_K: Array, weights: Array) -> Array:
        # A weight of zero leaves out a feature even where it is infinite.
        return jnp.where(weights == 0, 0.0, weights * features(sigma, jnp.exp(log_K))).sum()

    # The tolerance cannot be met when the residual is steep; then the steps run out at an
    # interval of 2^-60 of the first one, which is what is wanted.
    solver = optx.Bisection(rtol=1e-16, atol=1e-16, flip=False)
    options = {"lower": lower, "upper": upper}
    solution = optx.root_find(
        residual, solver, (lower + upper) / 2, weights, options, max_steps=60, throw=False
    )
    return jnp.exp(solution.value)


@in_double_precision
def roots(sigma: Activation, weights: Features[float], also: Iterable[float] = ()) -> list[float]:
    """Find where the combination sum_i weights_i x_i(K) changes sign.

    Args:
        sigma: the activation.
        weights: one number for each feature.
        also: more kernels to put on the grid; between neighbours on the grid one root at most
            is found.

    Returns:
        The roots inside the search range, ascending.
    """
    K, signs = combined_signs(sigma, weights, also)
    found = []
    known = np.flatnonzero(signs)
    for i, j in pairwise(known):
        if signs[i] != signs[j]:
            # Oriented so that the residual rises.
            rising = jnp.asarray(weights, dtype=float) * signs[j]
            lower, upper = jnp.log(jnp.asarray(K[i])), jnp.log(jnp.asarray(K[j]))
            found.append(float(_bisect(sigma, rising, lower, upper)))
    return found


@in_double_precision
def combined_signs(
    sigma: Activation, weights: Features[float], also: Iterable[float] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """Return the grid with the extra kernels in it, and the sign of the combination there."""
    K, x = search_grid(sigma)
    more = sorted(also)
    if more:
        extra = features_on(sigma, np.array(more))
        K, x = np.concatenate([K, more]), np.concatenate([x, extra], axis=1)
        order = np.argsort(K, kind="stable")
        K, x = K[order], x[:, order]
    column = np.asarray(weights, dtype=float)[:, None]
    # A weight of zero leaves out a feature even where it is infinite.
    terms = column * np.where(column == 0, 0.0, x)
    total, size = terms.sum(axis=0), np.abs(terms).max(axis=0)
    settled = np.isfinite(total) & (np.abs(total) > ROUNDING * size)
    return K, np.where(settled, np.sign(total), 0.0).astype(int)
