"""The n^(-1/2) correction of trained ReLU networks against training, with its leap taken away."""

import jax
import numpy as np
import pytest

import finitewidth as fw
from finitewidth.learning import giant_leap, gradient_descent, predict
from finitewidth.learning.generalization import half_power_shift

X, Y, X_TEST = np.array([1.2, 0.3]), 2.0, np.array([[0.2, 1.1]])


def network(n, activation="relu"):
    return fw.MLP((2, n, 1), activation, C_W=2.0, lambda_b=0.0)


def test_number():
    assert float(half_power_shift(network(9), X, Y, X_TEST)[0]) == pytest.approx(0.1833, abs=5e-5)


def test_the_mean_of_a_signed_square():
    """The whole formula with E[c |c|] by sampling, other inputs and rates."""
    net = fw.MLP((2, 9, 1), "relu", C_W=[1.5, 2.5], lambda_b=0.0, lambda_W=[0.7, 1.3])
    x, y, tests = np.array([0.4, -1.1]), -1.3, np.array([[0.3, -0.2], [1.0, 0.9]])
    found = fw.flow.ntk(net, np.concatenate([x[None], tests]))
    K, Theta = np.asarray(found.kernel), np.asarray(found.mean)
    z = np.sqrt(K[1, 0, 0]) * np.random.default_rng(0).normal(size=2_000_000)
    c = Theta[0, 0, 0] / Theta[1, 0, 0] * (z - y)
    scale = 2.5**1.5 / (2 * np.pi * np.sqrt(K[0, 0, 0]))
    want = -Theta[1, 1:, 0] / Theta[1, 0, 0] * scale * (c * abs(c)).mean()
    np.testing.assert_allclose(half_power_shift(net, x, y, tests), want, rtol=3e-3)


def shift(n, activation, networks):
    """Mean of sqrt(n) (z_b(T) - leap) over networks, and its error; the leap has mean m."""
    net = network(n, activation)
    Theta = float(fw.flow.ntk(net, X[None]).mean[-1, 0, 0])

    def one(key):
        params = net.init(key)
        run = gradient_descent(net, params, X[None], [Y], eta=0.25 / Theta, steps=60)
        leap = giant_leap(net, params, X[None], [Y], X_TEST)
        return net.apply(run.params, X_TEST)[0, 0] - leap[0, 0], run.losses[-1]

    with fw.double_precision():
        keys = jax.random.split(jax.random.key(n), networks)
        found, losses = jax.jit(lambda keys: jax.lax.map(one, keys, batch_size=500))(keys)
    assert float(np.sort(losses)[int(0.99 * networks)]) < 1e-6
    values = np.sqrt(n) * np.asarray(found)
    return values.mean(), values.std() / np.sqrt(networks)


@pytest.mark.slow
def test_trained_networks():
    """ReLU: 0.1833 by extrapolation in n^(-1/2); tanh, a smooth one: nothing."""
    (first, e_1), (second, e_2) = (shift(n, "relu", 20_000) for n in (256, 1024))
    limit, error = 2 * second - first, np.hypot(2 * e_2, e_1)
    print("ReLU", limit, error)
    want = float(half_power_shift(network(9), X, Y, X_TEST)[0])
    assert abs(limit - want) < 4 * error and error < want / 8
    (first, e_1), (second, e_2) = (shift(n, "tanh", 5_000) for n in (256, 1024))
    limit, error = 2 * second - first, np.hypot(2 * e_2, e_1)
    print("tanh", limit, error)
    assert abs(limit) < 4 * error and error < want / 4


def test_what_is_refused():
    with pytest.raises(ValueError, match="one hidden ReLU layer"):
        half_power_shift(network(9, "tanh"), X, Y, X_TEST)
    with pytest.raises(ValueError, match="no biases"):
        half_power_shift(fw.MLP((2, 9, 1), "relu"), X, Y, X_TEST)


def test_prediction_is_what_is_corrected():
    """m = (Theta_ba/Theta_aa) y has the sign and ratio of the shift."""
    net = network(9)
    m = predict(net, X[None], [Y], X_TEST).mean[0, 0]
    wide = half_power_shift(net, X, Y, np.concatenate([X_TEST, X[None]]))
    assert float(wide[0] / wide[1]) == pytest.approx(float(m) / Y)
