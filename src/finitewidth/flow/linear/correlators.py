r"""Correlators of 2m points on one input, exact at every width.

    E[z_i1 ... z_i2m] = (sum over pairings of deltas) G_2m                PDLT (3.43)
    G_2m^(l+1) = (C_W^(l+1))^m c_2m(n_l) G_2m^(l),  l >= 1                 PDLT (3.46)
    c_2m(n) = prod_{k<m} (1 + 2k/n) = E[(chi^2_n / n)^m]                   PDLT (3.45)

from G_2m^(1) = (C_W^(1) G^(0))^m at layer 1 (the recursion does not hold from layer 0 to 1). Only
hidden widths n_1 .. n_{l-1} enter. G_2m is the m-th moment of S, the variance of the preactivations
given the layer below, and K_2m, the connected correlator (3.29), (3.56), its m-th cumulant:

    K_4 = G_4 - G_2^2,   K_6 = G_6 - 3 G_4 G_2 + 2 G_2^3,   ...

Cumulants cancel like (L/n)^(m-1). Widths are whole numbers, so G_2m/G_2^m is a fraction, and the
cumulants are formed in whole numbers: no digit is lost. With biases

    G_2m^(l+1) = sum_k binom(m, k) C_b^(m-k) C_W^k c_2k(n_l) G_2k^(l).
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import ArrayLike, Float
from scipy.special import gammaln

from finitewidth.flow.linear.kernel import (
    check_network,
    check_one_input,
    check_order,
    check_variances,
    log_kernel,
)


def log_width_factor(m: int, n: ArrayLike) -> Float[np.ndarray, "..."]:
    """Compute log c_2m(n) = sum_{k<m} log(1 + 2k/n), PDLT (3.45).

    Args:
        m: half the number of points, at least 0.
        n: widths, any shape.

    Returns:
        The logarithms, shape of `n`, with a relative error near 1e-16: a difference of
        log-gammas would lose all digits of the 1/n effect at large n.

    Example:
        >>> round(float(np.exp(log_width_factor(2, 4))), 12)  # 1 + 2/n
        1.5
    """
    k = 2.0 * np.arange(check_order(m, least=0))
    return np.log1p(k / np.asarray(n, dtype=float)[..., None]).sum(axis=-1)


def log_correlator(
    widths: Sequence[int], C_W: ArrayLike, G0: float, m: int, C_b: ArrayLike = 0.0
) -> Float[np.ndarray, " L"]:
    """Compute log G_2m of every layer, which does not overflow at any depth.

    Args, Raises: those of `correlator`.

    Returns:
        The logarithms, shape (L,); minus infinity where the signal is zero.

    Example:
        >>> round(float(log_correlator((1,) + (10,) * 1000, 2.0, 1.0, 3)[-1]), 3)
        2597.717
    """
    checked, C_W = check_network(widths, C_W)
    biases = check_variances(C_b, checked, "C_b")
    if biases.any():
        return _log_biased(checked, C_W, check_one_input(G0), m, biases)[:, m]
    growth = log_width_factor(m, np.array(checked[1:-1]))
    return m * log_kernel(checked, C_W, G0) + np.concatenate([[0.0], np.cumsum(growth)])


def correlator(
    widths: Sequence[int], C_W: ArrayLike, G0: float, m: int, C_b: ArrayLike = 0.0
) -> Float[np.ndarray, " L"]:
    """Compute the 2m-point correlator of every layer, with the sum over pairings split off.

    PDLT (3.47): G_2m^(l) = (G_2^(l))^m prod_{k<l} c_2m(n_k), exact at any width. A single neuron
    has E[z^2m] = (2m-1)!! G_2m.

    Args:
        widths: (n_0, n_1, ..., n_L).
        C_W: rescaled weight variances, one number or shape (L,).
        G0: |x|^2/n_0 of the input.
        m: half the number of points, at least 1.
        C_b: bias variances, one number or shape (L,).

    Returns:
        G_2m of layers 1 to L, shape (L,).

    Raises:
        TypeError, ValueError: if an argument is not what is wanted.

    Cost: O(L m), with biases O(L m^2).

    Example:
        >>> G4 = correlator((4, 8, 14, 10, 5), [1.3, 0.8, 1.1, 0.95], 0.665, 2)
        >>> round(float(G4[-1]), 8)
        0.89541787
    """
    check_order(m)
    with np.errstate(over="ignore"):
        return np.exp(log_correlator(widths, C_W, G0, m, C_b))


def log_connected(
    widths: Sequence[int], C_W: ArrayLike, G0: float, m: int
) -> Float[np.ndarray, " L"]:
    """Compute log K_2m of every layer, without biases.

    S is a product of gamma variables, and all cumulants of such a product are positive.

    Args, Raises: those of `connected`.

    Returns:
        The logarithms, shape (L,); minus infinity where K_2m vanishes, at layer 1 if m > 1.

    Example:
        >>> round(float(log_connected((1,) + (10,) * 1000, 2.0, 1.0, 2)[-1]), 3)
        1568.434
    """
    m = check_order(m)
    kernels = log_kernel(widths, C_W, G0)
    return m * kernels + log_relative_cumulants(tuple(widths)[1:-1], m)


def connected(
    widths: Sequence[int], C_W: ArrayLike, G0: float, m: int, C_b: ArrayLike = 0.0
) -> Float[np.ndarray, " L"]:
    """Compute the connected 2m-point correlator of every layer, the sum over pairings split off.

    PDLT (3.29), (3.56): K_2m is the m-th cumulant of the scalar S with moments G_2m. A single
    neuron has the cumulant (2m-1)!! K_2m. To leading order m^(m-2) (2 s_1)^(m-1) G_2^m, with
    s_1 the sum of 1/n over the hidden layers below.

    Args:
        widths: (n_0, n_1, ..., n_L).
        C_W: rescaled weight variances, one number or shape (L,).
        G0: |x|^2/n_0 of the input.
        m: half the number of points, at least 1.
        C_b: bias variances, one number or shape (L,).

    Returns:
        K_2m of layers 1 to L, shape (L,).

    Raises:
        TypeError, ValueError: if an argument is not what is wanted.

    Accuracy: all digits, by whole-number arithmetic; with biases the moments are subtracted in
    floating point, and the absolute error is 1e-16 of G_2m.

    Cost: O(L m^2) products of whole numbers with L m log n bits.

    Example:
        >>> K4 = connected((1, 16, 16, 16, 16, 1), 1.0, 1.0, 2)
        >>> round(float(K4[-1]), 6)  # (1 + 2/n)^(L-1) - 1
        0.601807
    """
    m = check_order(m)
    checked, C_W = check_network(widths, C_W)
    biases = check_variances(C_b, checked, "C_b")
    if biases.any():
        moments = np.exp(_log_biased(checked, C_W, check_one_input(G0), m, biases))
        cumulants = float_cumulants(moments[:, 1:])[:, -1]
        # Layer 1 is Gaussian: what is left there is rounding.
        cumulants[0] = moments[0, 1] if m == 1 else 0.0
        return cumulants
    with np.errstate(over="ignore"):
        return np.exp(log_connected(checked, C_W, G0, m))


def variance_of_mean_square(
    widths: Sequence[int], C_W: ArrayLike, G0: float
) -> Float[np.ndarray, " L"]:
    """Compute Var O of every layer, O = (1/n_l) sum_j z_j^2 the mean square preactivation.

    PDLT (3.33) summed to all orders: Var O^(l) = (G_2^(l))^2 [prod_{k<=l} (1 + 2/n_k) - 1], the
    width of layer l itself included; 2l/n to leading order.

    Args:
        widths: (n_0, n_1, ..., n_L).
        C_W: rescaled weight variances, one number or shape (L,).
        G0: |x|^2/n_0 of the input.

    Returns:
        The variances, shape (L,).

    Raises:
        ValueError: if an argument is not what is wanted.

    Example:
        >>> round(float(variance_of_mean_square((4, 8, 14, 10, 5), [1.3, 0.8, 1.1, 0.95], 0.665)[2]), 8)
        0.41339698
    """  # noqa: E501
    spread = np.expm1(np.cumsum(log_width_factor(2, np.array(tuple(widths)[1:]))))
    with np.errstate(over="ignore"):
        return np.exp(2 * log_kernel(widths, C_W, G0)) * spread


def log_relative_cumulants(hidden: Sequence[int], m: int) -> Float[np.ndarray, " L"]:
    """Compute the logarithms of K_2m/G_2^m after 0, 1, ... hidden layers, in whole numbers.

    With N = prod n_l, the moments N^m E[(S/G_2)^m] = prod_l prod_{k<m} (n_l + 2k) are whole
    numbers, and the recursion for cumulants keeps them so: it is homogeneous in N.
    """
    moments = [1] * (m + 1)
    total = 1
    result = [_log_cumulant(moments, total, m)]
    for n in hidden:
        step = 1
        for k in range(1, m + 1):
            step *= int(n) + 2 * (k - 1)
            moments[k] *= step
        total *= int(n)
        result.append(_log_cumulant(moments, total, m))
    return np.array(result)


def _log_cumulant(moments: list[int], total: int, m: int) -> float:
    cumulant = cumulants_from_moments(moments[1:])[-1]
    if cumulant == 0:
        return -math.inf
    if m == 1:
        return 0.0
    return _log_ratio(cumulant, total**m)


def _log_ratio(numerator: int, denominator: int) -> float:
    try:
        return math.log(numerator / denominator)
    except (OverflowError, ValueError):
        # The quotient is no float; its logarithm, of size 700 or more, is.
        return math.log(numerator) - math.log(denominator)


def cumulants_from_moments(moments: Sequence) -> list:
    """Return kappa_1 .. kappa_m of moments mu_1 .. mu_m of any exact or inexact type, (1.56)."""
    kappa: list = []
    for m in range(1, len(moments) + 1):
        lower = sum(
            math.comb(m - 1, k - 1) * kappa[k - 1] * moments[m - k - 1] for k in range(1, m)
        )
        kappa.append(moments[m - 1] - lower)
    return kappa


def float_cumulants(moments: Float[np.ndarray, "*batch M"]) -> Float[np.ndarray, "*batch M"]:
    """Return the cumulants of floating-point moments along the last axis."""
    return np.stack(cumulants_from_moments(list(np.moveaxis(moments, -1, 0))), axis=-1)


def _log_biased(
    widths: tuple[int, ...],
    C_W: Float[np.ndarray, " L"],
    G0: float,
    m: int,
    C_b: Float[np.ndarray, " L"],
) -> Float[np.ndarray, "L M"]:
    """Return log G_2k for k = 0 .. m, by the recursion with biases in log space."""
    order = np.arange(m + 1)
    lower = order[:, None] - order[None, :]
    # 0 log 0 = 0 throughout: the empty product is 1 even where a variance or the signal vanishes.
    with np.errstate(divide="ignore", invalid="ignore"):
        log_C_b, log_C_W = np.log(C_b), np.log(C_W)
        binomial = np.where(
            lower >= 0,
            gammaln(order[:, None] + 1) - gammaln(order + 1) - gammaln(np.abs(lower) + 1),
            -np.inf,
        )
        layers = [np.where(order > 0, order * np.log(C_b[0] + C_W[0] * G0), 0.0)]
        for layer in range(1, len(C_W)):
            width = np.array([float(log_width_factor(k, widths[layer])) for k in range(m + 1)])
            known = np.where(order > 0, order * log_C_W[layer], 0.0) + width + layers[-1]
            bias = np.where(lower > 0, lower * log_C_b[layer], 0.0)
            layers.append(np.logaddexp.reduce(binomial + bias + known, axis=1))
    return np.array(layers)
