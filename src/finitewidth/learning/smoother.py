r"""How training carries labels to test inputs: one matrix R of the frozen NTK.

    z_B(T) = z_B - R (z_A - y),        P = [-R  1],       z_B(T) = P z_D + R y
    R = Theta_BA Theta_AA^-1                     fully trained            PDLT (10.31), (10.39)
    R = Theta_BA Theta_AA^-1 [1 - (1 - eta Theta_AA)^T]     T steps of gradient descent   derived
    R = Theta_BA Theta_AA^-1 [1 - exp(-eta t Theta_AA)]     gradient flow                 derived

for the mean squared error; 10.33 iterated. Nothing is inverted: one Cholesky factor of Theta_AA for
full training, one symmetric eigendecomposition for finite time, where singular directions are
learned at the rate of their limit.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from finitewidth.learning.frozen_kernels import FrozenKernels, solve_ntk
from finitewidth.validation import check_count, is_concrete


class Duration(NamedTuple):
    """How long training lasts: for ever, T steps of rate eta, or a time eta t of gradient flow."""

    steps: int | None = None
    eta: Float[Array, ""] | None = None
    time: Float[Array, ""] | None = None

    @property
    def finite(self) -> bool:
        """Whether training stops before the end."""
        return self.steps is not None or self.time is not None

    def learned(self, rate: Float[Array, " N"]) -> Float[Array, " N"]:
        """Return [1 - decay(lambda)]/lambda for eigenvalues lambda >= 0 of Theta_AA."""
        if self.time is not None:
            safe = jnp.where(rate > 0, rate, 1.0)
            return jnp.where(rate > 0, -jnp.expm1(-safe * self.time) / safe, self.time)
        assert self.steps is not None and self.eta is not None
        x = self.eta * rate
        slow, fast = jnp.where((x > 0) & (x < 1), x, 0.5), jnp.where(x >= 1, x, 1.0)
        overshot = 1 - (-1.0) ** self.steps * (fast - 1) ** self.steps
        below = jnp.where(x > 0, -jnp.expm1(self.steps * jnp.log1p(-slow)) / slow, self.steps)
        return self.eta * jnp.where(x >= 1, overshot / fast, below)

    def __str__(self) -> str:
        if self.time is not None:
            return f"gradient flow for eta t = {_shown(self.time)}"
        if self.steps is not None:
            return f"{self.steps} steps of eta = {_shown(self.eta)}"
        return "fully trained"


def check_duration(steps: int | None, eta: ArrayLike | None, time: ArrayLike | None) -> Duration:
    """Return how long to train, or say what is wrong.

    Raises:
        ValueError: unless steps and eta, or time, or nothing is given, positive and finite.
    """
    if time is not None and (steps is not None or eta is not None):
        raise ValueError("time: wanted either time (eta t) or steps and eta, got both.")
    if (steps is None) != (eta is None):
        given = "eta" if steps is None else "steps"
        raise ValueError(f"{given}: wanted steps and eta together, got {given} alone.")
    if time is not None:
        return Duration(time=_positive(time, "time"))
    if steps is None:
        return Duration()
    assert eta is not None
    return Duration(steps=check_count(steps, "steps", least=0), eta=_positive(eta, "eta"))


def smoother(
    kernels: FrozenKernels, duration: Duration, x: Array | None = None, y: Array | None = None
) -> Float[Array, "N_test N"]:
    """Return R, shape (N_test, N).

    Args:
        kernels: K and Theta of training and test inputs.
        duration: how long to train.
        x: training inputs, for a message about equal ones.
        y: their targets, likewise.

    Raises:
        ValueError: if Theta_AA is singular and training has no end, or eta is so large that
            gradient descent diverges.
    """
    Theta = kernels.training_ntk
    if not duration.finite:
        return solve_ntk(Theta, kernels.test_ntk.T, x, y).T
    rates, axes = jnp.linalg.eigh(Theta)
    rates = jnp.maximum(rates, 0.0)
    if duration.eta is not None:
        check_stable(duration.eta, rates[-1])
    return ((kernels.test_ntk @ axes) * duration.learned(rates)) @ axes.T


def check_stable(eta: Float[Array, ""], largest: Float[Array, ""]) -> None:
    """Refuse a learning rate at which gradient descent on the squared error diverges."""
    if not (is_concrete(eta) and is_concrete(largest)):
        return
    if float(eta) * float(largest) > 2:
        raise ValueError(
            "eta: gradient descent diverges above 2/lambda_max(Theta_AA) = "
            f"{2 / float(largest):.6g}, got {float(eta):.6g}."
        )


def _shown(number: Float[Array, ""] | None) -> str:
    return f"{number:.6g}" if number is not None and is_concrete(number) else "a traced number"


def _positive(value: ArrayLike, name: str) -> Float[Array, ""]:
    number = jnp.asarray(value, dtype=float)
    if number.ndim:
        raise ValueError(f"{name}: wanted one number, got shape {number.shape}.")
    if is_concrete(number) and not (np.isfinite(number) and number > 0):
        raise ValueError(f"{name}: wanted a positive number, got {value}.")
    return number
