"""A covariance matrix: its check, a square root that may be singular, its principal axes.

    z = A u,  A A^T = K,  u ~ N(0, 1),        K = O^T diag(k) O,  u = O z        PDLT (1.28)

Data with repeated or collinear inputs have a singular K. Nothing here inverts it: directions
without variance are left out.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from finitewidth.precision import in_double_precision
from finitewidth.validation import is_concrete

#: Eigenvalues below this fraction of the largest one are rounding errors, of either sign.
ROUNDING = 1e-14


@in_double_precision
def check_covariance(K: ArrayLike, name: str = "K") -> Float[Array, "*batch N N"]:
    """Return a covariance in double precision, or say what is wrong with it.

    Args:
        K: symmetric positive semi-definite matrices, shape (..., N, N).
        name: what to call the argument in a message.

    Returns:
        The same matrices, shape (..., N, N).

    Raises:
        ValueError: if a matrix is not square, not finite, not symmetric or has a negative
            eigenvalue (beyond rounding). Under a JAX transform only the shape is checked.

    Example:
        >>> check_covariance([[1.0, 2.0], [2.0, 1.0]])
        Traceback (most recent call last):
        ...
        ValueError: K: wanted a covariance, no negative eigenvalues, got one of -1.
    """
    matrix = jnp.asarray(K, dtype=float)
    if matrix.ndim < 2 or matrix.shape[-1] != matrix.shape[-2] or matrix.shape[-1] == 0:
        raise ValueError(f"{name}: wanted a matrix of shape (N, N), got shape {matrix.shape}.")
    if is_concrete(matrix):
        values = np.asarray(matrix)
        if not np.isfinite(values).all():
            raise ValueError(f"{name}: wanted finite numbers, got NaN or infinity.")
        size = np.abs(values).max(initial=0.0)
        asymmetry = np.abs(values - np.swapaxes(values, -1, -2)).max(initial=0.0)
        if asymmetry > 1e-10 * size:
            raise ValueError(
                f"{name}: wanted a symmetric matrix, got one that differs from its transpose "
                f"by {asymmetry:.3g}."
            )
        lowest = np.linalg.eigvalsh(values).min(initial=0.0)
        if lowest < -1e-10 * size:
            raise ValueError(
                f"{name}: wanted a covariance, no negative eigenvalues, got one of {lowest:.6g}."
            )
    return matrix


class PrincipalAxes(eqx.Module):
    """The rotation that decorrelates a Gaussian vector, u = O z.

    Attributes:
        rotation: O, rows are the axes, shape (N, N).
        variances: of u, in ascending order, shape (N,).
    """

    rotation: Float[Array, "N N"]
    variances: Float[Array, " N"]


@in_double_precision
def principal_axes(K: ArrayLike) -> PrincipalAxes:
    """Find the rotation u = O z in which the covariance is diagonal.

    PDLT (1.28): (O K O^T)_{mn} = k_m delta_{mn}.

    Args:
        K: covariance, shape (N, N).

    Returns:
        The rotation (N, N) and the variances (N,), none negative.

    Raises:
        ValueError: if K is not a covariance.

    Example:
        >>> axes = principal_axes([[2.0, 1.0], [1.0, 2.0]])
        >>> axes.variances.round(12).tolist()
        [1.0, 3.0]
    """
    variances, axes = jnp.linalg.eigh(check_covariance(K))
    return PrincipalAxes(rotation=axes.T, variances=jnp.maximum(variances, 0.0))


@in_double_precision
def square_root(K: ArrayLike) -> Float[Array, "N rank"]:
    """Factor a covariance as K = A A^T without its directions of zero variance.

    Args:
        K: covariance, possibly singular, shape (N, N).

    Returns:
        A, shape (N, r) with r the rank of K (eigenvalues below 1e-14 of the largest count as 0).

    Raises:
        ValueError: if K is not a covariance.

    Example:
        >>> square_root([[4.0, 4.0], [4.0, 4.0]]).shape
        (2, 1)
    """
    axes = principal_axes(K)
    variances = np.asarray(axes.variances)
    kept = variances > ROUNDING * variances.max(initial=0.0)
    return (axes.rotation.T * jnp.sqrt(axes.variances))[:, kept]
