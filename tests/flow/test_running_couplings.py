"""How couplings run with the number of neurons: the book's flow, and moments of sampled metrics."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import finitewidth as fw
from finitewidth.ensemble import draw_by_chain
from finitewidth.flow.effective_action import effective_action
from finitewidth.flow.running_couplings import running_couplings

X = np.array([[0.7, -0.2], [0.4, 0.9]])


@pytest.fixture(scope="module")
def pre():
    net = fw.MLP((2, 4000, 3000, 5000, 3), "sin", C_b=0.1, C_W=1.3)
    return fw.flow.preactivations(net, X)


def test_one_input_is_the_action_of_one_input(pre):
    couplings = running_couplings(pre, (1, 2, 7), sample=1)
    for place, m in enumerate((1, 2, 7)):
        alone = fw.flow.preactivations(pre.net, X[[1]])
        for layer in (1, 3, 4):
            action = effective_action(alone, layer, m)
            want = 1 / float(action.lowered_quadratic[0, 0])
            assert float(couplings.quadratic[layer - 1, place]) == pytest.approx(want, rel=1e-12)
            assert float(couplings.quartic[layer - 1]) == pytest.approx(
                float(action.quartic[0, 0, 0, 0]), rel=1e-12
            )


def test_the_flow_in_the_number_of_neurons(pre):
    """(4.100): g_m = g_m' - (m' - m) v/(2 g_m'); (4.101): G = 1/g_m + (m+2) v/(2 g_m^3)."""
    m = np.array([1, 3, 10])
    c = running_couplings(pre, m)
    g, v, G = np.asarray(c.quadratic), np.asarray(c.quartic)[:, None], np.asarray(c.metric)
    # All statements of first order: corrections are squares of m V/(n K^2) < 1e-2.
    stepped = g[:, [2]] - (10 - m) * v / (2 * g[:, [2]])
    np.testing.assert_allclose(stepped, g, rtol=5e-5)
    assert np.abs(g / g[:, [2]] - 1).max() > 1e-3
    np.testing.assert_allclose(1 / g + (m + 2) * v / (2 * g**3), G[:, None].repeat(3, 1), rtol=5e-5)


def measured_couplings(width, key, neurons, batches=16, networks=2000):
    """Return n (1/g_m - G) for each m, n v and n (g_1 - g_m) of layer 4, batch by batch."""
    net = fw.MLP((1, width, width, width, 1), "tanh")

    @jax.jit
    def one(key):
        G = draw_by_chain(net, jnp.ones((1, 1)), key, networks).metric[:, -1, 0, 0]
        g = jnp.stack([(G ** (-m / 2 - 1)).mean() / (G ** (-m / 2)).mean() for m in neurons])
        weight = G ** (-neurons[0] / 2)
        mean = (weight / G).sum() / weight.sum()
        v = (weight * (1 / G - mean) ** 2).sum() / weight.sum()
        return jnp.concatenate(
            [width * (1 / g - G.mean()), jnp.stack([width * v, width * (g[0] - g[-1])])]
        )

    with fw.double_precision():
        return np.array([one(k) for k in jax.random.split(jax.random.key(key), batches)])


@pytest.mark.slow
def test_couplings_of_sampled_networks():
    """tanh, K^(1) = 1, fourth layer, from moments of the metric at widths 160 and 320."""
    neurons = (1, 2, 4)
    (narrow, wide) = (measured_couplings(n, n, neurons) for n in (160, 320))
    values = 2 * wide.mean(0) - narrow.mean(0)
    errors = np.hypot(2 * wide.std(0, ddof=1), narrow.std(0, ddof=1)) / math.sqrt(len(wide))
    pre = fw.flow.preactivations(fw.MLP((1, 320, 320, 320, 1), "tanh"), [[1.0]])
    K, V = float(pre.kernel[3, 0, 0]), float(pre.vertex.dense()[3, 0, 0, 0, 0])
    theory = np.array([-(m + 2) * V / (2 * K) for m in neurons] + [V / K**4, -3 * V / (2 * K**3)])
    np.testing.assert_allclose(theory[:3], [-0.45135, -0.60180, -0.90269], atol=2e-5)
    score = (values - theory) / errors
    assert np.sqrt((score**2).mean()) < 1.9
    assert np.abs(score).max() < 4


def test_labelled_results(pre):
    couplings = running_couplings(pre, (1, 4))
    data = couplings.to_xarray()
    assert float(data.quadratic.sel(layer=3, neurons=4)) == float(couplings.quadratic[2, 1])
    assert "layer 4: g_1" in repr(couplings)
    with pytest.raises(ValueError, match="sample: wanted 0 to 1"):
        running_couplings(pre, (1,), sample=2)
    with pytest.raises(ValueError, match="order 1"):
        running_couplings(fw.flow.preactivations(pre.net, X, order=0))
