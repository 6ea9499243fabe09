"""Closed forms and power laws of each universality class against the recursions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import finitewidth as fw
from finitewidth.flow.ntk_asymptotics import decaying_ntk, ntk_asymptotics, rate_exponents
from finitewidth.flow.ntk_closed_forms import pinned_ntk, scale_invariant_ntk
from finitewidth.flow.ntk_single_input import single_input_ntk_flow
from finitewidth.precision import double_precision

NAMES = ("kernel", "mean", "vertex", "D", "F", "B", "A")
DEEP = 200_000


def tanh_and_square(c):
    # One function object for each c, so that compiled code and the classification are shared.
    return fw.activation(lambda z: jnp.tanh(z) + c * jnp.tanh(z) ** 2, name=f"tanh+{c}tanh^2")


MIXED = {c: tanh_and_square(c) for c in (0.4, -0.5)}


def deep_run(activation, rates, layers=DEEP):
    """Run the recursion for several pairs (lambda_b, lambda_W) of arrays over one kernel."""
    with double_precision():
        pairs = [
            jnp.array([np.broadcast_to(r, layers) for r in column])
            for column in zip(*rates, strict=True)
        ]
        run = jax.vmap(
            lambda b, w: single_input_ntk_flow(activation, layers, lambda_b=b, lambda_W=w)
        )
        return run(*pairs)


def balanced(activation, b, w, layers=DEEP):
    exponents = rate_exponents(fw.criticality.classify(activation))
    assert exponents is not None
    p_0, p_perp = exponents
    layer = np.arange(1.0, layers + 1)
    return b * layer**-p_perp, w * layer ** (p_0 - p_perp)


@pytest.fixture(scope="module")
def tanh():
    """Balanced rates twice, then uniform rates of biases alone and of weights alone."""
    rates = [balanced("tanh", 0.7, 1.3), balanced("tanh", 0.7, 0.2), (0.7, 0.0), (0.0, 1.3)]
    return deep_run("tanh", rates)


# ---------------------------------------------------------------- scale-invariant


@pytest.mark.parametrize("C_W", [None, 1.8, 0.7])
@pytest.mark.parametrize("activation", ["relu", "linear", "leaky_relu(0.2)", "abs"])
def test_scale_invariant_forms_are_exact_in_depth(activation, C_W):
    layer = np.arange(1, 61)
    closed = scale_invariant_ntk(activation, layer, 0.835, C_W, lambda_b=0.6, lambda_W=1.2)
    tuning = {} if C_W is None else {"C_b": 0.0, "C_W": C_W}
    flow = single_input_ntk_flow(activation, 60, 0.835, **tuning, lambda_b=0.6, lambda_W=1.2)
    for name in NAMES:
        np.testing.assert_allclose(
            getattr(closed, name), getattr(flow, name), rtol=1e-12, err_msg=name
        )


@pytest.mark.parametrize(
    ("activation", "wanted"),
    [
        ("relu", (8.010, 55.778, 110.420, 53.507, 153.984, 291.801)),
        ("linear", (8.010, 5.578, 16.733, 13.377, 76.992, 60.240)),
    ],
)
def test_numbers_of_five_layers(activation, wanted):
    flow = single_input_ntk_flow(activation, 5, 0.835, lambda_b=0.6, lambda_W=1.2)
    found = [float(getattr(flow, name)[-1]) for name in NAMES[1:]]
    np.testing.assert_allclose(found, wanted, atol=5.1e-4)


def test_off_critical_mean():
    """Theta^(25), PDLT (9.28); the form of `scale_invariant_ntk` off criticality."""
    for C_W, wanted in ((1.8, 7.90243), (2.0, 44.25), (2.2, 347.1129)):
        closed = scale_invariant_ntk("relu", 25, 0.9, C_W, lambda_b=0.6, lambda_W=1.3)
        assert float(closed.mean[0]) == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize(
    ("activation", "lambda_b", "lambda_W", "wanted", "variance", "correlation"),
    [
        # B/Theta^2, F/(K Theta), A/Theta^2, D/(K Theta), all per l/n.
        ("relu", 0.0, 1.3, (2 / 3, 1, 7 / 3, 3), 11 / 3, np.sqrt(27 / 35)),
        ("relu", 0.7, 0.0, (2 / 3, 1, 1 / 3, 1 / 2), 5 / 3, np.sqrt(3 / 20)),
        ("linear", 0.0, 1.3, (1 / 3, 1 / 2, 2 / 3, 1), 4 / 3, np.sqrt(3) / 2),
        ("linear", 0.7, 0.0, (1 / 3, 1 / 2, 0, 0), 2 / 3, None),
    ],
)
def test_limits_of_deep_scale_invariant_networks(
    activation, lambda_b, lambda_W, wanted, variance, correlation
):
    L = 20_000
    flow = single_input_ntk_flow(activation, L, 0.8, lambda_b=lambda_b, lambda_W=lambda_W)
    ratios = [float(flow.ratios[name][-1]) / L for name in "BFAD"]
    np.testing.assert_allclose(ratios, wanted, rtol=2e-4, atol=1e-9)
    assert float(flow.variance[-1] / flow.mean[-1] ** 2) / L == pytest.approx(variance, rel=2e-4)
    if correlation is not None:
        assert float(flow.correlation[-1]) == pytest.approx(correlation, rel=2e-4)


@pytest.mark.parametrize("activation", ["relu", "linear", "leaky_relu(0.2)", "abs"])
def test_signs_of_scale_invariant_tensors(activation):
    flow = single_input_ntk_flow(activation, 40, 0.8, lambda_b=0.6, lambda_W=1.2)
    for name in ("vertex", "A", "B", "D"):
        assert (np.asarray(getattr(flow, name))[1:] > 0).all()
    assert float(flow.correlation[-1]) < 1


# ---------------------------------------------------------------- K* = 0


def test_deep_tanh_by_the_book(tanh):
    """The amplitudes of PDLT (9.65)-(9.86) as numbers, at l = 2e5 to 1e-3."""
    b, w = 0.7, 1.3
    Theta = b + w / 2
    wanted = {
        "kernel": 1 / (2 * DEEP),
        "vertex": 1 / (6 * DEEP),
        "mean": Theta,
        "F": Theta / 8,
        "B": Theta**2 * DEEP / 3,
        "D": -b / 9,
        "A": 4 / 27 * b**2 * DEEP,
    }
    for name, value in wanted.items():
        assert float(getattr(tanh, name)[0, -1]) == pytest.approx(value, rel=1e-3), name


def test_leading_D_and_A_of_odd_activations_do_not_see_the_weights_rate(tanh):
    """Footnote 4 of chapter 9: lambda_W of 1.3 and 0.2 give the same."""
    for name in ("D", "A"):
        one, other = (float(getattr(tanh, name)[i, -1]) for i in (0, 1))
        assert one == pytest.approx(other, rel=1e-3)
    assert float(tanh.mean[0, -1]) > 1.5 * float(tanh.mean[1, -1])


def test_ratios_and_correlation_of_deep_tanh(tanh):
    ratios = {name: float(ratio[0, -1]) / DEEP for name, ratio in tanh.ratios.items()}
    share = 0.7 / (0.7 + 1.3 / 2)  # Y/X
    wanted = {
        "vertex": 2 / 3, "B": 1 / 3, "F": 1 / 4, "D": -2 / 9 * share, "A": 4 / 27 * share**2
    }  # fmt: skip
    for name, value in wanted.items():
        assert ratios[name] == pytest.approx(value, rel=1e-3), name
    assert float(tanh.correlation[0, -1]) == pytest.approx(-np.sqrt(0.5), rel=1e-3)
    for name in ("vertex", "A", "B"):
        assert (np.asarray(getattr(tanh, name))[0, 1:] > 0).all()


def test_uniform_rates_of_deep_tanh(tanh):
    """Biases give lambda_b l/(p_perp + 1), weights lambda_W sigma_1^2/(-a_1 p_perp)."""
    assert float(tanh.mean[2, -1]) / DEEP == pytest.approx(0.7 / 2, rel=1e-3)
    assert float(tanh.mean[3, -1]) == pytest.approx(1.3 / 2, rel=1e-3)


def test_scaling_laws(tanh):
    """PDLT (9.27), from exponents fitted to the recursions, and from the table of exponents."""
    relu = single_input_ntk_flow("relu", DEEP, 0.8, lambda_b=0.6, lambda_W=1.2)
    for tensors, which in ((tanh, (0,)), (relu, ())):
        p = {
            name: -np.log2(float(values[(*which, -1)] / values[(*which, DEEP // 2 - 1)]))
            for name, values in ((name, getattr(tensors, name)) for name in NAMES)
        }
        sums = [
            p["vertex"] - 2 * p["kernel"],
            p["D"] - p["mean"] - p["kernel"],
            p["F"] - p["mean"] - p["kernel"],
            p["B"] - 2 * p["mean"],
            p["A"] - 2 * p["mean"],
        ]
        np.testing.assert_allclose(sums, -1, atol=1e-3)
    for activation in ("relu", "linear", "tanh", "sin", "selu", MIXED[0.4]):
        known = {law.name: law.exponent for law in ntk_asymptotics(activation)}
        known |= fw.criticality.classify(activation).exponents
        sums = [
            known["p_V"] - 2 * known["p_0"],
            known["p_D"] - known["p_Theta"] - known["p_0"],
            known["p_F"] - known["p_Theta"] - known["p_0"],
            known["p_B"] - 2 * known["p_Theta"],
            known["p_A"] - 2 * known["p_Theta"],
        ]
        np.testing.assert_allclose(sums, -1, atol=1e-12)


@pytest.mark.parametrize(
    ("c", "p_perp"),
    [
        (0.4, (-2 + 4 * 0.4**2) / (-2 + 3 * 0.4**2)),
        pytest.param(-0.5, 0.8, marks=pytest.mark.slow),
    ],
)
def test_activations_whose_p_perp_is_not_1(c, p_perp):
    exponents = rate_exponents(fw.criticality.classify(MIXED[c]))
    assert exponents == pytest.approx((1.0, p_perp), abs=1e-8)
    check_decaying(MIXED[c], 20_000)


def test_a_kink_at_zero():
    """Selu has a kink in sigma' at 0, so p_0 = p_perp = 2 and m > 1: beyond the book."""
    check_decaying("selu", 20_000)


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["erf", "elu", "softsign"])
def test_other_power_laws(activation):
    check_decaying(activation, 100_000)


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["sin", MIXED[0.4], MIXED[-0.5]])
def test_power_laws_at_great_depth(activation):
    """At l = 2e5 to 1e-3, without extrapolation."""
    found = deep_run(activation, [balanced(activation, 0.7, 1.3)])
    law = decaying_ntk(activation, [DEEP], 0.7, 1.3)
    for name in NAMES:
        ratio = float(getattr(found, name)[0, -1] / getattr(law, name)[0])
        assert ratio == pytest.approx(1, abs=1e-3), name


