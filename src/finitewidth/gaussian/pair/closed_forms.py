"""Pair expectations that are elementary, for every order of differentiation.

With s = sqrt(K11 K22), D = K11 K22 - K12^2, psi = atan2(sqrt(D), K12):

    a_+-:  <s1 s2> = kappa^2/(2 pi) [sqrt(D) - psi K12] + A2 K12
           <s1' s2'> = A2 - kappa^2/(2 pi) psi
           A2 = (a_+^2 + a_-^2)/2, kappa = a_+ - a_-                            PDLT (5.159)
    step:  <s1 s2> = (pi - psi)/(2 pi)
    sin:   <s1 s2> = exp(-(K11 + K22)/2) sinh K12
    erf:   <s1 s2> = (2/pi) asin(2 K12/sqrt((1 + 2 K11)(1 + 2 K22)))
    gelu:  <s1 s2> = K12 [1/4 + asin(K12/sqrt((1+K11)(1+K22)))/(2 pi)]
                     + [D + K12^2/(1+K11) + K12^2/(1+K22)]/(2 pi sqrt((1+K11)(1+K22) - K12^2))
    z^p:   Wick's theorem

Angles come from atan2 and not from acos, which loses half of the digits where |rho| is near 1.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from finitewidth.activations import (
    Activation,
    Cos,
    Erf,
    Gelu,
    Monomial,
    Perceptron,
    PiecewiseLinear,
    Sin,
)
from finitewidth.gaussian.pair.angle import angle

ClosedForm = Callable[
    [Float[Array, "..."], Float[Array, "..."], Float[Array, "..."]], Float[Array, "..."]
]

#: Smallest sin(psi) in a denominator. The expectations concerned diverge for coincident inputs.
SMALLEST_SINE = 1e-8


def closed_form(activation: object, m1: int, m2: int) -> ClosedForm | None:
    """Return <s^(m1)(z_1) s^(m2)(z_2)> of an activation if it is elementary, else None."""
    match activation:
        case PiecewiseLinear():
            return _piecewise_linear(activation, m1, m2)
        case Perceptron():
            return _perceptron(m1, m2)
        case Sin() | Cos():
            return _periodic(0 if isinstance(activation, Sin) else 1, m1, m2)
        case Monomial():
            return _monomial(activation.p, m1, m2)
        case Erf():
            return _differentiated(_erf, m1, m2)
        case Gelu():
            return _differentiated(_gelu, m1, m2)
    return None


def has_closed_form(activation: Activation) -> bool:
    """Tell whether <s1 s2> and its derivatives are elementary."""
    return closed_form(activation, 0, 0) is not None


def _area(K11: Array, K22: Array, K12: Array) -> Array:
    # sqrt(K11 K22 - K12^2) without cancellation of squares.
    # sqrt(K11 K22) is exactly K for K11 = K22 = K, so that identical inputs have no angle.
    size = jnp.sqrt(K11 * K22)
    return jnp.sqrt(jnp.maximum((size - K12) * (size + K12), 0.0))


def _lift(base: ClosedForm, times: int, which: int) -> ClosedForm:
    # One more derivative by Price's theorem: which = 0, 1 for 2 d/dK11, 2 d/dK22; 2 for d/dK12.
    for _ in range(times):
        base = _one_derivative(base, which)
    return base


def _one_derivative(base: ClosedForm, which: int) -> ClosedForm:
    def derivative(*K: Array) -> Array:
        K = tuple(jnp.broadcast_arrays(*K))
        tangents = tuple(
            jnp.full_like(k, 1.0 if which == 2 else 2.0) if i == which else jnp.zeros_like(k)
            for i, k in enumerate(K)
        )
        return jax.jvp(base, K, tangents)[1]

    return derivative


def _differentiated(base: ClosedForm, m1: int, m2: int) -> ClosedForm | None:
    if (m1 - m2) % 2:
        return None
    common = min(m1, m2)
    lifted = _lift(base, common, 2)
    return _lift(lifted, abs(m1 - m2) // 2, 0 if m1 > m2 else 1)


def _erf(K11: Array, K22: Array, K12: Array) -> Array:
    D = (1 + 2 * K11) * (1 + 2 * K22) - 4 * K12**2
    return (2 / math.pi) * angle(2 * K12, jnp.sqrt(D))


def _gelu(K11: Array, K22: Array, K12: Array) -> Array:
    D = (1 + K11) * (1 + K22) - K12**2
    gate = K12 * (0.25 + angle(K12, jnp.sqrt(D)) / (2 * math.pi))
    numerator = K11 * K22 - K12**2 + K12**2 * (1 / (1 + K11) + 1 / (1 + K22))
    return gate + numerator / (2 * math.pi * jnp.sqrt(D))


def _periodic(phase: int, m1: int, m2: int) -> ClosedForm:
    # Both factors are sin(z + m pi/2): half of <cos(z1 - z2 + ..)> - <cos(z1 + z2 + ..)>.
    def cosine(quarters: int) -> float:
        return (1.0, 0.0, -1.0, 0.0)[quarters % 4]

    difference, total = cosine(m1 - m2), cosine(m1 + m2 + 2 * phase)

    def form(K11: Array, K22: Array, K12: Array) -> Array:
        mean = (K11 + K22) / 2
        if difference == total:  # a hyperbolic sine: expm1 keeps its relative accuracy
            size = jnp.abs(K12)
            sinh = jnp.sign(K12) * -jnp.expm1(-2 * size) * jnp.exp(size - mean) / 2
            return difference * sinh
        return difference * jnp.exp(K12 - mean) / 2 - total * jnp.exp(-K12 - mean) / 2

    return form


def _monomial(p: int, m1: int, m2: int) -> ClosedForm:
    powers = power_moment(p - m1, p - m2)
    scale = math.perm(p, m1) * math.perm(p, m2)
    return lambda K11, K22, K12: scale * powers(K11, K22, K12)


def power_moment(a: int, b: int) -> ClosedForm:
    """Return <z_1^a z_2^b>, the sum over pairings with k of them between the two variables."""

    def form(K11: Array, K22: Array, K12: Array) -> Array:
        total = jnp.zeros(jnp.broadcast_shapes(K11.shape, K22.shape, K12.shape))
        if min(a, b) < 0 or (a + b) % 2:
            return total
        for k in range(min(a, b), -1, -2):
            i, j = (a - k) // 2, (b - k) // 2
            pairings = math.factorial(a) * math.factorial(b)
            pairings //= math.factorial(k) * math.factorial(i) * math.factorial(j) * 2 ** (i + j)
            total += pairings * K11**i * K22**j * K12**k
        return total

    return form


def _density(kappa2: float) -> ClosedForm:
    # kappa^2 <delta(z1) delta(z2)>
    def form(K11: Array, K22: Array, K12: Array) -> Array:
        size = jnp.sqrt(jnp.where(K11 * K22 > 0, K11 * K22, 1.0))
        area = jnp.maximum(_smooth_area(K11, K22, K12), SMALLEST_SINE * size)
        return jnp.where(K11 * K22 > 0, kappa2 / (2 * math.pi * area), 0.0)

    return form


def _smooth_area(K11: Array, K22: Array, K12: Array) -> Array:
    # As _area, with a derivative that stays finite where the area is cut off.
    square = K11 * K22 - K12**2
    floor = SMALLEST_SINE**2 * jnp.where(K11 * K22 > 0, K11 * K22, 1.0)
    return jnp.sqrt(jnp.maximum(square, floor))


def _cotangent(kappa2: float, which: int) -> ClosedForm:
    # kappa^2 <delta'(z1) theta(z2)> = -kappa^2 K12/(2 pi K11 sqrt D), and with 1 <-> 2
    def form(*K: Array) -> Array:
        variance = jnp.where(K[which] > 0, K[which], 1.0)
        ratio = -K[2] / variance
        return jnp.where(K[which] > 0, ratio * _density(kappa2)(*K), 0.0)

    return form


def _perceptron(m1: int, m2: int) -> ClosedForm | None:
    if (m1 - m2) % 2:
        return None

    def step(K11: Array, K22: Array, K12: Array) -> Array:
        psi = angle(_area(K11, K22, K12), K12)
        # A zero input lies on the step: theta(0) = 1.
        zero = jnp.where(K11 > 0, 0.5, 1.0) * jnp.where(K22 > 0, 0.5, 1.0)
        both = jnp.where((K11 == 0) & (K22 == 0), 1.0, jnp.maximum(zero, 0.5))
        return jnp.where(K11 * K22 > 0, (math.pi - psi) / (2 * math.pi), both)

    if (m1, m2) == (0, 0):
        return step
    if min(m1, m2) == 0:
        which = 0 if m1 else 1
        return _lift(_cotangent(1.0, which), max(m1, m2) // 2 - 1, which)
    common = min(m1, m2) - 1
    lifted = _lift(_density(1.0), common, 2)
    return _lift(lifted, abs(m1 - m2) // 2, 0 if m1 > m2 else 1)


def _piecewise_linear(activation: PiecewiseLinear, m1: int, m2: int) -> ClosedForm | None:
    plus, minus = activation.a_plus, activation.a_minus
    A2, kappa2 = (plus**2 + minus**2) / 2, (plus - minus) ** 2
    if (m1 - m2) % 2:
        return None

    def value(K11: Array, K22: Array, K12: Array) -> Array:
        area = _area(K11, K22, K12)
        psi = angle(area, K12)
        # Beyond a right angle the antipode is used: both ends keep their relative accuracy.
        acute = jnp.where(K12 >= 0, psi, math.pi - psi)
        linear = jnp.where(K12 >= 0, A2, plus * minus) * K12
        bend = jnp.where(
            acute < 0.5,
            jnp.sqrt(K11 * K22) * _sine_minus_arc(acute),
            area - acute * jnp.abs(K12),
        )
        return linear + kappa2 / (2 * math.pi) * bend

    def slope(K11: Array, K22: Array, K12: Array) -> Array:
        psi = angle(_area(K11, K22, K12), K12)
        # At a zero input atan2(0, 0) = 0 would call it parallel to everything.
        psi = jnp.where(K11 * K22 > 0, psi, math.pi / 2)
        psi = jnp.where((K11 == 0) & (K22 == 0), 0.0, psi)
        return A2 - kappa2 / (2 * math.pi) * psi

    def curvature(variance: int) -> ClosedForm:
        # <s1'' s2> = kappa^2/(2 pi) sqrt(D)/K11, and with 1 <-> 2
        def form(*K: Array) -> Array:
            safe = jnp.where(K[variance] > 0, K[variance], 1.0)
            return jnp.where(
                K[variance] > 0, kappa2 / (2 * math.pi) * _area(*K) / safe, jnp.zeros(())
            )

        return form

    if kappa2 == 0 and max(m1, m2) > 1:
        return lambda K11, K22, K12: jnp.zeros(
            jnp.broadcast_shapes(K11.shape, K22.shape, K12.shape)
        )
    if (m1, m2) == (0, 0):
        return value
    if (m1, m2) == (1, 1):
        return slope
    if {m1, m2} == {0, 2}:
        return curvature(0 if m1 == 2 else 1)
    if min(m1, m2) == 1:
        which = 0 if m1 > m2 else 1
        return _lift(_cotangent(kappa2, which), (max(m1, m2) - 3) // 2, which)
    if min(m1, m2) == 0:
        which = 0 if m1 > m2 else 1
        return _lift(_curvature_slope(kappa2, which), (max(m1, m2) - 4) // 2, which)
    lifted = _lift(_density(kappa2), min(m1, m2) - 2, 2)
    return _lift(lifted, abs(m1 - m2) // 2, 0 if m1 > m2 else 1)


def _curvature_slope(kappa2: float, which: int) -> ClosedForm:
    # <s1'''' s2> = kappa^2 (2 K12^2 - K11 K22)/(2 pi K11^2 sqrt D), and with 1 <-> 2
    def form(*K: Array) -> Array:
        variance = jnp.where(K[which] > 0, K[which], 1.0)
        ratio = (2 * K[2] ** 2 - K[0] * K[1]) / variance**2
        return jnp.where(K[which] > 0, ratio * _density(kappa2)(*K), 0.0)

    return form


def _sine_minus_arc(psi: Array) -> Array:
    # sin(psi) - psi cos(psi) = psi^3/3 - psi^5/30 + ... for psi < 1/2, where the terms cancel.
    coefficients = [(-1) ** (k + 1) * 2 * k / math.factorial(2 * k + 1) for k in range(1, 9)]
    total = jnp.zeros_like(psi)
    for coefficient in reversed(coefficients):
        total = total * psi**2 + coefficient
    return psi**3 * total
