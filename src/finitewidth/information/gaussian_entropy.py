r"""Entropy and information of Gaussian preactivations, the law of a layer at infinite width.

    S[z_1 .. z_m | D]   = (m/2) log |2 pi e K|                                         PDLT (A.26)
    I[z_+, z_-]         = (1/2) log K_++ K_-- / (K_++ K_-- - K_+-^2)                   PDLT (A.28)
                        = (1/2) log (1 + rho)^2/(4 rho),  rho = K_[2]/K_[0]            PDLT (A.29)
    I[A, B]             = (1/2) log |K_AA| |K_BB| / |K|   groups of inputs             PDLT (A.21)
    KL(1 | 2)           = (1/2) [tr K_2^-1 K_1 - N - log |K_1|/|K_2| + d K_2^-1 d]     PDLT (A.12)

with d the difference of the means. (A.29) is for equal norms, K_[0] and K_[2] the mean and the
difference parts of the kernel. Neurons are independent at infinite width, so a group of m has m
times the entropy and the information of one, and nothing is shared between neurons, PDLT (A.27).

Any covariance may stand for K: of the prior, of a posterior, or of an ensemble of trained networks.
The mean does not enter. Logarithms are natural; a differential entropy depends on the units of z
and may be negative, an information does not and may not.
"""

from collections.abc import Sequence

import jax.numpy as jnp
import jax.scipy.linalg as jsl
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from finitewidth.gaussian.covariance import check_covariance
from finitewidth.precision import in_double_precision
from finitewidth.validation import check_count

#: Eigenvalues of a matrix of correlations below this for each input are zero to rounding.
ROUNDING = 4e-16


@in_double_precision
def gaussian_entropy(K: ArrayLike, m: int = 1) -> Float[Array, "..."]:
    """Compute the entropy of m independent neurons on N inputs, (m/2) log|2 pi e K|, PDLT (A.26).

    Args:
        K: kernel, shape (..., N, N), or the variance of one input, shape ().
        m: number of neurons.

    Returns:
        The entropy in nats, shape (...); minus infinity for a singular kernel.

    Raises:
        ValueError: if K is not square, symmetric, finite and without negative eigenvalues, or m is
            not positive.

    Accuracy: rounding, times the condition number of K. Cost: N^3/3.

    Example:
        >>> round(float(gaussian_entropy(1.0)), 6), round(float(gaussian_entropy(1.0, m=3)), 6)
        (1.418939, 4.256816)
    """
    K = check_kernel(K, "K")
    inputs = K.shape[-1]
    return check_count(m, "m") * (inputs * jnp.log(2 * jnp.pi * jnp.e) + log_determinant(K)) / 2


@in_double_precision
def gaussian_divergence(
    K_1: ArrayLike, K_2: ArrayLike, mean_1: ArrayLike = 0.0, mean_2: ArrayLike = 0.0
) -> Float[Array, "..."]:
    """Compute the Kullback-Leibler divergence of N(mean_1, K_1) from N(mean_2, K_2), PDLT (A.12).

    (1/2) [tr K_2^-1 K_1 - N - log |K_1|/|K_2| + (mean_1 - mean_2) K_2^-1 (mean_1 - mean_2)].

    Args:
        K_1: covariance of the law that averages, shape (..., N, N).
        K_2: covariance of the other, shape (..., N, N), invertible.
        mean_1: mean, shape (..., N) or a number.
        mean_2: likewise.

    Returns:
        The divergence in nats, shape (...); infinite if K_1 is singular and K_2 is not.

    Raises:
        ValueError: as for `gaussian_entropy`.

    Example:
        >>> round(float(gaussian_divergence([[1.0]], [[2.0]])), 6)
        0.096574
    """
    K_1, K_2 = check_kernel(K_1, "K_1"), check_kernel(K_2, "K_2")
    K_1, K_2 = jnp.broadcast_arrays(K_1, K_2)
    inputs = K_1.shape[-1]
    shift = jnp.asarray(mean_1, dtype=float) - jnp.asarray(mean_2, dtype=float)
    shift = jnp.broadcast_to(shift, K_1.shape[:-1])[..., None]
    root = jnp.linalg.cholesky(K_2)
    rotated = jsl.solve_triangular(root, K_1, lower=True)
    trace = jnp.trace(
        jsl.solve_triangular(root, rotated.swapaxes(-1, -2), lower=True), axis1=-2, axis2=-1
    )
    distance = (jsl.solve_triangular(root, shift, lower=True) ** 2).sum((-1, -2))
    return (trace - inputs - log_determinant(K_1) + log_determinant(K_2) + distance) / 2


