r"""The logarithm of the signal: light tails, and what a typical network does.

    log S^(l) = log G_2^(l) + sum_{k<l} log(chi^2_{n_k}/n_k)
    E log S = log G_2 + sum_k [psi(n_k/2) - log(n_k/2)],   kappa_j(log S) = sum_k psi^(j-1)(n_k/2)

with psi the digamma function. For many layers log S becomes Gaussian with mean -r and variance 2r,
r = L/n, and the moments of that log-normal are PDLT (3.55). The mean signal is kept at C_W = 1, but
it is made by rare networks: the typical one shrinks, by the Lyapunov exponent

    lambda = (1/2) [log C_W + psi(n/2) - log(n/2)]

per layer for |z|, and is kept at C_W = (n/2) e^(-psi(n/2)) = 1 + 1/n + O(1/n^2).
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import ArrayLike, Float
from scipy import stats
from scipy.special import digamma, polygamma

from finitewidth.flow.linear.kernel import check_network, log_kernel
from finitewidth.validation import check_count


def log_cumulant(
    widths: Sequence[int], C_W: ArrayLike, G0: float, order: int
) -> Float[np.ndarray, " L"]:
    """Compute a cumulant of log S in every layer, S the variance given the layer below.

    Order 1 is log G_2 + sum [psi(n/2) - log(n/2)], order j sum psi^(j-1)(n/2), over the hidden
    layers below; behind PDLT (3.55).

    Args:
        widths: (n_0, n_1, ..., n_L).
        C_W: rescaled weight variances, one number or shape (L,).
        G0: |x|^2/n_0 of the input.
        order: 1 for the mean, 2 for the variance, ...

    Returns:
        The cumulant in layers 1 to L, shape (L,).

    Raises:
        ValueError: if an argument is not what is wanted.

    Example:
        >>> widths = (1,) + (10,) * 10 + (1,)
        >>> [round(float(log_cumulant(widths, 1.0, 1.0, k)[-1]), 4) for k in (1, 2)]
        [-1.0332, 2.2132]
    """
    checked, C_W = check_network(widths, C_W)
    order = check_count(order, "order")
    half = np.array(checked[1:-1], dtype=float) / 2
    step = log_chi_square_mean(2 * half) if order == 1 else polygamma(order - 1, half)
    total = np.concatenate([[0.0], np.cumsum(step)])
    return total + log_kernel(checked, C_W, G0) if order == 1 else total


def lyapunov_exponent(n: int, C_W: float = 1.0) -> float:
    """Compute the rate per layer at which log|z| of almost every network grows.

    (1/2) [log C_W + psi(n/2) - log(n/2)], near -1/(2n) at C_W = 1.

    Args:
        n: width of the layers.
        C_W: rescaled weight variance.

    Returns:
        The exponent; minus infinity for C_W = 0.

    Raises:
        ValueError: if an argument is not what is wanted.

    Example:
        >>> round(lyapunov_exponent(100), 6)
        -0.005017
    """
    n = check_count(n, "n")
    if not (math.isfinite(C_W) and C_W >= 0):
        raise ValueError(f"C_W: wanted a finite number >= 0, got {C_W!r}.")
    if C_W == 0:
        return -math.inf
    return (math.log(C_W) + float(log_chi_square_mean(np.array(float(n))))) / 2


def typical_critical_C_W(n: int) -> float:
    """Compute the C_W at which the typical network keeps its signal, (n/2) e^(-psi(n/2)).

    Args:
        n: width of the layers.

    Returns:
        The variance, 1 + 1/n + O(1/n^2); the mean over networks then grows like
        (1 + 1/n)^L.

    Raises:
        ValueError: if the width is not positive.

    Example:
        >>> round(typical_critical_C_W(1000), 6)
        1.001001
    """
    return math.exp(-float(log_chi_square_mean(np.array(float(check_count(n, "n"))))))


def lognormal(widths: Sequence[int], C_W: ArrayLike, G0: float):
    """Approximate the law of S of the output by the log-normal with the exact mean and variance.

    Args:
        widths: (n_0, n_1, ..., n_L), with a hidden layer.
        C_W: rescaled weight variances, one number or shape (L,).
        G0: |x|^2/n_0 of the input.

    Returns:
        A frozen `scipy.stats.lognorm`.

    Raises:
        ValueError: if there is no hidden layer or an argument is not what is wanted.

    Accuracy: the largest error of the distribution function is 0.01 at n = 10 and 0.007 at n = 20,
    with ten hidden layers; the exact law is `metric_law`.

    Example:
        >>> round(float(lognormal((1,) + (20,) * 10 + (1,), 1.0, 1.0).sf(1.0)), 4)
        0.3101
    """
    mean = float(log_cumulant(widths, C_W, G0, 1)[-1])
    variance = float(log_cumulant(widths, C_W, G0, 2)[-1])
    if variance == 0 or math.isinf(mean):
        raise ValueError(
            "widths, C_W, G0: wanted a hidden layer and a signal that is not zero, "
            f"got widths {tuple(widths)} and E log S = {mean}."
        )
    return stats.lognorm(s=math.sqrt(variance), scale=math.exp(mean))


def log_chi_square_mean(n: Float[np.ndarray, "*batch"]) -> Float[np.ndarray, "*batch"]:
    """Return E log(chi^2_n/n) = psi(n/2) - log(n/2), with all digits at large n."""
    half = n / 2
    # Beyond this the terms left out of the series are below 1e-16 of the first.
    inverse = 1 / np.maximum(half, 1e3)
    series = -inverse / 2 - inverse**2 / 12 + inverse**4 / 120
    return np.where(half > 1e3, series, digamma(half) - np.log(half))
