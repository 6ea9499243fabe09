"""Symmetries of a four-index tensor on pairs of samples, and its independent entries.

    V_(12)(34) = V_(21)(34) = V_(12)(43) = V_(34)(12),  in general not V_(13)(24).      PDLT (4.40)

With P = N(N+1)/2 unordered pairs there are P(P+1)/2 independent entries.
"""

from typing import Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int

from finitewidth.precision import in_double_precision
from finitewidth.validation import check_count

Symmetry = Literal["1<->2", "3<->4", "(12)<->(34)"]

#: Each symmetry of the vertex as a permutation of the last four axes.
PERMUTATIONS: dict[Symmetry, tuple[int, int, int, int]] = {
    "1<->2": (1, 0, 2, 3),
    "3<->4": (0, 1, 3, 2),
    "(12)<->(34)": (2, 3, 0, 1),
}


def unordered_pairs(samples: int) -> Int[np.ndarray, "P 2"]:
    """List the unordered pairs (a, b), a <= b, of N samples.

    Args:
        samples: N.

    Returns:
        Integers, shape (N(N+1)/2, 2).

    Raises:
        ValueError: if N is not positive.

    Example:
        >>> unordered_pairs(2).tolist()
        [[0, 0], [0, 1], [1, 1]]
    """
    samples = check_count(samples, "samples")
    return np.stack(np.triu_indices(samples), axis=1)


def independent_entries(samples: int) -> Int[np.ndarray, "E 4"]:
    """List one representative (a, b, c, d) of every independent entry V_(ab)(cd).

    Unordered pairs of unordered pairs: a <= b, c <= d, and (a, b) not after (c, d).

    Args:
        samples: N.

    Returns:
        Integers, shape (P(P+1)/2, 4) with P = N(N+1)/2.

    Raises:
        ValueError: if N is not positive.

    Example:
        >>> independent_entries(2).tolist()
        [[0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 1], [0, 1, 0, 1], [0, 1, 1, 1], [1, 1, 1, 1]]
    """
    pairs = unordered_pairs(samples)
    first, second = np.triu_indices(len(pairs))
    return np.concatenate([pairs[first], pairs[second]], axis=1)


@in_double_precision
def asymmetry(values: ArrayLike) -> dict[Symmetry, float]:
    """Measure how far a tensor is from each symmetry of the vertex.

    Args:
        values: shape (..., N, N, N, N).

    Returns:
        For each symmetry the largest |V - V permuted|, relative to the largest |V|.

    Raises:
        ValueError: if the last four axes are not (N, N, N, N).

    Example:
        >>> import numpy as np
        >>> asymmetry(np.ones((2, 2, 2, 2)))
        {'1<->2': 0.0, '3<->4': 0.0, '(12)<->(34)': 0.0}
    """
    array = check_pair_tensor(values)
    largest = float(jnp.abs(array).max())
    return {
        name: float(jnp.abs(array - _permuted(array, permutation)).max()) / (largest or 1.0)
        for name, permutation in PERMUTATIONS.items()
    }


@in_double_precision
def symmetrize(
    values: ArrayLike, symmetries: tuple[Symmetry, ...] = ("1<->2", "3<->4", "(12)<->(34)")
) -> Float[Array, "*batch N N N N"]:
    """Average a tensor over the symmetries of the vertex, or over some of them.

    Args:
        values: shape (..., N, N, N, N).
        symmetries: which ones, among "1<->2", "3<->4", "(12)<->(34)".

    Returns:
        The symmetric part, same shape.

    Raises:
        ValueError: if the last four axes are not (N, N, N, N) or a symmetry is unknown.

    Example:
        >>> import numpy as np
        >>> V = np.arange(16.0).reshape(2, 2, 2, 2)
        >>> max(asymmetry(symmetrize(V)).values())
        0.0
    """
    array = check_pair_tensor(values)
    for name in symmetries:
        if name not in PERMUTATIONS:
            raise ValueError(f"symmetries: wanted some of {tuple(PERMUTATIONS)}, got {name!r}.")
    # Exchanging the pairs last keeps the symmetries within the pairs, if both were asked for. With
    # only one of them asked for, the exchange makes the other hold as well.
    within: list[Symmetry] = [name for name in symmetries if name != "(12)<->(34)"]
    if "(12)<->(34)" in symmetries and within:
        within = ["1<->2", "3<->4"]
    for name in within:
        array = (array + _permuted(array, PERMUTATIONS[name])) / 2
    if "(12)<->(34)" in symmetries:
        array = (array + _permuted(array, PERMUTATIONS["(12)<->(34)"])) / 2
    return array


def check_pair_tensor(values: ArrayLike, name: str = "values") -> Float[Array, "*batch N N N N"]:
    """Return a four-index tensor in double precision, or say what is wrong with its shape."""
    array = jnp.asarray(values, dtype=float)
    if array.ndim < 4 or len(set(array.shape[-4:])) != 1 or array.shape[-1] == 0:
        raise ValueError(f"{name}: wanted shape (..., N, N, N, N), got {array.shape}.")
    return array


def _permuted(array: Array, permutation: tuple[int, ...]) -> Array:
    leading = array.ndim - 4
    return array.transpose(*range(leading), *(leading + axis for axis in permutation))
