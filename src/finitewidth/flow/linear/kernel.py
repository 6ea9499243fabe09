r"""The two-point function of a deep linear network, exact at every width.

    z^(L) = W^(L) ... W^(1) x                                              PDLT (3.1), (3.3)
    E[z_i;a z_j;b] = delta_ij G_ab,   G^(l+1) = C_W^(l+1) G^(l)            PDLT (3.9), (3.14)
    G^(0)_ab = x_a . x_b / n_0

so that G^(l) = C_W^(1) ... C_W^(l) G^(0). It has no correction in 1/n at any order. C_W = 1 is the
critical point; otherwise G changes by a factor e within xi = 1/|log C_W| layers.

Everything in this package is a function of the widths (n_0, ..., n_L), the weight variances C_W and
G^(0): for one input a number, for several inputs the Gram matrix. There are no biases unless a C_b
is asked for.
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import ArrayLike, Float

from finitewidth.precision import in_double_precision
from finitewidth.validation import check_per_layer, check_widths


def kernel(
    widths: Sequence[int], C_W: ArrayLike, G0: ArrayLike
) -> Float[np.ndarray, "L"] | Float[np.ndarray, "L N N"]:
    """Compute the two-point function of every layer, for one input or several.

    PDLT (3.14): G^(l) = C_W^(1) ... C_W^(l) G^(0), exact at any width.

    Args:
        widths: (n_0, n_1, ..., n_L).
        C_W: rescaled weight variances, one number or shape (L,).
        G0: |x|^2/n_0, a number, or the Gram matrix x x^T/n_0, shape (N, N).

    Returns:
        G^(1), ..., G^(L), shape (L,) or (L, N, N).

    Raises:
        ValueError: if the widths, the variances or G0 are not what is wanted.

    Example:
        >>> kernel((3, 5, 5, 1), 0.5, 4.0).tolist()
        [2.0, 1.0, 0.5]
    """
    widths, C_W = check_network(widths, C_W)
    gain = np.cumprod(C_W)
    if np.ndim(G0) == 0:
        return gain * check_one_input(G0)
    return gain[:, None, None] * check_gram(G0)


def log_kernel(widths: Sequence[int], C_W: ArrayLike, G0: float) -> Float[np.ndarray, " L"]:
    """Compute log G^(l) of one input, which does not overflow at any depth.

    Args:
        widths: (n_0, n_1, ..., n_L).
        C_W: rescaled weight variances, one number or shape (L,).
        G0: |x|^2/n_0.

    Returns:
        The logarithms, shape (L,); minus infinity where the signal is zero.

    Raises:
        ValueError: if the widths, the variances or G0 are not what is wanted.

    Example:
        >>> round(float(log_kernel((3,) + (5,) * 1000, 3.0, 1.0)[-1]), 6)
        1098.612289
    """
    widths, C_W = check_network(widths, C_W)
    with np.errstate(divide="ignore"):
        return np.log(check_one_input(G0)) + np.cumsum(np.log(C_W))


def decay_length(C_W: float) -> float:
    """Compute xi = 1/|log C_W|, the number of layers in which G changes by a factor e.

    PDLT section 3.2: G^(l) = e^(-l/xi) G^(0) for C_W < 1 and e^(l/xi) G^(0) for C_W > 1.

    Args:
        C_W: rescaled weight variance.

    Returns:
        The length; infinity at criticality, C_W = 1, and zero for C_W = 0.

    Raises:
        ValueError: if C_W is not a number >= 0.

    Example:
        >>> decay_length(1.0), round(decay_length(1.01), 3)
        (inf, 100.499)
    """
    if not C_W >= 0 or math.isinf(C_W):
        raise ValueError(f"C_W: wanted a finite number >= 0, got {C_W!r}.")
    if C_W == 0:
        return 0.0
    return math.inf if C_W == 1 else 1 / abs(math.log(C_W))


def check_network(
    widths: Sequence[int], C_W: ArrayLike
) -> tuple[tuple[int, ...], Float[np.ndarray, " L"]]:
    """Return widths and one C_W per layer, or say what is wrong with them."""
    checked = check_widths(widths)
    return checked, check_variances(C_W, checked, "C_W")


@in_double_precision
def check_variances(
    value: ArrayLike, widths: tuple[int, ...], name: str
) -> Float[np.ndarray, " L"]:
    """Return a variance of every layer, or say what is wrong with it."""
    return np.asarray(check_per_layer(value, len(widths) - 1, name))


def check_one_input(G0: ArrayLike) -> float:
    """Return G0 of one input as a number >= 0, or say what is wrong with it."""
    if np.ndim(G0) != 0:
        raise ValueError(
            f"G0: wanted a number, |x|^2/n_0 of one input, got an array of shape {np.shape(G0)}."
        )
    value = float(np.asarray(G0))
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"G0: wanted a finite number >= 0, |x|^2/n_0 of the input, got {value}.")
    return value


def check_gram(G0: ArrayLike) -> Float[np.ndarray, "N N"]:
    """Return G0 of several inputs as a symmetric matrix, or say what is wrong with it."""
    matrix = np.asarray(G0, dtype=float)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.size == 0:
        raise ValueError(f"G0: wanted a Gram matrix x x^T/n_0 (N, N), got shape {matrix.shape}.")
    if not np.isfinite(matrix).all():
        raise ValueError("G0: wanted finite numbers, got NaN or infinity.")
    scale = np.abs(matrix).max()
    if np.abs(matrix - matrix.T).max() > 1e-12 * scale:
        raise ValueError("G0: wanted a symmetric Gram matrix x x^T/n_0, got one that is not.")
    if np.linalg.eigvalsh(matrix)[0] < -1e-10 * scale:
        raise ValueError(
            "G0: wanted a Gram matrix x x^T/n_0 without negative eigenvalues, "
            f"got {np.linalg.eigvalsh(matrix)[0]:.3g}."
        )
    return matrix


def check_order(m: int, least: int = 1) -> int:
    """Return m, half the number of points of a correlator, or say what is wrong with it."""
    if isinstance(m, bool) or not isinstance(m, int | np.integer):
        raise TypeError(f"m: wanted a whole number, half the number of points, got {m!r}.")
    if m < least:
        raise ValueError(f"m: wanted at least {least} (a correlator of 2m points), got {m}.")
    return int(m)
