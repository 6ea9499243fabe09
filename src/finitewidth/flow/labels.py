"""Labelled results: arrays over layers and samples with the network that they belong to."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from finitewidth.network import MLP

#: Dimensions of a matrix over the samples of every layer.
MATRIX = ("layer", "sample_1", "sample_2")

#: Dimensions of a tensor with the pairs (12)(34), and of one with the pairs (13)(24).
PAIRS = ("layer", "sample_1", "sample_2", "sample_3", "sample_4")
CROSSED_PAIRS = ("layer", "sample_1", "sample_3", "sample_2", "sample_4")


def labelled(net: MLP, fields: Mapping[str, tuple[tuple[str, ...], Any]]) -> xr.Dataset:
    """Return arrays as a data set with layers, widths and hyperparameters as coordinates.

    Args:
        net: the network.
        fields: dimensions and values by name; None values are left out.

    Returns:
        The data set; its attributes describe the network and can be written to Zarr or netCDF.
    """
    layers = np.arange(1, net.depth + 1)
    per_layer = {name: getattr(net, name) for name in ("C_b", "C_W", "lambda_b", "lambda_W")}
    return xr.Dataset(
        {
            name: (dims, np.asarray(values))
            for name, (dims, values) in fields.items()
            if values is not None
        },
        coords={
            "layer": layers,
            "fan_in": ("layer", np.asarray(net.widths[:-1])),
            **{name: ("layer", np.asarray(values)) for name, values in per_layer.items()},
        },
        attrs={
            "network": repr(net),
            "widths": list(net.widths),
            "activation": net.activation.name,
            "law": net.law,
            "units": "tensors and nlo_* of a layer are in units of 1/fan_in",
        },
    )
