r"""How the couplings of one input run with the number of neurons that are kept, and with depth.

    1/g_m = G - (m+2) V/(2 n_{l-1} G),        v = V/(n_{l-1} G^4)             PDLT (4.102), (4.103)
    g_m = g_{m'} - (m' - m) v/(2 g_{m'})                                       PDLT (4.100)
    G = 1/g_m + (m+2) v/(2 g_m^3)                                              PDLT (4.101)

g_m is the quadratic coupling, with upper indices. Integrating out neurons changes it, but never the
observable G. What they are to all orders: with z given the metric N(0, G^),

    g_m = E[G^^(-m/2-1)]/E[G^^(-m/2)],     v = variance of 1/G^ under weights G^^(-m/2),

cumulants of the inverse metric, which is how to measure them in an ensemble.
"""

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float

from finitewidth.flow.preactivations import Preactivations
from finitewidth.precision import in_double_precision
from finitewidth.validation import check_count


class RunningCouplings(eqx.Module):
    """Couplings of one input for several numbers of neurons, entry l-1 is layer l.

    Attributes:
        neurons: the numbers m, shape (M,).
        quadratic: g_m, shape (L, M).
        quartic: v, the same for every m to this order, shape (L,).
        metric: K + G^{1}/n_{l-1}, what does not run, shape (L,).
    """

    neurons: Float[Array, " M"]
    quadratic: Float[Array, "L M"]
    quartic: Float[Array, " L"]
    metric: Float[Array, " L"]

    def to_xarray(self) -> xr.Dataset:
        """Return everything as a labelled data set."""
        return xr.Dataset(
            {
                "quadratic": (("layer", "neurons"), np.asarray(self.quadratic)),
                "quartic": ("layer", np.asarray(self.quartic)),
                "metric": ("layer", np.asarray(self.metric)),
            },
            coords={
                "layer": np.arange(1, self.metric.shape[0] + 1),
                "neurons": np.asarray(self.neurons).astype(int),
            },
        )

    def __repr__(self) -> str:
        lines = [f"Couplings of one input, {self.metric.shape[0]} layers"]
        for layer, (g, v) in enumerate(zip(self.quadratic, self.quartic, strict=True), start=1):
            runs = ", ".join(
                f"g_{int(m)} = {float(x):.6g}" for m, x in zip(self.neurons, g, strict=True)
            )
            lines.append(f"  layer {layer}: {runs}, v = {float(v):.4g}")
        return "\n".join(lines)


@in_double_precision
def running_couplings(
    pre: Preactivations, neurons: Sequence[int] = (1,), sample: int = 0
) -> RunningCouplings:
    """Return the couplings of one input in every layer, PDLT (4.102), (4.103), to first order.

    1/g_m = K + [G^{1} - (m+2) V/(2K)]/n_{l-1} and v = V/(n_{l-1} K^4).

    Args:
        pre: statistics of order 1.
        neurons: the numbers m of neurons to keep.
        sample: which input.

    Returns:
        Couplings by layer and m. Corrections of the next order are of relative size
        (m V/(n_{l-1} K^2))^2, larger than those of correlators.

    Raises:
        ValueError: for statistics of order 0 or an input that does not exist.

    Example:
        >>> import finitewidth as fw
        >>> net = fw.MLP.critical(widths=(1, 100, 100, 1), activation="linear")
        >>> couplings = running_couplings(fw.flow.preactivations(net, [[1.0]]), (1, 2))
        >>> [round(float(1 / g), 9) for g in couplings.quadratic[2]]
        [0.94, 0.92]
    """
    if pre.nlo_metric is None or pre.vertex is None:
        raise ValueError("pre: wanted statistics of order 1, got order 0; use order=1.")
    sample = check_count(sample, "sample", least=0)
    if sample >= pre.kernel.shape[-1]:
        raise ValueError(f"sample: wanted 0 to {pre.kernel.shape[-1] - 1}, got {sample}.")
    m = jnp.asarray([check_count(count, "neurons") for count in neurons], dtype=float)
    fan_in = jnp.asarray(pre.fan_in, dtype=float)
    K, G1 = pre.kernel[:, sample, sample], pre.nlo_metric[:, sample, sample]
    V = pre.vertex.entries(np.full((1, 4), sample))[:, 0]
    lowered = (K + G1 / fan_in)[:, None] - (m + 2) * (V / (2 * fan_in * K))[:, None]
    return RunningCouplings(m, 1 / lowered, V / (fan_in * K**4), K + G1 / fan_in)
