"""The lines chi = 1 in the plane of hyperparameters."""

import jax
import numpy as np
import pytest

from finitewidth.criticality import (
    fixed_points,
    perpendicular_line,
    phase_diagram,
    susceptibilities,
)


def test_tanh_lines(printed):
    diagram = phase_diagram("tanh", K_star=[0.1, 0.570048])
    printed(float(diagram.parallel.C_W[0]), "1.39655")
    printed(float(diagram.parallel.C_b[0]), "-0.01761")
    printed(float(diagram.perp.C_b[1]), "0.050000")
    printed(float(diagram.perp.C_W[1]), "1.760955")


def test_tanh_lines_meet_only_at_the_critical_point():
    """For odd sigma with concave g one line has C_b >= 0 and the other C_b <= 0."""
    diagram = phase_diagram("tanh")
    assert np.all(np.asarray(diagram.perp.C_b) > 0)
    assert np.all(np.asarray(diagram.parallel.C_b) < 0)
    for line in (diagram.parallel, diagram.perp):
        assert float(line.C_W[0]) == pytest.approx(1.0, abs=1e-3)
        assert float(line.C_b[0]) == pytest.approx(0.0, abs=1e-7)
    assert [(p.C_b, p.C_W) for p in diagram.critical] == [(0.0, 1.0)]


@pytest.mark.parametrize("name", ["gelu", "elu"])
def test_points_of_the_lines_are_fixed_points(name):
    diagram = phase_diagram(name, K_star=np.geomspace(1e-3, 30, 7))
    for line, which in ((diagram.parallel, "chi_parallel"), (diagram.perp, "chi_perp")):
        chi = susceptibilities(name, np.maximum(line.C_b, 0), line.C_W)
        shift = np.minimum(line.C_b, 0)  # the part that no network can have
        np.testing.assert_allclose(chi.kernel(line.K_star) + shift, line.K_star, rtol=1e-12)
        np.testing.assert_allclose(getattr(chi, which)(line.K_star), 1.0, rtol=1e-12)


def test_gelu_lines_cross_at_its_critical_points():
    (half_stable, zero) = phase_diagram("gelu").critical
    at = phase_diagram("gelu", K_star=[half_stable.K_star])
    for line in (at.parallel, at.perp):
        assert float(line.C_W[0]) == pytest.approx(half_stable.C_W, rel=1e-10)
        assert float(line.C_b[0]) == pytest.approx(half_stable.C_b, rel=1e-9)
    assert zero.K_star == 0.0


def test_scale_invariant_lines_are_one_point():
    diagram = phase_diagram("relu")
    assert diagram.vertical == 2.0
    np.testing.assert_allclose(diagram.perp.C_W, 2.0)
    np.testing.assert_allclose(diagram.perp.C_b, 0.0, atol=1e-12)
    assert phase_diagram("tanh").vertical is None


def test_lines_that_do_not_exist_are_nan():
    diagram = phase_diagram("cos", K_star=[0.5, 1.0])  # g falls: chi_parallel < 0
    assert np.all(np.isnan(diagram.parallel.C_W))
    assert np.all(np.isfinite(diagram.perp.C_W))
    assert np.all(np.isnan(phase_diagram("perceptron", K_star=[1.0]).perp.C_W))


@pytest.mark.parametrize(
    ("C_b", "C_W", "K_star", "chi"),
    [("0.05", "1.760955", "0.570048", "0.518186"), ("0.01", "1.424205", None, None)],
)
def test_angle_preserving_tanh(C_b, C_W, K_star, chi, printed):
    (point,) = perpendicular_line("tanh", float(C_b))
    printed(point.C_W, C_W)
    assert point.chi_perp == 1.0
    if K_star:
        printed(point.K_star, K_star)
        printed(point.chi_parallel, chi)
    (same,) = fixed_points("tanh", float(C_b), point.C_W)
    assert same.chi_perp == pytest.approx(1.0, abs=1e-10)
    assert same.K_star == pytest.approx(point.K_star, rel=1e-9)


def test_no_angle_preserving_point():
    assert perpendicular_line("relu", 0.1) == ()
    assert perpendicular_line("perceptron", 0.1) == ()


def test_bad_input():
    with pytest.raises(ValueError, match="K_star: wanted a vector of positive kernels"):
        phase_diagram("tanh", K_star=[0.0, 1.0])
    with pytest.raises(ValueError, match="K_star: wanted a vector"):
        phase_diagram("tanh", K_star=1.0)
    with pytest.raises(ValueError, match="C_b: wanted a positive bias variance"):
        perpendicular_line("tanh", 0.0)
    with pytest.raises(ValueError, match="C_b: wanted a finite variance"):
        perpendicular_line("tanh", -0.5)


def test_single_precision_callers():
    with jax.enable_x64(False):
        diagram = phase_diagram("tanh", K_star=np.array([0.1]))
        assert diagram.perp.C_W.dtype == np.float64
        assert float(diagram.parallel.C_W[0]) == pytest.approx(1.39655, abs=1e-5)
