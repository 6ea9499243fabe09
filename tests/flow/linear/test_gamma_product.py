"""Contour quadrature against Bessel and gamma functions, mpmath and golden values."""

import mpmath
import numpy as np
import pytest
from scipy import stats
from scipy.special import gammaln, kve

from finitewidth.flow import linear
from finitewidth.flow.linear.contour import GammaFactor, gamma_factors


@pytest.mark.parametrize(
    ("u", "b", "want"),
    [
        (0.7, (0.5, 1.0, 2.5), -0.9149055349),
        (3.0, (1.5, 1.5, 1.5), -1.825875695),
        (0.05, (-0.5, 0.0, 1.0), 1.487458918),
        (10.0, (1.0, 1.5, 1.0, 2.0), -2.65416496),
    ],
)
def test_golden_meijer_values(u, b, want):
    np.testing.assert_allclose(float(linear.log_meijer_g(u, b)), want, rtol=1e-9)


def test_meijer_against_mpmath():
    for u, b in ((0.3, (0.1, 0.7, 1.9)), (2.0, (0.25, 1.2)), (5.0, (0.4, 0.9, 1.3, 2.2))):
        want = mpmath.log(mpmath.meijerg([[], []], [list(b), []], u))
        np.testing.assert_allclose(float(linear.log_meijer_g(u, b)), float(want), rtol=1e-10)


@pytest.mark.parametrize("b", [(0.0, 0.0), (0.0, 2.5), (3.0, 50.0), (-0.5, 0.0), (0.0, 500.0)])
def test_two_parameters_are_a_bessel_function(b):
    u = np.geomspace(1e-8, 1e8, 33)
    x = 2 * np.sqrt(u)
    with np.errstate(over="ignore", divide="ignore"):
        want = np.log(2) + sum(b) / 2 * np.log(u) + np.log(kve(b[0] - b[1], x)) - x
    known = np.isfinite(want)
    assert known.sum() > 8
    np.testing.assert_allclose(
        linear.log_meijer_g(u, b)[known], want[known], rtol=1e-14, atol=1e-10
    )


def test_one_parameter_is_a_gamma_law_with_its_tails():
    u = np.geomspace(1e-10, 700, 23)
    for a in (0.5, 1.0, 30.0, 2000.0):
        law = linear.GammaProduct(gamma_factors([a]), 0.0)
        scipy_law = stats.gamma(a)
        x = u * a
        np.testing.assert_allclose(
            law.logpdf(x), scipy_law.logpdf(x), rtol=1e-13, atol=1e-10 * max(1, a / 100)
        )
        middle = np.abs(np.log(u)) < 3
        for ours, theirs in ((law.cdf, scipy_law.cdf), (law.sf, scipy_law.sf)):
            np.testing.assert_allclose(ours(x[middle]), theirs(x[middle]), rtol=1e-9, atol=1e-300)


def test_two_layers_of_neighboring_widths_are_an_incomplete_gamma():
    # chi^2_n chi^2_{n+1} = (chi^2_{2n}/2)^2 in law, gamma_{n/2} gamma_{(n+1)/2} = (gamma_n/2)^2.
    for n in (1, 2, 5, 40):
        law = linear.GammaProduct(gamma_factors([n / 2, (n + 1) / 2]), 0.0)
        x = np.geomspace(1e-3, 1e2, 21) * n**2
        square = stats.gamma(n)
        np.testing.assert_allclose(law.cdf(x), square.cdf(2 * np.sqrt(x)), rtol=1e-9)
        np.testing.assert_allclose(law.sf(x), square.sf(2 * np.sqrt(x)), rtol=1e-9, atol=1e-290)
        q = np.array([1e-12, 0.01, 0.5, 0.99])
        np.testing.assert_allclose(law.ppf(q), (square.ppf(q) / 2) ** 2, rtol=1e-9)
        np.testing.assert_allclose(law.isf(q), (square.isf(q) / 2) ** 2, rtol=1e-9)


@pytest.mark.parametrize("b", [(0.0, 1.5, 2.0), (0.0, 3.0, 3.0, 5.5)])
def test_far_tail_has_the_stated_exponent(b):
    u, L = 1e9, len(b)
    theta = ((1 - L) / 2 + sum(b)) / L
    want = (L - 1) / 2 * np.log(2 * np.pi) - np.log(L) / 2 + theta * np.log(u) - L * u ** (1 / L)
    got = float(linear.log_meijer_g(u, b))
    # Corrections are O(u^(-1/L)).
    assert abs(got - want) < 20 * u ** (-1 / L)
    assert abs(got - want) < 1e-3 * abs(want)


