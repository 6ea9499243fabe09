"""The layer map at small kernels, which decides what happens at the fixed point K* = 0.

    C_W g(K)      = K (1 - c K^q + ...)
    chi_perp(K)   = 1 - b K^q + ...,         C_W = 1/g'(0)
    C_W^2 (<sigma^4> - g^2) = N K^2 + ...

For a sigma that is smooth at 0 the Taylor coefficients r_p = sigma_p/sigma_1 give, PDLT
(5.86)-(5.88),

    a_1 = r_3 + 3/4 r_2^2,   a_2 = 1/4 r_5 + 5/8 r_4 r_2 + 5/12 r_3^2,   b_1 = r_3 + r_2^2,

so q = 1, c = -a_1, b = -b_1, N = 2. With a kink at 0 half-integer powers appear: then q, c and b
are measured from the layer map at small K by Richardson extrapolation. If nothing is left above
rounding the corrections are smaller than any power (hard tanh: exp(-1/2K)).
"""

import math
from functools import lru_cache
from typing import Literal

import equinox as eqx
import numpy as np

from finitewidth.activations import Activation
from finitewidth.criticality.moments import derivatives_around_zero, origin_limits
from finitewidth.criticality.roots import Features, combination, combined_signs, features_on
from finitewidth.precision import in_double_precision

Regularity = Literal["smooth", "kinked sigma'", "kinked sigma''", "kinked", "marginal"]

#: The fit uses K = 4^-j: sqrt(K) is halved at every step.
FIT_STEPS = range(4, 14)


class SmallKernel(eqx.Module):
    """Expansion of a critical layer map about K = 0; needs sigma(0) = 0 and 0 < g'(0) < infinity.

    Attributes:
        regularity: "smooth" at 0 (power q from Taylor data), kinked there in sigma' or sigma''
            or higher, or "marginal" if no power of K is left.
        C_W: 1/g'(0).
        q: power of the leading correction; infinite if marginal.
        c: its coefficient in the kernel; positive if K* = 0 attracts. If marginal only its sign
            is meant.
        b: coefficient of K^q in 1 - chi_perp.
        vertex: N, the vertex made by a layer in units of K^2.
        rho: speed at which angles shrink, PDLT (5.163) with the slopes on both sides of 0.
        a_1, a_2, b_1: Taylor combinations; None if kinked at 0.
    """

    regularity: Regularity
    C_W: float
    q: float
    c: float
    b: float
    vertex: float
    rho: float
    a_1: float | None = None
    a_2: float | None = None
    b_1: float | None = None


@lru_cache(maxsize=128)
@in_double_precision
def small_kernel(sigma: Activation) -> SmallKernel | None:
    """Expand the layer map about K = 0, or return None if K = 0 cannot be a critical point."""
    origin = origin_limits(sigma)
    if origin.value != 0 or not (0 < origin.rate < math.inf) or origin.slope == 0:
        return None
    below, above = origin.below[1], origin.above[1]
    A_2, A_4 = (below**2 + above**2) / 2, (below**4 + above**4) / 2
    C_W, vertex = 1 / A_2, 3 * A_4 / A_2**2 - 1
    rho = (above - below) ** 2 / (2 * math.pi * A_2)

    taylor = derivatives_around_zero(sigma)[1]
    if taylor is None:
        return _fitted(sigma, _kink(origin.below, origin.above), C_W, vertex, rho)
    r2, r3, r4, r5 = (derivative / taylor[1] for derivative in taylor[2:])
    a_1 = r3 + 0.75 * r2**2
    a_2 = r5 / 4 + 5 / 8 * r4 * r2 + 5 / 12 * r3**2
    b_1 = r3 + r2**2
    size = abs(r3) + r2**2
    if abs(a_1) > 1e-11 * size:
        return SmallKernel("smooth", C_W, 1.0, -a_1, -b_1, 2.0, 0.0, a_1, a_2, b_1)
    if abs(a_2) > 1e-11 * (size**2 + abs(r5) + abs(r4 * r2)):
        b = 0.0 if abs(b_1) <= 1e-11 * size else math.copysign(math.inf, -b_1)
        return SmallKernel("smooth", C_W, 2.0, -a_2, b, 2.0, 0.0, 0.0, a_2, b_1)
    fit = _fitted(sigma, "smooth", C_W, vertex, rho)
    return eqx.tree_at(
        lambda f: (f.a_1, f.a_2, f.b_1), fit, (0.0, 0.0, b_1), is_leaf=lambda x: x is None
    )


def _kink(below: tuple[float, ...], above: tuple[float, ...]) -> Regularity:
    if not math.isclose(below[1], above[1], rel_tol=1e-9):
        return "kinked sigma'"
    return "kinked" if math.isclose(below[2], above[2], rel_tol=1e-9) else "kinked sigma''"


def _fitted(
    sigma: Activation, regularity: Regularity, C_W: float, vertex: float, rho: float
) -> SmallKernel:
    K = 4.0 ** -np.array(FIT_STEPS)
    x = Features(*features_on(sigma, K))
    lost, spread = 1 - C_W * x.value, 1 - C_W * x.slope
    if np.abs(lost[-3:]).max() < 1e-12:
        # Beyond all powers; the sign is that of the first correction that can be seen.
        _, signs = combined_signs(sigma, combination(value=C_W, one=-1.0))
        seen = signs[signs != 0]
        c = -float(seen[0]) if seen.size else 0.0
        return SmallKernel("marginal", C_W, math.inf, c, 0.0, vertex, rho)
    local = np.log(np.abs(lost[:-1] / lost[1:])) / math.log(4)
    q = float(_richardson(local[2:]))
    if abs(2 * q - round(2 * q)) < 0.02:
        q = round(2 * q) / 2
    c, b = (float(_richardson(values / K**q)) for values in (lost, spread))
    return SmallKernel(regularity, C_W, q, c, b, vertex, rho)


def _richardson(values: np.ndarray) -> float:
    """Extrapolate a series in powers of sqrt(K) to K = 0; sqrt(K) is halved from entry to entry."""
    column, best, error = values, values[-1], math.inf
    for power in range(1, len(values)):
        ratio = 2.0**power
        column = (ratio * column[1:] - column[:-1]) / (ratio - 1)
        # Rounding errors grow with the order: keep the most settled estimate.
        if len(column) > 1 and abs(column[-1] - column[-2]) < error:
            best, error = column[-1], abs(column[-1] - column[-2])
    return best
