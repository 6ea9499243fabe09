r"""Contractions of finite-width tensors by pulling the weights down through the layers.

T^(L) = sum_l (n_{L-1}/n_l) J_{L-1} .. J_{l+1} E[S_l (x) S_l] J_{l+1}^T .. J_{L-1}^T, so with
weights pulled down by X_{l-1} = J_l^T X_l

    X : T^(L) : Y = sum_l (n_{L-1}/n_l) E[(X_l : S_l)(Y_l : S_l)]

and T^(L) : Y is the same without X, pushed up again. The expectations are over one neuron at a
time. Their larger part is a closed form (see `flow.neuron_noise`); the rest is an average over
neurons drawn from N(0, K^(l)). Nothing larger than N x N appears.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from finitewidth.flow.linearized import LinearizedFlow, LinearizedLayer
from finitewidth.flow.neuron_noise import NOISE, Legs, NeuronNoise, Sector

#: Numbers in one array of a chunk of neurons, count x N.
CHUNK = 2**21


class Sums(NamedTuple):
    """A contraction as a closed form and sums over drawn neurons, one entry per layer.

    Attributes:
        exact: the closed part, summed over layers.
        products: sum over neurons of the rest of (X:S)(Y:S).
        squares: sum of its squares.
    """

    exact: Float[Array, ""]
    products: Float[Array, " L"]
    squares: Float[Array, " L"]


def neurons_at_once(samples: int) -> int:
    """Return how many neurons a chunk holds: a bounded number of numbers."""
    return max(16, min(1024, CHUNK // samples))


def noise_of(layer: LinearizedLayer, sector: Sector, ntk: bool) -> NeuronNoise:
    """Return the law of what a layer adds, without the NTK if no leg of the tensor needs it."""
    if sector == "covariance" and not ntk:
        layer = layer.metric_alone()
    return NOISE[sector](layer)


@eqx.filter_jit
def adjoint_sums(
    flow: LinearizedFlow,
    sector: Sector,
    layer: Int[Array, ""],
    X: Legs,
    Y: Legs,
    key: PRNGKeyArray,
    chunks: tuple[Int[Array, " L-1"], Int[Array, " L-1"]],
) -> Sums:
    """Contract the tensor of one layer with weights on both sides.

    Args:
        flow: kernels and Jacobians.
        sector: "covariance" for V, D, A; "F" or "B".
        layer: which layer, counted from 0.
        X: weights of the first pair, one matrix for each leg; symmetric in "covariance".
        Y: weights of the second pair, with legs like those of X.
        key: of the neurons.
        chunks: numbers of the first chunk of neurons and of the one after the last, for each layer.

    Returns:
        The sums over the neurons of those chunks. Cost O(L (N^3 + M N^2)) with M neurons.
    """
    count = neurons_at_once(flow.samples)

    def below(carry, index, of_layer, first, last):
        X, Y, weight, exact = carry
        noise = noise_of(of_layer, sector, X[1] is not None)
        P, Q = noise.pull(X), noise.pull(Y)
        roots = noise.roots()

        def chunk(number, sums):
            neurons = noise.draw(roots, _chunk_key(key, index, number), count)
            product = noise.rest(neurons, X, P) * noise.rest(neurons, Y, Q)
            return sums[0] + product.sum(), sums[1] + (product**2).sum()

        products, squares = jax.lax.fori_loop(first, last, chunk, (0.0, 0.0))
        exact = exact + weight * (P[0] * noise.lowest(Q)).sum()
        carry = (P, Q, weight * of_layer.above.ratio, exact)
        return carry, (weight * products, weight**2 * squares)

    def step(carry, now):
        return jax.lax.cond(now[0] < layer, below, lambda c, *_: (c, (0.0, 0.0)), carry, *now)

    start = (X, Y, jnp.asarray(1.0), jnp.asarray(0.0))
    layers = (jnp.arange(flow.depth - 1), flow.layers, *chunks)
    (_, _, _, exact), (products, squares) = jax.lax.scan(step, start, layers, reverse=True)
    return Sums(exact, products, squares)


@eqx.filter_jit
def adjoint_apply(
    flow: LinearizedFlow,
    sector: Sector,
    layer: Int[Array, ""],
    Y: Legs,
    key: PRNGKeyArray,
    chunks: Int[Array, ""],
) -> Legs:
    """Apply the tensor of one layer to weights: pull them down, push what the neurons make of them.

    Args:
        flow: kernels and Jacobians.
        sector: "covariance" for V, D, A; "F" or "B".
        layer: which layer, counted from 0.
        Y: weights of the second pair, one matrix for each leg; symmetric in "covariance".
        key: of the neurons.
        chunks: how many chunks of neurons for each layer.

    Returns:
        sum_cd T_(ab)(cd) Y_cd for each leg of the first pair. Memory O(L N^2).
    """
    count = neurons_at_once(flow.samples)
    numbers = jnp.arange(flow.depth - 1)

    def down(Y, now):
        index, of_layer = now
        noise = noise_of(of_layer, sector, Y[1] is not None)
        pulled = jax.lax.cond(index < layer, lambda Y: noise.pull(Y), lambda Y: Y, Y)
        return pulled, (Y, pulled)

    _, (weights, pulled) = jax.lax.scan(down, Y, (numbers, flow.layers), reverse=True)

    def up(carried, now):
        index, of_layer, weights, pulled = now
        noise = noise_of(of_layer, sector, weights[1] is not None)

        def add(carried):
            roots = noise.roots()

            def chunk(number, total):
                neurons = noise.draw(roots, _chunk_key(key, index, number), count)
                return _add(total, noise.spread(neurons, noise.rest(neurons, weights, pulled)))

            drawn = jax.lax.fori_loop(0, chunks, chunk, jax.tree.map(jnp.zeros_like, carried))
            drawn = jax.tree.map(lambda total: total / chunks, drawn)
            # What comes from below and the closed part of this layer go through J together.
            lowest = noise.lowest(pulled)
            below = jax.tree.map(lambda leg: of_layer.above.ratio * leg, carried)
            return _add(noise.push((below[0] + lowest, below[1])), drawn)

        return jax.lax.cond(index < layer, add, lambda carried: carried, carried), None

    nothing = jax.tree.map(jnp.zeros_like, Y)
    applied, _ = jax.lax.scan(up, nothing, (numbers, flow.layers, weights, pulled))
    return applied


def _add(one: Legs, other: Legs) -> Legs:
    return jax.tree.map(jnp.add, one, other)


def _chunk_key(key: PRNGKeyArray, layer: Array, number: Array) -> PRNGKeyArray:
    return jax.random.fold_in(jax.random.fold_in(key, layer), number)