def test_beyond_the_floating_point_saddle():
    law = linear.GammaProduct(gamma_factors([1.5]), 0.0)
    for x in (1e6, 1e8, 1e100):
        np.testing.assert_allclose(law.logpdf(x), stats.gamma(1.5).logpdf(x), rtol=1e-11)
    two = linear.GammaProduct(gamma_factors([1.5, 2.0]), 0.0)
    np.testing.assert_allclose(two.logpdf(1e300), -2e150, rtol=1e-10)
    assert law.logpdf([0.0, -1.0, np.inf]).tolist() == [-np.inf] * 3
    assert law.cdf([-1.0, 0.0, np.inf]).tolist() == [0.0, 0.0, 1.0]
    assert law.sf([-1.0, 0.0, np.inf]).tolist() == [1.0, 1.0, 0.0]
    assert np.isnan(law.cdf(np.nan)) and np.isnan(law.logpdf(np.nan))
    with pytest.raises(ValueError, match="so near to zero"):
        law.log_density_of_log(-1e7)


def test_near_zero_the_first_pole_rules():
    law = linear.GammaProduct(gamma_factors([0.5, 2.0]), 0.0)
    x = np.array([1e-100, 1e-300])
    # p(x) -> x^(-1/2) Gamma(3/2)/(Gamma(1/2) Gamma(2))
    want = -0.5 * np.log(x) + gammaln(1.5) - gammaln(0.5) - gammaln(2.0)
    np.testing.assert_allclose(law.logpdf(x), want, rtol=1e-12)
    np.testing.assert_allclose(law.cdf(x), 2 * np.exp(np.log(x) + want), rtol=1e-9)


@pytest.mark.parametrize("shapes", [[0.5], [4.0] * 10, [1.0, 1.5, 40.0, 2.5]])
def test_quantiles_invert_and_tails_add_up(shapes):
    law = linear.GammaProduct(gamma_factors(shapes), 1.3)
    q = np.array([1e-14, 1e-3, 0.2, 0.5, 0.5001, 0.9, 1 - 1e-9])
    x = law.ppf(q)
    assert (np.diff(x) > 0).all()
    np.testing.assert_allclose(law.cdf(x), q, rtol=1e-10)
    np.testing.assert_allclose(law.cdf(x) + law.sf(x), 1.0, rtol=1e-14)
    np.testing.assert_allclose(law.sf(law.isf(q)), q, rtol=1e-10)
    assert law.ppf([0.0, 1.0]).tolist() == [0.0, np.inf]
    with pytest.raises(ValueError, match="q: wanted probabilities"):
        law.ppf(1.5)


def test_density_is_the_derivative_of_the_distribution():
    law = linear.GammaProduct(gamma_factors([1.0, 1.5, 7.0]), -1.0)
    for x in (0.01, 1.0, 5.0, 40.0):
        h = 1e-3 * x
        # Five points: the error is O(h^4).
        f = law.cdf(np.array([x - 2 * h, x - h, x + h, x + 2 * h]))
        slope = (f[0] - 8 * f[1] + 8 * f[2] - f[3]) / (12 * h)
        np.testing.assert_allclose(slope, law.pdf(x), rtol=1e-8)


def test_a_mixture_with_an_atom_at_zero():
    law = linear.GammaProduct((GammaFactor(np.array([1.0, 3.0]), np.array([0.3, 0.5])),), 0.0)
    x = np.array([0.1, 1.0, 6.0])
    density = 0.3 * stats.gamma(1).pdf(x) + 0.5 * stats.gamma(3).pdf(x)
    tail = 0.3 * stats.gamma(1).sf(x) + 0.5 * stats.gamma(3).sf(x)
    np.testing.assert_allclose(law.pdf(x), density, rtol=1e-10)
    np.testing.assert_allclose(law.sf(x), tail, rtol=1e-10)
    np.testing.assert_allclose(law.cdf(x), 1 - tail, rtol=1e-10)
    np.testing.assert_allclose(law.cdf(0.0), 0.2, rtol=1e-12)
    assert law.ppf([0.1, 0.1999]).tolist() == [0.0, 0.0]
    np.testing.assert_allclose(law.cdf(law.ppf([0.21, 0.5, 0.99])), [0.21, 0.5, 0.99], rtol=1e-10)
    drawn = law.sample(20_000, 4)
    assert abs((drawn == 0).mean() - 0.2) < 4 * np.sqrt(0.16 / 20_000)
    alive = stats.kstest((law.cdf(drawn[drawn > 0][:2000]) - 0.2) / 0.8, "uniform")
    assert alive.pvalue > 1e-3


def test_wrong_arguments():
    with pytest.raises(ValueError, match="b: wanted"):
        linear.log_meijer_g(1.0, [])
    with pytest.raises(ValueError, match="u: wanted"):
        linear.log_meijer_g(0.0, [1.0])
