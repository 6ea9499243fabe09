"""Direct integration of one pair whose functions have kinks, at any correlation.

    <D^m1 F(z_1) D^m2 G(z_2)> = int dz_1 N(z_1; K11) D^m1 F(z_1) S_m2(r z_1)
    S_m(mu) = <D^m G(mu + s w)>_{w ~ N(0,1)},   r = K12/K11,   s^2 = K22 - K12^2/K11

Both integrals run over panels that end at the kinks. S changes over a distance s where its mean
mu = r z_1 crosses a kink of G, and the outer panels shrink there. Delta functions are evaluated:
those of G inside S, those of F as derivatives of N(z_1) S(r z_1) at the kink.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from finitewidth.gaussian.factor import Factor
from finitewidth.gaussian.panels import DISTANCES, RANGE, gauss_legendre, panel_ends

#: sqrt(1 - rho^2) is not taken smaller than this; expectations that diverge stay finite.
SMALLEST_SINE = 1e-8
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

    def pointwise_mean(order: int, mu: Array) -> Array:
        # <{G^(order)}(mu + s w)>
        factor = G.differentiated(order - G.order)
        ends = _inner_ends(G.kinks, mu, s)
        w, weight = gauss_legendre(ends, INNER_NODES)
        density = weight * jnp.exp(-(w**2) / 2) / math.sqrt(2 * math.pi)
        return (density * factor(mu[..., None] + s * w)).sum(-1)

    def smoothed(order: int, mu: Array) -> Array:
        total = pointwise_mean(order, mu)
        return total + _peaks(G.differentiated(order - G.order), mu, s)

    def inner(mu: Array) -> Array:
        # Exactly collinear: no transition is resolved, and none needs to be.
        mean = jax.lax.cond(collinear, G, lambda m: pointwise_mean(G.order, m), mu)
        return mean + _peaks(G, mu, s)

    own = panel_ends(K11, F.kinks, 1.0)
    width = sine * size / jnp.abs(K12)
    images = [
        jnp.asarray(k) * jnp.sqrt(K11) / K12 + sign * width * np.array(TRANSITION)
        for k in G.kinks
        for sign in (-1, 1)
    ]
    # Structure of G away from its kinks, at the places where the mean meets it.
    images += [
        (k + sign * np.array(DISTANCES)) * jnp.sqrt(K11) / K12
        for k in G.kinks
        for sign in (-1, 1)
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

    for kink, sizes in F.jumps():
        v = jnp.clip(kink / jnp.sqrt(K11), -40.0, 40.0)
        for n, jump in enumerate(sizes):
            for j in range(n + 1 if jump else 0):
                bell = _hermite_bell(n - j, v) / K11 ** ((n - j + 1) / 2)
                mean = smoothed(G.order + j, r * kink)
                total += jump * math.comb(n, j) * bell * (-r) ** j * mean
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


def _peaks(factor: Factor, mu: Array, s: Array) -> Array:
    # Delta functions of D^m G, smoothed: s^-(n+1) He_n(v) phi(v), v = (k - mu)/s.
    total = jnp.zeros(mu.shape)
    for kink, sizes in factor.jumps():
        v = jnp.clip((kink - mu) / s, -40.0, 40.0)
        for n, jump in enumerate(sizes):
            if jump:
                total += jump * _hermite_bell(n, v) / s ** (n + 1)
    return total


def _hermite_bell(n: int, v: Array) -> Array:
    # He_n(v) phi(v)
    before, now = jnp.zeros_like(v), jnp.exp(-(v**2) / 2) / math.sqrt(2 * math.pi)
    for m in range(n):
        before, now = now, v * now - m * before
    return now
