r"""Learning rates at which gradient descent is exact Bayesian inference.

    lambda_b^(L) = C_b^(L),  lambda_W^(L) = C_W^(L),  all other rates 0
    =>  Theta^(L) = C_b + C_W <sigma sigma> = K^(L)                       PDLT (10.46)-(10.49)

so that the trained ensemble (10.40), (10.41) is the posterior of noise-free labels (6.57), (6.64).
Only the last layer is trained: no representation is learned at any width.
"""

import jax.numpy as jnp

from finitewidth.network import MLP
from finitewidth.precision import in_double_precision


@in_double_precision
def bayes_equivalent(net: MLP) -> MLP:
    """Return a network with the learning rates that make training Bayesian inference.

    PDLT (10.46), (10.48).

    Args:
        net: the network; its own rates do not matter.

    Returns:
        The same network with other rates.

    Example:
        >>> net = bayes_equivalent(MLP((2, 8, 8, 1), "tanh", C_b=0.1, C_W=[1.0, 1.5, 1.2]))
        >>> net.lambda_b.tolist(), net.lambda_W.tolist()
        ([0.0, 0.0, 0.1], [0.0, 0.0, 1.2])
    """
    last = jnp.arange(net.depth) == net.depth - 1
    return MLP(
        net.widths,
        net.activation,
        net.C_b,
        net.C_W,
        jnp.where(last, net.C_b, 0.0),
        jnp.where(last, net.C_W, 0.0),
        net.law,
    )
