"""Four-point expectations of one neuron against quadrature, closed forms and sampling."""

import numpy as np
import pytest

import finitewidth as fw
from finitewidth.gaussian.four_point import four_point_moment

KERNEL = np.array([[1.1, 0.4, -0.3], [0.4, 0.8, 0.2], [-0.3, 0.2, 1.4]])
FEW = np.array([len(set(q)) <= 2 for q in np.ndindex(3, 3, 3, 3)]).reshape((3,) * 4)
ORDERS = ((0, 0, 0, 0), (0, 0, 1, 1), (1, 1, 1, 1), (0, 1, 0, 1))


def by_quadrature(sigma, orders, K, nodes=60):
    """Integrate by a product of Gauss-Hermite rules, for smooth activations."""
    u, w = np.polynomial.hermite_e.hermegauss(nodes)
    w = w / w.sum()
    grid = np.stack(np.meshgrid(*[u] * len(K), indexing="ij"), -1).reshape(-1, len(K))
    weights = np.prod(np.stack(np.meshgrid(*[w] * len(K), indexing="ij"), -1), axis=-1).ravel()
    z = grid @ np.linalg.cholesky(K).T
    s = [np.asarray(sigma.derivative(z, m)) for m in orders]
    return np.einsum("m,ma,mb,mc,md->abcd", weights, *s)


@pytest.mark.parametrize("orders", ORDERS)
@pytest.mark.parametrize("name", ["sin", "cos", "quadratic", "monomial(3)"])
def test_closed_forms_of_smooth_activations(name, orders):
    sigma = fw.activation(name)
    got = four_point_moment(sigma, KERNEL, 2**4, orders)
    want = by_quadrature(sigma, orders, KERNEL)
    exact = np.ones_like(FEW) if name in ("sin", "cos") else FEW
    np.testing.assert_allclose(np.asarray(got)[exact], want[exact], rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("orders", ORDERS)
@pytest.mark.parametrize("slopes", [(1.0, 0.0), (1.0, -0.4)])
def test_scale_invariant_activations_in_the_angle(slopes, orders):
    # In polar coordinates the radius integrates to a number, and the angle is left.
    sigma = fw.activations.PiecewiseLinear(*slopes)
    K = KERNEL[:2, :2]
    p = orders.count(0)
    radius = {0: 1.0, 2: 2.0, 4: 8.0}[p]
    shift = np.arcsin(K[0, 1] / np.sqrt(K[0, 0] * K[1, 1]))
    # z_1 = r sin(t), z_2 = r cos(t - shift) in units of their spreads: signs change at these t.
    cuts = np.unique(np.mod([0, np.pi, shift + np.pi / 2, shift - np.pi / 2], 2 * np.pi))
    cuts = np.concatenate([cuts, [cuts[0] + 2 * np.pi]])
    x, w = np.polynomial.legendre.leggauss(40)
    half = np.diff(cuts)[:, None] / 2
    t = (half * x + cuts[:-1, None] + half).ravel()
    weight = (half * w).ravel() / (2 * np.pi)
    z = np.sqrt(np.diagonal(K)) * np.stack([np.sin(t), np.cos(t - shift)], axis=1)
    s = [np.asarray(sigma.derivative(z, m)) for m in orders]
    want = radius * np.einsum("m,ma,mb,mc,md->abcd", weight, *s)
    got = four_point_moment(sigma, K, 2**4, orders)
    np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12)


def test_quasi_random_points_are_as_good_as_they_say():
    sigma = fw.activation("tanh")
    want = by_quadrature(sigma, (0, 0, 1, 1), KERNEL, nodes=44)
    got = np.asarray(four_point_moment(sigma, KERNEL, orders=(0, 0, 1, 1)))
    np.testing.assert_allclose(got, want, atol=3e-4 * np.abs(want).max())
