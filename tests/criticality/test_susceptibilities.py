"""g, chi_parallel, chi_perp, h, j against closed forms, mpmath and finite differences."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finitewidth.activations import activation
from finitewidth.criticality import criticality_ratio, susceptibilities
from finitewidth.gaussian.pair import pair_moments
from finitewidth.precision import double_precision

K = np.array([1e-6, 1e-3, 0.05, 0.3, 1.0, 2.7, 10.0, 60.0])


def test_sin_closed_form():
    chi = susceptibilities("sin", C_b=0.1, C_W=1.7)
    np.testing.assert_allclose(chi.g(K), -np.expm1(-2 * K) / 2, rtol=1e-12)
    np.testing.assert_allclose(chi.kernel(K), 0.1 - 1.7 * np.expm1(-2 * K) / 2, rtol=1e-12)
    np.testing.assert_allclose(chi.chi_parallel(K), 1.7 * np.exp(-2 * K), rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(chi.chi_perp(K), 1.7 * (1 + np.exp(-2 * K)) / 2, rtol=1e-12)
    np.testing.assert_allclose(chi.h(K), -0.85 * np.exp(-2 * K), rtol=1e-9, atol=1e-13)
    bend = -2 * np.exp(-2 * K)
    np.testing.assert_allclose(chi.j(K), 4 * 1.7 * K**2 * bend, rtol=1e-9, atol=1e-12)
    fourth = 3 / 8 - np.exp(-2 * K) / 2 + np.exp(-8 * K) / 8
    spread = 1.7**2 * (fourth - (np.expm1(-2 * K) / 2) ** 2)
    np.testing.assert_allclose(chi.fluctuation(K)[2:], spread[2:], rtol=1e-10)


def test_gelu_closed_form():
    chi = susceptibilities("gelu", C_W=2.0)
    g = K * (0.25 + np.arcsin(K / (1 + K)) / (2 * np.pi))
    g += K**2 / (np.pi * (1 + K) * np.sqrt(1 + 2 * K))
    slope = g / K + K / (2 * np.pi * (1 + 2 * K) ** 1.5)
    np.testing.assert_allclose(chi.g(K), g, rtol=1e-12)
    np.testing.assert_allclose(chi.chi_perp(K), 2 * slope, rtol=1e-12)


def test_scale_invariant_closed_form():
    chi = susceptibilities("leaky_relu(0.2)", C_b=0.3, C_W=1.5)
    np.testing.assert_allclose(chi.g(K), 0.52 * K, rtol=1e-15)
    np.testing.assert_allclose(chi.chi_parallel(K), 0.78, rtol=1e-15)
    np.testing.assert_allclose(chi.chi_perp(K), 0.78, rtol=1e-15)
    np.testing.assert_allclose(chi.h(K), 0.0, atol=0)
    np.testing.assert_allclose(chi.j(K), 0.0, atol=0)
    np.testing.assert_allclose(chi.fluctuation(K), 2.25 * (3 * 0.5008 - 0.52**2) * K**2, rtol=1e-14)


@pytest.mark.parametrize("power", [2, 3, 4])
def test_monomials(power):
    """r = p/(2p - 1), PDLT (5.78), also for a function that is not told to be a monomial."""
    np.testing.assert_allclose(
        criticality_ratio(f"monomial({power})", K), power / (2 * power - 1), rtol=1e-14
    )
    hidden = activation(lambda z: z**power + 0 * jnp.tanh(z))
    np.testing.assert_allclose(criticality_ratio(hidden, 0.7), power / (2 * power - 1), rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "kernel", "digits"),
    [
        ("tanh", 0.5, "1.824926"),
        ("tanh", 1.0, "2.554504"),
        ("tanh", 2.0, "3.950300"),
        ("softplus", 0.0, "0.590616"),
        ("softplus", 1.0, "0.6472"),
        ("softplus", 10.0, "0.7932"),
        ("gelu", 1.0, "0.9371"),
        ("silu", 1.0, "0.9096"),
        ("erf", 1.3, "3.6"),
    ],
)
def test_ratio_digits(name, kernel, digits, printed):
    printed(float(criticality_ratio(name, kernel)), digits)


def test_sigmoid_ratio_is_that_of_tanh():
    """sigmoid = 1/2 + tanh(z/2)/2, so that r_sigmoid(K) = r_tanh(K/4)."""
    np.testing.assert_allclose(
        criticality_ratio("sigmoid", K), criticality_ratio("tanh", K / 4), rtol=1e-10
    )


def _mp_moment(F, kernel, ends):
    with mpmath.workdps(30):
        weight = lambda z: mpmath.exp(-(z**2) / (2 * kernel)) / mpmath.sqrt(2 * mpmath.pi * kernel)  # noqa: E731
        return float(mpmath.quad(lambda z: F(z) * weight(z), ends))


@pytest.mark.parametrize("kernel", [0.01, 1.3])
def test_selu_against_mpmath(kernel):
    scale, alpha = mpmath.mpf("1.0507009873554804934"), mpmath.mpf("1.6732632423543772848")
    reach = 14 * kernel**0.5
    ends = [-reach, -reach / 3, 0, reach / 3, reach]
    value = lambda z: scale * (z if z >= 0 else alpha * mpmath.expm1(z))  # noqa: E731
    slope = lambda z: scale * (1 if z >= 0 else alpha * mpmath.exp(z))  # noqa: E731
    chi = susceptibilities("selu")
    stein = lambda z: value(z) ** 2 * ((z**2 / kernel) ** 2 - 6 * z**2 / kernel + 3)  # noqa: E731
    rows = [
        (chi.g, _mp_moment(lambda z: value(z) ** 2, kernel, ends)),
        (chi.chi_parallel, _mp_moment(lambda z: z * value(z) * slope(z) / kernel, kernel, ends)),
        (chi.chi_perp, _mp_moment(lambda z: slope(z) ** 2, kernel, ends)),
        (chi.j, _mp_moment(stein, kernel, ends)),
        (chi.h, _mp_moment(lambda z: slope(z) ** 2 * (z**2 - kernel), kernel, ends)
         / (4 * kernel**2)),
    ]  # fmt: skip
    for measured, wanted in rows:
        assert float(measured(kernel)) == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("name", ["tanh", "elu", "hard_swish"])
def test_derivatives_are_consistent(name):
    """chi_parallel = C_W g', h = chi_perp'/2, j = 4 K^2 C_W g'', and jax.grad agrees."""
    chi = susceptibilities(name, C_b=0.2, C_W=1.3)
    for kernel in (0.4, 3.0):
        step = 1e-3 * kernel

        def slope(function, at=kernel, step=step):
            # Fourth order, so that the step is the only limit.
            f = [float(function(at + m * step)) for m in (-2, -1, 1, 2)]
            return (f[0] - 8 * f[1] + 8 * f[2] - f[3]) / (12 * step)

        assert float(chi.chi_parallel(kernel)) == pytest.approx(slope(chi.kernel), rel=1e-8)
        assert float(chi.h(kernel)) == pytest.approx(slope(chi.chi_perp) / 2, rel=1e-7)
        bend = slope(chi.chi_parallel)
        assert float(chi.j(kernel)) == pytest.approx(4 * kernel**2 * bend, rel=1e-7)
        assert float(jax.grad(chi.kernel)(kernel)) == pytest.approx(
            float(chi.chi_parallel(kernel)), rel=1e-10
        )


def test_gradients_in_the_hyperparameters():
    def loss(C_b, C_W, kernel):
        chi = susceptibilities("tanh", C_b, C_W)
        return chi.kernel(kernel) + chi.chi_perp(kernel) ** 2

    one = susceptibilities("tanh")
    d_b, d_W, d_K = jax.grad(loss, argnums=(0, 1, 2))(0.1, 1.5, 0.8)
    slope = float(one.chi_perp(0.8))
    assert float(d_b) == pytest.approx(1.0)
    assert float(d_W) == pytest.approx(float(one.g(0.8)) + 2 * 1.5 * slope**2, rel=1e-11)
    wanted = 1.5 * float(one.chi_parallel(0.8)) + 2 * 1.5 * slope * 1.5 * 2 * float(one.h(0.8))
    assert float(d_K) == pytest.approx(wanted, rel=1e-10)


def test_limits_at_zero():
    """K = 0 gives the limit, with finite derivatives where there is one."""
    tanh = susceptibilities("tanh", C_W=1.5)
    assert float(tanh.g(0.0)) == 0.0
    assert float(tanh.chi_parallel(0.0)) == float(tanh.chi_perp(0.0)) == 1.5
    assert float(tanh.h(0.0)) == -1.5  # b_1/2 times sigma_1^2
    assert float(jax.grad(tanh.chi_parallel)(0.0)) == -6.0  # 2 a_1 C_W
    softplus = susceptibilities("softplus")
    assert float(softplus.g(0.0)) == pytest.approx(np.log(2) ** 2)
    assert float(softplus.chi_parallel(0.0)) == pytest.approx((1 + np.log(2)) / 4)
    selu = susceptibilities("selu")
    assert float(selu.chi_parallel(0.0)) == pytest.approx(1 / 0.476771, rel=1e-6)
    for chi in (tanh, softplus, selu):
        for function in (chi.g, chi.chi_parallel, chi.chi_perp):
            assert float(function(0.0)) == pytest.approx(float(function(1e-10)), rel=1e-4, abs=1e-9)


def test_a_jump_makes_angles_infinitely_unstable():
    chi = susceptibilities("perceptron", C_W=1.0)
    assert float(chi.chi_perp(1.0)) == np.inf
    assert float(chi.chi_parallel(1.0)) == 0.0
    assert float(chi.g(1.0)) == 0.5


@pytest.mark.parametrize("name", ["gelu", "tanh", "elu"])
def test_agrees_with_the_pair_function(name):
    """The same expectations from the two-input method of finitewidth.gaussian."""
    pair, chi = pair_moments(activation(name)), susceptibilities(name)
    kernels = jnp.array([0.02, 0.9, 7.0])
    np.testing.assert_allclose(pair.diagonal_value(kernels), chi.g(kernels), rtol=1e-8)
    np.testing.assert_allclose(pair.diagonal_slope(kernels), chi.chi_perp(kernels), rtol=1e-8)


@settings(max_examples=25)
@given(kernel=st.floats(1e-6, 1e3), C_b=st.floats(0, 5), C_W=st.floats(0, 5), a=st.floats(-2, 2))
def test_leaky_rectifiers(kernel, C_b, C_W, a):
    with double_precision():
        chi = susceptibilities(activation(f"leaky_relu({a!r})"), C_b, C_W)
        A_2 = (1 + a**2) / 2
        assert float(chi.kernel(kernel)) == pytest.approx(C_b + C_W * A_2 * kernel)
        assert float(chi.chi_parallel(kernel)) == pytest.approx(C_W * A_2)
        assert float(chi.chi_perp(kernel)) == pytest.approx(C_W * A_2)


def test_broadcasting_and_single_precision_callers():
    with jax.enable_x64(False):
        chi = susceptibilities("tanh", C_b=0.0, C_W=np.array([[1.0], [2.0]]))
        values = chi.chi_perp(np.array([0.1, 0.2, 0.3]))
        assert values.shape == (2, 3)
        assert values.dtype == np.float64
        assert "tanh" in repr(chi)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"C_b": -1.0}, "C_b: wanted a finite variance >= 0, got -1.0"),
        ({"C_W": float("nan")}, "C_W: wanted a finite variance >= 0, got nan"),
        ({"C_W": float("inf")}, "C_W: wanted a finite variance"),
    ],
)
def test_bad_hyperparameters(arguments, message):
    with pytest.raises(ValueError, match=message):
        susceptibilities("tanh", **arguments)


def test_bad_kernels():
    with pytest.raises(ValueError, match=r"K: wanted a finite variance >= 0, got -0\.1"):
        susceptibilities("tanh").g(-0.1)
    with pytest.raises(TypeError, match="K: wanted a number"):
        susceptibilities("tanh").g("one")
    with pytest.raises(ValueError, match="got 'tahn'"):
        susceptibilities("tahn")
