r"""Many networks trained at once: one compiled loop, each network with its own clock.

Every network descends its own loss $\mathcal L_{\mathcal A}$, a sum over the training samples, with
the learning-rate tensor of PDLT (8.6),

$$\theta_\mu(t+1) = \theta_\mu(t) - \eta\,\lambda_{\mu\mu}\sum_{i,\tilde\alpha}
\frac{dz_{i;\tilde\alpha}}{d\theta_\mu}\,\epsilon_{i;\tilde\alpha}(t),\qquad
\epsilon_{i;\tilde\alpha} = \frac{\partial\mathcal L_{\mathcal A}}{\partial z_{i;\tilde\alpha}} ,$$

PDLT (7.11), (10.4), until $\max|\epsilon|$ is below a tolerance. Networks need different numbers of
steps, so a few of them, as many as stay in the processor's cache, are stepped together, and a place
that has become free is given to the next network.
"""

from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from finitewidth.ensemble.outer_gradients import outputs
from finitewidth.network import MLP, Loss, Parameters
from finitewidth.network.descent import batch_of_step, tensorial_learning_rates

Optimizer = Literal["gradient_descent", "sgd", "momentum", "adam"]
OPTIMIZERS: tuple[Optimizer, ...] = ("gradient_descent", "sgd", "momentum", "adam")

# About this many parameters (1 MiB) are stepped together; more would leave the cache, and of very
# small networks more would leave more places empty at the end of a chunk.
PARAMETERS_AT_ONCE = 2**17
FEWEST_AT_ONCE, MOST_AT_ONCE = 4, 512

# Places are given away when this part of them is free: giving away costs a pass over all of them.
FREE_PART = 0.25


class Descent(eqx.Module):
    """How networks are trained: everything but the networks and their randomness.

    Attributes:
        x: training inputs, shape (N, n_0).
        y: targets, shape (N, ...).
        loss: the loss of one sample; its sum is descended.
        optimizer: the rule of a step.
        momentum: decay of the heavy ball of `"momentum"`.
        batch_size: samples in a step of `"sgd"`.
        tolerance: a network stops when no entry of its error factor is larger.
        most_steps: a network stops after so many steps.
        history: number of steps whose loss is kept.
    """

    x: Float[Array, "N n0"]
    y: Array
    loss: Loss
    momentum: Float[Array, ""]
    tolerance: Float[Array, ""]
    most_steps: Int[Array, ""]
    optimizer: Optimizer = eqx.field(static=True)
    batch_size: int = eqx.field(static=True)
    history: int = eqx.field(static=True)

    def rule(self, net: MLP, eta: Float[Array, ""]) -> optax.GradientTransformation:
        """Return the step as an Optax transformation; the tensor comes after Adam's scaling."""
        tensor, down = tensorial_learning_rates(net), optax.scale(-eta)  # pyright: ignore[reportArgumentType]
        if self.optimizer == "momentum":
            return optax.chain(tensor, optax.trace(decay=self.momentum), down)  # pyright: ignore[reportArgumentType]
        if self.optimizer == "adam":
            return optax.chain(optax.scale_by_adam(), tensor, down)
        return optax.chain(tensor, down)

    def weights(self, key: PRNGKeyArray, step: Int[Array, ""]) -> Float[Array, " N"] | None:
        """Return 1 for the samples of a step and 0 for others; None if all are in it."""
        samples = self.x.shape[0]
        if self.optimizer != "sgd" or self.batch_size == samples:
            return None
        rows = batch_of_step(key, step, samples, self.batch_size)
        return jnp.zeros(samples).at[rows].set(1.0)


class Descended(NamedTuple):
    """What has become of M networks.

    Attributes:
        params: the parameters at the end, leading axis M.
        steps: number of steps taken, shape (M,).
        converged: whether the error factor fell below the tolerance, shape (M,).
        diverged: whether the loss left the finite numbers, shape (M,).
        losses: loss after 0, 1, ..., `history` steps, shape (M, history + 1); it stays what it was
            when the network stopped.
    """

    params: Parameters
    steps: Int[Array, " M"]
    converged: Bool[Array, " M"]
    diverged: Bool[Array, " M"]
    losses: Float[Array, "M T"]


class _Places(NamedTuple):
    """The networks that are stepped together; `owner` is M where there is none."""

    owner: Int[Array, " P"]
    running: Bool[Array, " P"]
    params: Parameters
    memory: Any
    steps: Int[Array, " P"]


class _Records(NamedTuple):
    """What is kept of every network."""

    params: Parameters
    steps: Int[Array, " M"]
    converged: Bool[Array, " M"]
    diverged: Bool[Array, " M"]
    last: Float[Array, " M"]
    losses: Float[Array, "M T"]


def places_for(net: MLP, networks: int) -> int:
    """Return how many networks are stepped together."""
    fitting = PARAMETERS_AT_ONCE // net.parameter_count
    return min(networks, MOST_AT_ONCE, max(FEWEST_AT_ONCE, fitting))


