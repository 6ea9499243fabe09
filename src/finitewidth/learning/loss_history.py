r"""The training loss of an ensemble of infinitely wide networks, step by step.

Gradient descent on the squared error with a frozen NTK moves the training outputs by PDLT (10.33),

    z_A(t+1) - y = (1 - eta Theta_AA) [z_A(t) - y],     so     z_A(t) - y = F [z_A(0) - y],
    F = (1 - eta Theta_AA)^t,

and z_A(0) is Gaussian with mean zero and covariance K_AA in each of the n_L outputs. The errors are
Gaussian too, with mean g_i = -F y_i and covariance C = F K_AA F, so that L = |z_A(t) - y|^2/2 has

    E[L(t)]   = (1/2) sum_i |F y_i|^2 + (n_L/2) tr(F K_AA F)
    Var[L(t)] = sum_i g_i^T C g_i + (n_L/2) tr(C^2)                     derived, as PDLT (10.52)

In the eigenvectors of Theta_AA, F is diagonal and no matrix is raised to a power.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from finitewidth.learning.frozen_kernels import frozen_kernels
from finitewidth.learning.smoother import check_duration, check_stable
from finitewidth.network import MLP
from finitewidth.network.losses import check_targets, mean_squared_error
from finitewidth.precision import in_double_precision
from finitewidth.validation import check_inputs


class LossHistory(eqx.Module):
    """The training loss of networks of an ensemble after 0, 1, ... steps.

    Attributes:
        mean: E[L(t)], summed over the training inputs, shape (T + 1,).
        standard_deviation: of L(t) from network to network, shape (T + 1,).
        eta: the learning rate.
    """

    mean: Float[Array, " T"]
    standard_deviation: Float[Array, " T"]
    eta: Float[Array, ""]

    def __repr__(self) -> str:
        return (
            f"Loss of infinitely wide networks, {len(self.mean) - 1} steps of eta = "
            f"{float(self.eta):.4g}: {float(self.mean[0]):.4g} -> {float(self.mean[-1]):.4g}"
        )


@in_double_precision
def expected_loss_history(
    net: MLP,
    x: Float[ArrayLike, "N n0"],
    y: Float[ArrayLike, "N n_L"],
    eta: ArrayLike,
    steps: int,
) -> LossHistory:
    """Return mean and spread of the training loss along gradient descent, from PDLT (10.33).

    Args:
        net: the network, with its learning rates lambda_b, lambda_W. Widths do not matter.
        x: training inputs, shape (N, n_0).
        y: targets, shape (N, n_L), or (N,) for one output.
        eta: learning rate, the same for all networks, at most 2/lambda_max(Theta_AA).
        steps: number T of steps.

    Returns:
        The history, entry t after t steps.

    Raises:
        TypeError, ValueError: for bad data or steps, or an eta that makes descent diverge.

    Accuracy: rounding. Real networks of width n approach it like 1/n for smooth activations.

    Cost: kernel and NTK of N inputs, O(N^3) once and O(N^2) a step.

    Example:
        >>> net = MLP.critical((2, 100, 100, 1), "tanh")
        >>> expected_loss_history(net, [[1.0, 0.0], [0.0, 1.0]], [1.0, -0.5], eta=0.2, steps=50)
        Loss of infinitely wide networks, 50 steps of eta = 0.2: 0.8101 -> 2.421e-07
    """
    x = check_inputs(x, net.widths[0])
    y = check_targets(y, x.shape[0], net.widths[-1], mean_squared_error)
    duration = check_duration(steps, eta, None)
    assert duration.eta is not None and duration.steps is not None
    kernels = frozen_kernels(net, x, x[:0])
    rates, axes = jnp.linalg.eigh(kernels.training_ntk)
    check_stable(duration.eta, rates[-1])
    labels = axes.T @ y
    K = axes.T @ kernels.kernel @ axes
    F = (1 - duration.eta * rates) ** jnp.arange(duration.steps + 1)[:, None]
    g = F[:, :, None] * labels
    C = F[:, :, None] * K * F[:, None, :]
    outputs = y.shape[1]
    mean = (jnp.sum(g**2, axis=(1, 2)) + outputs * jnp.einsum("tkk->t", C)) / 2
    variance = jnp.einsum("tki,tkl,tli->t", g, C, g) + outputs * jnp.sum(C**2, axis=(1, 2)) / 2
    return LossHistory(mean, jnp.sqrt(variance), duration.eta)
