"""Results as JSON, which has no numbers that are not finite."""

import json
import math
from typing import Any

import numpy as np

from finitewidth.network import MLP


def json_text(content: dict[str, Any]) -> str:
    """Return JSON with null for numbers that it does not have, such as infinite errors.

    Example:
        >>> json_text({"z": [1.0, float("inf")]}).split()
        ['{', '"z":', '[', '1.0,', 'null', ']', '}']
    """
    return json.dumps(_finite(content), indent=2, allow_nan=False)


def network_content(net: MLP) -> dict[str, Any]:
    """Return what defines a network, for JSON.

    Example:
        >>> network_content(MLP((2, 3, 1), "relu", C_W=2.0))["C_W"]
        [2.0, 2.0]
    """
    layers = ("C_b", "C_W", "lambda_b", "lambda_W")
    return {
        "activation": net.activation.name,
        "widths": list(net.widths),
        **{name: np.asarray(getattr(net, name)).tolist() for name in layers},
    }


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
