"""Pair expectations of kinked activations against conditional expectations done on paper.

For piecewise polynomials and exponentials <sigma(mu + s w)>_w is elementary, which leaves one
integral; mpmath does it with 30 digits, split where the integrand bends. Derivatives of the
reference are numerical ones of its value: no delta function is ever written down there.
"""

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest

from finitewidth.activations import HardTanh, activation
from finitewidth.gaussian.pair import ActivationProduct, pair_expectation, pair_moments
from finitewidth.gaussian.single import single_moment

POINTS = [  # K11, K22, rho
    (0.4, 1.7, -0.9),
    (1.3, 1.3, 0.3),
    (2.0, 0.5, 0.97),
    (9.0, 6.0, 0.9999),
    (0.8, 1.5, -0.9999),
]


def clip_mean(low, high):
    def mean(mu, s):  # <clip(mu + s w, low, high)>
        a, b = (low - mu) / s, (high - mu) / s
        inside = mp.ncdf(b) - mp.ncdf(a)
        bends = s * (mp.npdf(a) - mp.npdf(b))
        return low * mp.ncdf(a) + high * mp.ncdf(-b) + mu * inside + bends

    return mean


def rectifier_mean(scale, alpha):
    def mean(mu, s):  # scale <z for z > 0, alpha (exp(z) - 1) for z < 0>
        positive = mu * mp.ncdf(mu / s) + s * mp.npdf(mu / s)
        negative = mp.exp(mu + s**2 / 2) * mp.ncdf(-(mu + s**2) / s) - mp.ncdf(-mu / s)
        return scale * (positive + alpha * negative)

    return mean


def hard_swish_mean(mu, s):
    a, b = (-3 - mu) / s, (3 - mu) / s
    inside, left, right = mp.ncdf(b) - mp.ncdf(a), mp.npdf(a), mp.npdf(b)
    first = mu * inside + s * (left - right)
    second = (mu**2 + s**2) * inside + s * ((mu - 3) * left - (mu + 3) * right)
    return (second + 3 * first) / 6 + mu * mp.ncdf(-b) + s * right


SCALE, ALPHA = (
    mp.mpf("1.0507009873554804934193349852946"),
    mp.mpf("1.6732632423543772848170429916717"),
)
MEANS = {
    "hard_tanh": (clip_mean(-1, 1), lambda z: min(max(z, -1), 1), (-1, 1)),
    "hard_swish": (hard_swish_mean, lambda z: z * min(max(z + 3, 0), 6) / 6, (-3, 3)),
    "elu": (rectifier_mean(1, 1), lambda z: z if z > 0 else mp.expm1(z), (0,)),
    "selu": (
        rectifier_mean(SCALE, ALPHA),
        lambda z: SCALE * (z if z > 0 else ALPHA * mp.expm1(z)),
        (0,),
    ),
}


def by_conditioning(name, K11, K22, K12):
    mean, sigma, kinks = MEANS[name]
    r, s = K12 / K11, mp.sqrt(K22 - K12**2 / K11)
    width = s / abs(r)
    ends = {k + 0 * r for k in kinks} | {
        k / r + x * width for k in kinks for x in (-8, -2, 0, 2, 8)
    }
    edge = 12 * mp.sqrt(K11)
    ends = [-edge, *sorted(e for e in ends if abs(e) < edge), edge]
    density = lambda z: mp.npdf(z, 0, mp.sqrt(K11))  # noqa: E731
    return mp.quad(lambda z: density(z) * sigma(z) * mean(r * z, s), ends, maxdegree=7)


def reference(name, K, along):
    if not along:
        return by_conditioning(name, *K)
    axis, step = along[0], mp.mpf("1e-4") * (K[1] * (1 - (K[2] ** 2) / (K[0] * K[1])))

    def shifted(x):
        moved = list(K)
        moved[axis] += x * step
        return reference(name, moved, along[1:])

    stencil = {1: mp.mpf(2) / 3, 2: -mp.mpf(1) / 12}
    return sum(c * (shifted(x) - shifted(-x)) for x, c in stencil.items()) / step


