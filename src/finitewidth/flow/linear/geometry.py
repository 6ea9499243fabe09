r"""Volumes and angles between inputs, and the size of the end-to-end matrix.

With Gram^(l) = (1/n_l) sum_j z_j z_j^T the Gram matrix of k inputs in layer l, Bartlett's
decomposition of a Wishart matrix gives, exactly,

    E det Gram^(l)     = det G^(l) prod_{k'<=l} prod_{j<k} (1 - j/n_k')
    E log det Gram^(l) = log det G^(l) + sum_{k'<=l} sum_{j<k} [psi((n_k'-j)/2) - log(n_k'/2)]
    E log sin^2 theta^(l) = log sin^2 theta^(0) + sum_{k'<=l} [psi((n_k'-1)/2) - psi(n_k'/2)]

for the angle theta between two inputs: at finite width they become collinear at the rate l/n,
though the mean Gram matrix (PDLT (3.14)) is kept at C_W = 1. The product W = W^(L) ... W^(1) has

    E |W|_F^2 = n_L prod C_W
    E |W|_F^4 = (n_L^2/3) (prod C_W)^2 [prod_{l=0}^L (1 + 2/n_l) + 2 prod_{l=0}^L (1 - 1/n_l)].

Widths of all layers enter, that of layer l included.
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import ArrayLike, Float
from scipy.special import digamma

from finitewidth.flow.linear.kernel import check_gram, check_network


def log_mean_determinant(
    widths: Sequence[int], C_W: ArrayLike, G0: ArrayLike
) -> Float[np.ndarray, " L"]:
    """Compute log E det of the Gram matrix of k inputs in every layer.

    Args:
        widths: (n_0, n_1, ..., n_L).
        C_W: rescaled weight variances, one number or shape (L,).
        G0: Gram matrix x x^T/n_0, shape (k, k).

    Returns:
        The logarithms, shape (L,); minus infinity if the inputs are dependent or from the layer on
        that is narrower than k.

    Raises:
        ValueError: if an argument is not what is wanted.

    Example:
        >>> value = log_mean_determinant((2, 10, 10), 1.0, [[1.0, 0.0], [0.0, 1.0]])
        >>> value.round(6).tolist()  # (1 - 1/n) a layer
        [-0.105361, -0.210721]
    """
    n, log_det = _determinant(widths, C_W, G0)
    j = np.arange(np.shape(G0)[0])
    with np.errstate(divide="ignore"):
        step = np.log1p(-np.minimum(j / n[:, None], 1.0)).sum(axis=1)
    return log_det + np.cumsum(step)


def mean_log_determinant(
    widths: Sequence[int], C_W: ArrayLike, G0: ArrayLike
) -> Float[np.ndarray, " L"]:
    """Compute E log det of the Gram matrix of k inputs in every layer.

    Args, Raises: those of `log_mean_determinant`.

    Returns:
        The means, shape (L,); minus infinity if the inputs are dependent or from the layer on that
        is narrower than k.

    Example:
        >>> value = mean_log_determinant((2, 10, 10), 1.0, [[1.0, 0.0], [0.0, 1.0]])
        >>> value.round(6).tolist()
        [-0.323887, -0.647774]
    """
    n, log_det = _determinant(widths, C_W, G0)
    j = np.arange(np.shape(G0)[0])
    left = n[:, None] - j
    with np.errstate(invalid="ignore"):
        psi = np.where(left > 0, digamma(np.maximum(left, 0.5) / 2), -np.inf)
    return log_det + np.cumsum((psi - np.log(n[:, None] / 2)).sum(axis=1))


def mean_log_sin2(widths: Sequence[int], G0: ArrayLike) -> Float[np.ndarray, " L"]:
    """Compute E log sin^2 of the angle between two inputs in every layer.

    It falls by psi(n/2) - psi((n-1)/2), near 1/n, per layer, whatever C_W.

    Args:
        widths: (n_0, n_1, ..., n_L).
        G0: Gram matrix of the two inputs, shape (2, 2).

    Returns:
        The means, shape (L,); minus infinity if the inputs are collinear or from a layer of width
        1 on.

    Raises:
        ValueError: if an argument is not what is wanted or an input is zero.

    Example:
        >>> mean_log_sin2((2, 10, 10), [[1.0, 0.0], [0.0, 1.0]]).round(6).tolist()
        [-0.117247, -0.234493]
    """
    checked, _ = check_network(widths, 1.0)
    gram = check_gram(G0)
    if gram.shape != (2, 2):
        raise ValueError(f"G0: wanted the Gram matrix of two inputs (2, 2), got {gram.shape}.")
    if not np.diagonal(gram).all():
        raise ValueError(
            "G0: wanted two inputs that are not zero, between which there is an angle."
        )
    n = np.array(checked[1:], dtype=float)
    with np.errstate(divide="ignore"):
        psi = np.where(n > 1, digamma(np.maximum(n - 1, 0.5) / 2), -np.inf)
    start = _log_det(gram) - math.log(gram[0, 0]) - math.log(gram[1, 1])
    return start + np.cumsum(psi - digamma(n / 2))


def frobenius_moments(widths: Sequence[int], C_W: ArrayLike) -> tuple[float, float]:
    """Compute E |W|_F^2 and E |W|_F^4 of the end-to-end matrix W = W^(L) ... W^(1).

    Args:
        widths: (n_0, n_1, ..., n_L).
        C_W: rescaled weight variances, one number or shape (L,).

    Returns:
        The two moments.

    Raises:
        ValueError: if an argument is not what is wanted.

    Example:
        >>> second, fourth = frobenius_moments((3, 6, 5, 4), 1.0)
        >>> second, round(fourth, 6)
        (4.0, 28.444444)
    """
    checked, C_W = check_network(widths, C_W)
    n = np.array(checked, dtype=float)
    second = checked[-1] * float(np.prod(C_W))
    with np.errstate(divide="ignore", over="ignore"):
        grow, shrink = np.exp(np.log1p(2 / n).sum()), np.exp(np.log1p(-1 / n).sum())
        return second, float(second**2 * (grow + 2 * shrink) / 3)


def _determinant(
    widths: Sequence[int], C_W: ArrayLike, G0: ArrayLike
) -> tuple[Float[np.ndarray, " L"], Float[np.ndarray, " L"]]:
    checked, C_W = check_network(widths, C_W)
    gram = check_gram(G0)
    with np.errstate(divide="ignore"):
        gain = np.cumsum(np.log(C_W))
    return np.array(checked[1:], dtype=float), len(gram) * gain + _log_det(gram)


def _log_det(gram: Float[np.ndarray, "N N"]) -> float:
    eigenvalues = np.linalg.eigvalsh(gram)
    # Dependent inputs leave an eigenvalue of the size of the rounding.
    if eigenvalues[0] <= 4 * len(gram) * np.finfo(float).eps * eigenvalues[-1]:
        return -math.inf
    return float(np.log(eigenvalues).sum())
