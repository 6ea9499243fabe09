r"""Any algorithm at infinite width, in the space of functions, with one number a label.

    z_delta(t) = z_delta - sum_alpha Theta_{delta alpha} a_alpha(t)                  PDLT (10.33)
    a(t+1) = a(t) + eta(t) kappa(t) eps(t),    eps = dL_A/dz_A              PDLT (10.20), (10.23)

The dual variables a, shape (N, n_L), hold everything: test outputs follow from them at the end.
Stochastic gradient descent takes eps of a batch, momentum adds up v <- mu v + eps, and Newton's
method has eta kappa = Theta_AA^-1, PDLT (10.25), which for the squared error is there in one step.
Whatever the history, one final Newton step leads to the same function, PDLT (10.31):

    a(t) + Theta_AA^-1 (z_A(t) - y) = Theta_AA^-1 (z_A - y).
"""

from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from finitewidth.gaussian.covariance import check_covariance
from finitewidth.learning.frozen_kernels import solve_ntk
from finitewidth.network.losses import Loss, check_targets, loss_of, mean_squared_error
from finitewidth.precision import in_double_precision
from finitewidth.validation import check_count, check_inputs, is_concrete


class DualTraining(eqx.Module):
    """Training in the space of functions, up to where it has come.

    Attributes:
        Theta: frozen NTK of the training inputs, shape (N, N).
        initial: outputs z_A before training, shape (N, n_L).
        duals: a, shape (N, n_L).
        losses: L_A before each step and after the last, shape (steps + 1,).
    """

    Theta: Float[Array, "N N"]
    initial: Float[Array, "N n_L"]
    duals: Float[Array, "N n_L"]
    losses: Float[Array, " T"]

    @property
    @in_double_precision
    def outputs(self) -> Float[Array, "N n_L"]:
        """Outputs at the training inputs now, shape (N, n_L)."""
        return self.initial - self.Theta @ self.duals

    @in_double_precision
    def at(
        self, Theta: Float[ArrayLike, "N_test N"], initial: Float[ArrayLike, "N_test n_L"]
    ) -> Float[Array, "N_test n_L"]:
        """Return outputs at other inputs now, PDLT (10.33).

        Args:
            Theta: frozen NTK of other and training inputs Theta_BA, shape (N_test, N).
            initial: outputs z_B before training, shape (N_test, n_L); 0 for the ensemble mean.

        Returns:
            Outputs, shape (N_test, n_L).
        """
        return jnp.asarray(initial, dtype=float) - jnp.asarray(Theta, dtype=float) @ self.duals

    @in_double_precision
    def newton_step(self, y: Float[ArrayLike, "N n_L"]) -> "DualTraining":
        """Return the training after one Newton step on the squared error, PDLT (10.30), (10.31).

        Args:
            y: targets, shape (N, n_L), or (N,) for one output.

        Returns:
            The fully trained function, whatever came before.

        Raises:
            ValueError: for bad targets or a singular Theta.
        """
        y = check_targets(y, len(self.initial), self.initial.shape[1], mean_squared_error)
        duals = self.duals + solve_ntk(self.Theta, self.outputs - y)
        return eqx.tree_at(lambda training: training.duals, self, duals)

    def __repr__(self) -> str:
        first, last = float(self.losses[0]), float(self.losses[-1])
        return (
            f"Training in function space, {self.losses.size - 1} steps of {len(self.duals)} duals: "
            f"loss {first:.6g} -> {last:.6g}"
        )


