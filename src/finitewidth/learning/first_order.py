r"""What one small step of gradient descent changes, from the NTK of the network.

    theta <- theta - eta sum_nu lambda_mn dL_A/dtheta_n                              PDLT (7.11)
    H_ij;ab  = sum lambda_mn (dz_i;a/dtheta_m)(dz_j;b/dtheta_n)                      PDLT (7.17)
    Delta z_i;d = -eta sum H_ij;da eps_j;a                                           PDLT (7.20)
    Delta L_A   = -eta sum eps_i;a H_ij;ab eps_j;b                           PDLT (7.12), (7.14)
    Delta O     = -eta sum (dO/dz_i;d) H_ij;da eps_j;a                               PDLT (7.19)

all up to O(eta^2), at any width: a, b run over the training inputs, d over any. Delta L_A is
negative, since H is positive semidefinite; the loss of other inputs may move either way.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from finitewidth.ensemble.empirical_ntk import empirical_ntk
from finitewidth.network import MLP, Parameters
from finitewidth.network.descent import check_step
from finitewidth.network.losses import Loss, check_targets, loss_of
from finitewidth.precision import in_double_precision
from finitewidth.validation import check_inputs


class FirstOrderChange(eqx.Module):
    """The change of one step of gradient descent to first order in the learning rate.

    Attributes:
        loss: Delta L_A of the training inputs.
        outputs: Delta z of the training inputs, shape (N, n_L).
        test_outputs: Delta z of the test inputs, shape (N_test, n_L); None without them.
        observable: Delta O; None without an observable.
        ntk: H[i, j, a, b] of training then test inputs, shape (n_L, n_L, D, D).
        error_factor: eps of the training inputs before the step, shape (N, n_L).
    """

    loss: Float[Array, ""]
    outputs: Float[Array, "N n_L"]
    test_outputs: Float[Array, "N_test n_L"] | None
    observable: Float[Array, "..."] | None
    ntk: Float[Array, "n_L n_L D D"]
    error_factor: Float[Array, "N n_L"]

    def __repr__(self) -> str:
        inputs = self.ntk.shape[-1]
        size = float(jnp.abs(self.outputs).max())
        return (
            f"First-order change: loss {float(self.loss):.4g}, outputs by up to {size:.4g}, "
            f"{inputs} inputs of {self.ntk.shape[0]} outputs"
        )


@in_double_precision
def first_order_change(
    net: MLP,
    params: Parameters,
    x: Float[ArrayLike, "N n0"],
    y: ArrayLike,
    loss: str | Loss | Callable = "mse",
    eta: ArrayLike = 1.0,
    x_test: Float[ArrayLike, "N_test n0"] | None = None,
    observable: Callable[[Array], Array] | None = None,
) -> FirstOrderChange:
    """Compute what one step changes to first order in eta, PDLT (7.12), (7.14), (7.19), (7.20).

    Args:
        net: the network, with its learning rates lambda_b, lambda_W.
        params: its biases and weights.
        x: training inputs, shape (N, n_0).
        y: targets, see `check_targets`.
        loss: "mse", "cross-entropy", or a function of (z, y) of one sample.
        eta: learning rate.
        x_test: other inputs, shape (N_test, n_0).
        observable: a differentiable function of all outputs, shape (D, n_L), those of the training
            inputs first and of the test inputs after them.

    Returns:
        The changes.

    Raises:
        TypeError, ValueError: for bad data, parameters of other shapes, or a bad loss or eta.

    Accuracy: rounding for the first order; what is left out is O(eta^2).

    Cost: that of `ensemble.empirical_ntk` for all inputs.

    Example:
        >>> net = MLP(widths=(1, 1), activation="linear")
        >>> params = jax.tree.map(lambda p: 0 * p, net.init(jax.random.key(0)))
        >>> change = first_order_change(net, params, [[2.0]], [3.0], eta=0.1, x_test=[[1.0]])
        >>> [round(float(c), 9) for c in (change.loss, change.outputs[0, 0])]  # H = 1 + 4
        [-4.5, 1.5]
        >>> round(float(change.test_outputs[0, 0]), 9)  # H = 1 + 2
        0.9
    """
    x, step = check_inputs(x, net.widths[0]), check_step(eta)
    kind = loss_of(loss)
    y = check_targets(y, x.shape[0], net.widths[-1], kind)
    tests = None if x_test is None else check_inputs(x_test, net.widths[0], "x_test")
    inputs = x if tests is None else jnp.concatenate([x, tests])
    N = x.shape[0]
    H = empirical_ntk(net, params, inputs)
    z = net.apply(params, inputs)
    error = kind.error_factor(z[:N], y)
    change = -step * jnp.einsum("ijda,aj->di", H[..., :N], error)
    moved = None
    if observable is not None:
        moved = jax.jvp(observable, (z,), (change,))[1]
    return FirstOrderChange(
        loss=(error * change[:N]).sum(),
        outputs=change[:N],
        test_outputs=None if tests is None else change[N:],
        observable=moved,
        ntk=H,
        error_factor=error,
    )