def library(name, along):
    f = pair_moments(name).value
    for axis in along:
        f = jax.grad(f, argnums=axis)
    return f


def check(name, point, along):
    K11, K22, rho = map(mp.mpf, point)
    K = (K11, K22, rho * mp.sqrt(K11 * K22))
    with mp.workdps(20):
        want = float(reference(name, K, along))
    got = float(library(name, along)(*(jnp.asarray(float(k)) for k in K)))
    assert got == pytest.approx(want, rel=1e-10, abs=1e-13), (point, along)


@pytest.mark.parametrize("name", MEANS)
def test_value(name):
    for point in POINTS:
        check(name, point, ())


def rarely(names, often):
    return [n if n in often else pytest.param(n, marks=pytest.mark.slow) for n in names]


@pytest.mark.parametrize("name", rarely(MEANS, ("hard_tanh",)))
def test_slope_and_rates(name):
    for point, axis in zip(POINTS[1:4], (2, 0, 1), strict=True):
        check(name, point, (axis,))
    check(name, POINTS[4], (2,))


@pytest.mark.slow
@pytest.mark.parametrize("name", MEANS)
@pytest.mark.parametrize("along", [(0, 0), (0, 1), (0, 2), (1, 2), (2, 2)], ids=str)
def test_second_derivatives(name, along):
    K11, K22, rho = map(mp.mpf, (2.0, 0.5, 0.6))
    K = (K11, K22, rho * mp.sqrt(K11 * K22))
    with mp.workdps(30):
        want = float(reference(name, K, along))
    got = float(library(name, along)(*(jnp.asarray(float(k)) for k in K)))
    assert got == pytest.approx(want, rel=1e-8)


@pytest.mark.slow
def test_softsign_and_its_slope():
    # No elementary conditional mean: both integrals by mpmath, split at the kinks.
    K11, K22, K12 = 1.2, 0.7, 0.6
    r, s = K12 / K11, np.sqrt(K22 - K12**2 / K11)

    def inner(F, z):
        bend = -r * z / s
        ends = sorted({-9.0, min(max(bend, -9.0), 9.0), 9.0})
        return mp.quad(lambda w: mp.npdf(w) * F(r * z + s * w), ends)

    with mp.workdps(15):
        for m, F in enumerate((lambda z: z / (1 + abs(z)), lambda z: 1 / (1 + abs(z)) ** 2)):
            outer = [-9 * np.sqrt(K11), 0, 9 * np.sqrt(K11)]
            want = mp.quad(
                lambda z, F=F: mp.npdf(z, 0, np.sqrt(K11)) * F(z) * inner(F, z), outer, maxdegree=5
            )
            got = pair_moments("softsign").value_and_slope(K11, K22, K12)[m]
            assert float(got) == pytest.approx(float(want), rel=1e-9)


@pytest.mark.parametrize(
    "name", rarely(["hard_tanh", "hard_swish", "elu", "softsign", "selu"], ("selu",))
)
def test_collinear_pairs_are_one_dimensional_integrals(name):
    sigma, moments = activation(name), pair_moments(name)
    K = jnp.asarray([1e-4, 0.3, 2.0, 50.0])
    np.testing.assert_allclose(moments.value(K, K, K), moments.diagonal_value(K), rtol=1e-10)
    np.testing.assert_allclose(moments.slope(K, K, K), moments.diagonal_slope(K), rtol=1e-8)
    mirrored = ActivationProduct(sigma, (0,))
    kinks = tuple(-k for k in sigma.kinks)
    want = single_moment(_Mirror(mirrored), K, (*kinks, *sigma.kinks))
    np.testing.assert_allclose(moments.value(K, K, -K), want, rtol=1e-9, atol=1e-15)
    # Along the diagonal f_1 + f_2 + f_3 = g'.
    K = K[1:3]
    one = jnp.ones_like(K)
    along = jax.jvp(moments.value, (K, K, K), (one, one, one))[1]
    np.testing.assert_allclose(along, jax.jvp(moments.diagonal_value, (K,), (one,))[1], rtol=1e-8)


