r"""Angles between the preactivations of two inputs, and their error bars.

$$\cos\psi = \frac{G_{ab}}{\sqrt{G_{aa}G_{bb}}},\qquad
d\cos\psi = \cos\psi\Big[\frac{dG_{ab}}{G_{ab}} - \frac{dG_{aa}}{2G_{aa}} -
\frac{dG_{bb}}{2G_{bb}}\Big],$$

PDLT (5.146). The mean over M networks has
$\mathrm{Cov}(G_{12}, G_{34}) = V_{(12)(34)}/(n_{\ell-1}M)$, so the measured vertex carries the
correlations between the three entries that the error bar needs.
"""

import numpy as np
from jaxtyping import Float

from finitewidth.flow.angles import angle_between, cosine
from finitewidth.report.analysis import Analysis


def angle_in_degrees(metric: Float[np.ndarray, "L N N"], a: int, b: int) -> Float[np.ndarray, " L"]:
    """Return the angle between two inputs at every layer, in degrees.

    Example:
        >>> angle_in_degrees(np.array([[[1.0, 0.5], [0.5, 1.0]]]), 0, 1).round(6)
        array([60.])
    """
    return np.degrees(np.asarray(angle_between(metric, a, b)))


def measured_angle(
    run: Analysis, a: int, b: int
) -> tuple[Float[np.ndarray, " L"], Float[np.ndarray, " L"]]:
    """Return the measured angle and its standard error at every layer, in degrees."""
    metric = run.at_width["metric"]
    G = metric.value
    variance = run.at_width["vertex"].value / (
        np.asarray(run.flow.fan_in)[:, None, None, None, None] * metric.samples
    )
    c = np.asarray(cosine(G, a, b))
    norm = np.sqrt(G[:, a, a] * G[:, b, b])
    entries = ((a, b), (a, a), (b, b))
    slopes = (1.0 / norm, -c / (2 * G[:, a, a]), -c / (2 * G[:, b, b]))
    squared = sum(
        s * t * variance[:, *p, *q]
        for p, s in zip(entries, slopes, strict=True)
        for q, t in zip(entries, slopes, strict=True)
    )
    # Parallel inputs stay parallel in every network: no error bar, and no division by zero.
    sine = np.sqrt(1 - c**2)
    error = np.sqrt(np.maximum(squared, 0.0)) / np.where(sine > 1e-6, sine, np.inf)
    return angle_in_degrees(G, a, b), np.degrees(error)
