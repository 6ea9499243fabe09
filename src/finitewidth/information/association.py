r"""What one neuron tells about the spread of another: neural association at finite width.

    E[z_2^2 | z_1 = z] = G + (1/2) (z^2 - G) V/(n_{l-1} G^2)                           PDLT (6.78)

and for several inputs and k observed neurons, with a_i = G^-1 z_i and W = V/n_{l-1},

    E[z_a z_b | z_1 .. z_k] = G_ab + (1/2) sum_cd W_(ab)(cd) [sum_i a_i a_i^T - k G^-1]^cd .

Derived here: the neurons are independent given the stochastic metric G^, so that the conditional
covariance is E[G^ w]/E[w] with w = prod_i N(z_i; 0, G^), and to first order in D = G^ - G

    d log w = (1/2) tr [(sum_i a_i a_i^T - k G^-1) D],      Cov(D_ab, D_cd) = W_(ab)(cd) .

Large observations widen the law of all other neurons of the layer, small ones narrow it; the mean
over the observations is G.
"""

import jax
import jax.numpy as jnp
import jax.scipy.linalg as jsl
from jaxtyping import Array, ArrayLike, Float

from finitewidth.flow.effective_action import first_order_of_layer
from finitewidth.flow.preactivations import preactivations
from finitewidth.network import MLP
from finitewidth.precision import in_double_precision
from finitewidth.validation import check_layer


@in_double_precision
def conditional_variance(
    net: MLP, x: Float[ArrayLike, "N n0"], z: ArrayLike, layer: int | None = None
) -> Float[Array, "N N"]:
    """Compute the covariance of a neuron given others of its layer, PDLT (6.78), first order.

    Args:
        net: the network.
        x: inputs, shape (N, n_0), with an invertible kernel.
        z: what is observed, shape (N,) for one neuron or (k, N) for k neurons.
        layer: l = 1 .. L; the output layer if None.

    Returns:
        E[z_a z_b | observation], shape (N, N), through O(1/n). The expansion is in
        x |z^2/G - 1|; it can fail to be positive where that is not small.

    Raises:
        ValueError: for bad inputs, observations of another shape, a layer that does not exist, or
            what `flow.preactivations` refuses.

    Cost: that of `flow.preactivations` at order 1.

    Example:
        >>> net = MLP.critical(widths=(1, 100, 1), activation="relu")
        >>> x = [[0.5**0.5]]  # so that G = 1
        >>> [round(float(conditional_variance(net, x, [z])[0, 0]), 6) for z in (0.0, 1.0, 2.0)]
        [0.975, 1.0, 1.075]
    """
    pre = preactivations(net, x, order=1)
    K, G1, V, fan_in = first_order_of_layer(pre, check_layer(layer, net.depth))
    G = K + G1 / fan_in
    observed = check_observed(z, G.shape[0])
    root = jsl.cho_factor(G, lower=True)
    a = jsl.cho_solve(root, observed.T)
    inverse = jsl.cho_solve(root, jnp.eye(G.shape[0]))
    return G + V.apply(a @ a.T - observed.shape[0] * inverse) / (2 * fan_in)


@in_double_precision
def conditional_variance_of_samples(metrics: ArrayLike, z: ArrayLike) -> Float[Array, "N N"]:
    """Compute the same without expansion from sampled metrics: E[G^ w]/E[w], PDLT (6.72).

    Args:
        metrics: stochastic metrics of independent networks, shape (S, N, N), positive definite.
        z: what is observed, shape (N,) for one neuron or (k, N) for k neurons.

    Returns:
        E[z_a z_b | observation], shape (N, N). The statistical error is that of a weighted mean
        over S networks.

    Raises:
        ValueError: for shapes that do not fit.

    Example:
        >>> metrics = [[[0.8]], [[1.2]]]
        >>> [round(float(conditional_variance_of_samples(metrics, [z])[0, 0]), 6) for z in (0, 2)]
        [0.979796, 1.06105]
    """
    G = jnp.asarray(metrics, dtype=float)
    if G.ndim != 3 or G.shape[1] != G.shape[2] or 0 in G.shape:
        raise ValueError(f"metrics: wanted shape (S, N, N), got shape {G.shape}.")
    observed = check_observed(z, G.shape[-1])
    root = jnp.linalg.cholesky(G)
    white = jax.vmap(lambda r: jsl.solve_triangular(r, observed.T, lower=True))(root)
    log_root = jnp.log(jnp.diagonal(root, axis1=1, axis2=2)).sum(axis=1)
    weights = jax.nn.softmax(-(white**2).sum((1, 2)) / 2 - observed.shape[0] * log_root)
    return jnp.einsum("s,sab->ab", weights, G)


def check_observed(z: ArrayLike, inputs: int) -> Float[Array, "k N"]:
    """Return observations of k neurons on N inputs, or say what is wrong with their shape."""
    observed = jnp.asarray(z, dtype=float)
    if observed.ndim not in (1, 2) or observed.shape[-1] != inputs or observed.size == 0:
        raise ValueError(
            f"z: wanted one neuron on {inputs} inputs, shape ({inputs},), or several, shape "
            f"(k, {inputs}), got shape {observed.shape}."
        )
    return jnp.atleast_2d(observed)
