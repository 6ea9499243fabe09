r"""Taylor coefficients of kernel and NTK along the line through two inputs, for a smooth sigma.

With x(e) = x_0 + (e/2) dx, so that x_pm = x(+-1),

    K(e_1, e_2) = sum_ij K_ij e_1^i e_2^j/(i! j!),      Theta likewise,     i <= 3, j <= 1.

z(e) = z_0 + e z_1 + e^2 z_2/2 + ... has jets z_i that are jointly Gaussian with covariance K_ij, so
that d_1^i d_2^j <f(z(e_1)) f(z(e_2))> = <D^i f  D^j f> for any f, with

    D f = f' z_1,   D^2 f = f'' z_1^2 + f' z_2,   D^3 f = f''' z_1^3 + 3 f'' z_1 z_2 + f' z_3

Given z_0 = z the jets have mean c_i z, c_i = K_i0/K_00, covariance S_ij = K_ij - K_i0 K_0j/K_00:
everything is a sum of one-dimensional moments <z^p f^(a) f^(b)>. PDLT (10.107)-(10.113) need these
coefficients; they contain the components of `flow.nearby_ntk`: Theta_20 = ddTheta_[0],
2 Theta_10 = dTheta_[1], Theta_11 = ddTheta_[2].
"""

import math
from dataclasses import dataclass
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from finitewidth.activations import Activation
from finitewidth.flow.layers import every_layer
from finitewidth.flow.nearby_ntk import check_smooth
from finitewidth.gaussian import ActivationProduct, single_moment
from finitewidth.network import MLP
from finitewidth.precision import in_double_precision
from finitewidth.validation import check_inputs

Jets = Float[Array, "4 2"]


class LineJets(eqx.Module):
    """Taylor coefficients along a line; entry l-1 of the leading axis is layer l.

    Attributes:
        kernel: K_ij in entry [l-1, i, j], shape (L, 4, 2).
        ntk: Theta_ij likewise.
    """

    kernel: Float[Array, "L 4 2"]
    ntk: Float[Array, "L 4 2"]


@in_double_precision
def line_jets(net: MLP, x_plus: ArrayLike, x_minus: ArrayLike) -> LineJets:
    """Compute the Taylor coefficients of kernel and NTK about the midpoint of two inputs.

    Args:
        net: the network, with its learning rates.
        x_plus: first input, e = 1, shape (n_0,).
        x_minus: second input, e = -1.

    Returns:
        The coefficients of every layer.

    Raises:
        ValueError: if an input does not fit, sigma has kinks, or the kernel of the midpoint is 0.

    Accuracy: that of one-dimensional moments, 1e-12.

    Cost: some twenty Gaussian integrals for each layer.

    Example:
        >>> import finitewidth as fw
        >>> net = fw.MLP.critical(widths=(2, 9, 1), activation="linear")
        >>> line_jets(net, [1.0, 0.1], [1.0, -0.1]).ntk[-1, :2].round(6).tolist()
        [[3.0, 0.0], [0.0, 0.01]]
    """
    pair = check_inputs(
        jnp.stack([jnp.asarray(x, dtype=float) for x in (x_plus, x_minus)]), net.widths[0]
    )
    sigma = check_smooth(net.activation)
    middle, half = pair.mean(axis=0), (pair[0] - pair[1]) / 2
    products = jnp.zeros((4, 2)).at[0, 0].set(middle @ middle).at[1, 1].set(half @ half)
    products = products.at[0, 1].set(middle @ half).at[1, 0].set(middle @ half) / net.widths[0]
    if not float(net.C_b[0] + net.C_W[0] * products[0, 0]) > 0:
        raise ValueError("x_plus, x_minus: wanted a midpoint with a positive kernel, got 0.")
    return _flow(sigma, products, net.C_b, net.C_W, net.lambda_b, net.lambda_W)


@partial(jax.jit, static_argnums=0)
def _flow(
    sigma: Activation,
    products: Jets,
    C_b: Float[Array, " L"],
    C_W: Float[Array, " L"],
    lambda_b: Float[Array, " L"],
    lambda_W: Float[Array, " L"],
) -> LineJets:
    constant = jnp.zeros((4, 2)).at[0, 0].set(1.0)

    def next_layer(state, b, w, rate_b, rate_W):
        K, Theta = state
        value, slope = (mean_product_jets(sigma, order, K) for order in (0, 1))
        return (
            b * constant + w * value,
            rate_b * constant + rate_W * value + w * _leibniz(slope, Theta),
        )

    first = (
        C_b[0] * constant + C_W[0] * products,
        lambda_b[0] * constant + lambda_W[0] * products,
    )
    return LineJets(*every_layer(next_layer, first, C_b, C_W, lambda_b, lambda_W))


@dataclass(frozen=True)
class _Moment:
    """z^power times a product of derivatives of sigma; hashable, so that its code is shared."""

    product: ActivationProduct
    power: int

    def __call__(self, z: Float[Array, "..."]) -> Float[Array, "..."]:
        return z**self.power * self.product(z)


def mean_product_jets(sigma: Activation, order: int, K: Jets) -> Jets:
    """Return the coefficients of <f f>, f = D^order sigma, from those of the kernel."""

    def mean(a: int, b: int, power: int) -> Array:
        product = ActivationProduct(sigma, (order + a, order + b))
        return single_moment(_Moment(product, power), K[0, 0])

    c_1, c_2, c_3 = K[1:, 0] / K[0, 0]
    S_11, S_12, S_13 = K[1:, 1] - K[1:, 0] * K[0, 1] / K[0, 0]
    one_slope, slope = mean(1, 0, 1), mean(1, 1, 0)
    tilted = mean(1, 1, 2)
    f_10 = c_1 * one_slope
    f_20 = c_1**2 * mean(2, 0, 2) + S_11 * mean(2, 0, 0) + c_2 * one_slope
    f_30 = (
        c_1**3 * mean(3, 0, 3)
        + 3 * c_1 * S_11 * mean(3, 0, 1)
        + 3 * (c_1 * c_2 * mean(2, 0, 2) + S_12 * mean(2, 0, 0))
        + c_3 * one_slope
    )
    f_11 = c_1**2 * tilted + S_11 * slope
    bent_1, bent_3 = mean(2, 1, 1), mean(2, 1, 3)
    f_21 = c_1**3 * bent_3 + 3 * c_1 * S_11 * bent_1 + c_1 * c_2 * tilted + S_12 * slope
    f_31 = (
        c_1**4 * mean(3, 1, 4)
        + 6 * c_1**2 * S_11 * mean(3, 1, 2)
        + 3 * S_11**2 * mean(3, 1, 0)
        + 3 * (c_1**2 * c_2 * bent_3 + (c_2 * S_11 + 2 * c_1 * S_12) * bent_1)
        + c_1 * c_3 * tilted
        + S_13 * slope
    )
    return jnp.stack(
        [jnp.stack([mean(0, 0, 0), f_10, f_20, f_30]), jnp.stack([f_10, f_11, f_21, f_31])], axis=1
    )


def _leibniz(f: Jets, g: Jets) -> Jets:
    """Return the coefficients of a product."""
    rows = []
    for i in range(4):
        for j in range(2):
            rows.append(
                sum(
                    math.comb(i, a) * f[a, b] * g[i - a, j - b]
                    for a in range(i + 1)
                    for b in range(j + 1)
                )
            )
    return jnp.stack(rows).reshape(4, 2)
