"""Laws of scale-invariant networks against real networks, each other and linear networks."""

import numpy as np
import pytest
from scipy import stats

from finitewidth.flow import linear
from finitewidth.flow.linear import scale_invariant
from tests.flow.linear import sampled

X = np.array([[0.8, -0.5, 1.1]])
G0 = float(X[0] @ X[0]) / 3


@pytest.mark.parametrize("slopes", [(1.0, 0.0), (0.0, 1.3), (1.0, 0.6), (-0.6, 0.8)])
def test_kolmogorov_smirnov_against_real_networks(slopes):
    widths, C_W = (3, 4, 6, 5, 3), (1.0, 1.8, 1.5, 2.0)
    z = sampled.preactivations(widths, C_W, X, 300, 3, slopes=slopes)[-1][..., 0]
    law = scale_invariant.density(widths, C_W, G0, slopes, outputs=3)
    dead = scale_invariant.dead_probability(widths, slopes)[-1]
    np.testing.assert_allclose(law.cdf(0.0), dead, atol=1e-13)
    norm2 = (z**2).sum(axis=1)
    alive = norm2 > 0
    assert abs(alive.mean() - 1 + dead) <= 4 * np.sqrt(dead * (1 - dead) / len(z))
    given_alive = (law.cdf(norm2[alive]) - dead) / (1 - dead)
    assert stats.kstest(given_alive, "uniform").pvalue > 1e-3
    one = law.neuron_cdf(z[alive, 0])
    squeezed = np.where(z[alive, 0] > 0, one - dead, one) / (1 - dead)
    assert stats.kstest(squeezed, "uniform").pvalue > 1e-3


def test_equal_slopes_are_linear_networks():
    widths = (3, 4, 6, 5, 3)
    z = np.array([0.1, 1.0, 5.0])
    want = linear.density(widths, 1.2, G0).logpdf(z)
    for slopes in ((1.0, 1.0), (1.0, -1.0)):
        got = scale_invariant.density(widths, 1.2, G0, slopes).logpdf(z)
        np.testing.assert_allclose(got, want, rtol=1e-10)
    # And slopes that nearly are approach them.
    near = scale_invariant.density(widths, 1.2, G0, (1.0, 0.9999)).logpdf(z)
    np.testing.assert_allclose(near, want, atol=1e-3)


@pytest.mark.parametrize("slopes", [(1.0, 0.0), (1.0, 0.4)])
def test_moments_of_the_law_are_the_correlators(slopes):
    widths = (3, 4, 6, 5, 3)
    law = scale_invariant.metric_law(widths, 1.7, G0, slopes)
    for m in (1, 2, 3):
        log_moment = float(law.transform.log_transform(np.array(float(m)))) + m * law.log_scale
        want = scale_invariant.log_correlator(widths, 1.7, G0, m, slopes)[-1]
        np.testing.assert_allclose(log_moment, want, rtol=1e-12, atol=1e-12)


def test_one_hidden_layer_by_its_active_neurons():
    # ReLU, n = 3: S = C chi^2_k/3 with the weights 3/8, 3/8, 1/8 for k = 1, 2, 3.
    law = scale_invariant.metric_law((1, 3, 1), 1.0, 1.0, (1.0, 0.0))
    x = np.array([0.01, 0.5, 3.0])
    want = sum(w * stats.chi2(k).sf(3 * x) for k, w in ((1, 3 / 8), (2, 3 / 8), (3, 1 / 8)))
    np.testing.assert_allclose(law.sf(x), want, rtol=1e-10)
    np.testing.assert_allclose(law.mass, 7 / 8, rtol=1e-14)


@pytest.mark.parametrize("slopes", [(1.0, 0.0), (1.0, 0.3), (-0.5, 0.8)])
def test_log_statistics_by_two_roads(slopes):
    widths = (3, 4, 1, 6, 5, 3)
    law = scale_invariant.metric_law(widths, 1.7, G0, slopes)
    mean, variance = (float(d[0]) for d in law.transform.derivatives(np.zeros(1)))
    got = scale_invariant.log_mean(widths, 1.7, G0, slopes)[-1]
    np.testing.assert_allclose(got, mean + law.log_scale, atol=1e-11)
    np.testing.assert_allclose(
        scale_invariant.log_variance(widths, slopes)[-1], variance, rtol=1e-11
    )


