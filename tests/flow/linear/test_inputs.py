"""Several inputs: golden values, the recursions as written, real networks."""

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finitewidth import MLP, ensemble, gaussian
from finitewidth.flow import linear
from tests.flow.linear import sampled

WIDTHS, C_W = (4, 8, 10, 7, 4), (1.2, 0.9, 1.05, 0.9)
X = np.array([[1.0, 0.2, -0.5, 0.8], [0.3, -1.1, 0.6, 0.4], [-0.2, 0.5, 1.3, 0.1]])
GRAM = X @ X.T / 4


def test_golden_values():
    H = linear.four_point(WIDTHS, C_W, GRAM)[-1]
    np.testing.assert_allclose(H[0, 0, 1, 1], 0.25045383, atol=5e-9)
    np.testing.assert_allclose(H[0, 1, 0, 1], 0.09653723, atol=5e-9)
    np.testing.assert_allclose(H[0, 2, 1, 2], -0.00842439, atol=5e-9)
    six = linear.pairing_correlators(WIDTHS, C_W, GRAM, (0, 0, 1, 1, 2, 2))[-1]
    np.testing.assert_allclose(six[0], 0.16618, atol=5e-6)


def test_sector_factors_solve_the_recursion():
    G = C_W[0] * GRAM
    H = np.einsum("ab,cd->abcd", G, G)
    got = linear.four_point(WIDTHS, C_W, GRAM)
    np.testing.assert_allclose(got[0], H, rtol=1e-14)
    for layer, n in enumerate(WIDTHS[1:-1], start=1):
        H = C_W[layer] ** 2 * (H + (H.transpose(0, 2, 1, 3) + H.transpose(0, 3, 2, 1)) / n)
        np.testing.assert_allclose(got[layer], H, rtol=1e-12, atol=1e-15)


def test_vertex_is_the_difference_and_layer_one_is_exactly_gaussian():
    V = linear.vertex(WIDTHS, C_W, GRAM)
    G = linear.kernel(WIDTHS, C_W, GRAM)
    H = linear.four_point(WIDTHS, C_W, GRAM)
    n = np.array(WIDTHS[:-1])[:, None, None, None, None]
    np.testing.assert_allclose(V, n * (H - np.einsum("lab,lcd->labcd", G, G)), atol=1e-13)
    assert (V[0] == 0).all()
    # Leading order, s_1 (G_ac G_bd + G_ad G_bc), with all digits at a width of 10^9.
    widths = (4,) + (10**9,) * 3 + (1,)
    V = linear.vertex(widths, 1.0, GRAM)[-1]
    pairs = np.einsum("ac,bd->abcd", GRAM, GRAM)
    np.testing.assert_allclose(V, 3 * (pairs + pairs.swapaxes(2, 3)), rtol=1e-7, atol=1e-8)


def test_one_input_is_the_2m_point_correlator():
    for m in (1, 2, 3):
        one = linear.pairing_correlators(WIDTHS, C_W, GRAM, (1,) * (2 * m))
        want = linear.correlator(WIDTHS, C_W, GRAM[1, 1], m)
        np.testing.assert_allclose(one, np.broadcast_to(want[:, None], one.shape), rtol=1e-13)
    slots = linear.pairing_correlators(WIDTHS, C_W, GRAM, (0, 2, 1, 2))
    H = linear.four_point(WIDTHS, C_W, GRAM)
    np.testing.assert_allclose(
        slots, np.stack([H[:, 0, 2, 1, 2], H[:, 0, 1, 2, 2], H[:, 0, 2, 2, 1]], axis=1), rtol=1e-12
    )


@pytest.mark.parametrize("n", [3, 8])
def test_six_point_eigenvalues_with_their_multiplicities(n):
    eigenvalues = np.sort(np.linalg.eigvalsh(linear.transfer_matrix(3, n)))
    f = {rows: linear.zonal_eigenvalue(rows, n) for rows in ((3,), (2, 1), (1, 1, 1))}
    np.testing.assert_allclose(f[3,], (1 + 2 / n) * (1 + 4 / n), rtol=1e-15)
    np.testing.assert_allclose(f[2, 1], (1 + 2 / n) * (1 - 1 / n), rtol=1e-15)
    np.testing.assert_allclose(f[1, 1, 1], (1 - 1 / n) * (1 - 2 / n), rtol=1e-15)
    want = np.sort([f[3,]] + [f[2, 1]] * 9 + [f[1, 1, 1]] * 5)
    np.testing.assert_allclose(eigenvalues, want, atol=1e-12)
    assert set(np.unique(linear.transfer_matrix(3, 10))) == {1.0, 0.1, 0.01}


def test_eight_point_eigenvalues():
    # 1 + 20 + 14 + 56 + 14 = 105
    n = 7
    partitions = {(4,): 1, (3, 1): 20, (2, 2): 14, (2, 1, 1): 56, (1, 1, 1, 1): 14}
    want = np.sort(
        np.concatenate([[linear.zonal_eigenvalue(p, n)] * k for p, k in partitions.items()])
    )
    np.testing.assert_allclose(np.linalg.eigvalsh(linear.transfer_matrix(4, n)), want, atol=1e-11)


def test_loops_by_walking_around_them():
    m = 4
    pairings = list(gaussian.pairings(2 * m))
    matrix = linear.transfer_matrix(m, 2)
    for i, j in ((0, 0), (0, 17), (33, 80), (104, 5)):
        partner = [dict(p) | {b: a for a, b in p} for p in (pairings[i], pairings[j])]
        unseen, loops = set(range(2 * m)), 0
        while unseen:
            start = here = min(unseen)
            while True:
                for step in partner:
                    unseen.discard(here)
                    here = step[here]
                unseen.discard(here)
                if here == start:
                    break
            loops += 1
        assert matrix[i, j] == 2.0 ** (loops - m)


