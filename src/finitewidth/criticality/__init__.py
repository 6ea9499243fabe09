"""Criticality: susceptibilities, fixed points, critical tuning and universality classes."""

from finitewidth.criticality.analysis import (
    Criticality,
    Initialization,
    analyze,
    analyze_initialization,
)
from finitewidth.criticality.asymptotics import Asymptotic
from finitewidth.criticality.fixed_points import FixedPoint, correlation_depth, fixed_points
from finitewidth.criticality.phase_diagram import (
    Line,
    PhaseDiagram,
    perpendicular_line,
    phase_diagram,
)
from finitewidth.criticality.susceptibilities import (
    Susceptibilities,
    criticality_ratio,
    susceptibilities,
)
from finitewidth.criticality.tuning import Tuning, critical_initialization, critical_tuning
from finitewidth.criticality.universality import Universality, classify

__all__ = [
    "Asymptotic",
    "Criticality",
    "FixedPoint",
    "Initialization",
    "Line",
    "PhaseDiagram",
    "Susceptibilities",
    "Tuning",
    "Universality",
    "analyze",
    "analyze_initialization",
    "classify",
    "correlation_depth",
    "critical_initialization",
    "critical_tuning",
    "criticality_ratio",
    "fixed_points",
    "perpendicular_line",
    "phase_diagram",
    "susceptibilities",
]
