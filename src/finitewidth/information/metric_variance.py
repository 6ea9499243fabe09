r"""The relative variance of the stochastic metric of one input, x = Var(G^)/E[G^]^2.

First order in 1/width, any network:  x = V/(n_{l-1} K^2), PDLT (5.109), (5.128).

For a scale-invariant activation without biases above layer 1 it is exact. Given G^ of layer l,
sigma_j^2 = G^ s_j with s_j independent of G^ and of one another, so G^ of layer l+1 is
(C_W/n_l) G^ sum_j s_j and

    1 + x^(l+1) = (1 + x^(l)) (1 + nu/n_l),     nu = E[s^2]/E[s]^2 - 1 = 3 A_4/A_2^2 - 1,
    x^(L) = prod_{l<L} (1 + nu/n_l) - 1                                               derived here

with nu = 2 for linear networks and 5 for ReLU, whatever C_W is. At depth and width large with
r = L/n fixed this is e^(nu r) - 1.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from finitewidth.activations import Activation
from finitewidth.criticality.moments import described
from finitewidth.flow.linear import scale_invariant
from finitewidth.flow.single_input import run_single_input
from finitewidth.network import MLP
from finitewidth.precision import in_double_precision
from finitewidth.validation import check_inputs, check_layer


@in_double_precision
def metric_variance(
    net: MLP,
    x: Float[ArrayLike, "N n0"],
    layer: int | None = None,
    *,
    exact: bool | None = None,
) -> Float[Array, " N"]:
    """Compute Var(G^)/E[G^]^2 of a layer for each input by itself, PDLT (5.128).

    prod_{l<L} (1 + nu/n_l) - 1 where that is exact, else V/(n_{l-1} K^2) by PDLT (5.109).

    Args:
        net: the network.
        x: inputs, shape (N, n_0) or (n_0,) for one.
        layer: l = 1 .. L; the output layer if None.
        exact: True for the exact product (scale-invariant activations without biases above layer
            1), False for first order in 1/width, None for the exact one where there is one.

    Returns:
        The relative variance, shape (N,); 0 in layer 1 and where the kernel is 0.

    Raises:
        ValueError: for bad inputs, a layer that does not exist, orthogonal weights, or
            `exact=True` where no exact form is known.

    Cost: that of `flow.single_input` at first order, nothing for the product.

    Example:
        >>> net = MLP.critical(widths=(1, 200, 200, 1), activation="relu")
        >>> metric_variance(net, [[1.0]]).round(9).tolist()  # (1 + 5/200)^2 - 1
        [0.050625]
        >>> metric_variance(net, [[1.0]], exact=False).round(9).tolist()
        [0.05]
    """
    inputs = jnp.asarray(x, dtype=float)
    inputs = check_inputs(inputs[None] if inputs.ndim == 1 else inputs, net.widths[0])
    layer = check_layer(layer, net.depth)
    if net.law == "orthogonal":
        raise ValueError("net: wanted independent weights, got orthogonal ones.")
    known = _is_multiplicative(net, layer)
    if exact and not known:
        raise ValueError(
            "exact: wanted a scale-invariant activation, no biases above layer 1 and Gaussian "
            f"weights, got {net}."
        )
    first = net.C_b[0] + net.C_W[0] * (inputs**2).sum(axis=1) / net.widths[0]
    slopes = net.activation.slopes
    if known and slopes is not None and exact is not False:
        nu = scale_invariant.growth_constant(slopes)
        growth = float(np.expm1(np.log1p(nu / np.asarray(net.widths[1:layer], float)).sum()))
        alive = jnp.all(net.C_W[1:layer] > 0) if layer > 1 else True
        return jnp.where((first > 0) & alive, growth, 0.0)
    widths = np.asarray(net.widths, dtype=float)
    zero, ratio = jnp.zeros(net.depth), jnp.asarray(widths[1:-1] / widths[:-2])
    sigma: Activation = described(net.activation)

    def of_one(K: Float[Array, ""]) -> Float[Array, ""]:
        flow = run_single_input(sigma, K, net.C_b, net.C_W, zero, zero, ratio)
        return flow.normalized_vertex[layer - 1]

    return jax.vmap(of_one)(first) / widths[layer - 1]


def _is_multiplicative(net: MLP, layer: int) -> bool:
    """Tell whether the metric of each layer is a factor times that of the layer below."""
    no_bias = bool(np.all(np.asarray(net.C_b[1:layer]) == 0))
    return net.activation.slopes is not None and no_bias and net.law == "gaussian"
