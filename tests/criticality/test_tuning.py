"""Critical hyperparameters of every activation of the table, and of functions of one's own."""

import math

import jax
import jax.numpy as jnp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finitewidth.activations import activation
from finitewidth.criticality import critical_initialization, critical_tuning, susceptibilities
from finitewidth.criticality.small_kernel import small_kernel
from finitewidth.network import MLP
from finitewidth.precision import double_precision

SIGMOID_SHIFTED = activation(lambda z: jax.nn.sigmoid(z) - 0.5, name="sigmoid - 1/2")
SOFTPLUS_SHIFTED = activation(lambda z: jax.nn.softplus(z) - math.log(2), name="softplus - ln 2")

# K* ("any" for scale-invariant), C_b, C_W with the digits that are known.
CRITICAL = [
    ("linear", "any", "0", "1"),
    ("relu", "any", "0", "2"),
    ("leaky_relu(0.01)", "any", "0", "1.999800"),
    ("leaky_relu(0.2)", "any", "0", "1.923077"),
    ("abs", "any", "0", "1"),
    ("tanh", "0", "0", "1"),
    ("sin", "0", "0", "1"),
    ("erf", "0", "0", "0.785398"),
    ("arctan", "0", "0", "1"),
    ("asinh", "0", "0", "1"),
    (SIGMOID_SHIFTED, "0", "0", "16"),
    ("softsign", "0", "0", "1"),
    ("elu", "0", "0", "1"),
    ("selu", "0", "0", "0.476771"),
    ("hard_tanh", "0", "0", "1"),
    ("silu", "14.32017362", "0.55514317", "1.98800468"),
    ("gelu", "3.56155281", "0.17292239", "1.98305826"),
    ("gelu_tanh", "3.55677284", "0.17289520", "1.98288824"),
    ("mish", "1.67016913", "0.09452179", "2.01352407"),
    ("hard_swish", "4.80385595", "0.50714585", "1.97328958"),
]


@pytest.mark.parametrize(("name", "K_star", "C_b", "C_W"), CRITICAL, ids=lambda v: str(v))
def test_table(name, K_star, C_b, C_W, printed):
    tuning = critical_tuning(name)
    point = tuning.points[0]
    assert tuning.recommended
    for value, digits in [(point.K_star, K_star), (point.C_b, C_b), (point.C_W, C_W)]:
        if digits == "any":
            assert value is None
        elif "." in digits:
            printed(value, digits)
        else:
            assert value == pytest.approx(float(digits), abs=1e-12)
    assert critical_initialization(name) == (point.C_b, point.C_W)
    assert point.chi_parallel == point.chi_perp == 1.0


@pytest.mark.parametrize("name", ["leaky_relu(0.2)", "tanh", "gelu", "selu", "hard_swish"])
def test_both_susceptibilities_are_one(name):
    """The tuning does what it promises, checked with the susceptibilities themselves."""
    for point in critical_tuning(name).points:
        K = 1.7 if point.K_star is None else point.K_star
        chi = susceptibilities(name, point.C_b, point.C_W)
        assert float(chi.kernel(K)) == pytest.approx(K, rel=1e-10)
        assert float(chi.chi_parallel(K)) == pytest.approx(1.0, rel=1e-10)
        assert float(chi.chi_perp(K)) == pytest.approx(1.0, rel=1e-10)


@pytest.mark.parametrize(
    ("name", "side"),
    [("silu", "below"), ("gelu", "above"), ("mish", "below"), ("hard_swish", "below")],
)
def test_half_stable_sides(name, side):
    """The sign of a~_1 decides, PDLT (5.102): K' - K = a~_1 (K - K*)^2."""
    point = critical_tuning(name).points[0]
    assert (point.stability, point.attracts_from) == ("half-stable", side)


def test_gelu_exactly():
    point = critical_tuning("gelu").points[0]
    assert point.K_star == pytest.approx((3 + math.sqrt(17)) / 2, rel=1e-12)


