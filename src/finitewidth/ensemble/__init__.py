"""Real networks, measured and trained: samplers, mergeable statistics, checkpoints."""

from finitewidth.ensemble.accumulator import CentralProducts, Moments, ProductSums
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
from finitewidth.ensemble.train import train, trainer
from finitewidth.ensemble.train_extrapolated import TrainedLimit, train_extrapolated
from finitewidth.ensemble.trained import TrainedEnsemble
from finitewidth.ensemble.trainer import TrainedNetworks, Trainer
from finitewidth.ensemble.weights import draw_by_weights
from finitewidth.ensemble.width_fit import WidthFit, fit_widths

__all__ = [
    "CentralProducts",
    "Draw",
    "Estimate",
    "LayerMap",
    "Measurement",
    "Moments",
    "NtkLayerMap",
    "ProductSums",
    "Sampler",
    "TrainedEnsemble",
    "TrainedLimit",
    "TrainedNetworks",
    "Trainer",
    "WidthFit",
    "draw_by_chain",
    "draw_by_weights",
    "draw_with_ntk",
    "empirical_ntk",
    "fit_widths",
    "measure",
    "measure_extrapolated",
    "merge_states",
    "ntk_shares",
    "observable_names",
    "richardson",
    "scaled",
    "square_root",
    "train",
    "train_extrapolated",
    "trainer",
]
