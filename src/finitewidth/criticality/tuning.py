"""Where a network can be critical: chi_parallel(K*) = chi_perp(K*) = 1.

    r(K*) = <sigma'^2>/g'(K*) = 1                                              PDLT (5.73)
    C_W = 1/<sigma'^2>,   C_b = K* - g/<sigma'^2>,   C_b >= 0                  PDLT (5.71), (5.72)

r tends to 1 at K = 0 whenever sigma(0) sigma''(0) = 0, and approaches it there like a power of K:
that candidate is decided from the expansion at small K and needs sigma(0) = 0, because C_b tends
to -(sigma(0)/sigma'(0))^2 (PDLT section 5.3.2). A homogeneous sigma has r = p/(2p - 1), PDLT
(5.78), so p = 1, the scale-invariant class, is critical at every K.
"""

from collections.abc import Callable
from functools import lru_cache

import equinox as eqx
import numpy as np

from finitewidth.activations import Activation
from finitewidth.criticality.fixed_points import FixedPoint
from finitewidth.criticality.moments import described, jumps, origin_limits, slopes
from finitewidth.criticality.roots import (
    SEARCH_RANGE,
    Features,
    combination,
    features_at,
    roots,
    search_grid,
)
from finitewidth.criticality.small_kernel import small_kernel
from finitewidth.precision import in_double_precision


class Tuning(eqx.Module):
    """All critical points of an activation and the candidates that fail.

    Attributes:
        points: the critical points, the recommended one first.
        recommended: whether the first of them should be used.
        reasons: in words, why candidates were rejected or why there are none.
    """

    points: tuple[FixedPoint, ...]
    recommended: bool
    reasons: tuple[str, ...]


@in_double_precision
def critical_tuning(activation: str | Activation | Callable) -> Tuning:
    """Find every (K*, C_b, C_W) at which both susceptibilities are 1.

    PDLT (5.55), (5.71)-(5.73).

    Args:
        activation: name, `Activation` or elementwise JAX function.

    Returns:
        The critical points (K* to 1e-9 or better, roots searched for 1e-10 < K* < 1000), the
        recommended one first: scale-invariant, else K* = 0 if it attracts, else the half-stable
        point with the slowest drift.

    Example:
        >>> [point.stability for point in critical_tuning("gelu").points]
        ['half-stable', 'unstable']
    """
    return _tuning(described(activation))


@in_double_precision
def critical_initialization(activation: str | Activation | Callable) -> tuple[float, float]:
    """Return (C_b, C_W) that make deep networks with this activation critical.

    PDLT (5.55): chi_parallel(K*) = chi_perp(K*) = 1.

    Args:
        activation: name, `Activation` or elementwise JAX function.

    Returns:
        C_b and C_W of the recommended critical point.

    Raises:
        ValueError: if there is no critical point, or only an unstable one; it says why.

    Example:
        >>> critical_initialization("relu")
        (0.0, 2.0)
    """
    sigma = described(activation)
    tuning = _tuning(sigma)
    if not tuning.recommended:
        raise ValueError(
            f"activation: wanted one that can be critical, got {sigma.name}: "
            + " ".join(tuning.reasons)
            + " Choose C_b and C_W yourself; finitewidth.criticality.analyze has advice."
        )
    return tuning.points[0].C_b, tuning.points[0].C_W


@lru_cache(maxsize=128)
@in_double_precision
def _tuning(sigma: Activation) -> Tuning:
    if jumps(sigma):
        return Tuning((), False, ("It jumps, so <sigma'^2> and with it chi_perp is infinite.",))
    if sigma.homogeneity is not None:
        return _homogeneous(sigma)
    points, reasons = _at_small_kernel(sigma)
    half_stable: list[tuple[float, FixedPoint]] = []
    for K in roots(sigma, combination(slope=1.0, rate=-1.0)):
        point = _at_root(sigma, K)
        if point.C_b >= 0:
            half_stable.append((_drift(sigma, K, point.C_W), point))
        else:
            reasons.append(
                f"The critical point at K* = {K:.6g} would need C_b = {point.C_b:.6g} < 0."
            )
    slowest_first = [point for _, point in sorted(half_stable, key=lambda pair: pair[0])]
    stable = [point for point in points if point.stability != "unstable"]
    unstable = [point for point in points if point.stability == "unstable"]
    if not (points or half_stable or reasons):
        reasons.append(_never(sigma))
    return Tuning((*stable, *slowest_first, *unstable), bool(stable or half_stable), tuple(reasons))