def descend(
    net: MLP,
    descent: Descent,
    params: Parameters,
    etas: Float[Array, " M"],
    keys: PRNGKeyArray,
    wanted: Int[Array, ""],
) -> Descended:
    """Train networks until each has converged, diverged or taken all its steps.

    Args:
        net: the network.
        descent: how they are trained.
        params: parameters of M networks at the start, leading axis M.
        etas: learning rate of every network.
        keys: a random key for the batches of every network, shape (M,).
        wanted: only the first so many networks are trained; the others are left as they are.

    Returns:
        The networks at the end. Compiled by the caller.
    """
    networks = etas.shape[0]
    places = places_for(net, networks)

    def look(params: Parameters) -> tuple[Array, Array, Any]:
        """Return loss and error factor of one network, and what pulls them back."""
        z, pull = jax.vjp(lambda p: outputs(net, p, descent.x), params)
        return descent.loss(z, descent.y), descent.loss.error_factor(z, descent.y), pull

    def step(
        params: Parameters, memory: Any, steps: Array, running: Array, eta: Array, key: Array
    ) -> tuple[Parameters, Any, Array, Array, Array, Array]:
        loss, error, pull = look(params)
        converged = jnp.max(jnp.abs(error)) <= descent.tolerance
        diverged = ~jnp.isfinite(loss)
        on = running & ~converged & ~diverged & (steps < descent.most_steps)
        weights = descent.weights(key, steps)
        (gradients,) = pull(error if weights is None else error * weights[:, None])
        updates, moved = descent.rule(net, eta).update(gradients, memory, params)  # pyright: ignore[reportArgumentType]
        after = jax.tree.map(lambda p, u: jnp.where(on, p + u, p), params, updates)
        moved = jax.tree.map(lambda new, old: jnp.where(on, new, old), moved, memory)
        return after, moved, on, loss, converged, diverged

    start_memory = jax.vmap(descent.rule(net, jnp.ones(())).init)  # pyright: ignore[reportArgumentType]

    def advance(state: tuple[_Places, _Records]) -> tuple[_Places, _Records]:
        """Take one step of all places and note what is seen before it."""
        now, seen = state
        mine = jnp.minimum(now.owner, networks - 1)
        after, memory, on, loss, converged, diverged = jax.vmap(step)(
            now.params, now.memory, now.steps, now.running, etas[mine], keys[mine]
        )
        owner = jnp.where(now.running, now.owner, networks)

        def noted(record: Array, values: Array) -> Array:
            return record.at[owner].set(values, mode="drop")

        seen = seen._replace(
            steps=noted(seen.steps, now.steps),
            converged=noted(seen.converged, converged),
            diverged=noted(seen.diverged, diverged),
            last=noted(seen.last, loss),
            losses=seen.losses.at[owner, now.steps].set(loss, mode="drop"),
        )
        return now._replace(params=after, memory=memory, running=on, steps=now.steps + on), seen

    def put_back(now: _Places, seen: _Records) -> _Records:
        owner = jnp.where(now.running, networks, now.owner)
        kept = jax.tree.map(
            lambda all_, mine: all_.at[owner].set(mine, mode="drop"), seen.params, now.params
        )
        return seen._replace(params=kept)

    def turn(state: tuple[Array, _Places, _Records]) -> tuple[Array, _Places, _Records]:
        """Give free places to the next networks and step until enough places are free again."""
        following, now, seen = state
        seen = put_back(now, seen)
        number = following + jnp.cumsum(~now.running) - 1
        given = ~now.running & (number < wanted)
        owner = jnp.where(given, number, jnp.where(now.running, now.owner, networks))
        taken = jnp.minimum(number, networks - 1)

        def chosen(new: Array, old: Array) -> Array:
            return jnp.where(given.reshape((-1,) + (1,) * (old.ndim - 1)), new, old)

        fresh = jax.tree.map(lambda leaf: leaf[taken], seen.params)
        now = _Places(
            owner,
            now.running | given,
            jax.tree.map(chosen, fresh, now.params),
            jax.tree.map(chosen, start_memory(fresh), now.memory),
            jnp.where(given, 0, now.steps),
        )
        following = following + jnp.sum(given)
        # When none is waiting, the last ones are stepped to their end.
        enough = jnp.where(following < wanted, (1 - FREE_PART) * places, 0.0)
        now, seen = jax.lax.while_loop(
            lambda pair: jnp.sum(pair[0].running) > enough, advance, (now, seen)
        )
        return following, now, seen

    empty = jax.tree.map(lambda leaf: leaf[:places], params)
    zeros = jnp.zeros(networks, int)
    start = (
        jnp.zeros((), int),
        _Places(
            jnp.full(places, networks),
            jnp.zeros(places, bool),
            empty,
            start_memory(empty),
            jnp.zeros(places, int),
        ),
        _Records(
            params,
            zeros,
            zeros > 0,
            zeros > 0,
            jnp.zeros(networks),
            jnp.zeros((networks, descent.history + 1)),
        ),
    )
    _, now, seen = jax.lax.while_loop(lambda state: state[0] < wanted, turn, start)
    seen = put_back(now, seen)
    stopped = jnp.arange(descent.history + 1) > seen.steps[:, None]
    losses = jnp.where(stopped, seen.last[:, None], seen.losses)
    return Descended(seen.params, seen.steps, seen.converged, seen.diverged, losses)
