"""Networks of any scale-invariant activation on one input: correlators, laws, dead networks."""

from finitewidth.flow.linear.scale_invariant.correlators import (
    connected,
    correlator,
    dead_probability,
    growth_constant,
    log_correlator,
    mean_square,
    scaling_correlator,
)
from finitewidth.flow.linear.scale_invariant.law import (
    density,
    log_mean,
    log_variance,
    metric_law,
)

__all__ = [
    "connected",
    "correlator",
    "dead_probability",
    "density",
    "growth_constant",
    "log_correlator",
    "log_mean",
    "log_variance",
    "mean_square",
    "metric_law",
    "scaling_correlator",
]
