"""Rectifiers made of exponentials: softplus, ELU, SELU."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from finitewidth.activations.base import Activation


@dataclass(frozen=True)
class Softplus(Activation):
    """sigma(z) = log(1 + exp(z)), PDLT (2.15)."""

    name = "softplus"

    def __call__(self, z: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
        return jax.nn.softplus(jnp.asarray(z))


@dataclass(frozen=True)
class Elu(Activation):
    """sigma(z) = z for z >= 0, alpha (exp(z) - 1) for z < 0.

    Attributes:
        alpha: minus the limit at minus infinity.
    """

    alpha: float = 1.0
    kinks = (0.0,)

    @property
    def name(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return "elu" if self.alpha == 1.0 else f"elu({self.alpha:g})"

    def __call__(self, z: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
        z = jnp.asarray(z)
        return jnp.where(z >= 0, z, self.alpha * jnp.expm1(jnp.where(z >= 0, 0.0, z)))


@dataclass(frozen=True)
class Selu(Activation):
    """Scaled ELU with the constants of Klambauer et al. (2017), which fix K = 1 at C_W = 1."""

    kinks = (0.0,)
    name = "selu"
    scale = 1.0507009873554804934193349852946
    alpha = 1.6732632423543772848170429916717

    def __call__(self, z: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
        z = jnp.asarray(z)
        negative = self.alpha * jnp.expm1(jnp.where(z >= 0, 0.0, z))
        return self.scale * jnp.where(z >= 0, z, negative)
