"""The double-scaling limit and its corrections, PDLT (3.48) to (3.57)."""

import numpy as np
import pytest

from finitewidth.flow import linear


@pytest.mark.parametrize(("m", "coefficient"), [(2, 2), (3, 12), (4, 128), (5, 2000)])
def test_leading_coefficients_of_the_connected_correlators(m, coefficient):
    r = 1e-4
    limit = linear.scaling_connected(r, m)
    np.testing.assert_allclose(limit / r ** (m - 1), coefficient, rtol=2e-3)
    assert m ** (m - 2) * 2 ** (m - 1) == coefficient
    # And so at finite width: L/n = r with many neurons.
    n, hidden = 10**6, 100
    widths = (1,) + (n,) * hidden + (1,)
    K = linear.connected(widths, 1.0, 1.0, m)[-1]
    # K_2m differs from its depth-leading form by 1/L.
    np.testing.assert_allclose(K / r ** (m - 1), coefficient, rtol=0.05)
    np.testing.assert_allclose(linear.leading_connected(widths, 1.0, 1.0, m)[-1] / r ** (m - 1),
                               coefficient, rtol=1e-9)  # fmt: skip


def test_connected_limits_as_printed():
    r = 0.3
    e = np.exp
    np.testing.assert_allclose(linear.scaling_connected(r, 2), e(2 * r) - 1)
    np.testing.assert_allclose(linear.scaling_connected(r, 3), e(6 * r) - 3 * e(2 * r) + 2)
    np.testing.assert_allclose(
        linear.scaling_connected(r, 4),
        e(12 * r) - 4 * e(6 * r) - 3 * e(4 * r) + 12 * e(2 * r) - 6,
    )


def test_the_error_of_the_limit_is_the_stated_one_over_n():
    # G_2m/G_2^m = e^(m(m-1) r) [1 - r m(m-1)(2m-1)/(3n)] + O(1/n^2)
    r = 0.25
    for m in (2, 3, 4):
        errors = []
        for n in (400, 800, 1600):
            hidden = int(r * n)
            G = linear.correlator((1,) + (n,) * hidden + (1,), 1.0, 1.0, m)[-1]
            errors.append((G / linear.scaling_correlator(r, m) - 1) * n)
        stated = -r * m * (m - 1) * (2 * m - 1) / 3
        np.testing.assert_allclose(errors[-1], stated, rtol=0.02)
        gaps = np.abs(np.array(errors) - stated)
        assert (gaps[1:] < 0.6 * gaps[:-1]).all()


def test_the_limits_do_not_commute():
    n_first = linear.connected((1, 10**9, 10**9, 1), 1.0, 1.0, 2)[-1]
    L_first = linear.log_correlator((1,) + (10,) * 5000 + (1,), 1.0, 1.0, 2)[-1]
    assert n_first < 1e-8 and L_first > 800


def test_chaos_when_the_relative_variance_is_one():
    r = np.log(2) / 2
    np.testing.assert_allclose(r, 0.3466, atol=5e-5)
    np.testing.assert_allclose(linear.scaling_connected(r, 2), 1.0, rtol=1e-15)


def test_connected_graphs_are_counted():
    # 1, 1, 4, 38, 728, 26704 connected labelled graphs, and m^(m-2) trees.
    totals = [sum(linear.connected_graphs(m)) for m in range(1, 7)]
    assert totals == [1, 1, 4, 38, 728, 26704]
    assert [linear.connected_graphs(m)[m - 1] for m in (2, 3, 4, 5, 6)] == [1, 3, 16, 125, 1296]


def test_connected_limit_is_that_of_the_networks():
    r, n = 0.4, 2000
    widths = (1,) + (n,) * int(r * n) + (1,)
    for m in (2, 3, 4):
        K = linear.connected(widths, 1.0, 1.0, m)[-1]
        np.testing.assert_allclose(K, linear.scaling_connected(r, m), rtol=0.02)
