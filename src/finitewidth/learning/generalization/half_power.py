r"""Trained ReLU networks approach infinite width like n^(-1/2): the coefficient (derived).

One hidden layer, one training input a, no biases, test input b:

    E[z_b(T)] - (Theta_ba/Theta_aa) y = -(Theta_ba/Theta_aa) (C_W^(2))^(3/2)/(2 pi sqrt(K^(1)_aa))
                                         E[c |c|]/sqrt(n_1) + O(1/n_1)
    c = (Theta^(1)_aa/Theta_aa) (z_a - y),   z_a ~ N(0, K_aa)

A neuron whose preactivation starts within its own step of the kink stops there instead of moving
on linearly; a fraction n^(-1/2) of the neurons does, each by as much as all the others move. For
smooth activations the first correction is of order 1/n. A fit of trained kinked ensembles over
widths needs the basis 1, n^(-1/2), 1/n, ...
"""

import math

import jax.numpy as jnp
from jax.scipy.special import erf
from jaxtyping import Array, ArrayLike, Float

from finitewidth.flow import ntk
from finitewidth.network import MLP
from finitewidth.precision import in_double_precision
from finitewidth.validation import check_inputs


@in_double_precision
def half_power_shift(
    net: MLP,
    x: Float[ArrayLike, " n0"],
    y: float,
    x_test: Float[ArrayLike, "N_test n0"],
) -> Float[Array, " N_test"]:
    """Return the coefficient of n_1^(-1/2) in the mean of trained ReLU networks (derived).

    Args:
        net: a ReLU network with one hidden layer and one output, without biases and their rates.
        x: the training input, shape (n_0,).
        y: its target.
        x_test: test inputs, shape (N_test, n_0).

    Returns:
        sqrt(n_1) (E[z_b(T)] - m_b), shape (N_test,), in the limit of large n_1, small steps.

    Raises:
        TypeError, ValueError: for another network, or inputs that do not fit.

    Example:
        >>> net = MLP((2, 100, 1), "relu", C_W=2.0, lambda_b=0.0)
        >>> round(float(half_power_shift(net, [1.2, 0.3], 2.0, [[0.2, 1.1]])[0]), 4)
        0.1833
    """
    if net.activation.name != "relu" or net.depth != 2 or net.widths[-1] != 1:
        raise ValueError(f"net: wanted one hidden ReLU layer and one output, got {net}.")
    if float(abs(net.C_b).sum() + abs(net.lambda_b).sum()) > 0:
        raise ValueError("net: wanted no biases and no rates of biases.")
    training = check_inputs(jnp.asarray(x, dtype=float)[None], net.widths[0])
    tests = check_inputs(x_test, net.widths[0], "x_test")
    found = ntk(net, jnp.concatenate([training, tests]))
    K, Theta = found.kernel, found.mean
    part = Theta[0, 0, 0] / Theta[1, 0, 0]
    size = _mean_signed_square(-part * y, part * jnp.sqrt(K[1, 0, 0]))
    lost = net.C_W[1] ** 1.5 / (2 * math.pi * jnp.sqrt(K[0, 0, 0])) * size
    return -Theta[1, 1:, 0] / Theta[1, 0, 0] * lost


def _mean_signed_square(mean: Array, deviation: Array) -> Array:
    """Return E[c |c|] of a Gaussian c."""
    u = mean / deviation
    bell = jnp.exp(-(u**2) / 2) * math.sqrt(2 / math.pi)
    return deviation**2 * ((1 + u**2) * erf(u / math.sqrt(2)) + u * bell)
