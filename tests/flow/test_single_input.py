"""Recursions of one input against those of many, elementary sums, and the limits of each class."""

import math

import jax
import numpy as np
import pytest

import finitewidth as fw
from finitewidth.criticality import classify
from finitewidth.flow.single_input import single_input, single_input_flow


@pytest.mark.parametrize("name", ["sin", "relu"])
def test_one_input_is_the_diagonal_of_many(name):
    net = fw.MLP((3, 30, 20, 40, 2), name, C_b=0.1, C_W=[1.7, 1.2, 1.9, 1.4])
    x = [[1.0, 0.4, -0.3], [0.2, -0.5, 0.9]]
    many = fw.flow.preactivations(net, x)
    for sample in (0, 1):
        one = single_input(net, x[sample])
        np.testing.assert_allclose(one.kernel, many.kernel[:, sample, sample], rtol=1e-12)
        V = many.vertex.dense()[:, sample, sample, sample, sample]
        np.testing.assert_allclose(one.vertex, V, rtol=1e-10)
        np.testing.assert_allclose(one.nlo_metric, many.nlo_metric[:, sample, sample], atol=1e-11)


#: One depth for all, so that an activation is compiled once.
DEPTH = 10_000


def sin_by_sums(depth, K=1.0, tuning=0.0, nlo_C_b=0.0):
    """Iterate K, V, G1 of sin at C_W = 1 with elementary functions."""
    V = G = 0.0
    rows = [(K, V, G)]
    for _ in range(depth - 1):
        decay, g = math.exp(-2 * K), -math.expm1(-2 * K) / 2
        fourth = 3 / 8 - math.exp(-2 * K) / 2 + math.exp(-8 * K) / 8
        G = decay * G - decay * V + tuning * g + nlo_C_b
        V = decay**2 * V + fourth - g**2
        K = g
        rows.append((K, V, G))
    return np.array(rows).T


@pytest.mark.parametrize("extra", [{}, {"tuning": -0.4, "nlo_C_b": 0.3}])
def test_sin_against_elementary_functions(extra):
    K, V, G1 = sin_by_sums(DEPTH, **extra)
    flow = single_input_flow("sin", DEPTH, **extra)
    np.testing.assert_allclose(flow.kernel, K, rtol=1e-11)
    np.testing.assert_allclose(flow.vertex, V, rtol=1e-9)
    np.testing.assert_allclose(flow.nlo_metric, G1, rtol=1e-8, atol=1e-12)


def test_the_record_of_responses():
    """sin: chi_parallel = C_W e^(-2K), chi_perp = C_W (1 + e^(-2K))/2, h = -C_W e^(-2K)/2."""
    C_W = np.linspace(0.8, 1.5, DEPTH)
    flow = single_input_flow("sin", DEPTH, 0.7, 0.1, C_W)
    K, w, decay = flow.kernel[:-1], C_W[1:], np.exp(-2 * np.asarray(flow.kernel[:-1]))
    response = flow.response
    np.testing.assert_allclose(response.g, (1 - decay) / 2, rtol=1e-12)
    np.testing.assert_allclose(response.chi_parallel, w * decay, rtol=1e-12)
    np.testing.assert_allclose(response.chi_perp, w * (1 + decay) / 2, rtol=1e-12)
    np.testing.assert_allclose(response.h, -w * decay / 2, rtol=1e-11)
    np.testing.assert_allclose(response.drift, -w * decay, rtol=1e-10)
    fourth = 3 / 8 - decay / 2 + np.exp(-8 * np.asarray(K)) / 8
    np.testing.assert_allclose(response.fluctuation, w**2 * (fourth - response.g**2), rtol=1e-11)


@pytest.fixture(scope="module")
def tanh_flow():
    return single_input_flow("tanh", DEPTH)


def test_tanh_in_deep_layers(tanh_flow):
    depth = tanh_flow.depth
    K, V, G1 = (float(a[-1]) for a in (tanh_flow.kernel, tanh_flow.vertex, tanh_flow.nlo_metric))
    assert depth * K == pytest.approx(0.5, rel=1e-3)
    assert V / (depth * K**2) == pytest.approx(2 / 3, rel=1e-3)
    assert (V / K - 1 / 3) / K == pytest.approx(-11 / 36, rel=5e-3)
    assert G1 == pytest.approx(-1 / 6, rel=1e-3)
    np.testing.assert_allclose(tanh_flow.normalized_vertex[-1], V / K**2, rtol=1e-12)


