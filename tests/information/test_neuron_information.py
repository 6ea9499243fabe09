"""The series in x against exact mixtures, against the action's own moments, and against draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

import finitewidth as fw
from finitewidth.ensemble.metric_chain import draw_by_chain
from finitewidth.information import (
    ScaleMixture,
    exact_scale_mixture,
    metric_variance,
    neuron_entropy,
    neuron_mutual_information,
    tripartite_information,
    variational_couplings,
)


def chi_square(n):
    """G^ = chi^2_n/n, for which x = 2/n."""
    width = np.sqrt(2 / n)
    return ScaleMixture.of_log_density(
        lambda t: n / 2 * (t - jnp.exp(t)), -10 * width, 10 * width, 801
    )


def coefficients(of_law, powers):
    """Coefficients of x^2, x^3, ... of a quantity, by a fit over several n."""
    xs = 2 / np.array([400, 600, 1000, 1600, 2600])
    values = [float(of_law(chi_square(round(2 / x)))) for x in xs]
    vandermonde = np.stack([xs**p for p in powers], axis=1)
    return np.linalg.lstsq(vandermonde / xs[:, None] ** 2, values / xs**2, rcond=None)[0]


@pytest.mark.parametrize("m", [1, 3])
def test_entropy_coefficients(m):
    """S_1: -3/16, 27/48; S_3: -15/16, 165/48 (A.66)."""
    second, third = coefficients(lambda law: -law.entropy_deficit(m), [2, 3, 4, 5])[:2]
    wanted = {1: (-3 / 16, 27 / 48), 3: (-15 / 16, 165 / 48)}[m]
    assert second == pytest.approx(wanted[0], rel=1e-6)
    assert third == pytest.approx(wanted[1], rel=1e-3)
    x = 0.01
    series = neuron_entropy(x, m, 3) - neuron_entropy(x, m, 0)
    assert float(series) == pytest.approx(wanted[0] * x**2 + wanted[1] * x**3, rel=1e-10)


@pytest.mark.parametrize(("m1", "m2"), [(1, 1), (2, 3)])
def test_information_coefficients(m1, m2):
    """I(1,1): 1/8, -26/48; I(2,3): 6/8, -6*35/48 (A.67)."""
    second, third = coefficients(lambda law: law.mutual_information(m1, m2), [2, 3, 4, 5])[:2]
    wanted = {(1, 1): (1 / 8, -26 / 48), (2, 3): (6 / 8, -6 * 35 / 48)}[m1, m2]
    assert second == pytest.approx(wanted[0], rel=1e-6)
    assert third == pytest.approx(wanted[1], rel=1e-3)
    x = 0.02
    assert float(neuron_mutual_information(x, m1, m2, order=3)) == pytest.approx(
        wanted[0] * x**2 + wanted[1] * x**3, rel=1e-12
    )
    entropies = neuron_entropy(x, m1, 3) + neuron_entropy(x, m2, 3) - neuron_entropy(x, m1 + m2, 3)
    assert float(entropies) == pytest.approx(wanted[0] * x**2 + wanted[1] * x**3, rel=1e-10)


@pytest.mark.parametrize(("sizes", "wanted"), [((1, 1, 1), 1 / 8), ((1, 2, 2), 4 / 8)])
def test_tripartite_coefficient_and_sign(sizes, wanted):
    """I_3 has no x^2 term; its x^3 term is m_1 m_2 m_3/8 > 0: redundancy (A.75)."""
    second, third = coefficients(lambda law: law.tripartite_information(*sizes), [2, 3, 4, 5])[:2]
    assert abs(second) < 1e-6
    assert third == pytest.approx(wanted, rel=1e-3)
    assert float(tripartite_information(0.1, *sizes)) == pytest.approx(wanted * 1e-3)


@pytest.mark.parametrize("m", [1, 2, 5])
@pytest.mark.parametrize("u2", [0.0, 0.7])
def test_couplings_reproduce_variance_and_vertex(m, u2):
    """(A.59), (A.63): the action with g_m, v_m, u_m has E[R^2] = m G and E[R^4] = m(m+2)(G^2+W).

    Expanded in S_I with Gaussian moments (A.50), at W = eps, u = u2 eps^2, the rest is O(eps^3).
    """
    G = 1.3

    def moment(k):  # <R^2k> = m(m+2)...(m+2k-2) G^k
        return np.prod([m + 2 * i for i in range(k)]) * G**k if k else 1.0

    def expectation(power, eps):
        g, v = (float(c) for c in variational_couplings(G, eps, m, u2 * eps**2))
        S = np.zeros(4)  # S_I as a polynomial in R^2
        S[1], S[2], S[3] = (g - 1 / G) / 2, -v / 8, u2 * eps**2 / 24
        weights, term = np.array([1.0]), np.array([1.0])
        for k in range(1, 7):
            term = np.polynomial.polynomial.polymul(term, -S) / k
            weights = np.polynomial.polynomial.polyadd(weights, term)
        top = sum(c * moment(power + i) for i, c in enumerate(weights))
        return top / sum(c * moment(i) for i, c in enumerate(weights))

    errors = []
    for eps in (1e-3, 5e-4):
        errors.append(
            (
                expectation(1, eps) / (m * G) - 1,
                expectation(2, eps) / (m * (m + 2)) - G**2 - eps,
            )
        )
    ratio = np.array(errors[0]) / np.array(errors[1])
    np.testing.assert_allclose(ratio, 8.0, rtol=0.05)  # third order


def test_density_deficit_and_conditional_variance_by_scipy():
    """The chi-square mixture is Student-like: densities integrated by SciPy's own quadrature."""
    n = 7
    law = ScaleMixture.of_log_density(lambda t: n / 2 * (t - jnp.exp(t)), -12, 3, 4001)
    G_law = stats.gamma(n / 2, scale=2 / n)

    def density(z, power=0):
        f = lambda G: G**power * stats.norm.pdf(z, scale=np.sqrt(G)) * G_law.pdf(G)  # noqa: E731
        return integrate.quad(f, 0, 30, limit=400, epsabs=1e-13, points=[0.1, 1, 4])[0]

    for z in (0.3, 2.0):
        assert float(law.log_density(z**2)) == pytest.approx(np.log(density(z)), abs=1e-8)
        wanted = density(z, 1) / density(z)
        assert float(law.conditional_variance(z)) == pytest.approx(wanted, rel=1e-8)
    grid = np.linspace(-9, 9, 1801)
    p = np.array([density(abs(z)) for z in grid[grid >= 0]])
    p = np.concatenate([p[:0:-1], p])
    entropy = -(p * np.log(p)).sum() * 0.01
    assert float(law.entropy(1)) == pytest.approx(entropy, abs=2e-6)
    assert float(ScaleMixture([2.0]).entropy_deficit(4)) == pytest.approx(0.0, abs=1e-14)


