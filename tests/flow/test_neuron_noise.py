"""The law of what one layer adds: adjoints, projections and roots, exactly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import finitewidth as fw
from finitewidth.flow import neuron_noise
from finitewidth.flow.linearized import linearize
from finitewidth.flow.neuron_noise import NOISE, covariance_root

X = np.random.default_rng(1).normal(size=(4, 3))


@pytest.fixture(scope="module", autouse=True)
def double():
    with fw.double_precision():
        yield


@pytest.fixture(scope="module")
def laws(double):
    net = fw.MLP((3, 7, 5, 1), "gelu", C_b=0.1, C_W=1.3, lambda_b=0.4, lambda_W=[0.3, 0.9, 0.5])
    flow = linearize(net, jnp.asarray(X))
    layer = jax.tree.map(lambda a: a[1], flow.layers)
    return {name: law(layer) for name, law in NOISE.items()}


def legs(sector, seed):
    M, W = np.random.default_rng(seed).normal(size=(2, 4, 4))
    return (M + M.T, W + W.T) if sector == "covariance" else (M, None)


def inner(one, other):
    return sum(float((a * b).sum()) for a, b in zip(one, other, strict=True) if a is not None)


@pytest.mark.parametrize("sector", NOISE)
@settings(max_examples=10)
@given(seed=st.integers(0, 10**6))
def test_pull_is_the_adjoint_of_push(laws, sector, seed):
    noise, weights = legs(sector, seed), legs(sector, seed + 1)
    law = laws[sector]
    np.testing.assert_allclose(
        inner(weights, law.push(noise)), inner(law.pull(weights), noise), rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("sector", NOISE)
def test_projections_are_those_of_the_matrices(laws, sector):
    """`rest` and `spread` never form the matrices that they speak of."""
    law, weights = laws[sector], legs(sector, 3)
    pulled = law.pull(weights)
    neurons = law.draw(law.roots(), jax.random.key(0), 6)
    S = law.matrices(neurons)
    if sector == "covariance":
        S_0 = jnp.einsum("ma,mb->mab", neurons[0], neurons[0]) - law.layer.K
        lowest = (S_0, jnp.zeros_like(S_0))
    else:
        lowest = (jnp.einsum("ma,mb->mab", neurons[0], neurons[1]), None)
    want = []
    for m in range(6):
        of_one = [tuple(None if leg is None else leg[m] for leg in part) for part in (S, lowest)]
        want.append(inner(weights, of_one[0]) - inner(pulled, of_one[1]))
    rest = law.rest(neurons, weights, pulled)
    np.testing.assert_allclose(rest, want, rtol=1e-9, atol=1e-10)
    spread = law.spread(neurons, rest)
    np.testing.assert_allclose(inner(weights, spread), float((rest**2).mean()), rtol=1e-9)


@pytest.mark.parametrize("sector", NOISE)
def test_the_rest_is_centered_and_uncorrelated_with_the_lowest_part(laws, sector):
    """So that the closed part and the drawn part add up to the whole second moment."""
    law, weights, other = laws[sector], legs(sector, 4), legs(sector, 5)
    P, Q = law.pull(weights), law.pull(other)
    neurons = law.draw(law.roots(), jax.random.key(1), 2**16)
    rest = np.asarray(law.rest(neurons, weights, P))
    u, v = neurons[0], neurons[0] if sector == "covariance" else neurons[1]
    below = np.asarray(((u @ Q[0]) * v).sum(axis=1))
    if sector == "covariance":
        below = below - float((Q[0] * law.layer.K).sum())
    for numbers in (rest, rest * below):
        assert abs(numbers.mean()) < 4 * numbers.std() / np.sqrt(len(rest))
    square = below**2
    want = float((Q[0] * law.lowest(Q)).sum())
    assert abs(square.mean() - want) < 4 * square.std() / np.sqrt(len(rest))


@pytest.mark.parametrize("kind", ["regular", "repeated", "indefinite", "zero"])
def test_roots_of_singular_kernels(kind):
    data = np.random.default_rng(0).normal(size=(30, 40))
    if kind == "repeated":
        data[10:] = data[:20] * np.random.default_rng(1).choice([-1, 1], size=(20, 1))
    K = data @ data.T
    tolerance = 1e-12
    if kind == "indefinite":
        # Negative eigenvalues beyond rounding, as pair expectations of finite accuracy give them.
        values, axes = np.linalg.eigh(K)
        values[:5] = -1e-9 * values[-1]
        K, tolerance = axes * values @ axes.T, 1e-8
    if kind == "zero":
        K = np.zeros((30, 30))
    A = np.asarray(covariance_root(jnp.asarray(K)))
    np.testing.assert_allclose(A @ A.T, K, atol=tolerance * max(np.abs(K).max(), 1e-300))


def test_a_flow_without_ntk_has_no_jacobian_of_it():
    flow = linearize(fw.MLP((3, 4, 1), "relu"), jnp.asarray(X), ntk=False)
    layer = jax.tree.map(lambda a: a[0], flow.layers)
    with pytest.raises(ValueError, match="wanted a flow with the NTK"):
        _ = layer.jacobian
    with pytest.raises(ValueError, match="wanted a flow with the NTK"):
        NOISE["F"](layer).roots()


@pytest.mark.parametrize("name", ["tanh", "relu"])
def test_single_precision_for_many_inputs(name, monkeypatch):
    """Its rounding is nothing beside the spread of the neurons, also for a nearly linear layer."""
    x = 0.3 * np.random.default_rng(0).normal(size=(neuron_noise.SINGLE_PRECISION_FROM, 8))
    net = fw.MLP((8, 20, 20, 1), name, C_b=0.01)
    layer = jax.tree.map(lambda leaf: leaf[-1], linearize(net, jnp.asarray(x), ntk=False).layers)
    law = neuron_noise.CovarianceNoise(layer)
    a = np.random.default_rng(1).normal(size=len(x)) / len(x)
    weights = (jnp.asarray(np.eye(len(x)) / len(x) + np.outer(a, a)), None)
    neurons = law.draw(law.roots(), jax.random.key(0), 50)
    single = law.rest(neurons, weights, law.pull(weights))
    monkeypatch.setattr(neuron_noise, "SINGLE_PRECISION_FROM", len(x) + 1)
    double = law.rest(neurons, weights, law.pull(weights))
    error = float(jnp.abs(single - double).max() / double.std())
    assert 0 < error < 1e-5