@pytest.mark.parametrize(("bias", "power"), [(0.0, 1), (0.3, 2)])
def test_a_bias_correction_makes_the_relative_shift_grow_quadratically(bias, power, tanh_flow):
    """G1 of c_b^{1} grows like c l/3 and G1/K like l^2; PDLT section 5.4.2."""
    flow = single_input_flow("tanh", tanh_flow.depth, nlo_C_b=bias) if bias else tanh_flow
    ratio = np.abs(np.asarray(flow.nlo_metric / flow.kernel))
    assert math.log2(ratio[-1] / ratio[len(ratio) // 2 - 1]) == pytest.approx(power, abs=5e-3)
    if bias:
        # G' = (1 - 2/l) G + c has the solution c l/3.
        assert float(flow.nlo_metric[-1]) == pytest.approx(bias * flow.depth / 3, rel=3e-3)


@pytest.mark.parametrize(("name", "N"), [("relu", 5.0), ("linear", 2.0)])
def test_semi_critical_scale_invariant(name, N):
    """C_W = 1/A_2 and C_b > 0: K grows linearly, V/(K^2 l) tends to N/3; PDLT section 5.4.1."""
    C_W = classify(name).tuning.points[0].C_W
    flow = single_input_flow(name, 20_000, 1.0, 0.25, C_W)
    layer = np.arange(1, 20_001)
    np.testing.assert_allclose(flow.kernel, 1 + 0.25 * (layer - 1), rtol=1e-12)
    assert float(flow.normalized_vertex[-1]) / 20_000 == pytest.approx(N / 3, rel=1e-3)
    ratio = float(flow.vertex[-1] / flow.vertex[9_999])
    assert -math.log2(ratio) == pytest.approx(-3, abs=1e-3)
    np.testing.assert_allclose(flow.nlo_metric, 0.0, atol=1e-12)


def test_scale_invariant_off_criticality():
    """V/K^2 = N (l - 1) without biases at any C_W; with them K* = C_b/(1 - chi)."""
    flow = single_input_flow("relu", 50, 0.8, 0.0, 1.6)
    np.testing.assert_allclose(flow.normalized_vertex, 5.0 * np.arange(50), rtol=1e-11)
    np.testing.assert_allclose(flow.kernel, 0.8 * 0.8 ** np.arange(50), rtol=1e-12)
    flow = single_input_flow("relu", 400, 0.8, 0.3, 1.6)
    assert float(flow.kernel[-1]) == pytest.approx(0.3 / (1 - 0.8), rel=1e-12)
    # The vertex saturates: V* = chi^2 N K*^2/(1 - chi^2).
    assert float(flow.normalized_vertex[-1]) == pytest.approx(5 * 0.64 / (1 - 0.64), rel=1e-12)


def test_unequal_widths_carry_the_ratio():
    """Scale-invariant: V/K^2 = N n_{l-1} sum over k < l of 1/n_k, PDLT (5.119) at any widths."""
    widths = np.array([30.0, 11.0, 24.0, 17.0])
    net = fw.MLP.critical((2, 30, 11, 24, 17, 1), "relu")
    V = single_input(net, [0.3, -1.1]).normalized_vertex
    want = [0.0] + [5 * widths[k] * (1 / widths[: k + 1]).sum() for k in range(4)]
    np.testing.assert_allclose(V, want, rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kernel_limit", "vertex_limit", "metric_limit"),
    [
        ("softsign", 0.626657, 2 / 3, -1 / 4),
        ("elu", 2.506628, 2 / 3, -1 / 4),
        ("selu", 1.700957, 0.891018, None),
    ],
)
def test_kinked_members_of_the_class(name, kernel_limit, vertex_limit, metric_limit):
    """sqrt(K) l, V/(l K^2) and bare G1/(l K) of activations with q = 1/2."""
    flow = single_input_flow(name, 100_000)
    depth, K = flow.depth, float(flow.kernel[-1])
    assert math.sqrt(K) * depth == pytest.approx(kernel_limit, rel=1e-3)
    assert float(flow.vertex[-1]) / (depth * K**2) == pytest.approx(vertex_limit, rel=1e-3)
    N = classify(name).constants["N"]
    want = -N / 8 if metric_limit is None else metric_limit
    assert float(flow.nlo_metric[-1]) / (depth * K) == pytest.approx(want, rel=3e-3)


def test_half_stable_kernels_at_practical_depths():
    gelu = single_input_flow("gelu", 100, 1.0)
    assert float(gelu.kernel[49]) == pytest.approx(1.46, abs=0.005)


@pytest.mark.slow
def test_swish_at_practical_depths():
    silu = single_input_flow("silu", 100, 0.5)
    assert float(silu.kernel[-1]) == pytest.approx(5.98, abs=0.006)


@pytest.mark.parametrize(
    ("name", "attracting"), [("gelu", 1), pytest.param("silu", -1, marks=pytest.mark.slow)]
)
def test_the_side_from_which_a_half_stable_point_attracts(name, attracting):
    point = classify(name).tuning.points[0]
    for side in (1, -1):
        start = point.K_star * (1 + 0.005 * side)
        K = np.asarray(single_input_flow(name, 100, start).kernel)
        closer = abs(K[-1] - point.K_star) < abs(K[0] - point.K_star)
        assert closer == (side == attracting)


def test_on_a_half_stable_point():
    """V = w* K*^2 (l - 1) and G1 = a~_1 w* K*^2 (l - 1)(l - 2)/2 while K = K*."""
    found = classify("gelu")
    K, a, w = found.tuning.points[0].K_star, found.constants["a1_tilde"], found.constants["w_star"]
    flow = single_input_flow("gelu", 100, K)
    layer = np.arange(1, 101)
    np.testing.assert_allclose(flow.kernel, K, rtol=1e-11)
    np.testing.assert_allclose(flow.vertex, w * K**2 * (layer - 1), rtol=1e-8)
    want = a * w * K**2 * (layer - 1) * (layer - 2) / 2
    np.testing.assert_allclose(flow.nlo_metric, want, rtol=1e-6, atol=1e-10)


def test_half_stable_decay():
    """1/dK grows by -a~_1 (1 + O(dK)) in each layer: dK ~ 1/((-a~_1) l), PDLT (5.102), (5.103)."""
    found = classify("gelu")
    K, drift = found.tuning.points[0].K_star, -found.constants["a1_tilde"]
    off = []
    for start in (1e-2, 1e-3):
        inverse = 1 / (np.asarray(single_input_flow("gelu", 100, K + start).kernel) - K)
        off.append((inverse[-1] - inverse[0]) / 99 / drift - 1)
    assert abs(off[1]) < 3e-3
    assert off[0] / off[1] == pytest.approx(10, rel=0.02)


@pytest.mark.slow
def test_the_kernel_of_tanh_at_60000_layers():
    assert float(single_input_flow("tanh", 60_000).kernel[-1]) * 60_000 == pytest.approx(
        0.50004, abs=1e-5
    )


@pytest.mark.slow
def test_derivatives_in_hyperparameters():
    def last(C_W):
        return single_input_flow("sin", 6, 0.9, 0.1, C_W).nlo_metric[-1]

    with fw.double_precision():
        slope = float(jax.grad(last)(1.2))
        numeric = float(last(1.2 + 1e-5) - last(1.2 - 1e-5)) / 2e-5
    assert slope == pytest.approx(numeric, rel=1e-6)


def test_labelled_results():
    flow = single_input_flow("relu", 4)
    data = flow.to_xarray()
    assert data.vertex.sel(layer=3) == pytest.approx(10.0)
    assert data.chi_parallel.sel(step=3) == pytest.approx(1.0)
    assert "layer 4" in repr(flow)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depth": 0}, "at least 1"),
        ({"depth": 3, "C_W": 1.0}, "both or neither"),
        ({"depth": 3, "first_kernel": -1.0}, "variance >= 0"),
        ({"depth": 3, "tuning": [1.0, 2.0]}, "wanted one number or 3"),
        ({"depth": 3, "nlo_C_b": np.nan}, "finite"),
    ],
)
def test_bad_input_is_refused_in_words(arguments, message):
    with pytest.raises(ValueError, match=message):
        single_input_flow("relu", **arguments)
    net = fw.MLP((2, 3, 1), "relu")
    with pytest.raises(ValueError, match="one input"):
        single_input(net, [[1.0, 2.0], [3.0, 4.0]])
