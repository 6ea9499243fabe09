"""The fluctuations of the NTK in theory and in sampled networks, entry by entry, and mutations.

Widths are in the proportion 3:2:2, biases are on, rates differ by layer, four inputs without any
symmetry (two for relu). Networks of hidden widths n and 2n are extrapolated to infinite width. A
theory in which one term of one recursion is broken must be refused by the same measurements.
"""

import importlib.util
import sys
from dataclasses import dataclass

import jax
import numpy as np
import pytest

import finitewidth as fw
from finitewidth.flow import fluctuations, pair_derivatives
from finitewidth.flow.fluctuations import Hyperparameters, NeuronStatistics, NTKFluctuations
from finitewidth.flow.pair_derivatives import PairJacobian
from finitewidth.flow.preactivations import width_ratios
from finitewidth.gaussian.pair import pair_moments

X = np.array(
    [[1.0, -0.6, 0.3, 0.8], [0.2, 0.9, -1.1, 0.5], [-0.7, 0.4, 0.6, 1.2], [0.3, 0.2, -0.5, 0.9]]
)
RATES = dict(lambda_b=[0.5, 0.3, 0.8, 0.2], lambda_W=[1.2, 0.4, 0.9, 1.5])
SMOOTH = dict(C_b=[0.1, 0.05, 0.2, 0.1], C_W=[1.3, 1.4, 1.2, 1.5], **RATES)
NETWORKS = {
    "tanh": (fw.MLP((4, 36, 24, 24, 2), "tanh", **SMOOTH), X),
    "erf": (fw.MLP((4, 36, 24, 24, 2), "erf", **SMOOTH), X),
    "relu": (
        fw.MLP((4, 72, 48, 48, 2), "relu", C_b=[0.3, 0.1, 0.2, 0.1], C_W=[1.5, 1.9, 1.8, 2.0],
               **RATES),
        X[:2],
    ),
}  # fmt: skip
TENSORS = ("A", "B", "D", "F")


#: For the shift of the mean: large C_W and more layers make it large.
SHIFTED = fw.MLP(
    (4, 45, 30, 30, 30, 2), "erf", C_b=0.1, C_W=[1.8, 2.0, 1.6, 1.8, 2.0],
    lambda_b=[0.5, 0.3, 0.8, 0.2, 0.4], lambda_W=[4.0, 8.0, 2.0, 6.0, 4.0],
)  # fmt: skip


def measured_tensors(name, samples, key=3):
    net, x = NETWORKS[name]
    return fw.ensemble.measure_extrapolated(net, x, (*TENSORS, "vertex"), samples=samples, key=key)


def measured_shift(samples):
    maps = fw.flow.ntk_layer_maps(SHIFTED)
    return fw.ensemble.measure_extrapolated(
        SHIFTED, X[:3], "nlo_ntk", samples=samples, key=4, ntk_control_variate=maps
    )


@pytest.fixture(scope="module")
def erf():
    with fw.double_precision():
        return measured_tensors("erf", 10_000)


def check_tensors(name, measured):
    net, x = NETWORKS[name]
    theory = fw.flow.ntk(net, x, order=1, points=2**15)
    agreement = fw.compare(theory, measured).check(rms=(0.8, 1.25))
    assert set(agreement.observables) == {*TENSORS, "vertex"}
    return agreement


def test_tensors_of_tanh_agree_with_networks():
    check_tensors("tanh", measured_tensors("tanh", 3000))


def test_tensors_of_relu_agree_with_networks():
    # The tensors of two inputs are a dozen independent numbers at most, whose rms z scatters by
    # some tenths: it is taken over several ensembles, and single entries over all of them.
    net, x = NETWORKS["relu"]
    theory = fw.flow.ntk(net, x, order=1)
    ensembles = [fw.compare(theory, measured_tensors("relu", 1000, key)) for key in range(100, 108)]
    z = np.stack([comparison.z for comparison in ensembles])
    assert 0.8 <= np.sqrt(np.mean(z**2)) <= 1.25
    assert np.abs(z.sum(axis=0) / np.sqrt(len(z))).max() < ensembles[0].threshold


def test_tensors_of_erf_agree_with_networks(erf):
    check_tensors("erf", erf)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tanh", "erf"])
def test_tensors_agree_with_many_networks(name):
    agreement = check_tensors(name, measured_tensors(name, 60_000))
    print(f"\n{name}: {agreement!r}")
    for layer in (2, 3, 4):
        print(layer, {o: round(agreement.of(o, layer).rms_z, 2) for o in agreement.observables})


