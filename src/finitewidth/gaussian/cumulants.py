"""Moments and connected correlators (joint cumulants), by algebra and from samples.

    E[z_1 ... z_M] = sum over set partitions of prod_B kappa(z_B)                    PDLT (1.56)
    kappa(z_1 ... z_M) = sum over partitions of (-1)^(p-1) (p-1)! prod_B E[z_B]      its inverse
    kappa_m = mu_m - sum_{k<m} binom(m-1, k-1) kappa_k mu_{m-k}                      one variable

Scale mixtures. Every output of a random network on one input is Gaussian given its random
variance S. The connected 2m-point tensor of such a law is the sum over pairings times the m-th
*ordinary* cumulant of the scalar S; `scale_mixture_cumulants` is that statement for one component.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from math import comb, factorial
from typing import Any, TypeVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from finitewidth.gaussian.wick import number_of_pairings
from finitewidth.precision import in_double_precision
from finitewidth.validation import is_concrete

T = TypeVar("T")


def set_partitions(items: Sequence[T]) -> Iterator[tuple[tuple[T, ...], ...]]:
    """Enumerate the partitions of a collection into non-empty blocks.

    Args:
        items: the elements; equal elements in different places count as different.

    Yields:
        One partition at a time, a tuple of blocks; the number of them is the Bell number.

    Example:
        >>> for partition in set_partitions("abc"):
        ...     print(partition)
        (('a', 'b', 'c'),)
        (('a', 'b'), ('c',))
        (('a', 'c'), ('b',))
        (('a',), ('b', 'c'))
        (('a',), ('b',), ('c',))
    """
    items = tuple(items)
    if not items:
        yield ()
        return
    first, rest = items[0], items[1:]
    for size in range(len(rest), -1, -1):
        for chosen in combinations(range(len(rest)), size):
            block = (first, *(rest[k] for k in chosen))
            others = tuple(item for k, item in enumerate(rest) if k not in chosen)
            for partition in set_partitions(others):
                yield (block, *partition)


@in_double_precision
def moments_to_cumulants(moments: ArrayLike) -> Float[Array, "*batch M"]:
    """Turn the moments of one variable into its cumulants.

    The scalar form of PDLT (1.56): kappa_m = mu_m - sum_{k<m} binom(m-1, k-1) kappa_k mu_{m-k}.

    Args:
        moments: mu_1, ..., mu_M along the last axis, shape (..., M).

    Returns:
        kappa_1, ..., kappa_M, shape (..., M). Cancellation costs digits if the law is close to
        Gaussian: the absolute error stays near 1e-16 of mu_M.

    Raises:
        ValueError: if there is no moment.

    Example:
        >>> moments_to_cumulants([0.0, 1.0, 0.0, 3.0]).tolist()  # a Gaussian
        [0.0, 1.0, 0.0, 0.0]
    """
    mu = _check_sequence(moments, "moments")
    kappa: list[Array] = []
    for m in range(1, mu.shape[-1] + 1):
        lower = sum(
            (comb(m - 1, k - 1) * kappa[k - 1] * mu[..., m - k - 1] for k in range(1, m)),
            start=jnp.zeros(mu.shape[:-1]),
        )
        kappa.append(mu[..., m - 1] - lower)
    return jnp.stack(kappa, axis=-1)


@in_double_precision
def cumulants_to_moments(cumulants: ArrayLike) -> Float[Array, "*batch M"]:
    """Turn the cumulants of one variable into its moments.

    The scalar form of PDLT (1.56): mu_m = kappa_m + sum_{k<m} binom(m-1, k-1) kappa_k mu_{m-k}.

    Args:
        cumulants: kappa_1, ..., kappa_M along the last axis, shape (..., M).

    Returns:
        mu_1, ..., mu_M, shape (..., M).

    Raises:
        ValueError: if there is no cumulant.

    Example:
        >>> cumulants_to_moments([1.0, 1.0, 1.0, 1.0]).tolist()  # Poisson: Bell numbers
        [1.0, 2.0, 5.0, 15.0]
    """
    kappa = _check_sequence(cumulants, "cumulants")
    mu: list[Array] = []
    for m in range(1, kappa.shape[-1] + 1):
        lower = sum(
            (comb(m - 1, k - 1) * kappa[..., k - 1] * mu[m - k - 1] for k in range(1, m)),
            start=jnp.zeros(kappa.shape[:-1]),
        )
        mu.append(kappa[..., m - 1] + lower)
    return jnp.stack(mu, axis=-1)


@in_double_precision
def scale_mixture_cumulants(scale_moments: ArrayLike) -> Float[Array, "*batch M"]:
    """Compute the even cumulants of z given the moments of its random variance S.

    If z given S is N(0, S), then kappa_{2m}(z) = (2m-1)!! kappa_m(S); the odd ones vanish.

    Args:
        scale_moments: E[S], E[S^2], ..., E[S^M] along the last axis, shape (..., M).

    Returns:
        kappa_2, kappa_4, ..., kappa_{2M} of z, shape (..., M).

    Raises:
        ValueError: if there is no moment.

    Example:
        >>> scale_mixture_cumulants([1.0, 1.5]).tolist()  # variance of S is 1/2
        [1.0, 1.5]
    """
    kappa = moments_to_cumulants(scale_moments)
    pairs = [number_of_pairings(2 * m) for m in range(1, kappa.shape[-1] + 1)]
    return jnp.asarray(pairs, dtype=float) * kappa


def joint_cumulant(moment: Callable[[tuple[Any, ...]], Any], labels: Sequence[Any]) -> Any:
    """Compute one connected correlator from a rule that gives every moment.

    PDLT (1.56) solved for its connected part, with memory over subsets:
    kappa(S) = E[S] - sum over B in S, B holding the first element, B != S, of kappa(B) E[S - B].

    Args:
        moment: maps a tuple of labels to E[prod z]; any type that adds and multiplies.
        labels: of the M variables, with repetitions.

    Returns:
        The joint cumulant. Cost O(3^M) products.

    Raises:
        ValueError: if there is no label.

    Example:
        >>> from finitewidth.gaussian.wick import wick_moment
        >>> K = [[1.0, 0.5], [0.5, 2.0]]
        >>> joint_cumulant(lambda labels: float(wick_moment(K, labels)), (0, 0, 1, 1))
        0.0
    """
    labels = tuple(labels)
    if not labels:
        raise ValueError("labels: wanted at least one variable, got none.")
    moments: dict[tuple[Any, ...], Any] = {}
    connected: dict[tuple[Any, ...], Any] = {}

    def expected(block):
        if block not in moments:
            moments[block] = moment(block)
        return moments[block]

    def kappa(block):
        if block not in connected:
            total = expected(block)
            rest = range(1, len(block))
            for size in range(len(rest)):
                for chosen in combinations(rest, size):
                    inside = (block[0], *(block[k] for k in chosen))
                    outside = tuple(block[k] for k in rest if k not in chosen)
                    total = total - kappa(inside) * expected(outside)
            connected[block] = total
        return connected[block]

    return kappa(labels)


@in_double_precision
def joint_moments_to_cumulants(moments: Sequence[ArrayLike]) -> tuple[Float[Array, "..."], ...]:
    """Turn all moments of N variables into all connected correlators.

    PDLT (1.56) inverted: sum over set partitions of (-1)^(p-1) (p-1)! prod_B E[z_B].

    Args:
        moments: E[z_a], E[z_a z_b], ..., tensors of shape (N,), (N, N), ..., (N,) * M.

    Returns:
        The cumulants, tensors of the same shapes. Cost O(Bell(M) N^M).

    Raises:
        ValueError: if the k-th tensor does not have shape (N,) * k.

    Example:
        >>> joint_moments_to_cumulants([[1.0, 2.0], [[2.0, 2.0], [2.0, 5.0]]])[1].tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    tensors = _check_tensors(moments, "moments")
    return tuple(
        _sum_over_partitions(tensors, order, lambda p: (-1) ** (p - 1) * factorial(p - 1))
        for order in range(1, len(tensors) + 1)
    )


