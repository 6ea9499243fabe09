r"""A chunk of trained networks: a pure function of (key, chunk number).

Network k of the ensemble is drawn with `jax.random.fold_in(key, k)`, whatever the size of a chunk.
It is trained by `descent`, and what is kept are its test outputs before and after, PDLT (10.39),

$$z_{i;\dot\beta}(0),\qquad z_{i;\dot\beta}(T),$$

the history of its loss, and the distance of $z(T)$ from a linear prediction if one is asked for.
"""

import json
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int, PRNGKeyArray

from finitewidth.ensemble.accumulator import CentralProducts, Moments
from finitewidth.ensemble.checkpoint import (
    FORMAT,
    digest,
    key_part,
    network_parts,
    rounded_digest,
)
from finitewidth.ensemble.chunk import memory_numbers
from finitewidth.ensemble.descent import Descent, descend, places_for
from finitewidth.ensemble.empirical_ntk import empirical_ntk
from finitewidth.ensemble.linearized import (
    FrozenNTK,
    Linearization,
    largest_curvature,
    stable_rate,
)
from finitewidth.network import MLP, Parameters
from finitewidth.precision import in_double_precision

# Networks of a chunk per network that is stepped at the same time: the last ones of a chunk leave
# places empty, and the first ones of it are all held in memory.
CHUNK_PER_PLACE = 16
FEWEST_IN_CHUNK, MOST_IN_CHUNK = 32, 4096


class TrainedNetworks(eqx.Module):
    """Single networks after training; the leading axis M of every array is the network.

    Attributes:
        initial: test outputs at initialization, shape (M, N_test, n_L).
        outputs: test outputs after training, shape (M, N_test, n_L).
        training_outputs: training outputs after training, shape (M, N, n_L).
        linearized: the linear prediction of `outputs`, or None if it was not asked for.
        eta: learning rate, shape (M,).
        steps: number of steps taken, shape (M,).
        converged: whether the error factor fell below the tolerance, shape (M,).
        diverged: whether the loss left the finite numbers, shape (M,).
        losses: loss after 0, 1, ... steps, shape (M, T); constant once the network has stopped.
        params: the trained parameters.
    """

    initial: Float[Array, "M N_test n_L"]
    outputs: Float[Array, "M N_test n_L"]
    training_outputs: Float[Array, "M N n_L"]
    linearized: Float[Array, "M N_test n_L"] | None
    eta: Float[Array, " M"]
    steps: Int[Array, " M"]
    converged: Bool[Array, " M"]
    diverged: Bool[Array, " M"]
    losses: Float[Array, "M T"]
    params: Parameters

    def __repr__(self) -> str:
        return (
            f"TrainedNetworks({len(self.steps)} networks, {int(jnp.sum(self.converged))} "
            f"converged, {int(jnp.max(self.steps))} steps at most)"
        )


class Trainer(eqx.Module):
    """An ensemble of trained networks: everything that defines it, but no randomness.

    Attributes:
        net: the network.
        x_test: test inputs, shape (N_test, n_0).
        descent: training data, loss and the rule of a step.
        eta: learning rate, or None for that of `stable_rate`, network by network.
        linearization: the linear prediction that trained networks are compared with, or None.
        chunk_size: networks in a chunk.
        reference: None, for `stream.fold`.
    """

    net: MLP
    x_test: Float[Array, "N_test n0"]
    descent: Descent
    eta: Float[Array, ""] | None
    linearization: Linearization | None
    chunk_size: int = eqx.field(static=True)
    reference: None = None

    @in_double_precision
    def networks(
        self, key: PRNGKeyArray, number: ArrayLike = 0, size: ArrayLike | None = None
    ) -> TrainedNetworks:
        """Train the networks of one chunk and return them one by one.

        Args:
            key: the key of the run.
            number: which chunk.
            size: if given, only the first `size` networks are trained.

        Returns:
            `chunk_size` networks. Two trainers with the same key, chunk size and initialization
            start from the same networks, whatever their optimizers are.
        """
        size = self.chunk_size if size is None else size
        params, keys = _draw(self.net, key, jnp.asarray(number, int), self.chunk_size)
        return _train(self, params, keys, jnp.asarray(size, int))

    @in_double_precision
    def __call__(
        self, key: PRNGKeyArray, number: ArrayLike, size: ArrayLike | None = None
    ) -> dict[str, Any]:
        """Return the mergeable state of chunk `number`, or of its first `size` networks."""
        size = self.chunk_size if size is None else size
        return _state(self.networks(key, number, size), jnp.asarray(size, int))

    def pilot(self, key: PRNGKeyArray) -> "Trainer":
        """Return the trainer: its statistics need no reference."""
        del key
        return self


# Drawing and training are compiled apart: other ways to train the same network use the compiled
# draw again.
@eqx.filter_jit
def _draw(net: MLP, key: PRNGKeyArray, number: Array, size: int) -> tuple[Parameters, PRNGKeyArray]:
    """Return the parameters of a chunk and a key for the batches of every network."""
    numbers = number * size + jnp.arange(size)
    keys = jax.vmap(lambda k: jax.random.split(jax.random.fold_in(key, k)))(numbers)
    return jax.vmap(net.init)(keys[:, 0]), keys[:, 1]


