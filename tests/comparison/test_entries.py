"""Which entries are counted once."""

import numpy as np

from finitewidth.comparison.entries import independent, label, symmetries
from finitewidth.tensors import independent_entries


def _random_vertex(samples, rng):
    """A tensor with the symmetries of the vertex and no others."""
    B = rng.normal(size=(7, samples, samples))
    B = B + B.transpose(0, 2, 1)
    return np.einsum("mab,mcd->abcd", B, B)[None]


def test_vertex_entries_are_those_of_the_tensor_package():
    for samples in (1, 2, 3):
        V = _random_vertex(samples, np.random.default_rng(samples))
        found = independent(V.shape[1:], symmetries(V))
        np.testing.assert_array_equal(found, independent_entries(samples))


def test_symmetries_of_the_vertex_and_no_others():
    V = _random_vertex(3, np.random.default_rng(0))
    assert set(symmetries(V)) == {(1, 0, 2, 3), (0, 1, 3, 2), (2, 3, 0, 1), (1, 0, 3, 2)}


def test_a_symmetry_must_be_in_all_arrays():
    rng = np.random.default_rng(1)
    G = rng.normal(size=(2, 3, 3))
    symmetric = G + G.transpose(0, 2, 1)
    assert symmetries(symmetric) == ((1, 0),)
    assert symmetries(symmetric, G) == ()


def test_joint_transposition_alone():
    # F_1324 = F_2413: both pairs transposed at once, and nothing else.
    rng = np.random.default_rng(2)
    F = rng.normal(size=(1, 2, 2, 2, 2))
    F = F + F.transpose(0, 2, 1, 4, 3)
    assert symmetries(F) == ((1, 0, 3, 2),)
    assert len(independent(F.shape[1:], symmetries(F))) == 10


def test_every_entry_is_reached_once():
    permutations = [(1, 0, 2, 3), (2, 3, 0, 1)]
    chosen = {tuple(i) for i in independent((3,) * 4, permutations)}
    # Generating all images of the chosen entries must give every entry, and no class twice.
    seen = {}
    for index in np.ndindex(3, 3, 3, 3):
        a, b, c, d = index
        images = {p for q in ((a, b, c, d), (b, a, c, d), (a, b, d, c), (b, a, d, c))
                  for p in (q, q[2:] + q[:2])}  # fmt: skip
        seen[index] = len(images & chosen)
    assert set(seen.values()) == {1}


def test_no_sample_axes_and_unequal_axes():
    assert independent((), ()).shape == (1, 0)
    assert symmetries(np.zeros((2, 3, 4))) == ()
    assert len(independent((3, 4), ())) == 12


def test_labels():
    assert label((0, 1)) == "(0 1)"
    assert label((0, 1, 2, 2)) == "(0 1)(2 2)"
    assert label(()) == "()"
    assert label((4,)) == "(4)"
