"""The quartic action to first order: PDLT section 1.3, against quadrature of exp(-S)."""

from fractions import Fraction
from math import factorial

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finitewidth.gaussian.cumulants import moments_to_cumulants
from finitewidth.gaussian.expectation import gaussian_expectation
from finitewidth.gaussian.quartic import QuarticAction, even_action, perturbed_expectation
from finitewidth.gaussian.quartic_exact import exact_quartic_moments, exact_quartic_partition
from finitewidth.gaussian.wick import number_of_pairings, wick_tensor

K2 = np.array([[1.1, 0.35], [0.35, 0.7]])


def symmetric(seed: int, variables: int) -> np.ndarray:
    """A positive, totally symmetric coupling: a sum of fourth powers."""
    w = np.random.default_rng(seed).normal(size=(3, variables))
    return np.einsum("sa,sb,sc,sd->abcd", w, w, w, w) / 3


V2 = symmetric(5, 2)


def by_quadrature(K: np.ndarray, coupling: np.ndarray, *powers: int):
    """Z / |2 pi K|^(1/2) and E[z^powers] of exp(-S) on a fine grid, at any coupling."""
    axis = np.linspace(-9, 9, 301)
    z = np.stack(np.meshgrid(*[axis] * len(K), indexing="ij"), axis=-1)
    z = z @ np.linalg.cholesky(K).T
    gauss = np.exp(-np.einsum("...m,...n,mn->...", z, z, np.linalg.inv(K)) / 2)
    weight = gauss * np.exp(-np.einsum("...a,...b,...c,...d,abcd->...", z, z, z, z, coupling) / 24)
    moment = (weight * np.prod(z ** np.array(powers), axis=-1)).sum() / weight.sum()
    return weight.sum() / gauss.sum(), moment


def slope(function, eps: float) -> float:
    """Derivative at 0 by an eighth-order central difference (the expansion exists on both sides).

    On the finite grid exp(-S) may be summed at small negative coupling as well.
    """
    weights = {1: 4 / 5, 2: -1 / 5, 3: 4 / 105, 4: -1 / 280}
    return sum(c * (function(k * eps) - function(-k * eps)) for k, c in weights.items()) / eps


def test_slope_of_the_partition_function():
    """PDLT (1.73), the coefficient 1/8."""
    action = QuarticAction(K2, V2)
    found = slope(lambda eps: by_quadrature(K2, eps * V2, 0, 0)[0], 1e-3)
    np.testing.assert_allclose(action.partition_ratio() - 1, found, rtol=1e-10)
    # the coefficient itself, by Wick: <zzzz> contracted with V is three equal terms
    wick = -np.sum(V2 * np.asarray(wick_tensor(K2, 4))) / 24
    np.testing.assert_allclose(action.partition_ratio() - 1, wick, rtol=1e-13)


@pytest.mark.parametrize("a, b", [(0, 0), (0, 1), (1, 1)])
def test_slope_of_the_two_point_correlator(a, b):
    """PDLT (1.74), the coefficient 1/2."""
    powers = np.bincount([a, b], minlength=2)
    found = slope(lambda eps: by_quadrature(K2, eps * V2, *powers)[1], 1e-3)
    change = QuarticAction(K2, V2).two_point() - K2
    np.testing.assert_allclose(change[a, b], found, rtol=1e-10)


@pytest.mark.parametrize(
    "index", [(0, 0, 0, 0), (0, 0, 0, 1), (0, 0, 1, 1), (0, 1, 0, 1), (1, 0, 0, 1)]
)
def test_slope_of_the_four_point_correlator(index):
    """PDLT (1.77), (1.78), the coefficient 1."""
    a, b, c, d = index

    def moment(eps, *slots):
        return by_quadrature(K2, eps * V2, *np.bincount(slots, minlength=2))[1]

    def connected(eps):
        two = {
            pair: moment(eps, *pair) for pair in [(a, b), (c, d), (a, c), (b, d), (a, d), (b, c)]
        }
        full = moment(eps, a, b, c, d)
        return full - two[a, b] * two[c, d] - two[a, c] * two[b, d] - two[a, d] * two[b, c]

    action = QuarticAction(K2, V2)
    found = slope(connected, 1e-3)
    np.testing.assert_allclose(action.connected_four_point()[index], found, rtol=1e-9)
    full = slope(lambda eps: moment(eps, a, b, c, d), 1e-3)
    change = action.four_point()[index] - wick_tensor(K2, 4)[index]
    np.testing.assert_allclose(change, full, rtol=1e-9)


