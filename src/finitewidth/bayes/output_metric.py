r"""The stochastic metric of the output layer: its mean, and its covariance as an operator.

Given the activations below, the outputs of a network are Gaussian with the metric G^ of PDLT
(4.70). Everything that finite width does to a posterior to first order is in

    E[G^] = K + G^{1}/n_{L-1},    Cov(G^_12, G^_34) = W_(12)(34) = V_(12)(34)/n_{L-1}.

Few inputs have the dense tensor, many the operator that is drawn.
"""

from typing import Literal, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from finitewidth.flow import matrix_free, preactivations
from finitewidth.flow.preactivations import MOST_INPUTS_WITH_VERTEX
from finitewidth.gaussian.four_point import SOBOL_POINTS
from finitewidth.network import MLP
from finitewidth.tensors import PairTensor

Method = Literal["dense", "matrix_free"]

#: Independent draws of the operator: their spread is the statistical error.
BATCHES = 4


class OutputMetric(eqx.Module):
    """Mean metric of the outputs and what its covariance is made of.

    Attributes:
        kernel: K, shape (D, D).
        mean: K + G^{1}/n_{L-1}, shape (D, D).
        vertices: V in units of 1/n_{L-1}; one exact tensor, or several independent draws.
        n: the width n_{L-1}.
    """

    kernel: Float[Array, "D D"]
    mean: Float[Array, "D D"]
    vertices: tuple[PairTensor, ...]
    n: int = eqx.field(static=True)


def choose_method(method: Method | None, inputs: int) -> Method:
    """Return how to hold the vertex of so many inputs, or say that the method is unknown."""
    if method is None:
        return "dense" if inputs <= MOST_INPUTS_WITH_VERTEX else "matrix_free"
    if method not in get_args(Method):
        raise ValueError(f"method: wanted 'dense', 'matrix_free' or None, got {method!r}.")
    return method


def output_metric(
    net: MLP,
    x: Float[Array, "D n0"],
    method: Method | None,
    key: int,
    points: int = SOBOL_POINTS,
) -> OutputMetric:
    """Return mean and covariance of the output metric on all inputs, to first order in 1/width.

    Args:
        net: the network.
        x: training and test inputs, shape (D, n_0).
        method: "dense" or "matrix_free"; None chooses by the number of inputs.
        key: of the neurons that "matrix_free" draws.
        points: quasi-random points of the "dense" vertex, as of `flow.preactivations`.

    Raises:
        ValueError: if the method is unknown.
    """
    n = net.widths[-2]
    # A test input that is a training input is that input, to the last digit.
    distinct, where = np.unique(np.asarray(x), axis=0, return_inverse=True)
    where = where.ravel()
    if choose_method(method, distinct.shape[0]) == "dense":
        pre = preactivations(net, distinct, order=1, points=points)
        assert pre.vertex is not None
        kernel, mean = (M[-1][where][:, where] for M in (pre.kernel, pre.metric))
        return OutputMetric(kernel, mean, (pre.vertex[-1].restrict(where),), n)
    many = matrix_free(net, x, ntk=False)
    keys = jax.random.split(jax.random.key(key), BATCHES)
    vertices = tuple(eqx.tree_at(lambda m: m.key, many, k).V[-1] for k in keys)
    return OutputMetric(many.kernel[-1], jnp.asarray(many.metric[-1]), vertices, n)
