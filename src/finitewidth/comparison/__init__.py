"""Theory beside measurement, in units of the standard error."""

from finitewidth.comparison.against import compare, predictions
from finitewidth.comparison.comparison import Comparison, Disagreement, Row

__all__ = ["Comparison", "Disagreement", "Row", "compare", "predictions"]
