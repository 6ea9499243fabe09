"""Data sets and their labels: the digits of scikit-learn, or a file of the user's own."""

from finitewidth.data.labels import Labels, centred_one_hot, check_labels, draw_unlike
from finitewidth.data.loading import AS_THEY_ARE, DataSet, describe, draw_samples, load_data

__all__ = [
    "AS_THEY_ARE",
    "DataSet",
    "Labels",
    "centred_one_hot",
    "check_labels",
    "describe",
    "draw_samples",
    "draw_unlike",
    "load_data",
]
