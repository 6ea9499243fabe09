"""Posteriors of real networks of growing width, against infinite width and first order in 1/width.

What networks do differs from infinite width by a term that falls like 1/n, and from first order by
one that falls like 1/n^2. Both exponents are fitted. Three training inputs without symmetry, hidden
widths 2n, n, 3n/2, biases on.
"""

import warnings

import numpy as np
import pytest

import finitewidth as fw

X = np.array([[1.0, -0.6, 0.3], [0.2, 0.9, -1.1], [-0.7, 0.4, 0.6]])
Y = np.array([[1.3, -0.4], [-0.6, 0.9], [0.2, 1.1]])
TEST = np.array([[-1.2, 0.1, -0.8]])
NOISE = 0.3
WIDTHS = (12, 24, 48)
QUANTITIES = ("variance", "covariance", "log-evidence")


def network(n):
    widths = (3, 2 * n, n, 3 * n // 2, 2)
    return fw.MLP(widths, "tanh", C_b=[0.1, 0.05, 0.2, 0.1], C_W=[1.8, 1.5, 1.9, 1.7])


def theory(n, order):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fw.bayes.ExpansionWarning)
        found = fw.bayes.posterior(network(n), X, Y, TEST, NOISE, order)
    wired = found.component_covariance[0]
    return np.array([wired[0, 0], wired[0, 1], found.log_evidence])


def sampled(n, samples):
    found = fw.bayes.importance_sample(network(n), X, Y, TEST, NOISE, samples, key=n)
    value, error = (
        np.array([covariance[0, 0, 0, 0], covariance[0, 0, 0, 1], evidence])
        for covariance, evidence in (
            (found.covariance, found.log_evidence),
            (found.covariance_error, found.log_evidence_error),
        )
    )
    return value, error


def exponents(differences, errors):
    """Fit |difference| ~ n^p for each quantity, weighted; return p and its standard error."""
    log_n = np.log(WIDTHS)
    weight = (differences / errors) ** 2  # of the logarithm
    centre = (weight * log_n[:, None]).sum(axis=0) / weight.sum(axis=0)
    lever = weight * (log_n[:, None] - centre)
    spread = (lever * (log_n[:, None] - centre)).sum(axis=0)
    return (lever * np.log(np.abs(differences))).sum(axis=0) / spread, spread**-0.5


def check_exponents(samples, known):
    """Compare with -1 and -2; the next order bends both by an amount of order 1/n."""
    values, errors = (
        np.array(part) for part in zip(*(sampled(n, samples) for n in WIDTHS), strict=True)
    )
    limit = np.array([theory(n, 0) for n in WIDTHS])
    first = np.array([theory(n, 1) for n in WIDTHS])
    for name, want, difference in (
        ("infinite width", -1, values - limit),
        ("first order", -2, values - first),
    ):
        power, error = exponents(difference, errors)
        for quantity, p, e in zip(QUANTITIES, power, error, strict=True):
            print(f"networks - {name}, {quantity}: n^({p:.2f} +- {e:.2f}), theory n^{want}")
        assert error.min() < known
        assert np.all(np.abs(power - want) < 3 * error + 0.25)
    # First order takes away most of what is missing, at every width.
    missing = np.abs(values - first) - 3 * errors
    assert np.all(missing < 0.5 * np.abs(values - limit))


def test_exponents():
    check_exponents(100_000, 0.3)


@pytest.mark.slow
def test_exponents_of_many_networks():
    check_exponents(2_000_000, 0.1)
