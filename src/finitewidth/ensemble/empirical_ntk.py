r"""The neural tangent kernel of one network, exactly as it is, PDLT (8.5) and (8.16)-(8.18).

With $J^{(k)}_{ij;\alpha} = dz^{(\ell)}_{i;\alpha}/dz^{(k)}_{j;\alpha}$, $J^{(\ell)} = 1$ and
$J^{(k)}_{ij;\alpha} = \sum_m J^{(k+1)}_{im;\alpha}W^{(k+1)}_{mj}\sigma'^{(k)}_{j;\alpha}$,

$$\widehat H^{(\ell)}_{i_1i_2;12} = \sum_{k=1}^{\ell}
\Big[\sum_m J^{(k)}_{i_1m;1}J^{(k)}_{i_2m;2}\Big]
\Big[\lambda_b^{(k)} + \frac{\lambda_W^{(k)}}{n_{k-1}}
\sum_m \sigma^{(k-1)}_{m;1}\sigma^{(k-1)}_{m;2}\Big],\qquad \sigma^{(0)} = x .$$

The derivative by every single parameter is never formed: each layer gives one product of Jacobians
by preactivations and one Gram matrix of what feeds it.
"""

from collections.abc import Iterator
from itertools import pairwise

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from finitewidth.ensemble.draw import gram
from finitewidth.network import MLP, Parameters
from finitewidth.precision import in_double_precision
from finitewidth.validation import check_inputs, check_layer


@in_double_precision
def empirical_ntk(
    net: MLP,
    params: Parameters,
    x: Float[ArrayLike, "N n0"],
    layer: int | None = None,
    *,
    diagonal: bool = False,
) -> Float[Array, "n n N N"] | Float[Array, "n N N"]:
    """Return the empirical NTK of a layer of one network, PDLT (8.5), with its learning rates.

    Args:
        net: the network.
        params: its biases and weights, as returned by `net.init`.
        x: inputs, shape (N, n_0).
        layer: l = 1..L; the output layer L if None.
        diagonal: only neurons with themselves, H_ii.

    Returns:
        H[i1, i2, a1, a2], shape (n_l, n_l, N, N), or H[i, a1, a2] with `diagonal`. Exact up to
        rounding. Cost: N n_l n^2 + N^2 n_l^2 n operations per layer (N^2 n_l n with `diagonal`),
        and no array larger than the result or N n_l n.

    Raises:
        TypeError, ValueError: for bad inputs, parameters of other shapes than the network's or a
            layer that it does not have.

    Example:
        >>> import jax
        >>> net = MLP(widths=(3, 8, 8, 2), activation="tanh")
        >>> empirical_ntk(net, net.init(jax.random.key(0)), [[1.0, 0.0, -1.0]]).shape
        (2, 2, 1, 1)
    """
    x, layer = check_inputs(x, net.widths[0]), check_layer(layer, net.depth)
    check_parameters(net, params)
    ntk: Array | float = 0.0
    for k, signals, features in layer_shares(net, params, x, layer, diagonal):
        ntk = ntk + signals * gram(net.lambda_b[k - 1], net.lambda_W[k - 1], features)
    assert isinstance(ntk, Array)
    return ntk


@in_double_precision
def ntk_shares(
    net: MLP,
    params: Parameters,
    x: Float[ArrayLike, "N n0"],
    layer: int | None = None,
    *,
    diagonal: bool = False,
) -> Float[Array, "l 2 n n N N"] | Float[Array, "l 2 n N N"]:
    """Return what the biases and the weights of every layer give to the NTK, PDLT (8.7).

    Args:
        net: the network.
        params: its biases and weights, as returned by `net.init`.
        x: inputs, shape (N, n_0).
        layer: l = 1..L, whose NTK is taken apart; the output layer L if None.
        diagonal: only neurons with themselves, H_ii.

    Returns:
        Shape (l, 2, n_l, n_l, N, N), or (l, 2, n_l, N, N) with `diagonal`; entry [k-1, 0] is the
        share of the biases of layer k and [k-1, 1] that of its weights. The sum over both axes is
        `empirical_ntk`. Cost as for it.

    Raises:
        TypeError, ValueError: as for `empirical_ntk`.

    Example:
        >>> import jax
        >>> net = MLP(widths=(3, 8, 8, 2), activation="tanh")
        >>> ntk_shares(net, net.init(jax.random.key(0)), [[1.0, 0.0, -1.0]]).shape
        (3, 2, 2, 2, 1, 1)
    """
    x, layer = check_inputs(x, net.widths[0]), check_layer(layer, net.depth)
    check_parameters(net, params)
    shares = []
    for k, signals, features in layer_shares(net, params, x, layer, diagonal):
        weights = gram(jnp.zeros(()), net.lambda_W[k - 1], features)
        shares.append(jnp.stack([signals * net.lambda_b[k - 1], signals * weights]))
    return jnp.stack(shares[::-1])


def layer_shares(
    net: MLP, params: Parameters, x: Float[Array, "N n0"], layer: int, diagonal: bool
) -> Iterator[tuple[int, Array, Float[Array, "N _"]]]:
    """Yield (k, sum_m J^(k) J^(k), features of layer k) for k = layer, ..., 1."""
    preactivations = net.preactivations(params[:layer], x)
    features = [x, *(net.activation(z) for z in preactivations[:-1])]
    samples, width = len(x), net.widths[layer]
    # A neuron's derivative by itself is 1: J of the layer itself needs no product. (Products of
    # constant identity rows are also what XLA on a CPU got wrong in large batches.)
    one = jnp.ones((width, samples, samples))
    yield layer, one if diagonal else jnp.eye(width)[:, :, None, None] * one, features[-1]
    jacobian = jnp.zeros(())
    for k in range(layer - 1, 0, -1):
        W, slopes = params[k].W, net.activation.derivative(preactivations[k - 1])
        # The sample axis comes second: (i, a, m).
        jacobian = (W[:, None, :] if k == layer - 1 else jacobian @ W) * slopes
        if diagonal:
            signals = jacobian @ jacobian.swapaxes(-1, -2)
        else:
            flat = jacobian.reshape(width * samples, -1)
            square = (flat @ flat.T).reshape(width, samples, width, samples)
            signals = square.swapaxes(1, 2)
        yield k, signals, features[k - 1]


def check_parameters(net: MLP, params: Parameters) -> None:
    """Say so if the parameters are not of the network's shapes."""
    wanted = [((n_out,), (n_out, n_in)) for n_in, n_out in pairwise(net.widths)]
    got = [(jnp.shape(b), jnp.shape(W)) for b, W in params]
    if got != wanted:
        raise ValueError(f"params: wanted (b, W) of shapes {wanted}, got {got}.")