@in_double_precision
def train_duals(
    Theta: Float[ArrayLike, "N N"],
    initial: Float[ArrayLike, "N n_L"],
    y: ArrayLike,
    loss: str | Loss = "mse",
    eta: ArrayLike = 1.0,
    steps: int = 100,
    *,
    kappa: ArrayLike | Literal["newton"] | None = None,
    momentum: float = 0.0,
    batch_size: int | None = None,
    key: PRNGKeyArray | None = None,
) -> DualTraining:
    """Train an infinitely wide network by any algorithm, PDLT (10.20), (10.33).

    Args:
        Theta: frozen NTK of the training inputs Theta_AA, shape (N, N).
        initial: outputs z_A before training, shape (N, n_L); zeros for the mean of the ensemble
            if the loss is quadratic.
        y: targets, see `loss_of`; probabilities or classes for the cross-entropy.
        loss: "mse", "cross-entropy", or a function of (z, y) of one sample.
        eta: learning rate, a number or one for each step.
        steps: number of steps.
        kappa: sample matrix of the generalized squared error or of a second-order update, shape
            (N, N), PDLT (10.19), (10.23); "newton" for eta kappa = Theta^-1, PDLT (10.25); the
            unit matrix by default.
        momentum: mu of v <- mu v + eps.
        batch_size: samples in a step, all by default. The batches of an epoch are a random
            partition of the samples; what does not fill a batch is left out of that epoch.
        key: random key, wanted with a batch size below N.

    Returns:
        The duals and the losses.

    Raises:
        TypeError, ValueError: for shapes that do not fit, a Theta that is no covariance, a bad
            loss or schedule, or a missing key.

    Cost: N^2 n_L for each step, in one compiled loop.

    Example:
        >>> Theta, y = [[2.0, 1.0], [1.0, 3.0]], [[1.0], [-1.0]]
        >>> run = train_duals(Theta, [[0.3], [0.1]], y, eta=0.5, steps=200)
        >>> run.outputs.round(9).tolist()
        [[1.0], [-1.0]]
        >>> early = train_duals(Theta, [[0.3], [0.1]], y, eta=0.1, steps=3)
        >>> bool(abs(early.newton_step(y).duals - run.duals).max() < 1e-12)
        True
    """
    Theta, z, targets, kind = check_problem(Theta, initial, y, loss)
    steps = check_count(steps, "steps", least=0)
    N = len(z)
    size = N if batch_size is None else check_count(batch_size, "batch_size")
    if size > N:
        raise ValueError(f"batch_size: wanted at most {N} samples, got {size}.")
    if size < N and key is None:
        raise ValueError("key: wanted a random key for batches smaller than the data, got None.")
    rates = check_schedule(eta, steps)
    if isinstance(kappa, str):
        if kappa != "newton":
            raise ValueError(f"kappa: wanted a matrix, 'newton' or None, got {kappa!r}.")
        matrix, rates = solve_ntk(Theta, jnp.eye(N)), jnp.ones(steps)
    else:
        matrix = check_sample_matrix(kappa, N)
    inertia = jnp.asarray(momentum, dtype=float)
    if inertia.ndim or (is_concrete(inertia) and not 0 <= float(inertia) < 1):
        raise ValueError(f"momentum: wanted a number from 0 to below 1, got {momentum}.")
    key = jax.random.key(0) if key is None else key
    duals, losses = _train(Theta, z, targets, kind, rates, matrix, inertia, size, key)
    return DualTraining(Theta, z, duals, losses)


def check_problem(
    Theta: ArrayLike, initial: ArrayLike, y: ArrayLike, loss: str | Loss
) -> tuple[Float[Array, "N N"], Float[Array, "N n_L"], Array, Loss]:
    """Return frozen NTK, outputs before training, targets and loss, or say what does not fit."""
    kind = loss_of(loss)
    ntk = check_covariance(Theta, "Theta")
    z = check_inputs(initial, name="initial")
    if ntk.shape != (len(z), len(z)):
        raise ValueError(
            f"Theta: wanted shape {(len(z), len(z))} for {len(z)} outputs, got {ntk.shape}."
        )
    return ntk, z, check_targets(y, len(z), z.shape[1], kind), kind


def check_sample_matrix(kappa: ArrayLike | None, samples: int) -> Float[Array, "N N"]:
    """Return the sample matrix of a squared error, the unit matrix for None, or say what is wrong.

    Raises:
        ValueError: if it is no covariance of N samples.
    """
    matrix = jnp.eye(samples) if kappa is None else check_covariance(kappa, "kappa")
    if matrix.shape != (samples, samples):
        raise ValueError(f"kappa: wanted shape {(samples, samples)}, got {matrix.shape}.")
    return matrix


def check_schedule(eta: ArrayLike, steps: int) -> Float[Array, " steps"]:
    """Return the learning rate of every step, or say what is wrong with it."""
    rates = jnp.asarray(eta, dtype=float)
    if rates.shape not in ((), (steps,)):
        raise ValueError(f"eta: wanted one number or {steps} of them, got shape {rates.shape}.")
    if is_concrete(rates) and not (np.isfinite(rates) & (np.asarray(rates) >= 0)).all():
        raise ValueError(f"eta: wanted finite learning rates >= 0, got {eta}.")
    return jnp.broadcast_to(rates, (steps,))


@eqx.filter_jit
def _train(
    Theta: Array,
    z: Array,
    y: Array,
    loss: Loss,
    rates: Array,
    kappa: Array,
    momentum: Array,
    size: int,
    key: PRNGKeyArray,
) -> tuple[Float[Array, "N n_L"], Float[Array, " T"]]:
    N, batches = len(z), len(z) // size

    def step(state: tuple[Array, Array], now: tuple[Array, Array]) -> tuple:
        a, velocity = state
        t, eta = now
        outputs = z - Theta @ a
        error = loss.error_factor(outputs, y)
        if size < N:
            order = jax.random.permutation(jax.random.fold_in(key, t // batches), N)
            rows = jax.lax.dynamic_slice_in_dim(order, (t % batches) * size, size)
            error = jnp.zeros_like(error).at[rows].set(error[rows])
        velocity = momentum * velocity + kappa @ error
        return (a + eta * velocity, velocity), loss(outputs, y)

    start = (jnp.zeros_like(z), jnp.zeros_like(z))
    (a, _), losses = jax.lax.scan(step, start, (jnp.arange(len(rates)), rates))
    return a, jnp.append(losses, loss(z - Theta @ a, y))
