r"""Losses and their error factors, the derivative of the loss by the outputs.

    L_A = sum_alpha L(z_alpha, y_alpha),    eps_{i;alpha} = dL_A/dz_{i;alpha}     PDLT (7.4), (7.16)

The sum runs over the samples and is not divided by their number: with a mean over N samples the
same learning rate moves N times less.

    mean squared error   L = (1/2) sum_i (z_i - y_i)^2,      eps = z - y          PDLT (7.2), (7.15)
    cross-entropy        L = -sum_i y_i log p_i,  p = softmax z,
                         eps = p sum_i y_i - y                                           PDLT (6.11)
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from finitewidth.precision import in_double_precision
from finitewidth.validation import check_outputs, is_concrete


class Loss(eqx.Module):
    """A loss of one sample, L(z, y), and its sum over samples.

    Attributes:
        of_sample: takes outputs (n_L,) and a target to a number; differentiable in the outputs.
        name: what to call it.
    """

    of_sample: Callable[[Array, Array], Array] = eqx.field(static=True)
    name: str = eqx.field(static=True)

    @in_double_precision
    def __call__(self, z: ArrayLike, y: ArrayLike) -> Float[Array, ""]:
        """Return L_A, the sum over samples.

        Args:
            z: outputs, shape (N, n_L).
            y: targets, shape (N, ...).

        Returns:
            A number.
        """
        return jax.vmap(self.of_sample)(jnp.asarray(z, dtype=float), jnp.asarray(y)).sum()

    @in_double_precision
    def error_factor(self, z: ArrayLike, y: ArrayLike) -> Float[Array, "N n_L"]:
        """Return eps_{i;alpha} = dL_A/dz_{i;alpha}, PDLT (7.16).

        Args:
            z: outputs, shape (N, n_L).
            y: targets, shape (N, ...).

        Returns:
            The error factor, samples first, shape (N, n_L).

        Example:
            >>> loss_of("mse").error_factor([[1.0, 2.0]], [[0.0, 2.5]]).tolist()
            [[1.0, -0.5]]
        """
        return jax.vmap(jax.grad(self.of_sample))(jnp.asarray(z, dtype=float), jnp.asarray(y))

    def __repr__(self) -> str:
        return f"Loss({self.name})"


def _squared_error(z: Float[Array, " n_L"], y: Float[Array, " n_L"]) -> Float[Array, ""]:
    return ((z - y) ** 2).sum() / 2


def _cross_entropy(z: Float[Array, " n_L"], y: Float[Array, " n_L"]) -> Float[Array, ""]:
    return -(y * jax.nn.log_softmax(z)).sum()


mean_squared_error = Loss(_squared_error, "mse")
cross_entropy = Loss(_cross_entropy, "cross-entropy")

_NAMES = {"mse": mean_squared_error, "cross-entropy": cross_entropy}


def loss_of(loss: str | Loss | Callable) -> Loss:
    """Return a loss from its name or from a function of one sample.

    Args:
        loss: "mse", "cross-entropy", a `Loss`, or a JAX function of (z, y) of one sample, where z
            has shape (n_L,) and the result is a number.

    Returns:
        The loss.

    Raises:
        ValueError: for an unknown name.
        TypeError: for something that is neither.

    Example:
        >>> import jax.numpy as jnp
        >>> huber = loss_of(lambda z, y: jnp.sum(jnp.sqrt(1 + (z - y) ** 2) - 1))
        >>> round(float(huber([[0.0], [2.0]], [[0.0], [0.0]])), 6)
        1.236068
    """
    if isinstance(loss, Loss):
        return loss
    if isinstance(loss, str):
        if loss not in _NAMES:
            raise ValueError(f"loss: wanted one of {', '.join(_NAMES)}, got {loss!r}.")
        return _NAMES[loss]
    if callable(loss):
        return Loss(loss, getattr(loss, "__name__", "loss"))
    raise TypeError(f"loss: wanted a name, a Loss or a function of (z, y), got {loss!r}.")


def check_targets(y: Any, samples: int, outputs: int, loss: Loss) -> Array:
    """Return targets of N samples as an array, or say what is wrong with them.

    For the mean squared error shape (N, n_L), or (N,) for one output. For the cross-entropy a
    probability for each class, shape (N, n_L), or the numbers of the classes, shape (N,) of
    integers. For other losses anything with N rows.
    """
    array = np.asarray(y) if is_concrete(y) else y
    if np.ndim(array) == 0 or np.shape(array)[0] != samples:
        raise ValueError(f"y: wanted {samples} targets, got shape {np.shape(array)}.")
    if loss is mean_squared_error or loss is cross_entropy:
        if loss is cross_entropy and np.ndim(array) == 1 and array.dtype.kind in "iu":
            if is_concrete(y) and (array.min() < 0 or array.max() >= outputs):
                raise ValueError(
                    f"y: wanted classes from 0 to {outputs - 1}, got {array.min()}..{array.max()}."
                )
            return jax.nn.one_hot(array, outputs, dtype=float)
        return check_outputs(y, samples, outputs)
    targets = jnp.asarray(array)
    if is_concrete(targets) and not np.isfinite(np.asarray(targets, dtype=float)).all():
        raise ValueError("y: wanted finite targets, got NaN or infinity.")
    return targets
