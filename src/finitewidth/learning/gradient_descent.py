r"""Gradient descent of real networks with the learning-rate tensor of PDLT chapters 7 and 8.

    b^(l) <- b^(l) - eta lambda_b^(l) dL/db^(l),
    W^(l) <- W^(l) - eta (lambda_W^(l)/n_{l-1}) dL/dW^(l)             PDLT (7.8), (7.11), (8.6)

with L the sum over the samples of a batch: all of them, PDLT (7.10), or some, drawn without
replacement until all were used (stochastic gradient descent).
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from finitewidth.ensemble.empirical_ntk import check_parameters
from finitewidth.network import MLP, Parameters
from finitewidth.network.descent import batch_of_step, check_step, tensorial_learning_rates
from finitewidth.network.losses import Loss, check_targets, loss_of
from finitewidth.precision import in_double_precision
from finitewidth.validation import check_count, check_inputs


class Training(eqx.Module):
    """A network after training, and how it got there.

    Attributes:
        params: the parameters at the end.
        losses: L_A of all samples before each step and after the last, shape (steps + 1,).
        recorded: what `record` returned at the same times, with a leading axis steps + 1; None
            without it.
    """

    params: Parameters
    losses: Float[Array, " T"]
    recorded: Any = None

    def __repr__(self) -> str:
        if self.losses.ndim != 1:
            return f"Training of networks, losses of shape {self.losses.shape}"
        first, last = float(self.losses[0]), float(self.losses[-1])
        return f"Training, {self.losses.size - 1} steps: loss {first:.6g} -> {last:.6g}"


@in_double_precision
def gradient_descent_optimizer(net: MLP, eta: ArrayLike) -> optax.GradientTransformation:
    """Return plain gradient descent with the learning-rate tensor of a network, PDLT (7.11).

    Args:
        net: the network.
        eta: learning rate.

    Returns:
        `tensorial_learning_rates` followed by a factor -eta.
    """
    return _descent(net, check_step(eta))


def _descent(net: MLP, eta: Float[Array, ""]) -> optax.GradientTransformation:
    return optax.chain(tensorial_learning_rates(net), optax.scale(-eta))  # pyright: ignore[reportArgumentType]


@in_double_precision
def gradient_step(
    net: MLP,
    params: Parameters,
    x: Float[ArrayLike, "N n0"],
    y: ArrayLike,
    loss: str | Loss | Callable = "mse",
    eta: ArrayLike = 1.0,
) -> Parameters:
    """Take one step of gradient descent, PDLT (7.8), (7.11), (8.6).

    Args:
        net: the network, with its learning rates lambda_b, lambda_W.
        params: its biases and weights.
        x: training inputs, shape (N, n_0).
        y: targets: (N, n_L), (N,) for one output, or classes for the cross-entropy.
        loss: "mse", "cross-entropy", or a function of (z, y) of one sample.
        eta: learning rate.

    Returns:
        The parameters after the step.

    Raises:
        TypeError, ValueError: for bad data, parameters of other shapes, a bad loss or eta.

    Example:
        >>> net = MLP(widths=(1, 1), activation="linear")
        >>> params = jax.tree.map(lambda p: 0 * p, net.init(jax.random.key(0)))
        >>> layer = gradient_step(net, params, [[2.0]], [3.0], eta=0.1)[0]
        >>> round(float(layer.b[0]), 9), round(float(layer.W[0, 0]), 9)
        (0.3, 0.6)
    """
    return gradient_descent(net, params, x, y, loss, eta, steps=1).params


@in_double_precision
def gradient_descent(
    net: MLP,
    params: Parameters,
    x: Float[ArrayLike, "N n0"],
    y: ArrayLike,
    loss: str | Loss | Callable = "mse",
    eta: ArrayLike = 1.0,
    steps: int = 100,
    batch_size: int | None = None,
    key: PRNGKeyArray | None = None,
    record: Callable[[Parameters], Any] | None = None,
    optimizer: optax.GradientTransformation | None = None,
) -> Training:
    """Train a network by (stochastic) gradient descent, PDLT (7.10), (7.11).

    Args:
        net: the network, with its learning rates lambda_b, lambda_W.
        params: its biases and weights; map this function over them with `jax.vmap` for many
            networks at once, inside `double_precision`.
        x: training inputs, shape (N, n_0).
        y: targets: (N, n_L), (N,) for one output, or classes for the cross-entropy.
        loss: "mse", "cross-entropy", or a function of (z, y) of one sample. Its sum over the batch
            is descended: smaller batches move less at the same eta.
        eta: learning rate; not with an optimizer of your own.
        steps: number of steps.
        batch_size: samples in a step, all by default. The batches of an epoch are a random
            partition of the samples; what does not fill a batch is left out of that epoch.
        key: random key, wanted with a batch size below N.
        record: a function of the parameters, evaluated before each step and after the last.
        optimizer: an Optax optimizer instead of gradient descent, for example one that has
            `tensorial_learning_rates(net)` in its chain.

    Returns:
        The trained parameters, the losses and the record.

    Raises:
        TypeError, ValueError: for bad data, parameters of other shapes, a bad loss, eta, batch
            size, or a missing key.

    Cost: `steps` passes forward and backward, compiled once, and one forward pass of all samples
    for the history.

    Example:
        >>> net = MLP.critical(widths=(2, 32, 1), activation="tanh")
        >>> x, y = [[1.0, 0.5], [-0.3, 0.8]], [0.5, -1.0]
        >>> run = gradient_descent(net, net.init(jax.random.key(1)), x, y, eta=0.1, steps=200)
        >>> bool(run.losses[-1] < 1e-3 * run.losses[0])
        True
    """
    check_parameters(net, params)
    x = check_inputs(x, net.widths[0])
    kind = loss_of(loss)
    y = check_targets(y, x.shape[0], net.widths[-1], kind)
    steps = check_count(steps, "steps", least=0)
    samples = x.shape[0]
    size = samples if batch_size is None else check_count(batch_size, "batch_size")
    if size > samples:
        raise ValueError(f"batch_size: wanted at most {samples} samples, got {size}.")
    if size < samples and key is None:
        raise ValueError("key: wanted a random key for batches smaller than the data, got None.")
    key = jax.random.key(0) if key is None else key
    return _train(net, params, x, y, kind, check_step(eta), key, steps, size, record, optimizer)


@eqx.filter_jit
def _train(
    net: MLP,
    params: Parameters,
    x: Float[Array, "N n0"],
    y: Array,
    loss: Loss,
    eta: Float[Array, ""],
    key: PRNGKeyArray,
    steps: int,
    size: int,
    record: Callable[[Parameters], Any] | None,
    optimizer: optax.GradientTransformation | None,
) -> Training:
    samples = x.shape[0]
    # Made here: a new one for each call would be compiled for each call.
    rule = _descent(net, eta) if optimizer is None else optimizer

    def of_batch(params: Parameters, rows: Array | None) -> Float[Array, ""]:
        x_now, y_now = (x, y) if rows is None else (x[rows], y[rows])
        return loss(net.apply(params, x_now), y_now)

    def look(params: Parameters) -> tuple[Float[Array, ""], Any]:
        return of_batch(params, None), None if record is None else record(params)

    def step(state: tuple[Parameters, Any], t: Array) -> tuple[tuple[Parameters, Any], Any]:
        params, memory = state
        seen = look(params)
        rows = None
        if size < samples:
            rows = batch_of_step(key, t, samples, size)
        gradients = jax.grad(of_batch)(params, rows)
        updates, memory = rule.update(gradients, memory, params)  # pyright: ignore[reportArgumentType]
        return (optax.apply_updates(params, updates), memory), seen  # pyright: ignore[reportReturnType, reportArgumentType]

    start = (params, rule.init(params))  # pyright: ignore[reportArgumentType]
    (params, _), seen = jax.lax.scan(step, start, jnp.arange(steps))
    history = jax.tree.map(
        lambda before, last: jnp.concatenate([before, jnp.asarray(last)[None]]), seen, look(params)
    )
    return Training(params, history[0], history[1])
