r"""Correlators of preactivations with neuron indices, from moments of the metric.

    E[z_{i1;a1} ... z_{i2m;a2m}] = sum over pairings of prod delta_{ij} E[prod G^_{ab}]
                                                                              PDLT (4.71), exact
    E[z z z z]_conn = [d_{12} d_{34} V_(12)(34) + d_{13} d_{24} V_(13)(24)
                       + d_{14} d_{23} V_(14)(23)]/n_{l-1}          PDLT (4.43), (4.77), (4.117)

The first line holds at any width, because z given G^ is Gaussian with independent neurons. To first
order in 1/width the moments of the metric are those of its mean G = K + G^{1}/n_{l-1} and its
covariance V/n_{l-1},

    E[prod_P G^_P] = prod_P G_P + sum_{P<Q} (V_PQ/n_{l-1}) prod_{R != P, Q} G_R.
"""

from collections.abc import Callable, Sequence
from itertools import combinations
from math import prod
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from finitewidth.flow.effective_action import first_order_of_layer
from finitewidth.flow.preactivations import Preactivations
from finitewidth.gaussian import pairings
from finitewidth.precision import in_double_precision
from finitewidth.validation import check_count

Label = tuple[int, int]
Pair = tuple[int, int]


def correlator_from_metric_moments(
    moment: Callable[[tuple[Pair, ...]], Any], labels: Sequence[Label]
) -> Any:
    """Sum over pairings of preactivations, PDLT (4.71), with any rule for moments of the metric.

    Args:
        moment: takes pairs of samples ((a, b), (c, d), ...) to E[G^_ab G^_cd ...]; called with the
            pairs sorted.
        labels: (neuron, sample) of each preactivation, in any order.

    Returns:
        E[prod z], of the type that `moment` returns; 0.0 if no pairing joins equal neurons.

    Example:
        >>> correlator_from_metric_moments(lambda pairs: 2.0 ** len(pairs), [(0, 0)] * 4)
        12.0
    """
    labels = tuple(labels)
    total: Any = 0.0
    known: dict[tuple[Pair, ...], Any] = {}
    for pairing in pairings(len(labels)):
        if any(labels[p][0] != labels[q][0] for p, q in pairing):
            continue
        pairs = tuple(sorted(_sorted(labels[p][1], labels[q][1]) for p, q in pairing))
        if pairs not in known:
            known[pairs] = moment(pairs)
        total = total + known[pairs]
    return total


@in_double_precision
def metric_moment(pre: Preactivations, layer: int, pairs: Sequence[Pair]) -> Float[Array, ""]:
    """Return E[G^_ab G^_cd ...] of the stochastic metric of a layer to first order in 1/width.

    prod G + sum_{P<Q} (V_PQ/n_{l-1}) prod of the others, from PDLT (4.72), (4.76).

    Args:
        pre: statistics of order 1.
        layer: l, from 1 to L.
        pairs: pairs of samples.

    Returns:
        The moment.

    Raises:
        ValueError: for statistics of order 0, a layer or a sample that does not exist.

    Example:
        >>> import finitewidth as fw
        >>> net = fw.MLP.critical(widths=(1, 100, 1), activation="relu")
        >>> pre = fw.flow.preactivations(net, [[1.0]])
        >>> round(float(metric_moment(pre, 2, [(0, 0)] * 2)), 9)  # 4 + 5 * 4/100
        4.2
    """
    K, G1, V, fan_in = first_order_of_layer(pre, layer)
    pairs = [_checked(pair, K.shape[0]) for pair in pairs]
    G = np.asarray(K + G1 / fan_in)
    factors = [G[pair] for pair in pairs]
    places = list(combinations(range(len(pairs)), 2))
    if not places:
        return jnp.asarray(prod(factors))
    vertex = np.asarray(V.entries(np.array([pairs[p] + pairs[q] for p, q in places])))
    fluctuation = sum(
        v * prod(f for r, f in enumerate(factors) if r not in (p, q))
        for v, (p, q) in zip(vertex, places, strict=True)
    )
    return jnp.asarray(prod(factors) + fluctuation / fan_in)


@in_double_precision
def neuron_correlator(pre: Preactivations, layer: int, labels: Sequence[Label]) -> Float[Array, ""]:
    """Return E[z_{i1;a1} z_{i2;a2} ...] of a layer to first order in 1/width, PDLT (4.71).

    Args:
        pre: statistics of order 1.
        layer: l, from 1 to L.
        labels: (neuron, sample) of each preactivation. Only which neurons are equal matters.

    Returns:
        The correlator; 0 for an odd number. Cost: (2m-1)!! pairings of 2m preactivations, their
        moments remembered.

    Raises:
        ValueError: for statistics of order 0, a layer or a sample that does not exist.

    Example:
        >>> import finitewidth as fw
        >>> net = fw.MLP.critical(widths=(1, 100, 1), activation="relu")
        >>> pre = fw.flow.preactivations(net, [[1.0]])
        >>> round(float(neuron_correlator(pre, 2, [(0, 0)] * 4)), 9)  # 3 E[G^2]
        12.6
    """
    return jnp.asarray(
        correlator_from_metric_moments(lambda pairs: metric_moment(pre, layer, pairs), labels)
    )


@in_double_precision
def connected_four_point(
    pre: Preactivations, layer: int, neurons: int = 1
) -> Float[Array, "m N m N m N m N"]:
    """Return the connected four-point correlator of m neurons, PDLT (4.77), with all its indices.

    Args:
        pre: statistics of order 1.
        layer: l, from 1 to L.
        neurons: m.

    Returns:
        E[z_{i1;a1} z_{i2;a2} z_{i3;a3} z_{i4;a4}]_conn to first order, totally symmetric, axes
        (i1, a1, i2, a2, i3, a3, i4, a4). Zero in layer 1. Cost: (m N)^4 numbers.

    Raises:
        ValueError: for statistics of order 0 or a layer that does not exist.

    Example:
        >>> import finitewidth as fw
        >>> net = fw.MLP.critical(widths=(1, 100, 1), activation="relu")
        >>> kappa = connected_four_point(fw.flow.preactivations(net, [[1.0]]), 2, neurons=2)
        >>> kappa[0, 0, 0, 0, 0, 0, 0, 0].round(9), kappa[0, 0, 0, 0, 1, 0, 1, 0].round(9)
        (Array(0.6, dtype=float64), Array(0.2, dtype=float64))
    """
    _, _, V, fan_in = first_order_of_layer(pre, layer)
    same = jnp.eye(check_count(neurons, "neurons"))
    dense = V.dense() / fan_in
    return (
        jnp.einsum("ij,kl,abcd->iajbkcld", same, same, dense)
        + jnp.einsum("ik,jl,acbd->iajbkcld", same, same, dense)
        + jnp.einsum("il,jk,adbc->iajbkcld", same, same, dense)
    )


def _sorted(a: int, b: int) -> Pair:
    return (a, b) if a <= b else (b, a)


def _checked(pair: Pair, samples: int) -> Pair:
    for sample in pair:
        if not 0 <= sample < samples:
            raise ValueError(f"pairs: wanted samples from 0 to {samples - 1}, got {sample}.")
    return _sorted(*pair)