@in_double_precision
def input_mutual_information(
    K: ArrayLike,
    first: Sequence[int] | None = None,
    second: Sequence[int] | None = None,
) -> Float[Array, "..."]:
    """Compute how much a neuron's value on some inputs tells about its value on others.

    I = (1/2) log |K_AA| |K_BB| / |K_(A,B)|, for two inputs PDLT (A.28) and (A.29).

    Args:
        K: any covariance, shape (..., N, N): the kernels of all layers at once, a posterior
            covariance, the covariance of trained networks.
        first: the inputs of group A; input 0 by default.
        second: the inputs of group B; all that are not in A by default.

    Returns:
        The information in nats for one neuron, shape (...); infinite where one group determines
        something of the other (coincident inputs).

    Raises:
        ValueError: if K is no covariance or has one input, or the groups are empty, overlap or
            name inputs that do not exist.

    Accuracy: rounding, times the condition number of K; for two inputs 1e-16/(1 - correlation^2).

    Example:
        >>> K0, K2 = 0.9, 0.25  # equal norms K0 + K2, product K0 - K2
        >>> round(float(input_mutual_information([[K0 + K2, K0 - K2], [K0 - K2, K0 + K2]])), 6)
        0.192442
    """
    K = check_kernel(K, "K")
    inputs = K.shape[-1]
    one = check_group([0] if first is None else first, inputs, "first")
    rest = [a for a in range(inputs) if a not in one]
    two = check_group(rest if second is None else second, inputs, "second")
    if set(one) & set(two):
        raise ValueError(f"first, second: wanted different inputs, got {one} and {two}.")
    return _block(K, one) / 2 + _block(K, two) / 2 - _block(K, one + two) / 2


@in_double_precision
def input_tripartite_information(
    K: ArrayLike, groups: Sequence[Sequence[int]] = ((0,), (1,), (2,))
) -> Float[Array, "..."]:
    """Compute what three groups of inputs tell about one another together, PDLT (A.24).

    I_3 = S_A + S_B + S_C - S_AB - S_BC - S_CA + S_ABC: positive if B and C tell the same about A,
    negative if they tell more together than each alone.

    Args:
        K: any covariance, shape (..., N, N).
        groups: three groups of inputs.

    Returns:
        The information in nats for one neuron, shape (...).

    Raises:
        ValueError: if K is no covariance or the groups are not three that do not overlap.

    Example:
        >>> K = [[1.0, 0.5, 0.25], [0.5, 1.0, 0.5], [0.25, 0.5, 1.0]]  # a chain: redundant
        >>> round(float(input_tripartite_information(K)), 6)
        0.032269
    """
    K = check_kernel(K, "K")
    if len(groups) != 3:
        raise ValueError(f"groups: wanted three groups of inputs, got {len(groups)}.")
    A, B, C = (check_group(group, K.shape[-1], "groups") for group in groups)
    if len(set(A + B + C)) < len(A + B + C):
        raise ValueError(f"groups: wanted different inputs, got {A}, {B} and {C}.")
    single = _block(K, A) + _block(K, B) + _block(K, C)
    double = _block(K, A + B) + _block(K, B + C) + _block(K, C + A)
    return (single - double + _block(K, A + B + C)) / 2


def log_determinant(K: Float[Array, "*batch N N"]) -> Float[Array, "*batch"]:
    """Return log|K|, minus infinity where the matrix of correlations is singular to rounding."""
    variances = jnp.diagonal(K, axis1=-2, axis2=-1)
    alive = (variances > 0).all(-1)
    scale = jnp.sqrt(jnp.where(variances > 0, variances, 1.0))
    eigenvalues = jnp.linalg.eigvalsh(K / scale[..., :, None] / scale[..., None, :])
    regular = alive & (eigenvalues[..., 0] > ROUNDING * K.shape[-1])
    logs = jnp.log(jnp.where(regular[..., None], eigenvalues, 1.0)).sum(-1)
    return jnp.where(regular, logs + 2 * jnp.log(scale).sum(-1), -jnp.inf)


def check_kernel(K: ArrayLike, name: str) -> Float[Array, "*batch N N"]:
    """Return covariance matrices, a number as a matrix of one entry, or say what is wrong."""
    array = jnp.asarray(K, dtype=float)
    return check_covariance(array[None, None] if array.ndim == 0 else array, name)


def check_group(group: Sequence[int], inputs: int, name: str) -> list[int]:
    """Return a group of input numbers as a list, or say what is wrong with it."""
    numbers = [check_count(a, name, least=0) for a in group]
    if not numbers or max(numbers) >= inputs or len(set(numbers)) < len(numbers):
        raise ValueError(
            f"{name}: wanted different inputs from 0 to {inputs - 1}, at least one, got {numbers}."
        )
    return numbers


def _block(K: Float[Array, "*batch N N"], group: list[int]) -> Float[Array, "*batch"]:
    at = np.asarray(group)
    return log_determinant(K[..., at[:, None], at])
