"""The NLO metric of many inputs against the dense flow."""

import numpy as np
import pytest

import finitewidth as fw

X = np.random.default_rng(0).normal(size=(5, 3))
X[4] = -X[0]


def network(name, C_W=(1.5, 1.2, 1.7, 1.1)):
    return fw.MLP((3, 30, 20, 25, 1), name, C_b=[0.1, 0.2, 0.3, 0.1], C_W=C_W)


@pytest.mark.parametrize("name", ["tanh", "relu"])
def test_is_that_of_the_dense_flow(name):
    dense = fw.flow.preactivations(network(name), X, order=1, points=8)
    local = fw.flow.matrix_free(network(name), X, ntk=False)
    assert np.max(np.abs(dense.nlo_metric)) > 0.05
    np.testing.assert_allclose(local.nlo_metric, dense.nlo_metric, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(local.metric, dense.metric, rtol=1e-10, atol=1e-14)


def test_layers_without_weights_stay_finite():
    local = fw.flow.matrix_free(network("relu", C_W=[1.0, 0.0, 1.0, 1.0]), X, ntk=False)
    assert np.all(np.isfinite(local.nlo_metric))
    assert np.all(np.asarray(local.nlo_metric[1]) == 0)
