"""The RG flow of an ensemble of networks, layer by layer, to first order in 1/width."""

from finitewidth.flow.layer_map import (
    LayerMap,
    NTKLayerMap,
    derivative_moment,
    kernel_map,
    layer_maps,
    ntk_layer_maps,
    second_moment,
)
from finitewidth.flow.ntk import NTK, ntk
from finitewidth.flow.pair_derivatives import (
    PairHessian,
    PairJacobian,
    pair_hessian,
    pair_jacobian,
)
from finitewidth.flow.preactivations import Preactivations, preactivations

__all__ = [
    "NTK",
    "LayerMap",
    "NTKLayerMap",
    "PairHessian",
    "PairJacobian",
    "Preactivations",
    "derivative_moment",
    "kernel_map",
    "layer_maps",
    "ntk",
    "ntk_layer_maps",
    "pair_hessian",
    "pair_jacobian",
    "preactivations",
    "second_moment",
]
