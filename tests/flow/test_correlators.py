"""Correlators with neuron indices against Gaussian mixtures that are known exactly."""

import numpy as np
import pytest

import finitewidth as fw
from finitewidth.flow.correlators import (
    connected_four_point,
    correlator_from_metric_moments,
    metric_moment,
    neuron_correlator,
)

X = np.array([[1.0, 0.4, -0.3], [0.2, -0.5, 0.9]])


@pytest.fixture(scope="module")
def pre():
    return fw.flow.preactivations(fw.MLP((3, 30, 20, 40, 2), "sin", C_b=0.1, C_W=1.7), X)


def mixture(rng):
    """Return some 2x2 metrics with probabilities: a law whose moments are plain sums."""
    B = rng.normal(size=(7, 2, 3))
    G = B @ B.transpose(0, 2, 1)
    return G, rng.dirichlet(np.ones(7))


@pytest.mark.parametrize(
    "labels",
    [
        [(0, 0), (0, 1), (0, 1), (0, 0)],
        [(0, 0), (1, 1), (0, 1), (1, 1)],
        [(0, 0), (1, 1), (0, 1), (1, 0), (0, 0), (0, 1)],
        [(3, 1), (2, 0), (3, 1), (2, 0), (5, 1), (5, 0)],
    ],
)
def test_even_correlators_from_moments_of_the_metric(labels):
    """PDLT (4.71) is exact for any law of the metric; here a finite mixture of Gaussians."""
    G, probability = mixture(np.random.default_rng(0))

    def moment(pairs):
        return (probability * np.prod([G[:, a, b] for a, b in pairs], axis=0)).sum()

    # Given the metric, each neuron is Gaussian on its own: Wick's theorem neuron by neuron.
    neurons = {i for i, _ in labels}
    want = 0.0
    for metric, p in zip(G, probability, strict=True):
        factors = [
            float(fw.gaussian.wick_moment(metric, [a for i, a in labels if i == neuron]))
            for neuron in neurons
        ]
        want += p * np.prod(factors)
    assert correlator_from_metric_moments(moment, labels) == pytest.approx(want, rel=1e-12)


def test_odd_numbers_of_a_neuron_vanish(pre):
    assert float(neuron_correlator(pre, 3, [(0, 0), (1, 0)])) == 0.0
    assert float(neuron_correlator(pre, 3, [(0, 0)] * 3)) == 0.0
    assert float(neuron_correlator(pre, 3, [])) == 1.0


def test_the_connected_four_point_function(pre):
    """(4.77): what is left of (4.71) once products of two-point functions are taken out."""
    kappa = np.asarray(connected_four_point(pre, 4, neurons=3))
    rng = np.random.default_rng(1)
    for _ in range(30):
        labels = [tuple(map(int, row)) for row in rng.integers([3, 2], size=(4, 2))]
        value = float(neuron_correlator(pre, 4, labels))
        pairs = [((0, 1), (2, 3)), ((0, 2), (1, 3)), ((0, 3), (1, 2))]
        for p, q in pairs:
            value -= float(neuron_correlator(pre, 4, [labels[k] for k in p])) * float(
                neuron_correlator(pre, 4, [labels[k] for k in q])
            )
        assert value == pytest.approx(kappa[tuple(np.ravel(labels))], abs=1e-12)
    flat = kappa.reshape((6,) * 4)
    np.testing.assert_allclose(flat, flat.transpose(2, 0, 3, 1), rtol=1e-13)


def test_named_components(pre):
    """Cov[z_1^2, z_2^2] = V/n for two neurons, E[z^4]_c = 3 V/n for one; 0 in layer 1."""
    V = float(pre.vertex.dense()[2, 0, 0, 0, 0]) / 20
    kappa = np.asarray(connected_four_point(pre, 3, neurons=2))
    assert kappa[0, 0, 0, 0, 1, 0, 1, 0] == pytest.approx(V, rel=1e-12)
    assert kappa[0, 0, 0, 0, 0, 0, 0, 0] == pytest.approx(3 * V, rel=1e-12)
    np.testing.assert_array_equal(connected_four_point(pre, 1, neurons=2), 0.0)


def test_moments_of_the_metric_to_first_order(pre):
    """Moments of a lognormal of small variance: E[G^3] = G^3 (1 + 3 V/(n G^2))."""
    G = float(pre.metric[3, 0, 0])
    V = float(pre.vertex.dense()[3, 0, 0, 0, 0]) / 40
    moment = float(metric_moment(pre, 4, [(0, 0)] * 3))
    assert moment == pytest.approx(G**3 + 3 * V * G, rel=1e-12)
    assert float(metric_moment(pre, 4, [(1, 0)])) == pytest.approx(float(pre.metric[3, 0, 1]))
    assert float(neuron_correlator(pre, 4, [(0, 0)] * 6)) == pytest.approx(15 * moment, rel=1e-12)


@pytest.mark.slow
def test_six_point_functions_of_sampled_networks(pre):
    """Two neurons, two inputs, from metrics of the exact chain at width 200 of all layers."""
    import jax

    net = fw.MLP((3, 200, 200, 200, 1), "sin", C_b=0.1, C_W=1.7)
    labels = [(0, 0), (0, 0), (0, 1), (0, 1), (1, 0), (1, 0)]
    theory = float(neuron_correlator(fw.flow.preactivations(net, X), 4, labels))
    infinite = fw.flow.preactivations(net, X, order=0).kernel[3]
    gaussian = float(infinite[0, 0] * (infinite[0, 0] * infinite[1, 1] + 2 * infinite[0, 1] ** 2))
    batches = []
    with fw.double_precision():
        for key in jax.random.split(jax.random.key(5), 20):
            G = np.asarray(fw.ensemble.draw_by_chain(net, X, key, 2000).metric[:, -1])
            batches.append((G[:, 0, 0] * (G[:, 0, 0] * G[:, 1, 1] + 2 * G[:, 0, 1] ** 2)).mean())
    error = np.std(batches, ddof=1) / np.sqrt(len(batches))
    # What is neglected is of relative order (V/(n K^2))^2, far below the error.
    assert abs(np.mean(batches) - theory) < 3.5 * error
    assert abs(theory - gaussian) > 5 * error


def test_bad_input_is_refused_in_words(pre):
    with pytest.raises(ValueError, match="samples from 0 to 1"):
        metric_moment(pre, 2, [(0, 2)])
    with pytest.raises(ValueError, match="wanted 1 to 4"):
        neuron_correlator(pre, 9, [(0, 0), (0, 0)])
