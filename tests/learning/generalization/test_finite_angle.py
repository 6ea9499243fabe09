"""Scale-invariant networks at a finite angle: exact NTK, numbers at depth, limits."""

import numpy as np
import pytest

import finitewidth as fw
from finitewidth.flow import turning_rate
from finitewidth.learning.generalization import (
    finite_angle_flow,
    finite_angle_limits,
    linear_cosine,
    robustness,
)

#: K* = 1.3, psi = 1, rates 0.7, 1.1: cos zeta at l = 10, 100, 1000, 10000.
COSINES = {
    "relu": (0.427710, 0.279658, 0.253898, 0.250477),
    "leaky_relu(0.3)": (0.527184, 0.303296, 0.256611, 0.250753),
}


@pytest.mark.parametrize("activation", COSINES)
def test_numbers_at_depth(activation):
    found = finite_angle_flow(activation, 1.0, 10_000, 1.3, 0.7, 1.1)
    got = [float(found.cosine[depth - 1]) for depth in (10, 100, 1000, 10_000)]
    np.testing.assert_allclose(got, COSINES[activation], atol=1e-6)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu(0.3)", "abs", "linear"])
def test_is_the_ntk_of_two_inputs(activation):
    """With rates that differ from layer to layer, 25 layers deep."""
    psi, K, rng = 0.9, 1.3, np.random.default_rng(0)
    sigma = fw.activation(activation)
    A_2 = float(np.mean(np.square(sigma.slopes)))
    rates = rng.uniform(0.2, 2, size=(2, 25))
    net = fw.MLP((2, *[9] * 24, 1), activation, 0.0, 1 / A_2, *rates)
    radius = np.sqrt(2 * A_2 * K)
    x = radius * np.array([[1.0, 0.0], [np.cos(psi), np.sin(psi)]])
    exact = robustness(net, *x)
    found = finite_angle_flow(activation, psi, 25, K, *rates)
    np.testing.assert_allclose(found.shift, exact.shift, rtol=1e-11)
    np.testing.assert_allclose(found.variance * K, exact.variance, rtol=1e-10)
    bayes = fw.learning.predict(net, x[:1], [1.0], x[1:], rule="bayes").mean[0, 0] - 1
    np.testing.assert_allclose(found.bayes_shift[-1], bayes, rtol=1e-10)


def extrapolated(values):
    """The limit of c + (a log l + b)/l + (d log^2 l + e log l + f)/l^2 from the deep part."""
    depth = len(values)
    layer = np.unique(np.geomspace(depth / 100, depth, 80).astype(int))
    x, log = layer[0] / layer, np.log(layer / depth)
    columns = [x**0, x, x * log, x**2, x**2 * log, x**2 * log**2]
    return np.linalg.lstsq(np.stack(columns, 1), np.asarray(values)[layer - 1], rcond=None)[0][0]


@pytest.mark.parametrize("activation", ["relu", "leaky_relu(0.3)", "abs"])
def test_deep_limits(activation):
    """(10.90)-(10.95), footnote 37: 1/4, -3/4, 9/16, 3/rho, -9/(2 rho^2)."""
    found = finite_angle_flow(activation, 1.0, 30_000, 1.3, 0.7, 1.1)
    limits = finite_angle_limits(activation)
    rho = turning_rate(activation)
    layer = np.arange(1, 30_001)
    assert limits.angle == pytest.approx(3 / rho)
    for values, want, precision in (
        (found.cosine, 0.25, 1e-6),
        (found.shift, limits.shift, 1e-6),
        (found.variance, 9 / 16, 1e-6),
        (found.angle * layer, limits.angle, 1e-5),
        (found.bayes_shift * layer**2.0, limits.bayes_shift, 1e-4),
    ):
        assert extrapolated(values) == pytest.approx(want, rel=precision)
    if activation == "relu":
        assert limits.angle == pytest.approx(3 * np.pi)
        assert limits.bayes_shift == pytest.approx(-44.41, abs=0.01)


def test_linear_networks_keep_the_cosine():
    """(10.98) without corrections, at every depth."""
    found = finite_angle_flow("linear", 0.8, 40, 1.7, 0.7, 1.1)
    np.testing.assert_allclose(found.cosine, linear_cosine(0.8, 1.7, 0.7, 1.1), rtol=1e-14)
    net = fw.MLP((2, *[5] * 7, 1), "linear", lambda_b=0.7, lambda_W=1.1)
    x = np.sqrt(2 * 1.7) * np.array([[1.0, 0.0], [np.cos(0.8), np.sin(0.8)]])
    np.testing.assert_allclose(robustness(net, *x).shift, found.shift[:8], rtol=1e-12)


def test_small_angles_keep_their_digits():
    """At an angle whose cosine is 1 to rounding the shift is that of the leading order."""
    psi = 1e-9
    found = finite_angle_flow("relu", psi, 3, 1.3, 0.7, 1.1)
    # Each layer loses rho psi of what the layers below give.
    want = -turning_rate("relu") * psi * np.array([0, 1 / 2, (1 + 2) / 3])
    np.testing.assert_allclose(found.shift[1:], want[1:], rtol=1e-8)
    assert float(found.shift[0]) == pytest.approx(-1.43 / 2.13 * psi**2 / 2)


def test_what_is_refused():
    with pytest.raises(ValueError, match="scale-invariant"):
        finite_angle_flow("tanh", 1.0, 3)
    with pytest.raises(ValueError, match="linear networks keep every angle"):
        finite_angle_limits("linear")
    with pytest.raises(ValueError, match="K_star: wanted a positive"):
        finite_angle_flow("relu", 1.0, 3, 0.0)
    with pytest.raises(ValueError, match="not both 0"):
        finite_angle_flow("relu", 1.0, 3, 1.0, 0.0, 0.0)
