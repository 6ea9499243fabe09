"""All fixed points of the kernel at given hyperparameters, with stability and correlation depths.

    K* = C_b + C_W g(K*)                                                       PDLT (5.7)
    xi_parallel = -1/ln chi_parallel(K*),   xi_perp = -1/ln chi_perp(K*)       PDLT (5.9), (5.48)

A root can be missed between two grid points only if the map turns twice there. So the zeros of
g'' are found first, then the extrema of K' - K between them, then the fixed points between those.
K* = 0 and K* = infinity are decided from limits, not by a root finder.
"""

import math
from collections.abc import Callable
from functools import lru_cache

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from finitewidth.activations import Activation
from finitewidth.criticality.moments import OneInput, described, jumps, origin_limits
from finitewidth.criticality.roots import (
    SEARCH_RANGE,
    combination,
    combined_signs,
    features_at,
    roots,
)
from finitewidth.criticality.susceptibilities import check_variance
from finitewidth.precision import in_double_precision

#: A susceptibility this close to 1 is 1.
MARGINAL = 1e-12
#: Beyond the grid that serves everything else; visited only if K' > K at its end.
FAR_KERNELS = tuple(float(K) for K in np.geomspace(SEARCH_RANGE[1], 1e6, 29)[1:])


class FixedPoint(eqx.Module):
    """A fixed point of the kernel.

    Attributes:
        K_star: the kernel; 0 and infinity are possible; None if every kernel is a fixed point.
        C_b: bias variance.
        C_W: rescaled weight variance.
        chi_parallel: susceptibility of norms at K*.
        chi_perp: susceptibility of angles at K*.
        stability: "stable", "unstable", "half-stable" or "marginal".
        attracts_from: "both", "above", "below" or "neither" side.
        kind: "critical" (both susceptibilities are 1), "trivial" (any other), "every K"
            (critical and scale-invariant) or "infinite".
    """

    K_star: float | None
    C_b: float
    C_W: float
    chi_parallel: float
    chi_perp: float
    stability: str
    attracts_from: str
    kind: str

    @property
    def xi_parallel(self) -> float:
        """The number of layers in which a difference of norms changes by a factor e."""
        return correlation_depth(self.chi_parallel)

    @property
    def xi_perp(self) -> float:
        """The number of layers in which a small angle squared changes by a factor e."""
        return correlation_depth(self.chi_perp)

    def to_dict(self) -> dict:
        """Return plain numbers and strings; what JSON has no number for becomes a string."""
        return {
            "K_star": "any" if self.K_star is None else _plain(self.K_star),
            "C_b": self.C_b,
            "C_W": self.C_W,
            "chi_parallel": _plain(self.chi_parallel),
            "chi_perp": _plain(self.chi_perp),
            "xi_parallel": _plain(self.xi_parallel),
            "xi_perp": _plain(self.xi_perp),
            "stability": self.stability,
            "attracts_from": self.attracts_from,
            "kind": self.kind,
        }

    def __repr__(self) -> str:
        where = "any" if self.K_star is None else f"{self.K_star:.9g}"
        side = f" from {self.attracts_from}" if self.stability == "half-stable" else ""
        return (
            f"K* = {where} at C_b = {self.C_b:.9g}, C_W = {self.C_W:.9g}: {self.kind}, "
            f"{self.stability}{side}, chi_parallel = {self.chi_parallel:.9g}, "
            f"chi_perp = {self.chi_perp:.9g}"
        )


def correlation_depth(chi: float) -> float:
    """Return xi = -1/ln |chi|: positive if perturbations decay, negative if they grow.

    From PDLT (5.9): delta K^(l) ~ chi^l = exp(-l/xi).

    Args:
        chi: a susceptibility.

    Returns:
        The depth in layers; infinite at |chi| = 1.

    Example:
        >>> round(correlation_depth(0.5), 6)
        1.442695
    """
    chi = abs(chi)
    if math.isnan(chi):
        return math.nan
    if chi == 0 or math.isinf(chi):
        return 0.0
    return math.inf if abs(chi - 1) <= MARGINAL else -1 / math.log(chi)


@in_double_precision
def fixed_points(
    activation: str | Activation | Callable, C_b: float = 0.0, C_W: float = 1.0
) -> tuple[FixedPoint, ...]:
    """Find all fixed points K* = C_b + C_W g(K*), PDLT (5.7), in ascending order.

    Args:
        activation: name, `Activation` or elementwise JAX function.
        C_b: bias variance.
        C_W: rescaled weight variance.

    Returns:
        The fixed points: zero, every root with 1e-10 < K* < 1e6 (to about 1e-9 of its value where
        two roots merge, to rounding elsewhere), and infinity if large kernels grow without bound.

    Raises:
        ValueError: if a hyperparameter is negative, NaN or infinite.

    Example:
        >>> fixed_points("selu", C_b=0.0, C_W=1.0)[-1].K_star.__round__(9)
        1.0
    """
    sigma = described(activation)
    C_b, C_W = float(check_variance(C_b, "C_b")), float(check_variance(C_W, "C_W"))
    if sigma.homogeneity == 1:
        return _scale_invariant(sigma, C_b, C_W)
    step = combination(inverse=C_b, value=C_W, one=-1.0)
    _, signs = combined_signs(sigma, step)
    infinite = _at_infinity(sigma, C_b, C_W, signs)
    # A kernel that still grows at the end of the grid must stop somewhere, if not at infinity.
    beyond = FAR_KERNELS if signs[-1] > 0 and infinite is None else ()
    turning = roots(sigma, combination(rate=C_W, one=-1.0), also=(*_inflections(sigma), *beyond))
    K, signs = combined_signs(sigma, step, also=(*turning, *beyond))

    found: list[FixedPoint] = []
    if C_b == 0 and origin_limits(sigma).value == 0:
        found.append(_at_zero(sigma, C_W, signs))
    finite = {(k, 0) for k in roots(sigma, step, also=(*turning, *beyond))}
    for k in turning:
        before, after = _neighbours(K, signs, k)
        if signs[np.searchsorted(K, k)] == 0 and before == after != 0:
            finite.add((k, before))
    found += [_regular(sigma, C_b, C_W, k, side) for k, side in sorted(finite)]
    return tuple(found) + ((infinite,) if infinite else ())


