"""Correlators of one input: golden values, real networks, limits and symmetries."""

from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finitewidth.flow import linear
from tests.flow.linear import sampled

WIDTHS, C_W, X = (4, 8, 14, 10, 5), (1.3, 0.8, 1.1, 0.95), np.array([0.9, -0.4, 1.2, 0.5])
G0 = X @ X / 4


def test_golden_values():
    G2, G4, G6 = (linear.correlator(WIDTHS, C_W, G0, m) for m in (1, 2, 3))
    np.testing.assert_allclose(G2[-1], 0.722722, rtol=1e-12)
    np.testing.assert_allclose(G4[-1], 0.89541787, atol=5e-9)
    np.testing.assert_allclose(G6[-1], 1.7472731, atol=5e-8)
    np.testing.assert_allclose(
        linear.variance_of_mean_square(WIDTHS, C_W, G0)[2], 0.41339698, atol=5e-9
    )
    np.testing.assert_allclose(linear.connected(WIDTHS, C_W, G0, 3)[-1], 0.56085, atol=5e-6)
    np.testing.assert_allclose(linear.connected(WIDTHS, C_W, G0, 2), G4 - G2**2, atol=1e-15)


def test_per_layer_factors():
    n = np.array([1.0, 2.0, 7.0, 1e6])
    np.testing.assert_allclose(np.exp(linear.log_width_factor(2, n)), 1 + 2 / n, rtol=1e-14)
    np.testing.assert_allclose(
        np.exp(linear.log_width_factor(3, n)), 1 + 6 / n + 8 / n**2, rtol=1e-14
    )


def test_relative_four_point_at_width_16():
    K4 = linear.connected((1, 16, 16, 16, 16, 1), 1.0, 1.0, 2)[-1]
    np.testing.assert_allclose(K4, 1.125**4 - 1, rtol=1e-15)
    assert round(K4, 6) == 0.601807
    leading = linear.leading_connected((1, 16, 16, 16, 16, 1), 1.0, 1.0, 2)[-1]
    np.testing.assert_allclose(leading, 0.5, rtol=1e-15)


def test_leading_orders_in_one_over_n():
    # The remainder falls by the next power of n: 1/n^2 for K_4 and Var O, 1/n^3 for K_6.
    def remainders(n):
        widths = (3, n, 2 * n, n, 3 * n, 1)
        s = linear.depth_over_width(widths)[-1]
        squares = (1 / np.array(widths[1:-1]) ** 2).sum()
        K4, K6 = (linear.connected(widths, 1.0, 1.0, m)[-1] for m in (2, 3))
        equal = (3,) + (n,) * 4
        variance = linear.variance_of_mean_square(equal, 1.0, 1.0)[-1]
        return K4 - 2 * s, K6 - (12 * s**2 - 4 * squares), variance - 2 * 4 / n

    ratios = np.array(remainders(1000)) / np.array(remainders(2000))
    np.testing.assert_allclose(ratios, [4, 8, 4], rtol=0.02)


def test_real_networks_at_small_unequal_widths():
    z = sampled.preactivations(WIDTHS, C_W, X[None], 40_000, 11)
    theory = {m: linear.correlator(WIDTHS, C_W, G0, m) for m in (1, 2, 3)}
    scores = []
    for layer, n in enumerate(WIDTHS[1:]):
        norm2 = (z[layer][..., 0] ** 2).sum(axis=1)
        # Isotropy: E |z|^2m = prod (n + 2k) G_2m, for this one neuron z^2m = (2m-1)!! G_2m.
        for m in (1, 2, 3):
            count = np.prod(n + 2.0 * np.arange(m))
            scores.append(sampled.z_score(norm2**m / count, theory[m][layer]))
        scores.append(sampled.z_score(z[layer][:, 0, 0] ** 4 / 3, theory[2][layer]))
        square = norm2 / n
        spread = (square - theory[1][layer]) ** 2
        scores.append(
            sampled.z_score(spread, linear.variance_of_mean_square(WIDTHS, C_W, G0)[layer])
        )
    sampled.check(scores)


def test_biases_against_real_networks():
    widths, C_b = (2, 5, 4, 6), (0.3, 0.0, 0.2)
    x = np.array([[0.8, -0.5]])
    z = sampled.preactivations(widths, 0.9, x, 40_000, 5, C_b=C_b)
    scores = []
    for m in (1, 2, 3):
        theory = linear.correlator(widths, 0.9, x[0] @ x[0] / 2, m, C_b=C_b)
        for layer, n in enumerate(widths[1:]):
            norm2 = (z[layer][..., 0] ** 2).sum(axis=1)
            scores.append(
                sampled.z_score(norm2**m / np.prod(n + 2.0 * np.arange(m)), theory[layer])
            )
    sampled.check(scores)


