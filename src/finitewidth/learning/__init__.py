"""Losses and gradient descent of real networks; what training does to infinitely wide ones."""

from finitewidth.learning import generalization, kernel_machines
from finitewidth.learning.bayes_rates import bayes_equivalent
from finitewidth.learning.class_targets import smoothed_labels, squared_error_targets
from finitewidth.learning.first_order import FirstOrderChange, first_order_change
from finitewidth.learning.function_space import DualTraining, train_duals
from finitewidth.learning.giant_leap import giant_leap
from finitewidth.learning.gradient_descent import (
    Training,
    gradient_descent,
    gradient_descent_optimizer,
    gradient_step,
)
from finitewidth.learning.gradient_flow import flow_duals
from finitewidth.learning.hidden_update import HiddenUpdate, hidden_update
from finitewidth.learning.loss_history import LossHistory, expected_loss_history
from finitewidth.learning.objectives import log_prior, map_objective, negative_log_likelihood
from finitewidth.learning.prediction import Prediction, predict
from finitewidth.learning.regularizer import regularizer_correlation, regularizer_tensor
from finitewidth.learning.second_order import second_order_step
from finitewidth.learning.stability import max_learning_rate, steps_to_tolerance
from finitewidth.network.descent import tensorial_learning_rates
from finitewidth.network.losses import Loss, cross_entropy, loss_of, mean_squared_error

__all__ = [
    "DualTraining",
    "FirstOrderChange",
    "HiddenUpdate",
    "Loss",
    "LossHistory",
    "Prediction",
    "Training",
    "bayes_equivalent",
    "cross_entropy",
    "expected_loss_history",
    "first_order_change",
    "flow_duals",
    "generalization",
    "giant_leap",
    "gradient_descent",
    "gradient_descent_optimizer",
    "gradient_step",
    "hidden_update",
    "kernel_machines",
    "log_prior",
    "loss_of",
    "map_objective",
    "max_learning_rate",
    "mean_squared_error",
    "negative_log_likelihood",
    "predict",
    "regularizer_correlation",
    "regularizer_tensor",
    "second_order_step",
    "smoothed_labels",
    "squared_error_targets",
    "steps_to_tolerance",
    "tensorial_learning_rates",
    "train_duals",
]
