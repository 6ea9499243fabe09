r"""The NTK of two nearby inputs, to second order in their distance, for a smooth sigma.

With x_pm = x_0 +- dx/2 and the gamma basis of `flow.near_coincident`, the components

    K_[0] = K_00 + k_0,  K_[1] = k_1,  K_[2] = k_2,      k_0, k_2 of second order, k_1 of first
    Theta_[0] = Theta_00 + t_0,  Theta_[1] = t_1,  Theta_[2] = t_2            PDLT (10.58)-(10.61)

go from layer l to l+1 by, all expectations at K_00^(l), all C and lambda of layer l+1,

    S_1 = g' k_1,   S_0 = g' k_0 + (g' - s) k_2 + (g'' - s') k_1^2/2,   S_2 = s k_2 + s' k_1^2/2
    D_1 = s' k_1,   D_0 = s' k_0 + (s' - r) k_2 + (s'' - r') k_1^2/2,   D_2 = r k_2 + r' k_1^2/2
    k_a'      = C_W S_a                                                    PDLT (5.46)-(5.48)
    Theta_00' = lambda_b + lambda_W g + C_W s Theta_00                     PDLT (10.68)
    t_1'      = lambda_W S_1 + C_W (s t_1 + D_1 Theta_00)                  PDLT (10.66)
    t_0'      = lambda_W S_0 + C_W (s t_0 + D_0 Theta_00 + D_1 t_1/2)      derived
    t_2'      = lambda_W S_2 + C_W (s t_2 + D_2 Theta_00 + D_1 t_1/2)      PDLT (10.70), derived

with g = <sigma^2>, s = <sigma'^2>, r = <sigma''^2> and primes for d/dK. (10.70) is for equal norms,
k_1 = t_1 = 0. Nearly equal entries of 2 by 2 kernels are never subtracted.
"""

from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, ArrayLike, Float

from finitewidth.activations import Activation
from finitewidth.criticality.moments import described
from finitewidth.flow.near_coincident import nearby_flow
from finitewidth.flow.single_input import LAYERS_AT_ONCE
from finitewidth.gaussian import ActivationProduct, single_moment
from finitewidth.network import MLP
from finitewidth.precision import in_double_precision
from finitewidth.validation import check_inputs


