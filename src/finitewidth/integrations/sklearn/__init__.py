"""Ensembles of networks as scikit-learn estimators: no training, error bars included."""

from finitewidth.integrations.sklearn.classifiers import (
    FiniteWidthClassifier,
    InfiniteWidthClassifier,
)
from finitewidth.integrations.sklearn.regressors import (
    FiniteWidthRegressor,
    InfiniteWidthRegressor,
)

__all__ = [
    "FiniteWidthClassifier",
    "FiniteWidthRegressor",
    "InfiniteWidthClassifier",
    "InfiniteWidthRegressor",
]
