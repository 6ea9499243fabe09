r"""The posterior of infinite width, learned once and asked many times.

With the kernel K of the outputs, labels y and noise sigma^2, PDLT (6.34), (6.57), (6.64),

    m_i(x) = K_xA (K_AA + sigma^2 1)^(-1) y_i
    Cov(x, x') = K_xx' - K_xA (K_AA + sigma^2 1)^(-1) K_Ax'.

The Cholesky factor of the training block is kept; a test input asks for its own row of the kernel
and nothing else.

The noise that makes the labels most probable costs one symmetric eigenvalue problem,
K_AA = U s U^T: with c_k = sum_i (U^T y_i)_k^2,

    log p(y) = -(1/2) sum_k { n_L log 2 pi (s_k + sigma^2) + c_k / (s_k + sigma^2) }.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float
from scipy.optimize import minimize_scalar

from finitewidth.bayes.regression import Regression, check_problem, check_regular, regression
from finitewidth.flow import cross_kernel, kernel_diagonal, output_kernel
from finitewidth.network import MLP
from finitewidth.precision import in_double_precision
from finitewidth.validation import check_inputs

#: The noise is searched between these, in units of the mean of the diagonal of the kernel.
NOISE_RANGE = (1e-8, 1e2)
#: Values of the noise that are tried before the best of them is refined.
NOISE_GRID = 61

#: Numbers in one block of the kernel between test and training inputs.
BLOCK = 2**23


class InfiniteWidthPosterior(eqx.Module):
    """The posterior of an infinitely wide network, for any test inputs.

    Attributes:
        net: the network.
        x: training inputs, shape (N, n_0).
        noise: variance of the observation noise.
        learned: the regression of the labels on the kernel of the training inputs.
    """

    net: MLP
    x: Float[Array, "N n0"]
    noise: Float[Array, ""]
    learned: Regression

    @property
    @in_double_precision
    def log_evidence(self) -> Float[Array, ""]:
        """Log density of the labels, PDLT (6.34)."""
        return self.learned.log_evidence

    @in_double_precision
    def mean(self, x_test: Float[ArrayLike, "N_test n0"]) -> Float[Array, "N_test n_L"]:
        """Return the mean of the outputs, PDLT (6.64), shape (N_test, n_L)."""
        return jnp.concatenate([rows @ self.learned.a for _, rows in self._blocks(x_test)])

    @in_double_precision
    def mean_and_variance(
        self, x_test: Float[ArrayLike, "N_test n0"]
    ) -> tuple[Float[Array, "N_test n_L"], Float[Array, " N_test"]]:
        """Return the mean of the outputs and the variance of each of them, (N_test,)."""
        means, variances = [], []
        for some, rows in self._blocks(x_test):
            half = self._half(rows)
            means.append(rows @ self.learned.a)
            variances.append(kernel_diagonal(self.net, some) - (half**2).sum(axis=0))
        # Rounding may leave less than nothing at an input that was observed.
        return jnp.concatenate(means), jnp.maximum(jnp.concatenate(variances), 0.0)

    @in_double_precision
    def covariance(self, x_test: Float[ArrayLike, "N_test n0"]) -> Float[Array, "N_test N_test"]:
        """Return the covariance of any one output between test inputs, PDLT (6.57)."""
        x_test = check_inputs(x_test, self.net.widths[0], "x_test")
        half = self._half(cross_kernel(self.net, x_test, self.x))
        return output_kernel(self.net, x_test) - half.T @ half

    def _half(self, rows: Float[Array, "M N"]) -> Float[Array, "N M"]:
        return jax.scipy.linalg.solve_triangular(self.learned.root, rows.T, lower=True)

    def _blocks(self, x_test: ArrayLike) -> list[tuple[Array, Float[Array, "M N"]]]:
        """Return test inputs in blocks, each with its rows of the kernel."""
        x_test = check_inputs(x_test, self.net.widths[0], "x_test")
        size = max(1, BLOCK // self.learned.training)
        blocks = [x_test[start : start + size] for start in range(0, x_test.shape[0], size)]
        return [(some, cross_kernel(self.net, some, self.x)) for some in blocks]

    def __repr__(self) -> str:
        N, outputs = self.learned.y.shape
        return (
            f"InfiniteWidthPosterior of {N} labels with {outputs} outputs: "
            f"noise {float(self.noise):.4g}, log-evidence {float(self.log_evidence):.6g}"
        )


@in_double_precision
def infinite_width_posterior(
    net: MLP,
    x: Float[ArrayLike, "N n0"],
    y: Float[ArrayLike, "N n_L"],
    noise: float | None = 0.0,
) -> InfiniteWidthPosterior:
    """Learn labels at infinite width, PDLT (6.34), (6.57), (6.64), to predict at any inputs.

    The numbers are those of `posterior(..., order=0)`, which wants the test inputs beforehand.

    Args:
        net: the network.
        x: training inputs, shape (N, n_0).
        y: labels, shape (N, n_L), or (N,) for one output.
        noise: variance of the observation noise; None for the one of largest evidence, between
            1e-8 and 100 times the mean square of the outputs.

    Returns:
        What is learned, with `mean`, `mean_and_variance` and `covariance` at test inputs.

    Raises:
        ValueError: if the data do not fit the network or each other, the noise is negative, or the
            kernel of the training inputs is singular.

    Accuracy: that of the kernel times the condition number of K_AA + noise.

    Cost: the kernel of N inputs and O(N^3); N pair expectations a layer for each test input.

    Example:
        >>> import finitewidth as fw
        >>> net = fw.MLP((2, 100, 100, 1), "tanh", C_b=0.1, C_W=1.5)
        >>> learned = fw.bayes.infinite_width_posterior(net, [[1.0, 0.0], [0.0, 1.0]], [1.0, -0.5])
        >>> learned.mean([[1.0, 0.0]]).round(9).tolist()
        [[1.0]]
    """
    x, y, variance, _ = check_problem(net, x, y, 0.0 if noise is None else noise)
    kernel = output_kernel(net, x)
    if noise is None:
        variance = jnp.asarray(most_probable_noise(kernel, y))
    found = regression(kernel, y, variance)
    check_regular(found, x, variance)
    return InfiniteWidthPosterior(net, x, variance, found)


def most_probable_noise(kernel: Float[Array, "N N"], y: Float[Array, "N n_L"]) -> float:
    """Return the variance of the noise with the largest evidence; see the top of the module.

    Args:
        kernel: of the training inputs, shape (N, N).
        y: labels, shape (N, n_L).

    Returns:
        The variance, to 1e-6 of itself.
    """
    s, U = np.linalg.eigh(np.asarray(kernel))
    labels = np.asarray(y)
    c, n_L = ((U.T @ labels) ** 2).sum(axis=1), labels.shape[1]
    mean = float(np.trace(np.asarray(kernel))) / len(s)
    unit = mean if mean > 0 else 1.0

    def negative_evidence(log_noise: float) -> float:
        variance = np.maximum(s, 0.0) + unit * math.exp(log_noise)
        return 0.5 * float((n_L * np.log(2 * math.pi * variance) + c / variance).sum())

    low, high = (math.log(end) for end in NOISE_RANGE)
    grid = np.linspace(low, high, NOISE_GRID)
    best = int(np.argmin([negative_evidence(log_noise) for log_noise in grid]))
    around = grid[max(best - 1, 0)], grid[min(best + 1, NOISE_GRID - 1)]
    found = minimize_scalar(negative_evidence, bounds=around, method="bounded",
                            options={"xatol": 1e-6})  # fmt: skip
    return unit * math.exp(float(found.x))
