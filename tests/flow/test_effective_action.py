"""The effective action against the book's index form, its own integrals, and sampled metrics."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import finitewidth as fw
from finitewidth.ensemble import draw_by_chain
from finitewidth.ensemble.control_variates import controlled_deviation
from finitewidth.flow.effective_action import effective_action
from finitewidth.flow.preactivations import Preactivations
from finitewidth.tensors import DenseTensor, FactorizedTensor

X = np.array([[1.0, 0.4, -0.3], [0.2, -0.5, 0.9]])
NET = fw.MLP((3, 30, 20, 40, 2), "sin", C_b=0.1, C_W=1.7)


@pytest.fixture(scope="module")
def pre():
    return fw.flow.preactivations(NET, X)


@pytest.fixture(scope="module")
def tensors(pre):
    """K, its inverse, G1 and V of layer 4 as plain arrays."""
    K, G1, V = (np.asarray(a) for a in (pre.kernel[3], pre.nlo_metric[3], pre.vertex[3].dense()))
    return K, np.linalg.inv(K), G1, V


@pytest.mark.parametrize("m", [1, 2, 5])
def test_couplings_are_those_of_the_book(pre, tensors, m):
    """PDLT (4.108), (4.109) and (4.82) with all indices written out."""
    K, inverse, G1, V = tensors
    action = effective_action(pre, 4, m)
    raised = np.einsum("ia,jb,kc,ld,abcd->ijkl", *[inverse] * 4, V)
    shift = G1 - np.einsum("cd,abcd->ab", inverse, m / 2 * V + V.transpose(0, 2, 1, 3))
    np.testing.assert_allclose(action.lowered_quadratic, K + shift / 40, rtol=1e-12)
    lowered = np.einsum("cd,abcd->ab", K, m / 2 * raised + raised.transpose(0, 2, 1, 3))
    upper = inverse + (lowered - inverse @ G1 @ inverse) / 40
    np.testing.assert_allclose(action.quadratic, upper, rtol=1e-11)
    np.testing.assert_allclose(action.quartic, raised / 40, rtol=1e-11)


@pytest.mark.parametrize("m", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_correlators_from_couplings(pre, tensors, m):
    """(4.47) gives back K + G1/n for every m, (4.48) V/n up to the second order."""
    K, _, G1, _ = tensors
    action = effective_action(pre, 4, m)
    np.testing.assert_allclose(action.two_point(), K + G1 / 40, rtol=1e-12)
    error = []
    for scale in (40, 80):
        # K, G1 and V depend on ratios of widths alone.
        wide = Preactivations(
            fw.ensemble.scaled(NET, scale), pre.kernel, pre.nlo_metric, pre.vertex
        )
        found = effective_action(wide, 4, m).connected_four_point() * 40 * scale
        error.append(float(jnp.abs(found - pre.vertex[3].dense()).max()))
    assert error[0] / error[1] == pytest.approx(2.0, rel=0.03)


@pytest.mark.parametrize("m", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_the_density_is_the_action_with_its_normalization(pre, m):
    """-S - log Z, PDLT (4.45), and the form without raised indices agree to rounding."""
    action = effective_action(pre, 4, m)
    z = np.random.default_rng(0).normal(size=(5, m, 2))
    np.testing.assert_allclose(
        -action.action(z) - action.log_partition, action.log_density(z), rtol=1e-12
    )


def test_the_ratio_of_densities_is_normalized_and_has_the_right_moments(pre, tensors):
    """By a grid: the integral of p_0 (1 + c/n) is 1, and its second moment K + G1/n."""
    K, _, G1, V = tensors
    action = effective_action(pre, 4, 1)
    u = np.linspace(-9, 9, 61)
    w = np.exp(-(u**2) / 2)
    grid = np.stack(np.meshgrid(u, u, indexing="ij"), axis=-1).reshape(-1, 2)
    weight = (w[:, None] * w).ravel() / w.sum() ** 2
    z = grid @ np.linalg.cholesky(K).T
    weight = weight * (1 + np.asarray(action.correction(z[:, None, :])))
    assert weight.sum() == pytest.approx(1.0, abs=1e-12)
    np.testing.assert_allclose(np.einsum("k,ka,kb->ab", weight, z, z), K + G1 / 40, atol=1e-12)
    # All fourth moments: three pairings of K K, K G1/n twice, and V/n.
    fourth = np.einsum("k,ka,kb,kc,kd->abcd", weight, z, z, z, z)
    one = np.multiply.outer(K, K + G1 / 40) + np.multiply.outer(G1 / 40, K) + V / 40
    want = one + one.transpose(0, 2, 1, 3) + one.transpose(0, 3, 2, 1)
    np.testing.assert_allclose(fourth, want, atol=1e-11)


def test_neurons_are_integrated_out(pre):
    """The density of one neuron is the integral of that of two over the second one."""
    K = np.asarray(pre.kernel[3])
    two, one = effective_action(pre, 4, 2), effective_action(pre, 4, 1)
    u = np.linspace(-9, 9, 61)
    w = np.exp(-(u**2) / 2)
    weight = (w[:, None] * w).ravel() / w.sum() ** 2
    second = np.stack(np.meshgrid(u, u, indexing="ij"), axis=-1).reshape(-1, 2)
    second = second @ np.linalg.cholesky(K).T
    for first in ([0.3, -0.8], [1.5, 1.1]):
        pair = np.stack([np.broadcast_to(first, second.shape), second], axis=1)
        integral = (weight * np.asarray(two.correction(pair))).sum()
        assert integral == pytest.approx(float(one.correction([first])), abs=1e-11)
    assert two.with_neurons(1).neurons == 1


def test_where_the_ratio_is_negative():
    """ReLU, V/(n K^2) = 1, m = 10: 1 + c/n has its minimum 1 - (m+2)/4 at sum z^2 = (m+2) K."""
    net = fw.MLP.critical((1, 10, 10, 1), "relu")
    action = effective_action(fw.flow.preactivations(net, [[1.0]]), 3, 10)
    square = np.linspace(0.0, 60.0, 61)
    z = np.sqrt(square / 10)[:, None, None] * np.ones((10, 1))
    ratio = 1 + np.asarray(action.correction(z))
    assert square[ratio.argmin()] == 24.0
    assert ratio.min() == pytest.approx(-2.0, rel=1e-9)
    assert np.isfinite(action.log_density(z)).all()


def test_a_factorized_vertex_gives_the_same(pre):
    """Matrix-free: the action only contracts and applies the vertex."""
    factored = Preactivations(
        pre.net, pre.kernel, pre.nlo_metric, FactorizedTensor.from_dense(pre.vertex)
    )
    z = np.random.default_rng(1).normal(size=(4, 3, 2))
    dense, other = (effective_action(p, 4, 3) for p in (pre, factored))
    np.testing.assert_allclose(other.correction(z), dense.correction(z), rtol=1e-9)
    np.testing.assert_allclose(other.quadratic, dense.quadratic, rtol=1e-9)


def density_ratios(net, z, key, networks, batches):
    """Return n (p/p_0 - 1) at each z from sampled metrics of the last layer, and its error.

    p/p_0 - 1 is the mean of N(z; G)/N(z; K) - 1 over metrics. Its part linear in G - K carries
    the noise; its mean is known from control variates and is put back.
    """
    maps = fw.flow.layer_maps(net)
    K = np.asarray(fw.flow.preactivations(net, X, order=0).kernel[-1])
    inverse = np.linalg.inv(K)
    m = z.shape[1]
    y = z @ inverse
    A = np.einsum("kia,kib->kab", y, y) - m * inverse

    @jax.jit
    def one(key):
        metric = draw_by_chain(net, jnp.asarray(X), key, networks).metric
        exact = controlled_deviation(maps, metric)[:, -1]
        G = metric[:, -1]
        quadratic = jnp.einsum("kia,bac,kic->bk", z, jnp.linalg.inv(G) - inverse, z)
        determinant = jnp.linalg.slogdet(G)[1] - jnp.linalg.slogdet(K)[1]
        ratio = jnp.exp(-(quadratic + m * determinant[:, None]) / 2) - 1
        linear = jnp.einsum("bac,kac->bk", exact - (G - K), A) / 2
        return (ratio + linear).mean(0)

    with fw.double_precision():
        means = np.array([one(k) for k in jax.random.split(jax.random.key(key), batches)])
    n = net.widths[-2]
    return n * means.mean(0), n * means.std(0, ddof=1) / math.sqrt(batches)


@pytest.mark.slow
@pytest.mark.parametrize("m", [1, 2, 3])
def test_density_of_sampled_networks(m):
    """n (p/p_0 - 1) at widths n and 2n, extrapolated, at several points z."""
    z = 0.9 * np.random.default_rng(m).normal(size=(6, m, 2))
    values = []
    for width, key in ((128, 1), (256, 2)):
        net = fw.MLP((3, width, width, width, 1), "sin", C_b=0.1, C_W=1.7)
        values.append(density_ratios(net, z, key, 500, 20))
    theory = effective_action(fw.flow.preactivations(net, X), 4, m).correction(z) * 256
    (narrow, e_1), (wide, e_2) = values
    score = (2 * wide - narrow - np.asarray(theory)) / np.hypot(2 * e_2, e_1)
    assert np.sqrt((score**2).mean()) < 1.9
    assert np.abs(score).max() < 4


def test_the_first_layer_is_gaussian(pre):
    action = effective_action(pre, 1, 2)
    z = np.ones((2, 2))
    assert float(action.correction(z)) == 0.0
    np.testing.assert_allclose(action.quadratic, np.linalg.inv(pre.kernel[0]), rtol=1e-12)
    assert "2 neurons on 2 inputs" in repr(action)
    assert effective_action(pre, 2).neurons == 20


def test_bad_input_is_refused_in_words(pre):
    with pytest.raises(ValueError, match="order 1"):
        effective_action(fw.flow.preactivations(NET, X, order=0), 2)
    with pytest.raises(ValueError, match="wanted 1 to 4"):
        effective_action(pre, 5)
    with pytest.raises(ValueError, match="invertible"):
        effective_action(fw.flow.preactivations(NET, X[[0, 0]]), 2)
    with pytest.raises(ValueError, match="shape"):
        effective_action(pre, 2, 3).log_density(np.ones((2, 2)))
    assert isinstance(pre.vertex, DenseTensor)