def check_decaying(activation, layers):
    """Take ratio = limit + (alpha log l + beta)/l from three depths to infinite depth."""
    found = deep_run(activation, [balanced(activation, 0.7, 1.3, layers)], layers)
    depths = layers // np.array([1, 2, 4])
    law = decaying_ntk(activation, depths, 0.7, 1.3)
    terms = np.stack([np.ones(3), np.log(depths) / depths, 1 / depths], axis=1)
    for name in NAMES:
        ratios = np.asarray(getattr(found, name))[0, depths - 1] / np.asarray(getattr(law, name))
        assert np.linalg.solve(terms, ratios)[0] == pytest.approx(1, abs=2e-4), name


def test_the_law_of_sin_by_the_book():
    """The amplitudes as printed numbers, at l = 300."""
    b, w, L = 0.7, 1.3, 300
    wanted = (1 / L, b + w, 2 / (3 * L), -2 / 9 * b, (b + w) / 4, (b + w) ** 2 * L / 3)
    law = decaying_ntk("sin", L, b, w)
    np.testing.assert_allclose([float(getattr(law, name)[0]) for name in NAMES[:-1]], wanted)
    assert float(law.A[0]) == pytest.approx(4 / 27 * b**2 * L)


# ---------------------------------------------------------------- half-stable


