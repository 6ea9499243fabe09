r"""One step down a loss: the learning-rate tensor, the learning rate, the batch of a step.

    b^(l) <- b^(l) - eta lambda_b^(l) dL/db^(l),
    W^(l) <- W^(l) - eta (lambda_W^(l)/n_{l-1}) dL/dW^(l)             PDLT (7.8), (7.11), (8.6)

with L the sum over the samples of a batch. The tensor is an Optax transformation of gradients, so
that it can stand before or after any other.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, ArrayLike, Float, Int, PRNGKeyArray

from finitewidth.network.mlp import MLP, Parameters
from finitewidth.validation import is_concrete


def tensorial_learning_rates(net: MLP) -> optax.GradientTransformation:
    """Return the learning-rate tensor of a network as an Optax transformation, PDLT (8.6).

    It multiplies gradients by lambda_b^(l) and lambda_W^(l)/n_{l-1}; -eta is not in it.

    Args:
        net: the network.

    Returns:
        A transformation of trees of the shape of `net.init(key)`, without state.

    Example:
        >>> import optax
        >>> net = MLP(widths=(3, 8, 1), activation="relu", C_W=2.0)
        >>> optimizer = optax.chain(
        ...     tensorial_learning_rates(net), optax.trace(decay=0.9), optax.scale(-0.1)
        ... )
    """

    def scaled(gradients: Parameters, params: Parameters | None = None) -> Parameters:
        del params
        return tuple(
            type(layer)(layer.b * lambda_b, layer.W * (lambda_W / n_in))
            for layer, lambda_b, lambda_W, n_in in zip(
                gradients, net.lambda_b, net.lambda_W, net.widths[:-1], strict=True
            )
        )

    return optax.stateless(scaled)  # pyright: ignore[reportArgumentType]


def check_step(eta: ArrayLike) -> Float[Array, ""]:
    """Return a learning rate, or say that it is no finite number >= 0."""
    step = jnp.asarray(eta, dtype=float)
    if step.ndim:
        raise ValueError(f"eta: wanted one number, got shape {step.shape}.")
    if is_concrete(step) and not (np.isfinite(step) and step >= 0):
        raise ValueError(f"eta: wanted a finite learning rate >= 0, got {eta}.")
    return step


def batch_of_step(
    key: PRNGKeyArray, step: Int[Array, ""], samples: int, size: int
) -> Int[Array, " size"]:
    """Return the samples of a step: the batches of an epoch are a random partition of them.

    What does not fill a batch is left out of that epoch.

    Args:
        key: the key of the run.
        step: number of the step, from 0 on.
        samples: number of samples N.
        size: samples in a batch, at most N.

    Returns:
        Numbers of samples, all different; a pure function of the key and the step.

    Example:
        >>> key = jax.random.key(0)
        >>> epoch = [batch_of_step(key, step, 4, 2) for step in (0, 1)]
        >>> sorted(jnp.concatenate(epoch).tolist())
        [0, 1, 2, 3]
    """
    batches = samples // size
    order = jax.random.permutation(jax.random.fold_in(key, step // batches), samples)
    return jax.lax.dynamic_slice_in_dim(order, (step % batches) * size, size)
