"""From one layer to the next, for all layers: compile time does not grow with depth."""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

State = TypeVar("State")


def every_layer(
    next_layer: Callable[..., State], first: State, *hyperparameters: Float[Array, " L"]
) -> State:
    """Return the states of layers 1, ..., L, stacked along a leading axis.

    Args:
        next_layer: (state of layer l, hyperparameters of layer l+1) -> state of layer l+1.
        first: state of layer 1, a pytree of arrays.
        hyperparameters: arrays with one entry per layer, layer l in entry l-1.

    Returns:
        The pytree with a leading axis of length L.
    """
    layers = hyperparameters[0].shape[0]

    # Each step hands out the state it starts from, so that layer 1 needs no copy of the rest.
    def step(state, now):
        is_last, above = now
        advanced = jax.lax.cond(
            is_last, lambda state, _: state, lambda state, h: next_layer(state, *h), state, above
        )
        return advanced, state

    of_layer_above = tuple(jnp.roll(h, -1) for h in hyperparameters)
    _, states = jax.lax.scan(step, first, (jnp.arange(layers) == layers - 1, of_layer_above))
    return states
