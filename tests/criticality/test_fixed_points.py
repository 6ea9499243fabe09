"""All fixed points at given hyperparameters, against printed numbers and brute force."""

import math

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finitewidth.criticality import (
    correlation_depth,
    critical_initialization,
    fixed_points,
    susceptibilities,
)
from finitewidth.precision import double_precision


def test_selu_at_its_usual_initialization(printed):
    zero, one = fixed_points("selu", C_b=0.0, C_W=1.0)
    assert one.K_star == pytest.approx(1.0, abs=1e-12)
    printed(one.chi_parallel, "0.78264788")
    printed(one.chi_perp, "1.07157499")
    assert one.stability == "stable"
    assert (zero.K_star, zero.stability) == (0.0, "unstable")
    assert one.xi_parallel == pytest.approx(-1 / math.log(0.78264788), rel=1e-7)
    assert one.xi_perp == pytest.approx(-1 / math.log(1.07157499), rel=1e-7)
    assert one.xi_perp < 0


def test_tanh_near_the_angle_preserving_line(printed):
    (point,) = fixed_points("tanh", C_b=0.05, C_W=1.760955)
    printed(point.K_star, "0.570048")
    printed(point.chi_parallel, "0.518186")
    printed(point.chi_perp, "1.000000")


@pytest.mark.parametrize(
    ("name", "critical", "trivial", "gap", "side"),
    [
        ("silu", "14.32017362", "14.593105", 7.6e-7, "below"),
        ("gelu", "3.56155281", "3.034981", 9.4e-5, "above"),
    ],
)
def test_half_stable_points_and_their_trivial_neighbors(
    name, critical, trivial, gap, side, printed
):
    points = fixed_points(name, *critical_initialization(name))
    half = [point for point in points if point.kind == "critical"]
    other = [point for point in points if point.kind == "trivial"]
    assert len(half) == len(other) == 1
    # Two roots meet here, so that rounding errors are felt.
    assert half[0].K_star == pytest.approx(float(critical), rel=1e-7)
    assert (half[0].stability, half[0].attracts_from) == ("half-stable", side)
    printed(other[0].K_star, trivial)
    assert 1 - other[0].chi_parallel == pytest.approx(gap, rel=0.01)
    assert other[0].stability == "stable"


def test_half_stable_sides_by_iteration():
    """SWISH attracts from below and repels above; GELU the opposite, PDLT 5.3.4."""
    for name, from_below, from_above in [("silu", True, False), ("gelu", False, True)]:
        C_b, C_W = critical_initialization(name)
        (K_star,) = [p.K_star for p in fixed_points(name, C_b, C_W) if p.kind == "critical"]
        chi = susceptibilities(name, C_b, C_W)
        step = 0.005 * K_star  # nearer than the trivial fixed point
        for start, attracted in [(K_star - step, from_below), (K_star + step, from_above)]:
            closer = abs(float(chi.kernel(start)) - K_star) < abs(start - K_star)
            assert closer == attracted


def test_two_close_roots_beside_a_tangency():
    """Just off the critical tuning the double root of GELU splits or vanishes."""
    C_b, C_W = critical_initialization("gelu")
    more = [p.K_star for p in fixed_points("gelu", C_b + 1e-8, C_W)]
    fewer = [p.K_star for p in fixed_points("gelu", C_b - 1e-8, C_W)]
    # a~_1 < 0: the map touches the diagonal from below; raised, it crosses it twice.
    assert (len(fewer), len(more)) == (1, 3)
    split = (more[2] - more[1]) / 2
    assert split == pytest.approx(math.sqrt(1e-8 / 1.43626419e-4), rel=0.01)


@pytest.mark.parametrize(
    ("name", "C_b", "C_W"),
    [
        ("tanh", 0.0, 0.7),
        ("tanh", 0.0, 2.5),
        ("tanh", 1e-9, 1.0),
        ("gelu", 0.1, 1.9),
        ("gelu", 0.0, 2.6),
        ("softplus", 0.2, 1.4),
        ("cos", 0.3, 1.2),
        ("elu", 0.02, 1.1),
        ("quadratic", 0.01, 0.8),
        ("perceptron", 0.5, 2.0),
    ],
)
def test_against_brute_force(name, C_b, C_W):
    """A dense scan for sign changes of K' - K finds the same roots."""
    grid = np.geomspace(3e-6, 3e3, 6001)
    chi = susceptibilities(name, C_b, C_W)
    step = np.concatenate([np.asarray(chi.kernel(part)) for part in np.split(grid[1:], 60)])
    step = np.concatenate([[float(chi.kernel(grid[0]))], step]) - grid
    at = np.flatnonzero(np.sign(step[1:]) != np.sign(step[:-1]))
    points = fixed_points(name, C_b, C_W)
    inside = [p for p in points if 0 < p.K_star < math.inf]
    assert len(inside) == len(at)
    for point, i in zip(inside, at, strict=True):
        assert grid[i] <= point.K_star <= grid[i + 1]
        assert float(chi.kernel(point.K_star)) == pytest.approx(point.K_star, rel=1e-11)
        assert point.chi_parallel == pytest.approx(float(chi.chi_parallel(point.K_star)), rel=1e-9)
        assert (point.stability == "stable") == (abs(point.chi_parallel) < 1)
    has_zero = C_b == 0 and float(chi.g(0.0)) == 0
    assert (points[0].K_star == 0) == has_zero
    explodes = step[-1] > 0
    assert (points[-1].K_star == math.inf) == explodes


