"""The third cumulant of the metric against elementary sums, chi-squared laws and networks."""

import itertools

import numpy as np
import pytest

import finitewidth as fw
from finitewidth.flow.third_cumulant import third_cumulant
from tests.flow.book_form import gaussian_nodes

X = np.array([[1.0, 0.4, -0.3], [0.2, -0.5, 0.9], [-0.7, 0.3, 0.4]])


def moment_of_sines(K, indices):
    """Return <sin z_1 ... sin z_k>_K as a sum over signs of exponentials."""
    total = 0.0
    for signs in itertools.product((1, -1), repeat=len(indices)):
        s = np.zeros(len(K))
        np.add.at(s, list(indices), signs)
        # sin z = sum of sign e^(i sign z)/(2i).
        total += np.prod(signs) * np.exp(-s @ K @ s / 2)
    return (total / (2j) ** len(indices)).real


def test_sin_in_closed_form():
    net = fw.MLP((3, 12, 1), "sin", C_b=[0.1, 0.3], C_W=[1.7, 1.4])
    K = 0.1 + 1.7 * X @ X.T / 3
    got = np.asarray(third_cumulant(net, X))
    rng = np.random.default_rng(0)
    for sextuple in rng.integers(3, size=(12, 6)):
        a, b, c, d, e, f = map(int, sextuple)

        def m(*indices):
            return moment_of_sines(K, indices)

        want = (
            m(a, b, c, d, e, f) - m(a, b) * m(c, d, e, f) - m(c, d) * m(a, b, e, f)
            - m(e, f) * m(a, b, c, d) + 2 * m(a, b) * m(c, d) * m(e, f)
        )  # fmt: skip
        assert got[a, b, c, d, e, f] == pytest.approx(1.4**3 * want, abs=1e-9)


@pytest.mark.slow
def test_linear_networks_have_wishart_metrics():
    """kappa_3 of z z^T: the eight cyclic contractions of three pairs."""
    net = fw.MLP((3, 12, 1), "linear", C_W=[1.5, 1.2])
    K = 1.5 * X[:2] @ X[:2].T / 3
    got = np.asarray(third_cumulant(net, X[:2]))
    want = 0.0
    for flips in itertools.product((False, True), repeat=3):
        (a, b), (c, d), (e, f) = (
            pair[::-1] if flip else pair
            for pair, flip in zip(("ab", "cd", "ef"), flips, strict=True)
        )
        want = want + np.einsum(f"{b}{c},{d}{e},{f}{a}->abcdef", K, K, K)
    # Flipping all three pairs reverses the cycle: each of the eight is there once.
    np.testing.assert_allclose(got, 1.2**3 * want, atol=1e-10)


@pytest.mark.parametrize("name", ["relu", "tanh"])
@pytest.mark.slow
def test_two_inputs_by_quadrature(name):
    """The central moment of one neuron on a grid: another road than moments of powers."""
    net = fw.MLP((3, 12, 1), name, C_b=0.1, C_W=1.7)
    K = 0.1 + 1.7 * X[:2] @ X[:2].T / 3
    z, w = gaussian_nodes(K, 800)
    s = np.asarray(fw.activation(name)(z))
    pairs = np.einsum("ka,kb->kab", s, s)
    centered = (pairs - np.einsum("k,kab->ab", w, pairs)).reshape(-1, 4)
    want = np.einsum("k,kp,kq,kr->pqr", w, centered, centered, centered, optimize=True)
    got = np.asarray(third_cumulant(net, X[:2])).reshape(4, 4, 4)
    scale = 1.7**3 * np.abs(want).max()
    np.testing.assert_allclose(got, 1.7**3 * want, atol=(1e-4 if name == "relu" else 1e-9) * scale)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sin", "relu"])
def test_sampled_networks_at_any_width(name):
    """Exact without extrapolation: width 12, all entries of three inputs."""
    net = fw.MLP((3, 12, 1), name, C_b=0.1, C_W=1.7)
    want = np.asarray(third_cumulant(net, X))
    run = fw.ensemble.measure(net, X, "metric_cumulant3", 400_000, 11, "chain")
    estimate = run["metric_cumulant3"]
    # One entry of each kind; permuted indices repeat the same numbers.
    pairs = list(itertools.combinations_with_replacement(range(3), 2))
    score = np.array(
        [
            (want[p + q + r] - estimate.value[1][p + q + r]) / estimate.standard_error[1][p + q + r]
            for p, q, r in itertools.combinations_with_replacement(pairs, 3)
        ]
    )
    assert np.sqrt((score**2).mean()) < 1.6
    assert np.abs(score).max() < 4.5


@pytest.mark.slow
def test_four_inputs_rest_on_quasi_random_points():
    x = np.concatenate([X, [[0.5, 0.5, -0.9]]])
    net = fw.MLP((3, 12, 1), "sin", C_b=0.1, C_W=1.7)
    got, three = np.asarray(third_cumulant(net, x)), np.asarray(third_cumulant(net, X))
    cut = got[:3, :3, :3, :3, :3, :3]
    np.testing.assert_allclose(cut, three, atol=3e-3 * np.abs(three).max())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((fw.MLP((3, 1), "relu"), X), "two layers"),
        ((fw.MLP((3, 5, 1), "relu"), np.ones((9, 3))), "at most 8"),
        ((fw.MLP((3, 5, 1), "relu", law="uniform"), X), "Gaussian weights"),
    ],
)
def test_bad_input_is_refused_in_words(arguments, message):
    with pytest.raises(ValueError, match=message):
        third_cumulant(*arguments)
