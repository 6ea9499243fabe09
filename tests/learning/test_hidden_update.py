"""The first step of hidden neurons against sampled networks, extrapolated in width."""

import jax
import numpy as np
import pytest

import finitewidth as fw
from finitewidth.learning import hidden_update, loss_of, tensorial_learning_rates

X = np.array([[0.9, -0.4, 1.2], [-0.3, 1.1, 0.5]])
X_TEST = np.array([[0.2, 0.8, -1.0]])
INPUTS = np.concatenate([X, X_TEST])
Y = np.array([[1.0, -0.5], [0.3, 1.4]])
P = np.array([[0.9, 0.1], [0.3, 0.7]])


def network(activation, hidden):
    layers = len(hidden) + 1
    return fw.MLP(
        (3, *hidden, 2), activation,
        C_b=[0.2, 0.1, 0.3][:layers], C_W=[1.2, 1.5, 0.9][-layers:],
        lambda_b=[0.5, 1.3, 0.2][:layers], lambda_W=[1.1, 0.4, 2.0][:layers],
    )  # fmt: skip


def sampled(net, loss, y, networks):
    """Mean and second moment over networks and neurons, with standard errors, eta = 1."""
    kind, rates = loss_of(loss), tensorial_learning_rates(net)

    def one(key):
        params = net.init(key)
        gradient = jax.grad(lambda p: kind(net.apply(p, X), y))(params)
        step = jax.tree.map(lambda g: -g, rates.update(gradient, rates.init(params))[0])
        dz = jax.jvp(lambda p: net.preactivations(p, INPUTS)[-2], (params,), (step,))[1]
        return dz.mean(1), dz @ dz.T / dz.shape[1]

    with fw.double_precision():
        keys = jax.random.split(jax.random.key(sum(net.widths)), networks)
        drawn = jax.jit(lambda keys: jax.lax.map(one, keys, batch_size=500))(keys)
    return [(np.asarray(v).mean(0), np.asarray(v).std(0) / np.sqrt(networks)) for v in drawn]


#: Activation, hidden widths in units of n, loss, targets, sampled networks.
CASES = {
    "one hidden layer": ("gelu", (1,), "mse", Y, 12_000),
    "two hidden layers": ("tanh", (1, 1), "mse", Y, 8_000),
}
MORE = {
    "two layers, not odd": ("gelu", (1, 1), "mse", Y, 12_000),
    "wide after narrow": ("tanh", (1, 4), "mse", Y, 12_000),
    "cross-entropy": ("tanh", (1, 1), "cross-entropy", P, 12_000),
}


@pytest.mark.parametrize(
    "case", [*CASES, *(pytest.param(case, marks=pytest.mark.slow) for case in MORE)]
)
def test_sampled_networks(case):
    """n times mean and covariance, Richardson in width, z-scores; (10.11), (10.12) + B."""
    activation, shape, loss, y, count = (CASES | MORE)[case]
    # Times the width both are the same for all widths of one shape.
    theory = hidden_update(network(activation, [32 * part for part in shape]), X, y, X_TEST, loss)
    values, errors = [], []
    for n in (32, 64):
        mean, second = sampled(network(activation, [n * part for part in shape]), loss, y, count)
        square = np.outer(theory.mean, theory.mean) * (32 / n) ** 2
        wide = n * shape[-1]
        values.append(np.concatenate([mean[0], (second[0] - square).ravel()]) * wide)
        errors.append(np.concatenate([mean[1], second[1].ravel()]) * wide)
    found = 2 * values[1] - values[0]
    error = np.sqrt(4 * errors[1] ** 2 + errors[0] ** 2)
    wanted, book = (
        np.concatenate([theory.mean, np.ravel(covariance)]) * theory.width
        for covariance in (theory.covariance, theory.book_covariance)
    )
    assert np.abs((found - wanted) / error).max() < 4
    assert (error < 0.05 * np.abs(wanted).max()).all()
    if len(shape) > 1:  # the printed covariance fails the same test
        assert ((book - found) / error)[3:].min() < -4
    if activation == "tanh" and loss == "mse":
        assert np.abs(theory.mean).max() < 1e-15


