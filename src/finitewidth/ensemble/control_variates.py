r"""Seeing O(1/n) through the noise: control variates that use the infinite-width layer map.

Let $F_\ell(G) = C_b + C_W\langle\sigma\sigma\rangle_G$ be the mean of the next metric given this
one, $K^{(\ell+1)} = F_\ell(K^{(\ell)})$ and $J_\ell$ its Jacobian at $K^{(\ell)}$. Then, exactly
and at any width, the deviation $m^{(\ell)} = E[\widehat G^{(\ell)}] - K^{(\ell)}$ obeys

$$m^{(\ell+1)} = J_\ell\, m^{(\ell)} + E\big[F_\ell(\widehat G) - F_\ell(K) -
J_\ell(\widehat G - K)\big].$$

The bracket is quadratic in the fluctuation, of order $1/n$ in every single network, so that
$n\,m$ has an error of order 1 where the plain mean has one of order $\sqrt n$.

Metric and NTK together have the map $\Phi_\ell(G, M) = (F_\ell(G),\ \lambda_b +
\lambda_W\langle\sigma\sigma\rangle_G + C_W\langle\sigma'\sigma'\rangle_G M)$, and the same holds
with $M$ the mean of $\widehat H_{jj}$ given the layers below, but for one term: the NTK of a neuron
is not independent of its own preactivation, which adds to the bracket of the second component

$$\widehat S^{(\ell+1)} = \frac{C_W}{n_\ell}\sum_j \sigma'_j\sigma'_j\,(\widehat H^{(\ell)}_{jj} -
\widehat M^{(\ell)}) ,$$

a sum of $n$ numbers of size $n^{-1/2}$ which are independent given the layers below: of order $1/n$
as well.

The identities hold for Gaussian weights. The maps are handed in by the caller: this package holds
no theory.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

LayerMap = Callable[[Float[Array, "*B N N"]], Float[Array, "*B N N"]]
NtkLayerMap = Callable[
    [Float[Array, "*B N N"], Float[Array, "*B N N"]],
    tuple[Float[Array, "*B N N"], Float[Array, "*B N N"]],
]


class MetricPart(eqx.Module):
    """The metric's half of a map of metric and NTK, which does not depend on the NTK.

    Attributes:
        layer_map: Phi, from (G, M) to the mean metric and NTK of the next layer.
    """

    layer_map: NtkLayerMap

    def __call__(self, metric: Float[Array, "*B N N"]) -> Float[Array, "*B N N"]:
        """Return the mean of the next metric."""
        return self.layer_map(metric, jnp.zeros_like(metric))[0]


def controlled_deviation(
    layer_maps: tuple[LayerMap, ...], metric: Float[Array, "B L N N"]
) -> Float[Array, "B L N N"]:
    """Return one number per network and entry whose mean is E[G] - K, with O(1/n) noise.

    Args:
        layer_maps: F_1, ..., F_{L-1}; F_l takes metrics of layer l, shape (B, N, N), to the mean
            metrics of layer l+1 and is differentiable by `jax.jvp`.
        metric: sampled metrics of layers 1..L; layer 1 is the kernel K^(1).

    Returns:
        Shape (B, L, N, N), layer 1 zero. The recursion is linear, so it is run network by network
        and the spread over networks gives the standard error of the final number, correlations
        between layers included. Cost: two evaluations of the maps per layer.
    """
    kernel = metric[:, 0]
    deviation = jnp.zeros_like(kernel)
    deviations = [deviation]
    for layer, layer_map in enumerate(layer_maps, start=1):
        sampled = metric[:, layer - 1]
        # J is linear, so J m and J (G - K) are one product.
        next_kernel, moved = jax.jvp(layer_map, (kernel,), (deviation - (sampled - kernel),))
        deviation = moved + (layer_map(sampled) - next_kernel)
        kernel = next_kernel
        deviations.append(deviation)
    return jnp.stack(deviations, axis=1)


def controlled_ntk_deviation(
    layer_maps: tuple[NtkLayerMap, ...],
    metric: Float[Array, "B L N N"],
    ntk: Float[Array, "B L N N"],
    surplus: Float[Array, "B L N N"],
) -> Float[Array, "B L N N"]:
    """Return one number per network and entry whose mean is E[H] - Theta, with O(1/n) noise.

    Args:
        layer_maps: Phi_1, ..., Phi_{L-1}; Phi_l takes metrics and mean NTKs of layer l, each of
            shape (B, N, N), to those of layer l+1 and is differentiable by `jax.jvp`.
        metric: sampled metrics of layers 1..L; layer 1 is the kernel K^(1).
        ntk: conditional mean NTKs of layers 1..L; layer 1 is the frozen NTK Theta^(1).
        surplus: S of layers 1..L; zero in layers 1 and 2.

    Returns:
        Shape (B, L, N, N), layer 1 zero. Cost: two evaluations of the maps per layer.
    """
    limit = (metric[:, 0], ntk[:, 0])
    deviation = (jnp.zeros_like(limit[0]), jnp.zeros_like(limit[1]))
    deviations = [deviation[1]]
    for layer, layer_map in enumerate(layer_maps, start=1):
        sampled = (metric[:, layer - 1], ntk[:, layer - 1])
        tangent = jax.tree.map(lambda d, s, k: d - (s - k), deviation, sampled, limit)
        limit, moved = jax.jvp(layer_map, limit, tangent)
        deviation = jax.tree.map(lambda m, s, k: m + (s - k), moved, layer_map(*sampled), limit)
        deviation = (deviation[0], deviation[1] + surplus[:, layer])
        deviations.append(deviation[1])
    return jnp.stack(deviations, axis=1)
