"""The RG flow of an ensemble of networks, layer by layer, to first order in 1/width."""

from finitewidth.flow import linear
from finitewidth.flow.gradient_health import GradientHealth, gradient_health
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
from finitewidth.flow.ntk_asymptotics import decaying_ntk, ntk_asymptotics
from finitewidth.flow.ntk_closed_forms import pinned_ntk, scale_invariant_ntk
from finitewidth.flow.ntk_one_input_tensors import OneInputTensors
from finitewidth.flow.ntk_shares import NTKShares, ntk_shares
from finitewidth.flow.ntk_single_input import single_input_ntk, single_input_ntk_flow
from finitewidth.flow.pair_derivatives import (
    PairHessian,
    PairJacobian,
    pair_hessian,
    pair_jacobian,
)
from finitewidth.flow.preactivations import Preactivations, preactivations

__all__ = [
    "NTK",
    "GradientHealth",
    "LayerMap",
    "NTKLayerMap",
    "NTKShares",
    "OneInputTensors",
    "PairHessian",
    "PairJacobian",
    "Preactivations",
    "decaying_ntk",
    "derivative_moment",
    "gradient_health",
    "kernel_map",
    "layer_maps",
    "linear",
    "ntk",
    "ntk_asymptotics",
    "ntk_layer_maps",
    "ntk_shares",
    "pair_hessian",
    "pair_jacobian",
    "pinned_ntk",
    "preactivations",
    "scale_invariant_ntk",
    "second_moment",
    "single_input_ntk",
    "single_input_ntk_flow",
]
