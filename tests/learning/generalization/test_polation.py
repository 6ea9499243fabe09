"""Curves through two training inputs: straight lines, small separations, kinks, one network."""

import jax
import numpy as np
import pytest

import finitewidth as fw
from finitewidth.flow import nearby_ntk, ntk
from finitewidth.learning import giant_leap, gradient_descent, predict
from finitewidth.learning.generalization import interpolate, kinked_limit, small_separation
from tests.flow.test_nearby_ntk import ACROSS, ALONG, MIDDLE, network

S = np.array([0.25, 0.5, 1.5])
SIGMAS = ["tanh", "gelu"]


def pair(dx, h):
    return MIDDLE + h * dx / 2, MIDDLE - h * dx / 2


def test_is_the_prediction_of_two_labels():
    net = network("relu")
    plus, minus = pair(ALONG, 1.0)
    found = interpolate(net, plus, minus, [1.0, -2.0], [0.3, 0.5], S)
    x = np.stack([plus, minus])
    line = S[:, None] * plus + (1 - S[:, None]) * minus
    whole = predict(net, x, [[1.0, -2.0], [0.3, 0.5]], line)
    np.testing.assert_allclose(found.mean, whole.mean)
    np.testing.assert_allclose(found.variance, np.diag(whole.covariance))
    ends = interpolate(net, plus, minus, [1.0, -2.0], [0.3, 0.5], [1.0, 0.0])
    np.testing.assert_allclose(ends.mean, [[1.0, -2.0], [0.3, 0.5]], atol=1e-12)
    data = found.to_xarray()
    assert data["mean"].dims == ("s", "output") and data["s"].values.tolist() == S.tolist()


@pytest.mark.parametrize("dx", [ALONG, ACROSS], ids=["unequal norms", "equal norms"])
@pytest.mark.parametrize("apart", ["order one", "of the separation"])
@pytest.mark.parametrize("activation", SIGMAS)
def test_small_separation(activation, apart, dx):
    """(10.113)-(10.117) corrected: what is left of the curvature vanishes with the separation."""
    net = network(activation)
    left, size = [], []
    for h in (0.1, 0.05):
        y = ([1.3, -0.4], [0.7, 0.9]) if apart == "order one" else ([1.3 + h, -0.4], [1.3, h - 0.4])
        exact = interpolate(net, *pair(dx, h), *y, S)
        bent = small_separation(net, *pair(dx, h), *y, S) - exact.line
        left.append(np.abs(bent - exact.curvature).max())
        size.append(np.abs(exact.curvature).max())
    # The curvature is of order h for targets that differ by order one and norms that differ,
    # else of h^2; what is left is at least one order smaller.
    relative = np.array(left) / size
    assert relative[1] < 0.03
    assert relative[1] < 0.6 * relative[0]


@pytest.mark.parametrize("activation", SIGMAS)
def test_equal_norms_have_coefficient_one(activation):
    """(10.115): -s (1-s) (ddTheta_0/Theta_00) (y_+ + y_-); the book has four times that."""
    net = network(activation)
    ratios = []
    for h in (0.02, 0.01):
        plus, minus = pair(ACROSS, h)
        near = nearby_ntk(net, plus, minus)
        y = np.array([1.3 + h, -0.4]), np.array([1.3, h - 0.4])
        weight = float(near.ddTheta_0[-1] / near.midpoint_ntk[-1])
        want = -S[:, None] * (1 - S[:, None]) * weight * (y[0] + y[1])
        ratios.append(np.asarray(interpolate(net, plus, minus, *y, S).curvature) / want)
    # Targets that differ by h add an odd term of relative order h.
    np.testing.assert_allclose(2 * ratios[1] - ratios[0], 1.0, atol=0.01)


