"""Measured observables against numbers known exactly, at any width, without any theory code.

The second layer of a sine network is exact: PDLT (4.40), (4.41), (4.59) hold at every n_1, and
Gaussian moments of sines are finite sums of exponentials. For ReLU E[G^2]/K^2 = prod(1 + 5/n).
"""

from itertools import product

import jax
import numpy as np
import pytest

from finitewidth.ensemble import Draw, draw_by_chain, measure
from finitewidth.ensemble.observable import Reference
from finitewidth.ensemble.observables import build_observables
from finitewidth.network import MLP

X = np.array([[1.2, 0.1, -0.4, 0.7], [0.5, 0.9, 0.3, -0.2], [-0.3, 0.4, 1.1, 0.6]])
C_B, C_W, WIDTH = 0.1, 1.4, 12


def sine_moment(kernel, samples):
    """E[prod_a sin z_a] for z ~ N(0, kernel), by expanding sines in exponentials."""
    block = kernel[np.ix_(samples, samples)]
    total = 0.0
    for signs in product((1, -1), repeat=len(samples)):
        s = np.array(signs)
        total += np.prod(s) * np.exp(-0.5 * s @ block @ s)
    return (total / (2j) ** len(samples)).real


def sine_network():
    net = MLP((4, WIDTH, 2), "sin", C_b=C_B, C_W=C_W, lambda_b=0.5, lambda_W=0.8)
    return net, C_B + C_W * X @ X.T / 4


def z_scores(estimate, exact, entries):
    z = [(estimate.value[1][e] - exact[e]) / estimate.standard_error[1][e] for e in entries]
    assert np.max(np.abs(z)) < 4
    return np.array(z)


PAIRS = [(a, b) for a in range(3) for b in range(a, 3)]


@pytest.mark.parametrize("method", ["weights", "chain"])
def test_second_layer_of_a_sine_network(method):
    net, K = sine_network()
    m = measure(net, X, ("metric", "vertex"), 200_000, key=2, method=method)
    np.testing.assert_allclose(m.metric.value[0], K, rtol=1e-14)

    mean = {p: sine_moment(K, p) for p in PAIRS}
    metric = {p: C_B + C_W * mean[p] for p in PAIRS}
    vertex = {
        p + q: C_W**2 * (sine_moment(K, p + q) - mean[p] * mean[q])
        for i, p in enumerate(PAIRS)
        for q in PAIRS[i:]
    }
    z = [z_scores(m.metric, metric, metric), z_scores(m.vertex, vertex, vertex)]
    rms = np.sqrt(np.mean(np.concatenate(z) ** 2))
    assert 0.6 < rms < 1.4


def test_third_cumulant_of_a_sine_network():
    net, K = sine_network()
    x, K = X[:2], K[:2, :2]
    m = measure(net, x, "metric_cumulant3", 400_000, key=3, method="chain")
    pairs = [(0, 0), (0, 1), (1, 1)]
    triples = [
        (pairs[a], pairs[b], pairs[c]) for a in range(3) for b in range(a, 3) for c in range(b, 3)
    ]
    exact = {}
    for A, B, C in triples:
        a, b, c = (sine_moment(K, p) for p in (A, B, C))
        ab, bc, ca = (sine_moment(K, p) for p in (A + B, B + C, C + A))
        cumulant = sine_moment(K, A + B + C) - a * bc - b * ca - c * ab + 2 * a * b * c
        exact[A + B + C] = C_W**3 * cumulant
    z = z_scores(m.metric_cumulant3, exact, exact)
    assert np.sqrt(np.mean(z**2)) < 1.5
    assert min(abs(v) / m.metric_cumulant3.standard_error[1][e] for e, v in exact.items()) > 5


def test_third_cumulant_and_its_error_do_not_hang_on_the_pilot():
    """Small chunks must not give a poor reference and, through it, error bars that are too wide."""
    net, _ = sine_network()
    x = X[:1]
    good = measure(net, x, "metric_cumulant3", 20_000, key=8, method="chain", chunk_size=4000)
    values, errors = [], []
    for seed in range(6):
        small = measure(net, x, "metric_cumulant3", 4000, seed, "chain", chunk_size=20)
        values.append(small.metric_cumulant3.value[1].item())
        errors.append(small.metric_cumulant3.standard_error[1].item())
    exact = good.metric_cumulant3.value[1].item()
    z = (np.array(values) - exact) / np.array(errors)
    assert np.max(np.abs(z)) < 4
    expected = good.metric_cumulant3.standard_error[1].item() * np.sqrt(5)
    np.testing.assert_allclose(np.mean(errors), expected, rtol=0.05)


