"""What every pair expectation has to satisfy, at random kernels; and bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finitewidth.activations import activation
from finitewidth.gaussian.pair import pair_expectation, pair_moments
from finitewidth.gaussian.pair.primitive import SLICE
from finitewidth.gaussian.single import single_moment

ALL = ["relu", "gelu", "erf", "sin", "tanh", "silu", "hard_tanh"]
variances = st.floats(1e-4, 20.0)
pairs = st.tuples(variances, variances, st.floats(-1.0, 1.0))


def covariances(pair):
    K11, K22, rho = pair
    return K11, K22, np.clip(rho, -1, 1) * np.sqrt(K11 * K22)


@pytest.mark.parametrize("name", ALL)
@settings(max_examples=15)
@given(pair=pairs)
def test_symmetry_and_cauchy_schwarz(name, pair):
    K11, K22, K12 = covariances(pair)
    moments = pair_moments(name)
    for f in (moments.value, moments.slope):
        value, mirrored = float(f(K11, K22, K12)), float(f(K22, K11, K12))
        norm = np.sqrt(float(f(K11, K11, K11)) * float(f(K22, K22, K22)))
        assert abs(value - mirrored) <= 1e-11 * norm
        assert abs(value) <= norm * (1 + 1e-8)


@pytest.mark.parametrize("name", ["tanh", "silu", "gelu", "hard_tanh"])
@settings(max_examples=15)
@given(first=variances, second=variances)
def test_independent_inputs_factorize(name, first, second):
    sigma = activation(name)
    product = single_moment(sigma, first) * single_moment(sigma, second)
    value = float(pair_moments(name).value(first, second, 0.0))
    assert value == pytest.approx(float(product), rel=1e-12, abs=1e-14)


@pytest.mark.parametrize("name", ["erf", "tanh", "hard_tanh", "cos"])
@settings(max_examples=15)
@given(pair=pairs)
def test_parity(name, pair):
    K11, K22, K12 = covariances(pair)
    sign = 1 if activation(name).parity == "even" else -1
    value, slope = (np.asarray(x) for x in pair_moments(name).value_and_slope(K11, K22, K12))
    mirrored, back = pair_moments(name).value_and_slope(K11, K22, -K12)
    np.testing.assert_allclose(mirrored, sign * value, rtol=1e-11, atol=1e-15)
    np.testing.assert_allclose(back, -sign * slope, rtol=1e-11, atol=1e-15)


@pytest.mark.parametrize("name", ["relu", "abs", "leaky_relu(0.3)", "monomial(3)"])
@settings(max_examples=15)
@given(pair=pairs, scale=st.floats(0.01, 50.0))
def test_homogeneity(name, pair, scale):
    K11, K22, K12 = covariances(pair)
    moments, power = pair_moments(name), activation(name).homogeneity
    value = float(moments.value(K11, K22, K12))
    scaled = float(moments.value(scale * K11, K22, np.sqrt(scale) * K12))
    norm = np.sqrt(float(moments.value(K11, K11, K11)) * float(moments.value(K22, K22, K22)))
    assert abs(scaled - scale ** (power / 2) * value) <= 1e-12 * norm * scale ** (power / 2)


@settings(max_examples=10)
@given(seed=st.integers(0, 1000))
def test_kernel_matrices_stay_positive(seed):
    x = np.random.default_rng(seed).normal(size=(6, 3))
    x = np.concatenate([x, x[:1], -x[1:2], np.zeros((1, 3))])  # coincident, antipodal, zero
    K = jnp.asarray(x @ x.T)
    d = jnp.diag(K)
    for name in ("tanh", "relu"):
        kernel = pair_moments(name).value(d[:, None], d[None, :], K)
        np.testing.assert_allclose(kernel, kernel.T, atol=1e-14)
        assert float(jnp.linalg.eigvalsh(kernel)[0]) > -1e-13
        np.testing.assert_allclose(kernel[0], kernel[6], rtol=1e-12, atol=1e-15)


def test_second_derivatives():
    def f(k):
        return pair_moments("tanh").value(k[0], k[1], k[2])

    k = jnp.asarray([1.2, 0.7, 0.4])
    hessian = jax.hessian(f)(k)  # forward over reverse
    np.testing.assert_allclose(hessian, hessian.T, rtol=1e-12)
    step = 1e-4
    along = jnp.asarray([0.3, -0.2, 0.5])
    difference = (f(k + step * along) - 2 * f(k) + f(k - step * along)) / step**2
    np.testing.assert_allclose(along @ hessian @ along, difference, rtol=1e-5)


def test_many_pairs_with_variances_of_their_own():
    random = np.random.default_rng(3)
    K11, K22 = random.uniform(0.1, 3, (2, 5 * SLICE))
    K12 = random.uniform(-1, 1, 5 * SLICE) * np.sqrt(K11 * K22)
    values = pair_moments("tanh").value(K11, K22, K12)
    some = np.arange(0, 5 * SLICE, 997)
    np.testing.assert_allclose(
        values[some], pair_moments("tanh").value(K11[some], K22[some], K12[some]), rtol=1e-12
    )


def test_called_from_single_precision():
    with jax.enable_x64(False):
        value = pair_moments("gelu").value(1.0, 1.0, 0.5)
    assert value.dtype == np.float64
    assert float(value) == float(pair_moments("gelu").value(1.0, 1.0, 0.5))


@pytest.mark.parametrize(
    ("K", "message"),
    [
        ((-1.0, 1.0, 0.0), "K11: wanted finite variances >= 0, got -1"),
        ((1.0, np.nan, 0.0), "K22: wanted finite variances >= 0, got nan"),
        ((1.0, 1.0, np.inf), "K12: wanted finite covariances"),
        ((1.0, 1.0, 1.1), r"wanted \|K12\| <= sqrt\(K11 K22\)"),
        ((np.ones(2), np.ones(3), 0.0), "wanted shapes that broadcast"),
    ],
)
def test_bad_covariances(K, message):
    for f in (pair_moments("tanh").value, pair_moments("relu").slope):
        with pytest.raises(ValueError, match=message):
            f(*K)
    with pytest.raises(ValueError, match=message):
        pair_expectation(jnp.sin, jnp.cos, *K)


def test_impossible_covariance_under_jit_is_nan_and_spoils_nothing_else():
    f = jax.jit(lambda c: pair_moments("tanh").value(1.0, 1.0, c))
    values = f(jnp.asarray([1.2, 0.5]))
    assert bool(jnp.isnan(values[0]))
    assert float(values[1]) == pytest.approx(
        float(pair_moments("tanh").value(1, 1, 0.5)), rel=1e-12
    )


def test_not_a_function():
    with pytest.raises(TypeError, match="wanted an elementwise JAX function"):
        pair_expectation("tanh", jnp.sin, 1.0, 1.0, 0.0)
