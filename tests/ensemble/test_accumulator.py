"""Merged statistics are those of the whole, and error bars are the true spread of the estimate."""

import numpy as np
import pytest

from finitewidth.ensemble import CentralProducts, Moments, ProductSums


def some(networks=60, entries=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.exponential(size=(networks, entries)) @ rng.normal(size=(entries, entries)) + 5.0


def test_moments_of_a_batch_are_mean_and_spread():
    values = some()
    moments = Moments.of({"a": values}, np.ones(60))
    np.testing.assert_allclose(moments.mean["a"], values.mean(0), rtol=1e-14)
    np.testing.assert_allclose(moments.variance()["a"], values.var(0, ddof=1), rtol=1e-13)
    expected = values.std(0, ddof=1) / np.sqrt(60)
    np.testing.assert_allclose(moments.standard_error()["a"], expected, rtol=1e-13)


@pytest.mark.parametrize("cut", [1, 7, 30, 59])
def test_merging_two_parts_gives_the_whole(cut):
    values = some()
    parts = [Moments.of(part, np.ones(len(part))) for part in (values[:cut], values[cut:])]
    merged, whole = parts[0].merge(parts[1]), Moments.of(values, np.ones(60))
    assert merged.count == 60
    np.testing.assert_allclose(merged.mean, whole.mean, rtol=1e-14)
    np.testing.assert_allclose(merged.squares, whole.squares, rtol=1e-12)


def test_absent_networks_do_not_count():
    values = some()
    present = (np.arange(60) < 17).astype(float)
    np.testing.assert_allclose(Moments.of(values, present).mean, values[:17].mean(0), rtol=1e-14)
    covariance = ProductSums.of(values, present).covariance()
    np.testing.assert_allclose(covariance.value, np.cov(values[:17].T), rtol=1e-10)


def test_a_constant_has_exactly_no_spread():
    # 0.1 summed 60 times is not 6: distances from the first value are what makes this exact.
    moments = Moments.of(np.full(60, 0.1), np.ones(60))
    both = moments.merge(Moments.of(np.full(37, 0.1), np.ones(37)))
    assert both.mean == 0.1
    assert both.squares == 0.0


@pytest.mark.parametrize("shift", [0.0, 0.3, -40.0])
def test_covariance_does_not_depend_on_the_reference(shift):
    values = some()
    reference = values.mean(0) + shift
    left, right = (ProductSums.of(v - reference, np.ones(len(v))) for v in np.split(values, [23]))
    covariance = left.merge(right).covariance()
    centred = values - values.mean(0)
    products = centred[:, :, None] * centred[:, None, :]
    np.testing.assert_allclose(covariance.value, np.cov(values.T), rtol=1e-9)
    expected = products.std(0) / np.sqrt(59)
    np.testing.assert_allclose(covariance.standard_error, expected, rtol=1e-6)


def test_standard_error_of_a_covariance_is_its_spread_over_ensembles():
    errors, values = [], []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        d = rng.exponential(size=(400, 2))
        d[:, 1] += d[:, 0]
        covariance = ProductSums.of(d - 1.0, np.ones(400)).covariance()
        values.append(covariance.value)
        errors.append(covariance.standard_error)
    ratio = np.mean(np.square(errors), axis=0) / np.var(values, axis=0)
    # A variance over 400 ensembles is known to 7%; these data have heavy tails.
    np.testing.assert_allclose(ratio, 1.0, atol=0.3)


@pytest.mark.parametrize("cuts", [[1], [23], [2, 40, 41]])
def test_central_products_merge_to_those_of_the_whole(cuts):
    values = some()
    parts = [CentralProducts.of(part, np.ones(len(part))) for part in np.split(values, cuts)]
    merged = parts[0]
    for part in parts[1:]:
        merged = merged.merge(part)
    centred = values - values.mean(0)
    products = centred[:, :, None] * centred[:, None, :]
    np.testing.assert_allclose(merged.mean, values.mean(0), rtol=1e-14)
    np.testing.assert_allclose(
        merged.third, (centred[:, :, None] * products).sum(0), rtol=1e-9, atol=1e-9
    )
    np.testing.assert_allclose(merged.fourth, (products**2).sum(0), rtol=1e-11)
    covariance = merged.covariance()
    np.testing.assert_allclose(covariance.value, np.cov(values.T), rtol=1e-12)
    np.testing.assert_allclose(covariance.standard_error, products.std(0) / np.sqrt(59), rtol=1e-10)
    np.testing.assert_allclose(
        merged.standard_error(), values.std(0, ddof=1) / np.sqrt(60), rtol=1e-12
    )


def test_central_products_keep_digits_far_from_zero_and_constants_exact():
    values = 1e6 + 1e-3 * some()
    whole = CentralProducts.of(values[:31], np.ones(31)).merge(
        CentralProducts.of(values[31:], np.ones(29))
    )
    np.testing.assert_allclose(whole.covariance().value, np.cov(values.T), rtol=1e-5)
    same = CentralProducts.of(np.full((9, 1), 0.1), np.ones(9))
    both = same.merge(CentralProducts.of(np.full((5, 1), 0.1), np.ones(5)))
    assert float(both.mean[0]) == 0.1 and float(both.covariance().value[0, 0]) == 0.0


def test_central_products_of_no_network_add_nothing():
    values = some()
    none = CentralProducts.of(values, np.zeros(60))
    part = CentralProducts.of(values, (np.arange(60) >= 17).astype(float))
    for merged in (none.merge(part), part.merge(none), none.merge(none).merge(part)):
        assert merged.count == 43
        np.testing.assert_allclose(merged.mean, values[17:].mean(0), rtol=1e-14)
        np.testing.assert_allclose(merged.covariance().value, np.cov(values[17:].T), rtol=1e-12)
