"""The flow of angles against the flow of kernels, its limits, and wide networks."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import finitewidth as fw
from finitewidth.flow.angles import (
    angle_asymptote,
    angle_between,
    angle_flow,
    cosine,
    crossover_depth,
    turning_rate,
)


@pytest.mark.parametrize("name", ["relu", "leaky_relu(0.2)", "abs", "linear", "leaky_relu(-0.5)"])
@pytest.mark.parametrize("psi", [0.3, 1.2, 2.9])
def test_the_angle_of_the_kernel(name, psi):
    """Exact at any C_W and any norms, not only at criticality."""
    net = fw.MLP((2, 5, 5, 5, 5, 5, 1), name, C_W=1.37)
    x = [[1.5, 0.0], [0.6 * np.cos(psi), 0.6 * np.sin(psi)]]
    kernel = fw.flow.preactivations(net, x, order=0).kernel
    np.testing.assert_allclose(angle_between(kernel), angle_flow(name, psi, 6), rtol=1e-9)
    np.testing.assert_allclose(np.cos(angle_flow(name, psi, 6)), cosine(kernel), rtol=1e-9)


@pytest.mark.parametrize(
    ("name", "limit"), [("relu", 9.424778), ("leaky_relu(0.2)", 15.315264), ("abs", 4.712389)]
)
def test_deep_angles(name, limit):
    """psi l tends to 3/rho, PDLT (5.166), and K_[2] l^2/K to 9/(4 rho^2), (5.168)."""
    rho = turning_rate(name)
    assert 3 / rho == pytest.approx(limit, abs=5e-7)
    depth = 200_000
    psi = np.asarray(angle_flow(name, 1.2, depth))
    assert psi[-1] * depth == pytest.approx(limit, rel=5e-4)
    # The approach is log(l)/l: ten times the depth, about ten times nearer.
    assert abs(psi[-1] * depth - limit) < 0.2 * abs(psi[depth // 10] * depth / 10 - limit)
    distance = np.sin(psi[-1] / 2) ** 2  # K_[2]/K at equal norms
    assert distance * depth**2 == pytest.approx(9 / (4 * rho**2), rel=1e-3)


@settings(max_examples=25)
@given(st.floats(1e-12, math.pi))
def test_only_linear_networks_keep_angles(psi):
    np.testing.assert_allclose(angle_flow("linear", psi, 50), psi, rtol=1e-13)
    turned = np.asarray(angle_flow("relu", psi, 50))
    assert (np.diff(turned) <= 0).all()
    assert psi < 1e-6 or turned[-1] < psi


def test_tiny_angles_keep_their_digits():
    """psi' = psi (1 - rho psi/3 + O(psi^2)) at 1e-9, where the cosine is 1 to rounding."""
    psi = np.asarray(angle_flow("relu", 1e-9, 1001))
    want = 1e-9 / (1 + 1e-9 * 1000 / (3 * math.pi))
    assert psi[-1] == pytest.approx(want, rel=1e-12)
    assert 1 - psi[1] / psi[0] == pytest.approx(1e-9 / (3 * math.pi), rel=1e-5)


def test_the_series_of_small_angles_joins_the_closed_form():
    """Layer 2 as a function of the first angle, across the place where the formula changes."""
    psi = np.linspace(0.4, 0.6, 41)
    rho = 1 / math.pi
    want = np.arccos(np.cos(psi) + rho * (np.sin(psi) - psi * np.cos(psi)))
    np.testing.assert_allclose(angle_flow("relu", psi, 2)[1], want, rtol=1e-14)


def test_the_crossover():
    """At l = 3/(rho psi) a small angle has halved, PDLT (5.171)."""
    rho = turning_rate("relu")
    depth = round(crossover_depth(rho, 1e-3))
    psi = np.asarray(angle_flow("relu", 1e-3, depth + 1))
    assert psi[-1] == pytest.approx(0.5e-3, rel=2e-3)
    layers = np.array([1, 10, 100, 1000, depth])
    np.testing.assert_allclose(psi[layers - 1], angle_asymptote(rho, 1e-3, layers), rtol=2e-3)
    assert crossover_depth(0.0, 0.1) == math.inf


@pytest.mark.slow
def test_angles_of_wide_networks():
    """The cosine of the mean metric of wide ReLU networks, after eight layers."""
    net = fw.MLP.critical((2, *(2000,) * 7, 1), "relu")
    x = [[1.0, 0.0], [np.cos(1.2), np.sin(1.2)]]
    run = fw.ensemble.measure(net, x, "metric", 800, 1, "chain",
                              control_variate=fw.flow.layer_maps(net))  # fmt: skip
    G, error = run["metric"].value[-1], run["metric"].standard_error[-1]
    want = math.cos(float(angle_flow("relu", 1.2, 8)[-1]))
    ratio = G[0, 1] / math.sqrt(G[0, 0] * G[1, 1])
    assert abs(ratio - want) < 3 * 2 * error[0, 1] / G[0, 0] + 3 / 2000
    assert abs(ratio - math.cos(1.2)) > 0.2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("tanh", 1.0, 3), "scale-invariant"),
        (("relu", 4.0, 3), "from 0 to pi"),
        (("relu", 1.0, 0), "at least 1"),
    ],
)
def test_bad_input_is_refused_in_words(arguments, message):
    with pytest.raises(ValueError, match=message):
        angle_flow(*arguments)