def test_log_statistics_of_linear_networks_and_extremes():
    widths = (3, 4, 10**6, 1, 3)
    for slopes in ((1.0, 1.0), (2.0, -2.0)):
        shift = np.log(slopes[0] ** 2) * np.arange(4)
        np.testing.assert_allclose(
            scale_invariant.log_mean(widths, 1.2, G0, slopes),
            linear.log_cumulant(widths, 1.2, G0, 1) + shift,
            atol=1e-12,
        )
        np.testing.assert_allclose(
            scale_invariant.log_variance(widths, slopes),
            linear.log_cumulant(widths, 1.2, G0, 2),
            atol=1e-12,
        )
    # A tiny slope rescues the networks that would be dead.
    tiny = scale_invariant.log_mean((1, 4, 1), 1.0, 1.0, (1.0, 1e-30))[-1]
    dead = 2.0**-4
    alive = scale_invariant.log_mean((1, 4, 1), 1.0, 1.0, (1.0, 0.0))[-1]
    rescued = np.log(1e-60) + linear.log_cumulant((1, 4, 1), 1.0, 1.0, 1)[-1]
    np.testing.assert_allclose(tiny, (1 - dead) * alive + dead * rescued, rtol=1e-12)


def test_log_statistics_of_real_networks():
    widths, slopes = (3, 5, 6, 2), (1.0, 0.0)
    z = sampled.preactivations(widths, 2.0, X, 20_000, 6, slopes=slopes)[1][..., 0]
    S = 2.0 * (np.maximum(z, 0) ** 2).mean(axis=1)
    d = np.log(S[S > 0]) - scale_invariant.log_mean(widths, 2.0, G0, slopes)[-1]
    variance = scale_invariant.log_variance(widths, slopes)[-1]
    sampled.check([sampled.z_score(d, 0.0), sampled.z_score(d**2, variance)])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: scale_invariant.density((1, 99, 1), 1.0, 1.0, (1.0, 0.01)), "slopes: for width"),
        (lambda: scale_invariant.density((1, 9, 1), 1.0, 1.0, (1.0, 0.0), 2), "outputs: wanted"),
        (lambda: scale_invariant.density((1, 9, 1), 1.0, 0.0, (1.0, 0.0)), "not zero in every"),
        (lambda: scale_invariant.log_mean((1, 9, 1), 1.0, 1.0, (0.0, 0.0)), "slopes: wanted"),
    ],
)
def test_wrong_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("width", [20, 50, 200])
def test_wide_layers_with_dead_neurons(width):
    """The pole of the network with one live neuron, of weight 2^-n, must not pin the contour."""
    law = scale_invariant.metric_law((1, width, width, 1), 2.0, 1.0, (1.0, 0.0))
    rng = np.random.default_rng(0)
    # A layer multiplies K = 2 by (2/n) chi^2_k with k live neurons; chi^2_0 = 0.
    live = rng.binomial(width, 0.5, size=(2, 200_000))
    factors = 2 / width * np.where(live > 0, rng.chisquare(np.maximum(live, 1)), 1e-300)
    log_s = np.log(2) + np.log(factors).sum(axis=0)
    quantiles = np.array([0.02, 0.1, 0.5, 0.9, 0.98])
    found = np.array([law.log_ppf(q) for q in quantiles])
    below = (log_s[:, None] < found).mean(axis=0)
    z = (below - quantiles) / np.sqrt(quantiles * (1 - quantiles) / log_s.size)
    assert np.abs(z).max() < 4
    # The density is the slope of the distribution.
    for y in (-0.6, 0.0, 0.3):
        step = 1e-4
        slope = (law.cdf(np.exp(y + step)) - law.cdf(np.exp(y - step))) / (2 * step)
        np.testing.assert_allclose(np.exp(law.log_density_of_log(y)), slope, rtol=1e-6)
