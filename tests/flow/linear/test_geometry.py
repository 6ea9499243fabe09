"""Determinants, angles and the end-to-end matrix against real networks."""

import numpy as np
import pytest

from finitewidth.flow import linear
from tests.flow.linear import sampled

WIDTHS, C_W = (4, 8, 10, 7, 5), (1.2, 0.9, 1.05, 0.9)
X = np.array([[1.0, 0.2, -0.5, 0.8], [0.3, -1.1, 0.6, 0.4], [-0.2, 0.5, 1.3, 0.1]])
GRAM = X @ X.T / 4


def test_determinants_and_angles_of_real_networks():
    z = sampled.preactivations(WIDTHS, C_W, X, 20_000, 31)
    grams = [np.einsum("rja,rjb->rab", layer, layer) / layer.shape[1] for layer in z]
    log_mean = linear.log_mean_determinant(WIDTHS, C_W, GRAM)
    mean_log = linear.mean_log_determinant(WIDTHS, C_W, GRAM)
    sin2 = linear.mean_log_sin2(WIDTHS, GRAM[:2, :2])
    scores = []
    for layer, gram in enumerate(grams):
        det = np.linalg.det(gram)
        scores.append(sampled.z_score(det, np.exp(log_mean[layer])))
        scores.append(sampled.z_score(np.log(det), mean_log[layer]))
        cos2 = gram[:, 0, 1] ** 2 / (gram[:, 0, 0] * gram[:, 1, 1])
        scores.append(sampled.z_score(np.log1p(-cos2), sin2[layer]))
    sampled.check(scores)


def test_collapse_of_the_angle_falls_by_one_over_n():
    n = 10_000
    fall = np.diff(linear.mean_log_sin2((2,) + (n,) * 5, np.eye(2)))
    np.testing.assert_allclose(fall, -1 / n, rtol=1e-3)


def test_two_inputs_determinant_is_product_of_sizes_and_sine():
    # E log det = E log |x|^2 + E log |y|^2 + E log sin^2, the first two from log S by layer.
    gram = GRAM[:2, :2]
    log_det = linear.mean_log_determinant(WIDTHS, C_W, gram)
    sizes = 0.0
    for a in (0, 1):
        # S of layer l+1 is C_W^(l+1) times the mean square of layer l.
        log_S = linear.log_cumulant((*WIDTHS, 1), [*C_W, 1.0], gram[a, a], 1)[1:]
        sizes = sizes + log_S - np.log([*C_W, 1.0])[1:]
    np.testing.assert_allclose(log_det, sizes + linear.mean_log_sin2(WIDTHS, gram), rtol=1e-11)


def test_one_input_and_the_zonal_sector():
    one = linear.log_mean_determinant(WIDTHS, C_W, GRAM[:1, :1])
    np.testing.assert_allclose(np.exp(one), linear.kernel(WIDTHS, C_W, GRAM[0, 0]), rtol=1e-13)
    # The determinant of m inputs is in the sector (1, ..., 1).
    step = np.diff(linear.log_mean_determinant(WIDTHS, 1.0, GRAM))
    want = np.log([linear.zonal_eigenvalue((1, 1, 1), n) for n in WIDTHS[2:]])
    np.testing.assert_allclose(step, want, rtol=1e-12)
    # Through two different roads: the four-point correlator gives E det of two inputs.
    H = linear.four_point((*WIDTHS, 1), [*C_W, 1.0], GRAM)[1:]
    det = H[:, 0, 0, 1, 1] - H[:, 0, 1, 0, 1]
    gains = np.array([*C_W[1:], 1.0]) ** 2
    two = linear.log_mean_determinant(WIDTHS, C_W, GRAM[:2, :2])
    np.testing.assert_allclose(det / gains, np.exp(two), rtol=1e-11)


def test_end_to_end_matrix():
    second, fourth = linear.frobenius_moments((3, 6, 5, 4), 1.0)
    assert second == 4
    np.testing.assert_allclose(fourth, 28.444444, atol=5e-7)
    C = (0.8, 1.3, 1.1)
    widths = (3, 6, 5, 4)
    # x = the identity: the outputs are the columns of the end-to-end matrix.
    z = sampled.preactivations(widths, C, np.eye(3), 40_000, 6)[-1]
    norm2 = (z**2).sum(axis=(1, 2))
    second, fourth = linear.frobenius_moments(widths, C)
    sampled.check([sampled.z_score(norm2, second), sampled.z_score(norm2**2, fourth)])
    # Symmetric in all widths, up to n_L^2 against n_0^2 of the normalization.
    turned = linear.frobenius_moments(widths[::-1], 1.0)[1] / 3**2
    np.testing.assert_allclose(turned, linear.frobenius_moments(widths, 1.0)[1] / 4**2, rtol=1e-14)


def test_degenerate_cases():
    twice = np.array([[1.0, 1.0], [1.0, 1.0]])
    assert (linear.log_mean_determinant(WIDTHS, 1.0, twice) == -np.inf).all()
    assert (linear.mean_log_determinant(WIDTHS, 1.0, twice) == -np.inf).all()
    assert (linear.mean_log_sin2(WIDTHS, twice) == -np.inf).all()
    # A layer narrower than the number of inputs.
    for function in (linear.log_mean_determinant, linear.mean_log_determinant):
        value = function((4, 6, 2, 5), 1.0, GRAM)
        assert np.isfinite(value).tolist() == [True, False, False]
    assert np.isfinite(linear.mean_log_sin2((2, 3, 1), np.eye(2))).tolist() == [True, False]
    one = linear.frobenius_moments((1, 1, 1), 1.0)
    np.testing.assert_allclose(one, [1.0, 9.0], rtol=1e-14)
    with pytest.raises(ValueError, match="two inputs"):
        linear.mean_log_sin2(WIDTHS, GRAM)
    with pytest.raises(ValueError, match="not zero"):
        linear.mean_log_sin2(WIDTHS, np.diag([1.0, 0.0]))
    deep = linear.log_mean_determinant((3,) + (5,) * 1000, 3.0, np.eye(3))
    assert np.isfinite(deep).all()