class NearbyNTK(eqx.Module):
    """Kernel and NTK of two nearby inputs about their midpoint; entry l-1 is layer l.

    Attributes:
        midpoint: K_00, shape (L,).
        ddK_0: K_[0] - K_00, shape (L,).
        dK_1: K_[1], shape (L,).
        ddK_2: K_[2], shape (L,).
        midpoint_ntk: Theta_00, shape (L,).
        ddTheta_0: Theta_[0] - Theta_00, shape (L,).
        dTheta_1: Theta_[1], shape (L,).
        ddTheta_2: Theta_[2], shape (L,).
    """

    midpoint: Float[Array, " L"]
    ddK_0: Float[Array, " L"]
    dK_1: Float[Array, " L"]
    ddK_2: Float[Array, " L"]
    midpoint_ntk: Float[Array, " L"]
    ddTheta_0: Float[Array, " L"]
    dTheta_1: Float[Array, " L"]
    ddTheta_2: Float[Array, " L"]

    @property
    @in_double_precision
    def kernel_components(self) -> Float[Array, "L 3"]:
        """K_[0], K_[1], K_[2], PDLT (5.17), shape (L, 3)."""
        return jnp.stack([self.midpoint + self.ddK_0, self.dK_1, self.ddK_2], axis=1)

    @property
    @in_double_precision
    def ntk_components(self) -> Float[Array, "L 3"]:
        """Theta_[0], Theta_[1], Theta_[2], PDLT (10.58), shape (L, 3)."""
        return jnp.stack([self.midpoint_ntk + self.ddTheta_0, self.dTheta_1, self.ddTheta_2], 1)

    def to_xarray(self) -> xr.Dataset:
        """Return the components as a labelled data set."""
        names = tuple(self.__dataclass_fields__)
        fields = {name: ("layer", np.asarray(getattr(self, name))) for name in names}
        return xr.Dataset(fields, coords={"layer": np.arange(1, self.midpoint.shape[0] + 1)})

    def __repr__(self) -> str:
        layers = self.midpoint.shape[0]
        lines = [f"NTK of two nearby inputs, {layers} layers"]
        for i in sorted({0, 1, layers // 2, layers - 1} & set(range(layers))):
            Theta, first, second = (
                float(a[i]) for a in (self.midpoint_ntk, self.dTheta_1, self.ddTheta_2)
            )
            lines.append(
                f"  layer {i + 1}: Theta_00 = {Theta:.6g}, dTheta_1 = {first:.6g}, "
                f"ddTheta_2 = {second:.6g}"
            )
        return "\n".join(lines)


@in_double_precision
def nearby_ntk(net: MLP, x_plus: ArrayLike, x_minus: ArrayLike) -> NearbyNTK:
    """Run the NTK of two nearby inputs through a network, PDLT (10.66), (10.70).

    Args:
        net: the network, with its learning rates.
        x_plus: first input, shape (n_0,).
        x_minus: second input; of any length.

    Returns:
        The components of layers 1 .. L.

    Raises:
        ValueError: if an input does not fit the network, or sigma has kinks, for which Theta_[2]
            is of first order in the distance.

    Accuracy: relative errors of order (|dx|/|x|)^2; of the moments 1e-12.

    Cost: one Gaussian integral for each layer, one after the other, and eight at once.

    Example:
        >>> import finitewidth as fw
        >>> net = fw.MLP.critical(widths=(2, 9, 9, 1), activation="linear")
        >>> nearby_ntk(net, [1.0, 0.1], [1.0, -0.1]).ddTheta_2.round(6).tolist()
        [0.005, 0.01, 0.015]
    """
    pair = check_inputs(
        jnp.stack([jnp.asarray(x, dtype=float) for x in (x_plus, x_minus)]), net.widths[0]
    )
    sigma = check_smooth(net.activation)
    middle, difference = pair.mean(axis=0), pair[0] - pair[1]
    products = jnp.stack([middle @ middle, middle @ difference, difference @ difference / 4])
    return nearby_ntk_flow(
        sigma, products / net.widths[0], net.C_b, net.C_W, net.lambda_b, net.lambda_W
    )


def check_smooth(activation: Activation) -> Activation:
    """Return a smooth activation, or say that the expansion does not hold for it."""
    sigma = described(activation)
    if sigma.kinks:
        raise ValueError(
            f"activation: wanted a smooth one, got {sigma.name}: with kinks Theta_[2] is of first "
            "order in the distance of the inputs, not of second; use flow.ntk."
        )
    return sigma


@partial(jax.jit, static_argnums=0)
def nearby_ntk_flow(
    sigma: Activation,
    products: Float[Array, "3"],
    C_b: Float[Array, " L"],
    C_W: Float[Array, " L"],
    lambda_b: Float[Array, " L"],
    lambda_W: Float[Array, " L"],
) -> NearbyNTK:
    """Run the recursions from x_0.x_0/n_0, x_0.dx/n_0 and dx.dx/(4 n_0); traceable."""
    square, along, across = products
    kernel = nearby_flow(
        sigma, C_b[0] + C_W[0] * square, C_W[0] * along, C_W[0] * across, C_b, C_W, False
    )
    moments = _at_every_layer(sigma, kernel.midpoint[:-1])

    def step(state: tuple[Array, ...], now: tuple) -> tuple:
        k_0, Theta, t_0, t_1, t_2 = state
        of, k_1, k_2, w, rate_b, rate_W = now
        S, D = _second_order(of.value, k_0, k_1, k_2), _second_order(of.slope, k_0, k_1, k_2)
        s = of.value.across
        crossed = D[1] * t_1 / 2
        state = (
            w * S[0],
            rate_b + rate_W * of.mean_square + w * s * Theta,
            rate_W * S[0] + w * (s * t_0 + D[0] * Theta + crossed),
            rate_W * S[1] + w * (s * t_1 + D[1] * Theta),
            rate_W * S[2] + w * (s * t_2 + D[2] * Theta + crossed),
        )
        return state, state

    zero = jnp.zeros_like(kernel.midpoint[0])
    first = (
        zero,
        lambda_b[0] + lambda_W[0] * square,
        zero,
        lambda_W[0] * along,
        lambda_W[0] * across,
    )
    above = (moments, kernel.dK_1[:-1], kernel.ddK_2[:-1], C_W[1:], lambda_b[1:], lambda_W[1:])
    _, rest = jax.lax.scan(step, first, above)
    k_0, Theta, t_0, t_1, t_2 = (
        jnp.concatenate([start[None], after]) for start, after in zip(first, rest, strict=True)
    )
    return NearbyNTK(kernel.midpoint, k_0, kernel.dK_1, kernel.ddK_2, Theta, t_0, t_1, t_2)


class _Response(NamedTuple):
    """What <f f> of two nearby inputs does: along = d<f^2>/dK, across = <f'^2>, and their rates."""

    along: Float[Array, "..."]
    across: Float[Array, "..."]
    along_rate: Float[Array, "..."]
    across_rate: Float[Array, "..."]


class _Moments(NamedTuple):
    """g, and the responses of <sigma sigma> and <sigma' sigma'>."""

    mean_square: Float[Array, "..."]
    value: _Response
    slope: _Response


def _second_order(of: _Response, k_0: Array, k_1: Array, k_2: Array) -> tuple[Array, Array, Array]:
    """Return the components [0], [1], [2] of <f f> to second order, without <f f> itself."""
    return (
        of.along * k_0
        + (of.along - of.across) * k_2
        + (of.along_rate - of.across_rate) * k_1**2 / 2,
        of.along * k_1,
        of.across * k_2 + of.across_rate * k_1**2 / 2,
    )


def _at_every_layer(sigma: Activation, K: Float[Array, " steps"]) -> _Moments:
    if K.shape[0] <= LAYERS_AT_ONCE:
        return _moments(sigma, K)
    return jax.lax.map(partial(_moments, sigma), K, batch_size=LAYERS_AT_ONCE)


def _moments(sigma: Activation, K: Float[Array, "..."]) -> _Moments:
    def mean(order: int, rates: int) -> list[Array]:
        """Return <(D^order sigma)^2> and its derivatives in K, means of higher derivatives."""
        f = partial(single_moment, ActivationProduct(sigma, (order, order)))
        found = [f(K)]
        for _ in range(rates):
            f = partial(_rate, f)
            found.append(f(K))
        return found

    g, g_1, g_2 = mean(0, 2)
    s, s_1, s_2 = mean(1, 2)
    r, r_1 = mean(2, 1)
    return _Moments(g, _Response(g_1, s, g_2, s_1), _Response(s_1, r, s_2, r_1))


def _rate(f, K: Array) -> Array:
    return jax.jvp(f, (K,), (jnp.ones_like(K),))[1]
