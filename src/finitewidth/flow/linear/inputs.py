r"""Correlators of several inputs, exact at every width.

    E[z_i1;a z_i2;b z_i3;c z_i4;d] = d_12 d_34 H_ab,cd + d_13 d_24 H_ac,bd + d_14 d_23 H_ad,bc
    H^(l+1)_ab,cd = C_W^2 [H_ab,cd + (H_ac,bd + H_ad,bc)/n_l]^(l),   H^(1) = G^(1) G^(1)

which completes PDLT section 3.3 for more than one input. The fully symmetric part of H grows by
1 + 2/n a layer and the rest shrinks by 1 - 1/n:

    H = S_0 prod_l (1 + 2/n_l) + (G_ab G_cd - S_0) prod_l (1 - 1/n_l),
    S_0 = (G_ab G_cd + G_ac G_bd + G_ad G_bc)/3.

The vertex is V = n_{l-1} (H_ab,cd - G_ab G_cd), to leading order PDLT (5.120) with its other
pairings. For 2m points one number H_p belongs to each pairing p of the 2m slots,

    H_p^(l+1) = C_W^m sum_q n_l^(loops(p, q) - m) H_q^(l),   H_p^(1) = prod_{(a,b) in p} G^(1)_ab,

and the eigenvalues of that matrix are f_lambda(n) = prod_{(i,j) in lambda} (1 + (2(j-1) - (i-1))/n)
over the partitions lambda of m (zonal polynomials).
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
from jaxtyping import ArrayLike, Float

from finitewidth.flow.linear.kernel import check_gram, check_network, kernel
from finitewidth.gaussian import pairings

#: Correlators of more than 2m = 10 points have more than 945 pairings.
MOST_POINTS = 10


def four_point(
    widths: Sequence[int], C_W: ArrayLike, G0: ArrayLike
) -> Float[np.ndarray, "L N N N N"]:
    """Compute the four-point correlator H_ab,cd of every layer.

    Args:
        widths: (n_0, n_1, ..., n_L).
        C_W: rescaled weight variances, one number or shape (L,).
        G0: Gram matrix x x^T/n_0, shape (N, N).

    Returns:
        H of layers 1 to L, shape (L, N, N, N, N).

    Raises:
        ValueError: if an argument is not what is wanted.

    Cost: O(L N^4), the size of the result.

    Example:
        >>> H = four_point((2, 10, 1), 1.0, [[1.0, 0.5], [0.5, 2.0]])
        >>> round(float(H[-1, 0, 0, 1, 1]), 12)  # G_00 G_11 + 2 G_01^2/n
        2.05
    """
    product, symmetric = _sectors(widths, C_W, G0)
    grow, shrink = sector_growth(widths)
    return product + grow * symmetric + shrink * (product - symmetric)


def vertex(widths: Sequence[int], C_W: ArrayLike, G0: ArrayLike) -> Float[np.ndarray, "L N N N N"]:
    """Compute V = n_{l-1} Cov(G_ab, G_cd), the four-point vertex to all orders in 1/n.

    Args, Raises, Cost: those of `four_point`.

    Returns:
        V of layers 1 to L, shape (L, N, N, N, N); exactly 0 at layer 1. Not a difference of large
        numbers: all digits are good at any width.

    Example:
        >>> V = vertex((2, 10, 10, 1), 1.0, [[1.0]])
        >>> round(float(V[-1, 0, 0, 0, 0]), 12)  # n ((1 + 2/n)^2 - 1)
        4.4
    """
    product, symmetric = _sectors(widths, C_W, G0)
    grow, shrink = sector_growth(widths)
    fan_in = np.array(tuple(widths)[:-1], dtype=float)[:, None, None, None, None]
    return fan_in * (grow * symmetric + shrink * (product - symmetric))


def sector_growth(
    widths: Sequence[int],
) -> tuple[Float[np.ndarray, "L 1 1 1 1"], Float[np.ndarray, "L 1 1 1 1"]]:
    """Return prod (1 + 2/n) - 1 and prod (1 - 1/n) - 1 over the hidden layers below each layer."""
    inverse = 1 / np.array(tuple(widths)[1:-1], dtype=float)
    with np.errstate(divide="ignore"):
        grow, shrink = (
            np.expm1(np.concatenate([[0.0], np.cumsum(np.log1p(step))]))
            for step in (2 * inverse, -inverse)
        )
    return grow[:, None, None, None, None], shrink[:, None, None, None, None]


def _sectors(
    widths: Sequence[int], C_W: ArrayLike, G0: ArrayLike
) -> tuple[Float[np.ndarray, "L N N N N"], Float[np.ndarray, "L N N N N"]]:
    G = kernel(widths, C_W, check_gram(G0))
    return product_and_symmetric(G)


def product_and_symmetric(
    G: Float[np.ndarray, "L N N"],
) -> tuple[Float[np.ndarray, "L N N N N"], Float[np.ndarray, "L N N N N"]]:
    """Return G_ab G_cd and its fully symmetric part S_0."""
    product = np.einsum("lab,lcd->labcd", G, G)
    crossed = np.einsum("lac,lbd->labcd", G, G)
    return product, (product + crossed + crossed.swapaxes(-1, -2)) / 3


def pairing_correlators(
    widths: Sequence[int], C_W: ArrayLike, G0: ArrayLike, inputs: Sequence[int]
) -> Float[np.ndarray, "L P"]:
    """Compute H_p of every pairing p of 2m slots, each slot with an input.

    Args:
        widths: (n_0, n_1, ..., n_L).
        C_W: rescaled weight variances, one number or shape (L,).
        G0: Gram matrix x x^T/n_0, shape (N, N).
        inputs: the 2m inputs a_1, ..., a_2m, numbers from 0 to N-1 with repetitions.

    Returns:
        One number for each of the P = (2m-1)!! pairings, in the order of
        `gaussian.pairings(2m)`, shape (L, P).

    Raises:
        ValueError: if the number of slots is odd, zero or above 10, or an input does not exist.

    Cost: O(m P^2) for the matrix of loops, once (seconds for ten points), and O(L P^2).

    Example:
        >>> H = pairing_correlators((2, 10, 1), 1.0, [[1.0, 0.5], [0.5, 2.0]], (0, 0, 1, 1))
        >>> H[-1].round(12).tolist()  # (00)(11), (01)(01), (01)(01)
        [2.05, 0.475, 0.475]
    """
    checked, C_W = check_network(widths, C_W)
    G0 = check_gram(G0)
    slots = _check_slots(inputs, len(G0))
    m = len(slots) // 2
    H = np.array(
        [
            math.prod(C_W[0] * G0[slots[a], slots[b]] for a, b in pairing)
            for pairing in pairings(2 * m)
        ]
    )
    layers = [H]
    for n, C in zip(checked[1:-1], C_W[1:], strict=True):
        layers.append(C**m * (transfer_matrix(m, n) @ layers[-1]))
    return np.array(layers)


def moment(
    widths: Sequence[int],
    C_W: ArrayLike,
    G0: ArrayLike,
    inputs: Sequence[int],
    neurons: Sequence[int],
) -> Float[np.ndarray, " L"]:
    """Compute E[z_i1;a1 ... z_i2m;a2m] in every layer, the sum over pairings of delta H_p.

    Args:
        widths: (n_0, n_1, ..., n_L).
        C_W: rescaled weight variances, one number or shape (L,).
        G0: Gram matrix x x^T/n_0, shape (N, N).
        inputs: the 2m inputs a_1, ..., a_2m.
        neurons: the 2m neurons i_1, ..., i_2m, any labels: only which are equal matters.

    Returns:
        The moment in layers 1 to L, shape (L,).

    Raises:
        ValueError: if the number of slots is odd, zero or above 10, or the two lists differ in
            length.

    Example:
        >>> G0 = [[1.0, 0.5], [0.5, 2.0]]
        >>> round(float(moment((2, 10, 3), 1.0, G0, (0, 0, 1, 1), (0, 0, 2, 2))[-1]), 12)
        2.05
    """
    if len(neurons) != len(inputs):
        raise ValueError(
            f"neurons: wanted one for each of the {len(inputs)} inputs, got {len(neurons)}."
        )
    H = pairing_correlators(widths, C_W, G0, inputs)
    allowed = [
        all(neurons[a] == neurons[b] for a, b in pairing) for pairing in pairings(len(inputs))
    ]
    return H[:, allowed].sum(axis=1)


def transfer_matrix(m: int, n: int) -> Float[np.ndarray, "P P"]:
    """Compute the matrix n^(loops(p, q) - m) over pairings p, q of 2m slots.

    Args:
        m: half the number of points, 1 to 5.
        n: width of the layer.

    Returns:
        The matrix, shape (P, P) with P = (2m-1)!!.

    Example:
        >>> transfer_matrix(2, 10).tolist()
        [[1.0, 0.1, 0.1], [0.1, 1.0, 0.1], [0.1, 0.1, 1.0]]
    """
    return float(n) ** (_loops(m) - m)


@lru_cache(maxsize=8)
def _loops(m: int) -> np.ndarray:
    """Count the loops that two pairings make together: the connected components of both."""
    partners = np.array([_partners(pairing) for pairing in pairings(2 * m)])
    # Each loop of p and q is two cycles of the permutation q(p(.)).
    composed = partners[:, partners]  # composed[q, p] = q o p, shape (P, P, 2m)
    smallest = np.broadcast_to(np.arange(2 * m), composed.shape)
    walker = composed
    # After k rounds `smallest` has seen 2^k steps along the cycle.
    for _ in range(m.bit_length() + 1):
        ahead = np.take_along_axis(smallest, walker, axis=-1)
        smallest = np.minimum(smallest, ahead)
        walker = np.take_along_axis(walker, walker, axis=-1)
    cycles = (smallest == np.arange(2 * m)).sum(axis=-1)
    return cycles // 2


def _partners(pairing: tuple[tuple[int, int], ...]) -> list[int]:
    partner = [0] * (2 * len(pairing))
    for a, b in pairing:
        partner[a], partner[b] = b, a
    return partner


def zonal_eigenvalue(partition: Sequence[int], n: float) -> float:
    """Compute f_lambda(n) = prod over the boxes (i, j) of lambda of 1 + (2(j-1) - (i-1))/n.

    One layer of width n multiplies E[C_lambda(Gram)], C_lambda the zonal polynomial, by
    C_W^m f_lambda(n).

    Args:
        partition: row lengths of lambda, weakly decreasing.
        n: width.

    Returns:
        The eigenvalue; (m) gives c_2m(n), PDLT (3.45).

    Raises:
        ValueError: if the rows are not positive and weakly decreasing.

    Example:
        >>> zonal_eigenvalue((2,), 10), zonal_eigenvalue((1, 1), 10)  # 1 + 2/n, 1 - 1/n
        (1.2, 0.9)
    """
    rows = list(partition)
    if not rows or any(r < 1 for r in rows) or any(a < b for a, b in pairwise(rows)):
        raise ValueError(f"partition: wanted positive, weakly decreasing rows, got {rows}.")
    return math.prod(1 + (2 * j - i) / n for i, row in enumerate(rows) for j in range(row))


def _check_slots(inputs: Sequence[int], count: int) -> tuple[int, ...]:
    slots = tuple(int(a) for a in inputs)
    if len(slots) % 2 or not 2 <= len(slots) <= MOST_POINTS:
        raise ValueError(
            f"inputs: wanted an even number of slots from 2 to {MOST_POINTS}, got {len(slots)}."
        )
    if any(not 0 <= a < count for a in slots):
        raise ValueError(f"inputs: wanted numbers from 0 to {count - 1}, got {slots}.")
    return slots
