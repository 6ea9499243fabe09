r"""Common training schemes as learning-rate tensors.

Plain gradient descent steps all parameters with one eta: lambda_b = 1, lambda_W^(l) = n_{l-1}, so
that the NTK is of order n and the biases' share of it of order 1/n.

The NTK parametrization W = sqrt(C_W/n) omega, b = sqrt(C_b) beta with plain gradient descent on
omega and beta is lambda_b = C_b, lambda_W = C_W, since a step of omega moves W by sqrt(C_W/n) times
it and its gradient has the same factor. The terms added in each layer of PDLT (9.5) are then the
kernel K^(l+1) itself.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Float

from finitewidth.learning_rates.rates import LearningRates, check_eta, mean_square_entry, rates_of
from finitewidth.network import MLP
from finitewidth.precision import in_double_precision


@in_double_precision
def plain_gradient_descent(
    net: MLP, x: Float[ArrayLike, "N n0"] | None = None, *, eta: float = 1.0
) -> LearningRates:
    """Return plain gradient descent as a learning-rate tensor: lambda_b = 1, lambda_W = n_{l-1}.

    PDLT section 8.0.

    Args:
        net: the network; its own rates do not matter.
        x: inputs, shape (N, n_0), of which the mean square entry is taken; 1 without them.
        eta: learning rate of all parameters.

    Returns:
        The rates, and the shares that they make: the weights of wide layers take nearly all.

    Raises:
        ValueError: if x does not fit the network or eta is not positive.

    Example:
        >>> import finitewidth as fw
        >>> plain = plain_gradient_descent(fw.MLP.critical((10, 100, 100, 1), "relu"), eta=0.1)
        >>> plain.weight_step.tolist(), round(plain.output_ntk, 9)
        ([0.1, 0.1, 0.1], 213.0)
    """
    return rates_of(
        net,
        jnp.ones(net.depth),
        jnp.asarray(np.asarray(net.widths[:-1], dtype=float)),
        mean_square_entry(net, x),
        check_eta(eta),
        principle="Plain gradient descent",
        reference="PDLT section 8.0",
    )


@in_double_precision
def ntk_parametrization(
    net: MLP, x: Float[ArrayLike, "N n0"] | None = None, *, eta: float = 1.0
) -> LearningRates:
    """Return gradient descent in the NTK parametrization as a learning-rate tensor.

    W = sqrt(C_W/n) omega and b = sqrt(C_b) beta: lambda_b = C_b, lambda_W = C_W.

    Args:
        net: the network; its own rates do not matter.
        x: inputs, shape (N, n_0), of which the mean square entry is taken; 1 without them.
        eta: learning rate of omega and beta.

    Returns:
        The rates and their shares; biases are frozen where C_b = 0.

    Raises:
        ValueError: if x does not fit the network or eta is not positive.

    Example:
        >>> import finitewidth as fw
        >>> rates = ntk_parametrization(fw.MLP.critical((10, 100, 100, 1), "relu"))
        >>> rates.lambda_W.tolist(), rates.output_ntk
        ([2.0, 2.0, 2.0], 6.0)
    """
    return rates_of(
        net,
        net.C_b,
        net.C_W,
        mean_square_entry(net, x),
        check_eta(eta),
        principle="NTK parametrization",
        reference="gradient descent on omega and beta",
    )
