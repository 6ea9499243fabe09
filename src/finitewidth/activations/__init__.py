"""Activation functions and what is known about each of them."""

from finitewidth.activations.base import Activation
from finitewidth.activations.custom import Custom, custom
from finitewidth.activations.exponential import Elu, Selu, Softplus
from finitewidth.activations.gated import Gelu, GeluTanh, HardSwish, Mish, Swish
from finitewidth.activations.periodic import Cos, Sin
from finitewidth.activations.piecewise_linear import PiecewiseLinear
from finitewidth.activations.polynomial import Monomial
from finitewidth.activations.registry import activation, activation_names
from finitewidth.activations.sigmoidal import (
    Arctan,
    Asinh,
    Erf,
    HardTanh,
    Perceptron,
    Sigmoid,
    Softsign,
    Tanh,
)

__all__ = [
    "Activation",
    "Arctan",
    "Asinh",
    "Cos",
    "Custom",
    "Elu",
    "Erf",
    "Gelu",
    "GeluTanh",
    "HardSwish",
    "HardTanh",
    "Mish",
    "Monomial",
    "Perceptron",
    "PiecewiseLinear",
    "Selu",
    "Sigmoid",
    "Sin",
    "Softplus",
    "Softsign",
    "Swish",
    "Tanh",
    "activation",
    "activation_names",
    "custom",
]
