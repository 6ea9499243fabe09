"""Powers of z, whose Gaussian expectations follow from Wick's theorem."""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from finitewidth.activations.base import Activation, Parity


@dataclass(frozen=True)
class Monomial(Activation):
    """sigma(z) = z^p for a whole number p >= 1.

    Attributes:
        p: the power.
    """

    p: int

    def __post_init__(self):
        if int(self.p) != self.p or self.p < 1:
            raise ValueError(f"monomial: wanted a whole power >= 1, got {self.p}.")
        object.__setattr__(self, "p", int(self.p))

    @property
    def name(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return "quadratic" if self.p == 2 else f"monomial({self.p})"

    @property
    def parity(self) -> Parity:  # pyright: ignore[reportIncompatibleVariableOverride]
        """That of the power."""
        return "odd" if self.p % 2 else "even"

    @property
    def homogeneity(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The power."""
        return self.p

    def __call__(self, z: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
        return jnp.asarray(z) ** self.p
