"""Finite-width hyperparameters: limits of the tuned NLO metric, and real networks."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

import finitewidth as fw
from finitewidth.criticality import classify
from finitewidth.flow.depth_fits import fit_power_law
from finitewidth.flow.single_input import single_input, single_input_flow
from finitewidth.flow.tuning import (
    asymptotic_tuning,
    finite_width_tuned,
    hyperparameter_shift,
    layerwise_tuning,
)

SHIFTED = fw.activation(lambda z: jnp.tanh(z + 0.3) - math.tanh(0.3), name="shifted tanh")
X = np.array([[1.0, -0.6, 0.3], [0.2, 0.9, -1.1]])


@pytest.mark.parametrize(
    ("name", "depth", "limit", "printed"),
    [
        ("tanh", 10_000, 2.472222, 2.1667),
        pytest.param("sin", 10_000, 2.222222, 0.6667, marks=pytest.mark.slow),
        pytest.param(SHIFTED, 60_000, 0.183803, 0.7925, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_two_thirds_keeps_the_relative_shift_bounded(name, depth, limit, printed):
    """G1/K tends to the corrected constant; PDLT (5.143) prints another one."""
    flow = single_input_flow(name, depth, tuning=asymptotic_tuning(name))
    fit = fit_power_law(np.asarray(flow.nlo_metric) / np.asarray(flow.kernel), exponent=0.0)
    assert fit.amplitude_error < 1e-3
    assert fit.amplitude == pytest.approx(limit, abs=3 * fit.amplitude_error + 1e-6)
    assert abs(fit.amplitude - printed) > 0.2


@pytest.mark.slow
@pytest.mark.parametrize(("name", "tuning"), [("softsign", 0.5), ("elu", 0.5), ("selu", 0.668264)])
def test_kinked_members_need_another_tuning(name, tuning):
    """(1+q) N/6: G1/K, which grows like l without it, stays below a logarithm of the depth."""
    assert asymptotic_tuning(name) == pytest.approx(tuning, abs=1e-6)
    flow = single_input_flow(name, 20_000, tuning=asymptotic_tuning(name))
    tuned = np.abs(np.asarray(flow.nlo_metric / flow.kernel))
    wrong = single_input_flow(name, 20_000, tuning=tuning + 0.1)
    assert tuned[-1] < 30
    assert abs(float(wrong.nlo_metric[-1] / wrong.kernel[-1])) > 10 * tuned[-1]


def test_layerwise_tuning_removes_the_shift_in_every_layer():
    net = fw.MLP((3, 30, 11, 24, 17, 20, 1), "tanh", C_b=0.1, C_W=[1.4, 1.2, 1.5, 1.1, 1.3, 1.2])
    ratios = layerwise_tuning(single_input(net, X[0]))
    assert float(jnp.abs(single_input(net, X[0]).nlo_metric).max()) > 0.05
    tuned = single_input(net, X[0], tuning=ratios)
    np.testing.assert_allclose(tuned.nlo_metric, 0.0, atol=1e-14)
    assert ratios[0] == ratios[1] == 0.0


def test_layerwise_tuning_tends_to_two_thirds():
    ratios = layerwise_tuning(single_input_flow("tanh", 10_000))
    assert float(ratios[-1]) == pytest.approx(2 / 3, abs=1e-3)


def test_the_tuned_network_has_the_wanted_metric():
    """K + G1/n of the tuned network is K of the bare one up to 1/n^2."""
    error = []
    for width in (400, 800):
        net = fw.MLP.critical((3, *(width,) * 6, 1), "tanh")
        tuned = finite_width_tuned(net, "layerwise", X[0])
        moved = single_input(tuned, X[0])
        metric = np.asarray(moved.kernel[1:]) + np.asarray(moved.nlo_metric[1:]) / width
        bare = np.asarray(single_input(net, X[0]).kernel[1:])
        error.append(np.abs(metric / bare - 1).max())
        assert np.abs(np.asarray(single_input(net, X[0]).nlo_metric[1:]) / width).max() > 1e-4
    assert error[0] < 1e-4
    assert error[0] / error[1] == pytest.approx(4, rel=0.05)


def test_two_thirds_changes_all_layers_but_the_first():
    net = fw.MLP.critical((3, 10, 20, 30, 1), "tanh")
    C_W = np.asarray(finite_width_tuned(net).C_W)
    np.testing.assert_allclose(C_W, [1, 1 + 1 / 15, 1 + 1 / 30, 1 + 1 / 45], rtol=1e-12)
    relu = fw.MLP.critical((3, 10, 20, 1), "relu")
    np.testing.assert_allclose(finite_width_tuned(relu).C_W, 2.0)
    assert finite_width_tuned(net, "bare") is net


def test_the_shift_by_hyperparameters_is_the_recursion():
    """One input: PDLT (5.141). Several: C_W <sigma sigma> carried by the linear map J."""
    net = fw.MLP((3, 12, 20, 9, 1), "sin", C_b=0.1, C_W=1.4)
    c_b, c_W = np.array([5.0, 0.2, -0.1, 0.4]), np.array([7.0, 0.5, 0.3, -0.6])
    shift = hyperparameter_shift(net, X, c_b, c_W)
    for sample in (0, 1):
        tuned = single_input(net, X[sample], tuning=c_W / 1.4, nlo_C_b=c_b)
        bare = single_input(net, X[sample])
        np.testing.assert_allclose(
            shift[:, sample, sample], tuned.nlo_metric - bare.nlo_metric, atol=1e-12
        )
    # The off-diagonal entry by a finite difference of kernels.
    fan_in, step = np.array([3.0, 12.0, 20.0, 9.0]), 1e-5
    below = np.array([0.0, 1.0, 1.0, 1.0])

    def kernel(sign):
        moved = fw.MLP(
            net.widths, "sin",
            np.asarray(net.C_b) + sign * step * below * c_b / fan_in,
            np.asarray(net.C_W) + sign * step * below * c_W / fan_in,
        )  # fmt: skip
        return np.asarray(fw.flow.preactivations(moved, X, order=0).kernel)

    numeric = fan_in * (kernel(1) - kernel(-1))[:, 0, 1] / (2 * step)
    np.testing.assert_allclose(shift[:, 0, 1], numeric, atol=1e-8)


@pytest.mark.slow
def test_tuned_networks(zscore_of_shift):
    """tanh, 16 layers, K^(1) = 1: bare and tuned n (E[G] - K) against sampled networks."""
    bare = single_input_flow("tanh", 16)
    tuned = single_input_flow("tanh", 16, tuning=2 / 3)
    assert float(bare.nlo_metric[-1]) == pytest.approx(-0.12574, abs=1e-5)
    assert float(tuned.nlo_metric[-1]) == pytest.approx(0.06363, abs=1e-5)
    assert abs(zscore_of_shift("bare", float(bare.nlo_metric[-1]))) < 4
    assert abs(zscore_of_shift("two_thirds", float(tuned.nlo_metric[-1]))) < 4


@pytest.fixture
def zscore_of_shift():
    def measured(mode, theory):
        """Return the z-score of n (E[G] - K) at widths 64 and 128, extrapolated in width."""
        values = []
        for width, key in ((64, 1), (128, 2)):
            net = finite_width_tuned(fw.MLP.critical((1, *(width,) * 15, 1), "tanh"), mode)
            run = fw.ensemble.measure(
                net, [[1.0]], "metric", 8_000, key, "chain",
                control_variate=fw.flow.layer_maps(net),
            )  # fmt: skip
            own = float(single_input(net, [1.0]).kernel[-1])
            base = float(single_input_flow("tanh", 16).kernel[-1])
            estimate = run["nlo_metric"]
            shift = estimate.value[-1, 0, 0] + width * (own - base)
            values.append((shift, estimate.standard_error[-1, 0, 0]))
        (narrow, e_1), (wide, e_2) = values
        return (2 * wide - narrow - theory) / math.hypot(2 * e_2, e_1)

    return measured


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "third"}, "wanted one of bare"),
        ({"mode": "layerwise"}, "for one input"),
        ({"net": fw.MLP((3, 9, 1), "tanh", C_W=1.3)}, "critical"),
        ({"net": fw.MLP.critical((3, 9, 1), "gelu")}, "layerwise"),
    ],
)
def test_bad_input_is_refused_in_words(arguments, message):
    net = arguments.pop("net", fw.MLP.critical((3, 9, 1), "tanh"))
    with pytest.raises(ValueError, match=message):
        finite_width_tuned(net, **arguments)


def test_the_ratio_is_the_one_of_the_class():
    assert asymptotic_tuning("sin") == pytest.approx(2 / 3, rel=1e-12)
    assert asymptotic_tuning("leaky_relu(0.2)") == 0.0
    assert classify("tanh").constants["tuning"] == pytest.approx(2 / 3, rel=1e-12)
