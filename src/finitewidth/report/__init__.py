"""One self-contained page on what the theory says of a network and what real networks do."""

from finitewidth.report.analysis import Analysis, analyze_network
from finitewidth.report.conclusions import Conclusions, conclude
from finitewidth.report.page import Report, build_report

__all__ = ["Analysis", "Conclusions", "Report", "analyze_network", "build_report", "conclude"]
