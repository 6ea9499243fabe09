"""Correlators of scale-invariant activations: binomial sums, real networks, the flow."""

from math import comb, prod

import numpy as np
import pytest

import finitewidth as fw
from finitewidth.flow import linear
from finitewidth.flow.linear import scale_invariant
from tests.flow.linear import sampled

SLOPES = [(1.0, 0.0), (1.0, 0.3), (-0.4, 1.5), (1.0, -1.0), (1.0, 1.0)]


def binomial_sum(n, m, a, b):
    """Return E[s^m] as a sum over the number of positive neurons."""

    def M(j, k):
        return prod(k + 2 * i for i in range(j))

    return sum(
        comb(n, k)
        * sum(
            comb(m, j) * a ** (2 * j) * b ** (2 * (m - j)) * M(j, k) * M(m - j, n - k)
            for j in range(m + 1)
        )
        for k in range(n + 1)
    ) / (n**m * 2.0**n)


@pytest.mark.parametrize("slopes", SLOPES)
def test_cumulants_of_the_sum_are_the_binomial_sum(slopes):
    for n in (1, 2, 7, 20):
        for m in (1, 2, 3, 5):
            got = scale_invariant.correlator((1, n, 1), 1.0, 1.0, m, slopes)[-1]
            np.testing.assert_allclose(got, binomial_sum(n, m, *slopes), rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "constant"), [("linear", 2), ("relu", 5), ("leaky_relu(0.3)", None)]
)
def test_the_constant_per_layer_is_that_of_the_first_order_flow(name, constant):
    net = fw.MLP.critical((2, 50, 70, 30, 1), name)
    x = [[1.0, -0.4]]
    slopes = net.activation.slopes
    G0 = 1.16 / 2
    c = scale_invariant.growth_constant(slopes)
    if constant is not None:
        assert c == constant
    K4 = scale_invariant.connected(net.widths, net.C_W, G0, 2, slopes)
    G2 = scale_invariant.correlator(net.widths, net.C_W, G0, 1, slopes)
    # Exact at any width: G_4 grows by 1 + c/n.
    want = np.concatenate([[1.0], np.cumprod(1 + c / np.array(net.widths[1:-1]))]) - 1
    np.testing.assert_allclose(K4 / G2**2, want, rtol=1e-12)
    # The first order of the other code is the sum of c/n.
    pre = fw.flow.preactivations(net, x)
    np.testing.assert_allclose(
        np.asarray(pre.normalized_vertex)[:, 0],
        c * linear.depth_over_width(net.widths),
        rtol=1e-9,
        atol=1e-15,
    )


@pytest.mark.parametrize("slopes", [(1.0, 0.0), (1.0, 0.3), (-0.4, 1.5)])
def test_real_networks(slopes):
    widths, C_W, x = (3, 9, 12, 10, 2), (1.0, 1.8, 1.5, 2.0), np.array([[0.8, -0.5, 1.1]])
    G0 = float(x[0] @ x[0]) / 3
    z = sampled.preactivations(widths, C_W, x, 30_000, 14, slopes=slopes)
    scores = []
    for layer in (1, 2, 3):
        active = np.where(z[layer - 1] >= 0, slopes[0], slopes[1]) * z[layer - 1]
        S = C_W[layer] * (active[..., 0] ** 2).mean(axis=1)
        for m in (1, 2, 3):
            theory = scale_invariant.correlator(widths, C_W, G0, m, slopes)[layer]
            scores.append(sampled.z_score(S**m, theory))
    sampled.check(scores)


def test_linear_slopes_are_linear_networks():
    widths, C_W = (4, 8, 14, 10, 5), (1.3, 0.8, 1.1, 0.95)
    for m in (1, 2, 3, 4):
        for slopes in ((1.0, 1.0), (1.0, -1.0)):
            np.testing.assert_allclose(
                scale_invariant.correlator(widths, C_W, 0.6, m, slopes),
                linear.correlator(widths, C_W, 0.6, m),
                rtol=1e-13,
            )
            np.testing.assert_allclose(
                scale_invariant.connected(widths, C_W, 0.6, m, slopes),
                linear.connected(widths, C_W, 0.6, m),
                rtol=1e-10,
            )


def test_double_scaling():
    r, n = 0.1, 4000
    widths = (1,) + (n,) * int(r * n) + (1,)
    slopes = (1.0, 0.0)
    for m in (2, 3):
        G = scale_invariant.correlator(widths, [1.0, *[2.0] * (len(widths) - 2)], 1.0, m, slopes)[
            -1
        ]
        np.testing.assert_allclose(G, scale_invariant.scaling_correlator(r, m, slopes), rtol=0.01)


def test_connected_by_the_printed_formula():
    widths, slopes = (1, 5, 6, 1), (1.0, 0.2)
    G2, G4, G6 = (scale_invariant.correlator(widths, 1.7, 0.8, m, slopes) for m in (1, 2, 3))
    np.testing.assert_allclose(
        scale_invariant.connected(widths, 1.7, 0.8, 3, slopes),
        G6 - 3 * G4 * G2 + 2 * G2**3,
        rtol=1e-12,
        atol=1e-14,
    )
    assert scale_invariant.connected(widths, 1.7, 0.8, 3, slopes)[0] == 0


def test_dead_networks():
    probability = scale_invariant.dead_probability((6, 4, 3, 5, 1), (1.0, 0.0))
    np.testing.assert_allclose(probability[-1], 0.20532, atol=5e-6)
    np.testing.assert_allclose(probability[-1], 1 - (1 - 2**-4) * (1 - 2**-3) * (1 - 2**-5))
    z = sampled.preactivations((6, 4, 3, 5, 1), 2.0, np.ones((1, 6)), 30_000, 1, slopes=(1.0, 0.0))
    scores = [
        sampled.z_score(np.all(z[layer] == 0, axis=(1, 2)), probability[layer])
        for layer in (1, 2, 3)
    ]
    sampled.check(scores)
    assert (scale_invariant.dead_probability((6, 4, 3), (1.0, 0.01)) == 0).all()
    # Wide layers hardly ever die, and the small probability keeps its digits.
    np.testing.assert_allclose(
        scale_invariant.dead_probability((6, 100, 3), (0.0, 1.0))[-1], 2.0**-100, rtol=1e-14
    )


def test_extremes_and_wrong_arguments():
    deep = (1,) + (5,) * 1000
    assert np.isfinite(scale_invariant.log_correlator(deep, 9.0, 1.0, 4, (1.0, 0.0))).all()
    wide = scale_invariant.connected((1, 10**8, 1), 2.0, 0.5, 2, (1.0, 0.0))[-1]
    np.testing.assert_allclose(wide, 5e-8, rtol=1e-12)
    assert (scale_invariant.correlator((1, 3, 3), 2.0, 0.0, 2, (1.0, 0.0)) == 0).all()
    for slopes in ((0.0, 0.0), (1.0, np.nan), (1.0, 2.0, 3.0)):
        with pytest.raises(ValueError, match="slopes: wanted"):
            scale_invariant.correlator((1, 3, 3), 2.0, 1.0, 2, slopes)
