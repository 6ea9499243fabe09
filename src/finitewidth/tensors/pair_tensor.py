"""A four-index tensor T_(ab)(cd) as an operator on pairs of samples.

    T[X, Y] = sum X_ab T_(ab)(cd) Y_cd          contraction of pairs with pairs
    T[Y]_ab = sum T_(ab)(cd) Y_cd               application to a matrix
    crossed(M)_ac = sum M_bd T_(ab)(cd)         contraction across the pairs, as in PDLT (4.83)

The four-point vertex and its relatives at finite width are used through these operations and never
need N^4 numbers at once, unless `dense` is called. Leading axes (layers, networks) are allowed.

The four axes run over the same N samples, or over different subsets of them, as where a prediction
for test inputs meets training inputs: `block(test, train, train, train)`.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Literal, Self, get_args

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from finitewidth.tensors.symmetry import independent_entries

#: One index of the first pair and one of the second, which a matrix is contracted with.
Crossing = Literal["bd", "bc", "ad", "ac"]


class PairTensor(eqx.Module):
    """An abstract tensor T_(ab)(cd) over samples, with leading axes `batch_shape`."""

    @property
    @abstractmethod
    def axes(self) -> tuple[int, int, int, int]:
        """The number of samples along a, b, c and d."""

    @property
    def samples(self) -> int:
        """The number of samples N.

        Raises:
            ValueError: if the four axes have different lengths.
        """
        if len(set(self.axes)) != 1:
            raise ValueError(f"samples: wanted four axes of one length, got {self.axes}.")
        return self.axes[0]

    @property
    @abstractmethod
    def batch_shape(self) -> tuple[int, ...]:
        """Shape of the leading axes, () for a single tensor."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the dense form, (*batch, a, b, c, d)."""
        return (*self.batch_shape, *self.axes)

    @property
    @abstractmethod
    def T(self) -> "PairTensor":
        """The transpose, T_(cd)(ab): `tensor.T.apply(X)` sums over the first pair."""

    @abstractmethod
    def dense(self) -> Float[Array, "*batch a b c d"]:
        """Return all components T_(ab)(cd), shape (..., N, N, N, N)."""

    @abstractmethod
    def contract(self, X: ArrayLike, Y: ArrayLike) -> Float[Array, "*batch"]:
        """Compute sum X_ab T_(ab)(cd) Y_cd.

        Args:
            X: shape (..., N, N), leading axes broadcast against those of the tensor.
            Y: like X.

        Returns:
            Shape (...).

        Raises:
            ValueError: if the last axes of X or Y are not (N, N).
        """

    @abstractmethod
    def apply(self, Y: ArrayLike) -> Float[Array, "*batch a b"]:
        """Compute sum_cd T_(ab)(cd) Y_cd.

        Args:
            Y: shape (..., N, N), leading axes broadcast against those of the tensor.

        Returns:
            Shape (..., N, N), indices a, b.

        Raises:
            ValueError: if the last axes of Y are not (N, N).
        """

    @abstractmethod
    def crossed(self, M: ArrayLike, axes: Crossing = "bd") -> Float[Array, "*batch N N"]:
        """Compute sum_bd M_bd T_(ab)(cd), or the contraction of two other axes.

        Args:
            M: shape (..., N, N), leading axes broadcast against those of the tensor.
            axes: which index of each pair the rows and columns of M belong to, "bd", "bc", "ad"
                or "ac".

        Returns:
            Shape (..., N, N), the index that is left of the first pair, then that of the second.

        Raises:
            ValueError: if the last axes of M are not (N, N) or `axes` is not one of the four.
        """

    @abstractmethod
    def block(
        self,
        a: ArrayLike | None = None,
        b: ArrayLike | None = None,
        c: ArrayLike | None = None,
        d: ArrayLike | None = None,
    ) -> "PairTensor":
        """Keep some of the samples on each axis, in the order given.

        Args:
            a: sample numbers of the first index, shape (n_a,); all of them by default.
            b: of the second index.
            c: of the third index.
            d: of the fourth index.

        Returns:
            A tensor with axes of those lengths.

        Raises:
            ValueError: if a sample number is out of range.
        """

    def restrict(self, indices: ArrayLike) -> Self:
        """Keep some of the samples, in the order given.

        Args:
            indices: the samples to keep, shape (n,).

        Returns:
            A tensor over n samples.

        Raises:
            ValueError: if an index is not one of 0, ..., N - 1.
        """
        return self.block(indices, indices, indices, indices)  # type: ignore[return-value]

    @abstractmethod
    def entries(self, quadruples: ArrayLike | None = None) -> Float[Array, "*batch E"]:
        """Read single components.

        Args:
            quadruples: rows (a, b, c, d), shape (E, 4); by default those that are independent
                under the symmetries of the vertex.

        Returns:
            T_(ab)(cd), shape (..., E).

        Raises:
            ValueError: if the rows are not four indices from 0, ..., N - 1.
        """

    @abstractmethod
    def __getitem__(self, key: Any) -> Self:
        """Index the leading axes: `vertex[3]` is layer 4, `vertex[-1]` the output layer."""


