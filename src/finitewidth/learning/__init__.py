"""Losses, objectives and gradient descent of real networks, and what one step changes."""

from finitewidth.learning.first_order import FirstOrderChange, first_order_change
from finitewidth.learning.gradient_descent import (
    Training,
    gradient_descent,
    gradient_descent_optimizer,
    gradient_step,
)
from finitewidth.learning.objectives import log_prior, map_objective, negative_log_likelihood
from finitewidth.network.descent import tensorial_learning_rates
from finitewidth.network.losses import Loss, cross_entropy, loss_of, mean_squared_error

__all__ = [
    "FirstOrderChange",
    "Loss",
    "Training",
    "cross_entropy",
    "first_order_change",
    "gradient_descent",
    "gradient_descent_optimizer",
    "gradient_step",
    "log_prior",
    "loss_of",
    "map_objective",
    "mean_squared_error",
    "negative_log_likelihood",
    "tensorial_learning_rates",
]
