r"""Maximum-likelihood and maximum-a-posteriori objectives of the parameters of a network.

    p(theta)       = prod_l N(b^(l); 0, C_b^(l)) N(W^(l); 0, C_W^(l)/n_{l-1})             PDLT (6.6)
    -log p(y | theta) = sum_{alpha,i} [(z_i - y_i)^2/(2 noise) + (1/2) log 2 pi noise]
                                                                             PDLT (6.10), (6.17)
    MLE: minimize -log p(y | theta)                                   PDLT (6.16), (6.20), (6.21)
    MAP: minimize -log p(y | theta) - log p(theta)                           PDLT (6.19), (6.22)

With noise the variance of the observations. The prior is weight decay: a_mu theta_mu^2 with
a_mu = 1/(2 Var theta_mu). Parameters of zero variance are zero under the prior and add nothing.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from finitewidth.ensemble.empirical_ntk import check_parameters
from finitewidth.network import MLP, Parameters
from finitewidth.network.losses import check_targets, mean_squared_error
from finitewidth.precision import in_double_precision
from finitewidth.validation import check_inputs, is_concrete


@in_double_precision
def log_prior(net: MLP, params: Parameters) -> Float[Array, ""]:
    """Compute log p(theta) of the Gaussian prior of a network, PDLT (6.6), with its constants.

    Args:
        net: the network; its C_b and C_W are the variances.
        params: its biases and weights.

    Returns:
        The log density over the parameters of positive variance; minus infinity if one of zero
        variance is not zero.

    Raises:
        ValueError: for parameters of other shapes, or a law of the weights that is not Gaussian.

    Example:
        >>> import jax, math
        >>> net = MLP(widths=(1, 1), activation="linear", C_b=0.0, C_W=2.0)
        >>> params = jax.tree.map(lambda p: 0 * p + (p.ndim == 2), net.init(jax.random.key(0)))
        >>> round(float(log_prior(net, params)) + 1 / 4 + math.log(4 * math.pi) / 2, 12)
        0.0
    """
    check_parameters(net, params)
    if net.law != "gaussian":
        raise ValueError(f"net: wanted Gaussian weights, got law {net.law!r}.")
    total = jnp.zeros(())
    for layer, n_in, C_b, C_W in zip(params, net.widths[:-1], net.C_b, net.C_W, strict=True):
        total = total + _log_normal(layer.b, C_b) + _log_normal(layer.W, C_W / n_in)
    return total


@in_double_precision
def negative_log_likelihood(
    net: MLP, params: Parameters, x: Float[ArrayLike, "N n0"], y: ArrayLike, noise: float = 1.0
) -> Float[Array, ""]:
    """Compute -log p(y | theta) of observations with Gaussian noise, PDLT (6.10), (6.17).

    Args:
        net: the network.
        params: its biases and weights.
        x: inputs, shape (N, n_0).
        y: observations, shape (N, n_L), or (N,) for one output.
        noise: variance of the noise, positive.

    Returns:
        The MLE objective; with noise = 1 the mean squared error plus (N n_L/2) log 2 pi.

    Raises:
        ValueError: for bad data, parameters of other shapes, or noise that is not positive.

    Example:
        >>> import jax
        >>> net = MLP(widths=(1, 1), activation="linear", C_W=2.0)
        >>> params = jax.tree.map(lambda p: 0 * p, net.init(jax.random.key(0)))
        >>> round(float(negative_log_likelihood(net, params, [[1.0]], [2.0])), 6)
        2.918939
    """
    check_parameters(net, params)
    x = check_inputs(x, net.widths[0])
    y = check_targets(y, x.shape[0], net.widths[-1], mean_squared_error)
    variance = jnp.asarray(noise, dtype=float)
    if is_concrete(variance) and not (np.isfinite(variance) and variance > 0):
        raise ValueError(f"noise: wanted a positive variance, got {noise}.")
    error = mean_squared_error(net.apply(params, x), y)
    return error / variance + y.size / 2 * jnp.log(2 * jnp.pi * variance)


@in_double_precision
def map_objective(
    net: MLP, params: Parameters, x: Float[ArrayLike, "N n0"], y: ArrayLike, noise: float = 1.0
) -> Float[Array, ""]:
    """Compute -log p(y | theta) - log p(theta), whose minimum is the MAP estimate, PDLT (6.22).

    Args:
        net: the network; its C_b and C_W are the variances of the prior.
        params: its biases and weights.
        x: inputs, shape (N, n_0).
        y: observations, shape (N, n_L), or (N,) for one output.
        noise: variance of the noise, positive.

    Returns:
        The negative logarithm of the posterior density up to the evidence, with all constants.

    Raises:
        ValueError: as for `negative_log_likelihood` and `log_prior`.

    Example:
        >>> import jax
        >>> net = MLP(widths=(2, 4, 1), activation="tanh", C_b=0.1)
        >>> params = net.init(jax.random.key(0))
        >>> data = [[1.0, 0.5]], [0.3]
        >>> parts = negative_log_likelihood(net, params, *data) - log_prior(net, params)
        >>> bool(abs(map_objective(net, params, *data) - parts) < 1e-12)
        True
    """
    return negative_log_likelihood(net, params, x, y, noise) - log_prior(net, params)


def _log_normal(values: Float[Array, "..."], variance: Float[Array, ""]) -> Float[Array, ""]:
    """Return the log density of independent N(0, variance); of a point mass at 0 for variance 0."""
    safe = jnp.where(variance > 0, variance, 1.0)
    square = (values**2).sum()
    density = -square / (2 * safe) - values.size / 2 * jnp.log(2 * jnp.pi * safe)
    return jnp.where(variance > 0, density, jnp.where(square > 0, -jnp.inf, 0.0))
