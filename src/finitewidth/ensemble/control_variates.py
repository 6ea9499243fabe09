r"""Seeing O(1/n) through the noise: control variates that use the infinite-width layer map.

Let $F_\ell(G) = C_b + C_W\langle\sigma\sigma\rangle_G$ be the mean of the next metric given this
one, $K^{(\ell+1)} = F_\ell(K^{(\ell)})$ and $J_\ell$ its Jacobian at $K^{(\ell)}$. Then, exactly
and at any width, the deviation $m^{(\ell)} = E[\widehat G^{(\ell)}] - K^{(\ell)}$ obeys

$$m^{(\ell+1)} = J_\ell\, m^{(\ell)} + E\big[F_\ell(\widehat G) - F_\ell(K) -
J_\ell(\widehat G - K)\big].$$

The bracket is quadratic in the fluctuation, of order $1/n$ in every single network, so that
$n\,m$ has an error of order 1 where the plain mean has one of order $\sqrt n$.

The maps are handed in by the caller: this package holds no theory.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

LayerMap = Callable[[Float[Array, "*B N N"]], Float[Array, "*B N N"]]


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
