"""The controlled estimator has the same mean as the plain one and an error of another order."""

import jax.numpy as jnp
import numpy as np
import pytest

from finitewidth.ensemble import measure, measure_extrapolated
from finitewidth.network import MLP

X = np.array([[1.2, 0.1, -0.4, 0.7], [0.5, 0.9, 0.3, -0.2]])
C_B, C_W = 0.1, 1.3


def sine_map(metric):
    """C_b + C_W <sin sin>, the mean of the next metric, in closed form."""
    d = jnp.diagonal(metric, axis1=-2, axis2=-1)
    total = d[..., :, None] + d[..., None, :]
    return C_B + C_W * jnp.exp(-0.5 * total) * jnp.sinh(metric)


def network(width, layers=3):
    return MLP((4, *(width,) * layers, 1), "sin", C_b=C_B, C_W=C_W)


def kernels(layers=3):
    K = [C_B + C_W * X @ X.T / 4]
    for _ in range(layers):
        K.append(np.asarray(sine_map(K[-1])))
    return np.array(K)


@pytest.mark.parametrize("method", ["weights", "chain"])
def test_controlled_and_plain_estimators_agree(method):
    # At width 6 the shift is large enough for the plain mean to see it.
    net, width = network(6), 6
    controlled = measure(
        net, X, "metric", 20_000, 1, method, control_variate=(sine_map,) * 3
    ).nlo_metric
    plain = measure(net, X, "metric", 400_000, 2, "chain").metric
    value = width * (plain.value - kernels())
    error = width * plain.standard_error
    scores = (controlled.value - value)[1:] / np.hypot(controlled.standard_error, error)[1:]
    z = scores[:, *np.triu_indices(2)].ravel()
    assert np.max(np.abs(z)) < 3.5
    # Layers 3 and 4 shift (layer 2 does not, exactly), and both estimators see it.
    assert (np.abs(value / np.where(error > 0, error, 1))[2:, 0, 0] > 5).all()
    assert (np.abs(controlled.value[2:, 0, 0] / controlled.standard_error[2:, 0, 0]) > 5).all()
    # Layer 2 has no shift, exactly, and no noise: the control variate takes all of it.
    plain_layer_2 = 6 * measure(net, X, "metric", 20_000, 1, method).metric.standard_error[1]
    assert (np.abs(controlled.value[1]) < 5 * controlled.standard_error[1] + 1e-15).all()
    assert plain_layer_2.min() > 0


def test_the_error_stays_of_order_one_while_the_plain_one_grows():
    def errors(width):
        m = measure(network(width), X, "metric", 4000, 3, "chain", control_variate=(sine_map,) * 3)
        return m.nlo_metric.standard_error[3, 0, 0], width * m.metric.standard_error[3, 0, 0]

    (narrow, plain_narrow), (wide, plain_wide) = errors(32), errors(512)
    assert 0.6 < wide / narrow < 1.2
    assert 3.0 < plain_wide / plain_narrow < 5.5
    assert wide < plain_wide / 10


def test_layer_one_is_zero_and_names_are_added_once():
    m = measure(network(8), X, "metric", 10, control_variate=(sine_map,) * 3)
    assert list(m) == ["metric", "nlo_metric"]
    assert (m.nlo_metric.value[0] == 0).all()
    named = measure(network(8), X, ("nlo_metric",), 10, control_variate=(sine_map,) * 3)
    assert list(named) == ["nlo_metric"]
    np.testing.assert_array_equal(named.nlo_metric.value, m.nlo_metric.value)


def test_extrapolated_nlo_metric_of_a_sine_network():
    """G^{1} of layer 3, PDLT (4.115), from second differences of the map in this test.

    G^{1(3)} = 1/2 F''[V^{(2)}], with V^{(2)} the exact second-layer vertex of one input.
    """
    net = network(24, 2)
    m = measure_extrapolated(
        net, X[:1], "nlo_metric", 30_000, 4, method="chain", control_variate=(sine_map,) * 2
    )
    K1, K2 = kernels()[:2, 0, 0]
    second = (1 - np.exp(-2 * K1)) / 2
    fourth = (3 - 4 * np.exp(-2 * K1) + np.exp(-8 * K1)) / 8
    V = C_W**2 * (fourth - second**2)
    curvature = C_W * -2 * np.exp(-2 * K2)
    z = (m.nlo_metric.value[2] - 0.5 * curvature * V) / m.nlo_metric.standard_error[2]
    assert abs(z.item()) < 3.5
    assert m.nlo_metric.standard_error[2].item() < 0.03 * abs(0.5 * curvature * V)


def linear_map(metric):
    return C_W * metric


def test_an_entry_without_a_shift_is_exactly_zero():
    """The metric of a linear network is a martingale: no shift, and no noise but rounding."""
    net = MLP((4, 6, 6, 6, 1), "linear", C_W=C_W)
    for x in (X, X[:1], 1e-9 * X):
        m = measure(net, x, (), 2000, 1, "chain", control_variate=(linear_map,) * 3)
        assert (m.nlo_metric.value == 0).all()
        assert (m.nlo_metric.standard_error == 0).all()


def test_wrong_layer_maps_are_refused():
    with pytest.raises(ValueError, match=r"wanted 3 layer maps.*got 2"):
        measure(network(8), X, samples=10, control_variate=(sine_map,) * 2)
    with pytest.raises(ValueError, match=r"nlo_metric.*control_variate"):
        measure(network(8), X, "nlo_metric", samples=10)
