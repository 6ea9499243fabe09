"""Gaussian integrals and Wick's theorem: PDLT section 1.1, by other roads."""

from collections import Counter
from math import factorial, prod

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finitewidth.gaussian.covariance import check_covariance, principal_axes, square_root
from finitewidth.gaussian.wick import (
    generating_function,
    log_partition_function,
    number_of_pairings,
    pairings,
    wick_moment,
    wick_tensor,
)

K3 = np.array([[1.2, 0.3, -0.4], [0.3, 0.9, 0.2], [-0.4, 0.2, 0.7]])


def covariance(seed: int, variables: int, rank: int | None = None) -> np.ndarray:
    root = np.random.default_rng(seed).normal(size=(variables, rank or variables))
    return root @ root.T


def by_enumeration(K, indices) -> float:
    return sum(prod(K[indices[a], indices[b]] for a, b in p) for p in pairings(len(indices)))


@pytest.mark.parametrize(("points", "count"), [(2, 1), (4, 3), (6, 15), (8, 105)])
def test_number_of_pairings(points, count):
    found = list(pairings(points))
    assert len(found) == number_of_pairings(points) == count
    assert len(set(found)) == count
    for pairing in found:
        assert sorted(slot for pair in pairing for slot in pair) == list(range(points))
    m = points // 2
    assert count == factorial(points) // (2**m * factorial(m))


def test_an_odd_number_of_points_has_no_pairing():
    assert list(pairings(3)) == [] and number_of_pairings(3) == 0
    assert list(pairings(0)) == [()] and number_of_pairings(0) == 1


def test_the_fifteen_printed_terms_of_the_six_point_moment():
    """The sum for six points under PDLT (1.45), in the order and with the indices of the page."""
    printed = (
        "12 34 56, 13 24 56, 14 23 56, 12 35 46, 13 25 46, 15 23 46, 12 54 36, 15 24 36,"
        "14 25 36, 15 34 26, 13 54 26, 14 53 26, 52 34 16, 53 24 16, 54 23 16"
    )
    terms = [
        tuple(sorted(tuple(sorted((int(i) - 1, int(j) - 1))) for i, j in term.split()))
        for term in printed.split(",")
    ]
    assert len(terms) == len(set(terms)) == 15
    assert set(terms) == {tuple(sorted(p)) for p in pairings(6)}


def test_the_eight_point_moment_splits_as_9_72_24():
    """PDLT (1.75): two external pairs against four legs of a vertex (slots 4 to 7)."""
    bridges = Counter(sum((a < 4) != (b < 4) for a, b in pairing) for pairing in pairings(8))
    assert bridges == {0: 9, 2: 72, 4: 24}


def test_one_variable_moments_are_double_factorials():
    for m in range(1, 8):
        expected = number_of_pairings(2 * m) * 0.7**m
        np.testing.assert_allclose(wick_moment([[0.7]], (0,) * 2 * m), expected, rtol=1e-14)


def test_six_points_of_three_variables_in_closed_form():
    """<z0^2 z1^2 z2^2>: one disconnected term, three of weight 2, one loop of weight 8."""
    a, b, c = K3[0, 0], K3[1, 1], K3[2, 2]
    x, y, z = K3[0, 1], K3[0, 2], K3[1, 2]
    closed = a * b * c + 2 * (a * z**2 + b * y**2 + c * x**2) + 8 * x * y * z
    np.testing.assert_allclose(wick_moment(K3, (0, 0, 1, 1, 2, 2)), closed, rtol=1e-14)


def test_moments_are_derivatives_of_the_generating_function():
    """PDLT (1.41): <z_0^2 z_1 z_2> from four derivatives with respect to the source."""
    derivative = generating_function
    for _ in range(4):
        derivative = jax.jacfwd(derivative, argnums=1)
    fourth = derivative(jnp.asarray(K3), jnp.zeros(3))
    np.testing.assert_allclose(fourth, wick_tensor(K3, 4), atol=1e-14)


def test_a_moment_by_quadrature():
    nodes, weights = np.polynomial.hermite_e.hermegauss(10)
    weights = weights / weights.sum()
    root = np.linalg.cholesky(K3)
    u = np.stack(np.meshgrid(nodes, nodes, nodes, indexing="ij"), axis=-1)
    z = u @ root.T
    w = np.einsum("i,j,k->ijk", weights, weights, weights)
    by_quadrature = (w * z[..., 0] ** 3 * z[..., 1] ** 2 * z[..., 2] ** 3).sum()
    np.testing.assert_allclose(wick_moment(K3, (0,) * 3 + (1,) * 2 + (2,) * 3), by_quadrature)


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.lists(st.integers(0, 2), max_size=8), st.randoms())
def test_memory_agrees_with_enumeration_and_order_does_not_matter(seed, indices, random):
    K = covariance(seed, 3)
    value = float(wick_moment(K, indices))
    np.testing.assert_allclose(value, by_enumeration(K, indices), rtol=1e-12, atol=1e-12)
    shuffled = list(indices)
    random.shuffle(shuffled)
    np.testing.assert_allclose(wick_moment(K, shuffled), value, rtol=1e-12, atol=1e-12)


