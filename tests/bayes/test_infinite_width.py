"""Learned once and asked many times: the same numbers as all inputs at once."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

import finitewidth as fw
from finitewidth.bayes import infinite_width

RNG = np.random.default_rng(6)
NET = fw.MLP((3, 20, 30, 2), "tanh", C_b=[0.3, 0.1, 0.2], C_W=[1.1, 1.9, 1.4])
X, X_TEST, Y = RNG.normal(size=(6, 3)), RNG.normal(size=(5, 3)), RNG.normal(size=(6, 2))


def test_the_posterior_of_order_0(monkeypatch):
    want = fw.bayes.posterior(NET, X, Y, X_TEST, 0.2, order=0)
    learned = fw.bayes.infinite_width_posterior(NET, X, Y, 0.2)
    monkeypatch.setattr(infinite_width, "BLOCK", 12)  # two test inputs at a time
    mean, variance = learned.mean_and_variance(X_TEST)
    np.testing.assert_allclose(mean, want.mean, rtol=1e-9)
    np.testing.assert_allclose(learned.mean(X_TEST), want.mean, rtol=1e-9)
    np.testing.assert_allclose(learned.covariance(X_TEST), want.covariance, rtol=1e-9)
    np.testing.assert_allclose(variance, np.diagonal(want.covariance), rtol=1e-9)
    assert float(learned.log_evidence) == pytest.approx(float(want.log_evidence), rel=1e-12)


def test_the_most_probable_noise():
    kernel = np.asarray(fw.flow.preactivations(NET, X, order=0).kernel[-1])
    learned = fw.bayes.infinite_width_posterior(NET, X, Y, None)

    def log_density(noise):
        return sum(multivariate_normal(cov=kernel + noise * np.eye(6)).logpdf(y) for y in Y.T)

    grid = np.geomspace(1e-4, 1e2, 4001)
    best = grid[np.argmax([log_density(noise) for noise in grid])]
    assert float(learned.noise) == pytest.approx(best, rel=5e-3)
    assert float(learned.log_evidence) >= log_density(best) - 1e-9


def test_errors():
    twice = np.concatenate([X, X[:1]])
    with pytest.raises(ValueError, match="equal and have different labels"):
        fw.bayes.infinite_width_posterior(NET, twice, np.concatenate([Y, Y[:1] + 1]))
    with pytest.raises(ValueError, match="x_test: wanted 3 features"):
        fw.bayes.infinite_width_posterior(NET, X, Y).mean(X_TEST[:, :2])
