"""A block of the kernel is the block of the whole kernel."""

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


def test_wrong_features():
    with pytest.raises(ValueError, match="other: wanted 3 features"):
        fw.flow.cross_kernel(fw.MLP((3, 4, 1), "relu"), X, OTHER[:, :2])