def series(order: int, terms: int = 4) -> list[Fraction]:
    """Coefficients in g of E[z^order], K = 1, from Gaussian moments: an exact formal series."""

    def integral(power):  # of z^power exp(-g z^4 / 24)
        return [
            Fraction((-1) ** k * number_of_pairings(power + 4 * k), 24**k * factorial(k))
            for k in range(terms)
        ]

    top, bottom = integral(order), integral(0)
    ratio: list[Fraction] = []
    for k in range(terms):
        ratio.append(top[k] - sum(ratio[j] * bottom[k - j] for j in range(k)))
    return ratio


def test_series_of_one_variable():
    """PDLT (1.74), (1.78), (1.83) at N = 1: E z^2, kappa_4, kappa_6 in powers of g."""
    two, four, six = series(2), series(4), series(6)
    assert two == [1, Fraction(-1, 2), Fraction(2, 3), Fraction(-11, 8)]

    def product(p, q):
        return [sum(p[j] * q[k - j] for j in range(k + 1)) for k in range(4)]

    square = product(two, two)
    kappa4 = [a - 3 * b for a, b in zip(four, square, strict=True)]
    assert kappa4[:3] == [0, -1, Fraction(7, 2)]
    mixed, cube = product(four, two), product(square, two)
    kappa6 = [a - 15 * b + 30 * c for a, b, c in zip(six, mixed, cube, strict=True)]
    assert kappa6[:3] == [0, 0, 10]
    # the library's first order is the g^1 column of these
    action = QuarticAction([[1.0]], [[[[0.1]]]])
    np.testing.assert_allclose(action.two_point()[0, 0], 1 - 0.1 / 2, rtol=1e-14)
    np.testing.assert_allclose(action.connected_four_point().item(), -0.1, rtol=1e-14)
    np.testing.assert_allclose(action.four_point().item(), float(four[0] + four[1] / 10))


def test_exact_law_follows_the_series():
    """The oracle minus the series falls as g^4 (E z^2) and g^3 (kappa_4, kappa_6)."""

    def remainders(g):
        m2, m4, m6 = exact_quartic_moments(1.0, g, 3)
        kappa = moments_to_cumulants([0, m2, 0, m4, 0, m6])
        return np.array(
            [
                m2 - (1 - g / 2 + 2 * g**2 / 3 - 11 * g**3 / 8),
                float(kappa[3]) - (-g + 7 * g**2 / 2),
                float(kappa[5]) - 10 * g**2,
            ]
        )

    ratio = remainders(0.02) / remainders(0.01)
    np.testing.assert_allclose(ratio, [16, 8, 8], rtol=0.2)


@pytest.mark.parametrize("K, g", [(1.0, 0.24), (1.0, 5.0), (0.5, 0.1), (3.0, 0.02)])
def test_exact_law_against_mpmath(K, g):
    def integral(power):
        weight = lambda z: z**power * mpmath.exp(-(z**2) / (2 * K) - g * z**4 / 24)  # noqa: E731
        return mpmath.quad(weight, [-mpmath.inf, -3, 0, 3, mpmath.inf])

    Z = integral(0)
    np.testing.assert_allclose(
        exact_quartic_partition(K, g), float(Z / mpmath.sqrt(2 * mpmath.pi * K)), rtol=1e-13
    )
    expected = [float(integral(2 * m) / Z) for m in (1, 2, 3)]
    bound = 1e-15 * (3 / (g * K**2)) ** 3 + 1e-13
    np.testing.assert_allclose(exact_quartic_moments(K, g, 3), expected, rtol=bound)


def test_exact_partition_at_weak_coupling():
    assert exact_quartic_partition(2.0, 0.0) == 1.0
    assert exact_quartic_partition(2.0, 1e-8) == pytest.approx(1 - 4e-8 / 8, abs=1e-14)


@settings(max_examples=15)
@given(st.integers(0, 10**6), st.integers(1, 3), st.floats(0.2, 4.0))
def test_inverse_problem(seed, variables, scale):
    """Couplings -> correlators -> couplings: the error is of second order; and scaling."""
    root = np.random.default_rng(seed).normal(size=(variables, variables))
    K = root @ root.T / variables + np.eye(variables)
    V = symmetric(seed, variables)

    def error(eps):
        action = QuarticAction(K, eps * V)
        back = QuarticAction.from_correlators(action.two_point(), action.connected_four_point())
        return max(
            np.abs(back.kernel - K).max(), np.abs(back.coupling - eps * V).max() / np.abs(V).max()
        )

    eps = 1e-3 / (1 + np.abs(V).max() * np.abs(K).max() ** 2)
    assert error(eps) < 1e-4
    assert 3.6 < error(2 * eps) / error(eps) < 4.5
    # footnote 15: z -> s z, K -> s^2 K, V -> V / s^4
    action = QuarticAction(K, eps * V)
    scaled = QuarticAction(scale**2 * K, eps * V / scale**4)
    np.testing.assert_allclose(scaled.partition_ratio(), action.partition_ratio(), rtol=1e-12)
    np.testing.assert_allclose(scaled.two_point(), scale**2 * action.two_point(), rtol=1e-10)
    z = np.random.default_rng(seed).normal(size=(3, variables))
    np.testing.assert_allclose(scaled.action(scale * z), action.action(z), rtol=1e-9)


