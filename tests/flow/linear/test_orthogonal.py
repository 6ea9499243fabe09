"""Haar-orthogonal networks: the lecture's formulas, real networks, mixtures with Gaussian."""

import numpy as np
import pytest
from jax import random
from scipy import stats

from finitewidth import MLP
from finitewidth.flow import linear
from finitewidth.flow.linear import orthogonal
from tests.flow.linear import sampled

X = np.array([[1.0, 0.2, -0.5, 0.8], [0.3, -1.1, 0.6, 0.4]])
GRAM = X @ X.T / 4


@pytest.mark.parametrize("n", [1, 2, 6, 1000])
def test_square_networks_do_not_depend_on_depth(n):
    widths = (n,) * 7
    G2 = linear.kernel(widths, 1.1, 0.9)
    K4, K6 = (orthogonal.connected(widths, 1.1, 0.9, m) for m in (2, 3))
    np.testing.assert_allclose(K4, -2 / (n + 2) * G2**2, rtol=1e-13)
    np.testing.assert_allclose(K6, 16 / ((n + 2) * (n + 4)) * G2**3, rtol=1e-13)
    G4 = orthogonal.correlator(widths, 1.1, 0.9, 2)
    np.testing.assert_allclose(G4, G2**2 / (1 + 2 / n), rtol=1e-13)
    # Gaussian weights: the other sign, and growing.
    gauss = linear.connected((n,) * 7, 1.0, 0.9, 2)
    assert (np.diff(gauss) > 0).all() and (K4 < 0).all()


@pytest.mark.parametrize("L", [1, 2, 6])
def test_real_square_networks(L):
    n = 6
    x = np.linspace(-1, 1.5, n)[None]
    G0 = float(x[0] @ x[0]) / n
    z = sampled.preactivations((n,) * (L + 1), 1.0, x, 12_000, L, law="orthogonal")[-1][..., 0]
    G4, G6 = (orthogonal.correlator((n,) * (L + 1), 1.0, G0, m)[-1] for m in (2, 3))
    np.testing.assert_allclose((z**2).sum(axis=1), n * G0, rtol=1e-10)
    fourth = (z[:, 0] ** 2 * z[:, 1] ** 2, z[:, 2] ** 4 / 3)
    sixth = (z[:, 3] ** 6 / 15, z[:, 0] ** 2 * z[:, 4] ** 2 * z[:, 5] ** 2)
    sampled.check(
        [sampled.z_score(v, G4) for v in fourth] + [sampled.z_score(v, G6) for v in sixth]
    )


def test_rectangular_golden_values():
    np.testing.assert_allclose(orthogonal.correlator((6, 4, 4, 4), 1.0, 1.0, 2)[-1], 3 / 4)
    # A contraction followed by an expansion: n_0 and n_L enter.
    wide = orthogonal.correlator((6, 4, 9), 1.0, 1.0, 2)[-1]
    np.testing.assert_allclose(wide, 1.5 / (4 / 3) / (11 / 9), rtol=1e-14)


@pytest.mark.parametrize("widths", [(4, 7, 5, 8, 3), (5, 3, 3, 6)])
def test_rectangular_networks_of_one_input(widths):
    x = np.linspace(-0.5, 1.3, widths[0])[None]
    G0 = float(x[0] @ x[0]) / widths[0]
    z = sampled.preactivations(widths, 1.1, x, 15_000, 17, law="orthogonal")
    scores = []
    for layer, n in enumerate(widths[1:]):
        norm2 = (z[layer][..., 0] ** 2).sum(axis=1)
        for m in (2, 3):
            theory = orthogonal.correlator(widths, 1.1, G0, m)[layer]
            value = norm2**m / np.prod(n + 2.0 * np.arange(m))
            if norm2.std() > 1e-9 * norm2.mean():
                scores.append(sampled.z_score(value, theory))
            else:
                np.testing.assert_allclose(value, theory, rtol=1e-10)
        scores.append(sampled.z_score(z[layer][:, 0, 0] ** 4 / 3, orthogonal.correlator(
            widths, 1.1, G0, 2)[layer]))  # fmt: skip
    sampled.check(scores)
    for m in (2, 3):
        # Two roads to the cumulants: fractions, and moments in floating point.
        G = [orthogonal.correlator(widths, 1.1, G0, k) for k in (1, 2, 3)]
        want = G[1] - G[0] ** 2 if m == 2 else G[2] - 3 * G[1] * G[0] + 2 * G[0] ** 3
        np.testing.assert_allclose(orthogonal.connected(widths, 1.1, G0, m), want, rtol=1e-9)


