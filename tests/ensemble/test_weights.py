"""What is measured on a network is what that network does, found by brute force."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from finitewidth.ensemble import draw_by_weights
from finitewidth.network import MLP

X = np.array([[0.9, -0.4, 0.2], [0.1, 0.8, -0.5], [-0.6, 0.3, 0.7]])
DEPTH = 5


def network(activation="tanh", law="gaussian"):
    # Two layers of one shape in a row, a width below the number of neurons looked at, a wide one.
    return MLP(
        (3, 6, 6, 6, 9, 2),
        activation,
        C_b=[0.1, 0.2, 0.3, 0.1, 0.2],
        C_W=[1.0, 1.5, 1.2, 2.0, 0.7],
        lambda_b=[0.3, 1.0, 0.7, 2.0, 0.1],
        lambda_W=[1.0, 0.4, 3.0, 0.2, 5.0],
        law=law,
    )


def own_preactivations(net, parameters, x):
    """A second, plain forward pass."""
    signal, z = x, []
    for layer in parameters:
        z.append(signal @ layer.W.T + layer.b)
        signal = net.activation(z[-1])
    return z


def brute_force_ntk(net, parameters, x, layer):
    """All of H of one layer from the full Jacobian, shape (n, n, N, N)."""

    def run(p):
        return own_preactivations(net, p, x)[layer]

    jacobian = jax.jacrev(run)(parameters)
    total = 0.0
    for k in range(layer + 1):
        rate_W = net.lambda_W[k] / net.widths[k]
        b, W = jacobian[k].b, jacobian[k].W
        total += net.lambda_b[k] * jnp.einsum("aik,bjk->ijab", b, b)
        total += rate_W * jnp.einsum("aikm,bjkm->ijab", W, W)
    return np.asarray(total)


@pytest.mark.parametrize("law", ["gaussian", "uniform", "orthogonal"])
def test_metrics_are_those_of_the_networks_that_init_draws(law):
    net, key = network(law=law), jax.random.key(5)
    metric = np.asarray(draw_by_weights(net, X, key, 4).metric)
    for b, network_key in enumerate(jax.random.split(key, 4)):
        signals = [
            jnp.asarray(X),
            *map(net.activation, own_preactivations(net, net.init(network_key), X)),
        ]
        for k in range(DEPTH):
            s = np.asarray(signals[k])
            expected = net.C_b[k] + net.C_W[k] * s @ s.T / s.shape[1]
            np.testing.assert_allclose(metric[b, k], expected, rtol=1e-12)


@pytest.mark.parametrize("activation", ["tanh", "relu", "gelu"])
@pytest.mark.parametrize("layer", range(DEPTH))
def test_ntk_is_the_one_of_full_jacobians(activation, layer):
    net, key = network(activation), jax.random.key(7)
    draw = eqx.filter_jit(draw_by_weights)(net, X, key, 2, True)
    assert draw.ntk is not None
    for b, network_key in enumerate(jax.random.split(key, 2)):
        full = brute_force_ntk(net, net.init(network_key), jnp.asarray(X), layer)
        neurons = min(4, net.widths[layer + 1])
        expected = np.mean([full[i, i] for i in range(neurons)], axis=0)
        np.testing.assert_allclose(draw.ntk[b, layer], expected, rtol=1e-11)


def test_asking_for_the_ntk_changes_no_metric():
    net, key = network(), jax.random.key(1)
    plain, full = (draw_by_weights(net, X, key, 3, with_ntk) for with_ntk in (False, True))
    np.testing.assert_allclose(plain.metric, full.metric, rtol=1e-14)


def test_one_layer_is_the_deterministic_kernel():
    net = MLP((3, 2), "tanh", C_b=0.2, C_W=1.5, lambda_b=0.3, lambda_W=0.5)
    draw = draw_by_weights(net, X, jax.random.key(0), 3, True)
    assert draw.ntk is not None
    for b in range(3):
        np.testing.assert_allclose(draw.metric[b, 0], 0.2 + 1.5 * X @ X.T / 3, rtol=1e-14)
        np.testing.assert_allclose(draw.ntk[b, 0], 0.3 + 0.5 * X @ X.T / 3, rtol=1e-14)


def test_a_large_compiled_batch_is_its_networks_one_by_one():
    # XLA on a CPU has given wrong products in large batches, so the batch is not taken on trust.
    net = MLP((6, 16, 16, 16, 10), "tanh")
    x = np.random.default_rng(3).normal(size=(5, 6))
    key, networks = jax.random.key(2), 64
    batch = eqx.filter_jit(draw_by_weights)(net, x, key, networks, True)
    assert batch.ntk is not None
    np.testing.assert_allclose(batch.ntk, jnp.swapaxes(batch.ntk, -1, -2), rtol=1e-12)
    for b in (0, 17, 63):
        parameters = net.init(jax.random.split(key, networks)[b])
        full = brute_force_ntk(net, parameters, jnp.asarray(x), 3)
        expected = np.mean([full[i, i] for i in range(4)], axis=0)
        np.testing.assert_allclose(batch.ntk[b, 3], expected, rtol=1e-10)