@pytest.mark.slow
def test_the_shift_of_the_mean_agrees_with_networks():
    # A few strongly correlated entries: no rms, but none beyond chance, and far from zero.
    theory = fw.flow.ntk(SHIFTED, X[:3], order=1, points=2**13)
    measured = measured_shift(2500)
    fw.compare({"nlo_ntk": theory.nlo_mean}, measured).check(rms=None)
    with pytest.raises(fw.comparison.Disagreement):
        fw.compare({"nlo_ntk": 0 * theory.nlo_mean}, measured).check(rms=None)


# What is replaced in the recursions, and by what. Every term of every recursion is here once.
MUTATIONS = {
    "V: no transport": ("V=C_W**2 * values + r * V", "V=C_W**2 * values"),
    "V: no source": ("V=C_W**2 * values + r * V", "V=r * V"),
    "D: no transport": ("D=C_W * with_Omega + r * D", "D=C_W * with_Omega"),
    "D: no source": ("D=C_W * with_Omega + r * D", "D=r * D"),
    "A: no transport": ("A=Omega_Omega + r * A", "A=Omega_Omega"),
    "A: no source": ("A=Omega_Omega + r * A", "A=r * A"),
    "F: no transport": ("r * on_both_pairs(layer.value_jacobian.push_leg, now.F)", "0"),
    "F: no source": ("F=C_W**2 * (F_source +", "F=C_W**2 * (0 * F_source +"),
    "B: no transport": ("B_source + r * layer.slope[:, :, None, None]", "B_source + 0 * layer."
                        "slope[:, :, None, None]"),
    "B: no source": ("(B_source + r", "(0 * B_source + r"),
    "B: other slopes": ("layer.slope[:, :, None, None] * layer.slope[None, None]",
                        "layer.slope[:, None, :, None] * layer.slope[None, :, None, :]"),
    "D: weights do not learn": ("with_Omega = lambda_W * values +", "with_Omega ="),
    "D: no slopes": ("+ C_W * Theta_34 * mixed\n", "\n"),
    "D: other NTK": ("+ C_W * Theta_34 * mixed\n", "+ C_W * Theta_12 * mixed\n"),
    "A: no Omega in the second pair": ("lambda_W * (with_Omega + C_W * Theta_12 * swap_pairs("
                                       "mixed))", "lambda_W * with_Omega"),
    "A: no product of slopes": ("+ C_W**2 * Theta_12 * Theta_34 * slopes", ""),
    "A: D does not enter": ("D, A = J.push(now.D, now.A)", "D, A = J.push(0 * now.D, now.A)"),
    "A: D enters once": ("J.push(now.V, swap_pairs(now.D))",
                         "J.push(now.V, 0 * swap_pairs(now.D))"),
    "J: weights do not learn": ("return self.C_W * moved, self.lambda_W * moved + self.C_W * "
                                "turned", "return self.C_W * moved, self.C_W * turned"),
    "J: the slopes do not move": ("_times(self.Theta, self.slope.push(dG)) + ", ""),
    "J: the NTK is not handed on": (" + _times(self.mean_slope, dH)", ""),
    "F: NTK between the other legs": ("layer.mixed.transpose(0, 2, 1, 3) * Theta_legs",
                                      "layer.mixed.transpose(0, 2, 1, 3) * Theta[:, None, :, None]"
                                      ),
    "B: one NTK only": ("layer.slopes * Theta[:, None, :, None] * Theta_legs",
                        "layer.slopes * Theta_legs"),
    "leg: no second term": ("_scaled(self.f_3, X) + _scaled(2 * self.f_1.T, X_bb[None, :])",
                            "_scaled(self.f_3, X)"),
    "leg: no first term": ("_scaled(self.f_3, X) + _scaled(2 * self.f_1.T, X_bb[None, :])",
                           "_scaled(2 * self.f_1.T, X_bb[None, :])"),
    "leg: half of the second term": ("_scaled(2 * self.f_1.T, X_bb", "_scaled(self.f_1.T, X_bb"),
    "push: no K_aa": ("_scaled(self.f_3, A) + _scaled(self.f_1, A_aa[:, None])",
                      "_scaled(self.f_3, A)"),
    "push: no K_ab": ("moved = _scaled(self.f_3, A) +", "moved ="),
    "H1: no metric": ("above.ratio * (ntk + above.lambda_W * drift",
                      "above.ratio * (above.lambda_W * drift"),
    "H1: no drift of the value": ("ntk + above.lambda_W * drift +", "ntk +"),
    "H1: no drift of the slope": ("Theta * layer.slope_hessian.drift(now.V) + ", ""),
    "H1: no D": ("+ with_metric + across", "+ across"),
    "H1: no F": ("with_metric + across", "with_metric"),
    "H1: half of F": ("2 * f_1 * jnp.einsum(\"aaab->ab\", F)", "f_1 * jnp.einsum(\"aaab->ab\", F)"),
}  # fmt: skip


