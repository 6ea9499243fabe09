"""Train an ensemble of real networks: the experiment that chapter 10 is held against.

    theta <- theta - eta lambda dL_A/dtheta     until     max |dL_A/dz| <= tolerance,

PDLT (7.11), (8.6), (10.4), network by network; then mean and covariance over networks of the
outputs at test inputs, PDLT (10.40), (10.41). What is measured holds to all orders in 1/width.
"""

import os
import warnings
from collections.abc import Callable
from typing import Any, get_args

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from finitewidth.ensemble.checkpoint import Checkpoint
from finitewidth.ensemble.descent import Descent, Optimizer
from finitewidth.ensemble.linearized import (
    Linearization,
    OwnNTK,
    frozen_linearization,
    largest_curvature,
)
from finitewidth.ensemble.measure import as_key
from finitewidth.ensemble.stream import ProgressReport, fold, progress_report
from finitewidth.ensemble.trained import TrainedEnsemble, summarize
from finitewidth.ensemble.trainer import Trainer, choose_chunk, fingerprint
from finitewidth.network import MLP, Loss, loss_of, mean_squared_error
from finitewidth.network.descent import check_step
from finitewidth.network.losses import check_targets
from finitewidth.precision import in_double_precision
from finitewidth.validation import check_count, check_inputs


@in_double_precision
def train(
    net: MLP,
    x: Float[ArrayLike, "N n0"],
    y: ArrayLike,
    x_test: Float[ArrayLike, "N_test n0"],
    samples: int = 1000,
    key: int | PRNGKeyArray = 0,
    loss: str | Loss | Callable = "mse",
    optimizer: Optimizer = "gradient_descent",
    *,
    eta: ArrayLike | None = None,
    momentum: float = 0.9,
    batch_size: int = 1,
    tolerance: float = 1e-5,
    most_steps: int = 20_000,
    history: int = 1000,
    control_variate: str | Float[ArrayLike, "D D"] | None = None,
    chunk_size: int | None = None,
    progress: bool | ProgressReport = False,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_seconds: float = 2.0,
) -> TrainedEnsemble:
    """Draw networks, train each until it has converged, and look at its test outputs.

    Args:
        net: the network, with its learning rates lambda_b, lambda_W.
        x: training inputs, shape (N, n_0).
        y: targets: (N, n_L), (N,) for one output, or classes for the cross-entropy.
        x_test: test inputs, shape (N_test, n_0).
        samples: number of networks, at least 2.
        key: a random key, or a whole number to make one from. Network k of a key is the same
            whatever the optimizer, the chunk size and the number of networks are.
        loss: "mse", "cross-entropy", or a function of (z, y) of one sample; its sum over samples
            is descended, not its mean. Hard classes have no minimum and never converge.
        optimizer: "gradient_descent"; "sgd", whose batches are random partitions of the samples;
            "momentum", the heavy ball; "adam", whose step is multiplied by the learning-rate
            tensor after its own scaling.
        eta: learning rate. By default each network has its own, 1/lambda_max of its empirical NTK
            on the training inputs at initialization (2/lambda_max for the cross-entropy): half of
            where descent breaks. It must be given with "adam" or a loss of your own.
        momentum: decay of "momentum", 0 <= momentum < 1.
        batch_size: samples in a step of "sgd".
        tolerance: a network has converged when no |dL_A/dz| of the training inputs is larger (for
            "mse", no |z - y|). With 0 each takes exactly `most_steps` steps.
        most_steps: a network stops after so many steps, converged or not.
        history: number of steps whose loss is kept, at most `most_steps`.
        control_variate: compare each trained network with its linear prediction, PDLT (10.39),
            from its own NTK at initialization ("empirical") or from an NTK that is handed in, that
            of the training inputs and, after them, the test inputs, shape (D, D). Only for "mse".
        chunk_size: networks that are drawn together; chosen to fit memory if None.
        progress: show a progress bar, or a function called with (networks done, samples).
        checkpoint: file to keep the state in; if it exists, the run goes on from there and gives
            the same numbers to the last bit.
        checkpoint_seconds: least time between two writes of that file.

    Returns:
        Mean and covariance of the test outputs before and after, history of the loss, numbers of
        steps, fractions that did not converge or diverged, with standard errors.

    Raises:
        TypeError, ValueError: for bad data, a bad loss, optimizer, eta, tolerance or NTK, an eta
            that is missing, fewer than two networks that did not diverge, a checkpoint of another
            run, or a chunk that does not fit into memory.

    Warns:
        RuntimeWarning: if networks did not converge, or diverged and were left out.

    Accuracy: standard errors fall like 1/samples^(1/2); a converged network is within about
    `tolerance` of the end of training. The distance from infinite width is O(1/n) for smooth
    activations and O(1/n^(1/2)) for those with a kink.

    Cost: a pass forward and backward per network and step; all of it is one compiled loop.

    Example:
        >>> net = MLP.critical(widths=(2, 16, 16, 1), activation="tanh")
        >>> x, y, x_test = [[1.0, 0.5], [-0.3, 0.8]], [0.5, -1.0], [[0.4, 0.4]]
        >>> run = train(net, x, y, x_test, samples=100, key=1)
        >>> run.mean.value.shape, float(run.unconverged.value)
        ((1, 1), 0.0)
    """
    samples = check_count(samples, "samples", least=2)
    kept = trainer(
        net,
        x,
        y,
        x_test,
        loss,
        optimizer,
        eta=eta,
        momentum=momentum,
        batch_size=batch_size,
        tolerance=tolerance,
        most_steps=most_steps,
        history=history,
        control_variate=control_variate,
        chunk_size=chunk_size,
    )
    key = as_key(key)
    file = None if checkpoint is None else Checkpoint(checkpoint, fingerprint(kept, key))
    with progress_report(progress, samples) as report:
        _, state = fold(kept, key, samples, file, checkpoint_seconds, report)
    _report_failures(kept, state)
    prediction = kept.linearization
    limit = prediction.known_mean if prediction is not None else None
    return summarize(
        state,
        net.widths[-1],
        None if limit is None else np.asarray(limit),
        widths=net.widths,
        loss_name=kept.descent.loss.name,
        optimizer=optimizer,
        tolerance=float(kept.descent.tolerance),
        most_steps=int(kept.descent.most_steps),
    )


