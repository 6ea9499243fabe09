"""The effective theory of deep neural networks at finite width, next to measured ensembles.

The parts are loaded when they are first used, so that `import finitewidth` and the command line
start at once.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from finitewidth import (
        activations,
        bayes,
        comparison,
        criticality,
        data,
        ensemble,
        flow,
        gaussian,
        information,
        integrations,
        learning,
        learning_rates,
        network,
        precision,
        report,
        tensors,
    )
    from finitewidth.activations import Activation, activation
    from finitewidth.comparison import compare
    from finitewidth.network import MLP
    from finitewidth.precision import double_precision

__version__ = "0.1.0"

_PARTS = (
    "activations",
    "bayes",
    "comparison",
    "criticality",
    "data",
    "ensemble",
    "flow",
    "gaussian",
    "information",
    "integrations",
    "learning",
    "learning_rates",
    "network",
    "precision",
    "report",
    "tensors",
)
_NAMES = {
    "MLP": "finitewidth.network",
    "Activation": "finitewidth.activations",
    "activation": "finitewidth.activations",
    "compare": "finitewidth.comparison",
    "double_precision": "finitewidth.precision",
}

__all__ = [
    "MLP",
    "Activation",
    "activation",
    "activations",
    "bayes",
    "compare",
    "comparison",
    "criticality",
    "data",
    "double_precision",
    "ensemble",
    "flow",
    "gaussian",
    "information",
    "integrations",
    "learning",
    "learning_rates",
    "network",
    "precision",
    "report",
    "tensors",
]


def __getattr__(name: str) -> Any:
    if name in _PARTS:
        return import_module(f"finitewidth.{name}")
    if name in _NAMES:
        return getattr(import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'finitewidth' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
