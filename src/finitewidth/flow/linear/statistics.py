r"""Everything that is exactly known about a deep linear network and its inputs, in one place.

    kernel   G^(l) = C_W^(1) ... C_W^(l) x x^T/n_0                         PDLT (3.14)
    vertex   V^(l) = n_{l-1} (H_ab,cd - G_ab G_cd), to all orders in 1/n   completes PDLT 3.3
    log S    its mean and variance over networks                           behind PDLT (3.55)

A front for the functions of this package, which take widths, C_W and G^(0) instead of a network.
"""

from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import ArrayLike, Float

from finitewidth.flow.linear.action import Couplings, couplings
from finitewidth.flow.linear.correlators import connected, correlator
from finitewidth.flow.linear.density import OutputDensity, density
from finitewidth.flow.linear.inputs import vertex
from finitewidth.flow.linear.kernel import kernel
from finitewidth.flow.linear.log_magnitude import log_cumulant
from finitewidth.network import MLP
from finitewidth.precision import in_double_precision
from finitewidth.tensors import DenseTensor
from finitewidth.validation import check_inputs

#: More inputs than this are refused: the vertex grows like N^4.
MOST_INPUTS = 48


@dataclass(frozen=True)
class LinearStatistics:
    """Exact statistics of every layer of a deep linear network; layer l in entry l-1.

    Attributes:
        net: the network.
        gram: x x^T/n_0, shape (N, N).
        kernel: the two-point function, shape (L, N, N).
        vertex: n_{l-1} Cov of the metric, to all orders in 1/n, dense shape (L, N, N, N, N).
        log_mean: E log S_a, S_a the variance of the preactivations of input a given the layer
            below, shape (L, N); minus infinity for a zero input.
        log_variance: Var log S_a, the same for all inputs, shape (L,).
    """

    net: MLP
    gram: Float[np.ndarray, "N N"]
    kernel: Float[np.ndarray, "L N N"]
    vertex: DenseTensor
    log_mean: Float[np.ndarray, "L N"]
    log_variance: Float[np.ndarray, " L"]

    def correlator(self, m: int, sample: int = 0) -> Float[np.ndarray, " L"]:
        """Return G_2m of one of the inputs in every layer, PDLT (3.47)."""
        return correlator(*self._one(sample), m)

    def connected(self, m: int, sample: int = 0) -> Float[np.ndarray, " L"]:
        """Return the connected K_2m of one of the inputs in every layer, PDLT (3.56)."""
        return connected(*self._one(sample), m)

    def couplings(self, outputs: int = 1, sample: int = 0) -> Couplings:
        """Return the couplings of the action of a few neurons of every layer."""
        return couplings(*self._one(sample), outputs)

    def density(self, outputs: int = 1, sample: int = 0) -> OutputDensity:
        """Return the exact law of the network's output on one of the inputs."""
        return density(*self._one(sample), outputs)

    def _one(self, sample: int) -> tuple[tuple[int, ...], np.ndarray, float]:
        count = len(self.gram)
        if not 0 <= sample < count:
            raise ValueError(f"sample: wanted a number from 0 to {count - 1}, got {sample}.")
        return self.net.widths, np.asarray(self.net.C_W), float(self.gram[sample, sample])

    def to_xarray(self) -> xr.Dataset:
        """Return everything as a labelled data set, with the layer number as a coordinate."""
        samples = ("sample_1", "sample_2", "sample_3", "sample_4")
        return xr.Dataset(
            {
                "kernel": (("layer", *samples[:2]), self.kernel),
                "vertex": (("layer", *samples), np.asarray(self.vertex.dense())),
                "log_mean": (("layer", "sample_1"), self.log_mean),
                "log_variance": (("layer",), self.log_variance),
            },
            coords={
                "layer": np.arange(1, self.net.depth + 1),
                "fan_in": ("layer", np.asarray(self.net.widths[:-1])),
            },
            attrs={"network": repr(self.net)},
        )

    def __repr__(self) -> str:
        layers, inputs = self.kernel.shape[:2]
        lines = [f"LinearStatistics of {layers} layers for {inputs} inputs, exact"]
        for layer in range(layers):
            G = np.diagonal(self.kernel[layer]).mean()
            lines.append(
                f"  layer {layer + 1}: mean G_aa = {G:.6g}, "
                f"Var log S = {self.log_variance[layer]:.4g}"
            )
        return "\n".join(lines)


@in_double_precision
def statistics(net: MLP, x: Float[ArrayLike, "N n0"]) -> LinearStatistics:
    """Compute the exact statistics of every layer of a deep linear network.

    Args:
        net: a network with the activation "linear", Gaussian weights and no biases.
        x: inputs, shape (N, n_0).

    Returns:
        The statistics, layer l in entry l-1.

    Raises:
        ValueError: if the network is not of this kind, the data are not finite or do not fit, or
            there are more than 48 inputs.

    Cost: O(L N^4), the size of the vertex.

    Example:
        >>> import finitewidth as fw
        >>> net = fw.MLP((2, 10, 10, 1), "linear")
        >>> exact = statistics(net, [[1.0, 1.0], [1.0, -1.0]])
        >>> exact.kernel.shape, round(float(exact.vertex.dense()[-1, 0, 0, 0, 0]), 12)
        ((3, 2, 2), 4.4)
    """
    check_linear(net)
    data = np.asarray(check_inputs(x, net.widths[0]))
    if len(data) > MOST_INPUTS:
        raise ValueError(
            f"x: the vertex grows like N^4, wanted at most {MOST_INPUTS} inputs, got {len(data)}."
        )
    gram = data @ data.T / net.widths[0]
    C_W = np.asarray(net.C_W)
    means = [log_cumulant(net.widths, C_W, float(G0), 1) for G0 in np.diagonal(gram)]
    return LinearStatistics(
        net,
        gram,
        np.asarray(kernel(net.widths, C_W, gram)),
        DenseTensor(vertex(net.widths, C_W, gram)),
        np.stack(means, axis=-1),
        log_cumulant(net.widths, C_W, 1.0, 2),
    )


def check_linear(net: MLP) -> None:
    """Say what is wrong with a network that is not linear, Gaussian and without biases."""
    if net.activation.name != "linear":
        raise ValueError(f"net: wanted the activation 'linear', got {net.activation.name!r}.")
    if net.law != "gaussian":
        raise ValueError(
            f"net: wanted Gaussian weights, got law {net.law!r}; see linear.orthogonal and "
            "linear.weight_laws for others."
        )
    if np.asarray(net.C_b).any():
        raise ValueError(
            f"net: wanted no biases, got C_b = {np.asarray(net.C_b).tolist()}; one input with "
            "biases: linear.correlator(..., C_b=...)."
        )