@pytest.mark.parametrize(
    ("activation", "C_b", "C_W", "K_star", "h"),
    [
        ("gelu", 0.17292239, 1.98305826, 3.56155281, 0.00466677),
        pytest.param(
            "silu", 0.55514317, 1.98800468, 14.32017362, 0.000866514, marks=pytest.mark.slow
        ),
    ],
)
def test_half_stable_polynomials(activation, C_b, C_W, K_star, h):
    point = fw.criticality.analyze(activation)
    np.testing.assert_allclose((point.C_b, point.C_W, point.K_star), (C_b, C_W, K_star), rtol=2e-8)
    chi = fw.criticality.susceptibilities(activation, point.C_b, point.C_W)
    assert float(chi.h(point.K_star)) == pytest.approx(h, rel=2e-6)
    # A first layer with the same C_b and C_W is at K* if |x|^2/n_0 = g*.
    on_it = (point.K_star - point.C_b) / point.C_W
    flow = single_input_ntk_flow(activation, 30, on_it, lambda_b=0.7, lambda_W=1.3)
    closed = pinned_ntk(activation, np.arange(1, 31), lambda_b=0.7, lambda_W=1.3)
    for name in NAMES:
        np.testing.assert_allclose(
            getattr(closed, name), getattr(flow, name), rtol=1e-9, err_msg=name
        )


