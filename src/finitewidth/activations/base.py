"""What the theory needs to know of an activation function sigma.

An activation is an immutable, hashable description: a function, the points where it is not
smooth, and its symmetries. It holds no trainable numbers, so it may be a static argument of a
compiled function. Closed forms of its Gaussian expectations live with the expectations, in
`finitewidth.gaussian`, and are chosen by the class of the activation.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from finitewidth.precision import in_double_precision

Parity = Literal["odd", "even"] | None


class Activation(ABC):
    """An activation function with its kinks, parity, homogeneity and Taylor data.

    Subclasses are frozen dataclasses: two of them with the same parameters are equal, and equal
    ones share compiled code.

    Attributes:
        name: how the activation is written, with its parameters, e.g. `leaky_relu(0.2)`.
        kinks: where sigma or one of its derivatives jumps; empty if sigma is analytic.
        parity: `"odd"`, `"even"` or `None`.
        homogeneity: p if sigma(c z) = c^p sigma(z) for every c > 0, else `None`.
    """

    name: str
    kinks: tuple[float, ...] = ()
    parity: Parity = None
    homogeneity: int | None = None

    @abstractmethod
    def __call__(self, z: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
        """Apply the activation elementwise."""

    @property
    def slopes(self) -> tuple[float, float] | None:
        """The slopes (a_plus, a_minus) of a scale-invariant activation, PDLT (2.13), else None."""
        return None

    def derivative(self, z: Float[ArrayLike, "..."], order: int = 1) -> Float[Array, "..."]:
        """Return the pointwise derivative of any order; at a kink, one of the two one-sided values.

        The delta functions that sit at kinks are no pointwise values: Gaussian expectations
        account for them (`finitewidth.gaussian`).
        """
        function: Callable[[Array], Array] = self
        for _ in range(order):
            function = _elementwise_derivative(function)
        return function(jnp.asarray(z, dtype=float))

    @in_double_precision
    def taylor(self, order: int) -> tuple[float, ...] | None:
        """Return the derivatives (sigma_0, ..., sigma_order) at 0, or None if there is a kink at 0.

        Example:
            >>> from finitewidth.activations import activation
            >>> activation("tanh").taylor(3)
            (0.0, 1.0, 0.0, -2.0)
        """
        if 0.0 in self.kinks:
            return None
        # Adding 0.0 turns the -0.0 of an odd derivative into 0.0.
        return tuple(float(sigma_p) + 0.0 for sigma_p in _derivatives_at_zero(self, order))

    @property
    @in_double_precision
    def width_powers(self) -> tuple[float, float]:
        """The first two powers of 1/width in which trained ensembles approach infinite width.

        (1, 2) for smooth activations. A neuron whose preactivation starts within one step,
        O(n^(-1/2)), of a jump of the m-th derivative follows the linearized motion only up to
        O(n^(-m/2)): (1/2, 1) for m = 1 (ReLU), (1, 3/2) for m = 2 or 3 (softsign).

        Example:
            >>> from finitewidth.activations import activation
            >>> activation("tanh").width_powers, activation("relu").width_powers
            ((1.0, 2.0), (0.5, 1.0))
        """
        for order in (1, 2, 3):
            for kink in self.kinks:
                below, above = (float(s) for s in self.derivative(jnp.array(sides_of(kink)), order))
                if abs(above - below) > 1e-12 * max(abs(below), abs(above), 1e-3):
                    return (0.5, 1.0) if order == 1 else (1.0, 1.5)
        return (1.0, 2.0)

    def __str__(self) -> str:
        return self.name


def sides_of(kink: float) -> tuple[float, float]:
    """Return the nearest numbers on both sides, but nothing subnormal next to zero."""
    if kink == 0.0:
        return -1e-100, 1e-100
    return math.nextafter(kink, -math.inf), math.nextafter(kink, math.inf)


@partial(jax.jit, static_argnums=(0, 1))
def _derivatives_at_zero(sigma: Activation, order: int) -> tuple[Array, ...]:
    return tuple(sigma.derivative(0.0, p) for p in range(order + 1))


def _elementwise_derivative(function: Callable[[Array], Array]) -> Callable[[Array], Array]:
    def derivative(z: Array) -> Array:
        return jax.jvp(function, (z,), (jnp.ones_like(z),))[1]

    return derivative