def test_many_neurons_reveal_the_variance():
    """D_m - (m - 1) D_1 - ...: with two variances and m large, I(m, m) tends to log 2."""
    law = ScaleMixture([0.5, 2.0])
    values = [float(law.mutual_information(m, m)) for m in (1, 10, 100)]
    assert values[0] < values[1] < values[2] < np.log(2)
    assert values[2] == pytest.approx(np.log(2), abs=1e-5)


@pytest.mark.parametrize(
    ("spread", "one", "five"), [(0.2, 0.003151, 0.050949), (0.8, 0.025275, 0.253013)]
)
def test_scaling_limit(spread, one, five):
    law = ScaleMixture.scaling_limit(spread)
    assert float(law.relative_variance) == pytest.approx(np.expm1(spread), rel=1e-10)
    assert float(law.mutual_information(1, 1)) == pytest.approx(one, abs=6e-7)
    assert float(law.mutual_information(5, 5)) == pytest.approx(five, abs=6e-7)


def test_exact_law_tends_to_the_scaling_limit():
    """Linear n = 100, L = 41 and ReLU n = 200, L = 33 have nu r = .8 up to 1/n."""
    distances = []
    for activation, nu in (("linear", 2), ("relu", 5)):
        for n in (50, 200):
            layers = round(0.8 * n / nu)
            net = fw.MLP.critical(widths=(1, *[n] * layers, 1), activation=activation)
            law = exact_scale_mixture(net, [[1.0]])
            value = float(law.mutual_information(5, 5))
            assert float(law.relative_variance) == pytest.approx(
                float(metric_variance(net, [[1.0]])[0]), rel=1e-8
            )
            distances.append(abs(value - 0.253013))
    assert distances[1] < distances[0] / 3 and distances[3] < distances[2] / 3
    assert distances[1] < 2e-3 and distances[3] < 5e-3


@pytest.mark.parametrize("activation", ["relu", "tanh", "linear"])
def test_metric_variance_of_networks(activation):
    """Real networks drawn without their weights: exact for scale-invariant, else O(1/n^2) away."""
    net = fw.MLP.critical(widths=(2, 80, 60, 1), activation=activation)
    x = np.array([[0.6, -0.8]])
    G = np.asarray(draw_by_chain(net, x, jax.random.key(3), 40_000).metric)[:, -1, 0, 0]
    relative = (G / G.mean() - 1) ** 2
    theory = float(metric_variance(net, x)[0])
    error = relative.std() / np.sqrt(G.size)
    allowed = 0.0 if activation != "tanh" else theory**2
    assert abs(relative.mean() - theory) < 4 * error + allowed


