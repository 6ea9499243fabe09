r"""The exact chain of stochastic metrics: real networks without their weights.

Given the metric of a layer, its neurons are independent draws from $N(0, \widehat G^{(\ell)})$,
PDLT (4.69), and the metric of the next layer is a sum over them, PDLT (4.70):

$$z_j \sim N(0, \widehat G^{(\ell)}),\qquad
\widehat G^{(\ell+1)} = C_b + \frac{C_W}{n_\ell}\sum_{j=1}^{n_\ell}\sigma(z_j)\sigma(z_j)^T .$$

The law of the metrics is that of networks with Gaussian weights, at any width, for
$n_\ell N$ normal numbers a layer instead of $n_\ell n_{\ell-1}$.
"""

import math
from itertools import groupby

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from finitewidth.ensemble.draw import Draw, gram
from finitewidth.network import MLP
from finitewidth.precision import in_double_precision

# Below this part of its variance, what is left of a sample after the earlier samples are taken
# out is rounding noise.
PIVOT_TOLERANCE = 1e-15
# Up to this many samples the columns of the square root are unrolled, and XLA fuses them.
UNROLLED_SAMPLES = 6


@in_double_precision
def square_root(metric: Float[Array, "*B N N"]) -> Float[Array, "*B N N"]:
    """Return a lower-triangular R with R R^T = metric, for a metric that may be singular.

    A column whose pivot is zero to rounding is left zero, so duplicate samples, zero samples and
    the all-zero metric of a dead ReLU layer are exact and nothing is ever divided by zero.

    Args:
        metric: positive semidefinite matrices, shape (..., N, N).

    Returns:
        Lower-triangular matrices, shape (..., N, N). R R^T differs from the metric by rounding
        (1e-15 of the product of the two standard deviations); if two samples are distinct but
        closer than 3e-8 of their size, by up to 3e-8. Cost N^3/3 per matrix.

    Example:
        >>> import numpy as np
        >>> bool((square_root(np.ones((2, 2))) == np.array([[1, 0], [1, 0]])).all())
        True
    """
    metric = jnp.asarray(metric)
    samples = metric.shape[-1]
    scale = jnp.diagonal(metric, axis1=-2, axis2=-1)
    below = jnp.arange(samples)

    def column(k: int | Array, rest: Array) -> Array:
        pivot = rest[..., k, k]
        alive = pivot > PIVOT_TOLERANCE * scale[..., k]
        inverse = jnp.where(alive, jax.lax.rsqrt(jnp.where(alive, pivot, 1.0)), 0.0)
        return jnp.where(below >= k, rest[..., :, k] * inverse[..., None], 0.0)

    def remove(rest: Array, c: Array) -> Array:
        return rest - c[..., :, None] * c[..., None, :]

    if samples <= UNROLLED_SAMPLES:
        columns = []
        for k in range(samples):
            columns.append(column(k, metric))
            metric = remove(metric, columns[-1])
        return jnp.stack(columns, axis=-1)

    def step(k: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        rest, root = state
        c = column(k, rest)
        return remove(rest, c), root.at[..., :, k].set(c)

    return jax.lax.fori_loop(0, samples, step, (metric, jnp.zeros_like(metric)))[1]


@in_double_precision
def draw_by_chain(net: MLP, x: Float[Array, "N n0"], key: PRNGKeyArray, networks: int) -> Draw:
    """Draw the stochastic metrics of many networks, layer by layer, without weights.

    Args:
        net: the network; its weights must be Gaussian.
        x: inputs, shape (N, n0).
        key: random key of the batch.
        networks: number of networks B.

    Returns:
        The metrics of layers 1..L, shape (B, L, N, N). Cost per network and layer: N n normal
        numbers, N^2 n products, N^3 for the square root. Layers of equal width share compiled
        code.

    Example:
        >>> import jax, numpy as np
        >>> net = MLP(widths=(2, 8, 8, 1), activation="relu", C_W=2.0)
        >>> draw_by_chain(net, np.ones((3, 2)), jax.random.key(0), 5).metric.shape
        (5, 3, 3, 3)
    """
    first = gram(net.C_b[0], net.C_W[0], x)
    metric = jnp.broadcast_to(first, (networks, *first.shape))
    metrics = [metric[:, None]]
    samples, hidden = x.shape[0], net.widths[1:-1]
    # One call for all layers: compiling the generator is what compiling costs most for.
    normals = jax.random.normal(key, (networks * samples * sum(hidden),))

    def layer(metric: Array, now: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        unit, C_b, C_W = now
        after = gram(C_b, C_W, net.activation(square_root(metric) @ unit))
        return after, after

    start, used = 0, 0
    for width, run in groupby(hidden):
        layers = len(list(run))
        shape = (layers, networks, samples, width)
        unit = normals[used : used + math.prod(shape)].reshape(shape)
        following = slice(start + 1, start + layers + 1)
        metric, stacked = jax.lax.scan(
            layer, metric, (unit, net.C_b[following], net.C_W[following])
        )
        metrics.append(jnp.moveaxis(stacked, 0, 1))
        start, used = start + layers, used + math.prod(shape)
    return Draw(jnp.concatenate(metrics, axis=1))
