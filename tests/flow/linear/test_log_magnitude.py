"""Statistics of log S: light tails make the sharpest test of depth."""

import numpy as np
import pytest
from scipy.special import digamma, polygamma

from finitewidth.flow import linear
from tests.flow.linear import sampled


def test_real_networks_with_ten_hidden_layers():
    widths = (2,) + (10,) * 10 + (1,)
    z = sampled.preactivations(widths, 1.1, [[0.6, -1.0]], 15_000, 4)
    G0 = 1.36 / 2
    scores = []
    for layer in (1, 4, 10):
        S = 1.1 * (z[layer - 1][..., 0] ** 2).mean(axis=1)
        mean, variance, third = (linear.log_cumulant(widths, 1.1, G0, k)[layer] for k in (1, 2, 3))
        d = np.log(S) - mean
        scores += [
            sampled.z_score(d, 0.0),
            sampled.z_score(d**2, variance),
            sampled.z_score(d**3, third),
        ]
    sampled.check(scores)


def test_values_of_the_theory_file():
    widths = (1,) + (10,) * 10 + (1,)
    mean, variance, third = (linear.log_cumulant(widths, 1.0, 1.0, k)[-1] for k in (1, 2, 3))
    np.testing.assert_allclose([mean, variance], [-1.03320, 2.2132], atol=5e-5)
    np.testing.assert_allclose(third, 10 * polygamma(2, 5.0), rtol=1e-14)
    # S = 1 in all networks of one layer.
    assert [linear.log_cumulant(widths, 1.0, 1.0, k)[0] for k in (1, 2, 3)] == [0.0] * 3


def test_double_scaling_limit():
    r, n = 0.5, 10_000
    widths = (1,) + (n,) * int(r * n) + (1,)
    np.testing.assert_allclose(linear.log_cumulant(widths, 1.0, 1.0, 1)[-1], -r, rtol=1e-3)
    np.testing.assert_allclose(linear.log_cumulant(widths, 1.0, 1.0, 2)[-1], 2 * r, rtol=1e-3)


def test_cumulants_are_derivatives_of_the_moments():
    # log E S^t has the cumulants as derivatives at t = 0; G_2m are its values at whole t.
    widths, h = (1, 4, 9, 6, 1), 1e-3
    law = linear.metric_law(widths, 1.3, 0.7)

    def generating(t):
        return float(law.transform.log_transform(np.array(t))) + t * law.log_scale

    for m in (1, 2, 3):
        want = linear.log_correlator(widths, 1.3, 0.7, m)[-1]
        np.testing.assert_allclose(generating(float(m)), want, rtol=1e-12)
    slope = (generating(h) - generating(-h)) / (2 * h)
    bend = (generating(h) + generating(-h)) / h**2
    np.testing.assert_allclose(slope, linear.log_cumulant(widths, 1.3, 0.7, 1)[-1], rtol=1e-5)
    np.testing.assert_allclose(bend, linear.log_cumulant(widths, 1.3, 0.7, 2)[-1], rtol=1e-5)


def test_typical_criticality():
    np.testing.assert_allclose(linear.typical_critical_C_W(1000), 1.001, atol=5e-6)
    for n in (1, 7, 300):
        C_W = linear.typical_critical_C_W(n)
        np.testing.assert_allclose(C_W, n / 2 * np.exp(-digamma(n / 2)), rtol=1e-12)
        np.testing.assert_allclose(linear.lyapunov_exponent(n, C_W), 0.0, atol=1e-14)
        widths = (1,) + (n,) * 21
        typical = [*[C_W] * 21]
        E_log = linear.log_cumulant(widths, typical, 1.0, 1)
        # One C_W more than hidden layers: from layer 1 on the mean of log S stays.
        np.testing.assert_allclose(E_log, E_log[0], atol=1e-10)
    assert linear.lyapunov_exponent(5, 0.0) == -np.inf


def test_lyapunov_exponent_of_real_networks():
    n, C_W = 6, 1.3
    widths = (n,) * 31
    z = sampled.preactivations(widths, C_W, np.ones((1, n)), 3000, 9)
    first, last = (np.log((z[k][..., 0] ** 2).sum(axis=1)) / 2 for k in (0, -1))
    scores = [sampled.z_score((last - first) / 29, linear.lyapunov_exponent(n, C_W))]
    sampled.check(scores)


def test_lyapunov_exponent_keeps_its_digits_at_large_width():
    n = 10**9
    np.testing.assert_allclose(linear.lyapunov_exponent(n), -1 / (2 * n), rtol=1e-8)
    # Both branches of the series agree where they meet.
    below, above = (n * linear.lyapunov_exponent(n) for n in (2000, 2002))
    np.testing.assert_allclose(below, above, rtol=1e-6)


@pytest.mark.parametrize(("n", "S", "normal", "largest"), [(20, 1.0, 0.3101, 0.0068),
                                                           (10, 0.2, 0.6507, 0.0098)])  # fmt: skip
def test_lognormal_approximation(n, S, normal, largest):
    widths = (1,) + (n,) * 10 + (1,)
    approximate = linear.lognormal(widths, 1.0, 1.0)
    np.testing.assert_allclose(approximate.sf(S), normal, atol=5e-5)
    x = np.geomspace(1e-4, 30, 150)
    error = np.abs(approximate.cdf(x) - linear.metric_law(widths, 1.0, 1.0).cdf(x)).max()
    np.testing.assert_allclose(error, largest, atol=1e-4)


def test_zero_input_depth_and_wrong_arguments():
    assert (linear.log_cumulant((1, 3, 3), 1.0, 0.0, 1) == -np.inf).all()
    deep = (1,) + (4,) * 1000
    assert np.isfinite(linear.log_cumulant(deep, 7.0, 1.0, 1)).all()
    with pytest.raises(ValueError, match="wanted a hidden layer"):
        linear.lognormal((3, 2), 1.0, 1.0)
    with pytest.raises(ValueError, match="order: wanted"):
        linear.log_cumulant((3, 2), 1.0, 1.0, 0)
    with pytest.raises(ValueError, match="n: wanted"):
        linear.lyapunov_exponent(0)
