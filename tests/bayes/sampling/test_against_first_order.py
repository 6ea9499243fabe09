"""Posteriors of real networks approach the coefficients of 1/n that perturbation theory gives.

The problem: n_0 = 3, tanh, C_b = 0.1, C_W = 1.8 in all layers, two observed inputs, two outputs.
The coefficients were computed once from second-order expansions in the fluctuation of the metric;
here only the limit of infinite width is computed again, by quadrature.
"""

import numpy as np
import pytest

from finitewidth.bayes.sampling import importance_sample
from tests.bayes.problem import X_TEST, X, Y, wide

NARROW = 32


def network(n, hidden=1):
    return wide((n,) * hidden)


def infinite_kernel():
    """K of the outputs on both inputs and the test input, by the trapezoidal rule."""
    x = np.concatenate([X, X_TEST])
    K = 0.1 + 1.8 / 3 * x @ x.T
    t = np.arange(-10, 10, 0.2)
    density = 0.2 * np.exp(-(t**2) / 2) / np.sqrt(2 * np.pi)
    after = np.empty((3, 3))
    for a in range(3):
        for b in range(3):
            first = np.sqrt(K[a, a]) * t[:, None]
            rest = np.sqrt(max(K[b, b] - K[a, b] ** 2 / K[a, a], 0.0))
            second = K[a, b] / K[a, a] * first + rest * t[None, :]
            after[a, b] = density @ (np.tanh(first) * np.tanh(second)) @ density
    return 0.1 + 1.8 * after


def infinite_posterior(noise):
    K = infinite_kernel()
    S = K[:2, :2] + noise * np.eye(2)
    mean = K[2, :2] @ np.linalg.solve(S, Y)
    variance = K[2, 2] - K[2, :2] @ np.linalg.solve(S, K[:2, 2])
    log_p = -0.5 * np.sum(Y * np.linalg.solve(S, Y)) - np.linalg.slogdet(2 * np.pi * S)[1]
    return np.array([*mean, variance, 0.0, log_p])


def extrapolated(wide, narrow):
    """Return coefficient and error of 1/n, given n (measured - limit) at NARROW and twice that."""
    return 2 * wide[0] - narrow[0], np.hypot(2 * wide[1], narrow[1])


def sampled(n, noise, key, hidden=1, samples=300_000):
    return importance_sample(network(n, hidden), X, Y, X_TEST, noise, samples, key)


@pytest.mark.parametrize(
    ("noise", "leading", "coefficients"),
    [
        (0.0, [0.585, 0.034, 0.945, 0, -7.146], [0.1095, 0.3725, 2.273, -0.4945, -2.960]),
        (0.1, [0.5126, 0.033, 0.9544, 0, -6.9322], [0.0588, 0.2724, 1.5719, -0.3644, -2.1369]),
    ],
)
def test_mean_covariance_and_evidence(noise, leading, coefficients):
    limit = infinite_posterior(noise)
    np.testing.assert_allclose(limit, leading, atol=6e-4)
    scaled = []
    for key, n in enumerate((2 * NARROW, NARROW)):
        p = sampled(n, noise, 100 + key)
        value, error = (
            np.array(
                [
                    *getattr(p, f"mean{end}")[0],
                    getattr(p, f"covariance{end}")[0, 0, 0, 0],
                    getattr(p, f"covariance{end}")[0, 0, 0, 1],
                    getattr(p, f"log_evidence{end}"),
                ]
            )
            for end in ("", "_error")
        )
        scaled.append((n * (value - limit), n * error))
    value, error = extrapolated(*scaled)
    z = (value - coefficients) / error
    assert np.max(np.abs(z)) < 3.5
    # The measurement tells the coefficients from zero.
    assert (np.abs(value / error)[2:] > 20).all()


def test_effective_samples_fall_exponentially():
    """samples / effective_samples = exp(2.202 / n + ...), two orders extrapolated away."""
    rates = []
    for n in (24, 48, 96):
        p = importance_sample(network(n), X, Y, None, 0.0, 300_000, key=n)
        fraction = p.effective_samples / p.samples
        rates.append((-n * np.log(fraction), n * p.effective_samples_error / p.effective_samples))
    (a, da), (b, db), (c, dc) = rates
    value = (8 * c - 6 * b + a) / 3
    error = np.sqrt((8 * dc) ** 2 + (6 * db) ** 2 + da**2) / 3
    assert abs(value - 2.202) < 3.5 * error
    assert error < 0.03 * 2.202


@pytest.mark.parametrize(
    "coefficients",
    [[(0.02109, -0.35254)], [(0.02372, -0.52324), (0.03282, -0.89595)]],
    ids=["one hidden layer", "two hidden layers"],
)
def test_hidden_kernels_learn(coefficients):
    """Entries [test, test] and [1, 2] of the kernel of every hidden layer."""
    scaled = []
    for n in (2 * NARROW, NARROW):
        p = sampled(n, 0.05, 40 + n, len(coefficients))
        entries = (slice(None), [2, 0], [2, 1])
        scaled.append((n * p.feature_shift[entries], n * p.feature_shift_error[entries]))
    value, error = extrapolated(*scaled)
    assert np.max(np.abs((value - coefficients) / error)) < 3.5
    assert (np.abs(value / error)[:, 1] > 20).all()
