"""Unordered pairs of samples: a symmetric N x N matrix as P = N (N + 1) / 2 numbers."""

from itertools import combinations_with_replacement

import numpy as np
from jaxtyping import Array, Float, Int


def pair_entries(matrices: Float[Array, "*B N N"]) -> Float[Array, "*B P"]:
    """Return the upper triangles of symmetric matrices, P = N(N+1)/2 entries each."""
    rows, columns = np.triu_indices(matrices.shape[-1])
    return matrices[..., rows, columns]


def pair_table(pairs: int) -> Int[np.ndarray, "N N"]:
    """Return the table T with T[a, b] the place of the pair (a, b) among P unordered pairs."""
    samples = int((2 * pairs + 0.25) ** 0.5)
    rows, columns = np.triu_indices(samples)
    table = np.empty((samples, samples), dtype=int)
    table[rows, columns] = table[columns, rows] = np.arange(pairs)
    return table


def pair_triples(
    pairs: int,
) -> tuple[Int[np.ndarray, " T"], Int[np.ndarray, " T"], Int[np.ndarray, " T"]]:
    """Return all p <= q <= r below `pairs`, as three index arrays."""
    p, q, r = np.array(list(combinations_with_replacement(range(pairs), 3))).T
    return p, q, r
