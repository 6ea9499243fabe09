"""The loss of infinitely wide networks by step: powers of matrices and sampled errors."""

import numpy as np
import pytest

from finitewidth import flow, learning
from finitewidth.learning import expected_loss_history
from finitewidth.learning.generalization import expected_test_loss
from finitewidth.network import MLP

X = np.array([[1.0, 0.3, -0.5], [-0.2, 1.1, 0.6], [0.7, -0.9, 0.4]])
Y = np.array([[0.4, 1.1], [0.4, -0.8], [-1.0, 0.3]])
NET = MLP(
    (3, 20, 30, 2), "tanh", C_b=[0.1, 0.2, 0.05], C_W=[1.8, 1.5, 1.7],
    lambda_b=[0.5, 1.0, 0.7], lambda_W=[1.0, 0.6, 1.3],
)  # fmt: skip
ETA, STEPS = 0.11, 60


@pytest.fixture(scope="module")
def kernels():
    found = flow.ntk(NET, X, order=0)
    return np.asarray(found.kernel[-1]), np.asarray(found.mean[-1])


@pytest.fixture(scope="module")
def history():
    return expected_loss_history(NET, X, Y, ETA, STEPS)


def test_mean_is_that_of_powers_of_the_matrix(kernels, history):
    K, Theta = kernels
    for step in (0, 1, 7, STEPS):
        F = np.linalg.matrix_power(np.eye(3) - ETA * Theta, step)
        want = 0.5 * np.sum((F @ Y) ** 2) + 2 / 2 * np.trace(F @ K @ F)
        np.testing.assert_allclose(history.mean[step], want, rtol=1e-9)
    assert history.mean.shape == history.standard_deviation.shape == (STEPS + 1,)


def test_the_slowest_eigenvalue_is_left_in_the_end(kernels):
    rates, axes = np.linalg.eigh(kernels[1])
    slow = axes[:, 0]
    late = expected_loss_history(NET, X, Y, ETA, 400).mean[400]
    start = 0.5 * np.sum((slow @ Y) ** 2) + slow @ kernels[0] @ slow
    np.testing.assert_allclose(late, start * (1 - ETA * rates[0]) ** 800, rtol=1e-6)


def test_bias_and_variance_of_the_prediction_at_the_training_inputs(history):
    for step in (0, 3, STEPS):
        prediction = learning.predict(NET, X, Y, X, steps=step, eta=ETA)
        want = expected_test_loss(prediction, Y)
        np.testing.assert_allclose(history.mean[step], want.mean, rtol=1e-8)
        np.testing.assert_allclose(
            history.standard_deviation[step], want.standard_deviation, rtol=1e-8
        )


def test_sampled_errors_step_by_step(kernels, history):
    K, Theta = kernels
    count = 100_000
    noise = np.random.default_rng(2).normal(size=(count, 3, 2))
    error = np.linalg.cholesky(K) @ noise - Y
    for step in range(6):
        loss = 0.5 * np.sum(error**2, axis=(1, 2))
        assert abs(loss.mean() - history.mean[step]) < 4 * loss.std() / count**0.5
        squares = (loss - loss.mean()) ** 2
        variance = float(history.standard_deviation[step]) ** 2
        assert abs(squares.mean() - variance) < 4 * squares.std() / count**0.5
        error = error - ETA * Theta @ error


def test_one_output_and_zero_steps():
    net = MLP((3, 20, 1), "relu", C_b=0.1, C_W=1.5)
    found = expected_loss_history(net, X, Y[:, 0], 0.1, 0)
    K = np.asarray(flow.preactivations(net, X, order=0).kernel[-1])
    np.testing.assert_allclose(found.mean, [0.5 * np.sum(Y[:, 0] ** 2) + np.trace(K) / 2])
    assert "0 steps of eta = 0.1" in repr(found)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"eta": 5.0}, ValueError, "eta: gradient descent diverges above"),
        ({"eta": 0.0}, ValueError, "eta: wanted a positive number"),
        ({"eta": [0.1, 0.1]}, ValueError, "eta: wanted one number"),
        ({"steps": -1}, ValueError, "steps: wanted at least 0, got -1"),
        ({"steps": 2.5}, TypeError, "steps: wanted a whole number"),
        ({"x": X[:, :2]}, ValueError, "wanted 3 features"),
        ({"y": Y[:2]}, ValueError, "y: "),
    ],
)
def test_arguments_that_make_no_sense(change, error, message):
    with pytest.raises(error, match=message):
        expected_loss_history(**{"net": NET, "x": X, "y": Y, "eta": ETA, "steps": 3, **change})