@pytest.mark.parametrize(
    ("name", "C_W"), [("silu", "4.0"), ("gelu", "4.0"), ("mish", "2.77778"), ("hard_swish", "4.0")]
)
def test_unstable_points_at_zero_are_listed_last(name, C_W, printed):
    point = critical_tuning(name).points[-1]
    assert (point.K_star, point.C_b, point.stability) == (0.0, 0.0, "unstable")
    printed(point.C_W, C_W)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("sigmoid", r"C_b = -\(sigma\(0\)/sigma'\(0\)\)\^2 = -4 < 0"),
        ("softplus", "never reaches 1 .* stays below 0.97"),
        (SOFTPLUS_SHIFTED, r"K\* = 0 \(C_b = 0, C_W = 4\) is unstable: a_1 = 0.1875 > 0"),
        ("quadratic", r"p/\(2p - 1\) = 0.666667 .* p = 2"),
        ("monomial(3)", r"= 0.6 .* p = 3"),
        ("monomial(4)", r"= 0.571429 .* p = 4"),
        ("cos", "nowhere positive"),
        ("perceptron", "jumps"),
        (lambda z: 0.0 * z, "constant"),
        (lambda z: jnp.exp(-(z**2) / 2), "nowhere positive"),
    ],
    ids=lambda v: str(v)[:20],
)
def test_no_criticality(name, reason):
    sigma = activation(name)
    assert not critical_tuning(sigma).recommended
    with pytest.raises(ValueError, match=reason) as error:
        critical_initialization(sigma)
    assert sigma.name in str(error.value)


def test_no_spurious_roots():
    """r - 1 falls like K at small K and like exp(-2K) for sin: neither is a root."""
    for name in ("tanh", "sin", "erf", "softsign", "elu", "selu", "hard_tanh"):
        assert [p.K_star for p in critical_tuning(name).points] == [0.0]
    for name in ("sigmoid", "softplus", "cos"):
        assert critical_tuning(name).points == ()


def test_a_root_that_needs_a_negative_bias_variance():
    """GELU plus a small constant keeps a root of r = 1, but at a negative C_b."""
    sigma = activation(lambda z: jax.nn.gelu(z, approximate=False) + 0.1, name="raised gelu")
    tuning = critical_tuning(sigma)
    assert not tuning.recommended
    assert any("would need C_b = -" in reason for reason in tuning.reasons)


@settings(max_examples=15)
@given(plus=st.floats(0.01, 10), minus=st.floats(-10, 10))
def test_scale_invariant_slopes(plus, minus):
    """C_W = 2/(a_plus^2 + a_minus^2), PDLT (5.67), found from the values of a plain function."""
    with double_precision():
        sigma = activation(lambda z: jnp.where(z >= 0, plus * z, minus * z))
        C_b, C_W = critical_initialization(sigma)
    assert C_b == 0.0
    assert pytest.approx(2 / (plus**2 + minus**2), rel=1e-12) == C_W


@settings(max_examples=5)
@given(c=st.floats(0.1, 10), name=st.sampled_from(["tanh", "selu", "arctan"]))
def test_scaling_the_output(c, name):
    """sigma -> c sigma turns C_W into C_W/c^2 and leaves the rest."""
    with double_precision():
        sigma = activation(name)
        one = small_kernel(sigma)
        scaled = small_kernel(activation(lambda z: c * sigma(z), kinks=sigma.kinks))
    assert pytest.approx(one.C_W / c**2, rel=1e-12) == scaled.C_W
    assert scaled.c == pytest.approx(one.c, rel=1e-8)
    assert scaled.q == one.q


@settings(max_examples=5)
@given(c=st.floats(0.2, 5), name=st.sampled_from(["sin", "tanh", "elu"]))
def test_scaling_the_input(c, name):
    """sigma(c z) sees the kernel c^2 K: c K^q turns into c c^(2q) K^q."""
    with double_precision():
        sigma = activation(name)
        one = small_kernel(sigma)
        scaled = small_kernel(activation(lambda z: sigma(c * z), kinks=sigma.kinks))
    assert pytest.approx(one.C_W / c**2, rel=1e-11) == scaled.C_W
    assert scaled.c == pytest.approx(one.c * c ** (2 * one.q), rel=1e-7)


def test_networks_are_tuned():
    net = MLP.critical(widths=(3, 5, 2), activation="gelu")
    assert net.C_b.tolist() == pytest.approx([0.17292239] * 2, abs=1e-8)
    with pytest.raises(ValueError, match="wanted one that can be critical, got sigmoid"):
        MLP.critical(widths=(3, 5, 2), activation="sigmoid")


def test_single_precision_callers():
    with jax.enable_x64(False):
        C_b, C_W = critical_initialization("gelu")
    assert isinstance(C_b, float)
    assert isinstance(C_W, float)
    assert pytest.approx(1.98305826, abs=1e-8) == C_W
