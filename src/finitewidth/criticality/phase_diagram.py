"""The plane of hyperparameters (C_W, C_b) and its lines of marginal norms and marginal angles.

On both lines K* is a fixed point, so they are drawn with K* as the parameter, without any scan:

    chi_parallel = 1:  C_W = 1/g',            C_b = K* - g/g'
    chi_perp = 1:      C_W = 1/<sigma'^2>,    C_b = K* - g/<sigma'^2>          PDLT (5.71), (5.72)

Critical points are where they cross, PDLT figure 5.1. On the second line angles between nearby
inputs are preserved; below it (smaller C_W) they shrink, above it they grow.
"""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from finitewidth.activations import Activation
from finitewidth.criticality.fixed_points import FixedPoint
from finitewidth.criticality.moments import OneInput, described, jumps, slopes
from finitewidth.criticality.roots import combination, features_at, roots
from finitewidth.criticality.susceptibilities import check_kernel, check_variance
from finitewidth.criticality.tuning import critical_tuning
from finitewidth.precision import in_double_precision


class Line(eqx.Module):
    """A line in the plane of hyperparameters, with the fixed point as its parameter.

    Attributes:
        K_star: shape (M,).
        C_W: shape (M,); NaN where the line does not exist at this K*.
        C_b: shape (M,); negative values cannot be built.
    """

    K_star: Float[Array, " M"]
    C_W: Float[Array, " M"]
    C_b: Float[Array, " M"]


class PhaseDiagram(eqx.Module):
    """The lines chi_parallel = 1 and chi_perp = 1 and where they cross with C_b >= 0.

    Attributes:
        activation: name of sigma.
        parallel: the line chi_parallel = 1.
        perp: the line chi_perp = 1.
        critical: the critical points.
        vertical: C_W = 1/A_2 for scale-invariant sigma, where both lines are the single point
            (C_W, 0) and both susceptibilities are 1 for every C_b >= 0; None for all others.
    """

    activation: str
    parallel: Line
    perp: Line
    critical: tuple[FixedPoint, ...]
    vertical: float | None


@in_double_precision
def phase_diagram(
    activation: str | Activation | Callable, K_star: Float[ArrayLike, " M"] | None = None
) -> PhaseDiagram:
    """Compute the lines chi_parallel = 1 and chi_perp = 1, PDLT figure 5.1 and (5.71)-(5.72).

    Args:
        activation: name, `Activation` or elementwise JAX function.
        K_star: where to put points on the lines, shape (M,); 241 values in [1e-4, 100] if None.

    Returns:
        Both lines (M points each) and the critical points. Cost: M one-dimensional integrals.

    Raises:
        ValueError: if a K_star is not positive and finite or not in a vector.

    Example:
        >>> diagram = phase_diagram("tanh", K_star=[0.1])
        >>> round(float(diagram.parallel.C_W[0]), 5), round(float(diagram.parallel.C_b[0]), 5)
        (1.39655, -0.01761)
    """
    sigma = described(activation)
    K = jnp.geomspace(1e-4, 1e2, 241) if K_star is None else check_kernel(K_star, "K_star")
    if K.ndim != 1 or bool((K == 0).any()):
        raise ValueError(f"K_star: wanted a vector of positive kernels, got {K_star}.")
    moments = OneInput(sigma)
    g = moments.value(K)

    def line(rate: Array) -> Line:
        # K (1 - g/(K rate)) keeps the digits that K - g/rate loses at small K.
        exists = jnp.isfinite(rate) & (rate > 0)
        safe = jnp.where(exists, rate, 1.0)
        C_W = jnp.where(exists, 1 / safe, jnp.nan)
        return Line(K, C_W, jnp.where(exists, K * (1 - g / (K * safe)), jnp.nan))

    vertical = None
    if sigma.homogeneity == 1 and any(slopes(sigma)):
        vertical = 2 / sum(slope**2 for slope in slopes(sigma))
    return PhaseDiagram(
        activation=sigma.name,
        parallel=line(moments.rate(K)),
        perp=line(moments.slope(K)),
        critical=critical_tuning(sigma).points,
        vertical=vertical,
    )


@in_double_precision
def perpendicular_line(
    activation: str | Activation | Callable, C_b: float
) -> tuple[FixedPoint, ...]:
    """Find the weight variances that preserve angles, chi_perp = 1, at a given bias variance.

    PDLT (5.71), (5.72) solved for K*.

    Args:
        activation: name, `Activation` or elementwise JAX function.
        C_b: bias variance > 0.

    Returns:
        The points of the line with this C_b and 1e-10 < K* < 1000, in ascending order of K*. Norms
        are forgotten over `xi_parallel` layers there.

    Raises:
        ValueError: if C_b is not positive and finite.

    Example:
        >>> round(perpendicular_line("tanh", C_b=0.05)[0].C_W, 6)
        1.760955
    """
    sigma = described(activation)
    C_b = float(check_variance(C_b, "C_b"))
    if C_b == 0:
        raise ValueError("C_b: wanted a positive bias variance, got 0 (see critical_tuning).")
    if jumps(sigma) or sigma.homogeneity == 1:
        return ()
    points = []
    for K in roots(sigma, combination(slope=1.0, value=-1.0, slope_inverse=-C_b)):
        x = features_at(sigma, K)
        chi = x.rate / x.slope
        stable = abs(chi) < 1
        points.append(
            FixedPoint(
                K, C_b, 1 / x.slope, chi, 1.0, "stable" if stable else "unstable",
                "both" if stable else "neither", "trivial",
            )
        )  # fmt: skip
    return tuple(points)
