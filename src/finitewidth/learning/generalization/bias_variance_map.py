r"""Bias and variance of the test loss over initializations and depths, PDLT section 10.3.

    E[L_B](C_b, C_W, l) = (1/2) sum_i |m_i - y_i|^2 + (n_L/2) tr C                 PDLT (10.52)

The first l layers of a network of depth L are a network of depth l, so that one flow of the NTK
serves for all depths. With layer-independent rates a factor common to all of them is of no matter.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, ArrayLike, Float

from finitewidth.flow import ntk
from finitewidth.flow.neuron_noise import covariance_root
from finitewidth.learning.frozen_kernels import Rule, check_tests
from finitewidth.learning.generalization.expected_loss import loss_moments
from finitewidth.network import MLP
from finitewidth.network.losses import check_targets, mean_squared_error
from finitewidth.precision import in_double_precision
from finitewidth.validation import SINGULAR, check_inputs


class BiasVarianceMap(eqx.Module):
    """Parts of the expected test loss for every C_b, C_W and depth; NaN where Theta is singular.

    Attributes:
        C_b: bias variances, shape (n_b,).
        C_W: weight variances, shape (n_W,).
        bias: shape (n_b, n_W, L), depth l in entry l-1.
        variance: likewise.
        standard_deviation: of the loss from network to network, likewise.
    """

    C_b: Float[Array, " n_b"]
    C_W: Float[Array, " n_W"]
    bias: Float[Array, "n_b n_W L"]
    variance: Float[Array, "n_b n_W L"]
    standard_deviation: Float[Array, "n_b n_W L"]

    @property
    @in_double_precision
    def mean(self) -> Float[Array, "n_b n_W L"]:
        """E[L_B], shape (n_b, n_W, L)."""
        return self.bias + self.variance

    @property
    def best(self) -> tuple[float, float, int]:
        """C_b, C_W and depth of the smallest expected loss on the grid."""
        where = np.unravel_index(np.nanargmin(np.asarray(self.mean)), self.bias.shape)
        return float(self.C_b[where[0]]), float(self.C_W[where[1]]), int(where[2]) + 1

    def to_xarray(self) -> xr.Dataset:
        """Return the parts as a labelled data set over C_b, C_W and depth."""
        names = ("bias", "variance", "mean", "standard_deviation")
        return xr.Dataset(
            {name: (("C_b", "C_W", "depth"), np.asarray(getattr(self, name))) for name in names},
            coords={
                "C_b": np.asarray(self.C_b),
                "C_W": np.asarray(self.C_W),
                "depth": np.arange(1, self.bias.shape[2] + 1),
            },
        )

    def __repr__(self) -> str:
        C_b, C_W, depth = self.best
        return (
            f"Expected test loss over {self.bias.shape} values of C_b, C_W and depth: least "
            f"{np.nanmin(np.asarray(self.mean)):.4g} at C_b = {C_b:.4g}, C_W = {C_W:.4g}, "
            f"depth {depth}"
        )


@in_double_precision
def bias_variance_map(
    net: MLP,
    x: Float[ArrayLike, "N n0"],
    y: Float[ArrayLike, "N n_L"],
    x_test: Float[ArrayLike, "N_test n0"],
    y_test: Float[ArrayLike, "N_test n_L"],
    C_b: Float[ArrayLike, " n_b"],
    C_W: Float[ArrayLike, " n_W"],
    *,
    rule: Rule = "ntk",
) -> BiasVarianceMap:
    """Compute the expected test loss of fully trained networks over a grid of initializations.

    PDLT (10.40), (10.41), (10.52).

    Args:
        net: the network: its activation, its largest depth L and its learning rates count. Its
            C_b and C_W do not.
        x: training inputs, shape (N, n_0).
        y: targets, shape (N, n_L), or (N,) for one output.
        x_test: test inputs, shape (N_test, n_0).
        y_test: their targets.
        C_b: bias variances, the same in all layers, shape (n_b,).
        C_W: weight variances, shape (n_W,).
        rule: "ntk" or "bayes", see `predict`.

    Returns:
        Bias, variance and standard deviation of the squared error.

    Raises:
        TypeError, ValueError: for bad data or negative variances.

    Cost: n_b n_W flows of the NTK at once, and L as many factorizations.

    Example:
        >>> import finitewidth as fw
        >>> net = fw.MLP((2, 9, 9, 1), "relu")
        >>> found = bias_variance_map(
        ...     net, [[1.0, 0.0]], [1.0], [[0.0, 1.0]], [0.5], C_b=[0.0, 0.1], C_W=[1.0, 2.0, 4.0]
        ... )
        >>> found.mean.shape
        (2, 3, 3)
    """
    x, x_test = check_inputs(x, net.widths[0]), check_tests(net, x_test)
    outputs = net.widths[-1]
    y = check_targets(y, len(x), outputs, mean_squared_error)
    y_test = check_targets(y_test, len(x_test), outputs, mean_squared_error)
    if rule not in ("ntk", "bayes"):
        raise ValueError(f"rule: wanted 'ntk' or 'bayes', got {rule!r}.")
    biases, weights = _grid(C_b, "C_b"), _grid(C_W, "C_W")
    everything = jnp.concatenate([x, x_test])

    def kernels(pair: Float[Array, "2"]) -> tuple[Array, Array]:
        there = MLP(
            net.widths, net.activation, pair[0], pair[1], net.lambda_b, net.lambda_W, net.law
        )
        found = ntk(there, everything)
        return found.kernel, found.kernel if rule == "bayes" else found.mean

    pairs = jnp.stack(jnp.meshgrid(biases, weights, indexing="ij"), axis=-1).reshape(-1, 2)
    K, Theta = jax.jit(jax.vmap(kernels))(pairs)
    D = len(everything)
    parts = _losses(K.reshape(-1, D, D), Theta.reshape(-1, D, D), y, y_test)
    shape = (len(biases), len(weights), net.depth)
    return BiasVarianceMap(biases, weights, *(part.reshape(shape) for part in parts))


@jax.jit
def _losses(
    K: Float[Array, "G D D"], Theta: Float[Array, "G D D"], y: Array, y_test: Array
) -> tuple[Float[Array, " G"], Float[Array, " G"], Float[Array, " G"]]:
    """Return the parts at every point; one after the other, so that few decompositions meet."""
    N = len(y)

    def one(now: tuple[Array, Array]) -> tuple[Array, Array, Array]:
        K, Theta = now
        root = jnp.linalg.cholesky(Theta[:N, :N])
        regular = (jnp.diagonal(root) ** 2 > SINGULAR * jnp.diagonal(Theta)[:N]).all()
        R = jax.scipy.linalg.cho_solve((root, True), Theta[:N, N:]).T
        spread = jnp.concatenate([-R, jnp.eye(len(y_test))], axis=1) @ covariance_root(K)
        found = loss_moments(R @ y, spread @ spread.T, y_test, mean_squared_error)
        parts = (found.bias, found.variance, found.standard_deviation)
        return tuple(jnp.where(regular, part, jnp.nan) for part in parts)  # pyright: ignore[reportReturnType]

    return jax.lax.map(one, (K, Theta))


def _grid(values: ArrayLike, name: str) -> Float[Array, " n"]:
    grid = jnp.atleast_1d(jnp.asarray(values, dtype=float))
    if grid.ndim != 1 or not (np.isfinite(grid) & (np.asarray(grid) >= 0)).all():
        raise ValueError(f"{name}: wanted a list of finite variances >= 0, got {values}.")
    return grid
