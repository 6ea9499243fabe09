"""What a practitioner should do with an activation, from its universality class.

The reach of the theory and of a network is V/(n K^2), the variance of the kernel from network to
network; it grows with depth over width, PDLT (5.130), (5.131). Where no critical point exists the
least harmful initialization is looked for: a stable fixed point with C_b >= 0 whose worse one of
chi_parallel and chi_perp is as close to 1 as possible.
"""

import numpy as np

from finitewidth.activations import Activation
from finitewidth.criticality.fixed_points import correlation_depth
from finitewidth.criticality.moments import derivatives_around_zero, jumps
from finitewidth.criticality.roots import Features, search_grid
from finitewidth.criticality.universality import Universality
from finitewidth.precision import in_double_precision

#: Above this V/(n K^2) networks of one ensemble differ too much to be called alike.
SPREAD = 0.3
#: Kernels and largest chi_parallel that an initialization off criticality is looked for with.
KERNELS = (0.1, 10.0)
LARGEST_CHI = 0.95


@in_double_precision
def advice_for(sigma: Activation, universality: Universality) -> tuple[str, ...]:
    """Return advice in words, one sentence or two for each item."""
    constants = universality.constants
    if universality.name == "scale-invariant":
        growth = constants["N"]
        lines = [_depth_limit(growth)]
        if constants["rho"] > 0:
            lines.append(
                "Angles between inputs shrink like 3/(rho l): beyond about "
                f"{3 / constants['rho']:.3g} layers the first-layer angles are forgotten."
            )
        return tuple(lines)
    if universality.name == "K*=0":
        slow = "logarithmically" if universality.subclass == "marginal" else (
            f"like l^-{universality.exponents['p_0']:.4g}"
        )  # fmt: skip
        lines = [
            f"The kernel decays {slow}, whatever the input norms: no exponential loss with depth.",
            _depth_limit(constants["N"] / 3),
        ]
        if "tuning" in constants:
            lines.append(
                "At finite width the kernel drifts; C_W (1 + "
                f"{constants['tuning']:.4g}/n) removes the leading drift."
            )
        return tuple(lines)
    if universality.name == "half-stable":
        point, drift = universality.tuning.points[0], constants["a1_tilde"]
        return (
            f"Only kernels {'below' if drift > 0 else 'above'} K* = {point.K_star:.6g} are "
            f"attracted, and slowly: K - K* changes by a~_1 (K - K*)^2 per layer, a~_1 = "
            f"{drift:.4g}. At depths below 1/|a~_1 (K - K*)| treat it as scale-invariant.",
            _depth_limit(constants["w_star"]),
        )
    return _off_critical(sigma)


def _depth_limit(growth: float) -> str:
    return (
        f"V/(n K^2) grows like {growth:.4g} l/n: keep depth below about {SPREAD / growth:.2g} n "
        "for networks of the ensemble to behave alike."
    )


def _off_critical(sigma: Activation) -> tuple[str, ...]:
    if jumps(sigma):
        return ("Use a continuous activation: at a jump nearby inputs separate at once.",)
    lines = []
    shifted = _shifted(sigma)
    if shifted:
        lines.append(shifted)
    best = _least_harmful(sigma)
    if best:
        lines.append(best)
    return tuple(lines)


def _shifted(sigma: Activation) -> str | None:
    """Say what subtracting sigma(0) would do."""
    taylor = derivatives_around_zero(sigma)[1]
    if taylor is None or taylor[0] == 0 or taylor[1] == 0:
        return None
    a_1 = taylor[3] / taylor[1] + 0.75 * (taylor[2] / taylor[1]) ** 2
    if a_1 < 0:
        return (
            f"Use sigma(z) - sigma(0) = sigma(z) - {taylor[0]:.6g} instead: it is critical at "
            f"K* = 0 with C_b = 0, C_W = {1 / taylor[1] ** 2:.6g}."
        )
    return (
        f"Subtracting sigma(0) = {taylor[0]:.6g} gives a critical point at K* = 0, but an unstable "
        f"one (a_1 = {a_1:.6g})."
    )


def _least_harmful(sigma: Activation) -> str | None:
    K, values = search_grid(sigma)
    x = Features(*values)
    with np.errstate(all="ignore"):
        # The middle between chi_parallel = 1 and chi_perp = 1, unless C_b or stability forbid it.
        C_W = np.minimum.reduce([(x.rate * x.slope) ** -0.5, LARGEST_CHI / x.rate, 1 / x.value])
        chi_parallel, chi_perp = C_W * x.rate, C_W * x.slope
        worst = np.maximum(np.abs(np.log(chi_parallel)), np.abs(np.log(chi_perp)))
    usable = np.isfinite(worst) & (x.rate > 0) & (K >= KERNELS[0]) & (K <= KERNELS[1])
    if not usable.any():
        return None
    i = int(np.argmin(np.where(usable, worst, np.inf)))
    C_b = max(K[i] * (1 - C_W[i] * x.value[i]), 0.0)
    return (
        f"Without criticality the least harm is done near C_b = {C_b:.4g}, C_W = {C_W[i]:.4g} "
        f"(K* = {K[i]:.3g}): norms are forgotten over {correlation_depth(chi_parallel[i]):.3g} "
        f"layers, angles change by e in {abs(correlation_depth(chi_perp[i])):.3g}."
    )
