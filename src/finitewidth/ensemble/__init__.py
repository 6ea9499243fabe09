"""Real networks, measured: samplers, mergeable statistics, standard errors, checkpoints."""

from finitewidth.ensemble.accumulator import Moments, ProductSums
from finitewidth.ensemble.chunk import Sampler, merge_states
from finitewidth.ensemble.control_variates import LayerMap
from finitewidth.ensemble.draw import Draw
from finitewidth.ensemble.estimate import Estimate, Measurement
from finitewidth.ensemble.measure import measure
from finitewidth.ensemble.metric_chain import draw_by_chain, square_root
from finitewidth.ensemble.observables import observable_names
from finitewidth.ensemble.richardson import measure_extrapolated, richardson, scaled
from finitewidth.ensemble.weights import draw_by_weights

__all__ = [
    "Draw",
    "Estimate",
    "LayerMap",
    "Measurement",
    "Moments",
    "ProductSums",
    "Sampler",
    "draw_by_chain",
    "draw_by_weights",
    "measure",
    "measure_extrapolated",
    "merge_states",
    "observable_names",
    "richardson",
    "scaled",
    "square_root",
]
