"""Posteriors of real networks, sampled: no expansion in 1/n, standard errors on everything."""

from finitewidth.bayes.sampling.importance import importance_sample
from finitewidth.bayes.sampling.nuts import ChainPosterior, nuts_sample
from finitewidth.bayes.sampling.posterior import SampledPosterior
from finitewidth.bayes.sampling.sample_posterior import sample_posterior

__all__ = [
    "ChainPosterior",
    "SampledPosterior",
    "importance_sample",
    "nuts_sample",
    "sample_posterior",
]
