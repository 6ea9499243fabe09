"""Activations of the form z times a gate: GELU, SiLU/SWISH, Mish and their cheap variants."""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from finitewidth.activations.base import Activation


@dataclass(frozen=True)
class Gelu(Activation):
    """sigma(z) = (z/2) [1 + erf(z/sqrt 2)], PDLT (2.17)."""

    name = "gelu"

    def __call__(self, z: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
        z = jnp.asarray(z)
        # erfc keeps the relative accuracy of the exponentially small left tail.
        return 0.5 * z * jax.scipy.special.erfc(-z / math.sqrt(2))


@dataclass(frozen=True)
class GeluTanh(Activation):
    """The tanh form of GELU: (z/2) [1 + tanh(sqrt(2/pi) (z + 0.044715 z^3))]."""

    name = "gelu_tanh"

    def __call__(self, z: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
        z = jnp.asarray(z)
        # (1 + tanh y)/2 = sigmoid(2 y), without the cancellation in the left tail.
        return z * jax.nn.sigmoid(math.sqrt(8 / math.pi) * (z + 0.044715 * z**3))


@dataclass(frozen=True)
class Swish(Activation):
    """sigma(z) = z/(1 + exp(-beta z)), PDLT (2.16); SiLU at beta = 1.

    Attributes:
        beta: sharpness of the gate.
    """

    beta: float = 1.0

    @property
    def name(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return "silu" if self.beta == 1.0 else f"swish({self.beta:g})"

    def __call__(self, z: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
        z = jnp.asarray(z)
        return z * jax.nn.sigmoid(self.beta * z)


@dataclass(frozen=True)
class Mish(Activation):
    """sigma(z) = z tanh(log(1 + exp(z)))."""

    name = "mish"

    def __call__(self, z: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
        z = jnp.asarray(z)
        return z * jnp.tanh(jax.nn.softplus(z))


@dataclass(frozen=True)
class HardSwish(Activation):
    """sigma(z) = z clip(z + 3, 0, 6)/6."""

    kinks = (-3.0, 3.0)
    name = "hard_swish"

    def __call__(self, z: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
        z = jnp.asarray(z)
        return jnp.where(z > 3, z, jnp.where(z < -3, 0.0, z * (z + 3) / 6))
