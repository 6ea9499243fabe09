r"""A forward pass whose weight gradients are sums of outer products, one per sample.

$$z_{i;\alpha} = b_i + \sum_j W_{ij}s_{j;\alpha},\qquad
\frac{d\mathcal L}{dW_{ij}} = \sum_\alpha \delta_{i;\alpha}\,s_{j;\alpha},\qquad
\delta_{i;\alpha} = \frac{d\mathcal L}{dz_{i;\alpha}} .$$

For a few samples the sum is written out, so that the compiler puts it into the update of the weight
that it is for. As a matrix product the gradient would be written to memory and read again, which is
what a step of a small network costs most.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from finitewidth.network import MLP, Parameters

# Beyond so many samples a matrix product is as fast.
MOST_SAMPLES = 8


def outputs(net: MLP, params: Parameters, x: Float[Array, "N n0"]) -> Float[Array, "N n_L"]:
    """Return z^(L), as `net.apply`, whose gradients are made where they are used.

    Args:
        net: the network.
        params: its biases and weights.
        x: inputs, shape (N, n_0).

    Returns:
        The outputs, shape (N, n_L).

    Example:
        >>> from finitewidth.precision import double_precision
        >>> net = MLP(widths=(3, 8, 2), activation="tanh")
        >>> with double_precision():
        ...     outputs(net, net.init(jax.random.key(0)), jnp.ones((4, 3))).shape
        (4, 2)
    """
    if x.shape[0] > MOST_SAMPLES:
        return net.apply(params, x)
    signal = x
    for number, layer in enumerate(params):
        signal = _affine(layer.b, layer.W, net.activation(signal) if number else signal)
    return signal


@jax.custom_vjp
def _affine(
    b: Float[Array, " n_out"], W: Float[Array, "n_out n_in"], signal: Float[Array, "N n_in"]
) -> Float[Array, "N n_out"]:
    return b + signal @ W.T


def _forward(b: Array, W: Array, signal: Array) -> tuple[Array, tuple[Array, Array]]:
    return _affine(b, W, signal), (W, signal)


def _backward(kept: tuple[Array, Array], delta: Array) -> tuple[Array, Array, Array]:
    W, signal = kept
    gradient = delta[0][:, None] * signal[0]
    for alpha in range(1, delta.shape[0]):
        gradient = gradient + delta[alpha][:, None] * signal[alpha]
    return jnp.sum(delta, axis=0), gradient, delta @ W


_affine.defvjp(_forward, _backward)
