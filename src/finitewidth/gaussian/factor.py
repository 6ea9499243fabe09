"""One factor of a pair expectation: a function of one Gaussian variable and its derivatives.

The m-th derivative of a function F with kinks k is a distribution,

    D^m F = {F^(m)} + sum_k sum_{j<m} [F^(j)(k+) - F^(j)(k-)] delta^(m-1-j)(z - k),

with {F^(m)} the pointwise derivative. Automatic differentiation sees the first part only.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from finitewidth.activations import Activation
from finitewidth.activations.base import sides_of


@dataclass(frozen=True)
class Factor:
    """The m-th derivative of a function; hashable, so that compiled code is shared.

    Attributes:
        function: elementwise, written with JAX.
        kinks: where the function or one of its derivatives jumps, ascending.
        parity: of the function itself, `"odd"`, `"even"` or None.
        order: m, how often it is differentiated.
    """

    function: Callable[[Any], Array]
    kinks: tuple[float, ...] = ()
    parity: str | None = None
    order: int = 0

    def __call__(self, z: Float[Array, "..."]) -> Float[Array, "..."]:
        """Return the pointwise derivative {F^(m)}."""
        return pointwise_derivative(self.function, self.order)(z)

    def differentiated(self, times: int) -> "Factor":
        """Return the factor with its order raised."""
        return replace(self, order=self.order + times)

    @property
    def symmetry(self) -> int:
        """+1 if D^m F is even, -1 if it is odd, 0 if it is neither."""
        sign = {"even": 1, "odd": -1, None: 0}[self.parity]
        return sign * (-1) ** self.order

    def allows(self, parity: int) -> bool:
        """Whether Hermite coefficients of even (0) or odd (1) order can differ from zero."""
        return self.symmetry == 0 or (self.symmetry > 0) == (parity == 0)

    def jumps(self) -> tuple[tuple[float, tuple[float, ...]], ...]:
        """Return ((k, (c_0, ..., c_{m-1})), ...): D^m F holds sum_n c_n delta^(n)(z - k)."""
        return _jumps(self)

    @property
    def regular_order(self) -> int:
        """The largest r <= m for which D^r F holds delta functions but no derivatives of them."""
        for r in range(1, self.order):
            if any(sizes[0] for _, sizes in replace(self, order=r).jumps()):
                return r
        return self.order

    @property
    def has_peaks(self) -> bool:
        """Whether D^m F holds delta functions or derivatives of them."""
        return any(any(sizes) for _, sizes in self.jumps())


@dataclass(frozen=True)
class ActivationProduct:
    """A product of an activation and derivatives of it, as a function of one variable.

    Attributes:
        activation: sigma.
        orders: (m_1, m_2, ...) stands for sigma^(m_1) sigma^(m_2) ...: `(0, 0)` is sigma^2 and
            `(0, 1)` is sigma sigma'.
    """

    activation: Activation
    orders: tuple[int, ...]

    @property
    def kinks(self) -> tuple[float, ...]:
        """Those of the activation."""
        return self.activation.kinks

    @property
    def parity(self) -> str | None:
        """Odd or even if the activation is."""
        if self.activation.parity is None:
            return None
        odd = sum(self.orders) + (len(self.orders) if self.activation.parity == "odd" else 0)
        return "odd" if odd % 2 else "even"

    def __call__(self, z: Float[Array, "..."]) -> Float[Array, "..."]:
        """Return the product elementwise."""
        return math.prod(
            (self.activation.derivative(z, m) for m in self.orders), start=jnp.ones(())
        )


def as_factor(function: Callable | Factor, kinks: tuple[float, ...] = ()) -> Factor:
    """Describe an activation, a product of activations or any elementwise function as a factor."""
    if isinstance(function, Factor):
        return function
    if not callable(function):
        raise TypeError(f"wanted an elementwise JAX function or an Activation, got {function!r}.")
    own = {float(k) for k in (*getattr(function, "kinks", ()), *kinks)}
    return Factor(function, tuple(sorted(own)), getattr(function, "parity", None))


def pointwise_derivative(function: Callable, order: int) -> Callable[[Array], Array]:
    """Return the elementwise derivative of any order, by nested forward differentiation."""
    for _ in range(order):
        function = _derivative(function)
    return function


def _derivative(function: Callable[[Array], Array]) -> Callable[[Array], Array]:
    def derivative(z: Array) -> Array:
        return jax.jvp(function, (z,), (jnp.ones_like(z),))[1]

    return derivative


@lru_cache(maxsize=1024)
def _jumps(factor: Factor) -> tuple[tuple[float, tuple[float, ...]], ...]:
    found = []
    with jax.ensure_compile_time_eval():
        for kink in factor.kinks:
            ends = jnp.asarray(sides_of(kink))
            sizes = []
            for n in range(factor.order):
                below, above = map(
                    float, pointwise_derivative(factor.function, factor.order - 1 - n)(ends)
                )
                # Next to a kink where this derivative is continuous, both sides agree to rounding.
                rounding = 1e-12 * max(abs(below), abs(above), 1e-3)
                sizes.append(above - below if abs(above - below) > rounding else 0.0)
            found.append((kink, tuple(sizes)))
    return tuple(found)
