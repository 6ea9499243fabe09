"""Network specifications: widths, activation, initialization law, learning rates."""

from finitewidth.network.initialization import Layer, draw_layer, weight_laws
from finitewidth.network.mlp import MLP, Parameters

__all__ = ["MLP", "Layer", "Parameters", "draw_layer", "weight_laws"]
