"""The front for networks: the same numbers as the functions, and the limit of the flow."""

import numpy as np
import pytest

import finitewidth as fw
from finitewidth.flow import linear

X = np.array([[1.0, -0.6, 0.3], [0.2, 0.9, -1.1]])


def test_it_is_the_functions_for_a_network():
    net = fw.MLP((3, 7, 5, 9, 4), "linear", C_W=(1.1, 0.9, 1.2, 1.0))
    exact = linear.statistics(net, X)
    gram = X @ X.T / 3
    C_W = np.asarray(net.C_W)
    np.testing.assert_array_equal(exact.kernel, linear.kernel(net.widths, C_W, gram))
    np.testing.assert_array_equal(exact.vertex.dense(), linear.vertex(net.widths, C_W, gram))
    one = (net.widths, C_W, gram[1, 1])
    np.testing.assert_array_equal(exact.correlator(3, sample=1), linear.correlator(*one, 3))
    np.testing.assert_array_equal(exact.connected(2, sample=1), linear.connected(*one, 2))
    np.testing.assert_array_equal(exact.couplings(2, 1).g, linear.couplings(*one, 2).g)
    np.testing.assert_array_equal(exact.log_mean[:, 1], linear.log_cumulant(*one, 1))
    np.testing.assert_array_equal(exact.log_variance, linear.log_cumulant(*one, 2))
    z = [0.3, 0.1]
    assert exact.density(2, 1).logpdf(z) == linear.density(*one, 2).logpdf(z)
    data = exact.to_xarray()
    assert dict(data.sizes) == {"layer": 4, "sample_1": 2, "sample_2": 2, "sample_3": 2,
                                "sample_4": 2}  # fmt: skip
    assert data.fan_in.values.tolist() == [3, 7, 5, 9]
    assert "4 layers for 2 inputs" in repr(exact) and "OutputDensity" in repr(exact.density())


def test_wide_networks_have_the_vertex_of_the_first_order_flow():
    net = fw.MLP((3,) + (10**6, 2 * 10**6, 10**6) + (2,), "linear", C_W=(1.1, 0.9, 1.2, 1.0))
    exact, flow = linear.statistics(net, X), fw.flow.preactivations(net, X)
    np.testing.assert_allclose(exact.kernel, flow.kernel, rtol=1e-12)
    np.testing.assert_allclose(exact.vertex.dense(), flow.vertex.dense(), rtol=1e-4, atol=1e-5)


def test_other_networks_are_refused():
    for net, message in (
        (fw.MLP((3, 4, 1), "relu"), "activation 'linear', got 'relu'"),
        (fw.MLP((3, 4, 1), "linear", C_b=0.1), "no biases"),
        (fw.MLP((3, 4, 1), "linear", law="orthogonal"), "Gaussian weights"),
    ):
        with pytest.raises(ValueError, match=message):
            linear.statistics(net, X)
    net = fw.MLP((3, 4, 1), "linear")
    with pytest.raises(ValueError, match="at most 48 inputs"):
        linear.statistics(net, np.ones((49, 3)))
    with pytest.raises(ValueError, match="sample: wanted"):
        linear.statistics(net, X).density(sample=2)
