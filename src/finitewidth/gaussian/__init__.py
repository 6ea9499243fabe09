"""Gaussian expectations: the toolkit of chapter 1, and the pair function of the theory."""

from finitewidth.gaussian.correlators import (
    Correlator,
    connected_correlator,
    correlator,
    excess_kurtosis,
)
from finitewidth.gaussian.covariance import (
    PrincipalAxes,
    check_covariance,
    principal_axes,
    square_root,
)
from finitewidth.gaussian.cumulants import (
    cumulants_to_moments,
    joint_cumulant,
    joint_cumulants_to_moments,
    joint_moments_to_cumulants,
    moments_to_cumulants,
    scale_mixture_cumulants,
    set_partitions,
)
from finitewidth.gaussian.expectation import Expectation, gaussian_expectation
from finitewidth.gaussian.four_point import four_point_moment
from finitewidth.gaussian.pair import (
    ActivationProduct,
    PairMoments,
    PairReport,
    has_closed_form,
    pair_expectation,
    pair_moments,
)
from finitewidth.gaussian.quartic import (
    Perturbed,
    QuarticAction,
    even_action,
    perturbed_expectation,
)
from finitewidth.gaussian.quartic_exact import exact_quartic_moments, exact_quartic_partition
from finitewidth.gaussian.single import single_moment
from finitewidth.gaussian.wick import (
    generating_function,
    log_partition_function,
    number_of_pairings,
    pairings,
    wick_moment,
    wick_tensor,
)

__all__ = [
    "ActivationProduct",
    "Correlator",
    "Expectation",
    "PairMoments",
    "PairReport",
    "Perturbed",
    "PrincipalAxes",
    "QuarticAction",
    "check_covariance",
    "connected_correlator",
    "correlator",
    "cumulants_to_moments",
    "even_action",
    "exact_quartic_moments",
    "exact_quartic_partition",
    "excess_kurtosis",
    "four_point_moment",
    "gaussian_expectation",
    "generating_function",
    "has_closed_form",
    "joint_cumulant",
    "joint_cumulants_to_moments",
    "joint_moments_to_cumulants",
    "log_partition_function",
    "moments_to_cumulants",
    "number_of_pairings",
    "pair_expectation",
    "pair_moments",
    "pairings",
    "perturbed_expectation",
    "principal_axes",
    "scale_mixture_cumulants",
    "set_partitions",
    "single_moment",
    "square_root",
    "wick_moment",
    "wick_tensor",
]
