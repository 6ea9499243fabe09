"""The proof of the package: theory and sampled networks, computed apart, agree entry by entry.

The theory is leading order, so the networks are measured at hidden widths n and 2n and
extrapolated; what is left is of order 1/n^2, below the error bars. Widths are unequal, biases are
on, the inputs have no symmetry, and every independent entry of every layer counts.
"""

import jax
import numpy as np
import pytest

import finitewidth as fw

X = np.array([[1.0, -0.6, 0.3, 0.8], [0.2, 0.9, -1.1, 0.5], [-0.7, 0.4, 0.6, 1.2]])

NETWORKS = {
    "relu": dict(widths=(4, 150, 100, 120, 2), C_b=[0.3, 0.1, 0.2, 0.1], C_W=[1.5, 1.9, 1.8, 2.0]),
    "tanh": dict(widths=(4, 60, 40, 50, 2), C_b=[0.1, 0.05, 0.2, 0.1], C_W=[1.0, 1.3, 1.1, 1.4]),
    "erf": dict(widths=(4, 60, 40, 50, 2), C_b=[0.1, 0.05, 0.2, 0.1], C_W=[1.0, 0.9, 1.1, 0.8]),
    "gelu": dict(widths=(4, 120, 80, 100, 2), C_b=[0.3, 0.2, 0.1, 0.2], C_W=[1.5, 2.0, 1.8, 1.9]),
}


# The vertex of erf and tanh is also measured beside the NTK, in `test_ntk_meets_ensemble`.
SLOW = ("erf", "tanh")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in NETWORKS]
)
def test_kernel_nlo_metric_and_vertex_agree_with_networks(name):
    net = fw.MLP(activation=name, **NETWORKS[name])
    pre = fw.flow.preactivations(net, X, points=2**16)
    measured = dict(
        fw.ensemble.measure_extrapolated(
            net, X, ("metric", "vertex"), samples=20_000, key=11, method="chain"
        )
    )
    measured |= fw.ensemble.measure_extrapolated(
        net, X, "nlo_metric", samples=3000, key=12, method="chain",
        control_variate=fw.flow.layer_maps(net),
    )  # fmt: skip
    agreement = fw.compare(
        {"metric": pre.kernel, "nlo_metric": pre.nlo_metric, "vertex": pre.vertex.dense()},
        measured,
    ).check(rms=(0.8, 1.25))

    # A theory that is wrong by a tenth in one tensor is not taken for right.
    wrong = {"vertex": 1.1 * pre.vertex.dense(), "nlo_metric": 1.3 * pre.nlo_metric}
    assert agreement.of("vertex").rms_z < fw.compare(wrong, measured).of("vertex").rms_z
    with pytest.raises(fw.comparison.Disagreement):
        fw.compare(wrong, measured).check(rms=(0.8, 1.25))


def test_frozen_ntk_agrees_with_networks_that_have_weights():
    net = fw.MLP(
        (4, 40, 30, 50, 3), "tanh", C_b=[0.1, 0.05, 0.2, 0.1], C_W=[1.0, 1.3, 1.1, 1.4],
        lambda_b=[0.5, 0.3, 0.8, 0.2], lambda_W=[1.2, 0.4, 0.9, 1.5],
    )  # fmt: skip
    measured = fw.ensemble.measure_extrapolated(
        net, X, ("ntk", "metric"), samples=4000, key=jax.random.key(5), method="weights"
    )
    ntk = fw.flow.ntk(net, X)
    # The NTK moves as a whole from network to network: its entries are a handful of independent
    # numbers, too few for an rms, so every single one must be within chance.
    agreement = fw.compare({"ntk": ntk.mean, "metric": ntk.kernel}, measured)
    agreement.check(rms=None)
    assert agreement.rms_z < 1.25
    without_first_bias = fw.MLP(
        net.widths, "tanh", C_b=net.C_b, C_W=net.C_W,
        lambda_b=net.lambda_b.at[0].set(0.4), lambda_W=net.lambda_W,
    )  # fmt: skip
    wrong = {"ntk": fw.flow.ntk(without_first_bias, X).mean}
    with pytest.raises(fw.comparison.Disagreement):
        fw.compare(wrong, {"ntk": measured["ntk"]}).check(rms=None)
