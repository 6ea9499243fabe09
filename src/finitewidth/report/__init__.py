"""What the theory says of networks and what real ones do: a self-contained page, and figures."""

from finitewidth.report.analysis import Analysis, analyze_network
from finitewidth.report.conclusions import Conclusions, conclude
from finitewidth.report.page import Report, build_report
from finitewidth.report.posterior import PosteriorAnalysis, analyze_posterior
from finitewidth.report.posterior_figure import draw_posterior, save_figure
from finitewidth.report.prediction import PredictionAnalysis, analyze_prediction
from finitewidth.report.prediction_figure import draw_prediction

__all__ = [
    "Analysis",
    "Conclusions",
    "PosteriorAnalysis",
    "PredictionAnalysis",
    "Report",
    "analyze_network",
    "analyze_posterior",
    "analyze_prediction",
    "build_report",
    "conclude",
    "draw_posterior",
    "draw_prediction",
    "save_figure",
]
