"""The RG flow of an ensemble of networks, layer by layer, to first order in 1/width."""

from finitewidth.flow.layer_map import (
    LayerDerivatives,
    LayerMap,
    derivative_moment,
    kernel_map,
    layer_derivatives,
    layer_maps,
    second_moment,
)
from finitewidth.flow.ntk import NTK, ntk
from finitewidth.flow.preactivations import Preactivations, preactivations

__all__ = [
    "NTK",
    "LayerDerivatives",
    "LayerMap",
    "Preactivations",
    "derivative_moment",
    "kernel_map",
    "layer_derivatives",
    "layer_maps",
    "ntk",
    "preactivations",
    "second_moment",
]