@pytest.mark.parametrize("name", ["vertex", "metric_cumulant3"])
def test_the_reference_changes_no_value(name):
    """Any reference, however far from the mean, leaves the sample cumulants as they are."""
    net, _ = sine_network()
    metric = draw_by_chain(net, X[:2], jax.random.key(0), 40).metric
    pairs = np.asarray(metric)[:, :, *np.triu_indices(2)]
    rng = np.random.default_rng(0)
    far = Reference(
        pairs.mean(0) + rng.normal(size=pairs.shape[1:]),
        np.einsum("lpab,lqab->lpq", *[rng.normal(size=(2, 3, 3, 3))] * 2),
    )
    (observable,) = build_observables(name, None)
    fan_in = np.array([4.0, WIDTH])
    state = observable.state(Draw(metric), np.ones(40), far)
    estimate = observable.estimate(jax.device_get(state), fan_in, far)
    c = (np.asarray(metric) - np.asarray(metric).mean(0))[:, 1]
    if name == "vertex":
        expected = WIDTH * np.einsum("bij,bkl->ijkl", c, c) / 39
    else:
        expected = WIDTH**2 * np.einsum("bij,bkl,bmn->ijklmn", c, c, c) * 40 / (39 * 38)
    np.testing.assert_allclose(estimate.value[1], expected, rtol=1e-9, atol=1e-11)


def test_symmetries_of_vertex_and_third_cumulant():
    net, _ = sine_network()
    m = measure(net, X, ("vertex", "metric_cumulant3"), 50, key=3, method="chain")
    v, c = m.vertex.value, m.metric_cumulant3.value
    assert v.shape == (2, 3, 3, 3, 3)
    assert c.shape == (2,) + (3,) * 6
    for axes in ([0, 2, 1, 3, 4], [0, 1, 2, 4, 3], [0, 3, 4, 1, 2]):
        np.testing.assert_allclose(v, v.transpose(axes), rtol=1e-10, atol=1e-14)
    for axes in ([0, 2, 1, 3, 4, 5, 6], [0, 3, 4, 1, 2, 5, 6], [0, 5, 6, 1, 2, 3, 4]):
        np.testing.assert_array_equal(c, c.transpose(axes))
    assert not np.allclose(v, v.transpose(0, 1, 3, 2, 4))


def test_second_layer_ntk_of_a_sine_network():
    net, K = sine_network()
    m = measure(net, X, "ntk", 30_000, key=4)
    H1 = 0.5 + 0.8 * X @ X.T / 4
    np.testing.assert_allclose(m.ntk.value[0], H1, rtol=1e-13)
    exact = {}
    for a, b in PAIRS:
        cosines = np.exp(-0.5 * (K[a, a] + K[b, b])) * np.cosh(K[a, b])
        exact[a, b] = 0.5 + 0.8 * sine_moment(K, (a, b)) + C_W * cosines * H1[a, b]
    z = z_scores(m.ntk, exact, exact)
    assert 0.3 < np.sqrt(np.mean(z**2)) < 1.7


@pytest.mark.parametrize("method", ["weights", "chain"])
def test_exact_law_of_relu_networks(method):
    """E[G] = K and E[G^2]/K^2 = prod(1 + 5/n) at unequal, small widths."""
    net = MLP((4, 20, 30, 25, 1), "relu", C_W=2.0)
    x = X[:1]
    K = 2.0 * (x @ x.T).item() / 4
    m = measure(net, x, ("metric", "vertex"), 60_000, key=6, method=method)
    factor, z = 1.0, []
    for layer, n in enumerate((20, 30, 25), start=1):
        factor *= 1 + 5 / n
        exact = n * K**2 * (factor - 1)
        z.append((m.metric.value[layer].item() - K) / m.metric.standard_error[layer].item())
        z.append((m.vertex.value[layer].item() - exact) / m.vertex.standard_error[layer].item())
        # The measurement must be sharp enough to tell 5 from 4.
        assert m.vertex.standard_error[layer].item() < 0.07 * exact
    assert np.max(np.abs(z)) < 3.5


def test_layer_one_is_exact_and_without_error():
    net, K = sine_network()
    m = measure(net, X, ("metric", "vertex", "metric_cumulant3"), 50, key=3, chunk_size=7)
    for estimate in (m.metric, m.vertex, m.metric_cumulant3):
        assert (estimate.standard_error[0] == 0).all()
        assert (estimate.standard_error[1] > 0).all()
    assert (m.vertex.value[0] == 0).all()
    assert (m.metric_cumulant3.value[0] == 0).all()
    np.testing.assert_allclose(m.metric.value[0], K, rtol=1e-14)


def test_error_bars_are_the_spread_over_runs():
    net, _ = sine_network()
    runs = [measure(net, X, ("metric", "vertex"), 300, seed, "chain") for seed in range(150)]
    for name in ("metric", "vertex"):
        spread = np.var([r[name].value[1] for r in runs], axis=0)
        claimed = np.mean([r[name].standard_error[1] ** 2 for r in runs], axis=0)
        assert 0.8 < np.mean(claimed / spread) < 1.25
