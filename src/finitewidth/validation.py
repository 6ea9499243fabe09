"""Checks of what a caller hands in: every message says what was got and what was wanted.

Checks look at values only when they are concrete. Inside `jax.jit`, `jax.grad` or `jax.vmap` a
value is not known yet, so only shapes are checked there.
"""

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

#: A squared pivot below this fraction of its diagonal entry is lost in rounding.
SINGULAR = 1e-13


def is_concrete(value: Any) -> bool:
    """Tell whether the numbers of `value` are known now (they are not under a JAX transform)."""
    return not isinstance(value, jax.core.Tracer)


def check_inputs(x: ArrayLike, n0: int | None = None, name: str = "x") -> Float[Array, "N n0"]:
    """Return the data as a double-precision array of shape (N, n0), or say what is wrong with it.

    Args:
        x: data, one sample a row; a vector counts as N samples of one feature only if n0 is 1.
        n0: the number of features that is wanted, if known.
        name: what to call the argument in a message.

    Returns:
        The data, shape (N, n0).

    Raises:
        TypeError: if `x` is not an array of numbers.
        ValueError: if it is empty, has the wrong shape or holds NaN or infinity.
    """
    if not isinstance(x, jax.Array):
        raw = np.asarray(x)
        if raw.dtype.kind not in "fiub":
            raise TypeError(f"{name}: wanted real numbers, got an array of type {raw.dtype}.")
    array = jnp.asarray(x, dtype=float)
    if array.ndim != 2:
        raise ValueError(
            f"{name}: wanted a matrix of shape (N samples, n0 features), got shape {array.shape}."
        )
    if 0 in array.shape:
        raise ValueError(f"{name}: wanted at least one sample and one feature, got {array.shape}.")
    if n0 is not None and array.shape[1] != n0:
        raise ValueError(
            f"{name}: wanted {n0} features, the input width of the network, got {array.shape[1]}."
        )
    # NumPy, not JAX: a concrete value may be met while a caller's function is being traced.
    if is_concrete(array) and not np.isfinite(np.asarray(array)).all():
        bad = int((~np.isfinite(np.asarray(array))).sum())
        raise ValueError(f"{name}: wanted finite numbers, got {bad} NaN or infinite entries.")
    return array


def check_widths(widths: Sequence[int]) -> tuple[int, ...]:
    """Return widths (n_0, ..., n_L) as a tuple of positive integers, or say what is wrong.

    Raises:
        TypeError: if a width is not a whole number.
        ValueError: if there are fewer than two widths or one is not positive.
    """
    widths = tuple(widths)
    if len(widths) < 2:
        raise ValueError(
            f"widths: wanted (n_0, n_1, ..., n_L), an input and at least one layer, got {widths}."
        )
    for width in widths:
        if isinstance(width, bool) or not isinstance(width, Integral):
            raise TypeError(f"widths: wanted whole numbers, got {width!r} in {widths}.")
        if width < 1:
            raise ValueError(f"widths: wanted positive widths, got {width} in {widths}.")
    return tuple(int(width) for width in widths)


def check_per_layer(value: ArrayLike, layers: int, name: str) -> Float[Array, " L"]:
    """Return a non-negative hyperparameter as an array with one entry per layer.

    Args:
        value: one number for all layers or one per layer.
        layers: number of layers L.
        name: what to call the argument in a message.

    Raises:
        ValueError: if the length is not 1 or L, or an entry is negative or not finite.
    """
    array = jnp.asarray(value, dtype=float)
    if array.shape not in ((), (1,), (layers,)):
        raise ValueError(
            f"{name}: wanted one number or one per layer ({layers}), got shape {array.shape}."
        )
    if is_concrete(array):
        values = np.asarray(array)
        if not np.isfinite(values).all():
            raise ValueError(f"{name}: wanted finite numbers, got {values.tolist()}.")
        if (values < 0).any():
            raise ValueError(
                f"{name}: wanted numbers >= 0 (a variance or a rate), got {values.tolist()}."
            )
    return jnp.broadcast_to(array, (layers,))


def check_outputs(y: ArrayLike, samples: int, outputs: int | None = None) -> Float[Array, "N n_L"]:
    """Return what a network should put out for N inputs, or say what is wrong with it.

    Args:
        y: real numbers, shape (N, n_L), or (N,) for one output.
        samples: number of inputs N.
        outputs: number of outputs n_L; as many as there are columns if None.

    Raises:
        TypeError: if `y` is not an array of numbers.
        ValueError: if it has the wrong shape or holds NaN or infinity.
    """
    array = np.asarray(y) if is_concrete(y) else y
    if array.dtype.kind not in "fiub":  # type: ignore[union-attr]
        raise TypeError(f"y: wanted real numbers, got an array of type {array.dtype}.")  # type: ignore[union-attr]
    got = np.shape(array)
    if outputs is None:
        outputs = got[1] if len(got) == 2 else 1
    wanted = (samples, outputs)
    if got != wanted and not (outputs == 1 and got == (samples,)):
        raise ValueError(
            f"y: wanted shape {wanted}, one row per input and one column per output, got shape "
            f"{got}."
        )
    if is_concrete(array) and not np.isfinite(array).all():  # type: ignore[call-overload]
        bad = int((~np.isfinite(array)).sum())  # type: ignore[call-overload]
        raise ValueError(f"y: wanted finite numbers, got {bad} NaN or infinite entries.")
    return jnp.asarray(array, dtype=float).reshape(wanted)


def check_variance(value: ArrayLike, name: str) -> Float[Array, ""]:
    """Return a variance as a scalar array, or say what is wrong with it.

    Raises:
        ValueError: if it is not one finite number >= 0.
    """
    variance = jnp.asarray(value, dtype=float)
    if variance.shape != ():
        raise ValueError(f"{name}: wanted one number, a variance, got shape {variance.shape}.")
    if is_concrete(variance) and not (np.isfinite(variance) and variance >= 0):
        raise ValueError(f"{name}: wanted a variance, finite and >= 0, got {float(variance)}.")
    return variance


def is_lost_in_rounding(root: Array | np.ndarray, scale: Array | np.ndarray) -> bool:
    """Tell whether a matrix is singular to rounding.

    Args:
        root: its Cholesky factor, with NaN if there is none, shape (N, N).
        scale: its diagonal, shape (N,).
    """
    pivots = np.diagonal(np.asarray(root)) ** 2
    return not (np.isfinite(root).all() and (pivots > SINGULAR * np.asarray(scale)).all())


def equal_inputs(x: Array | np.ndarray) -> tuple[int, int] | None:
    """Return the numbers of two rows that are equal, the first such pair, or None."""
    _, first, inverse = np.unique(np.asarray(x), axis=0, return_index=True, return_inverse=True)
    original = first[inverse.ravel()]
    twins = np.flatnonzero(original != np.arange(len(original)))
    return (int(original[twins[0]]), int(twins[0])) if len(twins) else None


def check_count(value: int, name: str, least: int = 1) -> int:
    """Return `value` as an integer not below `least`, or say what is wrong."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name}: wanted a whole number, got {value!r}.")
    if value < least:
        raise ValueError(f"{name}: wanted at least {least}, got {value}.")
    return int(value)


def check_layer(layer: int | None, depth: int) -> int:
    """Return the number of a layer, l = 1 .. L, the last one for None, or say which there are."""
    if layer is None:
        return depth
    layer = check_count(layer, "layer")
    if layer > depth:
        raise ValueError(f"layer: wanted one of 1..{depth}, got {layer}.")
    return layer
