r"""The flow of the neural tangent kernel at initialization, to first order in 1/width.

The NTK of a layer is the Gram matrix of the gradients of its preactivations under the
learning-rate tensor, PDLT (8.5). At infinite width it is the same in every network, the frozen NTK:

    Theta^(1)   = lambda_b^(1) + lambda_W^(1) x x^T / n_0                           PDLT (8.23)
    Theta^(l+1) = lambda_b + lambda_W <sigma sigma>_K + C_W <sigma' sigma'>_K Theta^(l)
                                                                                  PDLT (9.5)

with the rates and C_W of layer l+1 and the kernel K of layer l. At finite width it fluctuates, and
with n = n_{l-1} the width that feeds the layer, i != j two of its neurons,

    E[H_ii;12]            = Theta_12 + H^{1}_12 / n
    Cov(z_i1 z_i2, H_jj;34) = D_1234 / n            E[z_i1 z_j2 H_ij;34] = F_1324 / n  PDLT (8.67)
    Cov(H_ii;12, H_jj;34) = A_(12)(34) / n          E[H_ij;12 H_ij;34]   = B_1324 / n  PDLT (8.82)

up to O(1/n^2). The recursions are in `flow.fluctuations`.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, ArrayLike, Float

from finitewidth.flow.fluctuations import (
    Hyperparameters,
    NeuronStatistics,
    NTKFluctuations,
    advance_fluctuations,
    advance_ntk_shift,
)
from finitewidth.flow.labels import CROSSED_PAIRS, MATRIX, PAIRS, labelled
from finitewidth.flow.layer_map import NTKLayerMap
from finitewidth.flow.layers import every_layer
from finitewidth.flow.preactivations import (
    Preactivations,
    check_first_order,
    first_kernel,
    width_ratios,
)
from finitewidth.gaussian.four_point import SOBOL_POINTS
from finitewidth.gaussian.pair import pair_moments
from finitewidth.network import MLP
from finitewidth.precision import in_double_precision
from finitewidth.tensors import DenseTensor
from finitewidth.validation import check_inputs

#: The samples that the axes of each tensor belong to.
TENSOR_DIMENSIONS = {
    "vertex": PAIRS,
    "D": PAIRS,
    "A": PAIRS,
    "F": CROSSED_PAIRS,
    "B": CROSSED_PAIRS,
}


class NTK(eqx.Module):
    """Statistics of the NTK of every layer; entry l-1 of a leading axis is layer l.

    At order 0 there are `kernel` and `mean` alone, and everything else is None. All corrections
    and tensors are in units of 1/n_{l-1}.

    Attributes:
        net: the network that it belongs to.
        kernel: K, the two-point function at infinite width, shape (L, N, N).
        mean: Theta, the frozen NTK, shape (L, N, N).
        nlo_metric: G^{1}, the correction of the mean metric, shape (L, N, N).
        nlo_mean: H^{1}, the correction of the mean NTK, shape (L, N, N).
        vertex: V, covariance of the metric, pairs (12)(34), dense shape (L, N, N, N, N).
        D: covariance of metric and NTK, pairs (12)(34), the second one of the NTK.
        A: covariance of the NTK, pairs (12)(34).
        F: F_1324 between the pairs (13) and (24), stored as F[a1, a3, a2, a4].
        B: B_1324 between the pairs (13) and (24), stored as B[a1, a3, a2, a4].
    """

    net: MLP
    kernel: Float[Array, "L N N"]
    mean: Float[Array, "L N N"]
    nlo_metric: Float[Array, "L N N"] | None = None
    nlo_mean: Float[Array, "L N N"] | None = None
    vertex: DenseTensor | None = None
    D: DenseTensor | None = None
    A: DenseTensor | None = None
    F: DenseTensor | None = None
    B: DenseTensor | None = None

    @property
    def order(self) -> int:
        """0 at infinite width, 1 with the first correction in 1/width."""
        return 0 if self.A is None else 1

    @property
    def fan_in(self) -> np.ndarray:
        """The width n_{l-1} that feeds each layer, shape (L,)."""
        return np.asarray(self.net.widths[:-1])

    @property
    @in_double_precision
    def corrected_mean(self) -> Float[Array, "L N N"]:
        """The mean NTK at the widths of the network, Theta + H^{1}/n_{l-1}, shape (L, N, N)."""
        if self.nlo_mean is None:
            return self.mean
        return self.mean + self.nlo_mean / self.fan_in[:, None, None]

    @property
    def preactivations(self) -> Preactivations:
        """The statistics of the preactivations alone, to the same order."""
        return Preactivations(self.net, self.kernel, self.nlo_metric, self.vertex)

    @property
    @in_double_precision
    def relative_spread(self) -> Float[Array, "L N N"]:
        """Standard deviation of H_ii;12 from network to network, over its mean, shape (L, N, N).

        Var H_ii;12 = (A_(12)(12) + B_1122 + B_1221)/n_{l-1}, PDLT (8.82) on one neuron.

        Raises:
            ValueError: at order 0, where the NTK does not fluctuate.
        """
        if self.A is None or self.B is None:
            raise ValueError("relative_spread: wanted an NTK of order 1, got order 0.")
        A, B = self.A.dense(), self.B.dense()
        # Both B terms have sample pairs (12) and (12): stored [a1, a3, a2, a4] with a3 = a1, ...
        variance = (
            jnp.einsum("labab->lab", A) + jnp.einsum("laabb->lab", B) + jnp.einsum("labba->lab", B)
        )
        spread = jnp.sqrt(jnp.maximum(variance, 0.0) / self.fan_in[:, None, None])
        return spread / jnp.where(self.mean == 0, 1.0, jnp.abs(self.mean))

    def to_xarray(self) -> xr.Dataset:
        """Return everything as a labelled data set, with the layer number as a coordinate."""
        fields = {
            "kernel": (MATRIX, self.kernel),
            "ntk_mean": (MATRIX, self.mean),
            "nlo_metric": (MATRIX, self.nlo_metric),
            "ntk_nlo_mean": (MATRIX, self.nlo_mean),
        }
        for name, dims in TENSOR_DIMENSIONS.items():
            tensor = getattr(self, name)
            fields[name] = (dims, None if tensor is None else tensor.dense())
        return labelled(self.net, fields)

    def __repr__(self) -> str:
        layers, inputs = self.mean.shape[:2]
        lines = [
            f"Frozen NTK of {layers} layers for {inputs} inputs"
            if self.order == 0
            else f"NTK of {layers} layers for {inputs} inputs, order 1"
        ]
        for layer in range(layers):
            K, Theta = (
                np.diagonal(np.asarray(tensor[layer])).mean() for tensor in (self.kernel, self.mean)
            )
            line = f"  layer {layer + 1}: mean K_aa = {K:.6g}, mean Theta_aa = {Theta:.6g}"
            if self.order:
                spread = np.diagonal(np.asarray(self.relative_spread[layer])).mean()
                line += f", spread of H_aa {100 * spread:.3g}%"
            lines.append(line)
        return "\n".join(lines)


@in_double_precision
def ntk(net: MLP, x: Float[ArrayLike, "N n0"], order: int = 0, points: int = SOBOL_POINTS) -> NTK:
    """Compute the statistics of the neural tangent kernel of every layer.

    PDLT (9.5) at order 0; (8.77), (8.79), (8.89), (8.97) and the 1/n shift of the mean at order 1.

    Args:
        net: the network, with its relative learning rates lambda_b and lambda_W.
        x: inputs, shape (N, n_0).
        order: 0, the limit of infinite width, or 1 with the first correction in 1/width.
        points: quasi-random points for tensor entries with three or more distinct inputs.

    Returns:
        Kernel and NTK mean; at order 1 their shifts and V, D, A, F, B. Layer l in entry l-1.

    Raises:
        ValueError: if the order is not 0 or 1, the data are not finite or do not fit the network;
            at order 1, if the weights are not Gaussian, N is too large for dense tensors or the
            activation jumps.

    Accuracy: that of the pair expectations, near 1e-10; the sources of tensor entries with three
    or more distinct inputs that of `gaussian.four_point_moment`, a few 1e-4 of the largest entry.

    Cost: order 0 takes O(L N^2) pair expectations; order 1 O(L N^4) memory and time.
    Compile time does not depend on the depth.

    Example:
        >>> import finitewidth as fw
        >>> net = fw.MLP.critical(widths=(2, 50, 50, 1), activation="relu")
        >>> result = fw.flow.ntk(net, [[1.0, 1.0]], order=1)
        >>> [round(float(layer[0, 0]), 6) for layer in result.mean]
        [2.0, 4.0, 6.0]
        >>> round(float(result.A.dense()[-1, 0, 0, 0, 0]), 6)  # PDLT (9.52), all orders in l
        61.0
    """
    x = check_inputs(x, net.widths[0])
    if order not in (0, 1):
        raise ValueError(
            f"order: wanted 0, the frozen NTK of infinite width, or 1, its first correction, "
            f"got {order!r}."
        )
    if order == 0:
        return NTK(net, *_frozen(net, x))
    check_first_order(net, x)
    if not np.isfinite(pair_moments(net.activation).diagonal_slope(1.0)):
        raise ValueError(
            f"order: an activation that jumps has no neural tangent kernel, got {net.activation}."
        )
    K, Theta, G1, H1, fluctuations = _first_order(net, x, points)
    tensors = {name: DenseTensor(getattr(fluctuations, name)) for name in ("V", "D", "A", "F", "B")}
    return NTK(net, K, Theta, G1, H1, tensors.pop("V"), **tensors)


def first_ntk(net: MLP, x: Float[Array, "N n0"]) -> Float[Array, "N N"]:
    """Return Theta^(1) = lambda_b + lambda_W x x^T / n_0, exact at any width, PDLT (8.23)."""
    return net.lambda_b[0] + net.lambda_W[0] * (x @ x.T) / net.widths[0]


@eqx.filter_jit
def _frozen(
    net: MLP, x: Float[Array, "N n0"]
) -> tuple[Float[Array, "L N N"], Float[Array, "L N N"]]:
    def next_layer(state, C_b, C_W, lambda_b, lambda_W):
        return NTKLayerMap(net.activation, C_b, C_W, lambda_b, lambda_W)(*state)

    first = (first_kernel(net, x), first_ntk(net, x))
    return every_layer(next_layer, first, net.C_b, net.C_W, net.lambda_b, net.lambda_W)


@eqx.filter_jit
def _first_order(
    net: MLP, x: Float[Array, "N n0"], points: int
) -> tuple[
    Float[Array, "L N N"],
    Float[Array, "L N N"],
    Float[Array, "L N N"],
    Float[Array, "L N N"],
    NTKFluctuations,
]:
    moments = pair_moments(net.activation)

    def next_layer(state, *above):
        K, Theta, G1, H1, now = state
        above = Hyperparameters(*above)
        layer = NeuronStatistics(moments, K, points)
        shift = advance_ntk_shift(layer, Theta, G1, H1, now, above)
        fluctuations = advance_fluctuations(layer, Theta, now, above)
        Theta = above.lambda_b + above.lambda_W * layer.value + above.C_W * layer.slope * Theta
        return above.C_b + above.C_W * layer.value, Theta, *shift, fluctuations

    K, Theta = first_kernel(net, x), first_ntk(net, x)
    zero = jnp.zeros_like(K)
    first = (K, Theta, zero, zero, NTKFluctuations.none(K.shape[0]))
    return every_layer(
        next_layer, first, net.C_b, net.C_W, net.lambda_b, net.lambda_W, width_ratios(net)
    )
