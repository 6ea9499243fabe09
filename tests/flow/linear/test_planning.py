"""Depths and ensemble sizes."""

import numpy as np
import pytest

from finitewidth.flow import linear


@pytest.mark.parametrize(("n", "std"), [(1, 0.5), (10, 0.5), (100, 0.2), (3, 2.0), (1000, 1.0)])
def test_max_depth_is_the_last_that_holds(n, std):
    L = linear.max_depth(n, std)
    last = np.array([(1 + 2 / n) ** (depth - 1) - 1 for depth in (L, L + 1)])
    assert last[0] <= std**2 < last[1]
    K4 = linear.connected((1,) + (n,) * L + (1,), 1.0, 1.0, 2)
    np.testing.assert_allclose(K4[L - 1], last[0], rtol=1e-10)


def test_a_bound_that_is_met_exactly_counts():
    assert linear.max_depth(2, 1.0) == 2
    assert linear.max_depth(8, np.sqrt(1.25**3 - 1)) == 4


def test_the_neuron_estimator_pays_for_its_pairings():
    # (4m-1)!!/((2m-1)!!)^2 e^(2 m^2 r) for the relative second moment
    r, n = 0.2, 4000
    widths = (1,) + (n,) * int(r * n) + (1,)
    for m, pairs in ((1, 3), (2, 105 / 9), (3, 10395 / 225)):
        second = linear.networks_needed(widths, m, 1.0, "neuron") + 1
        np.testing.assert_allclose(second, pairs * np.exp(2 * m**2 * r), rtol=0.02, atol=1)
        metric = linear.networks_needed(widths, m, 1e-3) * 1e-6 + 1
        np.testing.assert_allclose(metric, np.exp(2 * m**2 * r), rtol=0.02)


def test_the_promised_error_is_the_error():
    widths, m = (1, 20, 30, 1), 2
    R = int(linear.networks_needed(widths, m, 0.05))
    S = linear.metric_law(widths, 1.0, 1.0).sample(R * 400, 3).reshape(400, R)
    means = (S**m).mean(axis=1) / linear.correlator(widths, 1.0, 1.0, m)[-1]
    # The standard deviation of 400 means is known to 1/sqrt(800), 3.5 %, more with heavy tails.
    np.testing.assert_allclose(means.std(), 0.05, rtol=0.15)


def test_deep_networks_cannot_be_averaged():
    assert linear.networks_needed((1,) + (5,) * 3000 + (1,), 4, 0.1) == np.inf


def test_wrong_arguments():
    with pytest.raises(ValueError, match="relative_std: wanted"):
        linear.max_depth(10, 0.0)
    with pytest.raises(ValueError, match="relative_error: wanted"):
        linear.networks_needed((1, 2, 1), 1, -1.0)
    with pytest.raises(ValueError, match="estimator: wanted"):
        linear.networks_needed((1, 2, 1), 1, 0.1, "output")
