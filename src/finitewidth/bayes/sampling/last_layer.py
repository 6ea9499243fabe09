r"""The last layer of a sampled network, integrated out exactly.

Given the stochastic metric of the last layer, PDLT (4.70), the $n_L$ output components are
independent Gaussian vectors over the samples. With $A$ the observed inputs, $B$ the test inputs,
$S = \widehat G_{AA} + \sigma_\varepsilon^2 1$ and one network of given hidden layers, the evidence
of PDLT (6.34) and the posterior of PDLT (6.64)-(6.67) hold with the metric of that network,

$$w = \prod_i N(y_i; 0, S),\qquad m_i = \widehat G_{BA} S^{-1} y_i,\qquad
\mathbb K = \widehat G_{BB} - \widehat G_{BA} S^{-1} \widehat G_{AB} .$$
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# A pivot below this part of its diagonal entry is rounding noise: the matrix is singular.
PIVOT_TOLERANCE = 1e-13


class LastLayer(eqx.Module):
    """What the labels say about B networks of given hidden layers.

    Attributes:
        log_weight: log density of the labels, shape (B,); minus infinity where S is singular.
        mean: mean outputs at the test inputs, shape (B, N_test, n_L).
        covariance: covariance of any one output component, shape (B, N_test, N_test).
    """

    log_weight: Float[Array, " B"]
    mean: Float[Array, "B N_test n_L"]
    covariance: Float[Array, "B N_test N_test"]


def condition_last_layer(
    metric: Float[Array, "B D D"], y: Float[Array, "N n_L"], noise: Float[Array, ""]
) -> LastLayer:
    """Return evidence and posterior of every network, its last layer integrated out.

    Args:
        metric: stochastic metric of the last layer on the N observed inputs, then the test inputs.
        y: labels.
        noise: variance of the observation noise.

    Returns:
        Weight, mean and covariance. A network whose S is singular has weight zero: its outputs
        lie in a subspace, and labels outside it have no density. Cost N^2 D per network.
    """
    samples, outputs = y.shape
    observed = metric[:, :samples, :samples] + noise * jnp.eye(samples)
    cross, tests = metric[:, :samples, samples:], metric[:, samples:, samples:]
    root = jnp.linalg.cholesky(observed)
    pivots = jnp.diagonal(root, axis1=-2, axis2=-1)
    scale = jnp.diagonal(observed, axis1=-2, axis2=-1)
    # A pivot that failed is NaN and compares false.
    regular = jnp.all(pivots**2 > PIVOT_TOLERANCE * scale, axis=-1)
    root = jnp.where(regular[:, None, None], root, jnp.eye(samples))
    labels = jnp.broadcast_to(y, (metric.shape[0], *y.shape))
    whitened = jax.scipy.linalg.solve_triangular(
        root, jnp.concatenate([labels, cross], axis=-1), lower=True
    )
    white_y, white_cross = whitened[..., :outputs], whitened[..., outputs:]
    log_det = 2 * jnp.sum(jnp.log(jnp.diagonal(root, axis1=-2, axis2=-1)), axis=-1)
    log_weight = -0.5 * (
        jnp.sum(white_y**2, axis=(-2, -1)) + outputs * (log_det + samples * math.log(2 * math.pi))
    )
    return LastLayer(
        jnp.where(regular, log_weight, -jnp.inf),
        white_cross.swapaxes(-1, -2) @ white_y,
        tests - white_cross.swapaxes(-1, -2) @ white_cross,
    )
