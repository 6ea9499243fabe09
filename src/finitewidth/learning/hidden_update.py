r"""How the last hidden layer moves in one step, to first order in 1/width.

Over initializations, for any neuron j of layer L-1 and inputs d, with eps = dL_A/dz, H its
derivative by the outputs, and everything without a layer label at the output,

    E[dz_j;d] = -eta (C_W/n_{L-1}) sum_ab Theta^(L-1)_da (sum_i <H_ii;ab>_K) <s'_a s_b>_{K^(L-1)}
                                                                                PDLT (10.11)
    Cov[dz_j;c, dz_j;d] = eta^2 (C_W/n_{L-1}) sum_ab E_ab <s'_a s'_b>_{K^(L-1)}
                          [Theta^(L-1)_ca Theta^(L-1)_db + (n_{L-1}/n_{L-2}) B^(L-1)_cdab]
                                                                     PDLT (10.12) with the B term
    E_ab = sum_i <eps_ia eps_ib>_K

up to O(1/n^2); neurons are uncorrelated. The book has the first term of the covariance only. The
second comes from the NTK between neurons j and k of the hidden layer: each is of order n^(-1/2),
but n_{L-1} of them add up. B^(1) = 0, so (10.12) holds as printed for L = 2.

Squared error of the sample matrix kappa: sum_i <H_ii;ab> = n_L kappa_ab and E = kappa (n_L K + y
y^T) kappa; kappa = 1 is the plain one. For odd sigma the mean is zero then. Nothing moves at
infinite width: no representation is learned there.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from finitewidth.criticality.moments import described
from finitewidth.flow import derivative_moment, layer_maps, ntk
from finitewidth.gaussian import (
    ActivationProduct,
    gaussian_expectation,
    pair_expectation,
    pair_moments,
)
from finitewidth.learning.first_order import check_step
from finitewidth.learning.function_space import check_sample_matrix
from finitewidth.network import MLP
from finitewidth.network.losses import Loss, check_targets, loss_of, mean_squared_error
from finitewidth.precision import in_double_precision
from finitewidth.validation import check_inputs


class HiddenUpdate(eqx.Module):
    """Mean and covariance of the first step of any neuron of layer L-1.

    Attributes:
        mean: E[dz_j;d], training inputs first and then test inputs, shape (D,).
        book_covariance: the first term of Cov[dz_j;c, dz_j;d], shape (D, D).
        neuron_exchange: what the B term adds to it, shape (D, D); 0 for L = 2.
        width: n_{L-1}.
    """

    mean: Float[Array, " D"]
    book_covariance: Float[Array, "D D"]
    neuron_exchange: Float[Array, "D D"]
    width: int = eqx.field(static=True)

    @property
    @in_double_precision
    def covariance(self) -> Float[Array, "D D"]:
        """Cov[dz_j;c, dz_j;d], shape (D, D)."""
        return self.book_covariance + self.neuron_exchange

    def __repr__(self) -> str:
        size = float(jnp.sqrt(jnp.diagonal(self.covariance)).max())
        return (
            f"First step of a neuron at {len(self.mean)} inputs, width {self.width}: mean up to "
            f"{float(jnp.abs(self.mean).max()):.4g}, standard deviation up to {size:.4g}"
        )


@in_double_precision
def hidden_update(
    net: MLP,
    x: Float[ArrayLike, "N n0"],
    y: ArrayLike,
    x_test: Float[ArrayLike, "N_test n0"] | None = None,
    loss: str | Loss | Callable = "mse",
    eta: ArrayLike = 1.0,
    kappa: Float[ArrayLike, "N N"] | None = None,
) -> HiddenUpdate:
    """Compute how the preactivations of layer L-1 move in one step of gradient descent.

    PDLT (10.8)-(10.13), the covariance corrected; first order in eta and in 1/width.

    Args:
        net: the network, at least two layers deep, Gaussian weights.
        x: training inputs, shape (N, n_0).
        y: targets, see `losses.check_targets`.
        x_test: other inputs, shape (N_test, n_0).
        loss: "mse", "cross-entropy", or a function of (z, y) of one sample, twice
            differentiable.
        eta: learning rate.
        kappa: sample matrix of the squared error, shape (N, N), PDLT (10.5).

    Returns:
        The moments.

    Raises:
        TypeError, ValueError: for bad data, a single layer, weights that are not Gaussian, kappa
            with another loss than the squared error, or more inputs than dense tensors hold.

    Accuracy: that of `flow.ntk` at order 1; losses other than the squared error are averaged over
    Sobol points in N n_L dimensions, errors near 1e-4.

    Example:
        >>> net = MLP((2, 100, 1), "relu", C_W=2.0)
        >>> found = hidden_update(net, [[1.0, 0.0]], [1.0])
        >>> round(100 * float(found.mean[0]), 6)  # -C_W Theta^(1) <s' s>, Theta^(1) = 3/2
        -1.196827
    """
    if net.depth < 2:
        raise ValueError("net: wanted at least one hidden layer, got a single layer.")
    kind = loss_of(loss)
    x, step = check_inputs(x, net.widths[0]), check_step(eta)
    N, outputs = len(x), net.widths[-1]
    y = check_targets(y, N, outputs, kind)
    tests = () if x_test is None else (check_inputs(x_test, net.widths[0], "x_test"),)
    inputs = jnp.concatenate([x, *tests])
    hidden = MLP(
        net.widths[:-1], net.activation,
        net.C_b[:-1], net.C_W[:-1], net.lambda_b[:-1], net.lambda_W[:-1], net.law,
    )  # fmt: skip
    if net.law == "orthogonal":
        raise ValueError("net: wanted independent Gaussian weights, got orthogonal ones.")
    deep = hidden.depth > 1
    found = ntk(hidden, inputs, order=1 if deep else 0)
    K, Theta = found.kernel[-1], found.mean[-1][:, :N]
    A = K[:N, :N]
    curvature, errors = _loss_means(kind, layer_maps(net)[-1](A), y, outputs, kappa)
    scale, C_W = net.widths[-2], net.C_W[-1]
    sigma = described(net.activation)
    variances = jnp.diagonal(A)
    mixed = pair_expectation(
        ActivationProduct(sigma, (1,)),
        ActivationProduct(sigma, (0,)),
        variances[:, None],
        variances[None, :],
        A,
    )
    mean = -step * C_W / scale * Theta @ (curvature * mixed).sum(axis=1)
    weights = step**2 * C_W / scale * errors * derivative_moment(pair_moments(net.activation), A)
    exchange = jnp.zeros((len(inputs),) * 2)
    if deep:
        assert found.B is not None
        B = found.B.dense()[-1][:, :, :N, :N]
        exchange = scale / net.widths[-3] * jnp.einsum("cdab,ab->cd", B, weights)
    return HiddenUpdate(mean, Theta @ weights @ Theta.T, exchange, scale)


def _loss_means(
    loss: Loss, K: Float[Array, "N N"], y: Array, outputs: int, kappa: ArrayLike | None
) -> tuple[Float[Array, "N N"], Float[Array, "N N"]]:
    """Return sum_i <H_ii;ab> and sum_i <eps_ia eps_ib> over outputs of covariance K each."""
    N = len(K)
    if loss is mean_squared_error:
        matrix = check_sample_matrix(kappa, N)
        return outputs * matrix, matrix @ (outputs * K + y @ y.T) @ matrix
    if kappa is not None:
        raise ValueError(f"kappa: wanted the squared error with it, got {loss.name}.")

    def means(flat: Float[Array, " N*n_L"]) -> Float[Array, "2 N N"]:
        z = flat.reshape(N, outputs)
        error = loss.error_factor(z, y)
        bent = jax.vmap(lambda z, y: jnp.trace(jax.hessian(loss.of_sample)(z, y)))(z, y)
        return jnp.stack([jnp.diag(bent), error @ error.T])

    curvature, errors = gaussian_expectation(means, jnp.kron(K, jnp.eye(outputs))).value
    return curvature, errors
