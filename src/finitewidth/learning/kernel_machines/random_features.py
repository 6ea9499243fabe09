r"""The random features of one network, and the kernels they make.

Trained by its last layer alone a network is a linear model of the features sigma_j, with the kernel

    k^_12 = C_b + (C_W/n_{L-1}) sum_j sigma_j;1 sigma_j;2           PDLT (10.135), (10.137)

(the book prints C_W/n_L), random with mean K^(L) and variance of order 1/n_{L-1}: it is the
stochastic metric, Var k^_12 = V_(12)(12)/n_{L-1}. Trained as a whole, to first order in the change
of its parameters, it is a linear model of the features dz_i/dtheta_mu,

    phi_{i, W^(l)_kj} = B^(l)_ik sigma^(l-1)_j,   phi_{i, b^(l)_k} = B^(l)_ik,
    B^(l)_ik = dz_i/dz^(l)_k                                            PDLT (10.138)-(10.140)
    H_ij;12 = sum_mu lambda_mu phi_{i,mu;1} phi_{j,mu;2}                         PDLT (10.141)

for each output by itself, without a sum over outputs, which the NTK couples.
"""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from finitewidth.ensemble.empirical_ntk import check_parameters
from finitewidth.network import MLP, Parameters
from finitewidth.precision import in_double_precision
from finitewidth.validation import check_inputs


@in_double_precision
def random_feature_kernel(
    net: MLP,
    params: Parameters,
    x: Float[ArrayLike, "N n0"],
    other: Float[ArrayLike, "M n0"] | None = None,
) -> Float[Array, "N M"]:
    """Return the kernel of the last hidden layer of one network, PDLT (10.135), (10.137).

    Args:
        net: the network.
        params: its biases and weights.
        x: inputs, shape (N, n_0).
        other: other inputs, shape (M, n_0); x by default.

    Returns:
        The kernel, shape (N, M): that of the linear model which its last layer is at the rates of
        `bayes_equivalent`.

    Raises:
        TypeError, ValueError: for bad inputs or parameters.

    Example:
        >>> import jax
        >>> net = MLP((1, 1), "relu", C_b=0.5, C_W=2.0)
        >>> random_feature_kernel(net, net.init(jax.random.key(0)), [[1.0], [3.0]]).tolist()
        [[2.5, 6.5], [6.5, 18.5]]
    """
    check_parameters(net, params)
    sets = [check_inputs(x, net.widths[0])]
    sets.append(sets[0] if other is None else check_inputs(other, net.widths[0], "other"))
    first, second = (_last_features(net, params, inputs) for inputs in sets)
    return net.C_b[-1] + net.C_W[-1] / net.widths[-2] * first @ second.T


@in_double_precision
def network_features(
    net: MLP, params: Parameters, x: Float[ArrayLike, "N n0"], *, rates: bool = False
) -> Float[Array, "N n_L P"]:
    """Return dz_i/dtheta_mu, the random features of one network, PDLT (10.138)-(10.140).

    Args:
        net: the network.
        params: its biases and weights.
        x: inputs, shape (N, n_0).
        rates: multiply by sqrt(lambda_b), sqrt(lambda_W/n_{l-1}), so that sums of products over
            the parameters are the NTK of the network, PDLT (10.141).

    Returns:
        Features, shape (N, n_L, P), P the number of parameters: b^(1), W^(1) row by row, b^(2),
        and so on.

    Raises:
        TypeError, ValueError: for bad inputs or parameters.

    Cost: memory N n_L P; the NTK alone is cheaper by `ensemble.empirical_ntk`.

    Example:
        >>> import jax
        >>> net = MLP((2, 1), "linear")
        >>> network_features(net, net.init(jax.random.key(0)), [[3.0, 4.0]]).tolist()
        [[[1.0, 3.0, 4.0]]]
    """
    check_parameters(net, params)
    x = check_inputs(x, net.widths[0])
    preactivations = net.preactivations(params, x)
    signals = [x, *(net.activation(z) for z in preactivations[:-1])]
    backward = jnp.broadcast_to(jnp.eye(net.widths[-1]), (len(x), *(net.widths[-1],) * 2))
    parts: list[Array] = []
    for layer in range(net.depth, 0, -1):
        # Made from the output down, so the parts of a layer are put in front.
        weights = backward[..., None] * signals[layer - 1][:, None, None, :]
        weights = weights.reshape(*weights.shape[:2], -1)
        bias_scale = jnp.sqrt(net.lambda_b[layer - 1]) if rates else 1.0
        weight_scale = jnp.sqrt(net.lambda_W[layer - 1] / net.widths[layer - 1]) if rates else 1.0
        parts = [bias_scale * backward, weight_scale * weights, *parts]
        if layer > 1:
            slopes = net.activation.derivative(preactivations[layer - 2])
            backward = (backward @ params[layer - 1].W) * slopes[:, None, :]
    return jnp.concatenate(parts, axis=-1)


def _last_features(net: MLP, params: Parameters, x: Array) -> Float[Array, "N n"]:
    return x if net.depth == 1 else net.activation(net.preactivations(params, x)[-2])
