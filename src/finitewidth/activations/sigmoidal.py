"""Activations that rise from one side to the other: tanh and its relatives."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from finitewidth.activations.base import Activation


@dataclass(frozen=True)
class Tanh(Activation):
    """sigma(z) = tanh(z), PDLT (2.11)."""

    parity = "odd"
    name = "tanh"

    def __call__(self, z: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
        return jnp.tanh(z)


@dataclass(frozen=True)
class Erf(Activation):
    """sigma(z) = erf(z), the error function, without a rescaled argument."""

    parity = "odd"
    name = "erf"

    def __call__(self, z: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
        return jax.scipy.special.erf(z)


@dataclass(frozen=True)
class Arctan(Activation):
    """sigma(z) = arctan(z)."""

    parity = "odd"
    name = "arctan"

    def __call__(self, z: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
        return jnp.arctan(z)


@dataclass(frozen=True)
class Asinh(Activation):
    """sigma(z) = asinh(z), which grows like a logarithm."""

    parity = "odd"
    name = "asinh"

    def __call__(self, z: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
        return jnp.arcsinh(z)


@dataclass(frozen=True)
class Sigmoid(Activation):
    """sigma(z) = 1/(1 + exp(-z)), PDLT (2.10)."""

    name = "sigmoid"

    def __call__(self, z: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
        return jax.nn.sigmoid(jnp.asarray(z))


@dataclass(frozen=True)
class Softsign(Activation):
    """sigma(z) = z/(1 + |z|), whose second derivative jumps at 0."""

    parity = "odd"
    kinks = (0.0,)
    name = "softsign"

    def __call__(self, z: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
        z = jnp.asarray(z)
        return z / (1 + jnp.where(z >= 0, z, -z))


@dataclass(frozen=True)
class HardTanh(Activation):
    """sigma(z) = z cut off at -1 and 1."""

    parity = "odd"
    kinks = (-1.0, 1.0)
    name = "hard_tanh"

    def __call__(self, z: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
        z = jnp.asarray(z)
        return jnp.where(z > 1, 1.0, jnp.where(z < -1, -1.0, z))


@dataclass(frozen=True)
class Perceptron(Activation):
    """The step function: 1 for z >= 0, else 0, PDLT (2.9)."""

    kinks = (0.0,)
    homogeneity = 0
    name = "perceptron"

    def __call__(self, z: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
        z = jnp.asarray(z)
        return jnp.where(z >= 0, jnp.ones_like(z), jnp.zeros_like(z))
