r"""One second-order step of a real network: Newton's method and its generalization.

    theta_m <- theta_m - eta sum_nu lambda_mn sum_{i,ab} (dz_i;a/dtheta_n) kappa_ab eps_i;b
                                                                                  PDLT (10.19)

with eps = dL_A/dz. The sample matrix kappa = 1 makes it gradient descent; Newton's method on the
squared error has eta kappa = Theta_AA^-1, PDLT (10.25), the frozen NTK of infinite width, and is
done in one step, PDLT (10.30). A network of width n has its own NTK H_ij;ab at initialization,
which mixes outputs, and a Gauss-Newton step a_i = sum_j,b (H^-1)_ij;ab eps_j;b takes the place of
kappa eps. What is left of the error is then of order n^(-1/2) with Theta and 1/n with H: that is
how far the network is from its linearization.
"""

from collections.abc import Callable
from typing import Literal

import jax
from jaxtyping import Array, ArrayLike, Float

from finitewidth.ensemble.empirical_ntk import check_parameters, empirical_ntk
from finitewidth.ensemble.linearized import matrix_of
from finitewidth.flow import output_kernels
from finitewidth.learning.frozen_kernels import solve_ntk
from finitewidth.learning.function_space import check_sample_matrix
from finitewidth.network import MLP, Parameters
from finitewidth.network.descent import check_step, tensorial_learning_rates
from finitewidth.network.losses import Loss, check_targets, loss_of
from finitewidth.precision import in_double_precision
from finitewidth.validation import check_inputs


@in_double_precision
def second_order_step(
    net: MLP,
    params: Parameters,
    x: Float[ArrayLike, "N n0"],
    y: ArrayLike,
    loss: str | Loss | Callable = "mse",
    kappa: ArrayLike | Literal["newton", "own"] = "newton",
    eta: ArrayLike = 1.0,
) -> Parameters:
    """Take one second-order step of a real network, PDLT (10.19), (10.25), (10.30).

    Args:
        net: the network, with its learning rates lambda_b, lambda_W.
        params: its biases and weights.
        x: training inputs, shape (N, n_0).
        y: targets: (N, n_L), (N,) for one output, or classes for the cross-entropy.
        loss: "mse", "cross-entropy", or a function of (z, y) of one sample.
        kappa: "newton" for Theta_AA^-1 of infinite width, "own" for the inverse of the NTK of
            this network, or a sample matrix, shape (N, N).
        eta: learning rate, in units of a full Newton step with "newton" and "own".

    Returns:
        The parameters after the step.

    Raises:
        TypeError, ValueError: for bad data, parameters of other shapes, a kappa that is no
            covariance of N samples, or an NTK that is singular.

    Accuracy: rounding. After a full step on the squared error outputs miss their labels by
    O(n^(-1/2)) with "newton" and by O(1/n) with "own", in typical networks.

    Cost: a pass forward and backward, the NTK, and O(N^3), or O((N n_L)^3) with "own".

    Example:
        >>> net = MLP((1, 1), "linear")  # linear in its parameters: one step is all
        >>> params = net.init(jax.random.key(0))
        >>> after = second_order_step(net, params, [[1.0], [-1.0]], [3.0, 1.0])
        >>> net.apply(after, [[2.0]]).round(9).tolist()
        [[4.0]]
    """
    check_parameters(net, params)
    x, step = check_inputs(x, net.widths[0]), check_step(eta)
    kind = loss_of(loss)
    y = check_targets(y, len(x), net.widths[-1], kind)
    z, pull = jax.vjp(lambda p: net.apply(p, x), params)
    duals = _second_order(net, params, x, kappa, kind.error_factor(z, y))
    tensor = tensorial_learning_rates(net)
    moved, _ = tensor.update(pull(duals)[0], tensor.init(params))  # pyright: ignore[reportArgumentType]
    return jax.tree.map(lambda p, change: p - step * change, params, moved)


def _second_order(
    net: MLP,
    params: Parameters,
    x: Float[Array, "N n0"],
    kappa: ArrayLike | str,
    error: Float[Array, "N n_L"],
) -> Float[Array, "N n_L"]:
    """Return kappa eps, shape (N, n_L)."""
    if not isinstance(kappa, str):
        return check_sample_matrix(kappa, len(x)) @ error
    if kappa == "newton":
        return solve_ntk(output_kernels(net, x)[1], error, x)
    if kappa == "own":
        H = matrix_of(empirical_ntk(net, params, x))
        return solve_ntk(H, error.reshape(-1, 1), x).reshape(error.shape)
    raise ValueError(f"kappa: wanted a matrix, 'newton' or 'own', got {kappa!r}.")