def test_information_of_sampled_networks():
    """(A.67), (A.75) for the networks themselves: an estimate of G^, then quadrature over z."""
    net = fw.MLP.critical(widths=(1, 60, 60, 60, 1), activation="linear")
    G = np.asarray(draw_by_chain(net, np.ones((1, 1)), jax.random.key(0), 20_000).metric)
    sampled = ScaleMixture(G[:, -1, 0, 0])
    exact = exact_scale_mixture(net, [[1.0]])
    parts = [ScaleMixture(part) for part in np.split(G[:, -1, 0, 0], 10)]
    for quantity in ("mutual_information", "tripartite_information"):
        values = np.array([float(getattr(part, quantity)()) for part in parts])
        error = values.std(ddof=1) / np.sqrt(10)
        got, wanted = float(getattr(sampled, quantity)()), float(getattr(exact, quantity)())
        assert abs(got - wanted) < 4 * error
        assert got > 4 * error > 0  # neurons inform one another, and are redundant
    x = float(metric_variance(net, [[1.0]])[0])
    leading = float(neuron_mutual_information(x))
    next_order = float(neuron_mutual_information(x, order=3))
    assert next_order < float(exact.mutual_information()) < leading


def test_relu_three_layers():
    """n = 200, L = 3: x = .050625 exactly, I = 2.66e-4 where (A.67) gives 2.50e-4."""
    net = fw.MLP.critical(widths=(1, 200, 200, 1), activation="relu")
    x = metric_variance(net, [[1.0]])
    assert float(x[0]) == pytest.approx(0.050625, abs=1e-12)
    assert float(neuron_mutual_information(x, order=3)[0]) == pytest.approx(2.50e-4, rel=3e-3)
    assert float(exact_scale_mixture(net, [[1.0]]).mutual_information()) == pytest.approx(
        2.66e-4, rel=3e-3
    )


@pytest.mark.parametrize("size", [0.85, 1.0])
def test_tanh_recursion_at_finite_depth(size):
    """n = 200, L = 12: (5.109) in NumPy, x = 0.034 where nu r would be 0.040."""
    t = np.arange(-12, 12, 0.02)
    weights = np.exp(-(t**2) / 2) / np.sqrt(2 * np.pi) * 0.02
    K, V = size, 0.0
    for _ in range(11):
        z = np.sqrt(K) * t
        s = np.tanh(z)
        second, fourth = weights @ s**2, weights @ s**4
        parallel = weights @ (z * s * (1 - s**2)) / K
        K, V = second, fourth - second**2 + parallel**2 * V
    net = fw.MLP.critical(widths=(1, *[200] * 11, 1), activation="tanh")
    x = float(metric_variance(net, [[np.sqrt(size)]])[0])
    assert x == pytest.approx(V / (200 * K**2), rel=1e-9)
    assert x == pytest.approx(0.0342, abs=3e-4)


def test_unequal_widths_and_the_small_x_limit():
    net = fw.MLP.critical(widths=(2, 50, 400, 70, 3), activation="relu")
    product = np.prod(1 + 5 / np.array([50, 400, 70])) - 1
    assert float(metric_variance(net, [[1.0, 2.0]])[0]) == pytest.approx(product, rel=1e-13)
    first = float(metric_variance(net, [[1.0, 2.0]], exact=False)[0])
    assert first == pytest.approx((5 / np.array([50, 400, 70])).sum(), rel=1e-13)
    biased = fw.MLP((2, 50, 50, 1), "relu", C_b=0.1, C_W=2.0)
    with pytest.raises(ValueError, match="no biases above layer 1"):
        metric_variance(biased, [[1.0, 2.0]], exact=True)
    assert metric_variance(net, [[0.0, 0.0], [1.0, 0.0]]).tolist()[0] == 0.0
    assert metric_variance(net, [1.0, 2.0], 1).tolist() == [0.0]


def test_number_of_splits():
    """Information is additive: I(A; BC) = I(A; B) + I(A; C) - I_3."""
    law = ScaleMixture.scaling_limit(0.5)
    whole = law.mutual_information(2, 5)
    parts = law.mutual_information(2, 2) + law.mutual_information(2, 3)
    assert float(whole) == pytest.approx(float(parts - law.tripartite_information(2, 2, 3)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: neuron_entropy(-0.1, 1), "x: wanted relative variances"),
        (lambda: neuron_entropy(0.1, 0), "m: wanted at least 1"),
        (lambda: neuron_entropy(0.1, 1, order=4), "order"),
        (lambda: neuron_entropy(0.1, 1, metric=0.0), "metric"),
        (lambda: neuron_mutual_information(0.1, order=0), "order"),
        (lambda: ScaleMixture([1.0, 0.0]), "positive"),
        (lambda: ScaleMixture([1.0], [1.0, 2.0]), "weights"),
        (lambda: ScaleMixture([1.0], [-1.0]), "weights"),
        (lambda: ScaleMixture.scaling_limit(0.0), "spread"),
        (
            lambda: exact_scale_mixture(fw.MLP.critical((1, 5, 1), "tanh"), [[1.0]]),
            "scale-invariant",
        ),
        (
            lambda: exact_scale_mixture(fw.MLP.critical((1, 5, 1), "relu"), [[1.0], [2.0]]),
            "one input",
        ),
        (lambda: metric_variance(fw.MLP.critical((1, 5, 1), "relu"), [[1.0]], 3), "layer"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
