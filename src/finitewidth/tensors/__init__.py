"""Four-index tensors as operators on pairs of samples."""

from finitewidth.tensors.dense import DenseTensor
from finitewidth.tensors.factorized import FactorizedTensor
from finitewidth.tensors.pair_tensor import PairTensor
from finitewidth.tensors.symmetry import (
    asymmetry,
    independent_entries,
    symmetrize,
    unordered_pairs,
)

__all__ = [
    "DenseTensor",
    "FactorizedTensor",
    "PairTensor",
    "asymmetry",
    "independent_entries",
    "symmetrize",
    "unordered_pairs",
]
