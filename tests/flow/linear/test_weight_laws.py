"""Weights that are not Gaussian, PDLT chapter 2, footnote 9, against real networks."""

import numpy as np
import pytest
from scipy import stats

from finitewidth.flow import linear
from finitewidth.flow.linear import weight_laws
from tests.flow.linear import sampled

WIDTHS, C_W, X = (4, 6, 5, 7, 3), (1.1, 0.9, 1.2, 1.0), np.array([0.9, -0.4, 1.2, 0.5])


@pytest.mark.parametrize("law", ["uniform", "sign"])
def test_real_networks(law):
    z = sampled.preactivations(WIDTHS, C_W, X[None], 40_000, 12, law=law)
    A, B = weight_laws.four_point(WIDTHS, C_W, X, law)
    scores = []
    for layer in range(4):
        out = z[layer][..., 0]
        n = out.shape[1]
        fourth = (out**4).mean(axis=1)
        pairs = ((out**2).sum(axis=1) ** 2 - (out**4).sum(axis=1)) / (n * (n - 1))
        scores += [
            sampled.z_score(fourth, 3 * A[layer] + B[layer]),
            sampled.z_score(pairs, A[layer]),
        ]
    sampled.check(scores)


def test_gaussian_weights_have_no_B():
    A, B = weight_laws.four_point(WIDTHS, C_W, X, "gaussian")
    np.testing.assert_allclose(A, linear.correlator(WIDTHS, C_W, X @ X / 4, 2), rtol=1e-14)
    assert (B == 0).all()


def test_only_a_term_that_does_not_accumulate_changes():
    def difference(n, L):
        widths = (50,) + (n,) * L
        x = np.ones(50)
        one = weight_laws.four_point(widths, 1.0, x, "sign")
        other = weight_laws.four_point(widths, 1.0, x, "gaussian")
        return one.A[-1] - other.A[-1], one.B[-1]

    # B ~ k (3 A)/n; its feedback on A is 1/n^2 per layer.
    for n in (100, 200):
        A, B = difference(n, 10)
        np.testing.assert_allclose(B * n, -6, rtol=0.25)
        assert abs(A) * n**2 < 6 * 10 * 1.5
    assert 0.2 < difference(200, 10)[0] / difference(100, 10)[0] < 0.3
    np.testing.assert_allclose(difference(1000, 5)[1], difference(1000, 20)[1], rtol=0.1)


def test_a_sparse_input_is_the_exception():
    one_hot = np.array([2.0, 0.0, 0.0, 0.0])
    A, B = weight_laws.four_point((4, 50, 50, 1), 1.0, one_hot, "uniform")
    np.testing.assert_allclose(B[0] / A[0], -1.2, rtol=1e-14)
    np.testing.assert_allclose(A[1] / A[0], 1 + (2 - 1.2) / 50, rtol=1e-14)


def test_excess_kurtosis_of_the_laws():
    assert weight_laws.excess_kurtosis("sign") == -2
    rng = np.random.default_rng(0)
    draws = stats.truncnorm(-2, 2).rvs(400_000, random_state=rng)
    want = weight_laws.excess_kurtosis("truncated_normal")
    fourth = (draws / draws.std()) ** 4
    assert abs(fourth.mean() - 3 - want) < 4 * fourth.std() / np.sqrt(len(draws))


def test_wrong_arguments():
    for call, message in (
        (lambda: weight_laws.excess_kurtosis("orthogonal"), "law: wanted"),
        (lambda: weight_laws.four_point(WIDTHS, C_W, X[:3], 0.0), "x: wanted one finite input"),
        (lambda: weight_laws.four_point(WIDTHS, C_W, X, -3.0), "kurtosis: wanted"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    assert (weight_laws.four_point(WIDTHS, C_W, 0 * X, "uniform").A == 0).all()
