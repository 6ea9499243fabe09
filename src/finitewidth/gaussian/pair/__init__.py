"""Expectations of functions of two correlated Gaussian variables."""

from finitewidth.gaussian.factor import ActivationProduct
from finitewidth.gaussian.pair.closed_forms import has_closed_form
from finitewidth.gaussian.pair.moments import (
    PairMoments,
    PairReport,
    pair_expectation,
    pair_moments,
)

__all__ = [
    "ActivationProduct",
    "PairMoments",
    "PairReport",
    "has_closed_form",
    "pair_expectation",
    "pair_moments",
]
