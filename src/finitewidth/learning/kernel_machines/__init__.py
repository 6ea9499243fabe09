"""Linear models and kernel machines, and the ones that networks are to first order."""

from finitewidth.learning.kernel_machines.kernel_machine import (
    KernelMachine,
    dual_weights,
    kernel_machine,
)
from finitewidth.learning.kernel_machines.kernels import (
    feature_kernel,
    gaussian_kernel,
    linear_kernel,
)
from finitewidth.learning.kernel_machines.linear_model import (
    LinearModel,
    fit_linear_model,
    linear_features,
)
from finitewidth.learning.kernel_machines.random_features import (
    network_features,
    random_feature_kernel,
)

__all__ = [
    "KernelMachine",
    "LinearModel",
    "dual_weights",
    "feature_kernel",
    "fit_linear_model",
    "gaussian_kernel",
    "kernel_machine",
    "linear_features",
    "linear_kernel",
    "network_features",
    "random_feature_kernel",
]
