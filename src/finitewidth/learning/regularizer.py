r"""What weight decay does to outputs in one step: the stochastic regularizer tensor.

A penalty sum_mu a_mu theta_mu^2 adds -2 eta R^_{i;d} to the step of the outputs, PDLT (10.42), with
R^ = sum_mn lambda_mn a_m theta_m dz/dtheta_n and

    R^(1)_i;d   = a_b lambda_b b_i + a_W (lambda_W/n_0) sum_j W_ij x_j;d
    R^(l+1)_i;d = a_b lambda_b b_i + sum_j W_ij [a_W (lambda_W/n_l) s_j;d + s'_j;d R^(l)_j;d]
                                                                                     PDLT (10.43)

all without a label of layer l+1. It is random with mean zero, and related to the output itself: at
infinite width E[R^_i;1 z_j;2] = d_ij S_12 with (derived)

    S^(1)   = a_b lambda_b C_b + a_W (lambda_W/n_0) (C_W/n_0) x_1.x_2
    S^(l+1) = a_b lambda_b C_b + a_W (lambda_W/n_l) C_W <s_1 s_2>
              + C_W (<s'_1 s'_2> S^(l)_12 + <s''_1 s_2> S^(l)_11)

which is not symmetric. Weights count at infinite width only if a_W is of order n_l, as it is for
the prior of the maximum a posteriori, a_W = n_l/(2 C_W).
"""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from finitewidth.ensemble.empirical_ntk import check_parameters
from finitewidth.flow import pair_jacobian, preactivations
from finitewidth.flow.layer_map import second_moment
from finitewidth.gaussian import pair_moments
from finitewidth.network import MLP, Parameters
from finitewidth.precision import in_double_precision
from finitewidth.validation import check_inputs, check_per_layer


@in_double_precision
def regularizer_tensor(
    net: MLP,
    params: Parameters,
    x: Float[ArrayLike, "N n0"],
    a_b: ArrayLike = 0.0,
    a_W: ArrayLike = 0.0,
) -> tuple[Float[Array, "N n_l"], ...]:
    """Compute the regularizer tensor of every layer of one network, PDLT (10.42), (10.43).

    Args:
        net: the network, with its learning rates.
        params: its biases and weights.
        x: inputs, shape (N, n_0).
        a_b: penalties of biases, a number or one for each layer.
        a_W: penalties of weights, likewise.

    Returns:
        R^ of layers 1 .. L, shapes (N, n_l). One step moves the outputs by -2 eta times the last.

    Raises:
        TypeError, ValueError: for bad inputs, parameters or penalties.

    Example:
        >>> import jax
        >>> net = MLP((1, 1), "linear")
        >>> params = jax.tree.map(lambda p: 0 * p + 3.0, net.init(jax.random.key(0)))
        >>> regularizer_tensor(net, params, [[2.0]], a_b=0.5, a_W=1.0)[0].tolist()
        [[7.5]]
    """
    check_parameters(net, params)
    x = check_inputs(x, net.widths[0])
    biases = check_per_layer(a_b, net.depth, "a_b") * net.lambda_b
    weights = check_per_layer(a_W, net.depth, "a_W") * net.lambda_W / jnp.array(net.widths[:-1])
    z = net.preactivations(params, x)
    found: list[Array] = []
    signal = x
    for layer, (b, W) in enumerate(params):
        now = biases[layer] * b + weights[layer] * signal @ W.T
        if layer:
            now = now + (net.activation.derivative(z[layer - 1]) * found[-1]) @ W.T
        found.append(now)
        signal = net.activation(z[layer])
    return tuple(found)


@in_double_precision
def regularizer_correlation(
    net: MLP, x: Float[ArrayLike, "N n0"], a_b: ArrayLike = 0.0, a_W: ArrayLike = 0.0
) -> Float[Array, "L N N"]:
    """Compute E[R^_i;1 z_i;2] of every layer at infinite width (derived).

    Args:
        net: the network, with its learning rates; its widths count beside a_W.
        x: inputs, shape (N, n_0).
        a_b: penalties of biases, a number or one for each layer.
        a_W: penalties of weights, likewise.

    Returns:
        S, layer l in entry l-1, the first index belongs to R^; exact for two layers at any width.

    Raises:
        TypeError, ValueError: for bad inputs or penalties.

    Example:
        >>> net = MLP((1, 10, 1), "linear", lambda_b=0.0)
        >>> regularizer_correlation(net, [[1.0]], a_W=[0.5, 5.0]).ravel().round(9).tolist()
        [0.5, 1.0]
    """
    x = check_inputs(x, net.widths[0])
    scale = jnp.array(net.widths[:-1])
    biases = check_per_layer(a_b, net.depth, "a_b") * net.lambda_b * net.C_b
    weights = check_per_layer(a_W, net.depth, "a_W") * net.lambda_W / scale * net.C_W
    kernels = preactivations(net, x, order=0).kernel
    moments = pair_moments(net.activation)
    found = [biases[0] + weights[0] * (x @ x.T) / net.widths[0]]
    for layer in range(1, net.depth):
        K, S = kernels[layer - 1], found[-1]
        # <s'_1 s'_2> S_12 + <s''_1 s_2> S_11, also where two inputs are one.
        moved = pair_jacobian(moments, K).push_leg(S.T).T
        made = biases[layer] + weights[layer] * second_moment(moments, K)
        found.append(made + net.C_W[layer] * moved)
    return jnp.stack(found)
