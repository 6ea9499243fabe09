"""Labels, their noise and the network, checked: every message says what was got and wanted."""

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from finitewidth.network import MLP
from finitewidth.validation import check_inputs


def check_problem(
    net: MLP, x: ArrayLike, y: ArrayLike, x_test: ArrayLike | None, noise: float
) -> tuple[Float[Array, "D n0"], Float[Array, "N n_L"], float]:
    """Return observed and then test inputs, labels and noise, or say what is wrong with them."""
    x = check_inputs(x, net.widths[0])
    labels = check_labels(y, x.shape[0], net.widths[-1])
    inputs = x
    if x_test is not None:
        inputs = jnp.concatenate([x, check_inputs(x_test, net.widths[0], "x_test")])
    return inputs, labels, check_noise(noise)


def check_labels(y: ArrayLike, samples: int, outputs: int) -> Float[Array, "N n_L"]:
    """Return labels as an array of shape (N, n_L), or say what is wrong with them."""
    array = np.asarray(y)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"y: wanted real numbers, got an array of type {array.dtype}.")
    if array.ndim == 1 and outputs == 1:
        array = array[:, None]
    if array.shape != (samples, outputs):
        raise ValueError(
            f"y: wanted shape ({samples}, {outputs}), one row per input and one column per output "
            f"of the network, got shape {np.shape(y)}."
        )
    if not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).sum())
        raise ValueError(f"y: wanted finite numbers, got {bad} NaN or infinite entries.")
    return jnp.asarray(array, float)


def check_noise(noise: float) -> float:
    """Return the variance of the observation noise, or say what is wrong with it."""
    if np.ndim(noise) != 0:
        raise ValueError(f"noise: wanted one number, got shape {np.shape(noise)}.")
    value = float(noise)
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"noise: wanted a variance, finite and >= 0, got {noise}.")
    return value


def check_network(net: MLP, x: Float[Array, "N n0"], noise: float) -> None:
    """Say why the last layer of this network cannot be integrated out, if so."""
    if net.law != "gaussian":
        raise ValueError(
            "law: the last layer can be integrated out for Gaussian weights only; wanted "
            f"'gaussian', got {net.law!r}."
        )
    if (np.asarray(net.C_W)[1:] == 0).any():
        raise ValueError(
            "C_W: wanted C_W > 0 from layer 2 on, or hidden layers leave no trace, got "
            f"{np.asarray(net.C_W).tolist()}."
        )
    if noise == 0:
        _check_regular(net, x)


def _check_regular(net: MLP, x: Float[Array, "N n0"]) -> None:
    samples = x.shape[0]
    if len(np.unique(np.asarray(x), axis=0)) < samples:
        raise ValueError("noise: wanted noise > 0 for inputs that repeat, got 0: singular kernel.")
    rank = net.widths[-2] + int(net.C_b[-1] > 0)
    if rank < samples:
        raise ValueError(
            f"noise: wanted noise > 0, or at most {rank} observed inputs, got 0 and {samples}: "
            f"the kernel of {net.widths[-2]} neurons in the layer below the outputs has rank "
            f"{rank} and is singular."
        )