def test_inverse_problem_by_its_formula():
    """K = G - kappa G^{-1} / 2 and eps V = -kappa / G^4 in one variable."""
    back = QuarticAction.from_correlators([[2.0]], [[[[0.08]]]])
    np.testing.assert_allclose(back.kernel.item(), 2 - 0.08 / 4, rtol=1e-14)
    np.testing.assert_allclose(back.coupling.item(), -0.08 / 16, rtol=1e-14)


def exact(observable, K, coupling):
    """E[O] of exp(-S) by the ratio of two Gaussian expectations."""

    def weighted(z):
        weight = jnp.exp(-jnp.einsum("a,b,c,d,abcd->", z, z, z, z, coupling) / 24)
        return jnp.stack([weight * observable(z), weight])

    top, bottom = gaussian_expectation(weighted, K).value
    return float(top / bottom)


@pytest.mark.parametrize("smooth", [True, False])
def test_observable_form_has_an_error_of_second_order(smooth):
    """E[tanh z_0 tanh z_1]: the error falls by 4 per halving and is below the correction."""
    observable = lambda z: jnp.tanh(z[0]) * jnp.tanh(z[1])  # noqa: E731
    errors = []
    for eps in (0.02, 0.01, 0.005):
        action = QuarticAction(K2, eps * V2)
        truth = exact(observable, K2, jnp.asarray(eps * V2))
        found = action.expectation(observable, smooth=smooth)
        errors.append(float(found.value) - truth)
        zeroth = float(gaussian_expectation(observable, K2).value) - truth
        assert abs(errors[-1]) < abs(zeroth) / 5
        assert float(found.error) < 1e-10
        np.testing.assert_allclose(found.value, found.leading + found.correction)
    assert 3.5 < errors[0] / errors[1] < 4.2 and 3.5 < errors[1] / errors[2] < 4.2


def test_both_roads_of_the_correction_agree():
    """Derivatives on the observable, or on the Gaussian, also for three variables."""
    rng = np.random.default_rng(1)
    root = rng.normal(size=(3, 3))
    G, kappa = root @ root.T / 3 + np.eye(3) / 2, 0.1 * symmetric(2, 3)
    observable = lambda z: jnp.stack([jnp.sin(z).sum() ** 2, z[0] ** 2 * z[1] * z[2], z[1] ** 6])  # noqa: E731
    smooth = perturbed_expectation(observable, G, kappa, tolerance=1e-9)
    weighted = perturbed_expectation(observable, G, kappa, smooth=False, tolerance=1e-9)
    np.testing.assert_allclose(smooth.correction, weighted.correction, rtol=1e-8)
    np.testing.assert_allclose(smooth.correction[1], kappa[0, 0, 1, 2], rtol=1e-8)
    np.testing.assert_allclose(smooth.correction[2], 15 * kappa[1, 1, 1, 1] * G[1, 1], rtol=1e-8)


def test_correction_is_a_second_derivative_of_the_kernel_map():
    """kappa d^4/24 = kappa (d/dG)^2 / 6: for sin sin the kernel map is known in closed form."""
    kappa = 0.1 * symmetric(3, 2)

    def kernel_map(G):
        return jnp.exp(-(G[0, 0] + G[1, 1]) / 2) * jnp.sinh((G[0, 1] + G[1, 0]) / 2)

    second = jax.hessian(kernel_map)(jnp.asarray(K2))
    expected = float((kappa * second).sum() / 6)
    found = perturbed_expectation(lambda z: jnp.sin(z[0]) * jnp.sin(z[1]), K2, kappa)
    np.testing.assert_allclose(found.correction, expected, rtol=1e-10)
    np.testing.assert_allclose(found.leading, kernel_map(K2), rtol=1e-12)


def test_a_kinked_observable():
    """|z| to first order: <|z| He_4> = -sqrt(2/pi) in one variable, no pointwise derivative."""
    G, kappa = 1.5, 0.06
    found = perturbed_expectation(lambda z: jnp.abs(z[0]), [[G]], [[[[kappa]]]], smooth=False)
    expected = np.sqrt(2 * G / np.pi) * (1 - kappa / (24 * G**2))
    np.testing.assert_allclose(found.value, expected, atol=2 * float(found.error))
    assert float(found.error) < 1e-6
    np.testing.assert_allclose(found.correction, expected - np.sqrt(2 * G / np.pi), rtol=1e-4)


