r"""The RG flow of preactivations: kernel, four-point vertex and first 1/n correction by layer.

    K^(l+1)    = C_b + C_W <sigma sigma>_K                                        PDLT (4.118)
    V^(l+1)    = Sigma + (n_l/n_{l-1}) J V^(l) J^T,                               PDLT (4.119)
                 Sigma_(12)(34) = C_W^2 Cov_K[sigma_1 sigma_2, sigma_3 sigma_4]
    G^{1}(l+1) = (n_l/n_{l-1}) { J[G^{1}] + (1/2) d^2F : V }                     PDLT (4.115)

with J = dF the Jacobian of the layer map at K^(l). The first line is the law of large numbers for
the stochastic metric of a layer; the second is its law of total covariance; the third is the
second-order Taylor term of E[F(G)]. At layer 1 the metric is exact: V = G^{1} = 0.

The two-point function of layer l is K^(l) + G^{1}(l)/n_{l-1} + O(1/n^2), and the covariance of its
fluctuations over the ensemble V^(l)/n_{l-1} + O(1/n^2). Both depend on n_1 .. n_{l-1} only.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, ArrayLike, Float

from finitewidth.flow.fluctuations import NeuronStatistics, advance_vertex
from finitewidth.flow.labels import MATRIX, PAIRS, labelled
from finitewidth.flow.layer_map import kernel_map
from finitewidth.flow.layers import every_layer
from finitewidth.gaussian.four_point import SOBOL_POINTS
from finitewidth.gaussian.pair import PairMoments, pair_moments
from finitewidth.network import MLP
from finitewidth.precision import in_double_precision
from finitewidth.tensors import DenseTensor
from finitewidth.validation import check_inputs

#: Dense vertices of more inputs than this are refused: they grow like N^4.
MOST_INPUTS_WITH_VERTEX = 48


class Preactivations(eqx.Module):
    """Statistics of the preactivations of every layer; entry l-1 of a leading axis is layer l.

    Attributes:
        net: the network that they belong to.
        kernel: K, the two-point function at infinite width, shape (L, N, N).
        nlo_metric: G^{1}, its correction in units of 1/n_{l-1}, shape (L, N, N); None at order 0.
        vertex: V, the covariance of the metric in units of 1/n_{l-1}, an operator on pairs of
            inputs with a leading layer axis, dense shape (L, N, N, N, N); None at order 0.
    """

    net: MLP
    kernel: Float[Array, "L N N"]
    nlo_metric: Float[Array, "L N N"] | None = None
    vertex: DenseTensor | None = None

    @property
    def order(self) -> int:
        """0 at infinite width, 1 with the first correction in 1/width."""
        return 0 if self.vertex is None else 1

    @property
    def fan_in(self) -> np.ndarray:
        """The width n_{l-1} that feeds each layer, shape (L,)."""
        return np.asarray(self.net.widths[:-1])

    @property
    @in_double_precision
    def metric(self) -> Float[Array, "L N N"]:
        """The two-point function at the widths of the network, K + G^{1}/n_{l-1}, (L, N, N)."""
        if self.nlo_metric is None:
            return self.kernel
        return self.kernel + self.nlo_metric / self.fan_in[:, None, None]

    @property
    @in_double_precision
    def normalized_vertex(self) -> Float[Array, "L N"]:
        """V/(n_{l-1} K^2) for each input, PDLT (5.128): the relative variance of its metric.

        Raises:
            ValueError: at order 0, where there is no vertex.
        """
        if self.vertex is None:
            raise ValueError("normalized_vertex: wanted statistics of order 1, got order 0.")
        V = jnp.einsum("laaaa->la", self.vertex.dense())
        K = jnp.einsum("laa->la", self.kernel)
        return V / self.fan_in[:, None] / jnp.where(K > 0, K, 1.0) ** 2

    def to_xarray(self) -> xr.Dataset:
        """Return everything as a labelled data set, with the layer number as a coordinate."""
        vertex = None if self.vertex is None else self.vertex.dense()
        fields = {
            "kernel": (MATRIX, self.kernel),
            "nlo_metric": (MATRIX, self.nlo_metric),
            "vertex": (PAIRS, vertex),
        }
        return labelled(self.net, fields)

    def __repr__(self) -> str:
        layers, inputs = self.kernel.shape[:2]
        lines = [f"Preactivations of {layers} layers for {inputs} inputs, order {self.order}"]
        for layer in range(layers):
            K = np.diagonal(np.asarray(self.kernel[layer])).mean()
            line = f"  layer {layer + 1}: mean K_aa = {K:.6g}"
            if self.order:
                spread = float(np.asarray(self.normalized_vertex[layer]).mean())
                line += f", V/(n K^2) = {spread:.4g}"
            lines.append(line)
        return "\n".join(lines)


@in_double_precision
def preactivations(
    net: MLP, x: Float[ArrayLike, "N n0"], order: int = 1, points: int = SOBOL_POINTS
) -> Preactivations:
    """Compute kernel, and at order 1 the 1/n corrections, of every layer of a network.

    K^(l+1) = C_b + C_W <sigma sigma>, PDLT (4.118); V by (4.119); G^{1} by (4.115), in the local
    form without inverse kernels.

    Args:
        net: the network.
        x: inputs, shape (N, n_0).
        order: 0 for the kernel alone, 1 for the NLO metric and the four-point vertex too.
        points: quasi-random points for vertex entries with three or more distinct inputs.

    Returns:
        The statistics, layer l in entry l-1.

    Raises:
        ValueError: if the order is not 0 or 1, the data are not finite or do not fit the network,
            the weights are not Gaussian at order 1, or N is too large for a dense vertex.

    Accuracy: that of the pair expectations, near 1e-10; the sources of vertex entries with three
    or more distinct inputs that of `gaussian.four_point_moment`, a few 1e-4 of the largest entry.

    Cost: order 0 takes O(L N^2) pair expectations; order 1 O(L N^4) memory and time.
    Compile time does not depend on the depth.

    Example:
        >>> import finitewidth as fw
        >>> net = fw.MLP.critical(widths=(3, 30, 20, 1), activation="relu")
        >>> pre = fw.flow.preactivations(net, [[1.0, 0.5, -1.0], [0.2, 0.3, 0.4]])
        >>> pre.kernel.shape, pre.vertex.dense().shape
        ((3, 2, 2), (3, 2, 2, 2, 2))
    """
    x = check_inputs(x, net.widths[0])
    if order not in (0, 1):
        raise ValueError(
            f"order: wanted 0 (infinite width) or 1 (first correction), got {order!r}."
        )
    if order == 0:
        return Preactivations(net, _kernels(net, x))
    check_first_order(net, x)
    kernel, nlo_metric, vertex = _first_order(net, x, points)
    return Preactivations(net, kernel, nlo_metric, DenseTensor(vertex))


def check_first_order(net: MLP, x: Float[Array, "N n0"]) -> None:
    """Refuse what the dense 1/n corrections do not hold for or cannot hold in memory."""
    if net.law == "orthogonal":
        raise ValueError(
            "order: the 1/width corrections are those of independent Gaussian weights, "
            "got a network with orthogonal weights; use order=0 or law='gaussian'."
        )
    if x.shape[0] > MOST_INPUTS_WITH_VERTEX:
        raise ValueError(
            f"x: a dense vertex grows like N^4, wanted at most {MOST_INPUTS_WITH_VERTEX} inputs, "
            f"got {x.shape[0]}; use flow.matrix_free, order=0 or fewer inputs."
        )


def width_ratios(net: MLP) -> Float[Array, " L"]:
    """Return n_l / n_{l-1}, by which the 1/n label of a tensor changes, in entry l; 1 at layer 1.

    The label of layer l is the width n_{l-1} that feeds it, so the ratio belongs to layer l+1.
    """
    widths = np.asarray(net.widths, dtype=float)
    return jnp.asarray([1.0, *(widths[1:-1] / widths[:-2])])


def first_kernel(net: MLP, x: Float[Array, "N n0"]) -> Float[Array, "N N"]:
    """Return K^(1) = C_b + C_W x x^T / n_0, exact at any width, PDLT (4.8)."""
    return net.C_b[0] + net.C_W[0] * (x @ x.T) / net.widths[0]


@eqx.filter_jit
def _kernels(net: MLP, x: Float[Array, "N n0"]) -> Float[Array, "L N N"]:
    moments = pair_moments(net.activation)

    def next_layer(K, C_b, C_W):
        return kernel_map(moments, K, C_b, C_W)

    return every_layer(next_layer, first_kernel(net, x), net.C_b, net.C_W)


@eqx.filter_jit
def _first_order(
    net: MLP, x: Float[Array, "N n0"], points: int
) -> tuple[Float[Array, "L N N"], Float[Array, "L N N"], Float[Array, "L N N N N"]]:
    moments = pair_moments(net.activation)

    def next_layer(state, C_b, C_W, ratio):
        K, G1, V = state
        return advance(moments, K, G1, V, C_b, C_W, ratio, points)

    K = first_kernel(net, x)
    N = K.shape[0]
    first = (K, jnp.zeros_like(K), jnp.zeros((N, N, N, N)))
    return every_layer(next_layer, first, net.C_b, net.C_W, width_ratios(net))


def advance(
    moments: PairMoments,
    K: Float[Array, "N N"],
    G1: Float[Array, "N N"],
    V: Float[Array, "N N N N"],
    C_b: Float[Array, ""],
    C_W: Float[Array, ""],
    ratio: Float[Array, ""],
    points: int,
) -> tuple[Float[Array, "N N"], Float[Array, "N N"], Float[Array, "N N N N"]]:
    """Take kernel, NLO metric and vertex from one layer to the next.

    Args:
        moments: pair expectations of the activation.
        K: kernel of layer l, shape (N, N).
        G1: NLO metric of layer l, in units of 1/n_{l-1}, shape (N, N).
        V: vertex of layer l, in units of 1/n_{l-1}, shape (N, N, N, N).
        C_b: bias variance of layer l+1.
        C_W: weight variance of layer l+1.
        ratio: n_l / n_{l-1}.
        points: quasi-random points of the four-point source.

    Returns:
        The same three of layer l+1.
    """
    layer = NeuronStatistics(moments, K, points)
    return (
        C_b + C_W * layer.value,
        ratio * C_W * (layer.value_jacobian.push(G1) + layer.value_hessian.drift(V)),
        advance_vertex(layer, V, C_W, ratio),
    )