def test_two_inputs_in_square_networks():
    n = 5
    x = np.array([[1.0, 0.2, -0.5, 0.8, 0.1], [0.3, -1.1, 0.6, 0.4, -0.7]])
    gram = x @ x.T / n
    H = orthogonal.four_point((n,) * 4, 0.9, gram)[-1]
    G = linear.kernel((n,) * 4, 0.9, gram)[-1]
    pairs = np.einsum("ab,cd->abcd", G, G)
    crossed = pairs.transpose(0, 2, 1, 3)
    weingarten = n / ((n - 1) * (n + 2)) * ((n + 1) * pairs - crossed - crossed.swapaxes(2, 3))
    np.testing.assert_allclose(H, weingarten, rtol=1e-12)
    z = sampled.preactivations((n,) * 4, 0.9, x, 15_000, 2, law="orthogonal")[-1]
    sampled.check(_four_point_scores(z, H))
    assert (np.abs(orthogonal.gram_covariance((n,) * 4, 0.9, gram)) < 1e-15).all()


def _four_point_scores(z, H):
    i, j = 0, 1
    return [
        sampled.z_score(z[:, i, a] * z[:, i, b] * z[:, j, c] * z[:, j, d], H[a, b, c, d])
        for a, b, c, d in ((0, 0, 1, 1), (0, 1, 0, 1), (0, 0, 0, 1), (1, 1, 0, 1), (0, 0, 0, 0))
    ]


@pytest.mark.parametrize(
    ("widths", "laws"),
    [
        ((4, 3, 6, 5), "orthogonal"),
        ((4, 7, 5, 3, 6), ["orthogonal", "gaussian", "orthogonal", "orthogonal"]),
        ((4, 6, 3, 4), ["gaussian", "orthogonal", "gaussian"]),
    ],
)
def test_two_inputs_through_rectangular_and_mixed_stacks(widths, laws):
    z = sampled.preactivations(widths, 1.0, X, 20_000, 5, law=laws)
    H = orthogonal.four_point(widths, 1.0, GRAM, laws)
    covariance = orthogonal.gram_covariance(widths, 1.0, GRAM, laws)
    scores = []
    for layer, n in enumerate(widths[1:]):
        scores += _four_point_scores(z[layer], H[layer])
        gram = np.einsum("rja,rjb->rab", z[layer], z[layer]) / n - GRAM
        if np.abs(gram).max() > 1e-9:
            for a, b, c, d in ((0, 0, 1, 1), (0, 1, 0, 1), (0, 0, 0, 1), (1, 1, 1, 1)):
                scores.append(
                    sampled.z_score(gram[:, a, b] * gram[:, c, d], covariance[layer][a, b, c, d])
                )
        else:
            np.testing.assert_allclose(covariance[layer], 0.0, atol=1e-14)
    sampled.check(scores)


def test_the_networks_of_the_package():
    # Layers that do not contract keep the Gram matrix of the inputs, in every single network.
    net = MLP((4, 4, 6, 6), "linear", C_W=(1.1, 0.9, 1.2), law="orthogonal")
    G = linear.kernel(net.widths, net.C_W, GRAM)
    for seed in range(5):
        z = [np.asarray(layer) for layer in net.preactivations(net.init(random.key(seed)), X)]
        for layer in range(3):
            np.testing.assert_allclose(
                z[layer] @ z[layer].T / net.widths[layer + 1], G[layer], rtol=1e-11
            )


