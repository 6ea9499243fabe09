r"""The infinite-width map of one layer, from which every recursion of the theory follows.

    F(K)_ab = C_b + C_W <sigma_a sigma_b>_K                                  PDLT (4.118)
    Theta'_ab = lambda_b + lambda_W <sigma_a sigma_b>_K
                + C_W <sigma'_a sigma'_b>_K Theta_ab                          PDLT (9.5)

F acts elementwise: entry (a, b) depends on K_aa, K_bb and K_ab alone. No inverse kernel is ever
needed, and the result for a subset of the inputs is the subset of the result. Derivatives of the
map are in `flow.pair_derivatives`.
"""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from finitewidth.activations import Activation
from finitewidth.gaussian.pair import PairMoments, pair_moments
from finitewidth.network import MLP
from finitewidth.precision import in_double_precision

Matrix = Float[Array, "*batch N N"]


class LayerMap(eqx.Module):
    """The map F from the kernel of one layer to the kernel of the next, PDLT (4.118).

    Attributes:
        activation: the activation function.
        C_b: bias variance of the next layer.
        C_W: weight variance of the next layer.
    """

    activation: Activation = eqx.field(static=True)
    C_b: Float[Array, ""]
    C_W: Float[Array, ""]

    @in_double_precision
    def __call__(self, K: Matrix) -> Matrix:
        """Return C_b + C_W <sigma sigma>_K for kernels of shape (..., N, N)."""
        K = jnp.asarray(K, dtype=float)
        return kernel_map(pair_moments(self.activation), K, self.C_b, self.C_W)


class NTKLayerMap(eqx.Module):
    """The map (K, Theta) -> (K', Theta') from one layer to the next, PDLT (4.118), (9.5).

    Attributes:
        activation: the activation function.
        C_b: bias variance of the next layer.
        C_W: weight variance of the next layer.
        lambda_b: learning rate of the biases of the next layer.
        lambda_W: learning rate of the weights of the next layer.
    """

    activation: Activation = eqx.field(static=True)
    C_b: Float[Array, ""]
    C_W: Float[Array, ""]
    lambda_b: Float[Array, ""]
    lambda_W: Float[Array, ""]

    @in_double_precision
    def __call__(self, K: Matrix, Theta: Matrix) -> tuple[Matrix, Matrix]:
        """Return kernel and frozen NTK of the next layer, both of shape (..., N, N)."""
        K, Theta = jnp.asarray(K, dtype=float), jnp.asarray(Theta, dtype=float)
        moments = pair_moments(self.activation)
        sigma_sigma = second_moment(moments, K)
        slope = derivative_moment(moments, K)
        return (
            self.C_b + self.C_W * sigma_sigma,
            self.lambda_b + self.lambda_W * sigma_sigma + self.C_W * slope * Theta,
        )


@in_double_precision
def ntk_layer_maps(net: MLP) -> tuple[NTKLayerMap, ...]:
    """Return the maps (K, Theta) -> (K', Theta') of layers 1, ..., L-1.

    They are what `ensemble.measure(..., ntk_control_variate=...)` takes to see the O(1/n) shift
    of the NTK through the noise.

    Args:
        net: the network.

    Returns:
        One map between every two layers, differentiable, for matrices of shape (..., N, N).

    Example:
        >>> import finitewidth as fw
        >>> net = fw.MLP(widths=(2, 8, 8, 1), activation="relu", C_W=2.0)
        >>> K, Theta = fw.flow.ntk_layer_maps(net)[0]([[2.0]], [[3.0]])
        >>> K.tolist(), Theta.tolist()
        ([[2.0]], [[5.0]])
    """
    above = (net.C_b[1:], net.C_W[1:], net.lambda_b[1:], net.lambda_W[1:])
    return tuple(NTKLayerMap(net.activation, *layer) for layer in zip(*above, strict=True))


@in_double_precision
def layer_maps(net: MLP) -> tuple[LayerMap, ...]:
    """Return F_1, ..., F_{L-1}; F_l takes the kernel of layer l to that of layer l+1.

    They are what `ensemble.measure(..., control_variate=...)` takes to see the O(1/n) shift of
    the metric through the noise.

    Args:
        net: the network.

    Returns:
        One map between every two layers, differentiable, for kernels of shape (..., N, N).

    Example:
        >>> import finitewidth as fw
        >>> maps = fw.flow.layer_maps(fw.MLP(widths=(2, 8, 8, 1), activation="relu", C_W=2.0))
        >>> maps[0]([[2.0]]).tolist()
        [[2.0]]
    """
    return tuple(
        LayerMap(net.activation, C_b, C_W)
        for C_b, C_W in zip(net.C_b[1:], net.C_W[1:], strict=True)
    )


def second_moment(moments: PairMoments, K: Matrix) -> Matrix:
    """Return <sigma_a sigma_b>_K for all pairs of inputs, shape (..., N, N)."""
    return _pairwise(moments.value, moments.diagonal_value, K)


def derivative_moment(moments: PairMoments, K: Matrix) -> Matrix:
    """Return <sigma'_a sigma'_b>_K for all pairs of inputs, shape (..., N, N)."""
    return _pairwise(moments.slope, moments.diagonal_slope, K)


def kernel_map(
    moments: PairMoments, K: Matrix, C_b: Float[Array, ""], C_W: Float[Array, ""]
) -> Matrix:
    """Return the kernel of the next layer, PDLT (4.118), shape (..., N, N)."""
    return C_b + C_W * second_moment(moments, K)


def _pairwise(
    two_inputs: Callable[[Array, Array, Array], Array],
    one_input: Callable[[Array], Array],
    K: Matrix,
) -> Matrix:
    on_diagonal = one_input(_diagonal(K))[..., :, None]
    same = jnp.eye(K.shape[-1], dtype=bool)
    return jnp.where(same, on_diagonal, two_inputs(*_diagonals(K), K))


def _diagonal(K: Matrix) -> Float[Array, "*batch N"]:
    return jnp.diagonal(K, axis1=-2, axis2=-1)


def _diagonals(K: Matrix) -> tuple[Float[Array, "*batch N 1"], Float[Array, "*batch 1 N"]]:
    diagonal = _diagonal(K)
    return diagonal[..., :, None], diagonal[..., None, :]
