r"""Correlators of any scale-invariant activation on one input, without biases, exact.

sigma(z) = a_+ z for z >= 0 and a_- z for z < 0 (ReLU, leaky ReLU). The variance of the
preactivations given the layer below is a product of independent scalars,

    S^(l) = C_W^(1) G^(0) prod_{k<l} C_W^(k+1) s_k,    s = (1/n) sum_j sigma(u_j)^2,  u_j ~ N(0, 1)

and G_2m = E[S^m], K_2m its m-th cumulant, as in PDLT (3.45) for linear networks. The cumulants of s
are those of sigma(u)^2 divided by n^(m-1), with

    E[sigma(u)^2m] = (2m-1)!! A_2m,   A_2m = (a_+^2m + a_-^2m)/2,
    E s = A_2,   E s^2 = A_2^2 + (3 A_4 - A_2^2)/n:

per layer G_4/G_2^2 grows by 1 + (3 A_4/A_2^2 - 1)/n, the constant of PDLT (5.120): 2 for linear
networks, 5 for ReLU. At C_W = 1/A_2, G_2m/G_2^m tends to exp[m(m-1)/2 (3 A_4/A_2^2 - 1) L/n]. A
ReLU layer can die: its activations all vanish with the probability 2^-n.
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import ArrayLike, Float

from finitewidth.flow.linear.correlators import (
    cumulants_from_moments,
    float_cumulants,
    log_width_factor,
)
from finitewidth.flow.linear.kernel import check_network, check_order, log_kernel
from finitewidth.gaussian import cumulants_to_moments, number_of_pairings

Slopes = tuple[float, float]


def log_correlator(
    widths: Sequence[int], C_W: ArrayLike, G0: float, m: int, slopes: Slopes
) -> Float[np.ndarray, " L"]:
    """Compute log G_2m of every layer, which does not overflow at any depth.

    Args, Raises: those of `correlator`.

    Returns:
        The logarithms, shape (L,).

    Example:
        >>> round(float(log_correlator((3, 4, 1), 2.0, 0.5, 1, (1.0, 0.0))[-1]), 12)
        0.0
    """
    m = check_order(m)
    checked, _ = check_network(widths, C_W)
    A_2 = mean_square(slopes)
    relative = [_log_relative_moment(m, n, slopes) for n in checked[1:-1]]
    below = np.concatenate([[0.0], np.cumsum(np.array(relative) + m * math.log(A_2))])
    return m * log_kernel(checked, C_W, G0) + below


def correlator(
    widths: Sequence[int], C_W: ArrayLike, G0: float, m: int, slopes: Slopes
) -> Float[np.ndarray, " L"]:
    """Compute the 2m-point correlator G_2m of one input in every layer.

    Args:
        widths: (n_0, n_1, ..., n_L).
        C_W: rescaled weight variances, one number or shape (L,).
        G0: |x|^2/n_0 of the input.
        m: half the number of points, at least 1.
        slopes: (a_+, a_-), the slopes of the activation for positive and negative z.

    Returns:
        G_2m of layers 1 to L, shape (L,), the sum over pairings split off.

    Raises:
        TypeError, ValueError: if an argument is not what is wanted or both slopes are zero.

    Cost: O(L m^2).

    Example:
        >>> G4 = correlator((5, 10, 10, 1), 2.0, 0.5, 2, (1.0, 0.0))  # critical ReLU
        >>> G4.round(12).tolist()  # 1 + 5/n a layer
        [1.0, 1.5, 2.25]
    """
    with np.errstate(over="ignore"):
        return np.exp(log_correlator(widths, C_W, G0, m, slopes))


def connected(
    widths: Sequence[int], C_W: ArrayLike, G0: float, m: int, slopes: Slopes
) -> Float[np.ndarray, " L"]:
    """Compute the connected 2m-point correlator K_2m of one input in every layer.

    Args, Raises: those of `correlator`.

    Returns:
        K_2m of layers 1 to L, shape (L,).

    Accuracy: all digits for m <= 2; else moments are subtracted, with an absolute error of 1e-16
    of G_2m.

    Example:
        >>> connected((5, 10, 10, 1), 2.0, 0.5, 2, (1.0, 0.0)).round(12).tolist()
        [0.0, 0.5, 1.25]
    """
    m = check_order(m)
    log_G2 = log_correlator(widths, C_W, G0, 1, slopes)
    checked, _ = check_network(widths, C_W)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        if m == 1:
            return np.exp(log_G2)
        if m == 2:
            spread = [math.log1p(growth_constant(slopes) / n) for n in checked[1:-1]]
            return np.exp(2 * log_G2) * np.expm1(np.concatenate([[0.0], np.cumsum(spread)]))
        unit = np.ones(len(checked) - 1) / mean_square(slopes)
        unit[0] = 1.0
        moments = [correlator(checked, unit, 1.0, k, slopes) for k in range(1, m + 1)]
        relative = float_cumulants(np.stack(moments, axis=-1))[:, -1]
        relative[0] = 0.0
        return np.where(relative == 0, 0.0, np.exp(m * log_G2) * relative)


def dead_probability(widths: Sequence[int], slopes: Slopes) -> Float[np.ndarray, " L"]:
    """Compute the probability that a network has lost its signal before each layer.

    1 - prod_{k<l} (1 - 2^(-n_k)) if one slope is zero, else 0.

    Args:
        widths: (n_0, n_1, ..., n_L).
        slopes: (a_+, a_-).

    Returns:
        The probability that z^(l) = 0 for any one input, layers 1 to L, shape (L,).

    Raises:
        ValueError: if an argument is not what is wanted.

    Example:
        >>> round(float(dead_probability((6, 4, 3, 5, 1), (1.0, 0.0))[-1]), 6)
        0.205322
    """
    checked, _ = check_network(widths, 1.0)
    if min(np.abs(check_slopes(slopes))) > 0:
        return np.zeros(len(checked) - 1)
    n = np.array(checked[1:-1], dtype=float)
    return -np.expm1(np.concatenate([[0.0], np.cumsum(np.log1p(-np.exp2(-n)))]))


def scaling_correlator(r: ArrayLike, m: int, slopes: Slopes) -> Float[np.ndarray, "..."]:
    """Compute the limit of G_2m/G_2^m for n, L -> infinity at r = L/n.

    exp[m(m-1)/2 (3 A_4/A_2^2 - 1) r]; PDLT (3.55) for linear networks.

    Args:
        r: depth over width, any shape.
        m: half the number of points, at least 1.
        slopes: (a_+, a_-).

    Returns:
        The limit, shape of `r`.

    Example:
        >>> round(float(scaling_correlator(0.2, 2, (1.0, 0.0))), 6)
        2.718282
    """
    m = check_order(m)
    return np.exp(m * (m - 1) / 2 * growth_constant(slopes) * np.asarray(r, dtype=float))


def growth_constant(slopes: Slopes) -> float:
    """Compute 3 A_4/A_2^2 - 1, the constant of PDLT (5.120): 2 for linear, 5 for ReLU.

    Example:
        >>> growth_constant((1.0, 1.0)), growth_constant((1.0, 0.0))
        (2.0, 5.0)
    """
    a, b = _scaled(slopes)
    return 6 * (a**4 + b**4) / (a**2 + b**2) ** 2 - 1


def mean_square(slopes: Slopes) -> float:
    """Compute A_2 = (a_+^2 + a_-^2)/2 = E sigma(u)^2; the network is critical at C_W = 1/A_2.

    Example:
        >>> mean_square((1.0, 0.0))
        0.5
    """
    a, b = check_slopes(slopes)
    return (a**2 + b**2) / 2


def check_slopes(slopes: Slopes) -> Slopes:
    """Return the slopes (a_+, a_-) as numbers, or say what is wrong with them."""
    pair = tuple(float(a) for a in slopes)
    if len(pair) != 2 or not all(math.isfinite(a) for a in pair) or not any(pair):
        raise ValueError(
            f"slopes: wanted two finite numbers (a_+, a_-), not both zero, got {slopes!r}."
        )
    return pair[0], pair[1]


def _scaled(slopes: Slopes) -> Slopes:
    a, b = check_slopes(slopes)
    top = max(abs(a), abs(b))
    return a / top, b / top


def _log_relative_moment(m: int, n: int, slopes: Slopes) -> float:
    """Return log(E[s^m]/A_2^m) of one layer, through the cumulants of s."""
    a, b = _scaled(slopes)
    if abs(a) == abs(b):
        return float(log_width_factor(m, n))
    A_2 = (a**2 + b**2) / 2
    moments = [
        number_of_pairings(2 * k) * (a ** (2 * k) + b ** (2 * k)) / 2 / A_2**k
        for k in range(1, m + 1)
    ]
    cumulants = [kappa / float(n) ** k for k, kappa in enumerate(cumulants_from_moments(moments))]
    return math.log(float(cumulants_to_moments(np.array(cumulants))[-1]))
