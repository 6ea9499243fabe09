"""Bayesian learning: posteriors and evidence of networks at infinite and at finite width."""

from finitewidth.bayes.evidence import (
    Comparison,
    compare,
    expansion_parameter,
    log_evidence,
    two_input_log_evidence,
)
from finitewidth.bayes.feature_update import FeatureUpdate, feature_update
from finitewidth.bayes.infinite_width import InfiniteWidthPosterior, infinite_width_posterior
from finitewidth.bayes.optimum import EvidenceOptimum, optimize_evidence
from finitewidth.bayes.posterior import ExpansionWarning, Posterior, posterior
from finitewidth.bayes.sampling import (
    ChainPosterior,
    SampledPosterior,
    importance_sample,
    nuts_sample,
    sample_posterior,
)

__all__ = [
    "ChainPosterior",
    "Comparison",
    "EvidenceOptimum",
    "ExpansionWarning",
    "FeatureUpdate",
    "InfiniteWidthPosterior",
    "Posterior",
    "SampledPosterior",
    "compare",
    "expansion_parameter",
    "feature_update",
    "importance_sample",
    "infinite_width_posterior",
    "log_evidence",
    "nuts_sample",
    "optimize_evidence",
    "posterior",
    "sample_posterior",
    "two_input_log_evidence",
]
