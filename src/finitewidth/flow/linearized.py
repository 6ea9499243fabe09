r"""The flow to first order around infinite width: kernels, NTK means and Jacobians of all layers.

    (K, Theta)^(l+1) = Phi_l (K, Theta)^(l),    J_l = d Phi_l at (K, Theta)^(l)

with Phi the layer map, PDLT (4.118), (9.5). Every tensor of the theory at order 1/width is a sum of
what the neurons of one layer add, carried on by Jacobians; these arrays are all that it takes, nine
N x N matrices a layer, four without the NTK. A subset of the inputs has the subset of them.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from finitewidth.activations import Activation
from finitewidth.flow.fluctuations import Hyperparameters, LayerJacobian, NeuronStatistics
from finitewidth.flow.ntk import first_ntk
from finitewidth.flow.pair_derivatives import PairJacobian
from finitewidth.flow.preactivations import first_kernel, width_ratios
from finitewidth.gaussian.pair import pair_moments
from finitewidth.network import MLP

Matrix = Float[Array, "N N"]


class NTKDerivatives(NamedTuple):
    """What the NTK adds to the derivatives of one layer.

    Attributes:
        Theta: frozen NTK of the layer.
        slope: derivatives of <sigma' sigma'>.
        mean_slope: <sigma' sigma'>.
        mean_Omega: Theta' - lambda_b of the layer above, the mean of Omega, PDLT (8.74).
    """

    Theta: Matrix
    slope: PairJacobian
    mean_slope: Matrix
    mean_Omega: Matrix


class LinearizedLayer(eqx.Module):
    """One layer l < L, and what it does to small changes.

    Attributes:
        activation: sigma.
        K: kernel of the layer, shape (N, N).
        value: derivatives of <sigma sigma>.
        mean_metric: K' - C_b of the layer above, the mean of C_W sigma sigma^T.
        above: hyperparameters of layer l+1, and n_l / n_{l-1}.
        ntk: the same for the NTK; None where the metric alone is asked for.
    """

    activation: Activation = eqx.field(static=True)
    K: Matrix
    value: PairJacobian
    mean_metric: Matrix
    above: Hyperparameters
    ntk: NTKDerivatives | None

    @property
    def jacobian(self) -> LayerJacobian:
        """The Jacobian of (K, Theta) -> (K', Theta').

        Raises:
            ValueError: if there is no NTK.
        """
        if self.ntk is None:
            raise ValueError("jacobian: wanted a flow with the NTK, got one of the metric alone.")
        Theta, slope, mean_slope, _ = self.ntk
        return LayerJacobian(
            self.value, slope, mean_slope, Theta, self.above.C_W, self.above.lambda_W
        )

    def metric_alone(self) -> "LinearizedLayer":
        """Return the layer without its NTK."""
        return eqx.tree_at(lambda t: t.ntk, self, None, is_leaf=lambda t: t is None)


class LinearizedFlow(eqx.Module):
    """Kernel and NTK mean of every layer, and the layers with a leading axis.

    Attributes:
        kernel: K, shape (L, N, N).
        ntk_mean: Theta, shape (L, N, N), or None.
        layers: layers 1, ..., L-1 stacked along a leading axis.
    """

    kernel: Float[Array, "L N N"]
    ntk_mean: Float[Array, "L N N"] | None
    layers: LinearizedLayer

    @property
    def samples(self) -> int:
        """The number of samples N."""
        return self.kernel.shape[-1]

    @property
    def depth(self) -> int:
        """The number of layers L."""
        return self.kernel.shape[0]

    def restrict(self, indices: np.ndarray) -> "LinearizedFlow":
        """Keep some of the samples: the theory is local, so this is the flow of that subset."""

        def kept(array: Array) -> Array:
            if array.ndim < 3:
                return array  # a hyperparameter
            return jnp.take(jnp.take(array, indices, axis=-2), indices, axis=-1)

        return jax.tree.map(kept, self)


@eqx.filter_jit
def linearize(net: MLP, x: Float[Array, "N n0"], ntk: bool = True) -> LinearizedFlow:
    """Compute kernels, NTK means and Jacobians of all layers.

    Args:
        net: the network.
        x: inputs, shape (N, n_0).
        ntk: whether to include the NTK.

    Returns:
        The flow. Cost: three pair expectations of N x N entries a layer, six with the NTK.
    """
    moments = pair_moments(net.activation)

    def step(
        state: tuple[Matrix, Matrix | None], above: Hyperparameters
    ) -> tuple[tuple[Matrix, Matrix | None], tuple[Matrix, Matrix | None, LinearizedLayer]]:
        K, Theta = state
        layer = NeuronStatistics(moments, K, points=0)
        mean_metric = above.C_W * layer.value
        K_above, Theta_above, of_ntk = above.C_b + mean_metric, None, None
        if Theta is not None:
            mean_Omega = above.lambda_W * layer.value + above.C_W * layer.slope * Theta
            of_ntk = NTKDerivatives(Theta, layer.slope_jacobian, layer.slope, mean_Omega)
            Theta_above = above.lambda_b + mean_Omega
        linearized = LinearizedLayer(
            net.activation, K, layer.value_jacobian, mean_metric, above, of_ntk
        )
        return (K_above, Theta_above), (K_above, Theta_above, linearized)

    above = Hyperparameters(
        *(leaf[1:] for leaf in (net.C_b, net.C_W, net.lambda_b, net.lambda_W, width_ratios(net)))
    )
    K, Theta = first_kernel(net, x), first_ntk(net, x) if ntk else None
    _, (K_above, Theta_above, layers) = jax.lax.scan(step, (K, Theta), above)
    return LinearizedFlow(
        jnp.concatenate([K[None], K_above]),
        None
        if Theta is None or Theta_above is None
        else jnp.concatenate([Theta[None], Theta_above]),
        layers,
    )
