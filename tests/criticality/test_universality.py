"""Classes, constants and exponents, against the table and against the recursions themselves."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finitewidth.activations import activation
from finitewidth.criticality import classify, susceptibilities
from finitewidth.gaussian.pair import pair_moments
from finitewidth.precision import double_precision

SIGMOID_SHIFTED = activation(lambda z: jax.nn.sigmoid(z) - 0.5, name="sigmoid - 1/2")
SOFTPLUS_SHIFTED = activation(lambda z: jax.nn.softplus(z) - math.log(2), name="softplus - ln 2")
TANH_SHIFTED = activation(lambda z: jnp.tanh(z + 0.3) - math.tanh(0.3), name="shifted tanh")

# Class, subclass and constants with the digits that are known; fractions are exact.
TABLE = [
    ("linear", "scale-invariant", None, {"A_2": 1, "A_4": 1, "N": 2, "rho": 0}),
    ("relu", "scale-invariant", None, {"A_2": 0.5, "A_4": 0.5, "N": 5, "rho": 1 / math.pi}),
    ("leaky_relu(0.01)", "scale-invariant", None, {"N": "4.998800", "rho": "0.311944"}),
    ("leaky_relu(0.2)", "scale-invariant", None, {"N": "4.556213", "rho": "0.195883"}),
    ("abs", "scale-invariant", None, {"N": 2, "rho": 2 / math.pi}),
    ("tanh", "K*=0", "smooth", {"a_1": -2, "a_2": 17 / 3, "b_1": -2, "tuned_nlo_metric": 89 / 36}),
    ("sin", "K*=0", "smooth", {"a_1": -1, "a_2": 2 / 3, "b_1": -1, "tuned_nlo_metric": 20 / 9}),
    ("erf", "K*=0", "smooth", {"a_1": -2, "a_2": 14 / 3, "b_1": -2}),
    ("arctan", "K*=0", "smooth", {"a_1": -2, "a_2": 23 / 3, "b_1": -2}),
    ("asinh", "K*=0", "smooth", {"a_1": -1, "a_2": 8 / 3, "b_1": -1}),
    (SIGMOID_SHIFTED, "K*=0", "smooth", {"a_1": -0.5, "a_2": 17 / 48, "b_1": -0.5}),
    (TANH_SHIFTED, "K*=0", "smooth", {"tuned_nlo_metric": "0.183803"}),
    ("softsign", "K*=0", "kinked sigma''", {"c": "3.191538", "q": 0.5, "N": 2, "tuning": 0.5}),
    ("elu", "K*=0", "kinked sigma''", {"c": "0.797885", "q": 0.5, "N": 2, "tuning": 0.5}),
    ("selu", "K*=0", "kinked sigma'",
     {"c": "1.17581", "q": 0.5, "N": "2.673055", "tuning": "0.668264"}),
    ("hard_tanh", "K*=0", "marginal", {"N": 2}),
    ("silu", "half-stable", None,
     {"a1_tilde": "2.84979219e-6", "w_star": "4.92319", "dchi_perp_dK": "1.73303e-3"}),
    ("gelu", "half-stable", None,
     {"a1_tilde": "-1.43626419e-4", "w_star": "4.90423", "dchi_perp_dK": "9.33354e-3"}),
    ("gelu_tanh", "half-stable", None, {"a1_tilde": "-1.61819e-4"}),
    ("mish", "half-stable", None, {"a1_tilde": "7.89397e-3", "w_star": "4.77069"}),
    ("hard_swish", "half-stable", None, {"a1_tilde": "1.39005e-3"}),
    ("sigmoid", "none", None, {}),
    ("softplus", "none", None, {}),
    (SOFTPLUS_SHIFTED, "none", None, {"a_1": 3 / 16}),
    ("quadratic", "none", None, {}),
    ("monomial(3)", "none", None, {}),
    ("monomial(4)", "none", None, {}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "family", "subclass", "constants"), TABLE, ids=lambda v: str(v)[:20]
)
def test_table(name, family, subclass, constants, printed):
    found = classify(name)
    assert (found.name, found.subclass) == (family, subclass)
    for key, value in constants.items():
        if isinstance(value, str):
            printed(found.constants[key], value)
        else:
            assert found.constants[key] == pytest.approx(value, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(
    ("name", "a_1", "b_1"),
    [
        ("silu", 3 / 4, 1.0),
        ("gelu", 6 / math.pi, 8 / math.pi),
        ("mish", 0.693333, None),
        ("hard_swish", 1 / 3, 4 / 9),
        (SOFTPLUS_SHIFTED, 3 / 16, 1 / 4),
    ],
    ids=str,
)
def test_unstable_points_at_zero(name, a_1, b_1):
    from finitewidth.criticality.small_kernel import small_kernel

    expansion = small_kernel(activation(name))
    assert expansion.a_1 == pytest.approx(a_1, rel=1e-6)
    if b_1 is not None:
        assert expansion.b_1 == pytest.approx(b_1, rel=1e-12)


@pytest.mark.parametrize(
    ("name", "function", "kinks"),
    [
        ("tanh", lambda z: 1 - 2 / (jnp.exp(2 * z) + 1), ()),
        ("gelu", lambda z: z * jax.scipy.stats.norm.cdf(z), ()),
        ("relu", lambda z: jnp.maximum(z, 0.0), (0.0,)),
        ("relu", lambda z: jnp.maximum(z, 0.0), ()),
        ("softplus", lambda z: jnp.logaddexp(z, 0.0), ()),
        ("leaky_relu(0.2)", lambda z: jnp.where(z > 0, z, 0.2 * z), (0.0,)),
        ("elu", lambda z: jnp.where(z > 0, z, jnp.expm1(jnp.minimum(z, 0.0))), (0.0,)),
        ("elu", lambda z: jnp.where(z > 0, z, jnp.expm1(jnp.minimum(z, 0.0))), ()),
        ("hard_tanh", lambda z: jnp.clip(z, -1.0, 1.0), (-1.0, 1.0)),
    ],
    ids=lambda v: str(v)[:12],
)
def test_functions_of_ones_own(name, function, kinks):
    """A function is classified by what it does, not by its name."""
    own, known = classify(activation(function, kinks=kinks)), classify(name)
    assert (own.name, own.subclass) == (known.name, known.subclass)
    assert own.constants.keys() == known.constants.keys()
    for key, value in known.constants.items():
        assert own.constants[key] == pytest.approx(value, rel=1e-7, abs=1e-10)


def test_higher_order_flatness():
    """a_1 = 0 and a_2 < 0 give K ~ (-2 a_2 l)^(-1/2)."""
    flat = classify(activation(lambda z: z * jnp.exp(-(z**4))))
    assert (flat.name, flat.constants["q"], flat.constants["c"]) == ("K*=0", 2.0, 30.0)
    assert flat.exponents["p_0"] == 0.5
    assert flat.amplitudes["p_0"] == pytest.approx(60**-0.5)
    assert flat.exponents["p_parallel"] == 1.5


EXPONENTS = [
    ("relu", {"p_0": 0, "p_parallel": 0, "p_perp": 2, "p_psi": 1, "p_V": -1, "p_1": None}),
    ("linear", {"p_0": 0, "p_parallel": 0, "p_perp": 0, "p_psi": 0, "p_V": -1, "p_1": None}),
    ("tanh", {"p_0": 1, "p_parallel": 2, "p_perp": 1, "p_psi": 0, "p_V": 1, "p_1": 0}),
    ("elu", {"p_0": 2, "p_parallel": 3, "p_perp": 2, "p_psi": 0, "p_V": 3, "p_1": 1}),
    ("selu", {"p_0": 2, "p_parallel": 3, "p_perp": 4, "p_psi": 1, "p_V": 3, "p_1": 1}),
    ("hard_tanh", {"p_0": 0, "p_parallel": 1, "p_perp": 0, "p_psi": 0, "p_V": -1, "p_1": -1}),
]


@pytest.mark.parametrize(("name", "exponents"), EXPONENTS)
def test_exponents(name, exponents):
    found = classify(name).exponents
    assert found == pytest.approx(exponents, abs=1e-8)
    assert found["p_V"] - 2 * found["p_0"] == -1  # PDLT (5.129)


def test_exponents_that_depend_on_the_activation(printed):
    printed(classify(TANH_SHIFTED).exponents["p_perp"], "0.931354")
    # 4 h/chi_parallel': about -65 for GELU and 608 for SWISH.
    assert classify("gelu").exponents["p_perp"] == pytest.approx(-65, abs=0.5)
    assert classify("silu").exponents["p_perp"] == pytest.approx(608, abs=0.5)
    assert classify("sigmoid").exponents == {}


def test_amplitudes(printed):
    selu, relu, tanh = classify("selu"), classify("relu"), classify("tanh")
    printed(math.sqrt(selu.amplitudes["p_0"]), "1.700957")
    printed(math.sqrt(classify("softsign").amplitudes["p_0"]), "0.626657")
    printed(math.sqrt(classify("elu").amplitudes["p_0"]), "2.506628")
    printed(selu.amplitudes["p_V"] / selu.amplitudes["p_0"] ** 2, "0.891018")
    printed(relu.amplitudes["p_psi"], "9.424778")
    printed(classify("leaky_relu(0.2)").amplitudes["p_psi"], "15.315264")
    printed(classify("abs").amplitudes["p_psi"], "4.712389")
    printed(tanh.constants["beta"], "-0.305556")
    assert classify("sin").constants["beta"] == pytest.approx(-14 / 9)
    assert tanh.amplitudes["p_0"] == 0.5
    assert tanh.amplitudes["p_1"] == pytest.approx(-1 / 6)
    assert classify("elu").amplitudes["p_1"] / classify("elu").amplitudes["p_0"] == -0.25


def _single_input_flow(name, depth, K=1.0):
    """Iterate kernel, vertex and NLO metric, PDLT (5.108)-(5.110), at the critical tuning."""
    point = classify(name).tuning.points[0]
    chi = susceptibilities(name, point.C_b, point.C_W)

    def layer(state, _):
        K, V, G = state
        parallel = chi.chi_parallel(K)
        after = (
            chi.kernel(K),
            parallel**2 * V + chi.fluctuation(K),
            parallel * G + chi.j(K) / (8 * K**2) * V,
        )
        return after, state

    start = (jnp.asarray(K), jnp.zeros(()), jnp.zeros(()))
    return jax.jit(lambda s: jax.lax.scan(layer, s, length=depth)[1])(start)


@pytest.mark.parametrize("name", ["tanh", "selu"])
def test_asymptotics_against_the_recursions(name):
    """Exponents from the last factor of 2 in depth, amplitudes at its end."""
    found, depth = classify(name), 1024
    flow = _single_input_flow(name, depth)
    for values, key in zip(flow, ("p_0", "p_V", "p_1"), strict=True):
        last, half = float(values[-1]), float(values[depth // 2 - 1])
        p, amplitude = found.exponents[key], found.amplitudes[key]
        assert -math.log2(last / half) == pytest.approx(p, abs=0.03)
        assert last * depth**p == pytest.approx(amplitude, rel=0.03)


def test_tuned_nlo_metric_against_the_recursion():
    """With c_W^1 = 2/3 c_W^0, G1/K tends to the constant; PDLT (5.143) prints another one."""
    K, V, G = 1.0, 0.0, 0.0
    for _ in range(100_000):  # sin, whose expectations are elementary
        decay, g = math.exp(-2 * K), -math.expm1(-2 * K) / 2
        fourth = 3 / 8 - math.exp(-2 * K) / 2 + math.exp(-8 * K) / 8
        G = decay * G - decay * V + 2 / 3 * g
        V = decay**2 * V + fourth - g**2
        K = g
    found = classify("sin")
    assert G / K == pytest.approx(found.constants["tuned_nlo_metric"], rel=1e-3)
    assert (V / K - 2 / 3) / K == pytest.approx(found.constants["beta"], rel=2e-2)
    assert V * 100_000 == pytest.approx(found.amplitudes["p_V"], rel=1e-3)


def test_marginal_against_the_recursion():
    """Hard tanh: logarithms, V/(l K^2) -> 2/3, G1/l -> -1/12, from elementary expectations."""
    K, V, G = 1.0, 0.0, 0.0
    depth = 100_000
    for _ in range(depth):
        a = 1 / math.sqrt(K)
        outside, density = (
            math.erfc(a / math.sqrt(2)),
            math.exp(-(a**2) / 2) / math.sqrt(2 * math.pi),
        )
        second = 1 - outside - 2 * a * density
        fourth = 3 * (1 - outside) - 2 * density * (a**3 + 3 * a)
        g, quartic = K * second + outside, K**2 * fourth + outside
        G = second * G + (fourth - 3 * second) / (4 * K) * V
        V = second**2 * V + quartic - g**2
        K = g
    found = classify("hard_tanh")
    assert G / depth == pytest.approx(found.amplitudes["p_1"], rel=0.03)
    assert V / (depth * K**2) == pytest.approx(found.constants["N"] / 3, rel=0.07)
    assert 2 * K * math.log(depth) == pytest.approx(1, abs=0.12)


@pytest.mark.slow
def test_selu_angles_against_the_recursion():
    """A kink in sigma' turns angles like 3/(rho l) although the kernel decays like 1/l^2."""
    found = classify("selu")
    C_W = found.tuning.points[0].C_W
    pair = pair_moments(activation("selu"))

    def layer(state, _):
        K, cosine = state
        after = C_W * pair.diagonal_value(K)
        return (after, C_W * pair.value(K, K, K * cosine) / after), cosine

    start = (jnp.asarray(1.0), jnp.asarray(0.5))
    cosine = jax.jit(lambda s: jax.lax.scan(layer, s, length=4000)[1])(start)
    psi = np.arccos(np.asarray(cosine))
    assert psi[-1] * 4000 == pytest.approx(found.amplitudes["p_psi"], rel=0.03)
    assert math.log2(psi[1999] / psi[3999]) == pytest.approx(found.exponents["p_psi"], abs=0.03)


@settings(max_examples=40)
@given(a=st.floats(-1, 1))
def test_scale_invariant_constants(a):
    """N >= 2 with equality for one size of slope; rho = 0 only for the linear function."""
    with double_precision():
        found = classify(f"leaky_relu({a!r})")
    N, rho = found.constants["N"], found.constants["rho"]
    assert N == pytest.approx(2 + 3 * ((1 - a**2) / (1 + a**2)) ** 2)
    assert rho == pytest.approx((1 - a) ** 2 / (1 + a**2) / math.pi)
    assert found.amplitudes["p_V"] == N