def check_matrix(
    matrix: ArrayLike, shape: tuple[int, int], name: str
) -> Float[Array, "*batch N M"]:
    """Return a matrix over the samples in double precision, or say what is wrong with it."""
    array = jnp.asarray(matrix, dtype=float)
    if array.shape[-2:] != shape:
        raise ValueError(
            f"{name}: wanted a matrix over the samples, shape (..., {shape[0]}, {shape[1]}), "
            f"got shape {array.shape}."
        )
    return array


def check_crossing(
    M: ArrayLike, axes: Crossing, lengths: tuple[int, int, int, int]
) -> Float[Array, "*batch N M"]:
    """Return the matrix of a crossed contraction, or say what is wrong with it or with the axes."""
    if axes not in get_args(Crossing):
        raise ValueError(f"axes: wanted one of {', '.join(get_args(Crossing))}, got {axes!r}.")
    first, second = ("abcd".index(letter) for letter in axes)
    return check_matrix(M, (lengths[first], lengths[second]), "M")


def check_subset(indices: ArrayLike, samples: int) -> np.ndarray:
    """Return sample numbers as an integer vector, or say what is wrong with them."""
    array = np.asarray(indices)
    if array.ndim != 1 or array.size == 0 or array.dtype.kind not in "iu":
        raise ValueError(
            f"indices: wanted a vector of sample numbers, got shape {array.shape} "
            f"of type {array.dtype}."
        )
    return _check_range(array, samples, "indices")


def check_quadruples(
    quadruples: ArrayLike | None, tensor: PairTensor
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return a, b, c, d of each row, by default the independent ones, or say what is wrong."""
    if quadruples is None:
        array = independent_entries(tensor.samples)
    else:
        array = np.asarray(quadruples)
    if array.ndim != 2 or array.shape[1] != 4 or array.dtype.kind not in "iu":
        raise ValueError(
            f"quadruples: wanted rows of four sample numbers, shape (E, 4), got shape "
            f"{array.shape} of type {array.dtype}."
        )
    a, b, c, d = (
        _check_range(column, length, "quadruples")
        for column, length in zip(array.T, tensor.axes, strict=True)
    )
    return a, b, c, d


def check_leading(key: Any, batch_axes: int) -> Any:
    """Refuse an index that would reach beyond the leading axes."""
    parts: Sequence[Any] = key if isinstance(key, tuple) else (key,)
    used = sum(part is not None and part is not Ellipsis for part in parts)
    if used > batch_axes or Ellipsis in [part for part in parts if part is Ellipsis]:
        raise IndexError(
            f"wanted at most {batch_axes} indices, one per leading axis, got {key!r}; "
            "use restrict(), block() or entries() for the samples."
        )
    return key


def _check_range(array: np.ndarray, samples: int, name: str) -> np.ndarray:
    if array.size and (array.min() < 0 or array.max() >= samples):
        wrong = array[(array < 0) | (array >= samples)][0]
        raise ValueError(f"{name}: wanted sample numbers from 0 to {samples - 1}, got {wrong}.")
    return array
