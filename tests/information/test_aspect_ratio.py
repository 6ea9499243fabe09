"""The stationary point of the series, and that the information itself has no maximum there."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

import finitewidth as fw
from finitewidth.information import (
    ScaleMixture,
    exact_scale_mixture,
    information_by_depth,
    information_growth,
    metric_variance,
    neuron_mutual_information,
    optimal_aspect_ratio,
)


@pytest.mark.parametrize(
    ("activation", "ratios"),
    [
        ("tanh", (0.2308, 0.1200, 0.01875)),
        ("linear", (0.0769, 0.0400, 0.00625)),
        ("relu", (0.0308, 0.0160, 0.0025)),
    ],
)
def test_ratios_and_informations_of_the_book(activation, ratios):
    informations = (0.000986, 0.006667, 0.016276)
    for n_out, ratio, information in zip((2, 10, 100), ratios, informations, strict=True):
        found = optimal_aspect_ratio(activation, n_out)
        assert found.ratio == pytest.approx(ratio, abs=5e-5)
        assert found.information == pytest.approx(information, abs=5e-7)
        assert found.information / found.leading_information == pytest.approx(1 / 3)
        nu, half = information_growth(activation), n_out // 2
        best = minimize_scalar(
            lambda r, nu=nu, half=half: (
                -float(neuron_mutual_information(nu * r, half, half, order=3))
            ),
            bounds=(0, 3 * ratio),
            method="bounded",
            options={"xatol": 1e-9},
        )
        assert found.ratio == pytest.approx(best.x, rel=1e-5)
        assert found.information == pytest.approx(-best.fun, rel=1e-9)
    assert optimal_aspect_ratio(activation, 10**7).information == pytest.approx(1 / 54, rel=1e-5)


def test_growth_by_class_and_ordering():
    assert information_growth("linear") == pytest.approx(2)
    assert information_growth("relu") == pytest.approx(5)
    assert information_growth("tanh") == information_growth("sin") == pytest.approx(2 / 3)
    ratios = [optimal_aspect_ratio(s, 4).ratio for s in ("tanh", "linear", "relu")]
    assert np.array(ratios) / ratios[2] == pytest.approx([7.5, 2.5, 1.0])


@pytest.mark.parametrize(
    ("activation", "K", "C_W", "C_b", "s"),
    [("swish", 14.3202, 1.98800, 0.55514, 4.923), ("gelu", 3.56155, 1.98306, 0.172922, 4.904)],
)
def test_half_stable_class(activation, K, C_W, C_b, s):
    """At the critical kernel x grows by s/n a layer, and goes on so for all practical depths."""
    point = fw.criticality.analyze(activation)
    assert (point.K_star, point.C_W, point.C_b) == pytest.approx((K, C_W, C_b), rel=1e-5)
    assert information_growth(activation) == pytest.approx(s, abs=6e-4)
    flow = fw.flow.single_input_flow(activation, 400, point.K_star)
    slope = np.diff(np.asarray(flow.normalized_vertex))
    assert slope[0] == pytest.approx(s, abs=6e-4) and slope[-1] == pytest.approx(s, rel=2e-3)
    # Beside the fixed point the slope falls towards s/5, slowly.
    deep = fw.flow.single_input_flow(activation, 4000, 0.9 * point.K_star)
    average = float(deep.normalized_vertex[-1]) / 4000
    assert s / 5 < average < s


def test_reexpanded_and_recursion():
    found = optimal_aspect_ratio("relu", m1=2, m2=3, x_mode="reexpanded")
    assert found.ratio == pytest.approx(4 / ((14 + 15) * 5))
    assert found.information == pytest.approx(found.leading_information / 3)
    # x = (e^(nu r) - 1) to second order in r, its information to third.
    r = np.linspace(0, 2 * found.ratio, 20001)
    x2 = (5 * r) ** 2 + (5 * r) ** 3
    series = 6 / 8 * x2 - 6 * 35 / 48 * (5 * r) ** 3
    assert r[series.argmax()] == pytest.approx(found.ratio, rel=2e-4)
    assert series.max() == pytest.approx(found.information, rel=1e-6)
    # The recursion of wide networks is nu r for linear ones, layer l having (l - 1) below it.
    deep = optimal_aspect_ratio("linear", 10, x_mode="recursion", width=1000)
    assert deep.depth(1000) == pytest.approx(1000 * 0.04 + 1)
    series = np.asarray(information_by_depth("tanh", 60, 200, 5, 5, order=3))
    tanh = optimal_aspect_ratio("tanh", 10, x_mode="recursion", width=200)
    assert abs(1 + series.argmax() - tanh.depth(200)) <= 1
    assert tanh.ratio > optimal_aspect_ratio("tanh", 10).ratio  # logarithms: x is below nu r


@pytest.mark.parametrize(("m", "excess"), [(1, 2.056), (5, 1.909)])
def test_the_information_is_about_twice_the_truncated_one(m, excess):
    """Scaling limit at nu r = x*: exact over truncated."""
    found = optimal_aspect_ratio("linear", m1=m, m2=m)
    exact = float(ScaleMixture.scaling_limit(found.x).mutual_information(m, m))
    assert exact / found.information == pytest.approx(excess, abs=1.5e-3)


@pytest.mark.parametrize("activation", ["linear", "relu"])
def test_no_maximum_at_the_stationary_point(activation):
    """Exact laws of networks n = 60, from one layer to beyond 6 r*: the information only grows."""
    width, m = 60, 5
    depth = optimal_aspect_ratio(activation, m1=m, m2=m).depth(width)
    layers = sorted({2, *np.unique(np.rint(np.array([0.5, 1, 2, 4, 6]) * depth + 1).astype(int))})
    net = fw.MLP.critical(widths=(1, *[width] * layers[-1], 1), activation=activation)
    exact, truncated = [], []
    for layer in layers:
        exact.append(float(exact_scale_mixture(net, [[1.0]], layer).mutual_information(m, m)))
        x = metric_variance(net, [[1.0]], layer)[0]
        truncated.append(float(neuron_mutual_information(x, m, m, order=3)))
    assert (np.diff(exact) > 0).all()
    assert np.argmax(truncated) < len(layers) - 1 and truncated[-1] < 0
    assert exact[-1] > 3 * max(truncated)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "n_out or both"),
        ({"n_out": 10, "m1": 5, "m2": 5}, "n_out or both"),
        ({"n_out": 1}, "n_out: wanted at least 2"),
        ({"n_out": 10, "x_mode": "exact"}, "x_mode"),
        ({"n_out": 10, "x_mode": "recursion"}, "width"),
        ({"n_out": 10, "width": 100}, "width"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        optimal_aspect_ratio("relu", **arguments)


def test_activations_that_do_not_fit():
    with pytest.raises(ValueError, match="critical"):
        optimal_aspect_ratio("sigmoid", 10)
    with pytest.raises(ValueError, match="scale-invariant"):
        optimal_aspect_ratio("tanh", 10, x_mode="reexpanded")