@in_double_precision
def joint_cumulants_to_moments(cumulants: Sequence[ArrayLike]) -> tuple[Float[Array, "..."], ...]:
    """Turn all connected correlators of N variables into all moments.

    PDLT (1.56): sum over set partitions of prod_B kappa(z_B).

    Args:
        cumulants: tensors of shape (N,), (N, N), ..., (N,) * M.

    Returns:
        The moments, tensors of the same shapes. Cost O(Bell(M) N^M).

    Raises:
        ValueError: if the k-th tensor does not have shape (N,) * k.

    Example:
        >>> joint_cumulants_to_moments([[1.0, 2.0], [[1.0, 0.0], [0.0, 1.0]]])[1].tolist()
        [[2.0, 2.0], [2.0, 5.0]]
    """
    tensors = _check_tensors(cumulants, "cumulants")
    return tuple(
        _sum_over_partitions(tensors, order, lambda p: 1) for order in range(1, len(tensors) + 1)
    )


def _sum_over_partitions(
    tensors: tuple[Array, ...], order: int, coefficient: Callable[[int], int]
) -> Array:
    # Plain arrays spare the compilation of one program per partition, where nobody differentiates.
    concrete = all(is_concrete(tensor) for tensor in tensors)
    factors = [np.asarray(tensor) for tensor in tensors] if concrete else list(tensors)
    einsum = np.einsum if concrete else jnp.einsum
    total: Any = 0.0
    for partition in set_partitions(range(order)):
        operands: list[Any] = []
        for block in partition:
            operands += [factors[len(block) - 1], list(block)]
        total = total + coefficient(len(partition)) * einsum(*operands, list(range(order)))
    return jnp.asarray(total)


def _check_sequence(values: ArrayLike, name: str) -> Array:
    array = jnp.asarray(values, dtype=float)
    if array.ndim == 0 or array.shape[-1] == 0:
        raise ValueError(
            f"{name}: wanted orders 1 to M along the last axis, got shape {array.shape}."
        )
    return array


def _check_tensors(values: Sequence[ArrayLike], name: str) -> tuple[Array, ...]:
    tensors = tuple(jnp.asarray(value, dtype=float) for value in values)
    if not tensors:
        raise ValueError(f"{name}: wanted tensors of order 1 to M, got none.")
    variables = np.shape(tensors[0])[:1]
    for order, tensor in enumerate(tensors, start=1):
        if len(variables) != 1 or tensor.shape != variables * order:
            wanted = (variables or ("N",)) * order
            raise ValueError(f"{name}: wanted shape {wanted} at order {order}, got {tensor.shape}.")
    return tensors