@pytest.mark.parametrize(("name", "C_b", "C_W"), [("gelu", 1.0, 1.999), ("tanh", 0.0, 3000.0)])
def test_large_kernels(name, C_b, C_W):
    """Fixed points beyond the grid, where the kernel stops growing in the end."""
    point = fixed_points(name, C_b, C_W)[-1]
    chi = susceptibilities(name, C_b, C_W)
    assert 1e3 < point.K_star < 1e4
    assert float(chi.kernel(point.K_star)) == pytest.approx(point.K_star, rel=1e-9)
    assert point.stability == "stable"


def test_zero_is_decided_by_the_expansion_at_criticality():
    for name, C_W, stability in [
        ("tanh", 1.0, "stable"),
        ("softsign", 1.0, "stable"),
        ("hard_tanh", 1.0, "stable"),
        ("gelu", 4.0, "unstable"),
    ]:
        point = fixed_points(name, 0.0, C_W)[0]
        assert (point.K_star, point.kind, point.stability) == (0.0, "critical", stability)
        assert point.xi_parallel == point.xi_perp == math.inf


@settings(max_examples=60)
@given(a=st.floats(-1.5, 1.5), C_b=st.floats(0, 3), chi=st.floats(0.01, 2))
def test_scale_invariant(a, C_b, chi):
    with double_precision():
        C_W = 2 * chi / (1 + a**2)
        points = fixed_points(f"leaky_relu({a!r})", C_b, C_W)
    if abs(chi - 1) < 1e-12:
        assert [p.K_star for p in points] == ([None] if C_b == 0 else [math.inf])
    elif chi < 1:
        (point,) = points
        assert point.K_star == pytest.approx(C_b / (1 - chi), rel=1e-9)
        assert point.stability == "stable"
        assert point.chi_parallel == pytest.approx(chi)
    else:
        assert points[-1].K_star == math.inf
        assert [p.stability for p in points[:-1]] == (["unstable"] if C_b == 0 else [])


def test_scale_invariant_at_criticality():
    (point,) = fixed_points("relu", 0.0, 2.0)
    assert point.K_star is None
    assert point.to_dict()["K_star"] == "any"
    (point,) = fixed_points("relu", 0.1, 2.0)
    assert point.to_dict()["K_star"] == "inf"


def test_without_weights():
    (point,) = fixed_points("tanh", C_b=0.3, C_W=0.0)
    assert point.K_star == pytest.approx(0.3, rel=1e-12)
    assert point.chi_parallel == point.chi_perp == 0.0
    assert point.xi_parallel == 0.0


def test_correlation_depth():
    assert correlation_depth(math.exp(-0.25)) == pytest.approx(4.0)
    assert correlation_depth(-math.exp(-0.25)) == pytest.approx(4.0)
    assert correlation_depth(math.exp(0.1)) == pytest.approx(-10.0)
    assert correlation_depth(1.0) == math.inf
    assert correlation_depth(0.0) == correlation_depth(math.inf) == 0.0
    assert math.isnan(correlation_depth(math.nan))


def test_correlation_depth_is_that_of_the_flow():
    """K - K* falls by e in xi_parallel layers."""
    (point,) = fixed_points("tanh", C_b=0.05, C_W=1.4)
    chi = susceptibilities("tanh", C_b=0.05, C_W=1.4)
    K = point.K_star * (1 + 1e-4)
    for _ in range(20):
        K = float(chi.kernel(K))
    depth = -20 / math.log((K - point.K_star) / (1e-4 * point.K_star))
    assert depth == pytest.approx(point.xi_parallel, rel=1e-3)


def test_single_precision_callers():
    with jax.enable_x64(False):
        assert fixed_points("selu", 0.0, 1.0)[1].K_star == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize(
    ("C_b", "C_W", "message"),
    [(-0.1, 1.0, "C_b: wanted a finite variance"), (0.0, math.nan, "C_W: wanted a finite")],
)
def test_bad_input(C_b, C_W, message):
    with pytest.raises(ValueError, match=message):
        fixed_points("tanh", C_b, C_W)
