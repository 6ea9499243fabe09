"""Labels, their noise and the network, checked: every message says what was got and wanted."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from finitewidth.network import MLP
from finitewidth.validation import check_inputs, check_outputs, check_variance


def check_problem(
    net: MLP, x: ArrayLike, y: ArrayLike, x_test: ArrayLike | None, noise: float
) -> tuple[Float[Array, "D n0"], Float[Array, "N n_L"], float]:
    """Return observed and then test inputs, labels and noise, or say what is wrong with them."""
    x = check_inputs(x, net.widths[0])
    labels = check_outputs(y, x.shape[0], net.widths[-1])
    inputs = x
    if x_test is not None:
        inputs = jnp.concatenate([x, check_inputs(x_test, net.widths[0], "x_test")])
    return inputs, labels, float(check_variance(noise, "noise"))


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
