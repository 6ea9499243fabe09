"""Universality classes: which critical point an activation has and the constants that describe it.

| class | critical point at (C_b, C_W) | constants |
| --- | --- | --- |
| scale-invariant | every K at (0, 1/A_2) | A_2 (5.61), A_4 (5.114), N (5.116), rho (5.163) |
| K*=0 | K* = 0 at (0, 1/sigma_1^2), attracting | a_1, a_2, b_1 (5.86)-(5.88), or q, c, b |
| half-stable | K* > 0, attracting from one side | a~_1 (5.102), w*, d chi_perp/dK |
| none | no point with C_b >= 0 that attracts | |

The class is decided by computation (homogeneity, the expansion at small K, the roots of PDLT
(5.73)), never by the name of the activation.
"""

from collections.abc import Callable
from functools import lru_cache, partial

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from finitewidth.activations import Activation
from finitewidth.criticality import asymptotics
from finitewidth.criticality.asymptotics import Asymptotic
from finitewidth.criticality.moments import OneInput, described, slopes
from finitewidth.criticality.roots import features_at
from finitewidth.criticality.small_kernel import SmallKernel, small_kernel
from finitewidth.criticality.tuning import Tuning, critical_tuning
from finitewidth.precision import in_double_precision


class Universality(eqx.Module):
    """The universality class of an activation.

    Attributes:
        name: "scale-invariant", "K*=0", "half-stable" or "none".
        subclass: for K* = 0 the behavior of sigma at 0: "smooth", "kinked sigma'", "kinked
            sigma''", "kinked" (a higher derivative) or "marginal" (logarithms instead of powers);
            None for the others.
        constants: the numbers that the asymptotics are made of.
        asymptotics: one entry per critical exponent.
        tuning: the critical points.
    """

    name: str
    subclass: str | None
    constants: dict[str, float]
    asymptotics: tuple[Asymptotic, ...]
    tuning: Tuning

    @property
    def exponents(self) -> dict[str, float | None]:
        """The critical exponents: p_0, p_parallel, p_perp, p_psi, p_V, p_1."""
        return {entry.name: entry.exponent for entry in self.asymptotics}

    @property
    def amplitudes(self) -> dict[str, float | None]:
        """The amplitude that goes with each exponent, where it does not depend on the data."""
        return {entry.name: entry.amplitude for entry in self.asymptotics}


@in_double_precision
def classify(activation: str | Activation | Callable) -> Universality:
    """Find the universality class of an activation, its constants, exponents and amplitudes.

    PDLT sections 5.2, 5.3 and 5.4.

    Args:
        activation: name, `Activation` or elementwise JAX function (with `kinks` declared through
            `finitewidth.activations.activation`).

    Returns:
        The class. Constants from Taylor data are exact to rounding, fitted ones (kinked sigma)
        good to 1e-7, those of half-stable points to about 1e-8.

    Example:
        >>> classify("tanh").constants["a_1"]
        -2.0
        >>> classify("elu").subclass
        "kinked sigma''"
    """
    return _classify(described(activation))


@lru_cache(maxsize=128)
@in_double_precision
def _classify(sigma: Activation) -> Universality:
    tuning = critical_tuning(sigma)
    if not tuning.recommended:
        return Universality("none", None, _constants_of_none(sigma), (), tuning)
    point = tuning.points[0]
    if point.K_star is None:
        constants = _scale_invariant_constants(sigma)
        laws = asymptotics.scale_invariant(constants["N"], constants["rho"])
        return Universality("scale-invariant", None, constants, laws, tuning)
    if point.K_star == 0:
        expansion = small_kernel(sigma)
        assert expansion is not None  # the tuning has used it
        constants, laws = _small_kernel_constants(expansion), asymptotics.decaying(expansion)
        return Universality("K*=0", expansion.regularity, constants, laws, tuning)
    K = point.K_star
    constants = _half_stable_constants(sigma, K, point.C_W)
    laws = asymptotics.half_stable(
        K, constants["a1_tilde"], constants["dchi_perp_dK"], constants["w_star"]
    )
    return Universality("half-stable", None, constants, laws, tuning)


def _scale_invariant_constants(sigma: Activation) -> dict[str, float]:
    plus, minus = slopes(sigma)
    A_2, A_4 = (plus**2 + minus**2) / 2, (plus**4 + minus**4) / 2
    rho = (plus - minus) ** 2 / (2 * float(jnp.pi) * A_2)
    return {"A_2": A_2, "A_4": A_4, "N": 3 * A_4 / A_2**2 - 1, "rho": rho}


def _small_kernel_constants(expansion: SmallKernel) -> dict[str, float]:
    q, N = expansion.q, expansion.vertex
    constants = {
        name: value
        for name, value in (
            ("a_1", expansion.a_1),
            ("a_2", expansion.a_2),
            ("b_1", expansion.b_1),
        )
        if value is not None
    }
    if expansion.regularity != "marginal":
        constants |= {"q": q, "c": expansion.c, "b": expansion.b}
        # c_W^1/c_W^0, PDLT (5.142): the tuning that removes the growth of the NLO metric.
        constants["tuning"] = (1 + q) * N / 6
    constants["N"] = N
    if expansion.rho > 0:
        constants["rho"] = expansion.rho
    if expansion.regularity == "smooth" and expansion.a_1:
        a_1, a_2, b_1 = constants["a_1"], constants["a_2"], constants["b_1"]
        # What is left of G1/K after that tuning; corrects PDLT (5.143).
        constants["tuned_nlo_metric"] = (a_2 - 84 * a_1**2 + 90 * a_1 * b_1) / (3 * a_1**2)
        # V = -2K/(3 a_1) + beta K^2, PDLT (5.127) freed of l_0.
        constants["beta"] = (5 * a_2 + a_1 * (82 * a_1 - 90 * b_1)) / (3 * a_1**2)
    return constants


def _half_stable_constants(sigma: Activation, K: float, C_W: float) -> dict[str, float]:
    x = features_at(sigma, K)
    quartic, tilt = map(float, _beyond_features(sigma, jnp.asarray(K)))
    return {
        "a1_tilde": C_W * x.curvature / K / 2,
        "w_star": C_W**2 * (quartic / K**2 - x.value**2),
        "dchi_perp_dK": C_W * tilt,
    }


@partial(jax.jit, static_argnums=0)
def _beyond_features(sigma: Activation, K: Array) -> tuple[Array, Array]:
    moments = OneInput(sigma)
    return moments.quartic(K), moments.slope_rate(K)


def _constants_of_none(sigma: Activation) -> dict[str, float]:
    """Return what is known of an unstable point at K* = 0, or nothing."""
    expansion = None if sigma.homogeneity is not None else small_kernel(sigma)
    if expansion is None or expansion.a_1 is None:
        return {}
    return {
        name: value
        for name, value in (
            ("a_1", expansion.a_1),
            ("a_2", expansion.a_2),
            ("b_1", expansion.b_1),
        )
        if value is not None
    }
