"""Bias, variance and fluctuation of the test loss against drawn processes and one by one."""

import jax
import numpy as np
import pytest
from scipy.special import logsumexp, softmax

import finitewidth as fw
from finitewidth.learning import predict
from finitewidth.learning.generalization import bias_variance_map, expected_test_loss
from tests.learning.problem import X_TEST, X, Y, network

rng = np.random.default_rng(7)
Y_TEST = rng.normal(size=(3, 2))
P_TEST = softmax(rng.normal(size=(3, 2)), axis=1)


def test_squared_error_of_drawn_networks():
    """(10.52) and its variance: z-scores over 4e5 draws of the process."""
    found = predict(network(), X, Y, X_TEST)
    loss = expected_test_loss(found, Y_TEST)
    drawn = np.asarray(found.sample(jax.random.key(0), 400_000))
    losses = ((drawn - Y_TEST) ** 2).sum((1, 2)) / 2
    assert abs(losses.mean() - loss.mean) < 4 * losses.std() / np.sqrt(len(losses))
    squares = (losses - losses.mean()) ** 2
    assert abs(squares.mean() - loss.standard_deviation**2) < 4 * squares.std() / np.sqrt(
        len(losses)
    )
    C, b = np.asarray(found.covariance), np.asarray(found.mean) - Y_TEST
    assert float(loss.bias) == pytest.approx((b**2).sum() / 2)
    assert float(loss.variance) == pytest.approx(np.trace(C))


def shrunk(prediction, factor):
    """The same mean with fluctuations smaller by a factor."""
    return fw.learning.Prediction(
        prediction.net,
        prediction.mean,
        factor**2 * prediction.covariance,
        prediction.smoother,
        "ntk",
        "",
    )


def test_cross_entropy():
    """(10.55): the closed form, and the mean and variance over draws with small fluctuations."""
    found = shrunk(predict(network(), X, Y, X_TEST), 0.1)
    loss = expected_test_loss(found, P_TEST, "cross-entropy")
    m, C = np.asarray(found.mean), np.asarray(found.covariance)
    q = softmax(m, axis=1)
    assert float(loss.variance) == pytest.approx((np.diag(C) * (1 - (q**2).sum(1))).sum() / 2)
    assert float(loss.bias) == pytest.approx(-(P_TEST * np.log(q)).sum())
    # Antithetic pairs take the odd orders of the fluctuation away, the linear one above all.
    drawn = np.asarray(found.sample(jax.random.key(0), 200_000)) - m

    def of(z):
        return (logsumexp(z, axis=2) - (P_TEST * z).sum(2)).sum(1)

    plus, minus = of(m + drawn), of(m - drawn)
    even = (plus + minus) / 2 - float(loss.bias)
    error = even.std() / np.sqrt(len(even))
    assert error < 0.01 * float(loss.variance)
    # What is left out is of fourth order, a few percent of C times the second.
    assert abs(even.mean() - float(loss.variance)) < 4 * error + 0.02 * float(loss.variance)
    assert plus.std() == pytest.approx(float(loss.standard_deviation), rel=0.01)


def test_losses_of_ones_own():
    """A loss with curvature of all signs that couples outputs, fourth order taken away."""

    def loss(z, y):
        return (z[0] - y[0]) * (z[1] - y[1]) + 0.3 * (z[0] - y[0]) ** 3

    full = predict(network(), X, Y, X_TEST)
    found = expected_test_loss(full, Y_TEST, loss)
    b = np.asarray(full.mean) - Y_TEST
    want = (0.9 * b[:, 0] * np.diag(full.covariance)).sum()  # tr H / 2 = 0.9 b_0
    assert float(found.variance) == pytest.approx(want)
    small = shrunk(full, 1e-2)
    drawn = np.asarray(small.sample(jax.random.key(0), 100_000)) - np.asarray(small.mean) + b
    losses = (drawn[:, :, 0] * drawn[:, :, 1] + 0.3 * drawn[:, :, 0] ** 3).sum(1)
    deviation = float(expected_test_loss(small, Y_TEST, loss).standard_deviation)
    assert losses.std() == pytest.approx(deviation, rel=0.01)


def test_generalization_error_at_training_inputs_is_zero():
    loss = expected_test_loss(predict(network(), X, Y, X), Y)
    assert float(loss.mean) < 1e-12


@pytest.mark.parametrize("rule", ["ntk", "bayes"])
def test_map_is_the_prediction_of_each_network(rule):
    net = fw.MLP((3, 9, 9, 9, 2), "gelu", lambda_b=0.7, lambda_W=1.1)
    C_b, C_W = [0.05, 0.3], [0.8, 1.7, 2.5]
    found = bias_variance_map(net, X, Y, X_TEST, Y_TEST, C_b, C_W, rule=rule)
    for b, w, depth in ((0, 2, 4), (1, 0, 2), (1, 1, 3)):
        there = fw.MLP((3, *[9] * (depth - 1), 2), "gelu", C_b[b], C_W[w], 0.7, 1.1)
        loss = expected_test_loss(predict(there, X, Y, X_TEST, rule=rule), Y_TEST)
        at = (b, w, depth - 1)
        np.testing.assert_allclose(found.bias[at], loss.bias, rtol=1e-8)
        np.testing.assert_allclose(found.variance[at], loss.variance, rtol=1e-8)
        np.testing.assert_allclose(found.standard_deviation[at], loss.standard_deviation, rtol=1e-8)
    # Four training inputs in three dimensions with a linear kernel of one layer: still regular
    # because of the biases.
    assert np.isfinite(found.mean).all()
    data = found.to_xarray()
    best = data["mean"].where(data["mean"] == data["mean"].min(), drop=True)
    assert found.best == (float(best.C_b[0]), float(best.C_W[0]), int(best.depth[0]))


def test_map_says_where_nothing_can_be_trained():
    net = fw.MLP((3, 9, 2), "relu", lambda_b=0.0)
    found = bias_variance_map(net, X, Y, X_TEST, Y_TEST, [0.0], [2.0])
    # One linear layer without rates of biases: four inputs of three features are dependent.
    assert np.isnan(found.mean[0, 0]).tolist() == [True, False]
    with pytest.raises(ValueError, match="C_b: wanted a list of finite variances"):
        bias_variance_map(net, X, Y, X_TEST, Y_TEST, [-1.0], [2.0])
