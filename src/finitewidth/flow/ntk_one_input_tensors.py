r"""Kernel, vertex and NTK tensors of one input, layer by layer, and the ratios that matter.

    V/(n K^2), D/(n K Theta), F/(n K Theta), B/(n Theta^2), A/(n Theta^2)   PDLT (9.23)-(9.26)

measure the size of the 1/n effects. Where a universality class has power laws O ~ l^(-p_O) its
critical exponents satisfy the scaling laws, PDLT (9.27),

    p_V - 2 p_0 = p_D - p_Theta - p_0 = p_F - p_Theta - p_0
                = p_B - 2 p_Theta = p_A - 2 p_Theta = -1,

which says that every ratio grows like l/n.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float

from finitewidth.precision import in_double_precision


class OneInputTensors(eqx.Module):
    """The statistics of one preactivation and its NTK at some layers, all of shape (layers,).

    V, D, F, A and B of layer l are in units of 1/n_{l-1}.

    Attributes:
        layer: l.
        kernel: K, the variance of a preactivation at infinite width.
        mean: Theta, the frozen NTK.
        vertex: V, the four-point vertex of preactivations.
        D: covariance of metric and NTK, PDLT (8.77).
        F: cross correlation of two neurons' preactivations with their NTK entry, PDLT (8.79).
        B: variance of the NTK entry of two neurons, PDLT (8.89).
        A: covariance of the NTKs of two neurons, PDLT (8.97).
    """

    layer: Float[Array, " layers"]
    kernel: Float[Array, " layers"]
    mean: Float[Array, " layers"]
    vertex: Float[Array, " layers"]
    D: Float[Array, " layers"]
    F: Float[Array, " layers"]
    B: Float[Array, " layers"]
    A: Float[Array, " layers"]

    @property
    @in_double_precision
    def ratios(self) -> dict[str, Float[Array, " layers"]]:
        """The dimensionless ratios of PDLT (9.23)-(9.26), in units of 1/n_{l-1}.

        Keys "vertex", "D", "F", "B" and "A"; NaN where K or Theta is 0.
        """
        K, Theta = self.kernel, self.mean
        return {
            "vertex": self.vertex / K**2,
            "D": self.D / (K * Theta),
            "F": self.F / (K * Theta),
            "B": self.B / Theta**2,
            "A": self.A / Theta**2,
        }

    @property
    @in_double_precision
    def correlation(self) -> Float[Array, " layers"]:
        """D/sqrt(V A), the correlation of metric and NTK fluctuations; NaN where V A = 0."""
        return self.D / jnp.sqrt(self.vertex * self.A)

    @property
    @in_double_precision
    def variance(self) -> Float[Array, " layers"]:
        """A + 2 B, the variance of a diagonal NTK entry in units of 1/n_{l-1}, PDLT (8.82)."""
        return self.A + 2 * self.B

    def to_xarray(self) -> xr.Dataset:
        """Return everything as a labelled data set, with the layer number as a coordinate."""
        names = ("kernel", "mean", "vertex", "D", "F", "B", "A")
        fields = {name: ("layer", np.asarray(getattr(self, name))) for name in names}
        return xr.Dataset(fields, coords={"layer": np.asarray(self.layer)})

    def __repr__(self) -> str:
        shown = {0, 1, 2, len(self.layer) // 2, len(self.layer) - 1}
        lines = [f"One input, {len(self.layer)} layers"]
        for i in sorted(shown & set(range(len(self.layer)))):
            values = ", ".join(
                f"{name} = {float(getattr(self, field)[i]):.6g}"
                for name, field in (
                    ("K", "kernel"),
                    ("Theta", "mean"),
                    ("V", "vertex"),
                    ("D", "D"),
                    ("F", "F"),
                    ("B", "B"),
                    ("A", "A"),
                )
            )
            lines.append(f"  layer {float(self.layer[i]):g}: {values}")
        return "\n".join(lines)
