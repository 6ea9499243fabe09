"""The exact output law against real networks and closed forms."""

import math

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import random
from scipy import stats
from scipy.integrate import quad
from scipy.special import gammaln, kv

from finitewidth import MLP, ensemble
from finitewidth.flow import linear
from finitewidth.precision import double_precision
from tests.flow.linear import sampled

ARCHITECTURES = [
    # widths, outputs: one layer, two, unequal, a bottleneck of one neuron, fewer neurons than d
    ((3, 4), 2),
    ((3, 6, 2), 1),
    ((4, 8, 14, 10, 5), 5),
    ((4, 7, 3, 6, 4), 1),
    ((3, 5, 1, 6, 3), 2),
    ((3, 2, 8, 5), 4),
    ((2, 8, 8, 8, 8, 8, 3), 3),
]


@pytest.mark.parametrize(("widths", "d"), ARCHITECTURES)
def test_kolmogorov_smirnov_against_real_networks(widths, d):
    C_W = np.linspace(0.8, 1.4, len(widths) - 1)
    x = np.linspace(-0.7, 1.1, widths[0])[None]
    out = sampled.preactivations(widths, C_W, x, 1500, len(widths) + d)[-1][:, :d, 0]
    law = linear.density(widths, C_W, float(x[0] @ x[0]) / widths[0], outputs=d)
    assert stats.kstest(law.cdf((out**2).sum(axis=1)), "uniform").pvalue > 1e-3
    assert stats.kstest(law.neuron_cdf(out[:, 0]), "uniform").pvalue > 1e-3
    # The sampler is another road to the same law.
    drawn = law.sample(1500, 7)
    assert drawn.shape == (1500, d)
    assert stats.kstest(law.cdf((drawn**2).sum(axis=1)), "uniform").pvalue > 1e-3


def test_the_law_of_another_architecture_is_noticed():
    x = np.array([[0.5, -1.0, 0.8]])
    out = sampled.preactivations((3, 5, 4, 7, 2), 1.0, x, 1500, 3)[-1][..., 0]
    norm2 = (out**2).sum(axis=1)
    for widths in ((3, 5, 4, 2), (3, 9, 9, 9, 2), (3, 5, 4, 7, 4, 2)):
        wrong = linear.density(widths, 1.0, float(x[0] @ x[0]) / 3, outputs=2)
        assert stats.kstest(wrong.cdf(norm2), "uniform").pvalue < 1e-2


def test_the_metric_of_the_ensemble_has_its_law():
    net = MLP((3, 5, 4, 7, 1), "linear", C_W=1.2)
    x = np.array([[0.5, -1.0, 0.8]])
    with double_precision():
        draw = ensemble.draw_by_chain(net, jnp.asarray(x), random.key(2), 1500)
    law = linear.metric_law(net.widths, 1.2, float(x[0] @ x[0]) / 3)
    metric = np.asarray(draw.metric)[:, -1, 0, 0]
    assert stats.kstest(law.cdf(metric), "uniform").pvalue > 1e-3


def test_one_layer_is_gaussian():
    law = linear.density((3, 4), 0.7, 2.0, outputs=2)
    z = np.array([[0.0, 0.0], [0.3, -1.0], [40.0, 3.0], [1e-200, 0.0]])
    want = stats.norm.logpdf(z, scale=np.sqrt(1.4)).sum(axis=1)
    np.testing.assert_allclose(law.logpdf(z), want, rtol=1e-11)
    np.testing.assert_allclose(law.score(z), -z / 1.4, rtol=1e-10)
    one = linear.density((3, 1), 0.7, 2.0)
    z = [-2.0, 0.5]
    np.testing.assert_allclose(one.neuron_cdf(z), stats.norm.cdf(z, scale=1.4**0.5), rtol=1e-10)


@pytest.mark.parametrize(("n", "d"), [(1, 1), (2, 1), (3, 1), (7, 3), (3, 5), (40, 2)])
def test_two_layers_are_a_bessel_law(n, d):
    G2, A = 1.7, 1.7 / n
    law = linear.density((2, n, d), [1.7, 1.0], 1.0, outputs=d)
    r = np.geomspace(1e-6, 60, 19) * np.sqrt(G2)
    z = np.zeros((19, d))
    z[:, 0] = r
    order = (n - d) / 2
    want = (
        np.log(2)
        - d / 2 * np.log(4 * np.pi * A)
        - gammaln(n / 2)
        + order / 2 * np.log(r**2 / (4 * A))
        + np.log(kv(order, r / np.sqrt(A)))
    )
    np.testing.assert_allclose(law.logpdf(z if d > 1 else r), want, rtol=1e-9, atol=1e-9)


