"""A four-index tensor V_(ab)(cd) as an operator on pairs of samples.

    V[X, Y] = sum X_ab V_(ab)(cd) Y_cd          contraction of pairs with pairs
    V[Y]_ab = sum V_(ab)(cd) Y_cd               application to a matrix
    crossed(M)_ac = sum M_bd V_(ab)(cd)         contraction across the pairs, as in PDLT (4.83)

The four-point vertex and its relatives at finite width are used through these operations and never
need N^4 numbers at once, unless `dense` is called. Leading axes (layers, networks) are allowed.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Self

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from finitewidth.tensors.symmetry import independent_entries


class PairTensor(eqx.Module):
    """An abstract tensor V_(ab)(cd) over N samples, with leading axes `batch_shape`."""

    @property
    @abstractmethod
    def samples(self) -> int:
        """The number of samples N."""

    @property
    @abstractmethod
    def batch_shape(self) -> tuple[int, ...]:
        """Shape of the leading axes, () for a single tensor."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the dense form, (*batch, N, N, N, N)."""
        return (*self.batch_shape, *(self.samples,) * 4)

    @abstractmethod
    def dense(self) -> Float[Array, "*batch N N N N"]:
        """Return all components V_(ab)(cd), shape (..., N, N, N, N)."""

    @abstractmethod
    def contract(self, X: ArrayLike, Y: ArrayLike) -> Float[Array, "*batch"]:
        """Compute sum X_ab V_(ab)(cd) Y_cd.

        Args:
            X: shape (..., N, N), leading axes broadcast against those of the tensor.
            Y: like X.

        Returns:
            Shape (...).

        Raises:
            ValueError: if the last axes of X or Y are not (N, N).
        """

    @abstractmethod
    def apply(self, Y: ArrayLike) -> Float[Array, "*batch N N"]:
        """Compute sum_cd V_(ab)(cd) Y_cd.

        Args:
            Y: shape (..., N, N), leading axes broadcast against those of the tensor.

        Returns:
            Shape (..., N, N), indices a, b.

        Raises:
            ValueError: if the last axes of Y are not (N, N).
        """

    @abstractmethod
    def crossed(self, M: ArrayLike) -> Float[Array, "*batch N N"]:
        """Compute sum_bd M_bd V_(ab)(cd), the contraction across the two pairs.

        Args:
            M: shape (..., N, N), leading axes broadcast against those of the tensor.

        Returns:
            Shape (..., N, N), indices a, c.

        Raises:
            ValueError: if the last axes of M are not (N, N).
        """

    @abstractmethod
    def restrict(self, indices: ArrayLike) -> Self:
        """Keep some of the samples, in the order given.

        Args:
            indices: the samples to keep, shape (n,).

        Returns:
            A tensor over n samples.

        Raises:
            ValueError: if an index is not one of 0, ..., N - 1.
        """

    @abstractmethod
    def entries(self, quadruples: ArrayLike | None = None) -> Float[Array, "*batch E"]:
        """Read single components.

        Args:
            quadruples: rows (a, b, c, d), shape (E, 4); all independent ones by default.

        Returns:
            V_(ab)(cd), shape (..., E).

        Raises:
            ValueError: if the rows are not four indices from 0, ..., N - 1.
        """

    @abstractmethod
    def __getitem__(self, key: Any) -> Self:
        """Index the leading axes: `vertex[3]` is layer 4, `vertex[-1]` the output layer."""


def check_matrix(matrix: ArrayLike, samples: int, name: str) -> Float[Array, "*batch N N"]:
    """Return a matrix over the samples in double precision, or say what is wrong with it."""
    array = jnp.asarray(matrix, dtype=float)
    if array.shape[-2:] != (samples, samples):
        raise ValueError(
            f"{name}: wanted a matrix over the samples, shape (..., {samples}, {samples}), "
            f"got shape {array.shape}."
        )
    return array


def check_subset(indices: ArrayLike, samples: int) -> np.ndarray:
    """Return sample numbers as an integer vector, or say what is wrong with them."""
    array = np.asarray(indices)
    if array.ndim != 1 or array.size == 0 or array.dtype.kind not in "iu":
        raise ValueError(
            f"indices: wanted a vector of sample numbers, got shape {array.shape} "
            f"of type {array.dtype}."
        )
    return _check_range(array, samples, "indices")


def check_quadruples(quadruples: ArrayLike | None, samples: int) -> np.ndarray:
    """Return rows (a, b, c, d), by default the independent ones, or say what is wrong."""
    if quadruples is None:
        return independent_entries(samples)
    array = np.asarray(quadruples)
    if array.ndim != 2 or array.shape[1] != 4 or array.dtype.kind not in "iu":
        raise ValueError(
            f"quadruples: wanted rows of four sample numbers, shape (E, 4), got shape "
            f"{array.shape} of type {array.dtype}."
        )
    return _check_range(array, samples, "quadruples")


def check_leading(key: Any, batch_axes: int) -> Any:
    """Refuse an index that would reach beyond the leading axes."""
    parts: Sequence[Any] = key if isinstance(key, tuple) else (key,)
    used = sum(part is not None and part is not Ellipsis for part in parts)
    if used > batch_axes or Ellipsis in [part for part in parts if part is Ellipsis]:
        raise IndexError(
            f"wanted at most {batch_axes} indices, one per leading axis, got {key!r}; "
            "use restrict() or entries() for the samples."
        )
    return key


def _check_range(array: np.ndarray, samples: int, name: str) -> np.ndarray:
    if array.size and (array.min() < 0 or array.max() >= samples):
        wrong = array[(array < 0) | (array >= samples)][0]
        raise ValueError(f"{name}: wanted sample numbers from 0 to {samples - 1}, got {wrong}.")
    return array
