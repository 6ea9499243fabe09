"""Fits in powers of 1/width against Richardson, SciPy and repeated noise."""

import numpy as np
import pytest
from scipy.optimize import curve_fit

from finitewidth.ensemble import Estimate, fit_widths, richardson

rng = np.random.default_rng(5)


def estimates(widths, function, errors, noise=None):
    values = [function(n) + (0 if noise is None else noise[k]) for k, n in enumerate(widths)]
    pairs = zip(values, errors, strict=True)
    return [Estimate(np.asarray(v), np.asarray(e) + 0 * np.asarray(v), 10) for v, e in pairs]


def test_two_widths_and_one_power_are_richardson():
    narrow = Estimate(rng.normal(size=(2, 3)), rng.uniform(0.1, 1, (2, 3)), 50)
    wide = Estimate(rng.normal(size=(2, 3)), rng.uniform(0.1, 1, (2, 3)), 20)
    fit, peer = fit_widths((8, 24), (narrow, wide)), richardson(narrow, wide, 3.0)
    np.testing.assert_allclose(fit.limit.value, peer.value, rtol=1e-12)
    np.testing.assert_allclose(fit.limit.standard_error, peer.standard_error, rtol=1e-12)
    assert fit.limit.samples == 20 and fit.degrees_of_freedom == 0
    np.testing.assert_allclose(fit.chi_squared, 0.0, atol=1e-20)


@pytest.mark.parametrize("powers", [(1.0, 2.0), (0.5, 1.0), (1.0,)])
def test_against_a_weighted_fit_of_scipy(powers):
    widths, errors = (16, 33, 60, 128, 250), (0.1, 0.3, 0.2, 0.15, 0.4)
    noise = rng.normal(size=(5, 2))
    points = estimates(widths, lambda n: np.array([3 - 2 / n, n**-0.5]), errors, noise)
    fit = fit_widths(widths, points, powers)
    for i in range(2):
        values = [float(p.value[i]) for p in points]
        best, covariance = curve_fit(
            lambda n, *c: c[0] + sum(k * n**-p for k, p in zip(c[1:], powers, strict=True)),
            np.array(widths, float),
            values,
            np.ones(1 + len(powers)),
            errors,
            absolute_sigma=True,
        )
        spread = np.sqrt(np.diag(covariance))
        assert float(fit.limit.value[i]) == pytest.approx(best[0], rel=1e-5)
        assert float(fit.limit.standard_error[i]) == pytest.approx(spread[0], rel=1e-5)
        np.testing.assert_allclose(fit.coefficients[:, i], best[1:], rtol=1e-4)
        np.testing.assert_allclose(fit.coefficient_errors[:, i], spread[1:], rtol=1e-4)
        left = [
            v - best[0] - sum(k * n**-p for k, p in zip(best[1:], powers, strict=True))
            for v, n in zip(values, widths, strict=True)
        ]
        assert float(fit.chi_squared[i]) == pytest.approx(
            sum((d / e) ** 2 for d, e in zip(left, errors, strict=True)), rel=1e-6
        )


def test_error_bars_are_the_spread_of_repeated_fits():
    widths, errors = (10, 20, 40, 80), np.array([0.2, 0.1, 0.3, 0.1])
    noise = errors[:, None] * rng.normal(size=(4, 4000))
    points = estimates(widths, lambda n: np.full(4000, 1 + 5 / n - 30 / n**2), errors, noise)
    fit = fit_widths(widths, points, (1, 2))
    error = float(fit.limit.standard_error[0])
    assert np.std(fit.limit.value) == pytest.approx(error, rel=4 / np.sqrt(8000))
    assert abs(np.mean(fit.limit.value) - 1) < 4 * error / np.sqrt(4000)
    assert np.mean(fit.chi_squared) == pytest.approx(1.0, abs=4 * np.sqrt(2 / 4000))


def test_entries_without_error_are_fitted_exactly():
    points = estimates((4, 8, 16), lambda n: 2 + 3 / n, (0.0, 0.0, 0.0))
    fit = fit_widths((4, 8, 16), points)
    assert float(fit.limit.value) == pytest.approx(2) and float(fit.limit.standard_error) == 0
    assert float(fit.coefficients[0]) == pytest.approx(3)
    assert float(fit.chi_squared) == 0


@pytest.mark.parametrize(
    ("widths", "powers", "errors", "message"),
    [
        ((8, 16), (1, 2), (1, 1), "wanted more than 2"),
        ((8, 8, 16), (1,), (1, 1, 1), "different positive numbers"),
        ((8, -8, 16), (1,), (1, 1, 1), "different positive numbers"),
        ((8, 12, 16), (1, 1), (1, 1, 1), "powers"),
        ((8, 12, 16), (0,), (1, 1, 1), "powers"),
        ((8, 12, 16), (1,), (1, 0, 1), "at all widths or at none"),
        ((8, 12), (1,), (1, 1, 1), "one per estimate"),
    ],
)
def test_bad_fits_are_refused(widths, powers, errors, message):
    points = estimates((1, 2, 3)[: len(errors)], lambda n: 1.0 * n, errors)
    with pytest.raises(ValueError, match=message):
        fit_widths(widths, points, powers)


def test_shapes_must_agree():
    one, two = (Estimate(np.ones(k), np.ones(k), 5) for k in (1, 2))
    with pytest.raises(ValueError, match="one shape"):
        fit_widths((4, 8), (one, two))
