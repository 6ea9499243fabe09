"""Dense and factorized tensors: the same operator on pairs, by plain sums over indices."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finitewidth.tensors import (
    DenseTensor,
    FactorizedTensor,
    PairTensor,
    asymmetry,
    independent_entries,
    symmetrize,
)

FORMS = ["dense", "factorized"]


def build(form: str, seed: int, samples: int, batch: tuple[int, ...] = ()) -> PairTensor:
    """A tensor with no symmetry in the dense form, a sum of (asymmetric) squares in the other."""
    rng = np.random.default_rng(seed)
    if form == "dense":
        return DenseTensor(rng.normal(size=(*batch, *(samples,) * 4)))
    return FactorizedTensor(rng.normal(size=(*batch, 5, samples, samples)), rng.normal(size=5))


def by_loops(values, X, Y, M):
    """The three contractions written out, index by index."""
    n = len(X)
    contract, apply, crossed = 0.0, np.zeros((n, n)), np.zeros((n, n))
    for a, b, c, d in np.ndindex(*values.shape):
        contract += X[a, b] * values[a, b, c, d] * Y[c, d]
        apply[a, b] += values[a, b, c, d] * Y[c, d]
        crossed[a, c] += M[b, d] * values[a, b, c, d]
    return contract, apply, crossed


@settings(max_examples=10)
@given(st.sampled_from(FORMS), st.integers(0, 10**6), st.integers(1, 3))
def test_contractions_are_the_sums_over_indices(form, seed, samples):
    V = build(form, seed, samples)
    assert V.samples == samples and V.batch_shape == () and V.shape == (samples,) * 4
    X, Y, M = np.random.default_rng(seed + 1).normal(size=(3, samples, samples))
    values = np.asarray(V.dense())
    assert values.shape == V.shape
    contract, apply, crossed = by_loops(values, X, Y, M)
    np.testing.assert_allclose(V.contract(X, Y), contract, atol=1e-12)
    np.testing.assert_allclose(V.apply(Y), apply, atol=1e-12)
    np.testing.assert_allclose(V.crossed(M), crossed, atol=1e-12)


def test_factorized_is_the_average_of_squares():
    """V = E[B (x) B], by an explicit loop over the factors."""
    B = np.random.default_rng(0).normal(size=(4, 3, 3))
    expected = sum(np.multiply.outer(b, b) for b in B) / 4
    np.testing.assert_allclose(FactorizedTensor(B).dense(), expected, atol=1e-14)
    np.testing.assert_allclose(FactorizedTensor(B, 2.0).dense(), 8 * expected, atol=1e-13)
    weights = np.array([1.0, -2.0, 0.5, 3.0])
    expected = sum(w * np.multiply.outer(b, b) for w, b in zip(weights, B, strict=True))
    np.testing.assert_allclose(FactorizedTensor(B, weights).dense(), expected, atol=1e-14)


@pytest.mark.parametrize("form", FORMS)
def test_leading_axes(form):
    """Layers in front: every operation is the one of each layer; matrices broadcast."""
    V = build(form, 1, 3, batch=(4, 2))
    X, Y = np.random.default_rng(2).normal(size=(2, 3, 3))
    many = np.random.default_rng(3).normal(size=(4, 1, 3, 3))
    assert V.shape == (4, 2, 3, 3, 3, 3) and V.batch_shape == (4, 2)
    for layer in range(4):
        for network in range(2):
            one = V[layer, network]
            assert one.batch_shape == () and type(one) is type(V)
            for stacked, single in [
                (V.dense(), one.dense()),
                (V.contract(X, Y), one.contract(X, Y)),
                (V.apply(Y), one.apply(Y)),
                (V.crossed(X), one.crossed(X)),
                (V.entries(), one.entries()),
                (V.crossed(many), one.crossed(many[layer, 0])),
                (V.contract(many, Y), one.contract(many[layer, 0], Y)),
                (V.restrict([2, 0]).dense(), one.restrict([2, 0]).dense()),
            ]:
                np.testing.assert_allclose(stacked[layer, network], single, atol=1e-12)
    assert V[-1].batch_shape == (2,) and V[1:3].batch_shape == (2, 2)


@pytest.mark.parametrize("form", FORMS)
def test_restriction_and_entries(form):
    V = build(form, 4, 4)
    values = np.asarray(V.dense())
    kept = [3, 1]
    np.testing.assert_allclose(V.restrict(kept).dense(), values[np.ix_(*[kept] * 4)], atol=1e-14)
    rows = np.array([[0, 1, 2, 3], [3, 3, 0, 1]])
    np.testing.assert_allclose(V.entries(rows), values[tuple(rows.T)], atol=1e-14)
    everything = independent_entries(4)
    np.testing.assert_allclose(V.entries(), values[tuple(everything.T)], atol=1e-14)
    # restriction and contraction with matrices that vanish outside the subset are the same
    X, Y = np.random.default_rng(5).normal(size=(2, 2, 2))
    padded = np.zeros((2, 4, 4))
    padded[:, *np.ix_(kept, kept)] = X, Y
    np.testing.assert_allclose(
        V.restrict(kept).contract(X, Y), V.contract(padded[0], padded[1]), atol=1e-12
    )


@settings(max_examples=10)
@given(st.integers(0, 10**6), st.integers(1, 3))
def test_a_symmetric_tensor_is_a_sum_of_squares(seed, samples):
    V = symmetrize(np.random.default_rng(seed).normal(size=(2, *(samples,) * 4)))
    factorized = FactorizedTensor.from_dense(V)
    np.testing.assert_allclose(factorized.dense(), V, atol=1e-12)
    assert max(asymmetry(factorized.dense()).values()) < 1e-12
    M = np.random.default_rng(seed).normal(size=(samples, samples))
    np.testing.assert_allclose(factorized.crossed(M), DenseTensor(V).crossed(M), atol=1e-12)
    np.testing.assert_allclose(
        FactorizedTensor.from_dense(DenseTensor(V)).weights, factorized.weights
    )


def test_vertex_of_a_linear_layer():
    """V of layer 2 of a linear network: V_(ab)(cd) = K_ac K_bd + K_ad K_bc; contractions by hand.

    V[X, Y] = 2 tr(X K Y K) for symmetric X, Y;  crossed(M) = K tr(M K) + K M^T K.
    """
    K = np.array([[1.2, 0.3, -0.4], [0.3, 0.9, 0.2], [-0.4, 0.2, 0.7]])
    V = DenseTensor(np.einsum("ac,bd->abcd", K, K) + np.einsum("ad,bc->abcd", K, K))
    A, B = np.random.default_rng(0).normal(size=(2, 3, 3))
    X, Y = A + A.T, B + B.T
    np.testing.assert_allclose(V.contract(X, Y), 2 * np.trace(X @ K @ Y @ K), rtol=1e-12)
    np.testing.assert_allclose(V.apply(Y), 2 * K @ Y @ K, rtol=1e-12)
    np.testing.assert_allclose(V.crossed(A), K * np.trace(A.T @ K) + K @ A.T @ K, rtol=1e-12)


def test_large_factorized_tensor_never_becomes_dense():
    """N = 400: the dense form would take 205 GB."""
    B = np.random.default_rng(0).normal(size=(3, 400, 400))
    V = FactorizedTensor(B)
    eye = np.eye(400)
    trace = np.trace(B, axis1=1, axis2=2)
    np.testing.assert_allclose(V.contract(eye, eye), (trace**2).mean(), rtol=1e-12)
    np.testing.assert_allclose(V.crossed(eye), np.mean([b @ b.T for b in B], axis=0), atol=1e-9)
    assert V.restrict(np.arange(5)).samples == 5
    assert V.entries(np.array([[0, 399, 7, 8]])).shape == (1,)


@pytest.mark.parametrize("form", FORMS)
def test_tensors_are_pytrees(form):
    """They go through jit, vmap and grad."""
    V = build(form, 6, 2, batch=(3,))
    X = jnp.eye(2)
    expected = V.contract(X, X)
    np.testing.assert_allclose(eqx.filter_jit(lambda t: t.contract(X, X))(V), expected)
    np.testing.assert_allclose(jax.vmap(lambda t: t.contract(X, X))(V), expected)
    gradient = jax.grad(lambda Y: V[0].contract(X, Y))(X)
    by_apply = np.einsum("ab,abcd->cd", X, V[0].dense())
    np.testing.assert_allclose(gradient, by_apply, atol=1e-12)
    assert f"{type(V).__name__}(" in repr(V)
    with pytest.raises(AttributeError):
        V.values = 0  # type: ignore[attr-defined]


def test_the_interface_is_abstract():
    with pytest.raises(TypeError):
        PairTensor()  # type: ignore[abstract]


V2 = DenseTensor(np.ones((3, 2, 2, 2, 2)))
F2 = FactorizedTensor(np.ones((3, 5, 2, 2)))


@pytest.mark.parametrize("V", [V2, F2], ids=FORMS)
@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda V: V.contract(np.ones((3, 3)), np.eye(2)), ValueError, r"X: .*\(..., 2, 2\), got"),
        (lambda V: V.contract(np.eye(2), np.ones(2)), ValueError, "Y: wanted a matrix"),
        (lambda V: V.apply(np.ones((2, 3))), ValueError, r"Y: .*got shape \(2, 3\)"),
        (lambda V: V.crossed(1.0), ValueError, r"M: wanted a matrix.*got shape \(\)"),
        (lambda V: V.restrict([0, 2]), ValueError, "indices: .*from 0 to 1, got 2"),
        (lambda V: V.restrict([-1]), ValueError, "indices: .*from 0 to 1, got -1"),
        (lambda V: V.restrict([]), ValueError, "indices: wanted a vector of sample numbers"),
        (lambda V: V.restrict([0.5]), ValueError, "of type float64"),
        (lambda V: V.entries([[0, 1]]), ValueError, r"quadruples: .*got shape \(1, 2\)"),
        (lambda V: V.entries([[0, 1, 2, 0]]), ValueError, "quadruples: .*got 2"),
        (lambda V: V[0, 0], IndexError, "at most 1 indices, one per leading axis"),
        (lambda V: V[..., 0], IndexError, "use restrict"),
    ],
)
def test_bad_arguments(V, call, error, message):
    with pytest.raises(error, match=message):
        call(V)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: DenseTensor(np.ones((2, 2))), r"values: wanted shape \(..., N, N, N, N\)"),
        (lambda: FactorizedTensor(np.ones((2, 2))), "factors: wanted M square matrices"),
        (lambda: FactorizedTensor(np.ones((3, 2, 4))), r"got \(3, 2, 4\)"),
        (lambda: FactorizedTensor(np.ones((3, 2, 2)), np.ones(2)), r"weights: wanted shape \(3,\)"),
        (
            lambda: FactorizedTensor.from_dense(np.arange(16.0).reshape((2,) * 4)),
            r"symmetric under \(12\)",
        ),
    ],
)
def test_bad_construction(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_results_are_double_for_a_caller_in_single_precision():
    values = np.random.default_rng(0).normal(size=(2,) * 4)
    factors = np.random.default_rng(0).normal(size=(3, 2, 2))
    with jax.enable_x64(False):
        for V in (DenseTensor(values), FactorizedTensor(factors)):
            assert V.dense().dtype == np.float64
            assert V.contract(np.eye(2), np.eye(2)).dtype == np.float64
            assert V.crossed(np.eye(2)).dtype == np.float64
            assert V.entries().dtype == np.float64
            assert V.restrict([1]).dense().dtype == np.float64
        assert DenseTensor(jnp.ones((1,) * 4)).dense().dtype == np.float64
