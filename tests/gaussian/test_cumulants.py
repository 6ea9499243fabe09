"""Moments, cumulants and measured correlators: PDLT section 1.2."""

from collections import Counter
from math import factorial

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finitewidth.gaussian.correlators import connected_correlator, correlator, excess_kurtosis
from finitewidth.gaussian.cumulants import (
    cumulants_to_moments,
    joint_cumulant,
    joint_cumulants_to_moments,
    joint_moments_to_cumulants,
    moments_to_cumulants,
    scale_mixture_cumulants,
    set_partitions,
)
from finitewidth.gaussian.wick import wick_moment, wick_tensor

K2 = np.array([[1.3, -0.4], [-0.4, 0.8]])


@pytest.mark.parametrize(("size", "bell"), [(1, 1), (2, 2), (3, 5), (4, 15), (6, 203)])
def test_bell_numbers(size, bell):
    found = [tuple(sorted(p)) for p in set_partitions(range(size))]
    assert len(found) == len(set(found)) == bell


def test_fifteen_and_fifteen_subdivisions_of_six():
    """PDLT (1.60): 15 ways to split six as (4, 2), 15 ways as (2, 2, 2)."""
    shapes = Counter(tuple(sorted(map(len, p), reverse=True)) for p in set_partitions(range(6)))
    assert shapes[4, 2] == 15 and shapes[2, 2, 2] == 15 and shapes[6,] == 1
    eight = Counter(tuple(sorted(map(len, p), reverse=True)) for p in set_partitions(range(8)))
    assert [eight[s] for s in [(6, 2), (4, 4), (4, 2, 2), (2, 2, 2, 2)]] == [28, 35, 210, 105]


def test_even_laws_in_closed_form():
    """kappa of 4, 6 and 8 points for mu_2 = a, mu_4 = b, ..., with the printed counts."""
    a, b, c, d = 1.1, 2.3, 9.7, 61.0
    kappa = moments_to_cumulants([0, a, 0, b, 0, c, 0, d])
    np.testing.assert_allclose(kappa[3], b - 3 * a**2, rtol=1e-13)
    np.testing.assert_allclose(kappa[5], c - 15 * b * a + 30 * a**3, rtol=1e-13)
    np.testing.assert_allclose(
        kappa[7], d - 28 * c * a - 35 * b**2 + 2 * 210 * b * a**2 - 6 * 105 * a**4, rtol=1e-13
    )


@pytest.mark.parametrize("indices", [(0,) * 4, (0, 0, 1, 1), (0, 1) * 3, (0, 0, 0, 1), (0, 1) * 4])
def test_gaussian_connected_correlators_vanish(indices):
    """PDLT (1.55), through Wick and the recursion over subsets."""
    value = joint_cumulant(lambda labels: float(wick_moment(K2, labels)), indices)
    assert abs(value) < 1e-13 * abs(float(wick_moment(K2, indices))) * len(indices) ** 2
    # with integers in the covariance there is no rounding: the zero is exact
    K = [[2.0, 1.0], [1.0, 3.0]]
    assert joint_cumulant(lambda labels: float(wick_moment(K, labels)), indices) == 0.0
    assert joint_cumulant(lambda labels: float(wick_moment(K, labels)), (0, 1)) == 1.0


def test_gaussian_cumulant_tensors_vanish_beyond_the_second():
    moments = [wick_tensor(K2, order) for order in range(1, 7)]
    cumulants = joint_moments_to_cumulants(moments)
    np.testing.assert_allclose(cumulants[1], K2, rtol=1e-14)
    for order in (1, 3, 4, 5, 6):
        np.testing.assert_allclose(cumulants[order - 1], 0.0, atol=1e-13)


@settings(max_examples=30)
@given(st.lists(st.floats(-2, 2), min_size=1, max_size=7))
def test_scalar_round_trip(cumulants):
    there = cumulants_to_moments(cumulants)
    back = moments_to_cumulants(there)
    np.testing.assert_allclose(back, cumulants, atol=1e-12 * (1 + float(abs(there).max())))


