"""Closed forms against the general methods, and at the ends of their range."""

import math
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from finitewidth.activations import activation
from finitewidth.gaussian.factor import as_factor
from finitewidth.gaussian.pair import has_closed_form, pair_moments
from finitewidth.gaussian.pair.closed_forms import closed_form
from finitewidth.gaussian.pair.kinked import kinked_pairs
from finitewidth.gaussian.pair.smooth import smooth_pairs

RHO = np.array([-1.0, -0.999, -0.5, 0.0, 0.3, 0.9, 0.9999, 1.0])
ORDERS = [(0, 0), (1, 1), (2, 0), (0, 2), (2, 2), (3, 1), (4, 0)]


SMOOTH = ["erf", "gelu", "sin", "cos", "monomial(3)", "quadratic"]


@pytest.mark.parametrize(
    "name", [n if n == "gelu" else pytest.param(n, marks=pytest.mark.slow) for n in SMOOTH]
)
def test_smooth_closed_forms_are_the_series(name):
    sigma = activation(name)
    K = jnp.asarray([1e-3, 1.0, 6.0])
    K11, K22 = K[:, None, None], K[None, :, None]
    K12 = RHO * jnp.sqrt(K11) * jnp.sqrt(K22)
    series = jax.jit(smooth_pairs, static_argnums=(0, 1))
    for m1, m2 in ORDERS:
        F, G = as_factor(sigma).differentiated(m1), as_factor(sigma).differentiated(m2)
        got = closed_form(sigma, m1, m2)(K11, K22, K12)
        want = series(F, G, K11, K22, K12).value
        squares = (closed_form(sigma, m, m)(k, k, k) for m, k in ((m1, K11), (m2, K22)))
        norm = jnp.sqrt(math.prod(squares))
        assert bool((jnp.abs(got - want) <= 1e-12 * norm).all())


KINKED = [
    (name, orders)
    if (name, orders) in [("leaky_relu(0.2)", (2, 0)), ("leaky_relu(0.2)", (3, 1))]
    else pytest.param(name, orders, marks=pytest.mark.slow)
    for name in ("leaky_relu(0.2)", "perceptron")
    for orders in ORDERS
]


@pytest.mark.parametrize(("name", "orders"), KINKED, ids=str)
def test_kinked_closed_forms_are_the_split_integrals(name, orders):
    sigma = activation(name)
    F, G = (replace(as_factor(sigma), order=m) for m in orders)
    K11, K22 = jnp.asarray([0.7]), jnp.asarray([2.3])
    K12 = jnp.asarray(RHO[1:-1]) * jnp.sqrt(K11 * K22)
    got = closed_form(sigma, *orders)(K11, K22, K12)
    want = jax.jit(kinked_pairs, static_argnums=(0, 1))(F, G, K11, K22, K12).value
    np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-12)


def test_elementary_values_of_the_smooth_closed_forms():
    # Values on paper: <sin sin>, <cos cos>, <z^3 z^3> = 9 k11 k22 k12 + 6 k12^3, <z^2 z^2>; erf and
    # its slope by the arcsine law; cancellation-free at small covariance.
    a, b, c = 1.3, 0.6, 0.4
    decay = np.exp(-(a + b) / 2)
    wanted = {
        "sin": (decay * np.sinh(c), decay * np.cosh(c)),
        "cos": (decay * np.cosh(c), decay * np.sinh(c)),
        "monomial(3)": (9 * a * b * c + 6 * c**3, 9 * (a * b + 2 * c**2)),
        "quadratic": (a * b + 2 * c**2, 4 * c),
        "erf": (
            2 / np.pi * np.arcsin(2 * c / np.sqrt((1 + 2 * a) * (1 + 2 * b))),
            4 / np.pi / np.sqrt((1 + 2 * a) * (1 + 2 * b) - 4 * c**2),
        ),
    }
    for name, want in wanted.items():
        np.testing.assert_allclose(pair_moments(name).value_and_slope(a, b, c), want, rtol=1e-14)
    assert float(pair_moments("sin").value(a, b, 1e-12)) == pytest.approx(decay * 1e-12, rel=1e-14)


@pytest.mark.parametrize("name", ["relu", "leaky_relu(0.2)", "abs", "linear"])
def test_scale_invariant_ends(name):
    plus, minus = activation(name).slopes
    A2 = (plus**2 + minus**2) / 2
    moments = pair_moments(name)
    K11, K22 = jnp.asarray([0.3, 0.7, 5.0]), jnp.asarray([0.3, 2.3, 1e-4])
    s = jnp.sqrt(K11 * K22)
    np.testing.assert_allclose(moments.value(K11, K22, s), A2 * s, rtol=1e-15)
    np.testing.assert_allclose(moments.value(K11, K22, -s), -plus * minus * s, rtol=1e-15)
    # The angle of parallel inputs is known to half of the digits, 1.5e-8, unless norms are equal.
    np.testing.assert_allclose(moments.slope(K11, K22, s), A2, rtol=1e-8)
    np.testing.assert_allclose(moments.slope(K11, K11, K11), A2, rtol=0)
    np.testing.assert_allclose(moments.slope(K11, K22, -s), plus * minus, atol=1e-8)
    for covariance in (s, -s, jnp.zeros(3), 0.3 * s):
        for order in (jax.jacfwd, lambda f: jax.jacfwd(jax.jacfwd(f))):
            rates = order(lambda k: moments.value(k[0], k[1], k[2]).sum())(
                jnp.stack([K11, K22, covariance])
            )
            assert bool(jnp.isfinite(rates).all())
    # Euler: f(c K) = c f(K), so K11 f_1 + K22 f_2 + K12 f_3 = f.
    K12 = 0.3 * s
    f1, f2, f3 = (jax.vmap(jax.grad(moments.value, argnums=i))(K11, K22, K12) for i in range(3))
    np.testing.assert_allclose(
        K11 * f1 + K22 * f2 + K12 * f3, moments.value(K11, K22, K12), rtol=1e-14
    )


def test_relative_accuracy_of_nearly_antipodal_relu():
    # <s1 s2> = s (sin(x) - x cos(x))/(2 pi), x = pi - psi; the closed form cancels in doubles.
    x = 1e-3
    want = (x**3 / 3 - x**5 / 30) / (2 * np.pi)
    got = float(pair_moments("relu").value(1.0, 1.0, -np.cos(x)))
    assert got == pytest.approx(want, rel=1e-8)


@pytest.mark.parametrize("name", ["relu", "sin", "gelu", "erf", "monomial(2)", "abs"])
def test_zero_input_has_finite_values_and_rates(name):
    moments = pair_moments(name)
    for K11, K22 in ((0.0, 0.0), (0.0, 1.3), (1.3, 0.0)):
        zero = jnp.zeros(())
        assert float(moments.value(K11, K22, zero)) == 0.0
        assert np.isfinite(float(moments.slope(K11, K22, zero)))
        rates = jax.grad(moments.value, argnums=(0, 1, 2))(jnp.array(K11), jnp.array(K22), zero)
        assert np.isfinite(rates).all()


def test_which_have_closed_forms():
    assert has_closed_form(activation("relu")) and has_closed_form(activation("gelu"))
    assert not has_closed_form(activation("tanh"))
    assert pair_moments("relu").report(1.0, 1.0, 0.5).method == "closed form"
