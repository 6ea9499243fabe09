r"""Linear models of fixed features: regression in the space of weights.

    z_i(x) = sum_j W_ij phi_j(x),  phi_0 = 1,   L = (1/2) sum (z - y)^2 + a sum_ij W_ij^2
                                                                      PDLT (10.119)-(10.124)
    M = Phi_A^T Phi_A + 2 a 1,     W* = y^T Phi_A M^-1,     z_B = Phi_B M^-1 Phi_A^T y
                                                                              PDLT (10.122)-(10.126)

For a = 0 the limit a -> 0+ is taken, the smallest weights that minimize the error: it exists also
where M is singular, with more features than inputs. Gradient descent from W_0 without penalty goes
to W_0 + W*[y - z_A(W_0)], PDLT footnote 48. One singular value decomposition of Phi_A serves for
all of it; M is never formed.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from finitewidth.precision import in_double_precision
from finitewidth.validation import check_inputs, check_outputs, is_concrete

#: Singular values below this fraction of the largest are directions without data.
NO_DATA = 1e-12


class LinearModel(eqx.Module):
    """A linear model with its weights.

    Attributes:
        weights: W, shape (n_L, F).
    """

    weights: Float[Array, "n_L F"]

    @in_double_precision
    def __call__(self, features: Float[ArrayLike, "M F"]) -> Float[Array, "M n_L"]:
        """Return z = W phi, PDLT (10.119).

        Args:
            features: phi of inputs, shape (M, F).

        Returns:
            Outputs, shape (M, n_L).
        """
        return check_inputs(features, self.weights.shape[1], "features") @ self.weights.T


@in_double_precision
def linear_features(x: Float[ArrayLike, "N n0"]) -> Float[Array, "N F"]:
    """Return the features (1, x_1, ..., x_n0) of linear regression, PDLT (10.119).

    Args:
        x: inputs, shape (N, n_0).

    Returns:
        Features, shape (N, n_0 + 1).
    """
    x = check_inputs(x)
    return jnp.concatenate([jnp.ones((len(x), 1)), x], axis=1)


@in_double_precision
def fit_linear_model(
    features: Float[ArrayLike, "N F"],
    y: Float[ArrayLike, "N n_L"],
    ridge: float = 0.0,
    initial: Float[ArrayLike, "n_L F"] | None = None,
) -> LinearModel:
    """Fit the weights of a linear model by least squares, PDLT (10.122)-(10.126).

    Args:
        features: phi of the training inputs, shape (N, F), the constant one among them if wanted.
        y: targets, shape (N, n_L), or (N,) for one output.
        ridge: a of the penalty a sum W^2; 0 for its limit a -> 0+.
        initial: W_0 that gradient descent starts from, without penalty, shape (n_L, F); zero by
            default.

    Returns:
        The model.

    Raises:
        TypeError, ValueError: for data that do not fit each other, a negative ridge, or initial
            weights with a ridge.

    Cost: O(N F min(N, F)).

    Example:
        >>> phi = linear_features([[0.0], [1.0], [2.0]])
        >>> fit_linear_model(phi, [1.0, 3.0, 5.0]).weights.round(9).tolist()
        [[1.0, 2.0]]
    """
    phi = check_inputs(features, name="features")
    targets = check_outputs(y, len(phi))
    a = check_ridge(ridge)
    start = None
    if initial is not None:
        if float(ridge) > 0:
            raise ValueError("initial: wanted none with a ridge, which fixes the weights alone.")
        start = check_inputs(initial, phi.shape[1], "initial")
        if len(start) != targets.shape[1]:
            raise ValueError(f"initial: wanted {targets.shape[1]} rows, got {len(start)}.")
        targets = targets - phi @ start.T
    left, size, right = jnp.linalg.svd(phi, full_matrices=False)
    kept = size > NO_DATA * size[0]
    shrink = jnp.where(kept, size, 0.0) / jnp.where(kept, size**2 + 2 * a, 1.0)
    weights = ((targets.T @ left) * shrink) @ right
    return LinearModel(weights if start is None else start + weights)


def check_ridge(ridge: ArrayLike) -> Float[Array, ""]:
    """Return the strength of a penalty, or say that it is no number >= 0."""
    a = jnp.asarray(ridge, dtype=float)
    if a.ndim or (is_concrete(a) and not (np.isfinite(a) and a >= 0)):
        raise ValueError(f"ridge: wanted one finite number >= 0, got {ridge}.")
    return a
