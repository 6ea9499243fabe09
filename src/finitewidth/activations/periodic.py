"""Periodic activations, whose Gaussian expectations are elementary for any number of inputs."""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from finitewidth.activations.base import Activation


@dataclass(frozen=True)
class Sin(Activation):
    """sigma(z) = sin(z), PDLT (2.12)."""

    parity = "odd"
    name = "sin"

    def __call__(self, z: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
        return jnp.sin(z)


@dataclass(frozen=True)
class Cos(Activation):
    """sigma(z) = cos(z)."""

    parity = "even"
    name = "cos"

    def __call__(self, z: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
        return jnp.cos(z)
