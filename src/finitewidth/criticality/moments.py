"""The one-input Gaussian expectations that criticality is made of, with their limits at K = 0.

    g(K) = <sigma^2>,   g'(K) = <z sigma sigma'>/K,   <sigma'^2>,   <sigma^4>,   z ~ N(0, K)

PDLT (5.5), (5.50)-(5.52). One derivative of sigma is enough for all of them, and the rate of any
Gaussian expectation is one more of them, PDLT (5.53),

    d<F>/dK = <F (z^2 - K)>/(2 K^2),

so kinks need no delta functions. For a homogeneous sigma, sigma(c z) = c^p sigma(z), everything is
a power of K and no integral is done.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from finitewidth.activations import Activation, Custom
from finitewidth.activations import activation as as_activation
from finitewidth.gaussian.single import single_moment
from finitewidth.precision import in_double_precision

#: One-sided values at a kink are taken this far from it (relative to its size, if it is not at 0).
BESIDE = 1e-30


@dataclass(frozen=True)
class OneInput:
    """Expectations over one preactivation of variance K, elementwise in K; static under `jit`.

    Attributes:
        sigma: the activation.
    """

    sigma: Activation

    def value(self, K: Float[Array, "..."]) -> Float[Array, "..."]:
        """Return g(K) = <sigma^2>."""
        power = self.sigma.homogeneity
        if power is not None:
            return _mean_power(self.sigma, 2) * _odd_factorial(2 * power - 1) * K**power
        origin = origin_limits(self.sigma)
        at_zero = origin.value + (origin.rate * K if math.isfinite(origin.rate) else 0.0)
        return _joined(K, at_zero, partial(_moment, Integrand(self.sigma, 2, 0)))

    def rate(self, K: Float[Array, "..."]) -> Float[Array, "..."]:
        """Return g'(K)."""
        power = self.sigma.homogeneity
        if power is not None:
            scale = power * _mean_power(self.sigma, 2) * _odd_factorial(2 * power - 1)
            return scale * K ** max(power - 1, 0)
        origin = origin_limits(self.sigma)
        curved = origin.curvature * K if math.isfinite(origin.curvature) else 0.0
        return _joined(
            K, origin.rate + curved, lambda k: _moment(Integrand(self.sigma, 1, 1, power=1), k) / k
        )

    def curvature(self, K: Float[Array, "..."]) -> Float[Array, "..."]:
        """Return g''(K)."""
        return jax.jvp(self.rate, (K,), (jnp.ones_like(K),))[1]

    def slope(self, K: Float[Array, "..."]) -> Float[Array, "..."]:
        """Return <sigma'^2>; infinite if sigma jumps."""
        if jumps(self.sigma):
            return jnp.full_like(K, jnp.inf)
        power = self.sigma.homogeneity
        if power is not None:
            scale = power**2 * _mean_power(self.sigma, 2) * _odd_factorial(2 * power - 3)
            return scale * K ** max(power - 1, 0)
        origin = origin_limits(self.sigma)
        tilted = origin.slope_rate * K if math.isfinite(origin.slope_rate) else 0.0
        return _joined(K, origin.slope + tilted, partial(_moment, Integrand(self.sigma, 0, 2)))

    def slope_rate(self, K: Float[Array, "..."]) -> Float[Array, "..."]:
        """Return d<sigma'^2>/dK."""
        return jax.jvp(self.slope, (K,), (jnp.ones_like(K),))[1]

    def quartic(self, K: Float[Array, "..."]) -> Float[Array, "..."]:
        """Return <sigma^4>."""
        power = self.sigma.homogeneity
        if power is not None:
            scale = _mean_power(self.sigma, 4) * _odd_factorial(4 * power - 1)
            return scale * K ** (2 * power)
        at_zero = jnp.full_like(K, origin_limits(self.sigma).value ** 2)
        return _joined(K, at_zero, partial(_moment, Integrand(self.sigma, 4, 0)))


@in_double_precision
def described(what: str | Activation | Callable) -> Activation:
    """Return the activation that `what` stands for; a kink at 0 that was not declared is added.

    A kink elsewhere cannot be noticed: it has to be declared.
    """
    sigma = as_activation(what)
    if isinstance(sigma, Custom) and 0.0 not in sigma.kinks:
        below, middle, above = derivatives_around_zero(sigma)
        if middle is None and all(map(math.isfinite, below + above)):
            return replace(sigma, kinks=(*sigma.kinks, 0.0))
    return sigma


@dataclass(frozen=True)
class OriginLimits:
    """What the expectations tend to as K -> 0; infinite where they diverge.

    Attributes:
        value, rate, curvature: of g.
        slope, slope_rate: of <sigma'^2>.
        below, above: one-sided (sigma, sigma', sigma'') at 0.
    """

    value: float
    rate: float
    curvature: float
    slope: float
    slope_rate: float
    below: tuple[float, ...]
    above: tuple[float, ...]


