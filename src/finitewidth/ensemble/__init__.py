"""Real networks, measured: samplers, mergeable statistics, standard errors, checkpoints."""

from finitewidth.ensemble.accumulator import Moments, ProductSums
from finitewidth.ensemble.chunk import Sampler, merge_states
from finitewidth.ensemble.conditional_ntk import draw_with_ntk
from finitewidth.ensemble.control_variates import LayerMap, NtkLayerMap
from finitewidth.ensemble.draw import Draw
from finitewidth.ensemble.empirical_ntk import empirical_ntk, ntk_shares
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
    "NtkLayerMap",
    "ProductSums",
    "Sampler",
    "draw_by_chain",
    "draw_by_weights",
    "draw_with_ntk",
    "empirical_ntk",
    "measure",
    "measure_extrapolated",
    "merge_states",
    "ntk_shares",
    "observable_names",
    "richardson",
    "scaled",
    "square_root",
]