@lru_cache(maxsize=64)
def _inflections(sigma: Activation) -> tuple[float, ...]:
    return tuple(roots(sigma, combination(curvature=1.0)))


def _neighbours(K: np.ndarray, signs: np.ndarray, k: float) -> tuple[int, int]:
    below, above = signs[(K < k) & (signs != 0)], signs[(K > k) & (signs != 0)]
    return (int(below[-1]) if below.size else 0, int(above[0]) if above.size else 0)


def _response(C_W: float, rate: float) -> float:
    # Nothing times infinity: without weights there is no response.
    return C_W * rate if C_W > 0 else 0.0


def _regular(sigma: Activation, C_b: float, C_W: float, K: float, side: int) -> FixedPoint:
    """Describe a root with 0 < K < inf; `side` is the sign of K' - K around a double root."""
    x = features_at(sigma, K)
    chi_parallel, chi_perp = C_W * x.rate, _response(C_W, x.slope)
    if side:
        critical = abs(chi_perp - 1) < 1e-8
        return FixedPoint(
            K, C_b, C_W, 1.0, chi_perp, "half-stable", "below" if side > 0 else "above",
            "critical" if critical else "trivial",
        )  # fmt: skip
    stable = abs(chi_parallel) < 1
    return FixedPoint(
        K, C_b, C_W, chi_parallel, chi_perp, "stable" if stable else "unstable",
        "both" if stable else "neither", "trivial",
    )  # fmt: skip


def _at_zero(sigma: Activation, C_W: float, signs: np.ndarray) -> FixedPoint:
    origin = origin_limits(sigma)
    chi_parallel, chi_perp = _response(C_W, origin.rate), _response(C_W, origin.slope)
    drift = chi_parallel - 1
    if abs(drift) <= MARGINAL:
        # Corrections decide: the sign of K' - K at the smallest kernel where it can be told.
        settled = signs[signs != 0]
        drift = float(settled[0]) if settled.size else 0.0
    stability, side = {
        -1: ("stable", "both"),
        0: ("marginal", "neither"),
        1: ("unstable", "neither"),
    }[int(np.sign(drift))]
    critical = abs(chi_parallel - 1) <= MARGINAL and abs(chi_perp - 1) <= MARGINAL
    kind = "critical" if critical else "trivial"
    return FixedPoint(0.0, 0.0, C_W, chi_parallel, chi_perp, stability, side, kind)


def _at_infinity(sigma: Activation, C_b: float, C_W: float, signs: np.ndarray) -> FixedPoint | None:
    power, square = growth(sigma)
    if C_W == 0 or power < 0.99:
        return None
    chi = C_W * square if power < 1.01 else math.inf
    settled = signs[signs != 0]
    if chi < 1 - 1e-9 or (chi < 1 + 1e-9 and not (settled.size and settled[-1] > 0)):
        return None
    chi_perp = math.inf if jumps(sigma) else chi
    return FixedPoint(math.inf, C_b, C_W, chi, chi_perp, "stable", "below", "infinite")


@lru_cache(maxsize=64)
@in_double_precision
def growth(sigma: Activation) -> tuple[float, float]:
    """Return p and the mean square of sigma(z)/z at large |z|, where |sigma| ~ |z|^p."""
    spread = jnp.linspace(1.0, 2.0, 33)
    near, far = (
        np.asarray(sigma(scale * jnp.concatenate([spread, -spread]))) for scale in (1e9, 1e13)
    )
    large, small = np.abs(far).max(), np.abs(near).max()
    if not np.isfinite(large):
        return math.inf, math.inf
    power = math.log(large / small) / math.log(1e4) if large > 0 and small > 0 else 0.0
    z = 1e13 * np.concatenate([spread, -spread])
    return power, float(np.mean((far / z) ** 2))


def _scale_invariant(sigma: Activation, C_b: float, C_W: float) -> tuple[FixedPoint, ...]:
    """Solve K* = C_b + chi K*, PDLT (5.63)."""
    chi = C_W * float(OneInput(sigma).rate(jnp.asarray(1.0)))
    infinite = FixedPoint(math.inf, C_b, C_W, chi, chi, "stable", "below", "infinite")
    if abs(chi - 1) <= MARGINAL:
        every = FixedPoint(None, 0.0, C_W, 1.0, 1.0, "marginal", "neither", "every K")
        return (every,) if C_b == 0 else (infinite,)
    if chi < 1:
        return (FixedPoint(C_b / (1 - chi), C_b, C_W, chi, chi, "stable", "both", "trivial"),)
    origin = FixedPoint(0.0, C_b, C_W, chi, chi, "unstable", "neither", "trivial")
    return (origin, infinite) if C_b == 0 else (infinite,)


def _plain(number: float) -> float | str:
    return number if math.isfinite(number) else str(number)
