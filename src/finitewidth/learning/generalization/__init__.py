"""How trained networks generalize: test loss, robustness, and what lies between training inputs."""

from finitewidth.learning.generalization.bias_variance_map import (
    BiasVarianceMap,
    bias_variance_map,
)
from finitewidth.learning.generalization.deep_robustness import (
    DeepRobustness,
    half_stable_ntk,
    robustness_exponent,
)
from finitewidth.learning.generalization.expected_loss import ExpectedLoss, expected_test_loss
from finitewidth.learning.generalization.finite_angle import (
    DeepLimits,
    FiniteAngle,
    finite_angle_flow,
    finite_angle_limits,
    linear_cosine,
)
from finitewidth.learning.generalization.half_power import half_power_shift
from finitewidth.learning.generalization.polation import (
    Polation,
    interpolate,
    kinked_limit,
    small_separation,
)
from finitewidth.learning.generalization.robustness import Robustness, robustness

__all__ = [
    "BiasVarianceMap",
    "DeepLimits",
    "DeepRobustness",
    "ExpectedLoss",
    "FiniteAngle",
    "Polation",
    "Robustness",
    "bias_variance_map",
    "expected_test_loss",
    "finite_angle_flow",
    "finite_angle_limits",
    "half_power_shift",
    "half_stable_ntk",
    "interpolate",
    "kinked_limit",
    "linear_cosine",
    "robustness",
    "robustness_exponent",
    "small_separation",
]
