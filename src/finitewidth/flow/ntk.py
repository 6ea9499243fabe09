r"""The flow of the neural tangent kernel at initialization.

The NTK of a layer is the Gram matrix of the gradients of its preactivations under the
learning-rate tensor, PDLT (8.5). At infinite width it is the same in every network, the frozen NTK:

    Theta^(1)   = lambda_b^(1) + lambda_W^(1) x x^T / n_0                           PDLT (8.23)
    Theta^(l+1) = lambda_b + lambda_W <sigma sigma>_K + C_W <sigma' sigma'>_K Theta^(l)
                                                                                  PDLT (9.5)

with the rates and C_W of layer l+1 and the kernel K of layer l.
"""

from typing import Any

import equinox as eqx
import numpy as np
import xarray as xr
from jaxtyping import Array, ArrayLike, Float

from finitewidth.flow.layer_map import derivative_moment, second_moment
from finitewidth.flow.layers import every_layer
from finitewidth.flow.preactivations import first_kernel
from finitewidth.gaussian.pair import pair_moments
from finitewidth.network import MLP
from finitewidth.precision import in_double_precision
from finitewidth.validation import check_inputs


class NTK(eqx.Module):
    """The neural tangent kernel of every layer; entry l-1 of a leading axis is layer l.

    Attributes:
        net: the network that it belongs to.
        kernel: K, the two-point function at infinite width, shape (L, N, N).
        mean: Theta, the frozen NTK, shape (L, N, N).
    """

    net: MLP
    kernel: Float[Array, "L N N"]
    mean: Float[Array, "L N N"]

    def to_xarray(self) -> xr.Dataset:
        """Return everything as a labelled data set, with the layer number as a coordinate."""
        dims = ("layer", "sample_1", "sample_2")
        fields: dict[str, tuple[tuple[str, ...], Any]] = {
            "kernel": (dims, np.asarray(self.kernel)),
            "ntk_mean": (dims, np.asarray(self.mean)),
        }
        layers = np.arange(1, self.net.depth + 1)
        return xr.Dataset(fields, coords={"layer": layers}, attrs={"network": repr(self.net)})

    def __repr__(self) -> str:
        layers, inputs = self.mean.shape[:2]
        lines = [f"Frozen NTK of {layers} layers for {inputs} inputs"]
        for layer in range(layers):
            K, Theta = (
                np.diagonal(np.asarray(tensor[layer])).mean() for tensor in (self.kernel, self.mean)
            )
            lines.append(f"  layer {layer + 1}: mean K_aa = {K:.6g}, mean Theta_aa = {Theta:.6g}")
        return "\n".join(lines)


@in_double_precision
def ntk(net: MLP, x: Float[ArrayLike, "N n0"], order: int = 0) -> NTK:
    """Compute the frozen neural tangent kernel of every layer, PDLT (9.5).

    Args:
        net: the network, with its relative learning rates lambda_b and lambda_W.
        x: inputs, shape (N, n_0).
        order: 0, the limit of infinite width.

    Returns:
        Kernel and NTK mean, layer l in entry l-1.

    Raises:
        ValueError: if the order is not 0, or the data are not finite or do not fit the network.

    Accuracy: that of the pair expectations, near 1e-10.

    Cost: O(L N^2) pair expectations; compile time does not depend on the depth.

    Example:
        >>> import finitewidth as fw
        >>> net = fw.MLP.critical(widths=(2, 50, 50, 1), activation="relu")
        >>> [round(float(layer[0, 0]), 6) for layer in fw.flow.ntk(net, [[1.0, 1.0]]).mean]
        [2.0, 4.0, 6.0]
    """
    x = check_inputs(x, net.widths[0])
    if order != 0:
        raise ValueError(f"order: wanted 0, the frozen NTK of infinite width, got {order!r}.")
    return NTK(net, *_frozen(net, x))


@eqx.filter_jit
def _frozen(
    net: MLP, x: Float[Array, "N n0"]
) -> tuple[Float[Array, "L N N"], Float[Array, "L N N"]]:
    moments = pair_moments(net.activation)

    def next_layer(state, C_b, C_W, lambda_b, lambda_W):
        K, Theta = state
        sigma_sigma = second_moment(moments, K)
        Theta = lambda_b + lambda_W * sigma_sigma + C_W * derivative_moment(moments, K) * Theta
        return C_b + C_W * sigma_sigma, Theta

    Theta = net.lambda_b[0] + net.lambda_W[0] * (x @ x.T) / net.widths[0]
    first = (first_kernel(net, x), Theta)
    return every_layer(next_layer, first, net.C_b, net.C_W, net.lambda_b, net.lambda_W)