def test_singular_metric_needs_no_inverse():
    """Two equal inputs: the correction of z_0^2 z_1^2 is that of z^4."""
    found = perturbed_expectation(
        lambda z: z[0] ** 2 * z[1] ** 2, 2 * np.ones((2, 2)), 0.1 * np.ones((2,) * 4)
    )
    np.testing.assert_allclose(found.value, 12.1, rtol=1e-12)


def test_many_variables_by_sobol():
    """Five variables: E[z_0^2 z_4^2] = G_00 G_44 + 2 G_04^2 + kappa."""
    G, kappa = np.eye(5) + 0.2, 0.05 * symmetric(4, 5)
    found = perturbed_expectation(lambda z: z[0] ** 2 * z[4] ** 2, G, kappa, sobol_points=2**12)
    np.testing.assert_allclose(found.correction, kappa[0, 0, 4, 4], rtol=1e-8)
    expected = 1.2**2 + 2 * 0.2**2 + kappa[0, 0, 4, 4]
    assert abs(float(found.value) - expected) < 5 * float(found.error)


def test_scale_mixture_to_first_order():
    """A network output on one input: V / n = Var S, correction F'' Var S / 2 in S = G."""
    G, n = 1.3, 50
    variance = 2 * G**2 / n  # of S, one linear hidden layer: kappa = 3 Var S
    found = perturbed_expectation(lambda z: jnp.cos(z[0]), [[G]], [[[[3 * variance]]]])
    exact_value = (1 + G / n) ** (-n / 2)  # E exp(-S/2), S = G chi^2_n / n
    first = np.exp(-G / 2) * (1 + variance / 8)
    np.testing.assert_allclose(found.value, first, rtol=1e-11)
    assert abs(float(found.value) - exact_value) < abs(np.exp(-G / 2) - exact_value) / 20


def test_even_action():
    action = QuarticAction(K2, V2)
    z = np.random.default_rng(0).normal(size=(4, 3, 2))
    np.testing.assert_allclose(even_action(z, K2, V2), action.action(z), rtol=1e-12)
    six = np.ones((2,) * 6)
    difference = even_action(z, K2, V2, six) - even_action(z, K2, V2)
    np.testing.assert_allclose(difference, z.sum(axis=-1) ** 6 / 720, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: QuarticAction([[1.0]], [[1.0]]), r"coupling: wanted shape \(N, N, N, N\)"),
        (lambda: QuarticAction([[-1.0]], [[[[1.0]]]]), "kernel: wanted a covariance"),
        (lambda: QuarticAction(K2, np.arange(16.0).reshape((2,) * 4)), "totally symmetric"),
        (lambda: QuarticAction(K2, np.full((2,) * 4, np.nan)), "coupling: wanted finite"),
        (lambda: QuarticAction(np.ones((2, 2)), V2).action([1.0, 1.0]), "wanted an invertible"),
        (lambda: QuarticAction(K2, V2).action([1.0]), r"z: wanted shape \(..., 2\)"),
        (lambda: QuarticAction.from_correlators(np.ones((2, 2)), V2), "metric: wanted an invert"),
        (
            lambda: perturbed_expectation(jnp.sum, np.ones((2, 2)), V2, smooth=False),
            "metric: wanted an invertible",
        ),
        (lambda: even_action([1.0], [[1.0]], np.ones((1, 1))), "at rank 4"),
        (lambda: even_action([1.0, 2.0], [[1.0]]), "z: wanted shape"),
        (lambda: exact_quartic_partition(1.0, -0.1), "cannot be normalized, got -0.1"),
        (lambda: exact_quartic_partition(0.0, 0.1), "K: wanted a positive number, got 0.0"),
        (lambda: exact_quartic_moments(1.0, 0.0, 2), "wanted a positive coupling"),
        (lambda: exact_quartic_moments(1.0, 0.1, 0), "order: wanted at least 1"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_results_are_double_for_a_caller_in_single_precision():
    with jax.enable_x64(False):
        action = QuarticAction([[1.0]], [[[[0.1]]]])
        assert action.two_point().dtype == np.float64
        assert action.four_point().dtype == np.float64
        found = perturbed_expectation(lambda z: z[0] ** 4, [[2.0]], [[[[0.1]]]])
        np.testing.assert_allclose(found.value, 12.1, rtol=1e-13)
