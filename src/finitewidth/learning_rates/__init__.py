"""Learning rates of every layer: the equivalence principle, transfer between networks, schemes."""

from finitewidth.learning_rates.equivalence import equivalence
from finitewidth.learning_rates.parametrizations import (
    ntk_parametrization,
    plain_gradient_descent,
)
from finitewidth.learning_rates.rates import LearningRates
from finitewidth.learning_rates.transfer import transfer

__all__ = [
    "LearningRates",
    "equivalence",
    "ntk_parametrization",
    "plain_gradient_descent",
    "transfer",
]
