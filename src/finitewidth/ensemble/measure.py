"""Measure an ensemble of real networks: the experiment that the theory is held against.

    E[O] = mean over networks of O,    standard error = spread over networks / sqrt(networks).

The ensemble is a stream of chunks, each a pure function of (key, chunk number). Chunks are spread
over all local devices and folded in the order of their numbers, so the same key gives the same
numbers however many devices there are and however often the run was interrupted.
"""

import os
from collections.abc import Sequence
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Float, PRNGKeyArray

from finitewidth.ensemble.checkpoint import Checkpoint, fingerprint
from finitewidth.ensemble.chunk import Method, Sampler, choose_chunk_size
from finitewidth.ensemble.control_variates import LayerMap, NtkLayerMap
from finitewidth.ensemble.draw import Detail
from finitewidth.ensemble.estimate import Estimate, Measurement
from finitewidth.ensemble.observable import Observable
from finitewidth.ensemble.observables import ARGUMENTS, build_observables
from finitewidth.ensemble.stream import ProgressReport, fold, progress_report
from finitewidth.network import MLP
from finitewidth.precision import in_double_precision
from finitewidth.validation import check_count, check_inputs


@in_double_precision
def measure(
    net: MLP,
    x: Float[ArrayLike, "N n0"],
    observables: str | Sequence[str] = ("metric", "vertex"),
    samples: int = 10_000,
    key: int | PRNGKeyArray = 0,
    method: Method = "weights",
    *,
    chunk_size: int | None = None,
    progress: bool | ProgressReport = False,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_seconds: float = 2.0,
    control_variate: Sequence[LayerMap] | None = None,
    ntk_control_variate: Sequence[NtkLayerMap] | None = None,
) -> Measurement:
    """Sample many networks and measure observables of every layer, with standard errors.

    With G the stochastic metric of a layer, PDLT (4.70): `metric` is E[G], `vertex` is
    n_{l-1} Cov(G_12, G_34), PDLT (4.76), `metric_cumulant3` is n_{l-1}^2 times the third
    cumulant of G, PDLT (4.59), and `nlo_metric` is n_{l-1} (E[G] - K), PDLT (4.104). Of the
    empirical NTK H and neurons i, j that differ, `ntk` is E[H_ii], PDLT (8.27), `nlo_ntk` is
    n_{l-1} (E[H_ii] - Theta), `D` is n_{l-1} E[z_i1 z_i2 (H_jj;34 - E[H])], PDLT (8.67), `F` is
    n_{l-1} E[z_i1 z_j2 H_ij;34] in the order [1, 3, 2, 4], `A` is n_{l-1} Cov(H_ii;12, H_jj;34)
    and `B` is n_{l-1} E[H_ij;12 H_ij;34] in the order [1, 3, 2, 4], PDLT (8.82). All are what
    networks of these widths do, to all orders in 1/n.

    Args:
        net: the network.
        x: inputs, shape (N, n0).
        observables: names out of `observable_names()`.
        samples: number of networks.
        key: a random key, or a whole number to make one from. Runs with the same key and
            chunk size are the same; more samples continue the stream of fewer.
        method: `"weights"` draws every weight; `"chain"` draws preactivations layer by layer,
            the same law for Gaussian weights and far cheaper when N << n (nothing of the NTK).
        chunk_size: networks drawn at once; chosen to fit the processor's cache if None.
        progress: show a progress bar, or a function called with (networks done, samples).
        checkpoint: file to keep the state in; if it exists, the run goes on from there.
        checkpoint_seconds: least time between two writes of that file.
        control_variate: layer maps F_1, ..., F_{L-1} (F_l takes batches of metrics of layer l to
            the mean metric of layer l+1, differentiable); adds the observable `nlo_metric`.
        ntk_control_variate: layer maps of metric and NTK together (Phi_l takes batches (G, M) of
            metrics and NTKs of layer l to the means of layer l+1); adds `nlo_ntk` and
            `nlo_metric`.

    Returns:
        Estimates by name, shapes (L, N, N), (L, N, N, N, N) for `vertex`, `A`, `B`, `D`, `F`, and
        six sample axes for `metric_cumulant3`; entry 0 is layer 1, which is the same in every
        network.

    Raises:
        TypeError, ValueError: for bad inputs, an unknown observable or method, fewer than two
            samples, weights that are not Gaussian with `"chain"` or control variates, orthogonal
            weights with `A`, `B`, `D`, `F`, a checkpoint of another run or one that cannot be
            written, or a network whose metric overflows.

    Example:
        >>> from finitewidth.network import MLP
        >>> net = MLP(widths=(2, 32, 32, 1), activation="relu", C_W=2.0)
        >>> m = measure(net, [[1.0, 0.5]], samples=2000, key=1, method="chain")
        >>> m.vertex.value.shape  # V = (l - 1) 5 K^2 for ReLU, PDLT (5.120)
        (3, 1, 1, 1, 1)
    """
    x = check_inputs(x, net.widths[0])
    chosen = build_observables(observables, control_variate, ntk_control_variate)
    samples = check_count(
        samples, "samples", least=max(2, *(2 if o.order < 3 else 3 for o in chosen))
    )
    _check_method(net, method, chosen)
    for argument, maps in zip(
        ARGUMENTS.values(), (control_variate, ntk_control_variate), strict=True
    ):
        if maps is not None and len(maps) != net.depth - 1:
            raise ValueError(
                f"{argument}: wanted {net.depth - 1} layer maps, one between every two layers, "
                f"got {len(maps)}."
            )
    if chunk_size is not None:
        chunk_size = check_count(chunk_size, "chunk_size")
    size = choose_chunk_size(net, x.shape[0], chosen, method, chunk_size)
    key = as_key(key)
    sampler = Sampler(net, x, chosen, None, method, size)
    file = None if checkpoint is None else Checkpoint(checkpoint, fingerprint(sampler, key))
    with progress_report(progress, samples) as report:
        sampler, state = fold(sampler, key, samples, file, checkpoint_seconds, report)
    fan_in = np.asarray(net.widths[:-1], dtype=float)
    estimates = {
        o.name: o.estimate(state[o.name], fan_in, jax.device_get(sampler.reference)) for o in chosen
    }
    for name, estimate in estimates.items():
        _check_finite(name, estimate)
    return Measurement(estimates, method, net.widths)


