"""The scale-invariant activations: sigma(z) = a_plus z for z >= 0 and a_minus z for z < 0.

PDLT (2.13): they are all activations with sigma(c z) = c sigma(z) for every c > 0.
"""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from finitewidth.activations.base import Activation, Parity


@dataclass(frozen=True)
class PiecewiseLinear(Activation):
    """One slope on each side of zero: linear, ReLU, leaky ReLU, absolute value.

    Attributes:
        a_plus: slope for z >= 0.
        a_minus: slope for z < 0.
    """

    a_plus: float
    a_minus: float

    homogeneity = 1

    @property
    def name(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        named = {(1.0, 1.0): "linear", (1.0, 0.0): "relu", (1.0, -1.0): "abs"}
        if (self.a_plus, self.a_minus) in named:
            return named[self.a_plus, self.a_minus]
        if self.a_plus == 1.0:
            return f"leaky_relu({self.a_minus:g})"
        return f"piecewise_linear({self.a_plus:g}, {self.a_minus:g})"

    @property
    def kinks(self) -> tuple[float, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The origin, unless both slopes are equal."""
        return () if self.a_plus == self.a_minus else (0.0,)

    @property
    def parity(self) -> Parity:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Odd if the slopes are equal, even if they are opposite."""
        if self.a_plus == self.a_minus:
            return "odd"
        return "even" if self.a_plus == -self.a_minus else None

    @property
    def slopes(self) -> tuple[float, float]:
        return self.a_plus, self.a_minus

    def __call__(self, z: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
        z = jnp.asarray(z)
        return jnp.where(z >= 0, self.a_plus * z, self.a_minus * z)
