r"""What the kernel predicts for one trained network, and a learning rate at which it trains.

With the empirical NTK $H$ of the network at initialization, all output components together, the
linearized network ends at

$$z_B(T) = z_B - H_{BA}\,H_{AA}^{-1}\,(z_A-y),$$

PDLT (10.31), (10.35) with $H$ for $\Theta$ (A training, B test inputs): the inverse is that of the
training block alone. With the frozen NTK $\Theta$ in its place its mean over networks is
$\Theta_{BA}\Theta_{AA}^{-1}y$, PDLT (10.40), exactly and at any width, because outputs have zero
mean at initialization. Gradient descent of the linearized network converges if
$\eta\,\lambda_{\max}(H_{AA})$ times the largest second derivative of the loss by the outputs is
below 2.
"""

from abc import abstractmethod

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from finitewidth.network import Loss, cross_entropy, mean_squared_error
from finitewidth.precision import in_double_precision

# The largest eigenvalue is bounded by the trace of the power 2^SQUARINGS: above it by at most a
# factor P^(1/64), 8 % for a matrix of 100 rows. (No decomposition: jaxlib 0.10 on a CPU can wait
# for itself for ever where one compiled function holds two batched ones.)
SQUARINGS = 6


class Linearization(eqx.Module):
    """A linear prediction for every single trained network."""

    @abstractmethod
    def __call__(
        self,
        ntk: Float[Array, "n_L n_L D D"] | None,
        z: Float[Array, "D n_L"],
        y: Float[Array, "N n_L"],
    ) -> Float[Array, "N_test n_L"]:
        """Predict the trained test outputs.

        Args:
            ntk: the empirical NTK, training inputs first; None if `needs_ntk` is False.
            z: outputs at initialization, training inputs first.
            y: targets.
        """

    @property
    @abstractmethod
    def needs_ntk(self) -> bool:
        """Whether the empirical NTK of the network is used."""

    @property
    @abstractmethod
    def known_mean(self) -> Float[Array, "N_test n_L"] | None:
        """The exact mean of the prediction over networks, if it is known."""


class OwnNTK(Linearization):
    """The prediction from the empirical NTK of the network itself."""

    @property
    def needs_ntk(self) -> bool:
        """It is."""
        return True

    @property
    def known_mean(self) -> None:
        """It is not known: the NTK fluctuates together with the outputs."""

    def __call__(
        self,
        ntk: Float[Array, "n_L n_L D D"] | None,
        z: Float[Array, "D n_L"],
        y: Float[Array, "N n_L"],
    ) -> Float[Array, "N_test n_L"]:
        """Predict the trained test outputs."""
        assert ntk is not None
        N, outputs = y.shape
        rows = matrix_of(ntk)
        training = N * outputs
        answer = _solve(rows[:training, :training], (z[:N] - y).ravel())
        return z[N:] - (rows[training:, :training] @ answer).reshape(-1, outputs)


class FrozenNTK(Linearization):
    """The prediction from the frozen NTK, the same for every network.

    Attributes:
        response: R = Theta_BA Theta_AA^-1, shape (N_test, N).
        mean: R y, shape (N_test, n_L).
    """

    response: Float[Array, "N_test N"]
    mean: Float[Array, "N_test n_L"]

    @property
    def needs_ntk(self) -> bool:
        """It is not."""
        return False

    @property
    def known_mean(self) -> Float[Array, "N_test n_L"]:
        """R y, PDLT (10.40)."""
        return self.mean

    def __call__(
        self,
        ntk: Float[Array, "n_L n_L D D"] | None,
        z: Float[Array, "D n_L"],
        y: Float[Array, "N n_L"],
    ) -> Float[Array, "N_test n_L"]:
        """Predict the trained test outputs."""
        N = y.shape[0]
        return z[N:] - self.response @ (z[:N] - y)


@in_double_precision
def frozen_linearization(
    ntk: Float[ArrayLike, "D D"], y: Float[Array, "N n_L"], tests: int
) -> FrozenNTK:
    """Return the prediction of a frozen NTK of the training inputs and, after them, test inputs.

    Raises:
        ValueError: if the NTK is of another shape, not symmetric, not finite, or if the block of
            the training inputs is not positive definite.
    """
    theta = np.asarray(ntk, dtype=float)
    N = y.shape[0]
    if theta.shape != (N + tests, N + tests):
        raise ValueError(
            f"control_variate: wanted the NTK of {N} training and {tests} test inputs, shape "
            f"{(N + tests, N + tests)}, got {theta.shape}."
        )
    scale = np.abs(theta).max()
    if not np.isfinite(scale) or np.abs(theta - theta.T).max() > 1e-10 * scale:
        raise ValueError("control_variate: wanted a finite symmetric NTK.")
    try:
        np.linalg.cholesky(theta[:N, :N])
    except np.linalg.LinAlgError:
        raise ValueError(
            "control_variate: wanted an NTK that is positive definite on the training inputs, "
            f"smallest eigenvalue {np.linalg.eigvalsh(theta[:N, :N])[0]:.3g}."
        ) from None
    response = np.linalg.solve(theta[:N, :N], theta[:N, N:]).T
    return FrozenNTK(jnp.asarray(response), jnp.asarray(response @ np.asarray(y)))


def largest_curvature(loss: Loss, y: Float[Array, "N n_L"]) -> Float[Array, ""] | None:
    """Return a bound on the second derivatives of a loss by the outputs; None if none is known."""
    # The function, not the `Loss`: compiled code sees a copy of that.
    if loss.of_sample is mean_squared_error.of_sample:
        return jnp.ones(())
    if loss.of_sample is cross_entropy.of_sample:
        # The eigenvalues of diag p - p p^T are at most 1/2.
        return jnp.max(jnp.sum(y, axis=1)) / 2
    return None


def stable_rate(
    ntk: Float[Array, "n_L n_L N N"], curvature: Float[ArrayLike, ""] = 1.0
) -> Float[Array, ""]:
    """Return a learning rate of at most 1/(lambda_max curvature), half of where descent breaks.

    Args:
        ntk: the empirical NTK of the training inputs.
        curvature: the largest second derivative of the loss by the outputs.

    Returns:
        The rate, below that bound by less than a factor P^(1/64) for P = N n_L.

    Example:
        >>> round(float(stable_rate(4 * jnp.ones((1, 1, 2, 2)))), 12)
        0.125
    """
    power = matrix_of(ntk)
    logarithm = jnp.zeros(())
    for doubling in range(SQUARINGS + 1):
        # tr M^(2^k), with the size taken out before every squaring.
        size = jnp.trace(power)
        logarithm = logarithm + jnp.log(size) / 2**doubling
        power = power / size
        power = power @ power
    return jnp.exp(-logarithm) / curvature


def matrix_of(ntk: Float[Array, "n n D D"]) -> Float[Array, "P P"]:
    """Return the NTK as a matrix whose rows are (input, component), inputs slowest."""
    n, _, D, _ = ntk.shape
    return ntk.transpose(2, 0, 3, 1).reshape(n * D, n * D)


# One matrix after the other, for the same reason as above.
@jax.custom_batching.sequential_vmap
def _solve(matrix: Float[Array, "P P"], right: Float[Array, " P"]) -> Float[Array, " P"]:
    return jax.scipy.linalg.solve(matrix, right, assume_a="pos")
