r"""How large a learning rate may be, and how many steps training takes, from the frozen NTK.

    eta lambda_max(Theta_AA) c < 2,    c the largest eigenvalue of the loss Hessian by the outputs
                                       1 for the mean squared error
                                       max eig(diag q - q q^T) <= 1/2 for the cross-entropy
    |z_A - y| falls by max_k |1 - eta lambda_k| each step          from PDLT (10.33), MSE

Losses are sums over the samples; a trainer that takes means over N of them has N times the rate.
"""

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from finitewidth.gaussian.covariance import check_covariance
from finitewidth.network.losses import Loss, cross_entropy, loss_of, mean_squared_error
from finitewidth.precision import in_double_precision
from finitewidth.validation import is_concrete

#: The largest eigenvalue of the Hessian of one sample by its outputs, at any outputs.
CURVATURES = {mean_squared_error.name: 1.0, cross_entropy.name: 0.5}


@in_double_precision
def max_learning_rate(
    Theta: Float[ArrayLike, "N N"], loss: str | Loss = "mse", curvature: float | None = None
) -> Float[Array, ""]:
    """Return the learning rate up to which gradient descent is stable, 2/(c lambda_max).

    Args:
        Theta: frozen NTK of the training inputs Theta_AA, shape (N, N).
        loss: "mse" or "cross-entropy", or any other with its curvature.
        curvature: c, the largest eigenvalue of the Hessian of the loss of one sample by its
            outputs, for example max eig(diag q - q q^T) at the probabilities q reached; the bound
            for any outputs by default. For targets that sum to one.

    Returns:
        The largest eta. Sharp for the squared error: at it, the largest eigenvalue does not decay.

    Raises:
        ValueError: if Theta is no covariance, is zero, or the curvature of a loss is not known.

    Example:
        >>> [float(max_learning_rate([[2.0, 0.0], [0.0, 4.0]], loss)) for loss in ("mse",
        ...     "cross-entropy")]
        [0.5, 1.0]
    """
    kind = loss_of(loss)
    if curvature is None:
        if kind not in (mean_squared_error, cross_entropy):
            raise ValueError(f"curvature: wanted that of the loss {kind.name!r}, got None.")
        curvature = CURVATURES[kind.name]
    elif not (math.isfinite(curvature) and curvature > 0):
        raise ValueError(f"curvature: wanted a positive number, got {curvature}.")
    largest = jnp.linalg.eigvalsh(check_covariance(Theta, "Theta"))[-1]
    if is_concrete(largest) and not float(largest) > 0:
        raise ValueError("Theta: wanted an NTK that is not zero, got zero.")
    return 2 / (curvature * largest)


@in_double_precision
def steps_to_tolerance(Theta: Float[ArrayLike, "N N"], eta: float, tolerance: float = 1e-3) -> int:
    """Return after how many steps every error of the squared loss is below a part of the first.

    The least T with max_k |1 - eta lambda_k|^T <= tolerance.

    Args:
        Theta: frozen NTK of the training inputs Theta_AA, shape (N, N).
        eta: learning rate.
        tolerance: wanted |z_A(T) - y|/|z_A - y|, between 0 and 1.

    Returns:
        T. It is exact for the worst error; others are there sooner.

    Raises:
        ValueError: if Theta is singular or no covariance, or gradient descent does not converge
            at this eta.

    Example:
        >>> steps_to_tolerance([[1.0, 0.0], [0.0, 4.0]], eta=0.25, tolerance=1e-2)  # 0.75^T
        17
    """
    if not 0 < tolerance < 1:
        raise ValueError(f"tolerance: wanted a number between 0 and 1, got {tolerance}.")
    rates = np.linalg.eigvalsh(np.asarray(check_covariance(Theta, "Theta")))
    rate = float(np.abs(1 - eta * rates).max())
    if not rate < 1:
        raise ValueError(
            f"eta: wanted one between 0 and {2 / rates[-1]:.6g} and a Theta that is not singular, "
            f"got eta = {eta:.6g} and eigenvalues from {rates[0]:.3g} to {rates[-1]:.3g}."
        )
    return math.ceil(math.log(tolerance) / math.log(rate)) if rate > 0 else 1
