"""Deep linear networks, exactly: correlators, output law, magnitudes, angles at any width."""

from finitewidth.flow.linear import orthogonal, scale_invariant, weight_laws
from finitewidth.flow.linear.action import Couplings, couplings, leading_couplings
from finitewidth.flow.linear.correlators import (
    connected,
    correlator,
    log_connected,
    log_correlator,
    log_width_factor,
    variance_of_mean_square,
)
from finitewidth.flow.linear.density import OutputDensity, density, metric_law
from finitewidth.flow.linear.double_scaling import (
    connected_graphs,
    depth_over_width,
    leading_connected,
    scaling_connected,
    scaling_correlator,
)
from finitewidth.flow.linear.gamma_product import GammaProduct, log_meijer_g
from finitewidth.flow.linear.geometry import (
    frobenius_moments,
    log_mean_determinant,
    mean_log_determinant,
    mean_log_sin2,
)
from finitewidth.flow.linear.inputs import (
    four_point,
    moment,
    pairing_correlators,
    transfer_matrix,
    vertex,
    zonal_eigenvalue,
)
from finitewidth.flow.linear.kernel import decay_length, kernel, log_kernel
from finitewidth.flow.linear.log_magnitude import (
    log_cumulant,
    lognormal,
    lyapunov_exponent,
    typical_critical_C_W,
)
from finitewidth.flow.linear.planning import max_depth, networks_needed
from finitewidth.flow.linear.statistics import LinearStatistics, statistics

__all__ = [
    "Couplings",
    "GammaProduct",
    "LinearStatistics",
    "OutputDensity",
    "connected",
    "connected_graphs",
    "correlator",
    "couplings",
    "decay_length",
    "density",
    "depth_over_width",
    "four_point",
    "frobenius_moments",
    "kernel",
    "leading_connected",
    "leading_couplings",
    "log_connected",
    "log_correlator",
    "log_cumulant",
    "log_kernel",
    "log_mean_determinant",
    "log_meijer_g",
    "log_width_factor",
    "lognormal",
    "lyapunov_exponent",
    "max_depth",
    "mean_log_determinant",
    "mean_log_sin2",
    "metric_law",
    "moment",
    "networks_needed",
    "orthogonal",
    "pairing_correlators",
    "scale_invariant",
    "scaling_connected",
    "scaling_correlator",
    "statistics",
    "transfer_matrix",
    "typical_critical_C_W",
    "variance_of_mean_square",
    "vertex",
    "weight_laws",
    "zonal_eigenvalue",
]
