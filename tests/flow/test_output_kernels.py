"""Kernels of the outputs by tiles are those of the flow through the layers."""

import sys

import numpy as np
import pytest

import finitewidth as fw

RNG = np.random.default_rng(8)
X, OTHER = RNG.normal(size=(5, 3)), RNG.normal(size=(3, 3))


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_the_block_of_the_whole(activation):
    net = fw.MLP((3, 7, 5, 9, 2), activation, C_b=[0.3, 0.1, 0.0, 0.2], C_W=[1.1, 1.9, 0.7, 1.4])
    other = np.concatenate([OTHER, X[:1]])
    whole = fw.flow.preactivations(net, np.concatenate([X, other]), order=0).kernel[-1]
    block = fw.flow.cross_kernel(net, X, other)
    np.testing.assert_allclose(block, whole[:5, 5:], rtol=1e-11, atol=1e-12)
    diagonal = fw.flow.kernel_diagonal(net, other)
    np.testing.assert_allclose(diagonal, np.diagonal(whole)[5:], rtol=1e-12)
    assert block[0, 3] == pytest.approx(float(diagonal[3]), rel=1e-11)  # the same input


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_tiles_make_the_whole(activation, monkeypatch):
    net = fw.MLP(
        (3, 7, 5, 9, 2), activation, C_b=[0.3, 0.1, 0.0, 0.2], C_W=[1.1, 1.9, 0.7, 1.4],
        lambda_b=[0.2, 0.5, 1.0, 0.3], lambda_W=[0.7, 0.4, 1.2, 0.9],
    )  # fmt: skip
    # A function of the package has the name of the module.
    monkeypatch.setattr(sys.modules["finitewidth.flow.output_kernels"], "TILE", 3)
    x = np.concatenate([RNG.normal(size=(6, 3)), X[:1], X[:1]])  # three tiles, two equal inputs
    want = fw.flow.ntk(net, x, order=0)
    K, Theta = fw.flow.output_kernels(net, x)
    np.testing.assert_allclose(K, want.kernel[-1], rtol=1e-11)
    np.testing.assert_allclose(Theta, want.mean[-1], rtol=1e-7)  # slopes of equal inputs
    np.testing.assert_allclose(fw.flow.output_kernel(net, x), want.kernel[-1], rtol=1e-11)
    np.testing.assert_array_equal(Theta, Theta.T)
    block = fw.flow.cross_kernel(net, x[:4], x)
    np.testing.assert_allclose(block, want.kernel[-1][:4], rtol=1e-11)


def test_wrong_features():
    with pytest.raises(ValueError, match="other: wanted 3 features"):
        fw.flow.cross_kernel(fw.MLP((3, 4, 1), "relu"), X, OTHER[:, :2])
