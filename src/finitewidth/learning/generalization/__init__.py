"""How trained networks generalize: test loss, robustness, and what lies between training inputs."""

from finitewidth.learning.generalization.bias_variance_map import (
    BiasVarianceMap,
    bias_variance_map,
)
from finitewidth.learning.generalization.expected_loss import ExpectedLoss, expected_test_loss

__all__ = [
    "BiasVarianceMap",
    "ExpectedLoss",
    "bias_variance_map",
    "expected_test_loss",
]
