"""Leaving out inputs: the same as never having had them, for statistics and for densities."""

import numpy as np
import pytest

import finitewidth as fw
from finitewidth.flow.effective_action import effective_action
from finitewidth.flow.marginal import action_of_inputs, of_inputs

X = np.array([[1.0, 0.4, -0.3], [0.2, -0.5, 0.9], [-0.6, 0.8, 0.1]])
NET = fw.MLP((3, 30, 20, 40, 2), "sin", C_b=0.1, C_W=1.7)


@pytest.fixture(scope="module")
def pre():
    return fw.flow.preactivations(NET, X)


def test_statistics_of_a_subset(pre):
    part, alone = of_inputs(pre, [2, 0]), fw.flow.preactivations(NET, X[[2, 0]])
    np.testing.assert_allclose(part.kernel, alone.kernel, rtol=1e-12)
    np.testing.assert_allclose(part.nlo_metric, alone.nlo_metric, atol=1e-12)
    np.testing.assert_allclose(part.vertex.dense(), alone.vertex.dense(), atol=1e-12)
    leading = of_inputs(fw.flow.preactivations(NET, X, order=0), [1])
    assert leading.vertex is None and leading.kernel.shape == (4, 1, 1)


@pytest.mark.parametrize("m", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_the_density_of_a_subset_is_the_integral_over_the_rest(pre, m):
    """PDLT (4.96): integrate c over the preactivations of the third input, given the others."""
    K = np.asarray(pre.kernel[3])
    whole = effective_action(pre, 4, m)
    part = action_of_inputs(whole, [0, 1])
    # z_3 given z_1, z_2 under p_0 is Gaussian with mean K_3A K_AA^-1 z_A.
    regression = K[2, :2] @ np.linalg.inv(K[:2, :2])
    spread = np.sqrt(K[2, 2] - regression @ K[:2, 2])
    u = np.linspace(-9, 9, 41)
    w = np.exp(-(u**2) / 2) / np.exp(-(u**2) / 2).sum()
    grids = np.stack(np.meshgrid(*[u] * m, indexing="ij"), axis=-1).reshape(-1, m)
    weights = np.prod(np.stack(np.meshgrid(*[w] * m, indexing="ij"), axis=-1), axis=-1).ravel()
    kept = np.random.default_rng(3).normal(size=(m, 2))
    third = kept @ regression + spread * grids
    z = np.concatenate([np.broadcast_to(kept, (len(grids), m, 2)), third[..., None]], axis=-1)
    integral = (weights * np.asarray(whole.correction(z))).sum()
    assert integral == pytest.approx(float(part.correction(kept)), abs=1e-11)
    # Couplings, unlike statistics, are not just cut.
    assert np.abs(np.asarray(part.quadratic) - np.asarray(whole.quadratic)[:2, :2]).max() > 0.01


def test_bad_input_is_refused_in_words(pre):
    with pytest.raises(ValueError, match="from 0 to 2"):
        of_inputs(pre, [3])