@pytest.mark.parametrize("dx", [ALONG, ACROSS], ids=["unequal norms", "equal norms"])
def test_bilinear_form(dx):
    """(10.110), (10.111)."""
    net, left = network("tanh"), []
    for h in (0.02, 0.01):
        plus, minus = pair(dx, h)
        for s in (0.3, 1.4):
            Theta = np.asarray(ntk(net, np.stack([plus, minus, s * plus + (1 - s) * minus])).mean)
            t_0 = float(nearby_ntk(net, plus, minus).ddTheta_0[-1])
            for end in (0, 1):
                want = s * Theta[-1, 0, end] + (1 - s) * Theta[-1, 1, end] - 2 * s * (1 - s) * t_0
                left.append(abs(want - Theta[-1, 2, end]) / h**2)
    assert np.max(left[4:]) < 0.55 * np.max(left[:4])


def test_smooth_variance_is_of_fourth_order():
    """Footnote 41 has the weaker third order."""
    for activation in SIGMAS:
        wide, narrow = (
            interpolate(network(activation), *pair(ACROSS, h), [0, 0], [0, 0], S).variance
            for h in (0.1, 0.05)
        )
        np.testing.assert_allclose(np.log2(wide / narrow), 4.0, atol=0.02)


def test_kinks():
    """ReLU, separation to zero: straight inside, constant outside; variances of third, second."""
    net = network("relu")
    s = np.array([0.25, 0.5, 1.5, 3.0, -0.5])
    y = np.array([1.3, -0.4]), np.array([0.7, 0.9])
    found = [interpolate(net, *pair(ALONG, h), *y, s) for h in (2e-3, 1e-3)]
    want = kinked_limit(*y, s)
    limit = 2 * found[1].mean - found[0].mean
    np.testing.assert_allclose(limit, want, atol=1e-5)
    assert np.abs(found[0].mean - want).max() < 0.01
    ratio = np.asarray(found[0].variance / found[1].variance)
    np.testing.assert_allclose(ratio, [8, 8, 4, 4, 4], rtol=0.01)


def test_one_network():
    """(10.117): the initial output adds its nonlinear part and y - z bends; against the leap."""
    net = network("tanh")
    params = net.init(jax.random.key(2))
    y = [1.3, -0.4], [0.7, 0.9]
    left = []
    for h in (0.1, 0.05):
        plus, minus = pair(ALONG, h)
        line = S[:, None] * plus + (1 - S[:, None]) * minus
        leap = giant_leap(net, params, np.stack([plus, minus]), np.array(y), line)
        found = small_separation(net, plus, minus, *y, S, params)
        straight = S[:, None] * np.array(y[0]) + (1 - S[:, None]) * np.array(y[1])
        left.append(np.abs(found - leap).max() / np.abs(leap - straight).max())
    assert left[1] < 0.03 and left[1] < 0.6 * left[0]


def test_linear_networks_make_straight_lines():
    """(10.104): at infinite width, and for trained networks of width 8."""
    net = fw.MLP((3, 8, 8, 2), "linear", C_b=0.1, C_W=1.0, lambda_b=0.5)
    plus, minus = pair(ALONG, 1.0)
    y = np.array([[1.3, -0.4], [0.7, 0.9]])
    found = interpolate(net, plus, minus, *y, S)
    assert float(np.abs(found.curvature).max()) < 1e-12
    x = np.stack([plus, minus])
    run = gradient_descent(net, net.init(jax.random.key(0)), x, y, eta=0.05, steps=6000)
    z = net.apply(run.params, S[:, None] * plus + (1 - S[:, None]) * minus)
    assert float(run.losses[-1]) < 1e-22
    np.testing.assert_allclose(z, found.line, atol=1e-9)


def test_what_is_refused():
    with pytest.raises(ValueError, match="s: wanted a list of places"):
        interpolate(network("tanh"), *pair(ALONG, 1.0), [0, 0], [1, 1], 0.5)
    with pytest.raises(ValueError, match="y: wanted shape"):
        interpolate(network("tanh"), *pair(ALONG, 1.0), 0.0, 1.0, S)
    with pytest.raises(ValueError, match="wanted a smooth one, got relu"):
        small_separation(network("relu"), *pair(ALONG, 0.1), [0, 0], [1, 1], S)
