"""Extrapolation takes out the 1/n term and propagates both errors."""

import numpy as np
import pytest

from finitewidth.ensemble import Estimate, measure, measure_extrapolated, richardson, scaled
from finitewidth.network import MLP

X = np.array([[1.2, 0.1, -0.4, 0.7]])


def test_the_first_order_is_taken_out():
    def at(n):
        return Estimate(np.array([2.0 + 3.0 / n]), np.array([0.1]), 10)

    for factor in (2, 3):
        limit = richardson(at(16), at(16 * factor), factor)
        np.testing.assert_allclose(limit.value, 2.0, rtol=1e-14)
        expected = 0.1 * np.sqrt(factor**2 + 1) / (factor - 1)
        np.testing.assert_allclose(limit.standard_error, expected, rtol=1e-14)


def test_relu_vertex_extrapolates_to_its_leading_order():
    """n (prod(1 + 5/n) - 1) K^2 becomes 5 (l - 1) K^2, which the plain measurement misses."""
    net = MLP((4, 48, 48, 48, 1), "relu", C_W=2.0)
    K = 2.0 * (X @ X.T).item() / 4
    limit = measure_extrapolated(net, X, "vertex", 150_000, 5, method="chain").vertex
    plain = measure(net, X, "vertex", 150_000, 5, "chain").vertex
    exact = 15 * K**2
    bias_left = 10 * 48 * K**2 * (5 / 48) ** 3
    error = limit.standard_error[3].item()
    assert abs(limit.value[3].item() - exact) < 3.5 * error + bias_left
    assert abs(plain.value[3].item() - exact) > 3.5 * plain.standard_error[3].item()
    assert error + bias_left < 0.1 * exact


def test_scaled_changes_hidden_widths_only():
    net = MLP((4, 3, 5, 2), "gelu", C_b=[0.1, 0.2, 0.3], C_W=[1, 2, 3], lambda_W=0.5, law="uniform")
    wide = scaled(net, 3)
    assert wide.widths == (4, 9, 15, 2)
    assert (wide.activation, wide.law) == (net.activation, net.law)
    for name in ("C_b", "C_W", "lambda_b", "lambda_W"):
        np.testing.assert_array_equal(getattr(wide, name), getattr(net, name))


def test_bad_input_is_refused():
    one = Estimate(np.ones(1), np.ones(1), 10)
    with pytest.raises(ValueError, match="larger than 1, got 1"):
        richardson(one, one, 1)
    with pytest.raises(ValueError, match="one shape"):
        richardson(one, Estimate(np.ones(2), np.ones(2), 10))
    net = MLP((4, 3, 1), "tanh")
    with pytest.raises(TypeError, match="whole number"):
        scaled(net, 1.5)
    with pytest.raises(ValueError, match="two runs"):
        measure_extrapolated(net, X, checkpoint="run.npz")
