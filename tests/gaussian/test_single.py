"""One-variable expectations and their derivatives in the variance, against mpmath."""

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finitewidth.activations import activation
from finitewidth.gaussian.factor import ActivationProduct
from finitewidth.gaussian.single import single_moment

VARIANCES = np.array([1e-6, 0.3, 4.0, 1e3])


def by_mpmath(f, K, kinks=(), scale=1.0):
    """<f>_K with 20 digits, split at kinks and where f varies."""
    root = mp.sqrt(K)
    inner = [k + x for k in (*kinks, 0) for x in (-9 * scale, -scale, 0, scale, 9 * scale)]
    inner += [x * root for x in (-6, -3, -1, 1, 3, 6)]
    points = sorted({-12 * root, 12 * root, *(mp.mpf(x) for x in inner if abs(x) < 12 * root)})
    return mp.quad(lambda z: f(z) * mp.npdf(z, 0, root), points)


def rates(f):
    return [f, jax.grad(f), jax.grad(jax.grad(f))]


FUNCTIONS = {
    "tanh": (lambda z: mp.tanh(z) ** 2, ()),
    "silu": (lambda z: (z / (1 + mp.exp(-z))) ** 2, ()),
    "hard_tanh": (lambda z: min(max(z, -1), 1) ** 2, (-1, 1)),
    "softsign": (lambda z: (z / (1 + abs(z))) ** 2, (0,)),
    "selu": (
        lambda z: (
            (
                mp.mpf("1.0507009873554804934193349852946")
                * (z if z > 0 else mp.mpf("1.6732632423543772848170429916717") * mp.expm1(z))
            )
            ** 2
        ),
        (0,),
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_mean_square_and_its_rates(name):
    f, kinks = FUNCTIONS[name]
    square = ActivationProduct(activation(name), (0, 0))
    functions = rates(lambda K: single_moment(square, K))
    for K in VARIANCES:
        with mp.workdps(20):
            # Hermite weights: no derivative of f.
            wanted = [
                by_mpmath(f, mp.mpf(K), kinks),
                by_mpmath(lambda z, K=K: f(z) * (z**2 / K - 1) / (2 * K), mp.mpf(K), kinks),
                by_mpmath(
                    lambda z, K=K: f(z) * (z**4 / K**2 - 6 * z**2 / K + 3) / (4 * K**2),
                    mp.mpf(K),
                    kinks,
                ),
            ]
        for order, (function, want) in enumerate(zip(functions, wanted, strict=True)):
            size = float(wanted[0]) / K**order  # what the rate is made of
            got = float(function(jnp.asarray(K)))
            # Derivatives of F cancel over a wide Gaussian: the rates lose digits like K.
            tolerance = 1e-12 if K < 10 or order == 0 else 1e-7
            assert abs(got - float(want)) < tolerance * max(abs(float(want)), 1e-3 * size), order


def test_slope_of_a_kinked_slope():
    # d<s'^2>/dK of SELU: s'^2 jumps at 0, so K d/dK goes like <|z|>, without a delta function.
    selu = activation("selu")
    slope = ActivationProduct(selu, (1, 1))
    scale, alpha = selu.scale, selu.alpha
    K = 0.7
    with mp.workdps(20):
        negative = mp.quad(
            lambda z: mp.exp(2 * z) * (z**2 / K - 1) / (2 * K) * mp.npdf(z, 0, mp.sqrt(K)),
            [-12, -1, 0],
        )
    # On z > 0 the slope is constant and its He_2 moment vanishes.
    want = scale**2 * alpha**2 * float(negative)
    assert float(jax.grad(lambda K: single_moment(slope, K))(K)) == pytest.approx(want, rel=1e-12)


def test_step_and_its_delta():
    step = activation("perceptron")
    assert float(single_moment(step, 2.0)) == pytest.approx(0.5, rel=1e-14)
    shifted = lambda z: jnp.where(z > 0.4, 1.0, 0.0)  # noqa: E731
    value = lambda K: single_moment(shifted, K, kinks=(0.4,))  # noqa: E731
    for K in (0.05, 1.0, 30.0):
        v = 0.4 / np.sqrt(K)
        assert float(value(K)) == pytest.approx(float(mp.ncdf(-v)), rel=1e-12)
        want = v / (2 * K) * float(mp.npdf(v))
        assert float(jax.grad(value)(K)) == pytest.approx(want, rel=1e-12)


def test_zero_variance_is_the_value_at_zero():
    for F, kinks in ((jnp.cos, ()), (jax.nn.elu, (0.0,)), (lambda z: jnp.abs(z - 1), (1.0,))):
        want = float(F(jnp.zeros(())))
        assert float(single_moment(F, 0.0, kinks)) == pytest.approx(want, rel=1e-15)
        assert np.isfinite(float(jax.grad(lambda K, F=F, k=kinks: single_moment(F, K, k))(0.0)))
    assert float(jax.grad(lambda K: single_moment(jnp.cos, K))(0.0)) == -0.5


@settings(max_examples=20)
@given(st.lists(st.floats(0, 1e3), min_size=1, max_size=5))
def test_moments_of_cosine(variances):
    K = jnp.asarray(variances)
    np.testing.assert_allclose(single_moment(jnp.cos, K), jnp.exp(-K / 2), atol=1e-13)


def test_transformations_and_shapes():
    K = jnp.asarray([[0.1, 2.0], [30.0, 0.0]])
    values = single_moment(jnp.tanh, K)
    assert values.shape == (2, 2)
    square = ActivationProduct(activation("tanh"), (0, 0))
    f = lambda K: single_moment(square, K)  # noqa: E731
    np.testing.assert_allclose(jax.jit(f)(K), f(K), rtol=1e-14)
    np.testing.assert_allclose(jax.vmap(f)(K), f(K), rtol=1e-13)
    np.testing.assert_allclose(jax.vmap(jax.vmap(f))(K), f(K), rtol=1e-13)
    reverse = jax.grad(lambda K: jnp.sum(f(K) * K))(K)
    forward = jax.jacfwd(lambda K: jnp.sum(f(K) * K))(K)
    np.testing.assert_allclose(reverse, forward, rtol=1e-13)


def test_called_from_single_precision():
    with jax.enable_x64(False):
        value = single_moment(jnp.cos, 2.0)
    assert value.dtype == np.float64
    assert float(value) == pytest.approx(np.exp(-1), rel=1e-14)


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf, [1.0, -1e-3]])
def test_bad_variances(bad):
    with pytest.raises(ValueError, match="wanted finite variances >= 0, got"):
        single_moment(jnp.tanh, bad)


def test_bad_function():
    with pytest.raises(TypeError, match="wanted an elementwise JAX function"):
        single_moment("tanh", 1.0)
