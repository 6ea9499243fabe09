"""Asymptotic curves of the K* = 0 class against the recursions."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

import finitewidth as fw
from finitewidth.flow.deep_kernel import deep_kernel
from finitewidth.flow.single_input import single_input_flow

SHIFTED = fw.activation(lambda z: jnp.tanh(z + 0.3) - math.tanh(0.3), name="shifted tanh")


@pytest.mark.parametrize(
    ("name", "depth", "bound"),
    [
        ("sin", 10_000, 0.06),
        # Its l_0 is 57: deep is deeper.
        pytest.param(SHIFTED, 100_000, 2.5, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_one_constant_describes_all_deep_layers(name, depth, bound):
    """l_0 read off at the end predicts K at a tenth and a hundredth of the depth, PDLT (5.94).

    A wrong logarithm in either term would leave a remainder that is large on the scale l^-3.
    """
    flow = single_input_flow(name, depth)
    K, V = np.asarray(flow.kernel), np.asarray(flow.vertex)
    deep = deep_kernel(name, float(K[-1]), depth)
    layer = np.array([depth // 50, depth // 20, depth // 8])
    remainder = (np.asarray(deep.kernel(layer)) - K[layer - 1]) * layer**3
    # log^3(l)/l^4 is what comes next; l^-3 log(l) would triple by now.
    assert np.abs(remainder / remainder[0] - 1).max() < 0.25
    assert np.abs(remainder).max() < bound
    vertex = (np.asarray(deep.vertex(layer)) - V[layer - 1]) * layer**2
    assert np.abs(vertex).max() < 0.1 and abs(vertex[-1]) < 0.25 * abs(vertex[0])
    for curve, factor in (
        (deep.parallel, flow.response.chi_parallel),
        (deep.perpendicular, flow.response.chi_perp),
    ):
        followed = np.concatenate([[1.0], np.cumprod(np.asarray(factor))])
        ratio = np.asarray(curve(layer)) / followed[layer - 1]
        settled = float(curve(depth)) / followed[-1]
        off = np.abs(ratio / settled - 1)
        # Relative corrections are log^2(l)/l^2: far below the terms kept.
        assert off[0] < 2e-3 and off[2] < 0.2 * off[0]


@pytest.mark.slow
def test_the_constant_of_sin():
    """The remainder times l^3, which a separate iteration put at 0.0486 and 0.0488."""
    flow = single_input_flow("sin", 60_000)
    K = np.asarray(flow.kernel)
    deep = deep_kernel("sin", float(K[-1]), 60_000)
    remainder = (K[1999] - float(deep.kernel(2000))) * 2000**3
    assert abs(remainder) == pytest.approx(0.0488, abs=0.002)


@pytest.mark.parametrize("name", ["relu", "elu", pytest.param("gelu", marks=pytest.mark.slow)])
def test_other_classes_are_refused(name):
    with pytest.raises(ValueError, match="smooth at 0"):
        deep_kernel(name, 1.0, 1000)