def test_width_two_is_the_laplace_law():
    law = linear.density((1, 2, 1), 1.0, 2.0)  # scale sqrt(A) = 1
    z = np.array([-30.0, -1.0, 0.0, 1e-9, 2.0, 500.0])
    np.testing.assert_allclose(law.logpdf(z), stats.laplace.logpdf(z), rtol=1e-9)
    np.testing.assert_allclose(law.neuron_cdf(z), stats.laplace.cdf(z), rtol=1e-9)
    q = np.array([1e-10, 0.2, 0.5, 0.7, 1 - 1e-6])
    np.testing.assert_allclose(law.neuron_ppf(q), stats.laplace.ppf(q), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(law.score([-1.0, 2.0]), [1.0, -1.0], rtol=1e-9)
    assert np.isnan(law.score(0.0))


def test_at_the_origin():
    widths, d, G2 = (1, 9, 12, 7, 3), 3, 0.8
    law = linear.density(widths, [0.8, 1.0, 1.0, 1.0], 1.0, outputs=d)
    n = np.array(widths[1:-1])
    gauss = -d / 2 * np.log(2 * np.pi * G2)
    ratio = (d / 2 * np.log(n / 2) + gammaln((n - d) / 2) - gammaln(n / 2)).sum()
    np.testing.assert_allclose(law.logpdf(np.zeros(3)), gauss + ratio, rtol=1e-12)
    # Approached without a jump; 1 + d(d+2)/4 s_1 at large n.
    near = law.logpdf(np.full(3, 1e-7))
    np.testing.assert_allclose(near, law.logpdf(np.zeros(3)), rtol=1e-10)
    wide = (1, 10_000, 20_000, 3)
    s_1 = linear.depth_over_width(wide)[-1]
    excess = linear.density(wide, 1.0, 1.0, outputs=3).logpdf(np.zeros(3)) + 1.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(excess, 15 / 4 * s_1, rtol=1e-3)


def test_small_z_series():
    # p(z)/p(0) = sum (-u)^k/k! prod Gamma((n-d)/2 - k)/Gamma((n-d)/2), here to k = 3.
    widths, d = (1, 31, 40, 1), 1
    law = linear.density(widths, 1.0, 1.0)
    half = (np.array(widths[1:-1]) - d) / 2
    z = np.array([0.02, 0.1, 0.3])
    u = z**2 / (2**3 / np.prod(widths[1:-1]))
    series = sum(
        (-u) ** k / math.factorial(k) * np.exp((gammaln(half - k) - gammaln(half)).sum())
        for k in range(8)
    )
    np.testing.assert_allclose(law.logpdf(z) - law.logpdf(0.0), np.log(series), rtol=1e-9)


def test_narrow_hidden_layers_make_the_density_diverge():
    # n = d: a logarithm; n < d: the power |z|^(n - d).
    log_law = linear.density((1, 3, 9, 3), 1.0, 1.0, outputs=3)
    assert log_law.logpdf(np.zeros(3)) == np.inf
    r = 10.0 ** -np.array([20, 40, 60])
    p = log_law.pdf(np.outer(r, [1.0, 0.0, 0.0]))
    np.testing.assert_allclose(p[2] - p[1], p[1] - p[0], rtol=1e-9)
    power = linear.density((1, 2, 9, 5), 1.0, 1.0, outputs=5)
    logs = power.logpdf(np.outer(r, [0, 1.0, 0, 0, 0]))
    np.testing.assert_allclose(np.diff(logs), 3 * 20 * np.log(10), rtol=1e-10)
    one = linear.density((1, 1, 1, 1), 1.0, 1.0)
    assert one.logpdf(0.0) == np.inf and np.isfinite(one.logpdf(1e-300))


@pytest.mark.parametrize(("widths", "d"), [((1, 3, 4, 1), 1), ((1, 6, 2, 3), 3)])
def test_the_density_integrates_to_one_and_has_the_moments(widths, d):
    law = linear.density(widths, 1.0, 1.0, outputs=d)
    sphere = 2 * np.pi ** (d / 2) / math.gamma(d / 2)

    def weight(log_r, m):
        r = math.exp(log_r)
        z = r if d == 1 else np.array([r, 0.0, 0.0])
        return sphere * r ** (d + 2 * m) * float(law.pdf(z))

    for m in (0, 1, 2):
        got = quad(weight, -25, 5, args=(m,), epsabs=1e-10, epsrel=1e-9, limit=200)[0]
        want = 1.0 if m == 0 else linear.correlator(widths, 1.0, 1.0, m)[-1]
        np.testing.assert_allclose(got, np.prod(d + 2.0 * np.arange(m)) * want, rtol=1e-8)


def test_the_score_is_the_gradient():
    law = linear.density((1, 5, 3, 4), 1.0, 0.8, outputs=2)
    z = np.array([0.4, -0.9])
    h = 1e-4
    numeric = [(law.logpdf(z + h * e) - law.logpdf(z - h * e)) / (2 * h) for e in np.eye(2)]
    np.testing.assert_allclose(law.score(z), numeric, rtol=1e-6)
    assert law.score(np.zeros((3, 2))).shape == (3, 2)
    # Smooth at 0 if all hidden widths exceed d + 1.
    assert linear.density((1, 3, 1), 1.0, 0.8).score(0.0) == 0


def test_depth_1000_and_magnitudes_beyond_floating_point():
    widths = (1,) + (50,) * 999 + (1,)
    law = linear.density(widths, 1.2, 1.0)
    # Nearly log-normal: mean and variance of log S from psi and psi'.
    mean = linear.log_cumulant(widths, 1.2, 1.0, 1)[-1]
    std = np.sqrt(linear.log_cumulant(widths, 1.2, 1.0, 2)[-1])
    q = np.array([0.1, 0.5, 0.9])
    np.testing.assert_allclose(law.metric.log_ppf(q), stats.norm.ppf(q, mean, std), atol=0.02 * std)
    huge = linear.density(widths, 10.0, 1.0)
    assert huge.metric.log_ppf(0.5) > 2000 and np.isfinite(huge.logpdf(1e300))
    assert huge.ppf(0.5) == np.inf and huge.neuron_cdf(-1.0) == pytest.approx(0.5)
    assert np.isfinite(law.logpdf([1e-300, 1e300, 1e-160, 1e160])).all()


def test_probabilities_of_the_signal_after_ten_hidden_layers():
    ten = (1,) + (20,) * 10 + (1,)
    np.testing.assert_allclose(linear.metric_law(ten, 1.0, 1.0).sf(1.0), 0.3145, atol=5e-5)
    ten = (1,) + (10,) * 10 + (1,)
    np.testing.assert_allclose(linear.metric_law(ten, 1.0, 1.0).sf(0.2), 0.6586, atol=5e-5)


@settings(max_examples=15)
@given(
    hidden=st.lists(st.integers(1, 30), min_size=1, max_size=4),
    C_W=st.floats(0.2, 4.0),
    z=st.floats(0.01, 20.0),
    data=st.data(),
)
def test_symmetries(hidden, C_W, z, data):
    shuffled = data.draw(st.permutations(hidden))
    law = linear.density((2, *hidden, 1), C_W, 1.0)
    other = linear.density((5, *shuffled, 3), C_W, 1.0)
    np.testing.assert_allclose(other.logpdf(z), law.logpdf(z), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(law.logpdf(-z), law.logpdf(z), rtol=1e-15)
    # z -> lambda z with C_W^L -> lambda^2.
    gain = C_W ** ((len(hidden) + 1) / 2)
    critical = linear.density((2, *hidden, 1), 1.0, 1.0)
    np.testing.assert_allclose(
        law.logpdf(z), critical.logpdf(z / gain) - np.log(gain), rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: linear.density((2, 3, 4), 1.0, 0.0), "not zero in every network"),
        (lambda: linear.density((2, 3, 4), [1.0, 0.0], 1.0), "not zero in every network"),
        (lambda: linear.density((2, 3, 4), 1.0, 1.0, outputs=5), "outputs: wanted at most"),
        (lambda: linear.density((2, 3, 4), 1.0, 1.0, outputs=2).logpdf([1.0]), "z: wanted 2"),
        (lambda: linear.density((2, 3, 4), 1.0, 1.0).neuron_ppf(-0.1), "q: wanted"),
        (lambda: linear.metric_law((2, 3), 1.0, 1.0).cdf(1.0), "wanted a hidden layer"),
    ],
)
def test_wrong_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
