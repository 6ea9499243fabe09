"""The regularizer tensor by automatic differentiation, its correlation by sampled networks."""

import jax
import numpy as np
import pytest

import finitewidth as fw
from finitewidth.learning import regularizer_correlation, regularizer_tensor
from tests.learning.problem import X, network

A_B, A_W = [0.7, 0.2, 1.1], [1.5, 20.0, 25.0]


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_is_the_derivative_along_decay(activation):
    """(10.42): sum of lambda a theta dz/dtheta, every layer."""
    net = network(activation)
    params = net.init(jax.random.key(0))
    with fw.double_precision():
        decay = tuple(
            type(layer)(layer.b * a * rate_b, layer.W * (w * rate_W / n))
            for layer, a, w, rate_b, rate_W, n in zip(
                params, A_B, A_W, net.lambda_b, net.lambda_W, net.widths[:-1], strict=True
            )
        )
        want = jax.jvp(lambda p: net.preactivations(p, X), (params,), (decay,))[1]
    for found, exact in zip(regularizer_tensor(net, params, X, A_B, A_W), want, strict=True):
        np.testing.assert_allclose(found, exact, rtol=1e-10, atol=1e-14)


def sampled(net, a_W, networks):
    def one(key):
        params = net.init(key)
        R, z = regularizer_tensor(net, params, X, A_B[: net.depth], a_W)[-1], net.apply(params, X)
        return R @ z.T / z.shape[1]

    with fw.double_precision():
        keys = jax.random.split(jax.random.key(sum(net.widths)), networks)
        drawn = np.asarray(jax.jit(jax.vmap(one))(keys))
    return drawn.mean(0), drawn.std(0) / np.sqrt(networks)


@pytest.mark.parametrize("activation", ["sin", "relu"])
def test_correlation_of_two_layers_is_exact(activation):
    """Width 4: no correction in 1/width."""
    net = fw.MLP((3, 4, 2), activation, C_b=[0.2, 0.3], C_W=[1.2, 1.6], lambda_b=[0.5, 1.3])
    mean, error = sampled(net, [1.5, 3.0], 40_000)
    want = np.asarray(regularizer_correlation(net, X, A_B[:2], [1.5, 3.0])[-1])
    assert np.abs((mean - want) / error).max() < 4
    if activation == "sin":  # not symmetric, and seen to be
        assert (np.abs(want - want.T) / error).max() > 8


def test_correlation_of_three_layers():
    """Extrapolated in width, penalties of order n."""
    found = []
    for n in (16, 32):
        net = fw.MLP((3, n, n, 2), "tanh", C_b=0.2, C_W=1.4, lambda_b=0.6)
        found.append(sampled(net, [1.5, 0.5 * n, 0.8 * n], 20_000))
    mean = 2 * found[1][0] - found[0][0]
    error = np.hypot(2 * found[1][1], found[0][1])
    want = np.asarray(regularizer_correlation(net, X, A_B, [1.5, 16.0, 25.6])[-1])
    assert np.abs((mean - want) / error).max() < 4
    assert error.max() < 0.05 * np.abs(want).max()
