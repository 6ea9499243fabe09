"""A measurement is a mapping, reads well, and turns into labelled arrays."""

import jax
import numpy as np
import pytest

from finitewidth.ensemble import measure
from finitewidth.network import MLP

X = np.array([[1.2, 0.1], [0.5, 0.9], [0.2, -0.8]])


@pytest.fixture(scope="module")
def measurement():
    return measure(MLP((2, 5, 4, 1), "tanh"), X, ("metric", "vertex"), 40, method="chain")


def test_by_name_and_by_attribute(measurement):
    assert measurement["metric"] is measurement.metric
    assert list(measurement) == list(measurement.keys()) == ["metric", "vertex"]
    assert len(measurement) == 2
    assert "vertex" in measurement
    assert "ntk" not in measurement
    with pytest.raises(KeyError, match=r"ntk.*was not measured; measured: metric, vertex"):
        measurement["ntk"]
    with pytest.raises(AttributeError, match=r"ntk.*was not measured"):
        _ = measurement.ntk


def test_results_are_immutable_and_a_pytree(measurement):
    with pytest.raises(AttributeError):
        measurement.method = "weights"
    doubled = jax.tree.map(lambda leaf: 2 * leaf, measurement)
    np.testing.assert_array_equal(doubled.metric.value, 2 * measurement.metric.value)


def test_it_reads_well(measurement):
    text = repr(measurement)
    assert "widths 2-5-4-1 by chain" in text
    assert "metric: shape (3, 3, 3), 40 networks" in text
    assert "%" in text


def test_labelled_arrays(measurement):
    data = measurement.to_xarray()
    assert data.metric.dims == ("layer", "sample_1", "sample_2")
    assert data.vertex.dims == ("layer", "sample_1", "sample_2", "sample_3", "sample_4")
    assert data.layer.values.tolist() == [1, 2, 3]
    assert data.attrs["samples"] == 40
    np.testing.assert_array_equal(
        data.vertex_standard_error.sel(layer=2), measurement.vertex.standard_error[1]
    )