def _homogeneous(sigma: Activation) -> Tuning:
    power = sigma.homogeneity or 0
    plus, minus = slopes(sigma)
    if plus == minus == 0 or power == 0:
        return Tuning((), False, ("It is constant: nothing passes through it.",))
    if power != 1:
        r = power / (2 * power - 1)
        reason = (
            f"<sigma'^2>/g'(K) = p/(2p - 1) = {r:.6g} at every K for p = {power}, never 1: "
            "norms and angles cannot both be preserved."
        )
        return Tuning((), False, (reason,))
    C_W = 2 / (plus**2 + minus**2)
    return Tuning(
        (FixedPoint(None, 0.0, C_W, 1.0, 1.0, "marginal", "neither", "every K"),), True, ()
    )


def _at_small_kernel(sigma: Activation) -> tuple[list[FixedPoint], list[str]]:
    origin = origin_limits(sigma)
    if origin.value != 0:
        if origin.slope > 0 and abs(origin.rate - origin.slope) <= 1e-10 * origin.slope:
            C_b = -origin.value / origin.slope
            return [], [
                "<sigma'^2>/g'(K) tends to 1 as K -> 0, but that point would need "
                f"C_b = -(sigma(0)/sigma'(0))^2 = {C_b:.6g} < 0."
            ]
        return [], []
    expansion = small_kernel(sigma)
    if expansion is None:
        return [], []
    stability, side = ("stable", "both") if expansion.c > 0 else ("unstable", "neither")
    if expansion.c == 0:
        stability, side = "marginal", "neither"
    point = FixedPoint(0.0, 0.0, expansion.C_W, 1.0, 1.0, stability, side, "critical")
    if expansion.c >= 0:
        return [point], []
    growth = (
        f"a_1 = {expansion.a_1:.6g} > 0"
        if expansion.a_1
        else f"K grows like K + {-expansion.c:.6g} K^{1 + expansion.q:g}"
    )
    return [point], [
        f"The critical point at K* = 0 (C_b = 0, C_W = {expansion.C_W:.6g}) is unstable: {growth}."
    ]


def _at_root(sigma: Activation, K: float) -> FixedPoint:
    x = features_at(sigma, K)
    C_b = K * (1 - x.value / x.slope)
    # At a root with C_b = 0 up to rounding, zero is what is meant.
    C_b = 0.0 if abs(C_b) <= 1e-13 * K else C_b
    side = "below" if x.curvature > 0 else "above"
    return FixedPoint(K, C_b, 1 / x.slope, 1.0, 1.0, "half-stable", side, "critical")


def _never(sigma: Activation) -> str:
    _, x = search_grid(sigma)
    grid = Features(*x)
    positive = grid.rate > 1e-7 * np.maximum(grid.value, grid.slope)
    ratio = grid.slope[positive] / grid.rate[positive]
    between = f"between K = {SEARCH_RANGE[0]:g} and {SEARCH_RANGE[1]:g}"
    if not ratio.size:
        return f"g'(K) = d<sigma^2>/dK is nowhere positive {between}: chi_parallel < 0."
    extreme = (
        f"it stays above {ratio.min():.6g}"
        if ratio.min() > 1
        else f"it stays below {ratio.max():.6g}"
    )
    return f"<sigma'^2>/g'(K) never reaches 1 {between} ({extreme}): no K* has both chi = 1."


def _drift(sigma: Activation, K: float, C_W: float) -> float:
    # 2 |a~_1| K*: how fast a kernel that is off by its own size moves.
    return C_W * abs(features_at(sigma, K).curvature)
