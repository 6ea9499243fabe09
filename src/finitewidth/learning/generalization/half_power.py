r"""Trained ReLU networks approach infinite width like n^(-1/2): the coefficient (derived).

One hidden layer, one training input a, no biases, test input b, r = Theta_ba/Theta_aa and
r_1 = Theta^(1)_ba/Theta^(1)_aa:

    E[z_b(T)] - r y = -(r - r_1/2) delta/sqrt(n_1) + O(1/n_1)
    delta = (C_W^(2))^(3/2)/(2 pi sqrt(K^(1)_aa)) E[c |c|]
    c = (Theta^(1)_aa/Theta_aa) (z_a - y),   z_a ~ N(0, K_aa)

A neuron whose preactivation starts within its own step of the kink stops there instead of moving
on linearly. A fraction n^(-1/2) of the neurons does, each by as much as all the others move, and
together they lift the output at a by delta/sqrt(n) and, half of them being on at b, that at b by
r_1/2 of it. Training takes what is lifted at a back, at b by r of it. If b is parallel to a all of
them are on, and z_b(T) = r y exactly.

For smooth activations the first correction is of order 1/n. A fit of trained kinked ensembles over
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

#: Two inputs whose cosine is this near 1 are parallel.
PARALLEL = 1e-12


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
        sqrt(n_1) (E[z_b(T)] - m_b), shape (N_test,), in the limit of large n_1 and small steps, at
        test inputs whose direction differs from that of x by more than n_1^(-1/2), or not at all.

    Raises:
        TypeError, ValueError: for another network, or inputs that do not fit.

    Example:
        >>> net = MLP((2, 100, 1), "relu", C_W=2.0, lambda_b=0.0)
        >>> round(float(half_power_shift(net, [1.2, 0.3], 2.0, [[0.2, 1.1]])[0]), 4)
        0.0904
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
    lifted = net.C_W[1] ** 1.5 / (2 * math.pi * jnp.sqrt(K[0, 0, 0])) * size
    # Of the neurons at the kink for x, half are on at another input, all or none at a parallel one.
    cosine = K[0, 1:, 0] / jnp.sqrt(K[0, 0, 0] * jnp.diagonal(K[0])[1:])
    on = jnp.where(jnp.abs(cosine) > 1 - PARALLEL, (1 + jnp.sign(cosine)) / 2, 0.5)
    taken_back = Theta[1, 1:, 0] / Theta[1, 0, 0]
    return -(taken_back - on * Theta[0, 1:, 0] / Theta[0, 0, 0]) * lifted


def _mean_signed_square(mean: Array, deviation: Array) -> Array:
    """Return E[c |c|] of a Gaussian c."""
    u = mean / deviation
    bell = jnp.exp(-(u**2) / 2) * math.sqrt(2 / math.pi)
    return deviation**2 * ((1 + u**2) * erf(u / math.sqrt(2)) + u * bell)
