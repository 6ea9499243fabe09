"""Network specifications and losses; the rule of a step is in `network.descent`."""

from finitewidth.network.initialization import Layer, draw_layer, weight_laws
from finitewidth.network.losses import Loss, cross_entropy, loss_of, mean_squared_error
from finitewidth.network.mlp import MLP, Parameters

__all__ = [
    "MLP",
    "Layer",
    "Loss",
    "Parameters",
    "cross_entropy",
    "draw_layer",
    "loss_of",
    "mean_squared_error",
    "weight_laws",
]
