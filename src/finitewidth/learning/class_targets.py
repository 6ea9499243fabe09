r"""Targets of classification: smoothed labels, and what the squared error has to aim at instead.

    p_{i*} = 1 - s,   p_i = s/(n_L - 1) otherwise                       PDLT chapter 10, footnote 18

The cross-entropy to p ends at softmax z_A = p, which leaves the mean over outputs free. It is
frozen, since sum_i eps_i = 0, and so training ends at the outputs that the squared error reaches
with the targets

    y_{i;a} = log p_{i;a} + c_a,     c_a = (1/n_L) sum_i [z_{i;a}(0) - log p_{i;a}]
                                                                   derived, PDLT (10.36)-(10.38)

at infinite width, at test inputs too. Without c the softmax is the same, and outputs are shifted
by the same in all components. Hard labels, s = 0, have no end: outputs grow without bound.
"""

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from finitewidth.network.losses import check_targets, cross_entropy
from finitewidth.precision import in_double_precision
from finitewidth.validation import check_count, check_inputs, is_concrete


@in_double_precision
def smoothed_labels(
    classes: ArrayLike, count: int, smoothing: float = 0.1
) -> Float[Array, "N n_L"]:
    """Return probabilities of classes with some taken from the label, PDLT footnote 18.

    Args:
        classes: numbers of the classes, whole numbers from 0 on, shape (N,).
        count: number of classes n_L, at least 2.
        smoothing: s, what the other classes get together, 0 <= s < 1.

    Returns:
        Probabilities, targets for the cross-entropy, shape (N, n_L).

    Raises:
        ValueError: for classes that do not exist, fewer than two, or s out of range.

    Example:
        >>> smoothed_labels([2, 0], count=3, smoothing=0.2).round(9).tolist()
        [[0.1, 0.1, 0.8], [0.8, 0.1, 0.1]]
    """
    count = check_count(count, "count", least=2)
    if not (math.isfinite(smoothing) and 0 <= smoothing < 1):
        raise ValueError(f"smoothing: wanted a number from 0 to below 1, got {smoothing}.")
    numbers = np.asarray(classes)
    if numbers.ndim != 1 or numbers.dtype.kind not in "iu":
        raise ValueError(
            f"classes: wanted whole numbers, shape (N,), got {numbers.dtype} of shape "
            f"{numbers.shape}."
        )
    hard = check_targets(numbers, len(numbers), count, cross_entropy)
    return jnp.where(hard > 0, 1 - smoothing, smoothing / (count - 1))


@in_double_precision
def squared_error_targets(
    p: Float[ArrayLike, "N n_L"], initial: Float[ArrayLike, "N n_L"]
) -> Float[Array, "N n_L"]:
    """Return the targets with which the squared error ends where the cross-entropy does (derived).

    Args:
        p: probabilities, all positive and of sum 1 for each sample, shape (N, n_L).
        initial: outputs z_A before training, shape (N, n_L).

    Returns:
        y = log p + c, shape (N, n_L).

    Raises:
        ValueError: for probabilities that are not positive or do not sum to one, or outputs of
            another shape.

    Example:
        >>> import jax
        >>> y = squared_error_targets([[0.75, 0.25]], [[0.3, 0.1]])
        >>> jax.nn.softmax(y).round(9).tolist(), round(float(y.mean()), 9)
        ([[0.75, 0.25]], 0.2)
    """
    p = check_inputs(p, name="p")
    z = check_inputs(initial, p.shape[1], "initial")
    if z.shape != p.shape:
        raise ValueError(f"initial: wanted shape {p.shape}, got {z.shape}.")
    if is_concrete(p):
        values = np.asarray(p)
        if not (values > 0).all() or np.abs(values.sum(axis=1) - 1).max() > 1e-9:
            raise ValueError(
                "p: wanted positive probabilities that sum to 1 for each sample, got values from "
                f"{values.min():.3g} and sums from {values.sum(axis=1).min():.6g} to "
                f"{values.sum(axis=1).max():.6g}. Hard labels are never reached; see "
                "`smoothed_labels`."
            )
    aim = jnp.log(p)
    return aim + (z - aim).mean(axis=1, keepdims=True)
