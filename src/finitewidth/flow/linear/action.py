r"""Couplings of the action of d output neurons, and how they run with depth.

The negative log density of d neurons on one input starts with

    S(z) = (g/2) z.z - (v/8) (z.z)^2 + ...

(the quartic coupling of PDLT (1.71) is -v times the three pairings), and exactly

    g = (1/G_2) prod_{l<L} n_l/(n_l - d - 2)
    v = g^2 [prod_{l<L} (n_l - d - 2)/(n_l - d - 4) - 1].

To first order in s_1 = sum 1/n_l, g = [1 + (d+2) s_1]/G_2 and v = 2 s_1/G_2^2 = K_4/G_2^4, which is
what PDLT (1.74) and (1.78) give. v > 0 grows with depth: the quartic coupling has the sign that
cannot be truncated to a normalizable density, and g depends on how many neurons are looked at.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import ArrayLike, Float

from finitewidth.flow.linear.double_scaling import depth_over_width
from finitewidth.flow.linear.kernel import check_network, log_kernel
from finitewidth.validation import check_count


class Couplings(NamedTuple):
    """Couplings of S = (g/2) z.z - (v/8) (z.z)^2 + ... in layers 1 to L.

    Attributes:
        g: quadratic coupling, shape (L,).
        v: quartic coupling, shape (L,); 0 at layer 1.
    """

    g: Float[np.ndarray, " L"]
    v: Float[np.ndarray, " L"]


def couplings(widths: Sequence[int], C_W: ArrayLike, G0: float, outputs: int = 1) -> Couplings:
    """Compute the exact couplings of the action of d neurons of every layer.

    Args:
        widths: (n_0, n_1, ..., n_L).
        C_W: rescaled weight variances, one number or shape (L,).
        G0: |x|^2/n_0 of the input.
        outputs: d, how many neurons of the layer are looked at together.

    Returns:
        g and v of layers 1 to L. A coupling does not exist, and is NaN, from the layer on where
        the density has no such derivative at z = 0: a hidden width below is at most d + 2 for g,
        d + 4 for v.

    Raises:
        ValueError: if an argument is not what is wanted.

    Example:
        >>> g, v = couplings((1, 30, 40, 50, 3), 1.0, 1.0, outputs=3)
        >>> round(float(g[-1]), 9), round(float(v[-1]), 8)
        (1.523809524, 0.47938246)
    """
    checked, C_W = check_network(widths, C_W)
    d = check_count(outputs, "outputs")
    n = np.array(checked[1:-1], dtype=float)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        quadratic = np.where(n > d + 2, np.log1p((d + 2) / (n - d - 2)), np.nan)
        quartic = np.where(n > d + 4, np.log1p(2 / (n - d - 4)), np.nan)
        g = np.exp(_below(quadratic) - log_kernel(checked, C_W, G0))
        return Couplings(g, g**2 * np.expm1(_below(quartic)))


def leading_couplings(
    widths: Sequence[int], C_W: ArrayLike, G0: float, outputs: int = 1
) -> Couplings:
    """Compute the couplings to first order in depth over width, by PDLT (1.74), (1.78).

    Args:
        widths: (n_0, n_1, ..., n_L).
        C_W: rescaled weight variances, one number or shape (L,).
        G0: |x|^2/n_0 of the input.
        outputs: d, how many neurons of the layer are looked at together.

    Returns:
        g = [1 + (d+2) s_1]/G_2 and v = 2 s_1/G_2^2 of layers 1 to L.

    Raises:
        ValueError: if an argument is not what is wanted.

    Accuracy: first order in (d + 2) s_1, so for d much smaller than the width only.

    Example:
        >>> g, v = leading_couplings((1, 100, 100, 1), 1.0, 1.0)
        >>> round(float(g[-1]), 6), round(float(v[-1]), 6)
        (1.06, 0.04)
    """
    d = check_count(outputs, "outputs")
    s_1 = depth_over_width(widths)
    with np.errstate(over="ignore"):
        inverse = np.exp(-log_kernel(widths, C_W, G0))
        return Couplings((1 + (d + 2) * s_1) * inverse, 2 * s_1 * inverse**2)


def _below(step: Float[np.ndarray, " H"]) -> Float[np.ndarray, " L"]:
    return np.concatenate([[0.0], np.cumsum(step)])
