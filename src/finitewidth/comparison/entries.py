r"""Which entries of a tensor are independent, and how an entry is written.

The metric is symmetric, $G_{12} = G_{21}$, and the four-point vertex has the symmetries
$V_{(12)(34)} = V_{(21)(34)} = V_{(12)(43)} = V_{(34)(12)}$, PDLT (4.40). Entries that are equal by
symmetry carry one number, and a comparison counts it once.
"""

from collections.abc import Sequence
from itertools import product

import numpy as np
from jaxtyping import Float, Int

from finitewidth.tensors.symmetry import PERMUTATIONS

# The permutations of sample indices that a tensor of the theory may be symmetric under.
_CANDIDATES: dict[int, tuple[tuple[int, ...], ...]] = {
    2: ((1, 0),),
    4: (*PERMUTATIONS.values(), (1, 0, 3, 2)),
}
_ROUNDING = 1e-9


def symmetries(
    *arrays: Float[np.ndarray, "L ..."],
) -> tuple[tuple[int, ...], ...]:
    """Find the index permutations that leave every one of the arrays unchanged.

    Args:
        *arrays: arrays of one shape, layers along the leading axis.

    Returns:
        The permutations of the trailing axes, out of transpositions of (1,2), of (3,4), both at
        once, and the exchange of the pairs (12) and (34).

    Example:
        >>> symmetries(np.ones((1, 2, 2)))
        ((1, 0),)
    """
    shape = arrays[0].shape[1:]
    if len(set(shape)) != 1:
        return ()
    found = []
    for permutation in _CANDIDATES.get(len(shape), ()):
        axes = (0, *(1 + p for p in permutation))
        if all(
            np.allclose(a, a.transpose(axes), rtol=_ROUNDING, atol=_ROUNDING * np.max(np.abs(a)))
            for a in arrays
        ):
            found.append(permutation)
    return tuple(found)


def independent(
    shape: Sequence[int], permutations: Sequence[tuple[int, ...]]
) -> Int[np.ndarray, "E rank"]:
    """List one index of every class of entries that the permutations make equal.

    Args:
        shape: the shape of one layer of the tensor.
        permutations: permutations of its axes that leave it unchanged.

    Returns:
        The smallest index of every class, in order, shape (E, rank). Cost: the number of entries
        times the size of the permutation group.

    Example:
        >>> independent((2, 2), [(1, 0)]).tolist()
        [[0, 0], [0, 1], [1, 1]]
    """
    group = _generated_group(len(shape), permutations)
    indices = product(*(range(size) for size in shape))
    chosen = [index for index in indices if all(index <= tuple(index[p] for p in g) for g in group)]
    return np.array(chosen, dtype=int).reshape(len(chosen), len(shape))


def label(index: Sequence[int]) -> str:
    """Write an index the way the theory does, samples counted from 0.

    Example:
        >>> label([0, 1, 2, 2])
        '(0 1)(2 2)'
    """
    if len(index) == 4:
        return f"({index[0]} {index[1]})({index[2]} {index[3]})"
    return f"({' '.join(str(i) for i in index)})" if len(index) else "()"


def _generated_group(rank: int, generators: Sequence[tuple[int, ...]]) -> set[tuple[int, ...]]:
    group = {tuple(range(rank))}
    while True:
        larger = group | {tuple(g[p] for p in h) for g in group for h in generators}
        if larger == group:
            return group
        group = larger
