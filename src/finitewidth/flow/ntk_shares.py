r"""Which layers the output NTK comes from: the formal solution of its recursion for one input.

    Theta^(L) = sum_l { lambda_b^(l) + lambda_W^(l) g^(l-1) } prod_{l'=l}^{L-1} chi_perp^(l')
                                                                                 PDLT (9.28)

with g^(0) = |x|^2/n_0, g^(l) = <sigma^2> at K^(l), and C_W of layer l'+1 in chi_perp^(l'). The two
terms are the shares of the biases and of the weights of layer l. The product is how much a small
difference between two inputs in layer l is worth at the output, PDLT (9.30), and how much of a
squared gradient at the output reaches layer l, PDLT (9.92), (9.93).
"""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, ArrayLike, Float

from finitewidth.activations import Activation
from finitewidth.criticality.moments import OneInput, described
from finitewidth.flow.ntk_single_input import check_slope, mean_square_of
from finitewidth.flow.single_input import kernel_flow
from finitewidth.network import MLP
from finitewidth.precision import in_double_precision


class NTKShares(eqx.Module):
    """What every layer gives to the output NTK of one input; entry l-1 is layer l.

    Attributes:
        bias: share of the biases, shape (L,).
        weight: share of the weights, shape (L,).
        propagation: product of chi_perp from layer l to the output, shape (L,); 1 in the last.
        signal: g^(l-1), mean square of what enters layer l, shape (L,).
        chi_perp: of the steps from layer l to l+1, shape (L-1,).
        chi_parallel: likewise.
    """

    bias: Float[Array, " L"]
    weight: Float[Array, " L"]
    propagation: Float[Array, " L"]
    signal: Float[Array, " L"]
    chi_perp: Float[Array, " L-1"]
    chi_parallel: Float[Array, " L-1"]

    @property
    @in_double_precision
    def total(self) -> Float[Array, ""]:
        """The output NTK at infinite width, Theta^(L)."""
        return (self.bias + self.weight).sum()

    @property
    @in_double_precision
    def imbalance(self) -> dict[str, float]:
        """The largest share over the smallest, for biases, weights and whole layers.

        1 is perfect balance; infinite if a layer gives nothing, 1 for a group that is frozen.
        """
        groups = {"bias": self.bias, "weight": self.weight, "layer": self.bias + self.weight}
        return {name: _spread(np.asarray(share)) for name, share in groups.items()}

    def to_xarray(self) -> xr.Dataset:
        """Return everything as a labelled data set, with the layer number as a coordinate."""
        names = ("bias", "weight", "propagation", "signal")
        fields = {name: ("layer", np.asarray(getattr(self, name))) for name in names}
        fields |= {
            name: ("step", np.asarray(getattr(self, name))) for name in ("chi_perp", "chi_parallel")
        }
        layers = np.arange(1, len(self.bias) + 1)
        return xr.Dataset(fields, coords={"layer": layers, "step": layers[:-1]})

    def __repr__(self) -> str:
        L = len(self.bias)
        lines = [f"Shares of {L} layers in the output NTK, {float(self.total):.6g}"]
        for i in sorted({0, 1, L // 2, L - 1} & set(range(L))):
            bias, weight = float(self.bias[i]), float(self.weight[i])
            lines.append(f"  layer {i + 1}: biases {bias:.6g}, weights {weight:.6g}")
        return "\n".join(lines)


@in_double_precision
def ntk_shares(net: MLP, x: ArrayLike) -> NTKShares:
    """Split the output NTK of one input into the shares of all biases and weights, PDLT (9.28).

    Args:
        net: the network, with its relative learning rates.
        x: the input, shape (n_0,) or (1, n_0).

    Returns:
        The shares at infinite width, layer l in entry l-1; they sum to Theta^(L).

    Raises:
        ValueError: if x is not one input of the network or the activation jumps.

    Cost: O(L).

    Example:
        >>> import finitewidth as fw
        >>> shares = ntk_shares(fw.MLP((2, 9, 9, 9, 1), "linear", C_W=0.5), [1.0, 1.0])
        >>> shares.bias.tolist(), shares.weight.tolist()
        ([0.125, 0.25, 0.5, 1.0], [0.125, 0.125, 0.125, 0.125])
    """
    return layer_shares(
        check_slope(described(net.activation)),
        mean_square_of(net, x),
        net.C_b,
        net.C_W,
        net.lambda_b,
        net.lambda_W,
    )


@partial(jax.jit, static_argnums=0)
def layer_shares(
    sigma: Activation,
    mean_square: Float[Array, ""],
    C_b: Float[Array, " L"],
    C_W: Float[Array, " L"],
    lambda_b: Float[Array, " L"],
    lambda_W: Float[Array, " L"],
) -> NTKShares:
    """Compute the shares from arrays that are already checked; see `ntk_shares`."""
    moments = OneInput(sigma)
    below = kernel_flow(sigma, C_b[0] + C_W[0] * mean_square, C_b, C_W)[:-1]
    chi_perp = C_W[1:] * moments.slope(below)
    signal = jnp.concatenate([mean_square[None], moments.value(below)])
    propagation = jnp.concatenate([jnp.cumprod(chi_perp[::-1])[::-1], jnp.ones(1)])
    return NTKShares(
        bias=lambda_b * propagation,
        weight=lambda_W * signal * propagation,
        propagation=propagation,
        signal=signal,
        chi_perp=chi_perp,
        chi_parallel=C_W[1:] * moments.rate(below),
    )


def _spread(share: np.ndarray) -> float:
    if not share.any():
        return 1.0
    return float(share.max() / share.min()) if share.min() > 0 else float("inf")