class _Mirror:
    """z -> sigma(z) sigma(-z)."""

    def __init__(self, sigma):
        self.sigma = sigma

    def __call__(self, z):
        return self.sigma(z) * self.sigma(-z)


def test_series_and_direct_integration_meet():
    # |rho| = 0.97 separates the two methods; the slope is smooth across it.
    moments = pair_moments("hard_swish")
    x = np.cos(np.pi * (np.arange(24) + 0.5) / 24)
    rho = 0.97 + 0.005 * x
    slope = np.asarray(moments.slope(4.0, 4.0, 4 * rho))
    fit = np.polynomial.Chebyshev.fit(x, slope, 11)(x)
    np.testing.assert_allclose(slope, fit, rtol=1e-11)
    assert moments.report(4.0, 4.0, 4 * rho).direct == 12
    assert moments.report(4.0, 4.0, 3.0).direct == 0


def test_powers_of_relu_are_the_closed_forms_of_the_two_input_vertex():
    relu = activation("relu")
    K11, K22, psi = 0.7, 2.3, 1.1
    K12 = np.sqrt(K11 * K22) * np.cos(psi)
    J = (3 * np.sin(psi) * np.cos(psi) + (np.pi - psi) * (1 + 2 * np.cos(psi) ** 2)) / (2 * np.pi)
    T = (3 * (np.pi - psi) * np.cos(psi) + np.sin(psi) * (2 + np.cos(psi) ** 2)) / (2 * np.pi)
    square, cube = ActivationProduct(relu, (0, 0)), ActivationProduct(relu, (0, 0, 0))
    got = float(pair_expectation(square, square, K11, K22, K12))
    assert got == pytest.approx(K11 * K22 * J, rel=1e-12)
    got = float(pair_expectation(cube, relu, K11, K22, K12))
    assert got == pytest.approx(K11 * np.sqrt(K11 * K22) * T, rel=1e-12)


def test_a_users_function_with_a_declared_kink():
    bent = pair_moments(activation(lambda z: jnp.where(z > 0.5, 2 * z - 0.5, z), kinks=(0.5,)))
    # = z + relu(z - 1/2); at |rho| = 1 the mean is a one-dimensional integral.
    shift = mp.quad(lambda z: mp.npdf(z) * (z + max(z - 0.5, 0)) ** 2, [-12, 0.5, 12])
    assert float(bent.value(1.0, 1.0, 1.0)) == pytest.approx(float(shift), rel=1e-10)
    # df/dK12 at K12 = 0 is <s'>^2.
    want = (1 + float(mp.ncdf(-0.5))) ** 2
    assert float(bent.slope(1.0, 1.0, 0.0)) == pytest.approx(want, rel=1e-12)
    rate = jax.grad(bent.slope, argnums=2)(*map(jnp.asarray, (1.0, 1.0, 0.0)))
    assert float(rate) == pytest.approx(float(mp.npdf(0.5)) ** 2, rel=1e-12)  # <s''>^2, a delta


def test_zero_input():
    moments = pair_moments(HardTanh())
    assert float(moments.value(0.0, 1.0, 0.0)) == 0.0
    mean_slope = float(mp.erf(1 / mp.sqrt(2)))
    assert float(moments.slope(0.0, 1.0, 0.0)) == pytest.approx(mean_slope, rel=1e-12)
    rates = jax.grad(moments.value, argnums=(0, 1, 2))(*map(jnp.asarray, (0.0, 1.0, 0.0)))
    np.testing.assert_allclose(rates, [0.0, 0.0, mean_slope], atol=1e-13)
