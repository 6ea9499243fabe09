"""Conditional means of one network are averages over its last weights, and batches are networks."""

import equinox as eqx
import jax
import numpy as np

from finitewidth.ensemble import draw_by_weights, draw_with_ntk, empirical_ntk
from finitewidth.ensemble.ntk_observables import CrossNeuronNtk, CrossNeuronPreactivations
from finitewidth.network import MLP
from finitewidth.precision import double_precision

X = np.array([[0.9, -0.4, 0.2], [0.1, 0.8, -0.5], [-0.6, 0.3, 0.7]])
NETWORKS, LOOKED_AT = 64, (0, 17, 63)
drawn = eqx.filter_jit(draw_with_ntk)


def network():
    # Layers of one shape in a row (scanned), others alone, all hyperparameters different.
    return MLP(
        (3, 6, 6, 6, 6, 9, 2),
        "tanh",
        C_b=[0.1, 0.2, 0.3, 0.1, 0.2, 0.1],
        C_W=[1.0, 1.5, 1.2, 2.0, 0.7, 1.3],
        lambda_b=[0.3, 1.0, 0.7, 2.0, 0.1, 0.6],
        lambda_W=[1.0, 0.4, 3.0, 0.2, 5.0, 0.9],
    )


def test_a_compiled_batch_is_its_networks_one_by_one():
    """From the empirical NTK of each hidden layer, by the equations of the book, in numpy."""
    net, key = network(), jax.random.key(7)
    with double_precision():
        draw = drawn(net, X, key, NETWORKS, True)
        networks = [net.init(jax.random.split(key, NETWORKS)[b]) for b in LOOKED_AT]
    ntk_1 = net.lambda_b[0] + net.lambda_W[0] * X @ X.T / 3
    for b, params in zip(LOOKED_AT, networks, strict=True):
        np.testing.assert_allclose(draw.ntk[b, 0], ntk_1, rtol=1e-14)
        alone = jax.tree.map(lambda leaf, b=b: leaf[b : b + 1], draw)
        F, B = (
            o.estimate(o.state(alone, np.ones(1), None), np.ones(6), None).value
            for o in (CrossNeuronPreactivations(), CrossNeuronNtk())
        )
        preactivations = net.preactivations(params, X)
        for layer in range(1, 6):
            H = np.asarray(empirical_ntk(net, params, X, layer))
            n, c = net.widths[layer], float(net.C_W[layer]) / net.widths[layer]
            z = preactivations[layer - 1]
            s, t = np.asarray(net.activation(z)), np.asarray(net.activation.derivative(z))
            P = np.einsum("aj,bk,jkab->jkab", t, t, H)
            own = net.lambda_b[layer] + net.lambda_W[layer] / n * s @ s.T
            M = own + c * np.einsum("jjab->ab", P)
            np.testing.assert_allclose(draw.ntk[b, layer], M, rtol=1e-12)
            expected = c**2 * np.einsum("aj,bk,jkcd->acbd", s, s, P)
            np.testing.assert_allclose(F[layer], expected, rtol=1e-11, atol=1e-14)
            expected = c**2 * np.einsum("jkab,jkcd->acbd", P, P)
            np.testing.assert_allclose(B[layer], expected, rtol=1e-11, atol=1e-14)
            below = np.einsum("jjab->jab", H) - np.asarray(draw.ntk[b, layer - 1])
            surplus = c * np.einsum("aj,bj,jab->ab", t, t, below)
            np.testing.assert_allclose(draw.ntk_surplus[b, layer], surplus, rtol=1e-9, atol=1e-14)


def test_the_networks_are_those_of_the_other_sampler():
    net, key = network(), jax.random.key(1)
    with double_precision():
        plain = eqx.filter_jit(draw_by_weights)(net, X, key, NETWORKS)
        full = drawn(net, X, key, NETWORKS, True)
    np.testing.assert_allclose(plain.metric, full.metric, rtol=1e-13)


def test_a_dead_network_has_the_ntk_of_its_last_parameters():
    """With every ReLU off, only the bias of the next layer is left."""
    net = MLP((3, 2, 2, 1), "relu", C_W=2.0, lambda_b=[1.0, 1.0, 0.25])
    with double_precision():
        draw = drawn(net, X[:1], jax.random.key(0), 400, True)
    # The slope at zero is a matter of convention: layer 1 must be alive for layer 2 to be off.
    metric = np.asarray(draw.metric)[:, :, 0, 0]
    dead = (metric[:, 1] > 0) & (metric[:, 2] == 0)
    assert dead.any()
    assert (np.asarray(draw.ntk)[dead, 2] == 0.25).all()
    assert (np.asarray(draw.square_products)[dead, 2] == 0).all()
