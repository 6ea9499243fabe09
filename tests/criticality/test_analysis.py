"""The analysis as an object, as JSON and as text."""

import json
import math

import jax
import jax.numpy as jnp
import pytest

from finitewidth.activations import activation
from finitewidth.criticality import analyze, analyze_initialization, susceptibilities

KEYS = {
    "activation", "universality_class", "C_b", "C_W", "K_star", "chi_parallel", "chi_perp",
    "exponents", "fixed_points",
}  # fmt: skip


@pytest.mark.parametrize(
    "name", ["relu", "tanh", "gelu", "selu", "hard_tanh", "sigmoid", "perceptron", "monomial(3)"]
)
def test_json(name):
    result = analyze(name).to_dict()
    assert result.keys() >= KEYS
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert result["activation"] == name
    for point in result["fixed_points"]:
        assert point.keys() >= {"K_star", "C_b", "C_W", "chi_parallel", "chi_perp", "stability"}


def test_gelu():
    result = analyze("gelu")
    assert result.universality_class == "half-stable"
    assert result.chi_parallel == result.chi_perp == 1.0
    where = [(point.K_star, point.C_W) for point in result.fixed_points]
    assert where == [
        pytest.approx((3.56155281, 1.98305826), abs=1e-8),
        (0.0, 4.0),
        pytest.approx((3.034981, 1.98305826), abs=1e-6),
    ]
    text = str(result)
    for words in ("half-stable", "0.172922391", "1.98305826", "a1_tilde", "Only kernels above K*"):
        assert words in text


def test_scale_invariant():
    result = analyze("relu")
    assert (result.K_star, result.to_dict()["K_star"]) == (None, "any")
    assert len(result.fixed_points) == 1
    assert "V/(n K^2) grows like 5 l/n" in " ".join(result.advice)


def test_none():
    result = analyze("sigmoid")
    assert result.universality_class == "none"
    assert result.C_b is result.C_W is result.K_star is None
    assert result.chi_parallel is result.chi_perp is None
    assert result.exponents == {}
    assert "C_b = -(sigma(0)/sigma'(0))^2 = -4 < 0" in result.reasons[0]
    assert "C_b = 0, C_W = 16" in result.advice[0]
    assert "continuous" in analyze("perceptron").advice[0]


@pytest.mark.parametrize("name", ["sigmoid", "softplus", "quadratic"])
def test_advice_off_criticality_is_sound(name):
    """The suggested hyperparameters have a stable fixed point where the advice says."""
    words = analyze(name).advice[-1]
    numbers = {
        key: float(words.split(f"{key} = ")[1].split()[0].strip(",()")) for key in ("C_b", "C_W")
    }
    K_star = float(words.split("K* = ")[1].split(")")[0])
    near = analyze_initialization(name, **numbers, start=K_star)
    # The advice is printed with 4 digits.
    assert near.reached.stability == "stable"
    assert near.reached.K_star == pytest.approx(K_star, rel=0.2)


def test_constants_of_an_unstable_point_are_kept():
    shifted = activation(lambda z: jax.nn.softplus(z) - math.log(2), name="softplus - ln 2")
    result = analyze(shifted)
    assert result.universality_class == "none"
    assert result.constants["a_1"] == pytest.approx(3 / 16)
    assert result.fixed_points[0].stability == "unstable"


def test_selu_as_it_is_used(printed):
    result = analyze_initialization("selu", C_b=0.0, C_W=1.0)
    assert result.phase == "chaotic"
    printed(result.reached.chi_parallel, "0.78264788")
    printed(result.reached.chi_perp, "1.07157499")
    assert "layers (growing)" in str(result)
    assert json.loads(json.dumps(result.to_dict(), allow_nan=False))["phase"] == "chaotic"


@pytest.mark.parametrize(
    ("name", "C_b", "C_W", "phase", "K_star"),
    [
        ("tanh", 0.05, 1.2, "ordered", 0.269902),
        ("tanh", 0.05, 2.5, "chaotic", 1.063958),
        ("tanh", 0.05, 1.76095464, "angle-preserving", 0.570048),
        ("tanh", 0.0, 1.0, "critical", 0.0),
        ("relu", 0.0, 2.0, "critical", None),
        ("relu", 0.0, 2.5, "chaotic", math.inf),
        ("relu", 0.2, 1.0, "ordered", 0.4),
    ],
)
def test_phases(name, C_b, C_W, phase, K_star):
    result = analyze_initialization(name, C_b, C_W)
    assert result.phase == phase
    if K_star is None:
        assert result.reached is None
    else:
        assert result.reached.K_star == pytest.approx(K_star, rel=1e-3)
    assert phase in str(result)


@pytest.mark.parametrize("start", [0.1, 3.3, 3.7, 20.0])
def test_destination_by_iteration(start):
    """Just below the critical C_b of GELU there is one fixed point less; the flow agrees."""
    C_b, C_W = 0.2, 1.95
    reached = analyze_initialization("gelu", C_b, C_W, start=start).reached
    chi = susceptibilities("gelu", C_b, C_W)
    flow = jax.jit(lambda K: jax.lax.fori_loop(0, 2000, lambda _, k: chi.kernel(k), K))
    assert float(flow(jnp.asarray(start))) == pytest.approx(reached.K_star, rel=1e-9)


def test_single_precision_callers():
    with jax.enable_x64(False):
        assert analyze("gelu").C_b == pytest.approx(0.17292239, abs=1e-8)


def test_bad_input():
    with pytest.raises(ValueError, match="activation: got 'gelo', wanted one of"):
        analyze("gelo")
    with pytest.raises(TypeError, match="activation: wanted a name"):
        analyze(3)
    with pytest.raises(ValueError, match="start: wanted a finite variance"):
        analyze_initialization("tanh", 0.0, 1.0, start=-1.0)


def test_repr_is_short():
    assert repr(analyze("relu")) == (
        "Criticality('relu', universality_class='scale-invariant', C_b=0.0, C_W=2.0, K_star=None)"
    )
