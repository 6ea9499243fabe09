"""Markov chains over weights find the posterior that weighted draws from the prior find."""

import warnings

import jax
import numpy as np
import pytest

from finitewidth.bayes.sampling import (
    ChainPosterior,
    importance_sample,
    nuts_sample,
    sample_posterior,
)
from finitewidth.bayes.sampling.nuts import _last_layer
from finitewidth.ensemble import draw_by_chain
from finitewidth.network import MLP

X = np.array([[1.0, 0.3], [-0.2, 1.1], [0.6, -0.8]])
Y = np.array([1.6, -0.9, 0.4])
TESTS = np.array([[1.0, -1.0], [0.3, 0.2]])
NET = MLP((2, 4, 1), "tanh", C_b=0.1, C_W=1.8)


@pytest.fixture(scope="module")
def chains():
    # The data are narrow and unlikely: the labels move the hidden layer a lot.
    return sample_posterior(NET, X, Y, TESTS, 0.1, "nuts", samples=1000, warmup=300, key=1)


def test_it_agrees_with_importance_sampling(chains):
    weighted = sample_posterior(NET, X, Y, TESTS, 0.1, samples=200_000)
    assert isinstance(chains, ChainPosterior)
    pairs = np.triu_indices(5)
    z = []
    for name in ("mean", "covariance", "feature_kernels"):
        (a, b), (da, db) = (
            [np.asarray(getattr(run, name + end)) for run in (chains, weighted)]
            for end in ("", "_error")
        )
        score = (a - b) / np.hypot(da, db)
        z.append(np.ravel(score[0][pairs] if name == "feature_kernels" else score))
    z = np.concatenate(z)
    assert 0.4 < np.sqrt(np.mean(z**2)) < 1.6
    assert np.max(np.abs(z)) < 4
    # The chains tell the posterior from the prior.
    shift = (chains.feature_kernels - weighted.prior_feature_kernels) / chains.feature_kernels_error
    assert np.max(np.abs(shift)) > 20


def test_the_chains_mixed(chains):
    assert chains.r_hat < 1.02
    assert chains.effective_samples > 500
    assert chains.divergences == 0
    assert "4 chains of 1000" in repr(chains)
    assert (chains.variance > 0).all()
    assert (chains.variance_error < 0.1 * chains.variance).all()


def test_whitened_weights_are_the_ensemble():
    """At normal positions the hidden kernels have the mean that real networks have."""
    net = MLP((2, 5, 3, 1), "tanh", C_b=[0.1, 0.3, 0.2], C_W=[1.8, 0.9, 1.3])
    positions = jax.random.normal(jax.random.key(0), (20_000, 3 * 5 + 6 * 3))
    y, noise = jax.numpy.asarray(Y[:, None]), jax.numpy.asarray(0.1)
    last, features = jax.jit(
        jax.vmap(lambda p: _last_layer(net, jax.numpy.asarray(X), y, noise, p))
    )(positions)
    metric = np.asarray(draw_by_chain(net, X, jax.random.key(1), 20_000).metric)
    wanted = (metric[:, 1:] - np.array([0.3, 0.2])[:, None, None]) / np.array([0.9, 1.3])[
        :, None, None
    ]
    features = np.asarray(features)
    for power in (1, 2):
        a, b = features**power, wanted**power
        z = (a.mean(0) - b.mean(0)) / np.sqrt((a.var(0) + b.var(0)) / 20_000)
        assert np.max(np.abs(z)) < 4
    evidence = importance_sample(net, X, Y, None, 0.1, 20_000, key=2)
    p = np.exp(np.asarray(last.log_weight))
    error = np.hypot(p.std() / np.sqrt(p.size) / p.mean(), evidence.log_evidence_error)
    assert abs(np.log(p.mean()) - evidence.log_evidence) < 4 * error


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "gibbs"}, "method: wanted 'importance' or 'nuts'"),
        ({"net": MLP((2, 1), "tanh")}, "net: wanted at least one hidden layer"),
        ({"noise": -1.0}, "noise: wanted a variance"),
        ({"noise": 0.0, "net": MLP((2, 2, 1), "tanh")}, "at most 2 observed inputs"),
        ({"samples": 10}, "samples: wanted at least 100"),
        ({"chains": 1}, "chains: wanted at least 2"),
        ({"warmup": 5}, "warmup: wanted at least 20"),
    ],
)
def test_bad_input_is_named(change, message):
    arguments = {"net": NET, "x": X, "y": Y, "noise": 0.1, "method": "nuts"} | change
    with pytest.raises(ValueError, match=message):
        sample_posterior(**arguments)


def test_progress_and_longer_chains():
    told = []
    problem = (NET, X, Y, TESTS, 0.1)
    options = {"key": 4, "chains": 2, "warmup": 20}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        short = nuts_sample(*problem, 100, progress=lambda *now: told.append(now), **options)
        odd = nuts_sample(*problem, 150, **options)
        again = nuts_sample(*problem, 100, **options)
    assert told == [(0, 200), (200, 200)]
    assert odd.samples == 150
    np.testing.assert_array_equal(short.mean, again.mean)
    assert (short.mean != odd.mean).all()
