"""Gaussian integrals and moments: partition function, generating function, Wick's theorem.

    I_K = |2 pi K|^(1/2)                                                  PDLT (1.30)
    Z_{K,J} / I_K = <exp(J.z)>_K = exp(J^T K J / 2)                       PDLT (1.41)
    <z_1 ... z_2m>_K = sum over pairings of prod K_{ab}                   PDLT (1.45)

The sum has (2m-1)!! terms. With integration by parts and memory over multiplicities t,

    <z_i z^t>_K = sum_j t_j K_ij <z^(t - e_j)>_K,

a moment costs at most prod_j (t_j + 1) states.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from finitewidth.gaussian.covariance import ROUNDING, check_covariance
from finitewidth.precision import in_double_precision
from finitewidth.validation import check_count, is_concrete


@in_double_precision
def log_partition_function(K: ArrayLike, J: ArrayLike | None = None) -> Float[Array, ""]:
    """Compute the logarithm of the Gaussian partition function, with or without a source.

    PDLT (1.30), (1.41): log Z_{K,J} = log|2 pi K| / 2 + J^T K J / 2.

    Args:
        K: covariance, shape (N, N).
        J: source, shape (N,); none means zero.

    Returns:
        The logarithm, a scalar; minus infinity if K is singular to rounding (an
        eigenvalue below 1e-14 of the largest). Cost O(N^3).

    Raises:
        ValueError: if K is not a covariance or J does not fit it.

    Example:
        >>> round(float(log_partition_function([[1.0]])), 12)  # log(2 pi) / 2
        0.918938533205
    """
    K = check_covariance(K)
    eigenvalues = jnp.linalg.eigvalsh(jax.lax.stop_gradient(K))
    singular = eigenvalues[0] <= ROUNDING * eigenvalues[-1]
    log_determinant = jnp.where(singular, -jnp.inf, jnp.linalg.slogdet(2 * jnp.pi * K)[1])
    return log_determinant / 2 + (0.0 if J is None else _source_term(K, J))


@in_double_precision
def generating_function(K: ArrayLike, J: ArrayLike) -> Float[Array, ""]:
    """Compute <exp(J.z)>_K, whose derivatives with respect to J at 0 are the moments.

    PDLT (1.41), normalized by (1.30): exp(J^T K J / 2).

    Args:
        K: covariance, may be singular, shape (N, N).
        J: source, shape (N,).

    Returns:
        A scalar.

    Raises:
        ValueError: if K is not a covariance or J does not fit it.

    Example:
        >>> round(float(generating_function([[2.0]], [1.0])), 9)  # e
        2.718281828
    """
    return jnp.exp(_source_term(check_covariance(K), J))


def _source_term(K: Float[Array, "N N"], J: ArrayLike) -> Float[Array, ""]:
    J = jnp.asarray(J, dtype=float)
    if K.ndim != 2 or J.shape != K.shape[:1]:
        raise ValueError(
            f"J: wanted shape (N,) beside a matrix K (N, N), got {J.shape} beside {K.shape}."
        )
    return J @ K @ J / 2


def number_of_pairings(points: int) -> int:
    """Count the ways to join points in pairs: (M-1)!! for even M, none for odd M.

    PDLT (1.15): (2m-1)!! = (2m)! / (2^m m!).

    Args:
        points: the number of points M >= 0.

    Returns:
        The number of perfect pairings.

    Example:
        >>> [number_of_pairings(2 * m) for m in (1, 2, 3, 4)]
        [1, 3, 15, 105]
    """
    points = check_count(points, "points", least=0)
    return 0 if points % 2 else prod(range(1, points, 2))


def pairings(points: int) -> Iterator[tuple[tuple[int, int], ...]]:
    """Enumerate the perfect pairings of `points` slots, the terms of Wick's theorem.

    Meant for looking at the terms of PDLT (1.45); `wick_moment` does not need them.

    Args:
        points: the number of slots M >= 0.

    Yields:
        One pairing at a time, as pairs (a, b) with a < b.

    Example:
        >>> for pairing in pairings(4):
        ...     print(pairing)
        ((0, 1), (2, 3))
        ((0, 2), (1, 3))
        ((0, 3), (1, 2))
    """
    yield from _pairings(tuple(range(check_count(points, "points", least=0))))


def _pairings(slots: tuple[int, ...]) -> Iterator[tuple[tuple[int, int], ...]]:
    if not slots:
        yield ()
        return
    first, rest = slots[0], slots[1:]
    for k, partner in enumerate(rest):
        for others in _pairings(rest[:k] + rest[k + 1 :]):
            yield ((first, partner), *others)


@in_double_precision
def wick_moment(K: ArrayLike, indices: Sequence[int]) -> Float[Array, "*batch"]:
    """Compute the Gaussian moment <z_{i1} z_{i2} ... z_{iM}>_K.

    PDLT (1.45), the sum over all pairings, exactly (up to rounding).

    Args:
        K: covariance, may be singular, shape (..., N, N).
        indices: i1, ..., iM, in any order, with repetitions.

    Returns:
        The moment, shape (...); zero for odd M, one for no indices. Differentiable in K. Cost: at
        most prod (multiplicity + 1) states, instead of (M-1)!! terms.

    Raises:
        ValueError: if K is not a covariance or an index is not one of its rows.

    Example:
        >>> float(wick_moment([[1.0, 0.5], [0.5, 1.0]], (0, 0, 1, 1)))  # 1 + 2 * 0.5^2
        1.5
        >>> float(wick_moment([[2.0]], (0,) * 6))  # 15 K^3
        120.0
    """
    K = check_covariance(K)
    indices = _check_indices(indices, K.shape[-1])
    # Plain numbers are much faster than JAX scalars, where nobody differentiates.
    entries = np.asarray(K) if is_concrete(K) else K
    if len(indices) % 2:
        return jnp.zeros(K.shape[:-2])
    counts = Counter(indices)
    labels = sorted(counts)
    memory: dict[tuple[int, ...], Any] = {(0,) * len(labels): np.ones(K.shape[:-2])}

    def moment(powers: tuple[int, ...]) -> Any:
        if powers in memory:
            return memory[powers]
        first = next(k for k, power in enumerate(powers) if power)
        lowered = list(powers)
        lowered[first] -= 1
        total = 0.0
        for k, power in enumerate(lowered):
            if power:
                rest = tuple(p - (j == k) for j, p in enumerate(lowered))
                total = total + power * entries[..., labels[first], labels[k]] * moment(rest)
        memory[powers] = total
        return total

    return jnp.asarray(moment(tuple(counts[label] for label in labels)))


@in_double_precision
def wick_tensor(K: ArrayLike, order: int) -> Float[Array, "..."]:
    """Compute all Gaussian moments of one order, <z_{i1} ... z_{iM}>_K for every choice.

    PDLT (1.45): T_{i1...iM} = sum_k K_{i1 ik} T_{the others}.

    Args:
        K: covariance, may be singular, shape (N, N).
        order: M >= 0.

    Returns:
        A totally symmetric tensor, shape (N,) * M. Cost O(M^2 N^M).

    Raises:
        ValueError: if K is not a covariance or the order is negative.

    Example:
        >>> wick_tensor([[1.0, 0.5], [0.5, 1.0]], 4)[0, 0].tolist()
        [[3.0, 1.5], [1.5, 1.5]]
    """
    K = check_covariance(K)
    order = check_count(order, "order", least=0)
    if K.ndim != 2:
        raise ValueError(f"K: wanted one matrix of shape (N, N), got shape {K.shape}.")
    if order % 2:
        return jnp.zeros(K.shape[:1] * order)
    tensor = jnp.ones(())
    for rank in range(2, order + 1, 2):
        # Axes of the product are (i1, ik, others); move ik to its place among them.
        product = jnp.tensordot(K, tensor, axes=0)
        tensor = jnp.stack([jnp.moveaxis(product, 1, k) for k in range(1, rank)]).sum(axis=0)
    return tensor


def _check_indices(indices: Sequence[int], variables: int) -> tuple[int, ...]:
    checked = tuple(check_count(index, "indices", least=0) for index in indices)
    for index in checked:
        if index >= variables:
            raise ValueError(
                f"indices: wanted numbers from 0 to {variables - 1}, one per variable, got {index}."
            )
    return checked
