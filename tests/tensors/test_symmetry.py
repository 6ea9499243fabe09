"""Symmetries of the four-index tensor and the list of its independent entries."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finitewidth.tensors import asymmetry, independent_entries, symmetrize, unordered_pairs

ALL = ("1<->2", "3<->4", "(12)<->(34)")


def orbit(a, b, c, d):
    """All index quadruples at which a vertex has the same value."""
    same = set()
    for p, q in [((a, b), (c, d)), ((c, d), (a, b))]:
        same |= {(*x, *y) for x in (p, p[::-1]) for y in (q, q[::-1])}
    return same


@pytest.mark.parametrize("samples", [1, 2, 3, 4])
def test_independent_entries_represent_every_entry_once(samples):
    pairs = samples * (samples + 1) // 2
    assert len(unordered_pairs(samples)) == pairs
    rows = [tuple(int(k) for k in row) for row in independent_entries(samples)]
    assert len(rows) == pairs * (pairs + 1) // 2
    covered = [quadruple for row in rows for quadruple in orbit(*row)]
    assert len(covered) == len(set(covered)) == samples**4
    assert set(covered) == set(product(range(samples), repeat=4))


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.sets(st.sampled_from(ALL)))
def test_symmetrize_gives_what_was_asked_for(seed, names):
    V = np.random.default_rng(seed).normal(size=(2, 3, 3, 3, 3))
    symmetric = symmetrize(V, tuple(names))
    found = asymmetry(symmetric)
    for name in names:
        assert found[name] < 1e-14
    for name in set(ALL) - names:
        # Both single exchanges follow from one of them together with that of the pairs.
        if not ("(12)<->(34)" in names and len(names) > 1):
            assert found[name] > 1e-3
    np.testing.assert_allclose(symmetrize(symmetric, tuple(names)), symmetric, atol=1e-14)
    np.testing.assert_allclose(symmetric.sum(), V.sum(), rtol=1e-9, atol=1e-9)


def test_asymmetry_names_the_broken_symmetry():
    A = np.array([[0.0, 1.0], [0.0, 0.0]])
    S = np.eye(2)
    assert asymmetry(np.einsum("ab,cd->abcd", A, S)) == {
        "1<->2": 1.0,
        "3<->4": 0.0,
        "(12)<->(34)": 1.0,
    }
    assert asymmetry(np.einsum("ab,cd->abcd", S, A))["3<->4"] == 1.0
    vertex = np.einsum("ab,cd->abcd", S, S)
    assert max(asymmetry(vertex).values()) == 0.0
    # the vertex is not symmetric under 2 <-> 3, and nothing here makes it so
    assert np.abs(np.asarray(symmetrize(vertex)) - vertex.transpose(0, 2, 1, 3)).max() == 1.0
    assert asymmetry(np.zeros((2,) * 4))["1<->2"] == 0.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: symmetrize(np.ones((2, 2, 2))), r"wanted shape \(..., N, N, N, N\), got \(2, 2"),
        (lambda: asymmetry(np.ones((2, 2, 2, 3))), "wanted shape"),
        (lambda: symmetrize(np.ones((1,) * 4), ("2<->3",)), "got '2<->3'"),
        (lambda: independent_entries(0), "samples: wanted at least 1, got 0"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