def test_vertex_of_the_ensemble_at_small_unequal_widths():
    net = MLP(WIDTHS, "linear", C_W=C_W)
    measured = ensemble.measure(net, X, "vertex", 60_000, key=8, method="chain").vertex
    theory = linear.vertex(WIDTHS, C_W, GRAM)
    entries = sorted({min(_orbit(e)) for e in product(range(3), repeat=4)})
    scores = [
        (measured.value[layer][e] - theory[layer][e]) / measured.standard_error[layer][e]
        for layer in (1, 2, 3)
        for e in entries
    ]
    sampled.check(scores)
    # The 1 - 1/n sector is seen: without its decay the scores would be far off.
    product_, symmetric = np.einsum("lab,lcd->labcd", *[linear.kernel(WIDTHS, C_W, GRAM)] * 2), 0
    for order in ((0, 1, 2, 3), (0, 2, 1, 3), (0, 3, 2, 1)):
        symmetric = symmetric + product_.transpose(0, *(1 + k for k in order)) / 3
    wrong = theory - (theory - WIDTHS[3] * (np.prod(1 + 2 / np.array(WIDTHS[1:4])) - 1) * symmetric)
    off = (measured.value[3] - wrong[3]) / measured.standard_error[3]
    assert np.abs(off).max() > 20


def _orbit(entry):
    a, b, c, d = entry
    pairs = [(a, b), (c, d)]
    return [
        tuple(p) + tuple(q)
        for first, second in permutations(pairs)
        for p in (first, first[::-1])
        for q in (second, second[::-1])
    ]


def test_six_points_of_real_networks():
    widths, C = (4, 12, 10, 14, 6), (1.1, 1.0, 0.9, 1.2)
    z = sampled.preactivations(widths, C, X, 40_000, 21)
    scores = []
    for layer in (1, 3):
        out = z[layer]
        for inputs, neurons in (
            ((0, 0, 1, 1, 2, 2), (0, 0, 1, 1, 2, 2)),
            ((0, 1, 1, 2, 0, 2), (0, 0, 1, 1, 2, 2)),
            ((0, 1, 0, 1, 2, 2), (0, 0, 0, 0, 1, 1)),
        ):
            # Neurons are exchangeable: average over all choices for the three labels.
            theory = linear.moment(widths, C, GRAM, inputs, neurons)[layer]
            values = []
            for chosen in permutations(range(out.shape[1]), 3):
                if chosen[0] % 2 == 0:
                    values.append(
                        np.prod(
                            [out[:, chosen[i], a] for i, a in zip(neurons, inputs, strict=True)],
                            axis=0,
                        )
                    )
            scores.append(sampled.z_score(np.mean(values, axis=0), theory))
    sampled.check(scores)


def test_degenerate_inputs_and_widths():
    # Twice the same input, its opposite and zero; a hidden layer of one neuron.
    x = np.array([X[0], X[0], -X[0], 0 * X[0]])
    gram = x @ x.T / 4
    for widths in (WIDTHS, (4, 1, 3), (4, 3, 1, 1, 2)):
        H = linear.four_point(widths, 1.0, gram)
        assert np.isfinite(H).all()
        G4 = linear.correlator(widths, 1.0, gram[0, 0], 2)
        np.testing.assert_allclose(H[:, 0, 1, 0, 1], G4, rtol=1e-13)
        np.testing.assert_allclose(H[:, 0, 1, 2, 2], G4, rtol=1e-13)
        assert (H[:, 3] == 0).all()
    # One hidden neuron makes all outputs proportional: H is fully symmetric.
    H = linear.four_point((4, 1, 3), 1.0, GRAM)[-1]
    np.testing.assert_allclose(H, H.transpose(0, 2, 1, 3), rtol=1e-14)
    deep = linear.vertex((4,) + (50,) * 999 + (1,), 1.0, GRAM)
    assert np.isfinite(deep).all()


@settings(max_examples=20)
@given(hidden=st.lists(st.integers(1, 30), min_size=1, max_size=5), data=st.data())
def test_hidden_widths_may_be_permuted_and_C_W_scaled(hidden, data):
    shuffled = data.draw(st.permutations(hidden))
    H = linear.four_point((4, *hidden, 2), 1.0, GRAM)[-1]
    np.testing.assert_allclose(linear.four_point((9, *shuffled, 5), 1.0, GRAM)[-1], H, atol=1e-12)
    gain = 1.3 ** (2 * (len(hidden) + 1))
    scaled = linear.four_point((4, *hidden, 2), 1.3, GRAM)[-1]
    np.testing.assert_allclose(scaled, gain * H, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: linear.moment(WIDTHS, C_W, GRAM, (0, 1), (0,)), "neurons: wanted one for each"),
        (lambda: linear.pairing_correlators(WIDTHS, C_W, GRAM, (0, 1, 2)), "even number"),
        (lambda: linear.pairing_correlators(WIDTHS, C_W, GRAM, (0, 3)), "numbers from 0 to 2"),
        (lambda: linear.pairing_correlators(WIDTHS, C_W, GRAM, (0,) * 12), "from 2 to 10"),
        (lambda: linear.four_point(WIDTHS, C_W, 1.0), "Gram matrix"),
        (lambda: linear.zonal_eigenvalue((1, 2), 3), "weakly decreasing"),
    ],
)
def test_wrong_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
