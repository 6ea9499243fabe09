"""Gaussian expectations of any function against closed forms and other quadratures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from finitewidth.gaussian.expectation import gaussian_expectation
from finitewidth.gaussian.wick import wick_moment, wick_tensor

K2 = np.array([[1.3, -0.4], [-0.4, 0.8]])
K3 = np.array([[1.2, 0.3, -0.4], [0.3, 0.9, 0.2], [-0.4, 0.2, 0.7]])


def correlated(variables: int) -> np.ndarray:
    """0.5 everywhere and 1 on the diagonal."""
    return 0.5 + 0.5 * np.eye(variables)


@pytest.mark.parametrize("K", [0.01, 1.0, 10.0])
def test_one_variable_against_scipy(K):
    found = gaussian_expectation(lambda z: jnp.tanh(z[0]) ** 2, [[K]])
    density = lambda z: np.tanh(z) ** 2 * np.exp(-(z**2) / (2 * K)) / np.sqrt(2 * np.pi * K)  # noqa: E731
    expected = quad(density, -40, 40, points=[0], epsabs=1e-13, limit=500)[0]
    np.testing.assert_allclose(found.value, expected, rtol=1e-11)
    assert abs(float(found.value) - expected) < float(found.error) + 1e-12
    assert found.method == "trapezoid"


def test_characteristic_function_in_one_to_three_variables():
    for K, J in [(K3[:1, :1], [0.7]), (K2, [0.4, -1.0]), (K3, [0.5, 0.2, -0.6])]:
        J = jnp.asarray(J)
        found = gaussian_expectation(lambda z, J=J: jnp.stack([jnp.cos(J @ z), jnp.exp(J @ z)]), K)
        exponent = float(J @ K @ J) / 2
        np.testing.assert_allclose(found.value, np.exp([-exponent, exponent]), rtol=1e-13)
        assert (found.error < 1e-11).all()


def test_any_output_shape():
    found = gaussian_expectation(
        lambda z: z[:, None, None, None] * z[:, None, None] * z[:, None] * z, K2
    )
    assert found.value.shape == found.error.shape == (2, 2, 2, 2)
    np.testing.assert_allclose(found.value, wick_tensor(K2, 4), atol=1e-13)


@settings(max_examples=10)
@given(st.integers(0, 10**6), st.lists(st.integers(0, 1), min_size=1, max_size=8))
def test_polynomials_are_moments(seed, indices):
    root = np.random.default_rng(seed).normal(size=(2, 2))
    K = root @ root.T
    found = gaussian_expectation(lambda z: jnp.prod(z[jnp.array(indices)]), K)
    expected = float(wick_moment(K, indices))
    assert abs(float(found.value) - expected) <= 3 * float(found.error) + 1e-12 * abs(expected)
    assert float(found.error) < 1e-10 * (1 + np.abs(K).max() ** (len(indices) / 2)) * 1e3


def test_singular_covariances_cost_one_dimension_less():
    """Two equal inputs, two opposite ones, a zero input, nothing at all."""
    one = gaussian_expectation(lambda z: jnp.tanh(z[0]) ** 2, [[0.7]])
    for K, sign in [([[0.7, 0.7], [0.7, 0.7]], 1), ([[0.7, -0.7], [-0.7, 0.7]], -1)]:
        two = gaussian_expectation(lambda z: jnp.tanh(z[0]) * jnp.tanh(z[1]), K)
        np.testing.assert_allclose(two.value, sign * one.value, rtol=1e-13)
        assert two.points == one.points
    zero = gaussian_expectation(lambda z: jnp.cosh(z[0]) + z[1], [[0.0, 0.0], [0.0, 1.0]])
    np.testing.assert_allclose(zero.value, 1.0, rtol=1e-13)
    nothing = gaussian_expectation(lambda z: jnp.exp(z) + 2, np.zeros((2, 2)))
    assert nothing.value.tolist() == [3.0, 3.0] and nothing.points == 1


def test_the_error_of_a_kinked_function_is_honest():
    """<relu relu> has a closed form (arc cosine kernel); the grid error falls as a power only."""
    x = 0.3
    expected = (np.sqrt(1 - x**2) + (np.pi - np.arccos(x)) * x) / (2 * np.pi)
    relu = lambda z: jnp.maximum(z, 0.0)  # noqa: E731
    found = gaussian_expectation(
        lambda z: relu(z[0]) * relu(z[1]), [[1.0, x], [x, 1.0]], max_points=400_000
    )
    difference = abs(float(found.value) - expected)
    assert difference < float(found.error) < 1e-3
    step = gaussian_expectation(lambda z: jnp.where(z[0] > 0.1, 1.0, 0.0), [[1.0]])
    truth = 0.46017216272297101  # Phi(-0.1)
    assert abs(float(step.value) - truth) < float(step.error) < 1e-4


def test_a_function_that_outgrows_the_grid_is_reported():
    """<exp(0.49 z^2)>_1 = 0.02^(-1/2); its integrand is far from zero at the end of the grid."""
    found = gaussian_expectation(lambda z: jnp.exp(0.49 * z[0] ** 2), [[1.0]])
    difference = abs(float(found.value) - 0.02**-0.5)
    assert difference > 0.1
    assert float(found.error) > 0.2 * difference


def test_sobol_in_many_variables():
    """<prod of signs of pairs> and <cos> of five variables, within the reported standard error."""
    K = correlated(5)
    J = jnp.full(5, 0.3)
    scores = []
    for seed in range(12):
        found = gaussian_expectation(
            lambda z: jnp.stack([jnp.cos(J @ z), z[0] ** 2 * z[4] ** 2]),
            K,
            sobol_points=2**13,
            seed=seed,
        )
        truth = np.array([np.exp(-float(J @ K @ J) / 2), 1 + 2 * 0.25])
        scores.append((np.asarray(found.value) - truth) / np.asarray(found.error))
        assert (np.abs(np.asarray(found.value) / truth - 1) < 3e-2).all()
    assert found.method == "sobol" and found.points == 2**13
    assert 0.6 < np.sqrt(np.mean(np.square(scores))) < 1.6  # 24 numbers
    assert abs(np.mean(scores)) < 1.0


def test_sobol_is_reproducible_and_better_than_plain_sampling():
    K = correlated(4)
    F = lambda z: jnp.tanh(z).prod()  # noqa: E731
    first, second = (gaussian_expectation(F, K, seed=7) for _ in range(2))
    assert float(first.value) == float(second.value)
    other = gaussian_expectation(F, K, seed=8)
    assert float(other.value) != float(first.value)
    spread = gaussian_expectation(lambda z: F(z) ** 2, K)
    plain = np.sqrt(float(spread.value) / first.points)
    assert float(first.error) < plain / 5
    assert abs(float(first.value - other.value)) < 5 * float(jnp.hypot(first.error, other.error))


def test_sobol_agrees_with_the_grid():
    """Four variables of rank three on the grid; four of rank four close to it by Sobol."""
    root = np.linalg.cholesky(correlated(4))[:, :3]
    F = lambda z: jnp.tanh(z).prod()  # noqa: E731
    grid = gaussian_expectation(F, root @ root.T, tolerance=1e-9)
    sobol = gaussian_expectation(F, root @ root.T + 1e-10 * np.eye(4))
    assert (grid.method, sobol.method) == ("trapezoid", "sobol")
    assert abs(float(grid.value - sobol.value)) < 4 * float(sobol.error)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: gaussian_expectation(jnp.sum, [[-1.0]]), ValueError, "no negative eigenvalues"),
        (lambda: gaussian_expectation(jnp.sum, [1.0]), ValueError, "wanted a matrix of shape"),
        (
            lambda: gaussian_expectation(jnp.sum, np.ones((2, 1, 1))),
            ValueError,
            "wanted one matrix",
        ),
        (lambda: gaussian_expectation(jnp.log, [[1.0]]), ValueError, "F: wanted finite values"),
        (
            lambda: gaussian_expectation(jnp.sum, np.eye(4), sobol_points=3),
            ValueError,
            "sobol_points: wanted at least 16, got 3",
        ),
        (
            lambda: jax.jit(lambda K: gaussian_expectation(jnp.sum, K))(jnp.eye(2)),
            TypeError,
            "outside jax.jit",
        ),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_results_are_double_for_a_caller_in_single_precision():
    with jax.enable_x64(False):
        found = gaussian_expectation(lambda z: z[0] ** 2, [[1.0]])
        assert found.value.dtype == found.error.dtype == np.float64
        np.testing.assert_allclose(found.value, 1.0, rtol=1e-14)
