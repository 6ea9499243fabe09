"""Entropy and information of neurons, at infinite and at finite width."""

from finitewidth.information.aspect_ratio import (
    AspectRatio,
    information_by_depth,
    information_growth,
    optimal_aspect_ratio,
)
from finitewidth.information.association import (
    conditional_variance,
    conditional_variance_of_samples,
)
from finitewidth.information.exact_law import exact_scale_mixture
from finitewidth.information.gaussian_entropy import (
    gaussian_divergence,
    gaussian_entropy,
    input_mutual_information,
    input_tripartite_information,
)
from finitewidth.information.metric_variance import metric_variance
from finitewidth.information.neuron_information import (
    neuron_entropy,
    neuron_mutual_information,
    tripartite_information,
    variational_couplings,
)
from finitewidth.information.scale_mixture import ScaleMixture
from finitewidth.information.several_inputs import (
    SeveralInputs,
    neuron_information_of,
    neuron_mutual_information_of,
)

__all__ = [
    "AspectRatio",
    "ScaleMixture",
    "SeveralInputs",
    "conditional_variance",
    "conditional_variance_of_samples",
    "exact_scale_mixture",
    "gaussian_divergence",
    "gaussian_entropy",
    "information_by_depth",
    "information_growth",
    "input_mutual_information",
    "input_tripartite_information",
    "metric_variance",
    "neuron_entropy",
    "neuron_information_of",
    "neuron_mutual_information",
    "neuron_mutual_information_of",
    "optimal_aspect_ratio",
    "tripartite_information",
    "variational_couplings",
]
