r"""Gaussian regression of observed labels: what every formula of the posterior is made of.

With the metric G over training inputs A and test inputs B, noise sigma^2 on the labels, and
everything padded with zeros from A to A + B,

    Q = [G_AA + sigma^2 1]^(-1),   a_i = Q y_i,   P_b = 1_b - (G Q)_b,
    M = (1/2) (sum_i a_i a_i^T - n_L Q) = d log p_G(y) / dG,

the posterior of infinite width is, PDLT (6.57), (6.64), and its evidence, (6.34),

    m_i = G a_i,   K_post = P^T G = G_BB - G_BA Q G_AB,
    log p_G(y) = -(n_L/2) log |2 pi (G_AA + sigma^2 1)| - (1/2) sum_i y_i a_i.

One Cholesky factor of the training block serves for all of it; no matrix that holds a test input
is ever inverted.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from finitewidth.flow import output_kernel
from finitewidth.network import MLP
from finitewidth.validation import (
    check_inputs,
    check_outputs,
    check_variance,
    equal_inputs,
    is_concrete,
    is_lost_in_rounding,
)


class Regression(eqx.Module):
    """The regression of labels on one metric.

    Attributes:
        G: metric over training and test inputs, shape (N + N_test, N + N_test).
        root: Cholesky factor of G_AA + sigma^2 1, shape (N, N).
        y: labels, shape (N, n_L).
        a: Q y, shape (N, n_L).
    """

    G: Float[Array, "D D"]
    root: Float[Array, "N N"]
    y: Float[Array, "N n_L"]
    a: Float[Array, "N n_L"]

    @property
    def training(self) -> int:
        """The number of training inputs N."""
        return self.y.shape[0]

    @property
    def log_evidence(self) -> Float[Array, ""]:
        """Log p_G(y), PDLT (6.34)."""
        N, n_L = self.y.shape
        log_determinant = 2 * jnp.log(jnp.diagonal(self.root)).sum()
        return -0.5 * (
            n_L * (N * math.log(2 * math.pi) + log_determinant) + (self.y * self.a).sum()
        )

    @property
    def mean(self) -> Float[Array, "N_test n_L"]:
        """G_BA Q y, PDLT (6.64)."""
        return self.G[self.training :, : self.training] @ self.a

    @property
    def covariance(self) -> Float[Array, "N_test N_test"]:
        """G_BB - G_BA Q G_AB, PDLT (6.57)."""
        N = self.training
        half = jax.scipy.linalg.solve_triangular(self.root, self.G[:N, N:], lower=True)
        return self.G[N:, N:] - half.T @ half

    @property
    def Q(self) -> Float[Array, "N N"]:
        """The inverse of G_AA + sigma^2 1."""
        return jax.scipy.linalg.cho_solve((self.root, True), jnp.eye(self.training))

    @property
    def residual(self) -> Float[Array, "N_test D"]:
        """P: one row for each test input, -(G Q) on the training inputs and 1 on itself."""
        N, D = self.training, self.G.shape[0]
        on_training = -jax.scipy.linalg.cho_solve((self.root, True), self.G[:N, N:]).T
        return jnp.concatenate([on_training, jnp.eye(D - N)], axis=1)

    @property
    def gradient(self) -> Float[Array, "N N"]:
        """M: the derivative of the log-evidence by the metric of the training inputs."""
        return 0.5 * (self.a @ self.a.T - self.y.shape[1] * self.Q)

    def padded_rows(self, vectors: Float[Array, "N k"]) -> Float[Array, "D k"]:
        """Return vectors over training inputs, with zeros for the test inputs."""
        return jnp.pad(vectors, ((0, self.G.shape[0] - self.training), (0, 0)))

    def padded(self, matrix: Float[Array, "N N"]) -> Float[Array, "D D"]:
        """Return a matrix over training inputs, with zeros for the test inputs."""
        missing = self.G.shape[0] - self.training
        return jnp.pad(matrix, ((0, missing), (0, missing)))


def regression(
    G: Float[Array, "D D"], y: Float[Array, "N n_L"], noise: Float[Array, ""]
) -> Regression:
    """Return the regression of y on the metric G, whose first N rows are the training inputs."""
    N = y.shape[0]
    root = jnp.linalg.cholesky(G[:N, :N] + noise * jnp.eye(N))
    return Regression(G, root, y, jax.scipy.linalg.cho_solve((root, True), y))


def infinite_width_regression(
    net: MLP, x: Float[Array, "D n0"], y: Float[Array, "N n_L"], noise: Float[Array, ""]
) -> Regression:
    """Return the regression on the kernel of a network, the first N inputs with labels."""
    return regression(output_kernel(net, x), y, noise)


def check_problem(
    net: MLP, x: ArrayLike, y: ArrayLike, noise: ArrayLike, x_test: ArrayLike | None = None
) -> tuple[Array, Array, Array, Array]:
    """Return x, y, noise, x_test in double precision, or say what is wrong with them.

    Returns:
        x (N, n_0), y (N, n_L), noise (), x_test (N_test, n_0), empty if there is none.

    Raises:
        ValueError, TypeError: if the data are not finite or do not fit the network or each other,
            or the noise is negative.
    """
    x = check_inputs(x, net.widths[0])
    if x_test is None:
        x_test = jnp.zeros((0, net.widths[0]))
    else:
        x_test = check_inputs(x_test, net.widths[0], "x_test")
    labels = check_outputs(y, x.shape[0], net.widths[-1])
    return x, labels, check_variance(noise, "noise"), x_test


def check_regular(found: Regression, x: Array, noise: Array, what: str = "kernel") -> None:
    """Refuse a training block that is singular to rounding, and say why it is.

    Raises:
        ValueError: naming two equal inputs if there are any.
    """
    if not all(is_concrete(value) for value in (found.root, x, noise)):
        return
    scale = np.diagonal(np.asarray(found.G))[: found.training] + float(noise)
    if not is_lost_in_rounding(found.root, scale):
        return
    y, twins = np.asarray(found.y), equal_inputs(x)
    if twins and float(noise) == 0:
        one, other = twins
        same = "the same" if np.array_equal(y[one], y[other]) else "different"
        raise ValueError(
            f"x: inputs {one} and {other} are equal and have {same} labels, which "
            "leaves no density without noise; drop one of them or use noise > 0."
        )
    raise ValueError(
        f"x: the {what} of the training inputs is singular to rounding at noise {float(noise):g}; "
        "inputs that are zero or collinear do that without biases, deep networks with nearby "
        "inputs too. Use a larger noise, C_b > 0 or fewer inputs."
    )
