r"""Kernel machines: the same regression in the space of samples, for features without number.

    z_B = k_BA (k_AA + 2 a 1)^-1 y                                PDLT (10.127)-(10.132), derived
    z_B = z_B(0) - k_BA k_AA^-1 (z_A(0) - y)         descent from other weights, PDLT footnote 48

It equals the linear model of the features of k, for a = 0 if k_AA is regular, for which the
features must outnumber the inputs. With k = Theta it is the mean prediction of trained wide
networks (10.40), with k = K that of Bayesian inference.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from finitewidth.gaussian import check_covariance
from finitewidth.learning.kernel_machines.linear_model import check_ridge
from finitewidth.precision import in_double_precision
from finitewidth.validation import check_inputs, check_outputs, is_concrete, is_lost_in_rounding


class KernelMachine(eqx.Module):
    """A kernel machine that has seen its training set.

    Attributes:
        kernel: function of two sets of inputs.
        x: training inputs, shape (N, n_0).
        duals: (k_AA + 2 a)^-1 y, shape (N, n_L).
    """

    kernel: Callable[[Array, Array], Array] = eqx.field(static=True)
    x: Float[Array, "N n0"]
    duals: Float[Array, "N n_L"]

    @in_double_precision
    def __call__(self, x_test: Float[ArrayLike, "M n0"]) -> Float[Array, "M n_L"]:
        """Return the prediction k_BA (k_AA + 2 a)^-1 y, PDLT (10.132).

        Args:
            x_test: inputs, shape (M, n_0).

        Returns:
            Outputs, shape (M, n_L).
        """
        tests = check_inputs(x_test, self.x.shape[1], "x_test")
        return self.kernel(tests, self.x) @ self.duals


@in_double_precision
def kernel_machine(
    kernel: Callable[[Array, Array], Array],
    x: Float[ArrayLike, "N n0"],
    y: Float[ArrayLike, "N n_L"],
    ridge: float = 0.0,
) -> KernelMachine:
    """Train a kernel machine, PDLT (10.127)-(10.132).

    Args:
        kernel: takes inputs of shapes (N, n_0) and (M, n_0) to a matrix (N, M), such as
            `linear_kernel`, `gaussian_kernel` or a function of your own.
        x: training inputs, shape (N, n_0).
        y: targets, shape (N, n_L), or (N,) for one output.
        ridge: a of the penalty a sum W^2 on the weights of the features.

    Returns:
        The machine; call it with test inputs.

    Raises:
        TypeError, ValueError: for bad data, a kernel that is no covariance, a negative ridge, or
            a kernel matrix that is singular without a ridge.

    Cost: O(N^3).

    Example:
        >>> from finitewidth.learning.kernel_machines import gaussian_kernel
        >>> machine = kernel_machine(gaussian_kernel, [[0.0], [1.0]], [1.0, -1.0])
        >>> [round(float(value), 6) for value in machine([[0.0], [0.5]])[:, 0]]
        [1.0, 0.0]
    """
    x = check_inputs(x)
    targets = check_outputs(y, len(x))
    return KernelMachine(kernel, x, dual_weights(kernel(x, x), targets, ridge))


@in_double_precision
def dual_weights(
    k: Float[ArrayLike, "N N"], y: Float[ArrayLike, "N n_L"], ridge: float = 0.0
) -> Float[Array, "N n_L"]:
    """Solve (k_AA + 2 a 1) v = y, PDLT (10.131), so that k_BA v is the prediction.

    Args:
        k: kernel of the training inputs, shape (N, N).
        y: targets, shape (N, n_L), or (N,) for one output; y - z(0) for descent from other
            weights.
        ridge: a.

    Returns:
        v, shape (N, n_L).

    Raises:
        ValueError: for a kernel that is no covariance, a negative ridge, or a kernel matrix that
            is singular without a ridge.

    Example:
        >>> dual_weights([[1.0, 0.0], [0.0, 3.0]], [2.0, 5.0], ridge=1.0).round(9).tolist()
        [[0.666666667], [1.0]]
    """
    K = check_covariance(k, "k")
    targets = check_outputs(y, len(K))
    root = jnp.linalg.cholesky(K + 2 * check_ridge(ridge) * jnp.eye(len(K)))
    if is_concrete(root) and is_lost_in_rounding(root, np.diagonal(np.asarray(K))):
        raise ValueError(
            f"k: the kernel of {len(K)} training inputs is singular: equal inputs or fewer "
            "features than inputs do that. Use ridge > 0, or `fit_linear_model`."
        )
    return jax.scipy.linalg.cho_solve((root, True), targets)
