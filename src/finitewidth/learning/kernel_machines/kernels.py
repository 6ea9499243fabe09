r"""Kernels of two sets of inputs: linear, Gaussian, and of any features.

    k(x, x') = sum_j c_j phi_j(x) phi_j(x')                              PDLT (10.128), (10.136)
    k(x, x') = c_b + c_W x.x'       linear features, phi_0 = 1, phi_j = x_j
    k(x, x') = exp(-|x - x'|^2/(2 w^2))                                          PDLT (10.133)

With phi_0 = 1, c_0 = C_b and c_j = C_W/n over the neurons of the last hidden layer, (10.136) is the
random-feature kernel of one network, `random_feature_kernel`, whose mean is K^(L) at large width.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from finitewidth.precision import in_double_precision
from finitewidth.validation import check_inputs, is_concrete


@in_double_precision
def linear_kernel(
    x: Float[ArrayLike, "N n0"],
    other: Float[ArrayLike, "M n0"] | None = None,
    c_b: float = 1.0,
    c_W: float = 1.0,
) -> Float[Array, "N M"]:
    """Return c_b + c_W x.x', the kernel of the features (1, x), PDLT (10.128).

    Args:
        x: inputs, shape (N, n_0).
        other: other inputs, shape (M, n_0); x by default.
        c_b: weight of the constant feature.
        c_W: weight of the components of x.

    Returns:
        The kernel, shape (N, M).

    Raises:
        TypeError, ValueError: for bad inputs.

    Example:
        >>> linear_kernel([[1.0, 2.0]], [[3.0, 0.5], [0.0, 0.0]]).tolist()
        [[5.0, 1.0]]
    """
    x, other = _pair(x, other)
    return c_b + c_W * x @ other.T


@in_double_precision
def gaussian_kernel(
    x: Float[ArrayLike, "N n0"],
    other: Float[ArrayLike, "M n0"] | None = None,
    width: float = 1.0,
) -> Float[Array, "N M"]:
    """Return exp(-|x - x'|^2/(2 width^2)), a kernel of infinitely many features, PDLT (10.133).

    Args:
        x: inputs, shape (N, n_0).
        other: other inputs, shape (M, n_0); x by default.
        width: the distance at which similarity is lost, in units of x.

    Returns:
        The kernel, shape (N, M); exactly 1 for equal inputs.

    Raises:
        TypeError, ValueError: for bad inputs or a width that is not positive.

    Example:
        >>> round(float(gaussian_kernel([[1.0, 0.0]], [[0.0, 1.0]])[0, 0]), 9)  # 1/e
        0.367879441
    """
    if not width > 0:
        raise ValueError(f"width: wanted a positive distance, got {width}.")
    x, other = _pair(x, other)
    apart = x[:, None, :] - other[None, :, :]
    return jnp.exp(-(apart**2).sum(axis=-1) / (2 * width**2))


@in_double_precision
def feature_kernel(
    features: Float[ArrayLike, "N F"],
    other: Float[ArrayLike, "M F"] | None = None,
    weights: Float[ArrayLike, " F"] | None = None,
) -> Float[Array, "N M"]:
    """Return sum_j c_j phi_j(x) phi_j(x'), PDLT (10.128), (10.136).

    Args:
        features: phi of inputs, shape (N, F).
        other: phi of other inputs, shape (M, F); the same by default.
        weights: c_j >= 0, shape (F,); 1 by default.

    Returns:
        The kernel, shape (N, M).

    Raises:
        TypeError, ValueError: for bad features, or weights of another number or sign.

    Example:
        >>> feature_kernel([[1.0, 2.0]], weights=[0.5, 3.0]).tolist()
        [[12.5]]
    """
    features, other = _pair(features, other, "features")
    c = jnp.ones(features.shape[1]) if weights is None else jnp.asarray(weights, dtype=float)
    if c.shape != (features.shape[1],):
        raise ValueError(f"weights: wanted shape {(features.shape[1],)}, got {c.shape}.")
    if is_concrete(c) and not (np.isfinite(c) & (np.asarray(c) >= 0)).all():
        raise ValueError("weights: wanted finite numbers >= 0, got others.")
    return (features * c) @ other.T


def _pair(x: ArrayLike, other: ArrayLike | None, name: str = "x") -> tuple[Array, Array]:
    checked = check_inputs(x, name=name)
    return checked, checked if other is None else check_inputs(other, checked.shape[1], "other")
