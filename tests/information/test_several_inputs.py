"""T, U and the conditional covariance on several inputs against sampled networks."""

from functools import lru_cache

import jax
import numpy as np
import pytest

import finitewidth as fw
from finitewidth.ensemble.metric_chain import draw_by_chain
from finitewidth.information import (
    conditional_variance,
    conditional_variance_of_samples,
    exact_scale_mixture,
    metric_variance,
    neuron_entropy,
    neuron_information_of,
    neuron_mutual_information_of,
)

X = np.array([[1.0, 0.3, -0.5], [-0.2, 1.1, 0.6]])


def problem(n, hidden=1):
    return fw.MLP(widths=(3, *[n] * hidden, 2), activation="tanh", C_b=0.1, C_W=1.8)


def metrics(net, x, networks, seed=0):
    # In chunks, so that the draws of a test are never in memory together.
    chunk = 20_000
    keys = jax.random.split(jax.random.key(seed), networks // chunk)
    draws = [draw_by_chain(net, np.asarray(x), key, chunk).metric[:, -1] for key in keys]
    return np.concatenate([np.asarray(draw) for draw in draws])


@lru_cache
def draws_of_two_hidden_layers(n, seed):
    return metrics(problem(n, hidden=2), X, 20_000, seed=100 * n + seed)


def test_two_inputs_of_the_fixed_problem():
    """(m^2 T + 2 m U) n^2/8 = 0.8875 (m = 1), 2.5684 (m = 2); n^2 I(1, 1) = 0.3967."""
    n = 64
    both = neuron_information_of(problem(n), X)
    assert 2 * n**2 * float(both.entropy_deficit(1)) == pytest.approx(0.8875, abs=6e-5)
    assert 2 * n**2 * float(both.entropy_deficit(2)) == pytest.approx(2.5684, abs=6e-5)
    assert n**2 * float(neuron_mutual_information_of(problem(n), X)) == pytest.approx(
        0.3967, abs=6e-5
    )
    assert n**2 * float(both.mutual_information(2, 3)) == pytest.approx(6 * 0.3967, abs=4e-4)


@pytest.mark.parametrize(("m", "wanted"), [(1, 0.8875), (2, 2.5684)])
def test_chi_square_divergence_of_networks(m, wanted):
    """E det(1 - G^-1 D G^-1 D')^(-m/2) - 1 over pairs of networks, Richardson from n and 2n."""
    values, errors = [], []
    for n in (32, 64):
        G_hat = metrics(problem(n), X, 200_000, seed=n)
        # G of one hidden layer is known exactly, but the mean of the draws serves as well.
        root = np.linalg.cholesky(G_hat.mean(0))
        white = np.linalg.solve(root, np.linalg.solve(root, G_hat).swapaxes(1, 2)) - np.eye(2)
        one, other = np.split(white, 2)
        divergences = np.linalg.det(np.eye(2) - one @ other) ** (-m / 2) - 1
        # Terms of first order in D D' average to zero; taking them out lowers the noise.
        divergences -= m / 2 * np.einsum("sab,sba->s", one, other)
        values.append(n**2 * divergences.mean())
        errors.append(n**2 * divergences.std() / np.sqrt(divergences.size))
    extrapolated, error = 2 * values[1] - values[0], np.hypot(2 * errors[1], errors[0])
    assert error < 0.1 * wanted
    assert abs(extrapolated - wanted) < 4 * error


def test_one_input_and_a_change_of_basis():
    """T = U = x^2 for one input; T and U do not change when inputs are combined linearly."""
    net = fw.MLP.critical(widths=(3, 50, 80, 1), activation="tanh")
    one = neuron_information_of(net, X[:1])
    x = float(metric_variance(net, X[:1], exact=False)[0])
    assert float(one.T) == pytest.approx(x**2) and float(one.U) == pytest.approx(x**2)
    linear = fw.MLP.critical(widths=(3, 50, 80, 1), activation="linear")
    mixed = np.array([[2.0, 1.0], [-0.5, 0.3]]) @ X
    before, after = neuron_information_of(linear, X), neuron_information_of(linear, mixed)
    assert float(after.T) == pytest.approx(float(before.T), rel=1e-9)
    assert float(after.U) == pytest.approx(float(before.U), rel=1e-9)
    # Linear networks: W = s (K_13 K_24 + K_14 K_23), so T = s^2 (2 N^2 + 2 N), U = s^2 N (N + 3).
    s = 1 / 50 + 1 / 80
    assert float(before.T) == pytest.approx(12 * s**2, rel=1e-9)
    assert float(before.U) == pytest.approx(10 * s**2, rel=1e-9)


def test_entropy_of_one_input_is_the_series():
    net = fw.MLP.critical(widths=(3, 50, 80, 1), activation="relu")
    one = neuron_information_of(net, X[:1])
    x = metric_variance(net, X[:1], exact=False)[0]
    assert float(one.entropy(3)) == pytest.approx(
        float(neuron_entropy(x, 3, metric=one.metric[0, 0])), rel=1e-12
    )


@pytest.mark.parametrize(
    ("activation", "layer", "square", "wanted"),
    [
        ("relu", 2, 4.0, 7.5),
        ("relu", 4, 4.0, 22.5),
        ("relu", 2, 0.0, -2.5),
        ("relu", 4, 0.0, -7.5),
        ("linear", 2, 4.0, 3.0),
        ("linear", 4, 4.0, 9.0),
        ("linear", 2, 0.0, -1.0),
        ("linear", 4, 0.0, -3.0),
    ],
)
def test_hebbian_slopes(activation, layer, square, wanted):
    """n (E[z_2^2 | z_1] - G) at G = 1: the formula, and the exact law at large n (6.78)."""
    n = 1000
    net = fw.MLP.critical(widths=(1, *[n] * 4, 1), activation=activation)
    x = np.array([[1 / np.sqrt(float(net.C_W[0]))]])
    theory = n * (float(conditional_variance(net, x, [square**0.5], layer)[0, 0]) - 1)
    assert theory == pytest.approx(wanted, abs=1e-8)
    exact = exact_scale_mixture(net, x, layer)
    assert n * (float(exact.conditional_variance(square**0.5)) - 1) == pytest.approx(
        wanted, rel=0.04
    )


def test_narrow_networks_beyond_first_order():
    """n = 32, ReLU, layer 3, z^2 = 3.8: 1.44 by the formula where networks have 1.38."""
    net = fw.MLP.critical(widths=(1, 32, 32, 1), activation="relu")
    x = np.array([[1 / np.sqrt(2)]])
    z = np.sqrt(3.8)
    assert float(conditional_variance(net, x, [z])[0, 0]) == pytest.approx(1.4375, abs=1e-9)
    exact = float(exact_scale_mixture(net, x).conditional_variance(z))
    assert exact == pytest.approx(1.3775, abs=3e-3)
    G = metrics(net, x, 100_000)
    assert float(conditional_variance_of_samples(G, [z])[0, 0]) == pytest.approx(exact, rel=5e-3)
    # Two outputs of networks with all their weights, the first near z.
    outputs = fw.MLP.critical(widths=(1, 32, 32, 2), activation="relu")
    keys = jax.random.split(jax.random.key(1), 200_000)
    run = jax.jit(jax.vmap(lambda key: outputs.apply(outputs.init(key), x)[0]))
    with fw.double_precision():
        pairs = np.concatenate([np.asarray(run(part)) for part in np.split(keys, 20)])
    near = pairs[np.abs(np.abs(pairs[:, 0]) - z) < 0.1, 1] ** 2
    assert abs(near.mean() - exact) < 4 * near.std() / np.sqrt(near.size) + 0.005


@pytest.mark.parametrize("neurons", [1, 2])
def test_conditional_covariance_on_two_inputs(neurons):
    """n times the shift from G, Richardson from two widths, two hidden layers."""
    z = np.array([[0.9, -1.7], [2.1, 0.4]])[:neurons]
    values, errors, theory = [], [], []
    for n in (48, 96):
        net = problem(n, hidden=2)
        pre = fw.flow.preactivations(net, X)
        shift = np.asarray(conditional_variance(net, X, z) - pre.metric[-1])
        theory.append(n * shift)
        parts = []
        for seed in range(10):
            G = draws_of_two_hidden_layers(n, seed)
            parts.append(n * (np.asarray(conditional_variance_of_samples(G, z)) - G.mean(0)))
        values.append(np.mean(parts, axis=0))
        errors.append(np.std(parts, axis=0, ddof=1) / np.sqrt(len(parts)))
    # The theory itself still holds powers of 1/n through G in its second term.
    wanted = 2 * theory[1] - theory[0]
    error = np.hypot(2 * errors[1], errors[0])
    scores = ((2 * values[1] - values[0] - wanted) / error)[np.triu_indices(2)]
    assert np.abs(scores).max() < 4
    assert error.max() < 0.2 * np.abs(wanted).max()


def test_conditional_mean_over_observations_is_the_metric():
    """The correction averages to zero over z ~ N(0, G): an exact identity of the formula."""
    net = problem(40, hidden=2)
    G = np.asarray(fw.flow.preactivations(net, X).metric[-1])
    root = np.linalg.cholesky(G)
    # Points with covariance G exactly.
    spread = [s * root[:, k] * np.sqrt(2) for k in range(2) for s in (1, -1)]
    mean = np.mean([np.asarray(conditional_variance(net, X, z)) for z in spread], axis=0)
    np.testing.assert_allclose(mean, G, atol=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: neuron_information_of(problem(5), np.ones((2, 3))), "invertible kernel"),
        (lambda: neuron_information_of(problem(5), X, 7), "layer"),
        (lambda: neuron_information_of(problem(5), X).mutual_information(0), "m1"),
        (lambda: conditional_variance(problem(5), X, [1.0]), "z: wanted one neuron on 2"),
        (lambda: conditional_variance(problem(5), X, [1.0, 2.0], 9), "layer"),
        (lambda: conditional_variance_of_samples(np.ones((3, 2)), [1.0]), "metrics"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
