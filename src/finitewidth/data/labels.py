r"""Labels of samples: classes or real numbers, their targets, and draws that tell them apart.

A class $c_\alpha\in\{1,\dots,k\}$ becomes the target

$$y_{i;\alpha} = \delta_{i c_\alpha} - \frac1k,$$

centred so that its sum over outputs vanishes: a network at initialization has mean zero and no
output is preferred. Real numbers are targets as they are.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import ArrayLike, Float, Int

from finitewidth.validation import check_count

#: Whole numbers that tell classes apart, shape (N,), or real targets, shape (N, k).
Labels = Int[np.ndarray, " N"] | Float[np.ndarray, "N k"]


def check_labels(y: ArrayLike, samples: int, name: str = "labels") -> Labels:
    """Return labels as classes or as real numbers, or say what is wrong with them.

    Args:
        y: whole numbers (or truth values) of shape (N,), which are classes; real numbers of shape
            (N,) or numbers of shape (N, k), which are targets.
        samples: the number of samples N.
        name: what to call the labels in a message.

    Returns:
        Classes, shape (N,), or real numbers in double precision, shape (N, k).

    Raises:
        TypeError: if they are not numbers.
        ValueError: if there is not one row for every sample, or an entry is not finite.

    Example:
        >>> check_labels([3, 1], 2), check_labels([0.5, 1.0], 2).shape
        (array([3, 1]), (2, 1))
    """
    array = np.asarray(y)
    if array.dtype.kind not in "fiub":
        raise TypeError(
            f"{name}: wanted whole numbers for classes or real numbers, got an array of type "
            f"{array.dtype}."
        )
    if array.ndim not in (1, 2) or array.shape[-1] == 0:
        raise ValueError(
            f"{name}: wanted shape (N,) or (N, k), one row per sample, got shape {array.shape}."
        )
    if len(array) != samples:
        raise ValueError(
            f"{name}: wanted one row for each of the {samples} samples in x, got {len(array)}."
        )
    if array.ndim == 1 and array.dtype.kind != "f":
        return array.astype(np.int64)
    array = array.astype(float)
    if not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).sum())
        raise ValueError(f"{name}: wanted finite numbers, got {bad} NaN or infinite entries.")
    return array[:, None] if array.ndim == 1 else array


def centred_one_hot(
    classes: Int[ArrayLike, " N"], among: Sequence[int] | None = None
) -> Float[np.ndarray, "N k"]:
    """Return targets of 1 - 1/k for the class of a sample and -1/k for the others.

    Args:
        classes: the class of every sample, shape (N,).
        among: the k classes, in the order of the outputs; those that occur, sorted, if None.

    Returns:
        The targets, shape (N, k); every row sums to zero.

    Raises:
        TypeError: if the classes are not whole numbers.
        ValueError: if they are not a vector, or one of them is not `among` the classes.

    Example:
        >>> centred_one_hot([7, 2]).tolist()
        [[-0.5, 0.5], [0.5, -0.5]]
    """
    array = np.asarray(classes)
    if array.dtype.kind not in "iub":
        raise TypeError(f"classes: wanted whole numbers, got an array of type {array.dtype}.")
    if array.ndim != 1 or len(array) == 0:
        raise ValueError(f"classes: wanted shape (N,), one per sample, got shape {array.shape}.")
    outputs = np.unique(array) if among is None else np.asarray(among)
    unknown = np.setdiff1d(array, outputs)
    if len(unknown):
        raise ValueError(
            f"classes: got {unknown[0]}, wanted one of {', '.join(map(str, outputs.tolist()))}."
        )
    return (array[:, None] == outputs) - 1.0 / len(outputs)


def draw_unlike(labels: Labels, samples: int, seed: int = 0) -> Int[np.ndarray, " n"]:
    """Draw samples at random without replacement, of as many classes as there can be.

    A random order is gone through again and again; every round takes the first sample that is left
    of every class. Real labels are all taken to be different.

    Args:
        labels: labels of all samples, as `check_labels` returns them.
        samples: how many to draw.
        seed: seed of the draw; more samples of one seed start with fewer of it.

    Returns:
        The numbers of the drawn samples, shape (samples,).

    Raises:
        TypeError, ValueError: if `samples` is not a whole number from 1 to the number of samples.

    Example:
        >>> classes = np.array([0] * 10 + [1] * 10)
        >>> sorted(classes[draw_unlike(classes, 4)].tolist())
        [0, 0, 1, 1]
    """
    samples = check_count(samples, "samples")
    if samples > len(labels):
        raise ValueError(f"samples: got {samples}, wanted at most the {len(labels)} with labels.")
    order = np.random.default_rng(check_count(seed, "seed", least=0)).permutation(len(labels))
    if labels.ndim == 2:
        return order[:samples]
    # How many of its class come before a sample: that is the round in which it is taken.
    rounds = np.empty(len(order), dtype=int)
    for one in np.unique(labels):
        members = labels[order] == one
        rounds[members] = np.arange(members.sum())
    return order[np.argsort(rounds, kind="stable")[:samples]]