@settings(max_examples=15)
@given(st.integers(0, 10**6), st.floats(0.1, 3.0), st.integers(1, 4))
def test_scaling(seed, scale, m):
    """Under z -> s z the moment of 2m variables grows as s^(2m)."""
    K = covariance(seed, 2)
    indices = [0, 1] * m
    np.testing.assert_allclose(
        wick_moment(scale**2 * K, indices), scale ** (2 * m) * wick_moment(K, indices), rtol=1e-11
    )


@pytest.mark.parametrize("order", [0, 1, 2, 3, 4, 6])
def test_tensor_holds_the_moments_and_is_symmetric(order):
    tensor = np.asarray(wick_tensor(K3, order))
    assert tensor.shape == (3,) * order
    for index in list(np.ndindex(*tensor.shape))[::7]:
        np.testing.assert_allclose(tensor[index], wick_moment(K3, index), rtol=1e-13, atol=1e-15)
    for axis in range(1, order):
        np.testing.assert_allclose(np.swapaxes(tensor, 0, axis), tensor, rtol=1e-13, atol=1e-15)


def test_many_points_are_cheap():
    """40 points: 3e23 pairings, but 21 * 21 states."""
    x = 0.3
    value = wick_moment([[1.0, x], [x, 1.0]], [0] * 20 + [1] * 20)
    # <z1^20 z2^20> by the Hermite expansion of z^20: sum_k x^k c_k^2 k!
    coefficients = [
        factorial(20) // (2 ** ((20 - k) // 2) * factorial((20 - k) // 2) * factorial(k))
        if k % 2 == 0
        else 0
        for k in range(21)
    ]
    expected = sum(x**k * c**2 * factorial(k) for k, c in enumerate(coefficients))
    np.testing.assert_allclose(value, expected, rtol=1e-13)


def test_leading_axes_and_derivatives():
    stack = np.stack([K3, 2 * K3])
    np.testing.assert_allclose(
        wick_moment(stack, (0, 0, 1, 1)), [wick_moment(K, (0, 0, 1, 1)) for K in stack]
    )
    gradient = jax.grad(lambda K: wick_moment(K, (0, 0, 1, 2)))(jnp.asarray(K3))
    # K00 K12 + 2 K01 K02; entries above the diagonal are the ones that are read.
    assert float(gradient[0, 0]) == pytest.approx(K3[1, 2])
    assert float(gradient[0, 1]) == pytest.approx(2 * K3[0, 2])


def test_partition_function():
    """PDLT (1.30), (1.41) against the trapezoid rule in two dimensions."""
    K, J = K3[:2, :2], np.array([0.4, -0.7])
    axis = np.linspace(-12, 12, 481)
    z = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1)
    weight = np.exp(-np.einsum("ijm,ijn,mn->ij", z, z, np.linalg.inv(K)) / 2)
    area = (axis[1] - axis[0]) ** 2
    np.testing.assert_allclose(log_partition_function(K), np.log(weight.sum() * area), rtol=1e-12)
    with_source = (weight * np.exp(z @ J)).sum() * area
    np.testing.assert_allclose(log_partition_function(K, J), np.log(with_source), rtol=1e-12)
    np.testing.assert_allclose(
        generating_function(K, J), with_source / (weight.sum() * area), rtol=1e-12
    )


def test_singular_covariance():
    K = np.ones((2, 2))
    assert float(log_partition_function(K)) == -np.inf
    assert float(generating_function(K, [1.0, 1.0])) == pytest.approx(np.exp(2.0))
    assert float(wick_moment(K, (0, 0, 1, 1))) == 3.0
    assert square_root(K).shape == (2, 1)
    assert square_root(np.zeros((2, 2))).shape == (2, 0)


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 4))
def test_root_and_axes(seed, variables, rank):
    K = covariance(seed, variables, rank)
    root = np.asarray(square_root(K))
    assert root.shape[1] <= min(rank, variables)
    np.testing.assert_allclose(root @ root.T, K, atol=1e-10 * np.abs(K).max())
    axes = principal_axes(K)
    rotation = np.asarray(axes.rotation)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(variables), atol=1e-12)
    np.testing.assert_allclose(
        rotation @ K @ rotation.T, np.diag(axes.variances), atol=1e-10 * np.abs(K).max()
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: wick_moment([[1.0, 0.0]], (0,)), "wanted a matrix of shape"),
        (lambda: wick_moment([[np.nan]], (0, 0)), "wanted finite"),
        (lambda: wick_moment([[1.0, 0.5], [0.2, 1.0]], (0, 0)), "wanted a symmetric matrix"),
        (lambda: wick_moment([[-1.0]], (0, 0)), "no negative eigenvalues, got one of -1"),
        (lambda: wick_moment([[1.0]], (0, 1)), "wanted numbers from 0 to 0.*got 1"),
        (lambda: wick_moment([[1.0]], (-1, 0)), "indices: wanted at least 0, got -1"),
        (lambda: wick_tensor([[1.0]], -2), "order: wanted at least 0, got -2"),
        (lambda: generating_function([[1.0]], [1.0, 2.0]), "J: wanted shape"),
        (lambda: check_covariance(np.zeros((0, 0))), "wanted a matrix of shape"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_results_are_double_for_a_caller_in_single_precision():
    with jax.enable_x64(False):
        assert wick_moment([[1.0]], (0, 0)).dtype == np.float64
        assert wick_tensor([[1.0]], 2).dtype == np.float64
        assert log_partition_function([[1.0]]).dtype == np.float64