def test_gelu_leaves_the_law_of_relu():
    """A/(Theta^2 l) at K*: like ReLU at first, then (8/15) h^2 q_4 l^2."""
    gelu = pinned_ntk("gelu", [10, 30, 100, 1000, 10**7], lambda_b=0.7, lambda_W=1.3)
    ratio = np.asarray(gelu.ratios["A"] / gelu.layer)
    np.testing.assert_allclose(ratio[:4], [1.979, 3.885, 14.70, 784], rtol=5e-4)
    laws = {law.name: law for law in ntk_asymptotics("gelu", lambda_b=0.7, lambda_W=1.3)}
    for name, field in zip(("Theta", "D", "F", "B", "A"), ("mean", *"DFBA"), strict=True):
        law = laws[f"p_{name}"]
        expected = law.amplitude * 1e7**-law.exponent
        assert float(getattr(gelu, field)[-1]) == pytest.approx(expected, rel=1e-5), name


# ---------------------------------------------------------------- the tables


def test_amplitudes_of_the_scale_invariant_class():
    deep = scale_invariant_ntk("leaky_relu(0.2)", 10**7, 0.8, lambda_b=0.6, lambda_W=1.2)
    for law in ntk_asymptotics("leaky_relu(0.2)", 0.8, lambda_b=0.6, lambda_W=1.2):
        field = {"p_Theta": "mean"}.get(law.name, law.name[-1])
        expected = law.amplitude * 1e7**-law.exponent
        assert float(getattr(deep, field)[0]) == pytest.approx(expected, rel=1e-6), law.name


def test_classes_without_power_laws():
    assert {law.exponent for law in ntk_asymptotics("hard_tanh")} == {None}
    assert ntk_asymptotics("sigmoid") == ()
    with pytest.raises(ValueError, match="power laws"):
        decaying_ntk("hard_tanh", 10)
    with pytest.raises(ValueError, match="power laws"):
        decaying_ntk("gelu", 10)
    with pytest.raises(ValueError, match="scale-invariant"):
        scale_invariant_ntk("tanh", 10)
    with pytest.raises(ValueError, match=r"K\* > 0"):
        pinned_ntk("relu", 10)
    with pytest.raises(ValueError, match="whole numbers"):
        scale_invariant_ntk("relu", [1, 2.5])
