"""Data sets: the digits of scikit-learn, or a file of the user's own."""

from finitewidth.data.loading import AS_THEY_ARE, DataSet, describe, draw_samples, load_data

__all__ = ["AS_THEY_ARE", "DataSet", "describe", "draw_samples", "load_data"]
