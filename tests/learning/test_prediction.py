"""Predictions against dense formulas, iterated descent, the posterior and drawn processes."""

import jax
import numpy as np
import pytest

import finitewidth as fw
from finitewidth.learning import bayes_equivalent, giant_leap, predict
from tests.learning.problem import X_TEST, N, X, Y, descend, kernels, network


def four_terms(K, R):
    """(10.41) as printed."""
    A, B = slice(0, N), slice(N, None)
    return K[B, B] - R @ K[A, B] - K[B, A] @ R.T + R @ K[A, A] @ R.T


@pytest.mark.parametrize("activation", ["tanh", "relu", "gelu"])
def test_fully_trained(activation):
    net = network(activation)
    K, Theta = kernels(net)
    R = Theta[N:, :N] @ np.linalg.inv(Theta[:N, :N])
    found = predict(net, X, Y, X_TEST)
    np.testing.assert_allclose(found.mean, R @ Y, rtol=1e-9)
    np.testing.assert_allclose(found.covariance, four_terms(K, R), rtol=1e-8)
    np.testing.assert_allclose(found.standard_deviation**2, np.diag(found.covariance))


@pytest.mark.parametrize("part", [0.3, 1.0, 1.95])
@pytest.mark.parametrize("steps", [0, 1, 7, 40])
def test_steps_of_descent_one_by_one(part, steps):
    """Mean, covariance and single networks after T steps; eta lambda below, at and above 1."""
    net = network()
    K, Theta = kernels(net)
    eta = part / np.linalg.eigvalsh(Theta[:N, :N]).max()
    found = predict(net, X, Y, X_TEST, steps=steps, eta=eta)
    mean = descend(Theta, np.zeros((len(K), 2)), eta, steps)[N:]
    np.testing.assert_allclose(found.mean, mean, rtol=1e-9, atol=1e-13)
    # The covariance of a linear map of the initial outputs: push a root of K through descent.
    root = np.linalg.cholesky(K)
    pushed = []
    for column in root.T:
        z = np.stack([column, column], axis=1)
        pushed.append((descend(Theta, z, eta, steps) - descend(Theta, 0 * z, eta, steps))[N:, 0])
    np.testing.assert_allclose(found.covariance, np.stack(pushed).T @ np.stack(pushed), rtol=1e-9)
    params = net.init(jax.random.key(steps))
    z = np.asarray(net.apply(params, np.concatenate([X, X_TEST])))
    leap = giant_leap(net, params, X, Y, X_TEST, steps=steps, eta=eta)
    np.testing.assert_allclose(leap, descend(Theta, z, eta, steps)[N:], rtol=1e-9)


def test_flow_is_descent_in_small_steps_and_ends_in_full_training():
    net = network("gelu")
    flow = predict(net, X, Y, X_TEST, time=1.7)
    errors = [
        np.abs(predict(net, X, Y, X_TEST, steps=s, eta=1.7 / s).mean - flow.mean).max()
        for s in (2000, 4000)
    ]
    assert errors[0] / errors[1] == pytest.approx(2, abs=0.01)
    late, full = predict(net, X, Y, X_TEST, time=1e6), predict(net, X, Y, X_TEST)
    np.testing.assert_allclose(late.mean, full.mean, rtol=1e-9)
    np.testing.assert_allclose(late.covariance, full.covariance, rtol=1e-9)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_bayes_rule_is_the_posterior_and_equal_kernels(activation):
    """(10.46)-(10.49): Theta = K to rounding, and prediction = noise-free posterior."""
    net = network(activation)
    K, Theta = kernels(bayes_equivalent(net))
    np.testing.assert_allclose(Theta, K, rtol=1e-14)
    posterior = fw.bayes.posterior(net, X, Y, X_TEST, order=0)
    for found in (
        predict(net, X, Y, X_TEST, rule="bayes"),
        predict(bayes_equivalent(net), X, Y, X_TEST),
    ):
        np.testing.assert_allclose(found.mean, posterior.mean, rtol=1e-9)
        np.testing.assert_allclose(found.covariance, posterior.covariance, rtol=1e-8)
    assert np.abs(predict(net, X, Y, X_TEST).mean - posterior.mean).max() > 0.01


def test_training_inputs_are_learned():
    net = network("relu")
    found = predict(net, X, Y, X)
    np.testing.assert_allclose(found.mean, Y, atol=1e-12)
    assert float(found.standard_deviation.max()) < 1e-6
    params = net.init(jax.random.key(3))
    np.testing.assert_allclose(giant_leap(net, params, X, Y, X), Y, atol=1e-12)


def test_positive_near_training_inputs():
    """At a distance d of a training input the deviation is of order d, below the four terms."""
    net = network()
    for d in (1e-3, 1e-5):
        found = predict(net, X, Y, X + d * np.array([0.3, -0.2, 0.5]))
        assert 0.01 * d < float(found.standard_deviation.min()) < d
        assert np.linalg.eigvalsh(found.covariance).min() >= -1e-18