def test_gaussian_layers_only_are_gaussian_networks():
    widths, C_W = (4, 8, 14, 10, 5), (1.3, 0.8, 1.1, 0.95)
    for m in (1, 2, 3):
        np.testing.assert_allclose(
            orthogonal.correlator(widths, C_W, 0.6, m, "gaussian"),
            linear.correlator(widths, C_W, 0.6, m),
            rtol=1e-13,
        )
        np.testing.assert_allclose(
            orthogonal.connected(widths, C_W, 0.6, m, "gaussian"),
            linear.connected(widths, C_W, 0.6, m),
            rtol=1e-13,
        )
    np.testing.assert_allclose(
        orthogonal.four_point(widths, C_W, GRAM, "gaussian"),
        linear.four_point(widths, C_W, GRAM),
        rtol=1e-13,
    )


def test_gaussian_readout_of_haar_layers_is_gaussian():
    widths, laws = (4, 4, 7, 3), ["orthogonal", "orthogonal", "gaussian"]
    for m in (2, 3, 4):
        assert orthogonal.connected(widths, 1.2, 0.8, m, laws)[-1] == 0
    x = X[:1]
    G2 = 1.2**3 * GRAM[0, 0]
    z = sampled.preactivations(widths, 1.2, x, 4000, 3, law=laws)[-1][..., 0]
    assert stats.kstest(z[:, 0] / np.sqrt(G2), "norm").pvalue > 1e-3
    assert stats.kstest((z**2).sum(axis=1) / G2, stats.chi2(3).cdf).pvalue > 1e-3


def test_marginal():
    np.testing.assert_allclose(
        orthogonal.marginal((6, 6, 6), 1.0, 1.0).cdf(6 * 0.2), 0.68562736, atol=5e-9
    )
    widths, k = (4, 5, 7), 3
    z = sampled.preactivations(widths, 1.2, X[:1], 4000, 8, law="orthogonal")[-1][..., 0]
    law = orthogonal.marginal(widths, 1.2, GRAM[0, 0], outputs=k)
    assert stats.kstest((z[:, :k] ** 2).sum(axis=1), law.cdf).pvalue > 1e-3
    # Its moments are the correlators.
    for m in (1, 2, 3):
        G = orthogonal.correlator(widths, 1.2, GRAM[0, 0], m)[-1]
        np.testing.assert_allclose(law.moment(m), np.prod(k + 2.0 * np.arange(m)) * G, rtol=1e-12)


def test_one_output_neuron_and_wrong_arguments():
    # W = +-1 through layers of one neuron: only the sum of pairings has a meaning.
    H = orthogonal.four_point((1, 1, 1), 1.0, [[1.0, 2.0], [2.0, 4.0]])[-1]
    np.testing.assert_allclose(H[0, 0, 1, 1] + 2 * H[0, 1, 0, 1], 4.0, rtol=1e-14)
    assert orthogonal.connected((4, 4), 1.0, 0.0, 2).tolist() == [0.0]
    assert np.isfinite(orthogonal.connected((3,) * 1001, 1.0, 1.0, 4)).all()
    for call, message in (
        (lambda: orthogonal.correlator((3, 3), 1.0, 1.0, 2, "uniform"), "laws: wanted"),
        (lambda: orthogonal.correlator((3, 3), 1.0, 1.0, 2, ["gaussian"] * 2), "laws: wanted one"),
        (lambda: orthogonal.marginal((3, 2), 1.0, 1.0), "do not contract"),
        (lambda: orthogonal.marginal((3, 3), 1.0, 1.0, outputs=3), "fewer than n_L"),
        (lambda: orthogonal.marginal((3, 3), 1.0, 0.0), "not zero"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
