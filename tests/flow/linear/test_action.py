"""Couplings of the marginal action: golden values, the exact log density, perturbation theory."""

import numpy as np
import pytest

from finitewidth import gaussian
from finitewidth.flow import linear

HIDDEN = (1, 30, 40, 50, 6)


@pytest.mark.parametrize(
    ("d", "g", "v"), [(1, 1.277873618, 0.31427501), (3, 1.523809524, 0.47938246)]
)
def test_golden_values(d, g, v):
    exact = linear.couplings(HIDDEN, 1.0, 1.0, outputs=d)
    np.testing.assert_allclose(exact.g[-1], g, rtol=1e-9)
    np.testing.assert_allclose(exact.v[-1], v, rtol=2e-8)


@pytest.mark.parametrize("d", [1, 2])
def test_they_are_derivatives_of_the_exact_log_density(d):
    widths, C_W, G0 = (1, 30, 40, 50, 6), (0.7, 1.0, 1.2, 1.0), 1.1
    law = linear.density(widths, C_W, G0, outputs=d)
    g, v = (c[-1] for c in linear.couplings(widths, C_W, G0, outputs=d))
    # -2 d log p/d(z.z) = g - (v/2) z.z + ..., from the score at small z.
    r2 = np.array([1e-4, 2e-4, 3e-4, 4e-4])
    z = np.zeros((4, d))
    z[:, 0] = np.sqrt(r2)
    score = law.score(z if d > 1 else z[:, 0])
    slope = -(score[:, 0] if d > 1 else score) / np.sqrt(r2)
    fit = np.polynomial.polynomial.polyfit(r2, slope, 3)
    np.testing.assert_allclose(fit[0], g, rtol=1e-9)
    np.testing.assert_allclose(fit[1], -v / 2, rtol=1e-5)


def test_leading_order_is_perturbation_theory():
    # (1.78) with eps V = -v (3 pairings) gives kappa = v G^4, and (1.74) the shift of g.
    widths, d = (1,) + (10**6,) * 3 + (2,), 2
    exact, leading = (f(widths, 1.0, 1.3, outputs=d) for f in
                      (linear.couplings, linear.leading_couplings))  # fmt: skip
    G2 = 1.3
    np.testing.assert_allclose(exact.g * G2 - 1, leading.g * G2 - 1, rtol=1e-4)
    np.testing.assert_allclose(exact.v, leading.v, rtol=1e-4)
    K4 = linear.connected(widths, 1.0, G2, 2)[-1]
    np.testing.assert_allclose(leading.v[-1], K4 / G2**4, rtol=1e-4)
    eye = np.eye(d)
    pairs = np.einsum("ab,cd->abcd", eye, eye)
    pairs = pairs + pairs.transpose(0, 2, 1, 3) + pairs.transpose(0, 3, 2, 1)
    G = eye / leading.g[-1] + 0.5 * leading.v[-1] * np.einsum("abcc->ab", pairs) * G2**3
    np.testing.assert_allclose(G, G2 * eye, atol=1e-10)
    assert gaussian.number_of_pairings(4) == 3


def test_the_quartic_coupling_runs_linearly_with_depth():
    widths = (1,) + (10_000,) * 20 + (1,)
    exact = linear.couplings(widths, 1.0, 1.0)
    assert exact.g[0] == 1 and exact.v[0] == 0
    steps = np.diff(exact.v)
    assert (steps > 0).all()
    np.testing.assert_allclose(steps, 2e-4, rtol=0.03)


def test_couplings_that_do_not_exist_are_nan():
    # g needs n > d + 2, v needs n > d + 4, in all layers below.
    g, v = linear.couplings((1, 9, 6, 5, 3, 9, 2), 1.0, 1.0, outputs=1)
    assert np.isnan(g).tolist() == [False, False, False, False, True, True]
    assert np.isnan(v).tolist() == [False, False, False, True, True, True]
    assert linear.couplings((1, 2), 1.0, 2.0).g.tolist() == [0.5]
    with pytest.raises(ValueError, match="outputs: wanted"):
        linear.couplings((1, 2), 1.0, 2.0, outputs=0)
