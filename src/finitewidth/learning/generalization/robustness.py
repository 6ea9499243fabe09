r"""One label and what it makes of a second input: robustness and variance of the prediction.

Trained on x_+ alone, with r = Theta_-+/Theta_++, the output at x_- is Gaussian with

    m_- = r y_+                                                            PDLT (10.57), (10.62)
    C_-- = K_-- - 2 r K_-+ + r^2 K_++                                             PDLT (10.63)

and the robustness is r - 1: how much of the label is lost on the way. For nearby inputs and a
smooth sigma, with the components of `flow.nearby_ntk`, K = K_00 and T = Theta_00,

    r - 1 = -t_1/T - 2 t_2/T + (t_1/T)^2                                          PDLT (10.64)
    C_--  = 4 k_2 - 2 k_1 t_1/T + K (t_1/T)^2                                     PDLT (10.65)

up to the third order in their distance.
"""

from typing import Literal

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, ArrayLike, Float

from finitewidth.flow import nearby_ntk, ntk
from finitewidth.network import MLP
from finitewidth.precision import in_double_precision
from finitewidth.validation import check_inputs


class Robustness(eqx.Module):
    """What a network of depth l, trained on one label, says at another input, l-1 in entry l-1.

    Attributes:
        shift: Theta_-+/Theta_++ - 1, the change of the prediction as a part of the label, (L,).
        variance: C_-- of the prediction at the other input, shape (L,).
    """

    shift: Float[Array, " L"]
    variance: Float[Array, " L"]

    def to_xarray(self) -> xr.Dataset:
        """Return both as a labelled data set over depth."""
        return xr.Dataset(
            {
                "shift": ("depth", np.asarray(self.shift)),
                "variance": ("depth", np.asarray(self.variance)),
            },
            coords={"depth": np.arange(1, len(self.shift) + 1)},
        )

    def __repr__(self) -> str:
        return (
            f"Robustness at depth {len(self.shift)}: prediction changes by "
            f"{float(self.shift[-1]):.6g} of the label, variance {float(self.variance[-1]):.6g}"
        )


@in_double_precision
def robustness(
    net: MLP,
    x_plus: Float[ArrayLike, " n0"],
    x_minus: Float[ArrayLike, " n0"],
    method: Literal["exact", "expansion"] = "exact",
) -> Robustness:
    """Compute how a prediction changes from the one training input to another one.

    PDLT (10.57), (10.62)-(10.65).

    Args:
        net: the network, with its learning rates.
        x_plus: training input, shape (n_0,).
        x_minus: test input, shape (n_0,).
        method: "exact" at any separation, or "expansion" to second order in the separation, for
            smooth activations; the expansion keeps its digits for inputs that are very near.

    Returns:
        Shift and variance for the first l layers of the network as a network of its own, l = 1..L.

    Raises:
        ValueError: if an input does not fit, the NTK of the training input is zero, or the
            expansion is asked for an activation with kinks.

    Accuracy: "exact" loses digits like 1e-16 over the squared separation; "expansion" has
    relative errors of the order of the separation.

    Example:
        >>> import finitewidth as fw
        >>> net = fw.MLP.critical((2, 50, 50, 1), "relu")
        >>> [round(float(shift), 4) for shift in robustness(net, [1.0, 0.0], [0.8, 0.6]).shift]
        [-0.0667, -0.1577, -0.2286]
    """
    pair = check_inputs(
        jnp.stack([jnp.asarray(x, dtype=float) for x in (x_plus, x_minus)]), net.widths[0]
    )
    if method == "expansion":
        near = nearby_ntk(net, pair[0], pair[1])
        first = near.dTheta_1 / near.midpoint_ntk
        return Robustness(
            -first - 2 * near.ddTheta_2 / near.midpoint_ntk + first**2,
            4 * near.ddK_2 - 2 * near.dK_1 * first + near.midpoint * first**2,
        )
    if method != "exact":
        raise ValueError(f"method: wanted 'exact' or 'expansion', got {method!r}.")
    found = ntk(net, pair)
    K, Theta = found.kernel, found.mean
    if not (np.asarray(Theta[:, 0, 0]) > 0).all():
        raise ValueError("x_plus: the NTK of this input is zero, so that it cannot be trained on.")
    r = Theta[:, 1, 0] / Theta[:, 0, 0]
    # What is left of z_- when its regression on z_+ is taken out, and the rest: both not negative.
    own = K[:, 1, 1] - K[:, 1, 0] ** 2 / jnp.where(K[:, 0, 0] > 0, K[:, 0, 0], 1.0)
    missed = r - K[:, 1, 0] / jnp.where(K[:, 0, 0] > 0, K[:, 0, 0], 1.0)
    return Robustness(r - 1, jnp.maximum(own, 0.0) + missed**2 * K[:, 0, 0])