def test_exchange_between_neurons_in_the_open():
    """B^(2) = C_W^2 <s' s' s' s'> Theta Theta, by sampling; three layers of unequal widths."""
    net = network("tanh", (20, 50))
    found = hidden_update(net, X, Y, X_TEST, eta=0.3)
    kernels = fw.flow.preactivations(net, INPUTS, order=0).kernel
    Theta = np.asarray(fw.flow.ntk(net, INPUTS).mean[0])[:, :2]
    rng = np.random.default_rng(1)

    def slopes(K):
        z = rng.normal(size=(1_000_000, len(K))) @ np.linalg.cholesky(K).T
        return 1 / np.cosh(z) ** 2

    first, second = slopes(kernels[0]), slopes(kernels[1])[:, :2]
    four = np.einsum("sc,sd,sa,sb->cdab", first, first, first[:, :2], first[:, :2], optimize=True)
    B = 1.5**2 * four / len(first) * np.einsum("ca,db->cdab", Theta, Theta)
    E = 2 * np.asarray(kernels[2])[:2, :2] + Y @ Y.T
    weights = E * (second.T @ second) / len(second)
    want = 0.3**2 * 0.9 / 50 * 50 / 20 * np.einsum("cdab,ab->cd", B, weights)
    np.testing.assert_allclose(found.neuron_exchange, want, rtol=5e-3)


def test_generalized_squared_error():
    """With kappa: against Monte Carlo means of the error factors written out."""
    net, kappa = network("gelu", (20,)), np.array([[1.2, 0.4], [0.4, 0.8]])
    found = hidden_update(net, X, Y, X_TEST, kappa=kappa, eta=0.3)
    rng = np.random.default_rng(0)
    kernels = fw.flow.preactivations(net, X, order=0).kernel
    root = np.linalg.cholesky(kernels[-1])
    error = kappa @ (root @ rng.normal(size=(400_000, 2, 2)) - Y)
    E = np.einsum("sai,sbi->ab", error, error) / len(error)
    Theta = np.asarray(fw.flow.ntk(net, INPUTS).mean[-2])[:, :2]
    moments = fw.gaussian.pair_moments(fw.activation("gelu"))
    slopes = np.asarray(fw.flow.derivative_moment(moments, kernels[-2]))
    want = 0.3**2 * 0.9 / 20 * Theta @ (E * slopes) @ Theta.T
    np.testing.assert_allclose(found.book_covariance, want, rtol=0.02)
    plain = hidden_update(net, X, Y, X_TEST, eta=0.3)
    assert np.abs(found.covariance / plain.covariance - 1).max() > 0.5
    # The mean is linear in kappa.
    both = hidden_update(net, X, Y, X_TEST, kappa=kappa + np.eye(2), eta=0.3)
    np.testing.assert_allclose(both.mean - plain.mean, found.mean, rtol=1e-10)


def test_nothing_is_learned_at_infinite_width():
    """(10.13): moments fall like 1/n; first order in eta and its square."""
    small, large = (hidden_update(network("gelu", (n,)), X, Y) for n in (50, 5000))
    np.testing.assert_allclose(100 * large.mean, small.mean, rtol=1e-12)
    np.testing.assert_allclose(100 * large.covariance, small.covariance, rtol=1e-12)
    half = hidden_update(network("gelu", (50,)), X, Y, eta=0.5)
    np.testing.assert_allclose(4 * half.covariance, small.covariance, rtol=1e-12)
    np.testing.assert_allclose(2 * half.mean, small.mean, rtol=1e-12)
    assert float(np.abs(small.neuron_exchange).max()) == 0


def test_what_is_refused():
    with pytest.raises(ValueError, match="at least one hidden layer"):
        hidden_update(fw.MLP((3, 2), "tanh"), X, Y)
    with pytest.raises(ValueError, match="kappa: wanted the squared error"):
        hidden_update(network("tanh", (9,)), X, P, loss="cross-entropy", kappa=np.eye(2))
    with pytest.raises(ValueError, match="kappa: wanted shape"):
        hidden_update(network("tanh", (9,)), X, Y, kappa=np.eye(3))
    with pytest.raises(ValueError, match="orthogonal"):
        hidden_update(fw.MLP((3, 9, 9, 2), "tanh", law="orthogonal"), X, Y)
