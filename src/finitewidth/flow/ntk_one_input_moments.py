r"""The one-input Gaussian expectations that a layer's NTK is made of.

    g = <sigma^2>,   g' = dg/dK,   <sigma'^2>,   d<sigma'^2>/dK,   <sigma^2 sigma'^2>,   <sigma'^4>
    c_4 = Var sigma^2,   c_22 = Cov(sigma^2, sigma'^2),   c_04 = Var sigma'^2     PDLT (9.8)-(9.16)

Rates in K are means of second derivatives, d<F>/dK = <F''>/2, so that nothing is divided by K and
kernels that decay by hundreds of orders of magnitude do no harm. At K = 0 a kink of sigma counts
with the mean of its two sides, which is the limit K -> 0.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from finitewidth.activations import Activation
from finitewidth.criticality.moments import OneInput, origin_limits, slopes
from finitewidth.gaussian import ActivationProduct, single_moment

#: Layers whose expectations are taken at once, so that memory stays small at any depth.
LAYERS_AT_ONCE = 4096


class LayerMoments(NamedTuple):
    """Expectations over one preactivation of variance K, in the shape of K.

    Attributes:
        value: g = <sigma^2>.
        rate: dg/dK.
        slope: <sigma'^2>.
        slope_rate: d<sigma'^2>/dK; infinite at K = 0 where sigma' jumps.
        mixed: <sigma^2 sigma'^2>.
        fourth_slope: <sigma'^4>.
        value_variance: c_4.
        covariance: c_22.
        slope_variance: c_04.
    """

    value: Float[Array, "..."]
    rate: Float[Array, "..."]
    slope: Float[Array, "..."]
    slope_rate: Float[Array, "..."]
    mixed: Float[Array, "..."]
    fourth_slope: Float[Array, "..."]
    value_variance: Float[Array, "..."]
    covariance: Float[Array, "..."]
    slope_variance: Float[Array, "..."]


def layer_moments(sigma: Activation, K: Float[Array, "..."]) -> LayerMoments:
    """Return the expectations at kernels of any shape; exact for a scale-invariant sigma."""
    if K.size <= LAYERS_AT_ONCE or sigma.homogeneity == 1:
        return _moments(sigma, K)
    flat = jax.lax.map(lambda k: _moments(sigma, k), K.reshape(-1), batch_size=LAYERS_AT_ONCE)
    return LayerMoments(*(moment.reshape(K.shape) for moment in flat))


def fourth_slope_at_zero(sigma: Activation) -> float:
    """Return the limit of <sigma'^4> as K -> 0."""
    origin = origin_limits(sigma)
    return (origin.above[1] ** 4 + origin.below[1] ** 4) / 2


def _moments(sigma: Activation, K: Float[Array, "..."]) -> LayerMoments:
    one_input = OneInput(sigma)
    value, rate, slope = one_input.value(K), one_input.rate(K), one_input.slope(K)
    if sigma.homogeneity == 1:
        plus, minus = slopes(sigma)
        A_4 = (plus**4 + minus**4) / 2
        slope_rate, mixed, fourth = jnp.zeros_like(K), A_4 * K, jnp.full_like(K, A_4)
    else:
        of_slope = partial(single_moment, ActivationProduct(sigma, (1, 1)))
        _, slope_rate = jax.jvp(of_slope, (K,), (jnp.ones_like(K),))
        mixed = _fourth_order(sigma, K, values=2)
        fourth = _fourth_order(sigma, K, values=0)
    return LayerMoments(
        value=value,
        rate=rate,
        slope=slope,
        slope_rate=slope_rate,
        mixed=mixed,
        fourth_slope=fourth,
        value_variance=one_input.quartic(K) - value**2,
        covariance=mixed - value * slope,
        slope_variance=fourth - slope**2,
    )


def _fourth_order(sigma: Activation, K: Float[Array, "..."], values: int) -> Array:
    """Return the mean of a product of `values` factors of sigma and 4 - `values` of sigma'."""
    orders = (0,) * values + (1,) * (4 - values)
    origin = origin_limits(sigma)
    at_zero = sum(s[0] ** values * s[1] ** (4 - values) for s in (origin.below, origin.above)) / 2
    # The inner `where` keeps the branch that is not used finite.
    elsewhere = single_moment(ActivationProduct(sigma, orders), jnp.where(K > 0, K, 1.0))
    return jnp.where(K > 0, elsewhere, at_zero)