@eqx.filter_jit
def _train(
    trainer: Trainer, params: Parameters, keys: PRNGKeyArray, size: Array
) -> TrainedNetworks:
    net, descent, predict = trainer.net, trainer.descent, trainer.linearization
    N = descent.x.shape[0]
    inputs = jnp.concatenate([descent.x, trainer.x_test])
    linear = predict is not None and predict.needs_ntk

    def before(params: Parameters) -> tuple[Array, Array, Array | None]:
        """Return outputs at initialization, the learning rate and the linear prediction."""
        z = net.apply(params, inputs)
        ntk = None
        if linear or trainer.eta is None:
            ntk = empirical_ntk(net, params, inputs if linear else descent.x)
        if trainer.eta is None:
            assert ntk is not None
            curvature = largest_curvature(descent.loss, descent.y)
            assert curvature is not None
            eta = stable_rate(ntk[..., :N, :N], curvature)
        else:
            eta = trainer.eta
        return z, eta, None if predict is None else predict(ntk, z, descent.y)

    initial, eta, linearized = jax.vmap(before)(params)
    done = descend(net, descent, params, eta, keys, size)
    outputs = jax.vmap(lambda p: net.apply(p, inputs))(done.params)
    return TrainedNetworks(
        initial=initial[:, N:],
        outputs=outputs[:, N:],
        training_outputs=outputs[:, :N],
        linearized=linearized,
        eta=eta,
        steps=done.steps,
        converged=done.converged,
        diverged=done.diverged,
        losses=done.losses,
        params=done.params,
    )


@eqx.filter_jit
def _state(trained: TrainedNetworks, size: Array) -> dict[str, Any]:
    wanted = jnp.arange(trained.steps.shape[0]) < size
    finite = jnp.all(jnp.isfinite(trained.outputs), axis=(1, 2)) & ~trained.diverged
    present, sound = wanted.astype(float), (wanted & finite).astype(float)

    def sums(values: Array) -> CentralProducts:
        shape = (-1,) + (1,) * (values.ndim - 1)
        return CentralProducts.of(jnp.where(finite.reshape(shape), values, 0.0), sound)

    def flat(values: Float[Array, "M N_test n_L"]) -> Float[Array, "M P"]:
        return values.swapaxes(1, 2).reshape(values.shape[0], -1)

    state: dict[str, Any] = {
        "initial": CentralProducts.of(flat(trained.initial), present),
        "trained": sums(flat(trained.outputs)),
        "loss": sums(trained.losses[..., None]),
        "steps": sums(trained.steps[:, None].astype(float)),
        "eta": sums(trained.eta[:, None]),
        "unconverged": Moments.of((~trained.converged).astype(float), present),
        "diverged": Moments.of((~finite).astype(float), present),
        "longest": Longest(jnp.max(trained.steps * (wanted & finite))),
    }
    if trained.linearized is not None:
        apart = trained.outputs - trained.linearized
        state["deviation"] = sums(apart)
        state["deviation_square"] = sums(apart**2)
    return state


class Longest(eqx.Module):
    """The largest of some numbers of steps."""

    steps: Int[Array, ""]

    def merge(self, other: "Longest") -> "Longest":
        """Return the larger one."""
        return Longest(np.maximum(self.steps, other.steps))  # pyright: ignore[reportArgumentType]


def choose_chunk(net: MLP, descent: Descent, tests: int, wanted: int | None) -> int:
    """Return the number of networks in a chunk, or say that the wish does not fit into memory.

    Raises:
        ValueError: if the chunk does not fit into memory.
    """
    N, outputs = descent.x.shape[0], net.widths[-1]
    # Parameters at the start, at the end and of the optimizer; the NTK with its powers; the losses.
    each = 4 * net.parameter_count + 3 * (outputs * (N + tests)) ** 2 + descent.history
    each += 2 * (N + tests) * sum(net.widths)
    room = memory_numbers()
    most = max(1, room // each)
    if wanted is None:
        size = CHUNK_PER_PLACE * places_for(net, MOST_IN_CHUNK)
        return min(max(FEWEST_IN_CHUNK, min(size, MOST_IN_CHUNK)), max(2, most // 4))
    if wanted > most:
        raise ValueError(
            f"chunk_size: wanted at most {most} networks, as many as fit into memory, got {wanted}."
        )
    return wanted


def fingerprint(kept: Trainer, key: jax.Array) -> dict[str, str]:
    """Return what makes a run of `train` the run it is, name by name."""
    descent, prediction = kept.descent, kept.linearization
    probe = jnp.linspace(-1.5, 1.5, descent.x.shape[0] * kept.net.widths[-1])
    errors = descent.loss.error_factor(probe.reshape(-1, kept.net.widths[-1]), descent.y)
    frozen = isinstance(prediction, FrozenNTK)
    parts: dict[str, Any] = {
        "format": FORMAT,
        "run": "train",
        **network_parts(kept.net),
        "x": digest(descent.x),
        "y": digest(descent.y),
        "x_test": digest(kept.x_test),
        "key": key_part(key),
        "loss": (descent.loss.name, rounded_digest(errors)),
        "optimizer": descent.optimizer,
        "momentum": float(descent.momentum),
        "batch_size": descent.batch_size,
        "eta": None if kept.eta is None else float(kept.eta),
        "tolerance": float(descent.tolerance),
        "most_steps": int(descent.most_steps),
        "history": descent.history,
        "control_variate": digest(prediction.response) if frozen else prediction is not None,
        "chunk_size": kept.chunk_size,
    }
    return {name: json.dumps(part) for name, part in parts.items()}
