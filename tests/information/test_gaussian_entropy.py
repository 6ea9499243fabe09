"""Gaussian entropies and informations against densities integrated and sampled by SciPy."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

import finitewidth as fw
from finitewidth.information import (
    gaussian_divergence,
    gaussian_entropy,
    input_mutual_information,
    input_tripartite_information,
)


def random_covariance(inputs, seed=0):
    A = np.random.default_rng(seed).standard_normal((inputs, inputs + 2))
    return A @ A.T / inputs


def test_entropy_is_that_of_scipy():
    K = random_covariance(4)
    assert float(gaussian_entropy(K, 3)) == pytest.approx(
        3 * multivariate_normal(np.zeros(4), K).entropy(), abs=1e-12
    )
    layers = np.stack([random_covariance(2, s) for s in range(5)])
    assert gaussian_entropy(layers).shape == (5,)


def test_divergence_and_information_against_sampled_log_ratios():
    rng = np.random.default_rng(1)
    K1, K2 = random_covariance(3, 1), random_covariance(3, 2)
    m1, m2 = rng.standard_normal(3), rng.standard_normal(3)
    p, q = multivariate_normal(m1, K1), multivariate_normal(m2, K2)
    z = p.rvs(400_000, random_state=rng)
    ratio = p.logpdf(z) - q.logpdf(z)
    error = ratio.std() / np.sqrt(ratio.size)
    assert abs(float(gaussian_divergence(K1, K2, m1, m2)) - ratio.mean()) < 4 * error
    assert float(gaussian_divergence(K1, K1, m1, m1)) == pytest.approx(0.0, abs=1e-13)
    # An information is the divergence from the product of the marginals.
    product = K1.copy()
    product[0, 1:] = product[1:, 0] = 0.0
    assert float(input_mutual_information(K1)) == pytest.approx(
        float(gaussian_divergence(K1, product)), abs=1e-12
    )


def kernel_of(K0, K2):
    return np.array([[K0 + K2, K0 - K2], [K0 - K2, K0 + K2]])


def test_two_inputs_of_equal_norm():
    """(A.29): 0.192442 at K_[0] = .9, K_[2] = .25, symmetric under exchange, 0 at rho = 1."""
    assert float(input_mutual_information(kernel_of(0.9, 0.25))) == pytest.approx(
        0.192442, abs=5e-7
    )
    for rho in (1e-6, 0.1, 3.0):
        wanted = np.log((1 + rho) ** 2 / (4 * rho)) / 2
        assert float(input_mutual_information(kernel_of(1.0, rho))) == pytest.approx(wanted)
        assert float(input_mutual_information(kernel_of(rho, 1.0))) == pytest.approx(wanted)
    assert float(input_mutual_information(kernel_of(0.7, 0.7))) == pytest.approx(0.0, abs=1e-15)
    assert float(input_mutual_information(kernel_of(0.7, 0.0))) == np.inf


def test_all_layers_of_a_network_at_once():
    net = fw.MLP.critical(widths=(3, *[10] * 9, 1), activation="relu")
    pre = fw.flow.preactivations(net, [[1.0, 0.2, 0.0], [-0.3, 0.9, 0.5]], order=0)
    information = np.asarray(input_mutual_information(pre.kernel))
    correlation = pre.kernel[:, 0, 1] / np.sqrt(pre.kernel[:, 0, 0] * pre.kernel[:, 1, 1])
    np.testing.assert_allclose(information, -np.log1p(-(np.asarray(correlation) ** 2)) / 2)
    assert (np.diff(information[1:]) > 0).all()  # ReLU aligns inputs: they tell more and more


def test_groups_and_chain_rule():
    """I(A; B, C) = I(A; B) + I(A; C) - I_3(A, B, C)."""
    K = random_covariance(5, 3)
    A, B, C = [0, 3], [1], [2, 4]
    joint = input_mutual_information(K, A, [1, 2, 4])
    separate = input_mutual_information(K, A, B) + input_mutual_information(K, A, C)
    assert float(joint) == pytest.approx(
        float(separate - input_tripartite_information(K, [A, B, C])), abs=1e-12
    )


def test_learning_two_inputs_makes_others_less_informative():
    """A posterior covariance is a covariance: the same function takes it."""
    K = random_covariance(4, 4)
    gain = np.linalg.solve(K[:2, :2], K[:2, 2:])
    posterior = K[2:, 2:] - K[2:, :2] @ gain
    with_data = input_mutual_information(posterior)
    # I(2; 3 | 0, 1) from entropies of the joint law.
    S = lambda at: float(gaussian_entropy(K[np.ix_(at, at)]))  # noqa: E731
    wanted = S([0, 1, 2]) + S([0, 1, 3]) - S([0, 1]) - S([0, 1, 2, 3])
    assert float(with_data) == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gaussian_entropy([[1.0, 2.0]]), r"got shape \(1, 2\)"),
        (lambda: gaussian_entropy([[1.0, 0.5], [0.4, 1.0]]), "symmetric"),
        (
            lambda: gaussian_entropy([[1.0, 2.0], [2.0, 1.0]]),
            "negative eigenvalues, got one of -1",
        ),
        (lambda: gaussian_entropy([[np.nan]]), "finite"),
        (lambda: input_mutual_information([[1.0]]), "from 0 to 0"),
        (lambda: input_mutual_information(np.eye(3), [0, 1], [1]), "different inputs"),
        (lambda: input_tripartite_information(np.eye(2)), "from 0 to 1"),
        (lambda: input_tripartite_information(np.eye(3), [[0], [1], [1]]), "different"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