@settings(max_examples=15)
@given(st.integers(0, 10**6), st.integers(1, 3), st.integers(1, 4))
def test_joint_round_trip(seed, variables, order):
    """Moments of a real (discrete) law -> cumulants -> moments."""
    points = np.random.default_rng(seed).normal(size=(5, variables))
    moments = []
    product = np.ones(5)
    for _ in range(order):
        product = np.einsum("r...,ra->r...a", product, points)
        moments.append(product.mean(axis=0))
    cumulants = joint_moments_to_cumulants(moments)
    for back, moment in zip(joint_cumulants_to_moments(cumulants), moments, strict=True):
        np.testing.assert_allclose(back, moment, atol=1e-12 * (1 + np.abs(moment).max()))

    # the third road: recursion over subsets, from the same law
    indices = tuple(k % variables for k in range(order))
    by_subsets = joint_cumulant(
        lambda labels: np.prod(points[:, list(labels)], axis=1).mean(), indices
    )
    np.testing.assert_allclose(by_subsets, cumulants[order - 1][indices], atol=1e-11)
    if variables == 1:
        scalar = moments_to_cumulants([float(m.reshape(-1)[0]) for m in moments])
        np.testing.assert_allclose(scalar[-1], by_subsets, atol=1e-11)


def test_cumulants_add_for_independent_sums_and_ignore_shifts():
    exponential = [float(factorial(m)) for m in range(1, 7)]
    kappa = moments_to_cumulants(exponential)
    np.testing.assert_allclose(kappa, [factorial(m - 1) for m in range(1, 7)], rtol=1e-12)
    gamma3 = [float(factorial(m + 2) / 2) for m in range(1, 7)]  # sum of three exponentials
    np.testing.assert_allclose(moments_to_cumulants(gamma3), 3 * kappa, rtol=1e-9)


def test_batch_axis():
    mu = np.array([[0.0, 1.0, 0.0, 3.0], [1.0, 2.0, 6.0, 24.0]])
    np.testing.assert_allclose(moments_to_cumulants(mu), [[0, 1, 0, 0], [1, 1, 2, 6]], atol=1e-13)


def test_scale_mixture():
    """S of a linear network, one hidden layer of width n: S = chi^2_n / n, kappa_4(z) = 6 / n."""
    n = 5
    scale = [1.0, 1 + 2 / n, (1 + 2 / n) * (1 + 4 / n)]
    even = scale_mixture_cumulants(scale)
    z_moments = [0, scale[0], 0, 3 * scale[1], 0, 15 * scale[2]]
    np.testing.assert_allclose(even, moments_to_cumulants(z_moments)[1::2], rtol=1e-12)
    np.testing.assert_allclose(even[1], 3 * 2 / n)


