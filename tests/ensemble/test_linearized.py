"""Linear predictions of single networks from their Jacobians; rates below where descent breaks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from finitewidth.ensemble import empirical_ntk, train, trainer
from finitewidth.ensemble.linearized import largest_curvature, matrix_of, stable_rate
from finitewidth.network import MLP, cross_entropy, mean_squared_error

X = np.array([[1.2, 0.3], [-0.4, 0.9], [0.5, -1.1]])
Y = np.array([[0.8, -0.3], [-0.5, 0.9], [0.2, 0.6]])
X_TEST = np.array([[0.3, 0.8], [-0.9, 0.1]])
D = np.concatenate([X, X_TEST])


def network(**changes):
    arguments = {"C_b": 0.2, "C_W": 1.5, "lambda_b": [0.5, 0.3], "lambda_W": [1.0, 1.2]}
    return MLP((2, 9, 2), "tanh", **(arguments | changes))


def first_network(net, key):
    """Network 0 of a key: its parameters before training."""
    return net.init(jax.random.split(jax.random.fold_in(key, 0))[0])


def test_prediction_from_the_jacobian():
    net, key = network(), jax.random.key(2)
    nets = trainer(net, X, Y, X_TEST, control_variate="empirical", chunk_size=3).networks(key)
    params = first_network(net, key)
    jacobian = jax.jacrev(lambda p: net.apply(p, D))(params)
    rows = np.zeros((10, 0))
    for layer, n_in, b, W in zip(jacobian, (2, 9), net.lambda_b, net.lambda_W, strict=True):
        for part, rate in ((layer.b, b), (layer.W, W / n_in)):
            rows = np.concatenate([rows, np.sqrt(rate) * np.reshape(part, (10, -1))], axis=1)
    H = rows @ rows.T
    np.testing.assert_allclose(matrix_of(empirical_ntk(net, params, D)), H, atol=1e-12)
    z = np.asarray(net.apply(params, D)).ravel()
    wanted = z[6:] - H[6:, :6] @ np.linalg.solve(H[:6, :6], z[:6] - Y.ravel())
    np.testing.assert_allclose(nets.linearized[0].ravel(), wanted, rtol=1e-9)
    largest = np.linalg.eigvalsh(H[:6, :6])[-1]
    assert largest < 1 / float(nets.eta[0]) < largest * 6 ** (1 / 64)


def test_networks_that_are_linear_end_at_the_prediction():
    """With hidden layers at rest descent is linear: the empirical prediction is exact."""
    net = network(lambda_b=[0.0, 0.3], lambda_W=[0.0, 1.2])
    options = {"control_variate": "empirical", "tolerance": 1e-8, "chunk_size": 30}
    run = train(net, X, Y, X_TEST, 30, 1, **options)
    assert (run.deviation_size.value < 1e-7).all() and float(run.unconverged.value) == 0
    moved = train(network(), X, Y, X_TEST, 30, 1, **options)
    assert (moved.deviation_size.value > 1e-2).all()


def test_a_frozen_ntk_has_a_known_mean():
    rng = np.random.default_rng(1)
    theta = np.cov(rng.normal(size=(5, 30)))
    net = network()
    run = train(net, X, Y, X_TEST, 40, 3, control_variate=theta, chunk_size=40, tolerance=1e-3)
    R = theta[3:, :3] @ np.linalg.inv(theta[:3, :3])
    assert run.limit is not None
    np.testing.assert_allclose(run.limit, R @ Y, rtol=1e-10)
    everything = trainer(net, X, Y, D, chunk_size=40, tolerance=1e-3).networks(jax.random.key(3))
    z0, zT = np.asarray(everything.initial), np.asarray(everything.outputs)
    linear = z0[:, 3:] - np.einsum("ba,mai->mbi", R, z0[:, :3] - Y)
    np.testing.assert_allclose(run.deviation.value, (zT[:, 3:] - linear).mean(0), rtol=1e-8)
    np.testing.assert_allclose(run.controlled_mean.value, run.limit + run.deviation.value)
    own = train(net, X, Y, X_TEST, 40, 3, control_variate="empirical", chunk_size=40)
    with pytest.raises(ValueError, match="frozen NTK"):
        _ = own.controlled_mean


def test_largest_curvature_and_rate():
    rng = np.random.default_rng(0)
    for inputs, outputs in ((1, 1), (3, 2), (20, 5)):
        root = rng.normal(size=(inputs * outputs, 2 * inputs * outputs))
        matrix = root @ root.T
        H = matrix.reshape(inputs, outputs, inputs, outputs).transpose(1, 3, 0, 2)
        largest = np.linalg.eigvalsh(matrix)[-1]
        bound = 1 / (0.5 * float(stable_rate(jnp.asarray(H), 0.5)))
        assert largest * (1 - 1e-12) <= bound <= largest * len(matrix) ** (1 / 64)
    assert float(largest_curvature(mean_squared_error, jnp.asarray(Y))) == 1
    P = jnp.array([[0.5, 0.5], [2.0, 1.0]])
    assert float(largest_curvature(cross_entropy, P)) == 1.5
    # The second derivatives of the cross-entropy, where they are largest.
    curvature = jax.hessian(lambda z: cross_entropy.of_sample(z, P[1]))(jnp.zeros(2))
    assert np.linalg.eigvalsh(np.asarray(curvature))[-1] == pytest.approx(1.5)
