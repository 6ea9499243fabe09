"""What the theory says of networks and what real ones do: a self-contained page, and figures."""

from finitewidth.report.analysis import Analysis, analyze_network
from finitewidth.report.conclusions import Conclusions, conclude
from finitewidth.report.page import Report, build_report
from finitewidth.report.posterior import PosteriorAnalysis, analyze_posterior
from finitewidth.report.posterior_figure import draw_posterior, save_figure

__all__ = [
    "Analysis",
    "Conclusions",
    "PosteriorAnalysis",
    "Report",
    "analyze_network",
    "analyze_posterior",
    "build_report",
    "conclude",
    "draw_posterior",
    "save_figure",
]
