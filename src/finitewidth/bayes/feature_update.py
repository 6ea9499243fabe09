r"""Representation learning: what the labels do to the hidden layers, to first order in 1/width.

An observable O of the hidden layers moves, from prior to posterior, by its covariance with the
evidence, PDLT (6.99),

    dO = sum Cov(G^(L)_12, O) M_12,

with M = d log p(y) / dG^(L) (`bayes.regression`). The metric of a layer l' and that of the outputs
are correlated through all layers between them, Cov(G^(L), G^(l')) = J_{L-1} ... J_{l'} W^(l'), so
with M pulled down,

    M^(l) = J_l^T M^(l+1),    d G^(l) = W^(l)[M^(l)],
    d (1/n_l) sum_j sigma_j sigma_j = d G^(l+1) / C_W^(l+1),

(6.104) for the last hidden layer. Every hidden layer moves at the order 1/width; the book's
footnote 35 of chapter 6, that those below the last one move at a higher order, leaves out the sum
over neurons, which makes up for it.

The two-point function of single neurons in the last hidden layer moves by, with P = M^(L-1),

    d <z_1 z_2>^(L-1) = (1/n_{L-1}) 2 (K P K)_12 + W^(L-1)[P]_12,

the neuron itself and the metric that it shares with the others.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, ArrayLike, Float

from finitewidth.bayes.output_metric import Method, choose_method
from finitewidth.bayes.regression import check_problem, check_regular, regression
from finitewidth.flow import matrix_free, preactivations
from finitewidth.network import MLP
from finitewidth.precision import in_double_precision
from finitewidth.tensors import PairTensor


class FeatureUpdate(eqx.Module):
    """How far the posterior of hidden layers is from their prior; entry l-1 is layer l.

    Samples are the training inputs, then the test inputs.

    Attributes:
        net: the network.
        metric: change of the mean metric of layer l, shape (L, D, D); 0 at layer 1, which has
            nothing to learn from.
        feature_kernel: change of (1/n_l) sum_j sigma_j sigma_j of hidden layer l, (L-1, D, D).
        preactivation: change of the two-point function of a neuron of the last hidden layer,
            shape (D, D).
    """

    net: MLP
    metric: Float[Array, "L D D"]
    feature_kernel: Float[Array, "L-1 D D"]
    preactivation: Float[Array, "D D"]

    def to_xarray(self) -> xr.Dataset:
        """Return the changes as a labelled data set."""
        matrix = ("sample_1", "sample_2")
        return xr.Dataset(
            {
                "metric": (("layer", *matrix), np.asarray(self.metric)),
                "feature_kernel": (("hidden_layer", *matrix), np.asarray(self.feature_kernel)),
                "preactivation": (matrix, np.asarray(self.preactivation)),
            },
            coords={
                "layer": np.arange(1, self.net.depth + 1),
                "hidden_layer": np.arange(1, self.net.depth),
            },
            attrs={"network": repr(self.net)},
        )

    def __repr__(self) -> str:
        sizes = [f"{float(jnp.abs(change).max()):.3g}" for change in self.feature_kernel]
        return "FeatureUpdate, largest change of each hidden feature kernel: " + ", ".join(sizes)


@in_double_precision
def feature_update(
    net: MLP,
    x: Float[ArrayLike, "N n0"],
    y: Float[ArrayLike, "N n_L"],
    x_test: Float[ArrayLike, "N_test n0"] | None = None,
    noise: float = 0.0,
    method: Method | None = None,
) -> FeatureUpdate:
    """Compute what labels do to the representations in every hidden layer, to first order.

    PDLT (6.99), (6.104), and the formulas of this module for the layers below.

    Args:
        net: the network, with at least one hidden layer.
        x: training inputs, shape (N, n_0).
        y: labels, shape (N, n_L), or (N,) for one output.
        x_test: further inputs whose representation is asked for, shape (N_test, n_0).
        noise: variance of the observation noise.
        method: "dense" or "matrix_free" tensors; None chooses by the number of inputs.

    Returns:
        Changes of metrics and feature kernels, at the widths of the network: all O(1/width).

    Raises:
        ValueError: as `posterior`, or if there is no hidden layer.

    Accuracy: that of the vertex, a few 1e-4 for three or more inputs; statistical with
    "matrix_free".

    Cost: the vertices of all layers, and one pass of M down through the layers.

    Example:
        >>> import finitewidth as fw
        >>> net = fw.MLP((1, 50, 50, 1), "relu", C_W=2.0)
        >>> feature_update(net, [[1.0]], [2.0])
        FeatureUpdate, largest change of each hidden feature kernel: 0.05, 0.1
    """
    x, y, variance, x_test = check_problem(net, x, y, noise, x_test)
    if net.depth < 2:
        raise ValueError(f"net: wanted at least one hidden layer, got widths {net.widths}.")
    everything = jnp.concatenate([x, x_test])
    many = matrix_free(net, everything, ntk=False)
    found = regression(many.kernel[-1], y, variance)
    check_regular(found, x, variance)
    vertex: PairTensor = many.V
    if choose_method(method, everything.shape[0]) == "dense":
        dense = preactivations(net, everything, order=1).vertex
        assert dense is not None
        vertex = dense
    pulled = _pulled(many.flow.layers, found.padded(found.gradient))
    moved = [vertex[layer].apply(pulled[layer]) / net.widths[layer] for layer in range(net.depth)]
    metric = jnp.stack(moved)
    K, P = many.kernel[-2], pulled[-2]
    neuron = 2 * K @ P @ K / net.widths[-2] + metric[-2]
    return FeatureUpdate(net, metric, metric[1:] / net.C_W[1:, None, None], neuron)


@eqx.filter_jit
def _pulled(layers: eqx.Module, M: Float[Array, "D D"]) -> Float[Array, "L D D"]:
    """Return M^(1), ..., M^(L)."""

    def down(M, layer):
        below = layer.value.pull(layer.above.C_W * M)
        return below, below

    _, below = jax.lax.scan(down, M, layers, reverse=True)
    return jnp.concatenate([below, M[None]])