@dataclass
class Layers:
    """What the neurons of each layer do, evaluated once, and the recursions run over it."""

    net: fw.MLP
    x: np.ndarray
    statistics: list[NeuronStatistics]

    @classmethod
    def of(cls, net, x):
        kernels = fw.flow.ntk(net, x).kernel

        @jax.jit
        def everything(K):
            layer = NeuronStatistics(pair_moments(net.activation), K, 2**13)
            return {name: getattr(layer, name) for name in NAMES}

        statistics = []
        for K in kernels[:-1]:
            layer = NeuronStatistics(pair_moments(net.activation), K, 2**13)
            vars(layer).update(everything(K))
            statistics.append(layer)
        return cls(net, x, statistics)

    def flow(self, recursions=fluctuations, jacobian=PairJacobian):
        net, above = self.net, []
        frozen = fw.flow.ntk(net, self.x)
        now = NTKFluctuations.none(len(self.x))
        G1 = H1 = np.zeros((len(self.x),) * 2)
        found = []
        rates = (net.C_b, net.C_W, net.lambda_b, net.lambda_W, width_ratios(net))
        for index, layer in enumerate(self.statistics):
            for name in ("value_jacobian", "slope_jacobian"):
                known = getattr(layer, name)
                setattr(layer, name, jacobian(known.f_1, known.f_3))
            above = Hyperparameters(*(rate[index + 1] for rate in rates))
            Theta = frozen.mean[index]
            G1, H1 = recursions.advance_ntk_shift(layer, Theta, G1, H1, now, above)
            now = recursions.advance_fluctuations(layer, Theta, now, above)
            found.append((now, H1))
        none = (NTKFluctuations.none(len(self.x)), 0 * H1)
        stacked = [none, *found]
        result = {t: np.stack([getattr(state, t) for state, _ in stacked]) for t in TENSORS}
        result["vertex"] = np.stack([state.V for state, _ in stacked])
        return result | {"nlo_ntk": np.stack([shift for _, shift in stacked])}


NAMES = (
    "value", "slope", "value_jacobian", "slope_jacobian", "value_hessian", "slope_hessian",
    "values", "mixed", "slopes",
)  # fmt: skip


def mutated(module, before, after):
    """Return the module with one piece of its source replaced, which must occur exactly once."""
    spec = importlib.util.find_spec(module.__name__)
    source = importlib.util.decode_source(spec.loader.get_data(spec.origin))
    assert source.count(before) == 1, f"{before!r} occurs {source.count(before)} times"
    new = importlib.util.module_from_spec(spec)
    sys.modules["mutated"] = new  # where the classes of the module look for their names
    new.__name__ = "mutated"
    exec(compile(source.replace(before, after), "mutated", "exec"), new.__dict__)
    return new


def surviving_mutations(layers, measured, names):
    """Return the mutations with which the theory still agrees."""
    survivors = {}
    for name in names:
        before, after = MUTATIONS[name]
        if name.startswith(("leg", "push")):
            broken = layers.flow(jacobian=mutated(pair_derivatives, before, after).PairJacobian)
        else:
            broken = layers.flow(recursions=mutated(fluctuations, before, after))
        comparison = fw.compare(broken, measured)
        try:
            comparison.check(rms=(0.8, 1.25))
            survivors[name] = comparison
        except fw.comparison.Disagreement as refused:
            print(f"{name}: {str(refused).splitlines()[0]}")
    return survivors


def test_recursions_with_one_broken_term_are_refused(erf):
    layers = Layers.of(*NETWORKS["erf"])
    fw.compare(layers.flow(), erf).check(rms=(0.8, 1.25))
    names = [name for name in MUTATIONS if not name.startswith("H1")]
    assert not surviving_mutations(layers, erf, names)


@pytest.mark.slow
def test_shifts_with_one_broken_term_are_refused():
    layers = Layers.of(SHIFTED, X[:3])
    measured = measured_shift(40_000)
    fw.compare(layers.flow(), measured).check(rms=None)
    names = [name for name in MUTATIONS if name.startswith("H1")]
    assert not surviving_mutations(layers, measured, names)
