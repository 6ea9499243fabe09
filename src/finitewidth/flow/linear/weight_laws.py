r"""Independent weights that are not Gaussian: what their kurtosis does, exactly, for one input.

With excess kurtosis k of the weights (Gaussian 0, uniform -6/5, random sign -2)

    E[z_i1 z_i2 z_i3 z_i4] = A (three pairings) + B (all four neurons equal)
    A^(l+1) = C_W^2 [(1 + 2/n_l) A + B/n_l],       A^(1) = (C_W G^(0))^2
    B^(l+1) = k (C_W^2/n_l) (3 A + B),             B^(1) = k C_W^2 sum_j x_j^4 / n_0^2

B is O(1/n) and does not accumulate: to first order the law of the weights does not change what
grows with depth, PDLT chapter 2, footnote 9. A sparse input is the exception, where B^(1) is O(1).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import ArrayLike, Float
from scipy import stats

from finitewidth.flow.linear.kernel import check_network

_EXCESS_KURTOSIS = {
    "gaussian": 0.0,
    "uniform": -6 / 5,
    "sign": -2.0,
    "truncated_normal": float(np.asarray(stats.truncnorm.stats(-2, 2, moments="k"))),
}


class NeuronFourPoint(NamedTuple):
    """The two parts of E[z_i1 z_i2 z_i3 z_i4] in layers 1 to L.

    Attributes:
        A: of the three pairings, shape (L,).
        B: of four equal neurons, shape (L,); one neuron has E[z^4] = 3 A + B.
    """

    A: Float[np.ndarray, " L"]
    B: Float[np.ndarray, " L"]


def excess_kurtosis(law: str) -> float:
    """Return E[w^4]/E[w^2]^2 - 3 of the weights.

    Args:
        law: "gaussian", "uniform", "sign" (random sign) or "truncated_normal" (cut at two
            standard deviations of the parent).

    Returns:
        The excess kurtosis.

    Raises:
        ValueError: for another law.

    Example:
        >>> excess_kurtosis("uniform")
        -1.2
    """
    if law not in _EXCESS_KURTOSIS:
        raise ValueError(f"law: wanted one of {', '.join(_EXCESS_KURTOSIS)}, got {law!r}.")
    return _EXCESS_KURTOSIS[law]


def four_point(
    widths: Sequence[int], C_W: ArrayLike, x: ArrayLike, kurtosis: float | str
) -> NeuronFourPoint:
    """Compute the four-point correlator of one input for independent weights of any law.

    Args:
        widths: (n_0, n_1, ..., n_L).
        C_W: rescaled weight variances, one number or shape (L,).
        x: the input itself, shape (n_0,): not only its norm matters.
        kurtosis: excess kurtosis of the weights, at least -2, or the name of a law.

    Returns:
        A and B of layers 1 to L.

    Raises:
        ValueError: if an argument is not what is wanted.

    Example:
        >>> A, B = four_point((2, 10, 10, 1), 1.0, [1.0, -1.0], "uniform")
        >>> A.round(6).tolist(), B.round(6).tolist()
        ([1.0, 1.14, 1.3392], [-0.6, -0.288, -0.37584])
    """
    checked, C_W = check_network(widths, C_W)
    x = np.asarray(x, dtype=float)
    if x.shape != (checked[0],) or not np.isfinite(x).all():
        raise ValueError(
            f"x: wanted one finite input of shape ({checked[0]},), got shape {x.shape}."
        )
    k = excess_kurtosis(kurtosis) if isinstance(kurtosis, str) else float(kurtosis)
    if not (math.isfinite(k) and k >= -2):
        raise ValueError(f"kurtosis: wanted a finite excess kurtosis >= -2, got {k}.")
    n_0 = checked[0]
    A = [(C_W[0] * float(x @ x) / n_0) ** 2]
    B = [k * C_W[0] ** 2 * float((x**4).sum()) / n_0**2]
    for n, C in zip(checked[1:-1], C_W[1:], strict=True):
        both = A[-1], B[-1]
        A.append(C**2 * ((1 + 2 / n) * both[0] + both[1] / n))
        B.append(k * C**2 / n * (3 * both[0] + both[1]))
    return NeuronFourPoint(np.array(A), np.array(B))
