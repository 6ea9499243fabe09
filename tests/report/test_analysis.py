"""What an analysis holds, and that its numbers are those of the theory and of the ensemble."""

import numpy as np
import pytest

from finitewidth import flow
from finitewidth.network import MLP
from finitewidth.report.analysis import analyze_network, flow_and_beyond, spread_out
from finitewidth.report.angles import angle_in_degrees, measured_angle


@pytest.fixture(scope="module")
def run(small):
    return small.analyses[0]


def test_flow_of_the_network_is_the_start_of_the_deeper_flow(x):
    net = MLP((4, 10, 10, 10), "relu", C_W=2.0)
    own, curves = flow_and_beyond(net, x)
    alone = flow.preactivations(net, x, order=1)
    np.testing.assert_allclose(own.kernel, alone.kernel, rtol=1e-12)
    np.testing.assert_allclose(own.nlo_metric, alone.nlo_metric, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(own.vertex.dense(), alone.vertex.dense(), rtol=1e-9, atol=1e-9)
    # ReLU: V/(n K^2) = 5 sum 1/n_k over the hidden layers, PDLT (5.120).
    np.testing.assert_allclose(curves[:, 0], 5 * np.arange(len(curves)) / 10, rtol=1e-6)
    assert len(curves) == 20


def test_depth_within_a_tolerance(run):
    # V/(nK^2) = (L - 1)/2 here: 0 at one layer, 0.5 at two, 1 at three, ...
    assert run.fluctuation == pytest.approx(1.0, rel=1e-6)
    assert [run.depth_within(t) for t in (0.1, 0.6, 1.1)] == [1, 2, 3]
    assert run.depth_within(1e9) is None


def test_extrapolation_and_shift(run):
    narrow, wide = run.at_width, run.at_double
    np.testing.assert_allclose(
        run.limit["vertex"].value, 2 * wide["vertex"].value - narrow["vertex"].value
    )
    K = np.asarray(run.flow.kernel)
    np.testing.assert_allclose(
        narrow["nlo_metric"].value[1:], 10 * (narrow["metric"].value - K)[1:], atol=1e-12
    )
    np.testing.assert_allclose(
        run.limit["nlo_metric"].value[1:],
        40 * (wide["metric"].value - K)[1:] - 10 * (narrow["metric"].value - K)[1:],
        atol=1e-10,
    )


def test_theory_and_networks_agree(run):
    # The same networks are behind all layers, so rms z scatters; it is never far from 1.
    assert 0.3 < run.comparison.rms_z < 2.0
    assert run.comparison.observables == (
        "kernel",
        "nlo_metric",
        "vertex",
        "ntk",
        "A",
        "B",
        "D",
        "F",
    )
    # Layer 1 is exact: 3 matrices of 6 entries, the vertex of 21, and A, D, F, B of two inputs.
    assert run.comparison.exact == 3 * 6 + 21 + (6 + 9 + 10 + 7)
    assert set(run.comparison.layer.tolist()) == {2, 3}


def test_a_network_of_another_tuning_is_noticed(x):
    # Measure C_W = 2 and predict C_W = 2.2: the comparison of the report must fail.
    from finitewidth.comparison import compare
    from finitewidth.report.analysis import theory_of

    run = analyze_network(MLP((4, 10, 10), "relu", C_W=2.0), x, networks=2000, ntk_networks=100)
    other = MLP((4, 10, 10), "relu", C_W=2.2)
    wrong = theory_of(flow.preactivations(other, x), flow.ntk(other, x, order=1), run.few)
    assert compare(wrong, run.limit).systematic
    assert not run.comparison.systematic


def test_the_ensemble_follows_the_seed(x):
    net = MLP((4, 10, 10), "relu", C_W=2.0)
    one, same, other = (
        analyze_network(net, x, networks=50, ntk_networks=10, seed=s).limit for s in (3, 3, 4)
    )
    for name in one:
        np.testing.assert_array_equal(one[name].value, same[name].value)
        assert not np.array_equal(one[name].value, other[name].value)


def test_remainder_sees_a_bias_and_not_noise(run):
    from dataclasses import replace

    # No difference between n and 2n beyond noise: no remainder.
    vertex = run.at_width["vertex"]
    level = replace(run, at_double={**run.at_double, "vertex": vertex})
    assert level.remainder("vertex") == 0.0
    # V(n) - V_inf = d means V(2n) - V_inf = d/2, and a remainder of d^2/(2 V).
    import equinox as eqx

    theory = np.asarray(run.flow.vertex.dense())
    quiet = eqx.tree_at(lambda e: e.standard_error, vertex, 1e-9 * np.ones_like(theory))
    narrow = eqx.tree_at(lambda e: e.value, quiet, 1.2 * theory)
    wide = eqx.tree_at(lambda e: e.value, quiet, 1.1 * theory)
    limit = eqx.tree_at(lambda e: e.value, quiet, theory)
    biased = replace(
        run,
        at_width={**run.at_width, "vertex": narrow},
        at_double={**run.at_double, "vertex": wide},
        limit={**run.limit, "vertex": limit},
    )
    scale = np.sqrt(np.mean(theory[-1] ** 2))
    assert biased.remainder("vertex") == pytest.approx(0.2**2 / 2 * scale / 1e-9, rel=1e-3)


@pytest.mark.slow
def test_angle_error_is_that_of_many_ensembles(x):
    # The error bar of the angle against the spread of the angle over 24 independent ensembles.
    net = MLP((4, 16, 16, 16), "relu", C_W=2.0)
    runs = [analyze_network(net, x, networks=300, ntk_networks=2, seed=s) for s in range(24)]
    angles = np.array([measured_angle(run, 0, 1) for run in runs])
    spread, claimed = angles[:, 0].std(axis=0, ddof=1), angles[:, 1].mean(axis=0)
    assert claimed[0] < 1e-6
    np.testing.assert_allclose(claimed[1:], spread[1:], rtol=0.45)


def test_angle_error_of_known_fluctuations(run):
    from dataclasses import replace

    import equinox as eqx

    def with_vertex(vertex):
        estimate = eqx.tree_at(lambda e: e.value, run.at_width["vertex"], vertex)
        return measured_angle(replace(run, at_width={**run.at_width, "vertex": estimate}), 0, 1)[1]

    G = run.at_width["metric"].value
    # Only the common scale fluctuates: the angle does not.
    scale = np.einsum("lab,lcd->labcd", G, G)
    np.testing.assert_allclose(with_vertex(scale), 0.0, atol=1e-5)
    # Only G_01 fluctuates, by s: cos psi moves by s/sqrt(G_00 G_11), psi by that over sin psi.
    alone = np.zeros_like(scale)
    for p in ((0, 1), (1, 0)):
        for q in ((0, 1), (1, 0)):
            alone[:, *p, *q] = 0.3
    norm = np.sqrt(G[:, 0, 0] * G[:, 1, 1])
    sine = np.sqrt(1 - (G[:, 0, 1] / norm) ** 2)
    s = np.sqrt(0.3 / (np.array([4, 10, 10]) * 800))
    np.testing.assert_allclose(with_vertex(alone), np.degrees(s / norm / sine), rtol=1e-9)


def test_parallel_inputs_have_no_angle_and_no_error():
    x = np.array([[1.0, 2.0], [2.0, 4.0]])
    run = analyze_network(MLP((2, 8, 8), "relu", C_W=2.0), x, networks=50, ntk_networks=4)
    value, error = measured_angle(run, 0, 1)
    assert np.all(value < 1e-5)
    assert np.all(error == 0)


def test_angle_of_a_right_triangle():
    metric = np.array([[[1.0, 1.0], [1.0, 4.0]]])
    assert angle_in_degrees(metric, 0, 1)[0] == pytest.approx(60.0)


def test_spread_out():
    values = np.array([3.0, 0.0, 2.0, 1.0])
    assert spread_out(values, 10).tolist() == [1, 3, 2, 0]
    assert spread_out(values, 2).tolist() == [1, 0]
    assert spread_out(np.array([7.0]), 3).tolist() == [0]
    # The single one is the middle one of three.
    assert spread_out(np.arange(6.0), 1)[0] == spread_out(np.arange(6.0), 3)[1]


def test_all_inputs_zero():
    with pytest.raises(ValueError, match="all samples are zero"):
        analyze_network(MLP((2, 8, 8), "relu", C_W=2.0), np.zeros((2, 2)))
