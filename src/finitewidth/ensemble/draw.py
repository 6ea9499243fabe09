r"""What both samplers hand over: the statistics of a batch of networks, layer by layer.

The stochastic metric of layer $\ell+1$ is the covariance of its preactivations given the layer
below, PDLT (4.36) and (4.70),

$$\widehat G^{(\ell+1)}_{\alpha\beta} = C_b^{(\ell+1)} + \frac{C_W^{(\ell+1)}}{n_\ell}
\sum_{j=1}^{n_\ell} \sigma(z^{(\ell)}_{j;\alpha})\,\sigma(z^{(\ell)}_{j;\beta}),$$

and that of layer 1 is the same in every network, PDLT (4.8):
$C_b^{(1)} + C_W^{(1)}\,x_\alpha\cdot x_\beta/n_0$.
"""

import equinox as eqx
from jaxtyping import Array, Float


class Draw(eqx.Module):
    """Statistics of B sampled networks; entry 0 of the layer axis is layer 1.

    Attributes:
        metric: the stochastic metric, shape (B, L, N, N).
        ntk: the empirical NTK averaged over a few neurons of each layer, shape (B, L, N, N), or
            None if it was not asked for.
    """

    metric: Float[Array, "B L N N"]
    ntk: Float[Array, "B L N N"] | None = None


def gram(
    offset: Float[Array, ""], scale: Float[Array, ""], features: Float[Array, "*B N n"]
) -> Float[Array, "*B N N"]:
    """Return offset + scale/n times the products of the features of every two samples."""
    width = features.shape[-1]
    return offset + scale / width * (features @ features.swapaxes(-1, -2))