def test_scale_mixture_tensor():
    """The full connected tensor is the sum over pairings times kappa_m(S)."""
    variables, n = 2, 4
    scale = [1.0, 1 + 2 / n, (1 + 2 / n) * (1 + 4 / n)]
    pairings_tensor = [wick_tensor(np.eye(variables), order) for order in range(1, 7)]
    moments = [
        tensor * (scale[order // 2 - 1] if order % 2 == 0 else 0.0)
        for order, tensor in enumerate(pairings_tensor, start=1)
    ]
    cumulants = joint_moments_to_cumulants(moments)
    kappa = moments_to_cumulants(scale)
    for m in (1, 2, 3):
        np.testing.assert_allclose(
            cumulants[2 * m - 1], kappa[m - 1] * pairings_tensor[2 * m - 1], atol=1e-12
        )


def test_measured_correlators_have_honest_errors():
    """Repeat the measurement 200 times: z-scores of rms 1, value without bias."""
    n, runs, draws = 6, 200, 600
    rng = np.random.default_rng(3)
    scale = rng.chisquare(n, size=(runs, draws, 1)) / n
    z = np.sqrt(scale) * rng.normal(size=(runs, draws, 2))
    for indices, truth, even in [
        ((0, 0, 1, 1), 2 / n, True),
        ((0, 0, 1, 1), 2 / n, False),
        ((0, 0), 1.0, False),
    ]:
        found = [connected_correlator(run, indices, blocks=30, even=even) for run in z]
        scores = np.array([(m.value - truth) / m.standard_error for m in found])
        # heavy tails: the scatter against the true errors, and the mean error against the scatter
        values = np.array([m.value for m in found])
        assert abs(values.mean() - truth) < 4 * values.std() / np.sqrt(runs)
        typical = np.sqrt(np.mean([m.standard_error**2 for m in found]))
        assert 0.8 < typical / values.std() < 1.25
        assert 0.8 < np.sqrt((scores**2).mean()) < 1.35
    raw = [correlator(run, (0, 0, 1, 1), blocks=30) for run in z]
    values = np.array([m.value for m in raw])
    assert abs(values.mean() - (1 + 2 / n)) < 4 * values.std() / np.sqrt(runs)


def test_measured_mean_is_the_plain_one():
    data = np.random.default_rng(0).normal(size=(101, 2))
    found = correlator(data, (1,), blocks=101)
    assert found.value == pytest.approx(data[:, 1].mean(), abs=1e-13)
    assert found.standard_error == pytest.approx(data[:, 1].std(ddof=1) / np.sqrt(101), rel=1e-10)
    variance = connected_correlator(data, (1, 1), blocks=101)
    # the jackknife turns the plug-in variance into the unbiased one
    assert variance.value == pytest.approx(data[:, 1].var(ddof=1), rel=1e-12)
    assert "+-" in repr(variance)


def test_connected_correlators_ignore_a_large_mean():
    data = np.random.default_rng(1).normal(size=(2000, 2))
    near = connected_correlator(data, (0, 0, 1, 1))
    far = connected_correlator(data + 1e4, (0, 0, 1, 1))
    assert far.value == pytest.approx(near.value, abs=1e-8)


def test_excess_kurtosis_of_a_uniform_law():
    data = np.random.default_rng(2).uniform(-1, 1, size=20_000)
    for even in (True, False):
        found = excess_kurtosis(data, even=even)
        assert abs(found.value + 1.2) < 4 * found.standard_error
        assert found.standard_error < 0.02


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: moments_to_cumulants(1.0), "wanted orders 1 to M"),
        (lambda: cumulants_to_moments([]), "wanted orders 1 to M"),
        (lambda: joint_moments_to_cumulants([]), "wanted tensors of order 1 to M, got none"),
        (lambda: joint_moments_to_cumulants([[0.0], [1.0]]), r"wanted shape \(1, 1\) at order 2"),
        (lambda: joint_cumulants_to_moments([0.0]), "at order 1"),
        (lambda: joint_cumulant(lambda labels: 1.0, ()), "wanted at least one variable"),
        (lambda: correlator([1.0, 2.0], (0,)), r"wanted a matrix of shape \(R draws"),
        (lambda: correlator([[1.0]] * 60, (1,)), "wanted numbers from 0 to 0, got 1"),
        (lambda: correlator([[1.0]] * 60, ()), "wanted at least one variable"),
        (lambda: correlator([[np.inf]] * 60, (0,)), "wanted finite"),
        (lambda: correlator([[1.0]] * 9, (0,)), r"per jackknife block \(50\), got 9"),
        (lambda: excess_kurtosis([[1.0]]), r"wanted a vector of shape \(R,\)"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_results_are_double_for_a_caller_in_single_precision():
    with jax.enable_x64(False):
        assert moments_to_cumulants([0.0, 1.0]).dtype == np.float64
        assert joint_moments_to_cumulants([[0.0], [[1.0]]])[1].dtype == np.float64
