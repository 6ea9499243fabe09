"""The n^(-1/2) correction of trained ReLU networks against training."""

import jax
import numpy as np
import pytest

import finitewidth as fw
from finitewidth.ensemble import empirical_ntk
from finitewidth.learning import gradient_descent
from finitewidth.learning.generalization import half_power_shift

X, Y = np.array([1.2, 0.3]), 2.0
#: Small, obtuse and acute angles with X.
X_TEST = np.array([[0.2, 1.1], [-0.9, 0.5], [1.0, -0.8]])


def network(n, activation="relu"):
    return fw.MLP((2, n, 1), activation, C_W=2.0, lambda_b=0.0)


def test_numbers():
    found = half_power_shift(network(9), X, Y, X_TEST)
    np.testing.assert_allclose(found, [0.0904420, 0.1240671, 0.1301464], atol=1e-6)


def test_the_mean_of_a_signed_square():
    """The whole formula with E[c |c|] by sampling, other inputs, rates and variances."""
    net = fw.MLP((2, 9, 1), "relu", C_W=[1.5, 2.5], lambda_b=0.0, lambda_W=[0.7, 1.3])
    x, y, tests = np.array([0.4, -1.1]), -1.3, np.array([[0.3, -0.2], [1.0, 0.9]])
    found = fw.flow.ntk(net, np.concatenate([x[None], tests]))
    K, Theta = np.asarray(found.kernel), np.asarray(found.mean)
    z = np.sqrt(K[1, 0, 0]) * np.random.default_rng(0).normal(size=2_000_000)
    c = Theta[0, 0, 0] / Theta[1, 0, 0] * (z - y)
    scale = 2.5**1.5 / (2 * np.pi * np.sqrt(K[0, 0, 0]))
    r, r_1 = Theta[1, 1:, 0] / Theta[1, 0, 0], Theta[0, 1:, 0] / Theta[0, 0, 0]
    want = -(r - r_1 / 2) * scale * (c * abs(c)).mean()
    np.testing.assert_allclose(half_power_shift(net, x, y, tests), want, rtol=3e-3)


def test_parallel_inputs_are_exact():
    """z(k x) = k z(x) for k > 0: the label is learned there, and no correction is left."""
    shift = half_power_shift(network(9), X, Y, np.stack([X, 2.5 * X]))
    # The angle of parallel inputs is known to 1e-8, the root of rounding.
    np.testing.assert_allclose(shift, 0.0, atol=1e-7)


def shift(n, activation, networks):
    """Mean of sqrt(n) (z_b(T) - m_b) over networks, and its error.

    What training of the linearized network gives is taken away: its mean is m_b up to O(1/n).
    Small steps: a neuron is carried beyond the kink by a part of the step that brings it there.
    """
    net, inputs = network(n, activation), np.concatenate([X[None], X_TEST])
    eta = 0.04 / float(fw.flow.ntk(net, X[None]).mean[-1, 0, 0])

    def one(key):
        params = net.init(key)
        run = gradient_descent(net, params, X[None], [Y], eta=eta, steps=300)
        H, z = empirical_ntk(net, params, inputs)[0, 0], net.apply(params, inputs)[:, 0]
        linear = z[1:] - H[1:, 0] / H[0, 0] * (z[0] - Y)
        return net.apply(run.params, X_TEST)[:, 0] - linear, run.losses[-1]

    with fw.double_precision():
        keys = jax.random.split(jax.random.key(n), networks)
        found, losses = jax.jit(lambda keys: jax.lax.map(one, keys, batch_size=250))(keys)
    assert float(np.sort(losses)[int(0.99 * networks)]) < 1e-6
    values = np.sqrt(n) * np.asarray(found)
    return values.mean(0), values.std(0) / np.sqrt(networks)


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_trained_networks(activation):
    """ReLU: the coefficient, extrapolated in n^(-1/2); tanh, a smooth one: nothing."""
    (first, e_1), (second, e_2) = (
        shift(n, activation, networks) for n, networks in ((256, 8_000), (1024, 4_000))
    )
    limit, error = 2 * second - first, np.hypot(2 * e_2, e_1)
    print(activation, limit, error)
    wanted = np.asarray(half_power_shift(network(9), X, Y, X_TEST))
    assert np.abs((limit - (wanted if activation == "relu" else 0.0)) / error).max() < 4
    assert (error < wanted / 10).all()


def test_what_is_refused():
    with pytest.raises(ValueError, match="one hidden ReLU layer"):
        half_power_shift(network(9, "tanh"), X, Y, X_TEST)
    with pytest.raises(ValueError, match="no biases"):
        half_power_shift(fw.MLP((2, 9, 1), "relu"), X, Y, X_TEST)