def test_biases_by_the_recursion_and_their_limits():
    G = [Fraction(1), Fraction(5, 4), Fraction(25, 16)]  # layer 1, C_b + C_W G0 = 1/4 + 1
    for n in (3, 4):
        c = [Fraction(1), Fraction(1), 1 + Fraction(2, n)]
        G = [
            sum(comb(m, k) * Fraction(1, 4) ** (m - k) * c[k] * G[k] for k in range(m + 1))
            for m in range(3)
        ]
    got = [linear.correlator((1, 3, 4, 1), 1.0, 1.0, m, C_b=0.25)[-1] for m in (1, 2)]
    np.testing.assert_allclose(got, [float(g) for g in G[1:]], rtol=1e-14)
    K4 = linear.connected((1, 3, 4, 1), 1.0, 1.0, 2, C_b=0.25)
    assert K4[0] == 0
    np.testing.assert_allclose(K4[-1], float(G[2] - G[1] ** 2), rtol=1e-13)
    # A bias that vanishes changes nothing; without signal only biases are left.
    np.testing.assert_allclose(
        linear.correlator(WIDTHS, C_W, G0, 3, C_b=[1e-300, 0, 0, 0]),
        linear.correlator(WIDTHS, C_W, G0, 3),
        rtol=1e-13,
    )
    np.testing.assert_allclose(
        linear.correlator((1, 3, 4, 1), 0.0, 0.0, 2, C_b=0.5), [0.25] * 3, rtol=1e-15
    )


def test_cumulants_lose_no_digits():
    # One layer of a chi-square: kappa_m(chi^2_n/n) = 2^(m-1) (m-1)! / n^(m-1).
    n = 10**6
    for m, factorial in ((2, 1), (3, 2), (5, 24), (8, 5040)):
        K = linear.connected((1, n, 1), 1.0, 1.0, m)[-1]
        np.testing.assert_allclose(K, (2 / n) ** (m - 1) * factorial, rtol=1e-14)


def test_depth_1000_does_not_overflow():
    widths = (2,) + (3,) * 999 + (1,)
    logs = linear.log_correlator(widths, 5.0, 1.0, 4)
    assert np.isfinite(logs).all()
    np.testing.assert_allclose(logs[-1], 4000 * np.log(5) + 999 * np.log(5 * 7 * 9 / 27))
    log_K = linear.log_connected(widths, 5.0, 1.0, 2)
    assert log_K[0] == -np.inf and np.isfinite(log_K[1:]).all()
    np.testing.assert_allclose(log_K[-1], linear.log_correlator(widths, 5.0, 1.0, 2)[-1])
    assert linear.correlator(widths, 5.0, 1.0, 4)[-1] == np.inf


def test_zero_input_and_depth_one():
    assert (linear.correlator((2, 3, 4), 1.0, 0.0, 3) == 0).all()
    assert (linear.connected((2, 3, 4), 1.0, 0.0, 2) == 0).all()
    assert linear.connected((2, 3), 1.0, 1.0, 2).tolist() == [0.0]
    np.testing.assert_allclose(linear.correlator((2, 3), 2.0, 1.5, 3), [27.0])


@settings(max_examples=25)
@given(
    hidden=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    C_W=st.floats(0.1, 5.0),
    m=st.integers(1, 4),
    data=st.data(),
)
def test_symmetries(hidden, C_W, m, data):
    shuffled = data.draw(st.permutations(hidden))
    outer = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    for function in (linear.correlator, linear.connected):
        value = function((2, *hidden, 3), C_W, 0.7, m)[-1]
        # Hidden widths may be permuted; the first and the last do not enter.
        np.testing.assert_allclose(
            function((outer[0], *shuffled, outer[1]), C_W, 0.7, m)[-1], value, rtol=1e-10
        )
        # Ratios to G_2^m do not depend on C_W.
        gain = C_W ** (m * (len(hidden) + 1))
        np.testing.assert_allclose(
            value, gain * function((2, *hidden, 3), 1.0, 0.7, m)[-1], rtol=1e-10
        )


@pytest.mark.parametrize("m", [2, 3, 4])
def test_cumulants_by_the_printed_formulas(m):
    G2, G4, G6, G8 = (linear.correlator(WIDTHS, C_W, G0, k)[-1] for k in (1, 2, 3, 4))
    printed = {
        2: G4 - G2**2,
        3: G6 - 3 * G4 * G2 + 2 * G2**3,
        4: G8 - 4 * G6 * G2 - 3 * G4**2 + 12 * G4 * G2**2 - 6 * G2**4,
    }
    np.testing.assert_allclose(linear.connected(WIDTHS, C_W, G0, m)[-1], printed[m], rtol=1e-12)