@in_double_precision
def trainer(
    net: MLP,
    x: Float[ArrayLike, "N n0"],
    y: ArrayLike,
    x_test: Float[ArrayLike, "N_test n0"],
    loss: str | Loss | Callable = "mse",
    optimizer: Optimizer = "gradient_descent",
    *,
    eta: ArrayLike | None = None,
    momentum: float = 0.9,
    batch_size: int = 1,
    tolerance: float = 1e-5,
    most_steps: int = 20_000,
    history: int = 1000,
    control_variate: str | Float[ArrayLike, "D D"] | None = None,
    chunk_size: int | None = None,
) -> Trainer:
    """Return what trains the networks of `train`, to look at them one by one.

    Args:
        net: as for `train`, like everything that follows.
        x: training inputs.
        y: targets.
        x_test: test inputs.
        loss: the loss.
        optimizer: the rule of a step.
        eta: learning rate.
        momentum: decay of "momentum".
        batch_size: samples in a step of "sgd".
        tolerance: of the error factor.
        most_steps: of a network.
        history: number of steps whose loss is kept.
        control_variate: the linear prediction.
        chunk_size: networks of a call.

    Returns:
        A trainer; its `networks(key, number)` returns the outputs of `chunk_size` networks.

    Raises:
        TypeError, ValueError: as for `train`.

    Example:
        >>> import jax
        >>> net = MLP.critical(widths=(2, 16, 1), activation="tanh")
        >>> pairs = trainer(net, [[1.0, 0.5]], [0.5], [[0.4, 0.4]], chunk_size=5)
        >>> pairs.networks(jax.random.key(0)).outputs.shape
        (5, 1, 1)
    """
    x, x_test = check_inputs(x, net.widths[0]), check_inputs(x_test, net.widths[0], "x_test")
    kind = loss_of(loss)
    y = check_targets(y, x.shape[0], net.widths[-1], kind)
    if optimizer not in get_args(Optimizer):
        raise ValueError(
            f"optimizer: wanted one of {', '.join(get_args(Optimizer))}, got {optimizer!r}."
        )
    if eta is None and (optimizer == "adam" or largest_curvature(kind, y) is None):
        raise ValueError(
            "eta: wanted a learning rate; the default is for gradient descent, sgd and momentum on "
            f"'mse' and 'cross-entropy' only, got {optimizer!r} on {kind.name!r}."
        )
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum: wanted 0 <= momentum < 1, got {momentum}.")
    if not 0 <= tolerance < np.inf:
        raise ValueError(f"tolerance: wanted a finite number >= 0, got {tolerance}.")
    batch_size = check_count(batch_size, "batch_size")
    if optimizer == "sgd" and batch_size > x.shape[0]:
        raise ValueError(f"batch_size: wanted at most {x.shape[0]} samples, got {batch_size}.")
    most_steps = check_count(most_steps, "most_steps", least=0)
    descent = Descent(
        x,
        y,
        kind,
        jnp.asarray(momentum, float),
        jnp.asarray(tolerance, float),
        jnp.asarray(most_steps),
        optimizer,
        batch_size,
        min(check_count(history, "history", least=0), most_steps),
    )
    prediction = _prediction(control_variate, y, x_test.shape[0], kind)
    if chunk_size is not None:
        chunk_size = check_count(chunk_size, "chunk_size")
    size = choose_chunk(net, descent, x_test.shape[0], chunk_size)
    step = None if eta is None else check_step(eta)
    return Trainer(net, x_test, descent, step, prediction, size)


def _prediction(
    wish: str | ArrayLike | None, y: Array, tests: int, loss: Loss
) -> Linearization | None:
    if wish is None:
        return None
    if loss is not mean_squared_error:
        raise ValueError(
            f"control_variate: the linear prediction is for 'mse', got the loss {loss.name!r}."
        )
    if isinstance(wish, str):
        if wish != "empirical":
            raise ValueError(f"control_variate: wanted 'empirical' or an NTK, got {wish!r}.")
        return OwnNTK()
    return frozen_linearization(wish, y, tests)


def _report_failures(kept: Trainer, state: dict[str, Any]) -> None:
    """Raise if the ensemble is lost, warn if a part of it is."""
    networks, left = int(state["diverged"].count), int(state["trained"].count)
    lost, descent = networks - left, kept.descent
    if left < 2:
        raise ValueError(
            f"eta: {lost} of {networks} networks diverged. Wanted a smaller learning rate, or None "
            "for one of each network's own."
        )
    if lost:
        warnings.warn(
            f"{lost} of {networks} networks diverged and are left out; a smaller eta, or None for "
            "one of each network's own, keeps them.",
            RuntimeWarning,
            stacklevel=4,
        )
    late = round(float(state["unconverged"].mean) * networks) - lost
    if late and float(descent.tolerance) > 0:
        warnings.warn(
            f"{late} of {networks} networks had not converged after {descent.most_steps} steps; "
            "they count with what they had become.",
            RuntimeWarning,
            stacklevel=4,
        )
