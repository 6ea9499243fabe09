r"""What both samplers hand over: the statistics of a batch of networks, layer by layer.

The stochastic metric of layer $\ell+1$ is the covariance of its preactivations given the layer
below, PDLT (4.36) and (4.70),

$$\widehat G^{(\ell+1)}_{\alpha\beta} = C_b^{(\ell+1)} + \frac{C_W^{(\ell+1)}}{n_\ell}
\sum_{j=1}^{n_\ell} \sigma(z^{(\ell)}_{j;\alpha})\,\sigma(z^{(\ell)}_{j;\beta}),$$

and that of layer 1 is the same in every network, PDLT (4.8):
$C_b^{(1)} + C_W^{(1)}\,x_\alpha\cdot x_\beta/n_0$. The conditional mean of the NTK and the products
of two neurons are likewise averages over the weights of one layer, given all layers below.
"""

from enum import IntEnum

import equinox as eqx
from jaxtyping import Array, Float


class Detail(IntEnum):
    """How much is computed of every network; each level includes those before it."""

    METRIC = 0
    NTK_OF_FEW = 1
    """The empirical NTK of a few neurons of every layer."""
    NTK = 2
    """The conditional mean NTK of every layer."""
    PRODUCTS = 3
    """The averaged products of two neurons of every layer."""


class Draw(eqx.Module):
    """Statistics of B sampled networks; entry 0 of the layer axis is layer 1.

    Attributes:
        metric: the stochastic metric, shape (B, L, N, N).
        ntk: a sample of the mean NTK, shape (B, L, N, N), or None if it was not asked for: the
            empirical NTK averaged over a few neurons (`draw_by_weights`) or its mean given the
            layers below (`draw_with_ntk`).
        ntk_surplus: C_W/n sum_j sigma'_j sigma'_j (H_jj - M), with M the mean of H_jj given the
            layers below, shape (B, L, N, N).
        cross_products: z_i1 z_j2 H_ij;p of two neurons averaged over the weights of the layer,
            for every unordered pair of samples p, entry [1, p, 2], shape (B, L, N, P, N).
        square_products: H_ij;p H_ij;q and H_ij;p H_ji;q averaged likewise, shape (B, L, 2, P, P).
    """

    metric: Float[Array, "B L N N"]
    ntk: Float[Array, "B L N N"] | None = None
    ntk_surplus: Float[Array, "B L N N"] | None = None
    cross_products: Float[Array, "B L N P N"] | None = None
    square_products: Float[Array, "B L 2 P P"] | None = None


def gram(
    offset: Float[Array, ""], scale: Float[Array, ""], features: Float[Array, "*B N n"]
) -> Float[Array, "*B N N"]:
    """Return offset + scale/n times the products of the features of every two samples."""
    width = features.shape[-1]
    return offset + scale / width * (features @ features.swapaxes(-1, -2))