def _check_method(net: MLP, method: str, observables: tuple[Observable, ...]) -> None:
    methods = get_args(Method)
    if method not in methods:
        raise ValueError(f"method: wanted one of {', '.join(methods)}, got {method!r}.")
    for observable in observables:
        if net.law not in observable.laws:
            raise ValueError(
                f"law: {observable.name} is measured by averages over one layer of weights that "
                f"hold for {', '.join(observable.laws)} weights only, got {net.law!r}."
            )
    if method != "chain":
        return
    if net.law != "gaussian":
        raise ValueError(
            "method: the chain is exact for Gaussian weights only; wanted law 'gaussian' or "
            f"method 'weights', got law {net.law!r}."
        )
    for observable in observables:
        if observable.detail > Detail.METRIC:
            raise ValueError(
                f"method: {observable.name} needs weights; wanted method 'weights', got 'chain'."
            )


def as_key(key: int | PRNGKeyArray) -> PRNGKeyArray:
    """Return a random key made from a key or a whole number, or say what is wrong with it."""
    if isinstance(key, jax.Array):
        if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and key.shape == ():
            return key
        if key.dtype == np.uint32 and key.ndim == 1:
            return jax.random.wrap_key_data(key)
        raise TypeError(
            f"key: wanted one random key or a whole number, got an array of type {key.dtype} "
            f"and shape {key.shape}."
        )
    return jax.random.key(check_count(key, "key", least=0))


def _check_finite(name: str, estimate: Estimate) -> None:
    layers = np.isfinite(estimate.value).reshape(len(estimate.value), -1).all(axis=1)
    if not layers.all():
        raise ValueError(
            f"{name}: not finite from layer {int(np.argmin(layers)) + 1} on: signals overflow with "
            "depth. Wanted C_W and C_b nearer to criticality, or fewer layers."
        )
