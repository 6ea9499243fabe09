"""The RG flow of an ensemble of networks, layer by layer, to first order in 1/width."""

from finitewidth.flow import linear
from finitewidth.flow.angles import (
    angle_asymptote,
    angle_between,
    angle_flow,
    crossover_depth,
    turning_rate,
)
from finitewidth.flow.correlators import (
    connected_four_point,
    correlator_from_metric_moments,
    metric_moment,
    neuron_correlator,
)
from finitewidth.flow.deep_kernel import DeepKernel, deep_kernel
from finitewidth.flow.depth_fits import FittedExponent, PowerLaw, fit_power_law, fitted_exponents
from finitewidth.flow.effective_action import EffectiveAction, effective_action
from finitewidth.flow.expectation import expectation, neuron_covariance
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
from finitewidth.flow.line_jets import LineJets, line_jets
from finitewidth.flow.marginal import action_of_inputs, of_inputs
from finitewidth.flow.matrix_free import MatrixFree, matrix_free
from finitewidth.flow.matrix_free_tensor import MatrixFreeTensor
from finitewidth.flow.near_coincident import (
    from_gamma_components,
    gamma_components,
    near_coincident_expectation,
    nearby_flow,
    nearby_inputs,
)
from finitewidth.flow.nearby_ntk import NearbyNTK, nearby_ntk, nearby_ntk_flow
from finitewidth.flow.ntk import NTK, ntk
from finitewidth.flow.ntk_asymptotics import decaying_ntk, ntk_asymptotics
from finitewidth.flow.ntk_closed_forms import pinned_ntk, scale_invariant_ntk
from finitewidth.flow.ntk_one_input_tensors import OneInputTensors
from finitewidth.flow.ntk_shares import NTKShares, ntk_shares
from finitewidth.flow.ntk_single_input import single_input_ntk, single_input_ntk_flow
from finitewidth.flow.output_kernels import (
    cross_kernel,
    kernel_diagonal,
    output_kernel,
    output_kernels,
)
from finitewidth.flow.pair_derivatives import (
    PairHessian,
    PairJacobian,
    pair_hessian,
    pair_jacobian,
)
from finitewidth.flow.preactivations import Preactivations, preactivations
from finitewidth.flow.running_couplings import RunningCouplings, running_couplings
from finitewidth.flow.single_input import SingleInput, single_input, single_input_flow
from finitewidth.flow.third_cumulant import third_cumulant
from finitewidth.flow.tuning import (
    asymptotic_tuning,
    finite_width_tuned,
    hyperparameter_shift,
    layerwise_tuning,
)

__all__ = [
    "NTK",
    "DeepKernel",
    "EffectiveAction",
    "FittedExponent",
    "GradientHealth",
    "LayerMap",
    "LineJets",
    "MatrixFree",
    "MatrixFreeTensor",
    "NTKLayerMap",
    "NTKShares",
    "NearbyNTK",
    "OneInputTensors",
    "PairHessian",
    "PairJacobian",
    "PowerLaw",
    "Preactivations",
    "RunningCouplings",
    "SingleInput",
    "action_of_inputs",
    "angle_asymptote",
    "angle_between",
    "angle_flow",
    "asymptotic_tuning",
    "connected_four_point",
    "correlator_from_metric_moments",
    "cross_kernel",
    "crossover_depth",
    "decaying_ntk",
    "deep_kernel",
    "derivative_moment",
    "effective_action",
    "expectation",
    "finite_width_tuned",
    "fit_power_law",
    "fitted_exponents",
    "from_gamma_components",
    "gamma_components",
    "gradient_health",
    "hyperparameter_shift",
    "kernel_diagonal",
    "kernel_map",
    "layer_maps",
    "layerwise_tuning",
    "line_jets",
    "linear",
    "matrix_free",
    "metric_moment",
    "near_coincident_expectation",
    "nearby_flow",
    "nearby_inputs",
    "nearby_ntk",
    "nearby_ntk_flow",
    "neuron_correlator",
    "neuron_covariance",
    "ntk",
    "ntk_asymptotics",
    "ntk_layer_maps",
    "ntk_shares",
    "of_inputs",
    "output_kernel",
    "output_kernels",
    "pair_hessian",
    "pair_jacobian",
    "pinned_ntk",
    "preactivations",
    "running_couplings",
    "scale_invariant_ntk",
    "second_moment",
    "single_input",
    "single_input_flow",
    "single_input_ntk",
    "single_input_ntk_flow",
    "third_cumulant",
    "turning_rate",
]
