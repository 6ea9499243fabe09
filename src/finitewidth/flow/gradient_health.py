r"""Do gradients explode or vanish? The chain rule from the output back to every layer.

    E[(sum_j dz_i^(l+1)/dz_j^(l))^2] = chi_perp^(l)                               PDLT (9.93)

so a squared derivative of the loss with respect to the preactivations of layer l carries the factor
prod_{l'=l}^{L-1} chi_perp^(l'), PDLT (9.92), (9.30). Off criticality it is exponential in the
number of layers, with depth scale xi = -1/log chi_perp; at criticality it is 1 (scale-invariant)
or a power, (l/L)^p_perp (K* = 0). With rates, the update of layer l has lambda_b for the biases and
lambda_W g^(l-1) for the weights beside it.
"""

import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from finitewidth.flow.ntk_shares import NTKShares, ntk_shares
from finitewidth.network import MLP
from finitewidth.precision import in_double_precision

#: A squared gradient that changes by less than this factor from end to end is called steady.
STEADY = 10.0
#: A chi_perp this close to 1 is 1.
ROUNDING = 1e-12


class GradientHealth(eqx.Module):
    """How squared gradients change from the output back to layer l, in entry l-1.

    Attributes:
        log_factor: log of prod chi_perp from layer l to L, shape (L,); finite where the product
            itself overflows or underflows.
        chi_perp: of the steps from layer l to l+1, shape (L-1,).
        shares: what every layer gives to the output NTK with the rates of the network.
    """

    log_factor: Float[Array, " L"]
    chi_perp: Float[Array, " L-1"]
    shares: NTKShares

    @property
    def factor(self) -> float:
        """The product of chi_perp through the whole network, squared gradient in over out."""
        return float(np.exp(np.asarray(self.log_factor[0])))

    @property
    def depth_scale(self) -> float:
        """Xi = -1/log chi_perp at the last step: layers in which squared gradients change by e.

        Positive if they decay on the way back, negative if they grow; infinite if they stay.
        """
        last = float(self.chi_perp[-1]) if len(self.chi_perp) else 1.0
        if abs(last - 1) < ROUNDING:
            return math.inf
        return -1 / math.log(last) if last > 0 else 0.0

    @property
    def verdict(self) -> str:
        """Return "exploding", "vanishing" or "steady" (within a factor 10 from end to end)."""
        if abs(float(self.log_factor[0])) <= math.log(STEADY):
            return "steady"
        return "exploding" if float(self.log_factor[0]) > 0 else "vanishing"

    def summary(self) -> str:
        """Return the diagnosis as text for people."""
        L, xi = len(self.log_factor), self.depth_scale
        power = float(self.log_factor[0]) / math.log(10)
        scale = "no finite number of layers" if math.isinf(xi) else f"{abs(xi):.4g} layers"
        return (
            f"squared gradients through {L} layers: {self.verdict}, factor 10^{power:.3g}; "
            f"at the last step they change by e in {scale}"
        )

    __str__ = summary


@in_double_precision
def gradient_health(net: MLP, x: ArrayLike) -> GradientHealth:
    """Say whether gradients explode or vanish in a network, PDLT (9.30), (9.92), (9.93).

    Args:
        net: the network.
        x: an input, shape (n_0,) or (1, n_0).

    Returns:
        The factor for every layer, at infinite width.

    Raises:
        ValueError: if x is not one input of the network or the activation jumps.

    Cost: O(L).

    Example:
        >>> import finitewidth as fw
        >>> wide = fw.MLP((4, *[100] * 40, 1), "relu", C_W=2.5)
        >>> print(gradient_health(wide, [1.0, 0.5, -0.5, 1.0]))
        squared gradients through 41 layers: exploding, factor 10^3.88; at the last step they change
        by e in 4.481 layers
    """
    shares = ntk_shares(net, x)
    steps = jnp.log(shares.chi_perp)
    log_factor = jnp.concatenate([jnp.cumsum(steps[::-1])[::-1], jnp.zeros(1)])
    return GradientHealth(log_factor, shares.chi_perp, shares)
