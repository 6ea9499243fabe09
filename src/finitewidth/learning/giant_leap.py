r"""Where training takes one given wide network: one giant leap from its initial output.

    z_B(T) = z_B - R (z_A - y),    R = Theta_BA Theta_AA^-1 when fully trained     PDLT (10.31)

z is the output of the network at initialization. Over networks the leap has the mean (10.40), at
any width exactly since initial outputs have mean zero, and the covariance P G P^T with the metric
of that width, (10.41) in the limit. A real network of width n deviates from its leap by O(n^-1/2).
"""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from finitewidth.learning.frozen_kernels import Rule, check_tests, frozen_kernels
from finitewidth.learning.smoother import check_duration, smoother
from finitewidth.network import MLP, Parameters
from finitewidth.network.losses import check_targets, mean_squared_error
from finitewidth.precision import in_double_precision
from finitewidth.validation import check_inputs


@in_double_precision
def giant_leap(
    net: MLP,
    params: Parameters,
    x: Float[ArrayLike, "N n0"],
    y: Float[ArrayLike, "N n_L"],
    x_test: Float[ArrayLike, "N_test n0"],
    *,
    rule: Rule = "ntk",
    steps: int | None = None,
    eta: ArrayLike | None = None,
    time: ArrayLike | None = None,
) -> Float[Array, "N_test n_L"]:
    """Compute the trained output of one network from its initial output and the frozen NTK.

    PDLT (10.31), (10.35), (10.39); with `steps` or `time` before the end of training.

    Args:
        net: the network, with its learning rates lambda_b, lambda_W.
        params: its biases and weights at initialization.
        x: training inputs, shape (N, n_0).
        y: targets, shape (N, n_L), or (N,) for one output.
        x_test: test inputs, shape (N_test, n_0); training inputs may be among them.
        rule: "ntk" or "bayes", see `predict`.
        steps: number of steps of gradient descent; all the way if None.
        eta: their learning rate.
        time: instead of steps, eta t of gradient flow.

    Returns:
        Outputs at the test inputs, shape (N_test, n_L).

    Raises:
        TypeError, ValueError: as `predict`, and for parameters of other shapes.

    Example:
        >>> import jax
        >>> net = MLP((1, 1), "linear")  # one step of this network is the whole of its training
        >>> params = net.init(jax.random.key(0))
        >>> leap = giant_leap(net, params, [[1.0], [-1.0]], [3.0, 1.0], [[2.0]])
        >>> round(float(leap[0, 0]), 12)  # the line through both labels
        4.0
    """
    x, x_test = check_inputs(x, net.widths[0]), check_tests(net, x_test)
    y = check_targets(y, x.shape[0], net.widths[-1], mean_squared_error)
    duration = check_duration(steps, eta, time)
    R = smoother(frozen_kernels(net, x, x_test, rule), duration, x, y)
    z = net.apply(params, jnp.concatenate([x, x_test]))
    return z[len(x) :] - R @ (z[: len(x)] - y)
