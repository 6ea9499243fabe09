r"""The NTK of one input and its fluctuations at every layer, to great depth.

With the one-input moments of layer l, c_4 = Var sigma^2, c_22 = Cov(sigma^2, sigma'^2) and
c_04 = Var sigma'^2, with C_W, lambda_b, lambda_W of layer l+1 and r = n_l/n_{l-1},

    Theta' = lambda_b + lambda_W g + chi_perp Theta                                PDLT (9.6)
    V' = r chi_parallel^2 V + C_W^2 c_4                                           PDLT (9.19)
    D' = r chi_parallel (J V + chi_perp D) + C_W (lambda_W c_4 + C_W Theta c_22)   PDLT (9.13)
    F' = r chi_parallel^2 F + C_W^2 <sigma^2 sigma'^2> Theta                      PDLT (9.14)
    B' = r chi_perp^2 B + C_W^2 <sigma'^4> Theta^2                                PDLT (9.15)
    A' = r (J^2 V + 2 J chi_perp D + chi_perp^2 A)                                PDLT (9.16)
         + lambda_W^2 c_4 + 2 lambda_W C_W Theta c_22 + C_W^2 Theta^2 c_04

where J = dTheta'/dK = lambda_W g' + 2 h Theta. This is (9.13)-(9.16) sorted by what is carried
over and what a layer makes anew; nothing is divided by K or C_W.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from finitewidth.activations import Activation
from finitewidth.criticality import critical_initialization
from finitewidth.criticality.moments import described, jumps
from finitewidth.criticality.susceptibilities import check_variance
from finitewidth.flow.ntk_one_input_moments import layer_moments
from finitewidth.flow.ntk_one_input_tensors import OneInputTensors
from finitewidth.flow.single_input import kernel_flow
from finitewidth.network import MLP
from finitewidth.precision import in_double_precision
from finitewidth.validation import check_count, check_inputs, check_per_layer


@in_double_precision
def single_input_ntk(net: MLP, x: ArrayLike) -> OneInputTensors:
    """Compute kernel, vertex and all NTK tensors of one input at every layer of a network.

    PDLT (9.6), (9.13)-(9.16), (9.19), with the widths, hyperparameters and rates of the network.

    Args:
        net: the network, with its relative learning rates lambda_b and lambda_W.
        x: the input, shape (n_0,) or (1, n_0).

    Returns:
        The tensors, layer l in entry l-1: the diagonal entries of `ntk`.

    Raises:
        ValueError: if x is not one input of the network, the weights are orthogonal or the
            activation jumps.

    Example:
        >>> import finitewidth as fw
        >>> net = fw.MLP.critical((2, 9, 9, 9, 9, 1), "relu", lambda_b=0.6, lambda_W=1.2)
        >>> round(float(single_input_ntk(net, [1.0, 0.5]).mean[-1]), 3)
        6.75
    """
    if net.law == "orthogonal":
        raise ValueError(
            "net: the 1/width corrections are those of independent Gaussian weights, "
            "got a network with orthogonal weights."
        )
    widths = np.asarray(net.widths, dtype=float)
    return run_single_input_ntk(
        check_slope(described(net.activation)),
        mean_square_of(net, x),
        net.C_b,
        net.C_W,
        net.lambda_b,
        net.lambda_W,
        jnp.asarray(widths[1:-1] / widths[:-2]),
    )


@in_double_precision
def single_input_ntk_flow(
    activation: str | Activation | Callable,
    depth: int,
    mean_square: Float[ArrayLike, ""] = 1.0,
    C_b: ArrayLike | None = None,
    C_W: ArrayLike | None = None,
    lambda_b: ArrayLike = 1.0,
    lambda_W: ArrayLike = 1.0,
    *,
    width_ratio: ArrayLike = 1.0,
) -> OneInputTensors:
    """Run the NTK recursions of one input to any depth, PDLT (9.6), (9.13)-(9.16), (9.19).

    Args:
        activation: name, `Activation` or elementwise JAX function.
        depth: number of layers L.
        mean_square: |x|^2/n_0, all that the theory asks of the input.
        C_b: bias variances, a number or one for each layer; critical if both are None.
        C_W: rescaled weight variances, likewise.
        lambda_b: relative learning rates of biases, a number or one for each layer.
        lambda_W: relative learning rates of weights, likewise.
        width_ratio: n_l/n_{l-1}, a number or one for each of the L-1 steps.

    Returns:
        The tensors of layers 1 .. L; differentiable in all numbers.

    Raises:
        ValueError: for a depth below 1, negative or non-finite numbers, wrong shapes, an
            activation that jumps, or if only one of C_b and C_W is given.

    Accuracy: that of the moments, 1e-12 or better for each layer.

    Cost: O(L), a few seconds for 2e5 layers. Compile time does not depend on the depth.

    Example:
        >>> tensors = single_input_ntk_flow("relu", 5, 0.835, lambda_b=0.6, lambda_W=1.2)
        >>> round(float(tensors.D[-1]), 3), round(float(tensors.A[-1]), 3)
        (110.42, 291.801)
    """
    sigma = check_slope(described(activation))
    depth = check_count(depth, "depth")
    if (C_b is None) != (C_W is None):
        raise ValueError("C_b, C_W: wanted both or neither (critical), got one of them.")
    if C_b is None or C_W is None:
        C_b, C_W = critical_initialization(sigma)
    return run_single_input_ntk(
        sigma,
        check_variance(mean_square, "mean_square"),
        check_per_layer(C_b, depth, "C_b"),
        check_per_layer(C_W, depth, "C_W"),
        check_per_layer(lambda_b, depth, "lambda_b"),
        check_per_layer(lambda_W, depth, "lambda_W"),
        check_per_layer(width_ratio, depth - 1, "width_ratio"),
    )


@partial(jax.jit, static_argnums=0)
def run_single_input_ntk(
    sigma: Activation,
    mean_square: Float[Array, ""],
    C_b: Float[Array, " L"],
    C_W: Float[Array, " L"],
    lambda_b: Float[Array, " L"],
    lambda_W: Float[Array, " L"],
    width_ratio: Float[Array, " L-1"],
) -> OneInputTensors:
    """Run the recursions on arrays that are already checked; see `single_input_ntk_flow`."""
    kernel = kernel_flow(sigma, C_b[0] + C_W[0] * mean_square, C_b, C_W)
    # The kernel is iterated first; then the moments of all layers are taken at once.
    moments = layer_moments(sigma, kernel[:-1])

    def step(state, now):
        Theta, V, D, F, B, A = state
        of, w, rate_b, rate_W, r = now
        chi_parallel, chi_perp = w * of.rate, w * of.slope
        J = rate_W * of.rate + w * of.slope_rate * Theta
        made_metric, made_ntk = rate_W * of.value_variance, w * Theta * of.covariance
        made_slope = w**2 * Theta**2 * of.slope_variance
        state = (
            rate_b + rate_W * of.value + chi_perp * Theta,
            r * chi_parallel**2 * V + w**2 * of.value_variance,
            r * chi_parallel * (J * V + chi_perp * D) + w * (made_metric + made_ntk),
            r * chi_parallel**2 * F + w**2 * of.mixed * Theta,
            r * chi_perp**2 * B + w**2 * of.fourth_slope * Theta**2,
            r * (J**2 * V + 2 * J * chi_perp * D + chi_perp**2 * A)
            + rate_W * (made_metric + 2 * made_ntk)
            + made_slope,
        )
        return state, state

    zero = jnp.zeros_like(kernel[0])
    first = (lambda_b[0] + lambda_W[0] * mean_square, zero, zero, zero, zero, zero)
    above = (moments, C_W[1:], lambda_b[1:], lambda_W[1:], width_ratio)
    _, rest = jax.lax.scan(step, first, above)
    states = (
        jnp.concatenate([start[None], after]) for start, after in zip(first, rest, strict=True)
    )
    return OneInputTensors(jnp.arange(1.0, len(kernel) + 1), kernel, *states)


def mean_square_of(net: MLP, x: ArrayLike) -> Float[Array, ""]:
    """Return |x|^2/n_0 of one input of a network, or say what is wrong with it."""
    x = check_inputs(jnp.atleast_2d(jnp.asarray(x, dtype=float)), net.widths[0])
    if x.shape[0] != 1:
        raise ValueError(f"x: wanted one input, shape ({net.widths[0]},), got {x.shape[0]}.")
    return (x**2).mean()


def check_slope(sigma: Activation) -> Activation:
    """Return an activation whose <sigma'^2> is finite, or say that it is not."""
    if jumps(sigma):
        raise ValueError(
            f"activation: wanted a continuous one, got {sigma.name}: it jumps, so <sigma'^2> and "
            "with it the NTK are infinite."
        )
    return sigma
