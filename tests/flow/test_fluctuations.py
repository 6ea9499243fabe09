"""The recursions of V, D, A, F, B and of the NTK's 1/n shift against the book's own form."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import finitewidth as fw
from finitewidth.flow import fluctuations
from finitewidth.flow.fluctuations import (
    Hyperparameters,
    NeuronStatistics,
    NTKFluctuations,
    advance_fluctuations,
    advance_ntk_shift,
    layer_jacobian,
)
from finitewidth.gaussian.pair import pair_moments
from tests.flow.book_form import book_ntk_step, random_fluctuations, random_ntk_fluctuations

KERNEL = np.array([[1.1, 0.4, -0.3], [0.4, 0.8, 0.2], [-0.3, 0.2, 1.4]])
ABOVE = Hyperparameters(*(np.float64(v) for v in (0.2, 1.3, 0.4, 0.9, 0.7)))
FEW = np.array([len(set(q)) <= 2 for q in np.ndindex(3, 3, 3, 3)]).reshape((3,) * 4)


def one_layer(name, K=KERNEL, seed=1, points=2**16):
    """Return a layer with random fluctuations, and what becomes of them."""
    N = len(K)
    rng = np.random.default_rng(seed)
    G1, _ = random_fluctuations(rng, N)
    tensors, H1, Theta = random_ntk_fluctuations(rng, N)

    @jax.jit
    def step(K, Theta, G1, H1, now):
        layer = NeuronStatistics(pair_moments(name), K, points)
        shift = advance_ntk_shift(layer, Theta, G1, H1, now, ABOVE)
        return advance_fluctuations(layer, Theta, now, ABOVE), shift

    after, (_, H1_after) = step(K, Theta, G1, H1, NTKFluctuations(**tensors))
    return (K, Theta, G1, H1, tensors), after, H1_after


@pytest.mark.parametrize("name", ["sin", "gelu"])
def test_one_layer_is_the_recursion_of_the_book(name):
    (K, Theta, G1, H1, tensors), after, H1_after = one_layer(name)
    want = book_ntk_step(
        fw.activation(name), K, Theta, G1, H1, tensors, ABOVE.C_W, ABOVE.lambda_W, ABOVE.ratio
    )
    np.testing.assert_allclose(H1_after, want["H1"], rtol=1e-6, atol=1e-7)
    for tensor in "VDAFB":
        got = np.asarray(getattr(after, tensor))
        np.testing.assert_allclose(got[FEW], want[tensor][FEW], rtol=1e-6, atol=1e-7)
        accuracy = 1e-6 if name == "sin" else 5e-4
        scale = np.abs(want[tensor]).max()
        np.testing.assert_allclose(got, want[tensor], atol=accuracy * scale, err_msg=tensor)


@pytest.fixture(scope="module")
def jacobian():
    with fw.double_precision():
        layer = NeuronStatistics(pair_moments("erf"), KERNEL, 2**4)
        Theta = np.array([[1.0, 0.3, 0.2], [0.3, 2.0, -0.4], [0.2, -0.4, 1.5]])
        return layer_jacobian(layer, Theta, ABOVE)


def symmetric(seed):
    M = np.random.default_rng(seed).normal(size=(3, 3))
    return M + M.T


def test_the_jacobian_is_that_of_the_layer_map(jacobian):
    phi = fw.flow.NTKLayerMap(fw.activation("erf"), *ABOVE[:4])
    dG, dH = symmetric(1), symmetric(2)
    _, want = jax.jvp(phi, (KERNEL, jacobian.Theta), (dG, dH))
    for got, expected in zip(jacobian.push(dG, dH), want, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-12)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=20)
def test_pull_is_the_adjoint_of_push(jacobian, seed):
    dG, dH, X, Y = (symmetric(seed + k) for k in range(4))
    pushed, pulled = jacobian.push(dG, dH), jacobian.pull(X, Y)
    left = (X * pushed[0] + Y * pushed[1]).sum()
    right = (pulled[0] * dG + pulled[1] * dH).sum()
    np.testing.assert_allclose(left, right, rtol=1e-10, atol=1e-10)
    Z, W = (np.random.default_rng(seed + k).normal(size=(3, 3)) for k in (7, 8))
    np.testing.assert_allclose(
        (Z * jacobian.value.push_leg(W)).sum(),
        (jacobian.value.pull_leg(Z) * W).sum(),
        rtol=1e-10,
        atol=1e-10,
    )


def test_both_pairs_in_either_order():
    T = np.random.default_rng(0).normal(size=(2,) * 4)

    def first(A):
        return np.einsum("ab,b...->a...", np.array([[1.0, 2.0], [0.5, -1.0]]), A)

    want = fluctuations.swap_pairs(first(fluctuations.swap_pairs(first(T))))
    np.testing.assert_allclose(fluctuations.on_both_pairs(first, T), want)
