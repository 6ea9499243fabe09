"""Direct integration of one pair whose functions have kinks, at any correlation.

    <D^m1 F(z_1) D^m2 G(z_2)> = int dz_1 N(z_1; K11) D^m1 F(z_1) S_m2(r z_1)
    S_m(mu) = <D^m G(mu + s w)>_{w ~ N(0,1)},   r = K12/K11,   s^2 = K22 - K12^2/K11

Both integrals run over panels that end at the kinks. S changes over a distance s where its mean
mu = r z_1 crosses a kink of G, and the outer panels shrink there. Delta functions do not enter
the integrals: <delta^(n)(z_1 - k) G(z_2)> = (-d/dz_1)^n [N(z_1; K11) S(r z_1)] at k, and likewise
for those of G.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from finitewidth.gaussian.factor import Factor
from finitewidth.gaussian.panels import DISTANCES, RANGE, gauss_legendre, panel_ends

#: sqrt(1 - rho^2) is not taken smaller than this; expectations that diverge stay finite.
SMALLEST_SINE = 1e-11
INNER_NODES = 12
INNER_WIDTH = 2.5
#: Distances from the image of a kink, in units of the width of the transition.
TRANSITION = (0.0, 1.0, 2.0, 4.0, 6.0, 9.0)


def conditional_expectation(
    F: Factor, G: Factor, K11: Float[Array, ""], K22: Float[Array, ""], K12: Float[Array, ""]
) -> Float[Array, ""]:
    """Return the expectation for one pair with K11, K22 > 0 and K12 != 0."""
    size = jnp.sqrt(K11 * K22)
    sine = jnp.sqrt(jnp.maximum((size - K12) * (size + K12), 0.0)) / size
    collinear = sine < SMALLEST_SINE
    sine = jnp.maximum(sine, SMALLEST_SINE)
    r, s = K12 / K11, jnp.sqrt(K22) * sine

    def inner(mu: Array) -> Array:
        # Exactly collinear: no transition is resolved, and none needs to be.
        return jax.lax.cond(collinear, G, lambda m: _mean(G, m, s, 0), mu)

    own = panel_ends(K11, F.kinks, 1.0)
    width = sine * size / jnp.abs(K12)
    images = [
        jnp.asarray(k) * jnp.sqrt(K11) / K12 + sign * width * np.array(TRANSITION)
        for k in G.kinks
        for sign in (-1, 1)
    ]
    # Structure of G away from its kinks, at the places where the mean meets it.
    images += [
        (k + sign * np.array(DISTANCES)) * jnp.sqrt(K11) / K12 for k in G.kinks for sign in (-1, 1)
    ]
    ends = jnp.sort(jnp.clip(jnp.concatenate([own, *images]), -RANGE, RANGE))

    def panel(total: Array, pair: tuple[Array, Array]) -> tuple[Array, None]:
        def integrate() -> Array:
            u, weight = gauss_legendre(jnp.stack(pair))
            z = jnp.sqrt(K11) * u
            density = weight * jnp.exp(-(u**2) / 2) / math.sqrt(2 * math.pi)
            return (density * F(z) * inner(r * z)).sum()

        return total + jax.lax.cond(pair[1] > pair[0], integrate, lambda: jnp.zeros(())), None

    total, _ = jax.lax.scan(panel, jnp.zeros(()), (ends[:-1], ends[1:]))

    # The delta functions of F meet all of G, those of G what is left of F.
    def all_of_G(j: int, mu: Array) -> Array:
        return _mean(G.differentiated(j), mu, s, G.order + j)

    def rest_of_F(j: int, mu: Array) -> Array:
        return _mean(F.differentiated(j), mu, jnp.sqrt(K11) * sine, j)

    total += _at_deltas(F, K11, r, all_of_G)
    return total + _at_deltas(G, K22, K12 / K22, rest_of_F)


def _mean(factor: Factor, mu: Array, s: Array, deltas: int) -> Array:
    # <D^m F(mu + s w)> with the pointwise part of D^m F and its delta^(n) for n < deltas, whose
    # means are s^-(n+1) He_n(v) phi(v), v = (k - mu)/s.
    w, weight = gauss_legendre(_inner_ends(factor.kinks, mu, s), INNER_NODES)
    density = weight * jnp.exp(-(w**2) / 2) / math.sqrt(2 * math.pi)
    total = (density * factor(mu[..., None] + s * w)).sum(-1)
    for kink, jumps in factor.jumps():
        v = jnp.clip((kink - mu) / s, -40.0, 40.0)
        for n, jump in enumerate(jumps[:deltas]):
            if jump:
                total += jump * _hermite_bell(n, v) / s ** (n + 1)
    return total


def _at_deltas(
    factor: Factor, K: Array, ratio: Array, mean: Callable[[int, Array], Array]
) -> Array:
    # sum of c <delta^(n)(z - k) S(ratio z)>, where mean(j, mu) is the j-th derivative of S at mu.
    total = jnp.zeros(())
    for kink, jumps in factor.jumps():
        v = jnp.clip(kink / jnp.sqrt(K), -40.0, 40.0)
        for n, jump in enumerate(jumps):
            for j in range(n + 1 if jump else 0):
                bell = _hermite_bell(n - j, v) / K ** ((n - j + 1) / 2)
                total += jump * math.comb(n, j) * bell * (-ratio) ** j * mean(j, ratio * kink)
    return total


def _inner_ends(kinks: tuple[float, ...], mu: Array, s: Array) -> Array:
    centres = np.array(sorted({*kinks, 0.0}))
    reach = np.array(DISTANCES)
    graded = np.unique(np.concatenate([np.add.outer(centres, x * reach).ravel() for x in (-1, 1)]))
    low, high = -RANGE, RANGE
    uniform = np.linspace(low, high, 1 + math.ceil((high - low) / INNER_WIDTH))
    moving = jnp.clip((graded - mu[..., None]) / s, low, high)
    fixed = jnp.broadcast_to(uniform, (*mu.shape, uniform.size))
    return jnp.sort(jnp.concatenate([fixed, moving], axis=-1), axis=-1)


def _hermite_bell(n: int, v: Array) -> Array:
    # He_n(v) phi(v)
    before, now = jnp.zeros_like(v), jnp.exp(-(v**2) / 2) / math.sqrt(2 * math.pi)
    for m in range(n):
        before, now = now, v * now - m * before
    return now
