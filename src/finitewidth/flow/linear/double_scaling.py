r"""Many layers of many neurons: the limit n, L -> infinity at fixed r = L/n.

    G_2m / G_2^m -> e^(m(m-1) r)                                           PDLT (3.55)
    K_4 / G_2^2 -> e^(2r) - 1,   K_6 / G_2^3 -> e^(6r) - 3 e^(2r) + 2      PDLT (3.56), (3.57)
    K_2m / G_2^m = m^(m-2) (2r)^(m-1) + ...

These are the moments and cumulants of a log-normal variable. A moment sums q^edges, q = e^(2r) - 1,
over all graphs on m points, and a cumulant over the connected ones; the fewest edges are those of
the m^(m-2) trees. Summed this way nothing cancels. The limits do not commute: at fixed n the
correlators grow without bound with L, (3.51).
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import ArrayLike, Float

from finitewidth.flow.linear.correlators import cumulants_from_moments
from finitewidth.flow.linear.kernel import check_network, check_order, log_kernel


def depth_over_width(widths: Sequence[int]) -> Float[np.ndarray, " L"]:
    """Compute s_1, the sum of 1/n over the hidden layers below each layer, the precise L/n.

    Args:
        widths: (n_0, n_1, ..., n_L).

    Returns:
        s_1 of layers 1 to L, shape (L,); 0 at layer 1.

    Example:
        >>> depth_over_width((7, 10, 20, 1)).round(12).tolist()
        [0.0, 0.1, 0.15]
    """
    checked, _ = check_network(widths, 1.0)
    return np.concatenate([[0.0], np.cumsum(1 / np.array(checked[1:-1], dtype=float))])


def scaling_correlator(r: ArrayLike, m: int) -> Float[np.ndarray, "..."]:
    """Compute the double-scaling limit e^(m(m-1) r) of G_2m/G_2^m, PDLT (3.55).

    At finite width the error is a factor 1 - r m(m-1)(2m-1)/(3n).

    Args:
        r: depth over width L/n, any shape.
        m: half the number of points, at least 1.

    Returns:
        The limit, shape of `r`.

    Example:
        >>> round(float(scaling_correlator(0.5, 2)), 6)
        2.718282
    """
    m = check_order(m)
    return np.exp(m * (m - 1) * np.asarray(r, dtype=float))


def scaling_connected(r: ArrayLike, m: int) -> Float[np.ndarray, "..."]:
    """Compute the double-scaling limit of K_2m/G_2^m, PDLT (3.56), (3.57), without cancellation.

    Args:
        r: depth over width L/n, any shape.
        m: half the number of points, at least 1.

    Returns:
        The limit, shape of `r`; all digits also at small r, where it is m^(m-2) (2r)^(m-1).

    Example:
        >>> round(float(scaling_connected(math.log(2) / 2, 2)), 12)  # chaos: Var S = (E S)^2
        1.0
    """
    q = np.expm1(2 * np.asarray(r, dtype=float))
    return np.polynomial.polynomial.polyval(q, connected_graphs(check_order(m)))


def connected_graphs(m: int) -> list[int]:
    """Count the connected graphs on m labelled points by their number of edges.

    Args:
        m: number of points, at least 1.

    Returns:
        The counts for 0, 1, ..., m(m-1)/2 edges.

    Example:
        >>> connected_graphs(3)  # three trees and the triangle
        [0, 0, 3, 1]
    """
    order = check_order(m)
    # Whole-number polynomials in q: (1 + q)^(number of possible edges) counts all graphs.
    everything = [
        np.array([math.comb(k * (k - 1) // 2, e) for e in range(k * (k - 1) // 2 + 1)], object)
        for k in range(1, order + 1)
    ]
    polynomials = [np.polynomial.Polynomial(c) for c in everything]
    connected = cumulants_from_moments(polynomials)[-1].coef
    return [int(c) for c in connected]


def leading_connected(
    widths: Sequence[int], C_W: ArrayLike, G0: float, m: int
) -> Float[np.ndarray, " L"]:
    """Compute the leading form of K_2m in the depth-to-width ratio, m^(m-2) (2 s_1)^(m-1) G_2^m.

    Args:
        widths: (n_0, n_1, ..., n_L).
        C_W: rescaled weight variances, one number or shape (L,).
        G0: |x|^2/n_0 of the input.
        m: half the number of points, at least 1.

    Returns:
        The leading form for layers 1 to L, shape (L,).

    Accuracy: first order in s_1; 17 % low for m = 2 at s_1 = 0.25.

    Example:
        >>> round(float(leading_connected((1, 16, 16, 16, 16, 1), 1.0, 1.0, 2)[-1]), 6)
        0.5
    """
    m = check_order(m)
    trees = 1.0 if m == 1 else float(m ** (m - 2))
    with np.errstate(over="ignore"):
        G2 = np.exp(m * log_kernel(widths, C_W, G0))
        return trees * (2 * depth_over_width(widths)) ** (m - 1) * G2