def test_samples_have_the_law_of_the_prediction():
    net = network()
    found = predict(net, X, Y, X_TEST)
    count = 40_000
    drawn = np.asarray(found.sample(jax.random.key(1), count))
    assert drawn.shape == (count, 3, 2)
    spread = np.sqrt(np.diag(found.covariance))
    z = (drawn.mean(0) - found.mean) / (spread[:, None] / np.sqrt(count))
    assert np.abs(z).max() < 4
    C = np.asarray(found.covariance)
    errors = np.sqrt((C**2 + np.outer(np.diag(C), np.diag(C))) / count)
    for i in range(2):
        assert (np.abs(np.cov(drawn[:, :, i].T) - C) < 4 * errors).all()
    across = np.cov(drawn[:, 0, 0], drawn[:, 0, 1])[0, 1]
    assert abs(across) < 4 * C[0, 0] / np.sqrt(count)
    low, high = found.band(1.96)
    inside = ((drawn > low) & (drawn < high)).mean()
    assert inside == pytest.approx(0.95, abs=0.003)


def test_leaps_of_networks_average_to_the_prediction():
    """10.39 has the mean 10.40 at any width: networks of width 5, leaps without training."""
    net = fw.MLP((3, 5, 7, 2), "tanh", C_b=0.2, C_W=1.5, lambda_b=0.5)
    with fw.double_precision():
        keys = jax.random.split(jax.random.key(5), 4000)
        leaps = jax.vmap(lambda key: giant_leap(net, net.init(key), X, Y, X_TEST))(keys)
    leaps = np.asarray(leaps)
    z = (leaps.mean(0) - predict(net, X, Y, X_TEST).mean) / (leaps.std(0) / np.sqrt(len(keys)))
    assert np.abs(z).max() < 4


@pytest.mark.parametrize("training", [{}, {"time": 1.7}, {"steps": 5}])
def test_gradients_of_hyperparameters(training):
    """The variance and the mean by automatic differentiation in C_W, against finite differences."""

    def of(C_W):
        net = network(C_W=C_W, C_b=0.2)
        settings = training | ({"eta": C_W / 50} if "steps" in training else {})
        found = predict(net, X, Y, X_TEST, **settings)
        return found.mean[0, 0] + found.standard_deviation[1] ** 2

    with fw.double_precision():
        slope = float(jax.grad(of)(1.4))
        want = (float(of(1.4 + 1e-4)) - float(of(1.4 - 1e-4))) / 2e-4
    assert slope == pytest.approx(want, rel=1e-6)


def test_labels_and_words():
    found = predict(network(), X, Y, X_TEST, steps=3, eta=0.01)
    data = found.to_xarray()
    assert data["mean"].dims == ("test", "output") and data.attrs["training"] == str(found.training)
    assert "3 steps of eta = 0.01" in repr(found)
    assert "gradient flow for eta t = 2" in repr(predict(network(), X, Y, X_TEST, time=2.0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x_test": X_TEST[:, :2]}, "x_test: wanted 3 features"),
        ({"y": Y[:3]}, "y: wanted 4 targets"),
        ({"y": Y[:, :1]}, r"y: wanted shape \(4, 2\)"),
        ({"x": X[[0, 1, 2, 1]]}, "inputs 1 and 3 are equal and have different targets"),
        ({"x": X[[0, 1, 2, 1]], "y": Y[[0, 1, 2, 1]]}, "have the same targets"),
        ({"steps": 3}, "steps: wanted steps and eta together"),
        ({"eta": 0.1}, "eta: wanted steps and eta together"),
        ({"steps": 3, "eta": 10.0}, "eta: gradient descent diverges above"),
        ({"steps": 3, "eta": 0.1, "time": 1.0}, "got both"),
        ({"time": -1.0}, "time: wanted a positive number"),
        ({"rule": "gp"}, "rule: wanted 'ntk' or 'bayes'"),
        ({"order": 1}, "order: wanted 0"),
    ],
)
def test_what_is_refused(change, message):
    arguments = {"x": X, "y": Y, "x_test": X_TEST} | change
    with pytest.raises(ValueError, match=message):
        predict(network(), **arguments)


def test_collinear_inputs_without_biases():
    net = fw.MLP((3, 9, 1), "relu", lambda_b=0.0)
    x = np.array([[1.0, 0.5, -0.3], [2.0, 1.0, -0.6]])
    with pytest.raises(ValueError, match="singular to rounding"):
        predict(net, x, [1.0, 2.0], X_TEST)
    # Before the end of training all is well: the direction that cannot be learned is left alone.
    early = predict(net, x, [1.0, 2.0], x, time=1e4)
    np.testing.assert_allclose(early.mean[:, 0], [1.0, 2.0], atol=1e-6)
