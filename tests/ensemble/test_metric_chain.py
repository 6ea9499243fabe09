"""The square root survives every singular metric, and the chain is the law of real networks."""

import jax
import numpy as np
import pytest

from finitewidth.ensemble import draw_by_chain, measure, square_root
from finitewidth.network import MLP

X = np.array([[0.9, -0.4, 0.2], [0.1, 0.8, -0.5], [-0.6, 0.3, 0.7]])


def covariance(samples, rank, seed=0):
    factor = np.random.default_rng(seed).normal(size=(samples, rank))
    return factor @ factor.T


@pytest.mark.parametrize(("samples", "rank"), [(1, 1), (4, 9), (4, 2), (6, 3), (9, 20), (40, 13)])
def test_square_root_squares_to_the_metric(samples, rank):
    metric = covariance(samples, rank)
    root = np.asarray(square_root(metric))
    assert np.allclose(root, np.tril(root), atol=0)
    scale = np.sqrt(np.outer(np.diag(metric), np.diag(metric)))
    assert np.max(np.abs(root @ root.T - metric) / scale) < 2e-14 * samples


@pytest.mark.parametrize(
    "metric",
    [
        np.zeros((3, 3)),
        np.ones((3, 3)),
        np.array([[1.0, -1.0, 0.0], [-1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]),
        np.diag([0.0, 2.0, 0.0]),
        np.array([[1e-300, 0, 0], [0, 1e300, 0], [0, 0, 1.0]]),
    ],
    ids=["dead", "duplicates", "antipodal and zero", "zero samples", "scales"],
)
def test_square_root_of_singular_metrics(metric):
    root = np.asarray(square_root(metric))
    np.testing.assert_allclose(root @ root.T, metric, rtol=1e-15, atol=0)


def test_square_root_of_a_batch_is_that_of_each():
    batch = np.stack([covariance(4, rank) for rank in (1, 2, 4, 8)])
    roots = np.asarray(square_root(batch))
    for metric, root in zip(batch, roots, strict=True):
        np.testing.assert_allclose(root, square_root(metric), rtol=1e-12, atol=1e-14)


def test_nearly_equal_samples_keep_their_distance():
    distance = 1e-5
    metric = np.array([[1.0, 1.0], [1.0, 1.0 + distance**2]])
    root = np.asarray(square_root(metric))
    np.testing.assert_allclose(root[1, 1], distance, rtol=1e-5)


def test_duplicates_stay_duplicates_and_dead_layers_stay_finite():
    # At width 2 a ReLU layer is dead for one input in a quarter of the networks.
    net = MLP((3, 2, 2, 2, 1), "relu", C_W=2.0)
    x = np.stack([X[0], X[0], np.zeros(3)])
    metric = np.asarray(draw_by_chain(net, x, jax.random.key(0), 500).metric)
    assert np.isfinite(metric).all()
    assert (metric[:, -1] == 0).all(axis=(1, 2)).any()
    np.testing.assert_allclose(metric[:, :, 0, 0], metric[:, :, 1, 1], rtol=1e-12)
    np.testing.assert_allclose(metric[:, :, 0, 0], metric[:, :, 0, 1], rtol=1e-12)
    assert (metric[:, :, 2] == 0).all()


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_both_samplers_agree(activation):
    """Unequal widths, biases, three inputs; some widths below and some above N."""
    net = MLP((3, 9, 2, 14, 14, 2), activation, C_b=[0.1, 0.2, 0.05, 0.1, 0.3], C_W=1.6)
    by_weights, by_chain = (
        measure(net, X, ("metric", "vertex"), 30_000, key=seed, method=method)
        for seed, method in ((11, "weights"), (12, "chain"))
    )
    pairs = np.triu_indices(3)
    z = []
    for name in ("metric", "vertex"):
        a, b = by_weights[name], by_chain[name]
        scores = (a.value - b.value)[1:] / np.hypot(a.standard_error, b.standard_error)[1:]
        entries = scores[:, pairs[0], pairs[1]]
        if name == "vertex":
            entries = entries[..., pairs[0], pairs[1]]
            entries = entries[:, *np.triu_indices(6)]
        z.append(entries.ravel())
    z = np.concatenate(z)
    assert np.max(np.abs(z)) < 4.5
    assert np.sqrt(np.mean(z**2)) < 1.35


def test_more_samples_than_neurons():
    net = MLP((4, 3, 5, 1), "tanh", C_b=0.1, C_W=1.5)
    x = np.random.default_rng(3).normal(size=(12, 4))
    a, b = (measure(net, x, "metric", 20_000, 5, method) for method in ("weights", "chain"))
    error = np.hypot(a.metric.standard_error, b.metric.standard_error)[1:]
    z = (a.metric.value - b.metric.value)[1:] / error
    assert np.sqrt(np.mean(z**2)) < 1.5
    assert np.max(np.abs(z)) < 4.5


@pytest.mark.parametrize("law", ["uniform", "orthogonal", "truncated_normal"])
def test_the_chain_refuses_weights_that_are_not_gaussian(law):
    net = MLP((3, 4, 1), "tanh", law=law)
    with pytest.raises(ValueError, match=f"Gaussian weights only.*{law}"):
        measure(net, X, samples=10, method="chain")
    measure(net, X, "metric", samples=10, method="weights")


def test_orthogonal_weights_do_differ_from_the_chain():
    """The reason for the refusal: with as many inputs as features |z|^2 does not fluctuate."""
    gaussian, orthogonal = (
        MLP((3, 3, 1), "linear", law=law, C_W=1.0) for law in ("gaussian", "orthogonal")
    )
    x = X[:1]
    fluctuating = measure(gaussian, x, "vertex", 2000, 0).vertex
    fixed = measure(orthogonal, x, "vertex", 2000, 0).vertex
    assert fluctuating.value[1].item() > 0.01
    assert abs(fixed.value[1].item()) < 1e-12
