"""The quartic law of one variable, exactly: what first-order perturbation theory is held against.

    p(z) = exp(-z^2 / (2K) - g z^4 / 24) / Z,  g = eps V >= 0,  a = 1/(2K),  b = g/24,

    Z = (1/2) (a/b)^(1/2) exp(x) K_{1/4}(x),    x = a^2 / (8b),
    E[z^2] = (a/4b) [K_{3/4}(x) / K_{1/4}(x) - 1],

with K_nu the modified Bessel function. The book's footnote 12 of chapter 1 says that there is no
closed form; for one variable there is this one.
"""

import numpy as np
from scipy.special import kve

from finitewidth.validation import check_count


def exact_quartic_partition(K: float, g: float) -> float:
    """Compute Z / (2 pi K)^(1/2) of the quartic law of one variable.

    PDLT (1.73) to all orders.

    Args:
        K: inverse of the quadratic coupling, positive.
        g: quartic coupling eps V, not negative.

    Returns:
        The ratio, 1 - g K^2 / 8 + ..., to relative accuracy 1e-13.

    Raises:
        ValueError: if K <= 0 or g < 0.

    Example:
        >>> round(exact_quartic_partition(1.0, 1e-6), 9)
        0.999999875
    """
    a, b = _coefficients(K, g)
    if b == 0 or not np.isfinite(a**2 / (8 * b)):
        return 1.0
    x = a**2 / (8 * b)
    # Z/(2 pi K)^(1/2) = (2x/pi)^(1/2) exp(x) K_{1/4}(x)
    return float(np.sqrt(2 * x / np.pi) * kve(0.25, x))


def exact_quartic_moments(K: float, g: float, order: int) -> np.ndarray:
    """Compute E[z^2], E[z^4], ..., of the quartic law of one variable.

    E[z^2] by Bessel functions, the rest by integration by parts:
    4b E[z^{2m+4}] = (2m+1) E[z^{2m}] - 2a E[z^{2m+2}].

    Args:
        K: inverse of the quadratic coupling, positive.
        g: quartic coupling eps V, positive.
        order: M, the highest moment is z^{2M}.

    Returns:
        E[z^2], ..., E[z^{2M}], shape (M,). The subtractions cost digits at weak coupling: the
        relative error of E[z^{2m}] is at most about 1e-15 (3 / (g K^2))^m.

    Raises:
        ValueError: if K <= 0, g <= 0 or the order is not positive.

    Example:
        >>> exact_quartic_moments(1.0, 0.24, 2).round(6)
        array([0.906537, 2.336582])
    """
    order = check_count(order, "order")
    a, b = _coefficients(K, g)
    if b == 0:
        raise ValueError(f"g: wanted a positive coupling, got {g}.")
    x = a**2 / (8 * b)
    moments = [1.0, a / (4 * b) * (kve(0.75, x) / kve(0.25, x) - 1)]
    for m in range(order - 1):
        moments.append(((2 * m + 1) * moments[m] - 2 * a * moments[m + 1]) / (4 * b))
    return np.array(moments[1 : order + 1])


def _coefficients(K: float, g: float) -> tuple[float, float]:
    if not (np.isfinite(K) and K > 0):
        raise ValueError(f"K: wanted a positive number, got {K}.")
    if not (np.isfinite(g) and g >= 0):
        raise ValueError(
            f"g: wanted a coupling >= 0, otherwise the law cannot be normalized, got {g}."
        )
    return 1 / (2 * K), g / 24