@lru_cache(maxsize=256)
@in_double_precision
def origin_limits(sigma: Activation) -> OriginLimits:
    """Return the limits at K = 0 from the derivatives of sigma at 0, one-sided if it is kinked."""
    below, taylor, above = derivatives_around_zero(sigma)
    if taylor is not None:
        s0, s1, s2, s3, s4, _ = taylor
        return OriginLimits(
            value=s0**2,
            rate=s1**2 + s0 * s2,
            curvature=(s0 * s4 + 4 * s1 * s3 + 3 * s2**2) / 2,
            slope=s1**2,
            slope_rate=s2**2 + s1 * s3,
            below=below[:3],
            above=above[:3],
        )

    def average(power: int, lower: float, upper: float) -> float:
        # <|z|^p> ~ K^(p/2): what half of the Gaussian sees from each side.
        return (upper + (-1) ** power * lower) / 2

    # sigma^2 and sigma'^2 as series in z, one for each side.
    square = [(s[0] ** 2, 2 * s[0] * s[1], s[1] ** 2 + s[0] * s[2]) for s in (below, above)]
    first = average(1, square[0][1], square[1][1])
    cubic = average(1, *(s[1] * s[2] for s in (below, above)))
    return OriginLimits(
        value=average(0, below[0] ** 2, above[0] ** 2),
        rate=average(2, square[0][2], square[1][2])
        if first == 0
        else math.copysign(math.inf, first),
        curvature=math.copysign(math.inf, cubic),
        slope=average(0, below[1] ** 2, above[1] ** 2),
        slope_rate=math.copysign(math.inf, cubic),
        below=below[:3],
        above=above[:3],
    )


@lru_cache(maxsize=256)
@in_double_precision
def derivatives_around_zero(
    sigma: Activation,
) -> tuple[tuple[float, ...], tuple[float, ...] | None, tuple[float, ...]]:
    """Return (sigma, sigma', ..., sigma^(5)) just below 0, at 0 and just above 0.

    The middle one is None if sigma is not smooth at 0: because a kink is declared there, because
    the two sides differ, or because the derivatives are not finite.
    """

    @jax.jit
    def table(z: Array) -> Array:
        return jnp.stack([sigma.derivative(z, order) for order in range(6)])

    with jax.ensure_compile_time_eval():
        columns = np.array(table(jnp.array([-BESIDE, 0.0, BESIDE]))).T
    # sigma(1e-30) = 1e-30 means sigma(0) = 0; adding 0.0 turns -0.0 into 0.0.
    columns[:, 0] = np.where(np.abs(columns[:, 0]) < math.sqrt(BESIDE), 0.0, columns[:, 0])
    below, middle, above = (tuple(map(float, column + 0.0)) for column in columns)
    smooth = (
        0.0 not in sigma.kinks
        and bool(np.isfinite(columns).all())
        and np.allclose(below[:3], above[:3], rtol=1e-9, atol=1e-15)
    )
    return below, middle if smooth else None, above


@lru_cache(maxsize=256)
@in_double_precision
def jumps(sigma: Activation) -> bool:
    """Tell whether sigma itself is discontinuous at one of its kinks."""
    with jax.ensure_compile_time_eval():
        for kink in sigma.kinks:
            step = max(1e-12 * abs(kink), BESIDE)
            below, above = (float(sigma(jnp.asarray(kink + d))) for d in (-step, step))
            if abs(above - below) > 1e-9 * max(1.0, abs(above) + abs(below)):
                return True
    return sigma.homogeneity == 0 and slopes(sigma)[0] != slopes(sigma)[1]


@lru_cache(maxsize=256)
@in_double_precision
def slopes(sigma: Activation) -> tuple[float, float]:
    """Return (a_plus, a_minus) of sigma = a_plus z^p (z > 0), a_minus z^p (z < 0), PDLT (2.13)."""
    power = sigma.homogeneity
    if power is None:
        raise ValueError(f"{sigma.name} is not homogeneous: it has no slopes.")
    with jax.ensure_compile_time_eval():
        plus, minus = (float(sigma(jnp.asarray(z))) for z in (1.0, -1.0))
    return plus, minus * (-1) ** power


def _mean_power(sigma: Activation, order: int) -> float:
    plus, minus = slopes(sigma)
    return (plus**order + minus**order) / 2


def _odd_factorial(n: int) -> int:
    return math.prod(range(n, 0, -2))


def _joined(K: Array, at_zero: ArrayLike, elsewhere: Callable[[Array], Array]) -> Array:
    # The inner `where` keeps the unused branch, and so its derivative, finite.
    zero = K == 0
    return jnp.where(zero, at_zero, elsewhere(jnp.where(zero, 1.0, K)))


@dataclass(frozen=True)
class Integrand:
    """z^power F(z) with F a product of sigma and sigma'; hashable, so that its code is shared.

    Attributes:
        sigma: the activation.
        values: how many factors of sigma.
        slopes: how many factors of sigma'.
        power: of z.
    """

    sigma: Activation
    values: int
    slopes: int
    power: int = 0

    def __call__(self, z: Float[Array, "..."]) -> Float[Array, "..."]:
        """Return the integrand elementwise."""
        product = z**self.power * self.sigma(z) ** self.values
        return product * self.sigma.derivative(z) ** self.slopes if self.slopes else product


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _moment(integrand: Integrand, K: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return the expectation for K > 0, with a rate that needs no further derivative of sigma."""
    return single_moment(integrand, K, integrand.sigma.kinks)


@_moment.defjvp
def _moment_rate(integrand: Integrand, primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    (K,), (dK,) = primals, tangents
    value = _moment(integrand, K)
    raised = _moment(replace(integrand, power=integrand.power + 2), K)
    return value, (raised - K * value) / (2 * K**2) * dK
