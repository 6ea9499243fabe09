"""Composite Gauss-Legendre rules for functions with kinks.

A kink at k is an end of a panel for every variance K: in u = z/sqrt(K) it lies at k/sqrt(K). The
panels grow by factors of three in z with the distance from a kink and from 0, so that structure of
size 1 in z is resolved at large K too, and are never wider than a given width in u.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

#: Range of u. The density is 8e-30 there.
RANGE = 11.5
NODES = 16
#: Distances from a kink, in z, at which panels end.
DISTANCES = (0.0, 1.0, 3.0, 9.0, 27.0, 81.0)


def panel_ends(
    K: Float[Array, "*shape"], kinks: tuple[float, ...], width: float, low: float = -RANGE
) -> Float[Array, "*shape ends"]:
    """Return the sorted ends of the panels on [low, RANGE]; those outside have width 0."""
    centres = np.array(sorted({*kinks, 0.0}))
    reach = np.array(DISTANCES)
    graded = np.unique(np.concatenate([np.add.outer(centres, s * reach).ravel() for s in (-1, 1)]))
    uniform = np.linspace(low, RANGE, 1 + int(np.ceil((RANGE - low) / width)))
    # At K = 0 every point but the origin is infinitely far away.
    scale = jnp.sqrt(jnp.maximum(K, 1e-300))[..., None]
    moving = jnp.clip(graded / scale, low, RANGE)
    fixed = jnp.broadcast_to(uniform, (*K.shape, uniform.size))
    return jnp.sort(jnp.concatenate([fixed, moving], axis=-1), axis=-1)


def gauss_legendre(
    ends: Float[Array, "*shape ends"], nodes: int = NODES
) -> tuple[Float[Array, "*shape n"], Float[Array, "*shape n"]]:
    """Return nodes and weights of the composite rule on neighbouring panels."""
    x, w = np.polynomial.legendre.leggauss(nodes)
    half = (ends[..., 1:] - ends[..., :-1])[..., None] / 2
    centre = (ends[..., 1:] + ends[..., :-1])[..., None] / 2
    flat = (*ends.shape[:-1], -1)
    return (centre + half * x).reshape(flat), (half * w).reshape(flat)
