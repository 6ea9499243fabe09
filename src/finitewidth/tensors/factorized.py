"""The four-index tensor as a sum of products of matrices: T = sum_s w_s L_s (x) R_s.

A covariance of matrices is an average of such products, V_(ab)(cd) = E[B_ab B_cd], and the vertex
of a deep network is the covariance of a random metric: L = R = B. The covariance of metric and NTK
has two different factors. Nothing here makes N^4 numbers except `dense`:

    T[X, Y] = sum_s w_s (X:L_s)(R_s:Y)        O(M N^2)
    crossed(M) = sum_s w_s L_s M R_s^T        O(M N^3)
"""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from finitewidth.precision import in_double_precision
from finitewidth.tensors.dense import DenseTensor
from finitewidth.tensors.pair_tensor import (
    Crossing,
    PairTensor,
    check_crossing,
    check_leading,
    check_matrix,
    check_quadruples,
    check_subset,
)
from finitewidth.tensors.symmetry import asymmetry


class FactorizedTensor(PairTensor):
    """A tensor T_(ab)(cd) = sum_s w_s L_s,ab R_s,cd.

    Attributes:
        factors: the matrices L_s, shape (..., M, N, N), or (..., M, a, b) for a block.
        weights: w_s, shape (M,); 1/M each by default, the average over the factors. The same for
            all leading indices, unless given with them, (..., M).
        right: the matrices R_s, shape (..., M, N, N); None where they are the left ones.

    Raises:
        ValueError: if the factors are not matrices or weights and right factors do not fit them.

    Example:
        >>> import numpy as np
        >>> B = np.array([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]])
        >>> V = FactorizedTensor(B)
        >>> V.samples, float(V.contract(np.eye(2), np.eye(2))), V.crossed(np.eye(2)).tolist()
        (2, 2.0, [[1.0, 0.0], [0.0, 1.0]])
        >>> D = FactorizedTensor(B, right=3 * B)
        >>> float(D.contract(np.eye(2), np.eye(2)))
        6.0
    """

    factors: Float[Array, "*batch M a b"]
    weights: Float[Array, "*batch M"]
    right: Float[Array, "*batch M c d"] | None

    @in_double_precision
    def __init__(
        self,
        factors: ArrayLike,
        weights: ArrayLike | None = None,
        right: ArrayLike | None = None,
    ):
        array = _check_factors(factors, "factors")
        if right is None and array.shape[-1] != array.shape[-2]:
            raise ValueError(
                "factors: wanted M square matrices, shape (..., M, N, N), unless right factors "
                f"are given, got {array.shape}."
            )
        other = None if right is None else _check_factors(right, "right")
        if other is not None and other.shape[:-2] != array.shape[:-2]:
            raise ValueError(
                f"right: wanted one matrix per left factor, leading shape {array.shape[:-2]}, "
                f"got {other.shape}."
            )
        count = array.shape[-3]
        share = jnp.full(count, 1.0 / count) if weights is None else weights
        share = jnp.asarray(share, dtype=float)
        if share.ndim == 0:
            share = jnp.full(count, share)
        if share.shape not in ((count,), array.shape[:-2]):
            raise ValueError(
                f"weights: wanted shape {(count,)} or {array.shape[:-2]}, one per factor, "
                f"got {share.shape}."
            )
        self.factors = array
        self.weights = jnp.broadcast_to(share, array.shape[:-2])
        self.right = other

    @classmethod
    @in_double_precision
    def from_dense(cls, tensor: ArrayLike | DenseTensor) -> "FactorizedTensor":
        """Factor a symmetric tensor by the eigenvectors of its pairs.

        Args:
            tensor: V with V_(ab)(cd) = V_(cd)(ab), shape (..., N, N, N, N).

        Returns:
            The same tensor with N^2 factors, weights the eigenvalues. Cost O(N^6).

        Raises:
            ValueError: if the tensor is not symmetric under (12)<->(34).
        """
        dense = tensor if isinstance(tensor, DenseTensor) else DenseTensor(tensor)
        difference = asymmetry(dense.values)["(12)<->(34)"]
        if not difference < 1e-10:
            raise ValueError(
                "tensor: wanted a tensor symmetric under (12)<->(34), got one with relative "
                f"asymmetry {difference:.3g}."
            )
        size = dense.samples**2
        matrix = dense.values.reshape(*dense.batch_shape, size, size)
        weights, vectors = jnp.linalg.eigh(matrix)
        factors = jnp.swapaxes(vectors, -1, -2).reshape(
            *dense.batch_shape, size, dense.samples, dense.samples
        )
        return cls(factors, weights)

    @property
    def right_factors(self) -> Float[Array, "*batch M c d"]:
        """The matrices R_s, those on the left if there are no others."""
        return self.factors if self.right is None else self.right

    @property
    def axes(self) -> tuple[int, int, int, int]:
        """The number of samples along a, b, c and d."""
        (a, b), (c, d) = self.factors.shape[-2:], self.right_factors.shape[-2:]
        return a, b, c, d

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Shape of the leading axes."""
        return self.factors.shape[:-3]

    @property
    def T(self) -> "FactorizedTensor":
        """The transpose, T_(cd)(ab)."""
        if self.right is None:
            return self
        return FactorizedTensor(self.right, self.weights, self.factors)

    @in_double_precision
    def dense(self) -> Float[Array, "*batch a b c d"]:
        """Return all components, at a cost of O(M N^4)."""
        weighted = self.weights[..., None, None] * self.factors
        return jnp.einsum("...sab,...scd->...abcd", weighted, self.right_factors)

    @in_double_precision
    def contract(self, X: ArrayLike, Y: ArrayLike) -> Float[Array, "*batch"]:
        """Compute sum X_ab T_(ab)(cd) Y_cd, at a cost of O(M N^2)."""
        X = check_matrix(X, self.axes[:2], "X")
        Y = check_matrix(Y, self.axes[2:], "Y")
        left, right = _projections(self.factors, X), _projections(self.right_factors, Y)
        return (self.weights * left * right).sum(axis=-1)

    @in_double_precision
    def apply(self, Y: ArrayLike) -> Float[Array, "*batch a b"]:
        """Compute sum_cd T_(ab)(cd) Y_cd, at a cost of O(M N^2)."""
        Y = check_matrix(Y, self.axes[2:], "Y")
        weighted = self.weights * _projections(self.right_factors, Y)
        return jnp.einsum("...s,...sab->...ab", weighted, self.factors)

    @in_double_precision
    def crossed(self, M: ArrayLike, axes: Crossing = "bd") -> Float[Array, "*batch N N"]:
        """Compute sum_bd M_bd T_(ab)(cd) = sum_s w_s L_s M R_s^T, at a cost of O(M N^3)."""
        M = check_crossing(M, axes, self.axes)[..., None, :, :]
        left, right = self.factors, self.right_factors
        left = left if axes[0] == "b" else jnp.swapaxes(left, -1, -2)
        right = right if axes[1] == "c" else jnp.swapaxes(right, -1, -2)
        return jnp.einsum("...s,...sac->...ac", self.weights, left @ M @ right)

    @in_double_precision
    def block(
        self,
        a: ArrayLike | None = None,
        b: ArrayLike | None = None,
        c: ArrayLike | None = None,
        d: ArrayLike | None = None,
    ) -> "FactorizedTensor":
        """Keep some of the samples on each axis, in the order given."""
        kept = [
            None if indices is None else check_subset(indices, length)
            for indices, length in zip((a, b, c, d), self.axes, strict=True)
        ]
        left = _submatrices(self.factors, kept[0], kept[1])
        if self.right is None and _same(kept[0], kept[2]) and _same(kept[1], kept[3]):
            if left.shape[-1] == left.shape[-2]:
                return FactorizedTensor(left, self.weights)
        right = _submatrices(self.right_factors, kept[2], kept[3])
        return FactorizedTensor(left, self.weights, right)

    @in_double_precision
    def entries(self, quadruples: ArrayLike | None = None) -> Float[Array, "*batch E"]:
        """Read single components, by default the independent ones, at a cost of O(M E)."""
        a, b, c, d = check_quadruples(quadruples, self)
        products = self.factors[..., a, b] * self.right_factors[..., c, d]
        return jnp.einsum("...s,...se->...e", self.weights, products)

    @in_double_precision
    def __getitem__(self, key: Any) -> "FactorizedTensor":
        """Index the leading axes."""
        check_leading(key, len(self.batch_shape))
        right = None if self.right is None else self.right[key]
        return FactorizedTensor(self.factors[key], self.weights[key], right)


def _check_factors(factors: ArrayLike, name: str) -> Float[Array, "*batch M a b"]:
    array = jnp.asarray(factors, dtype=float)
    if array.ndim < 3 or 0 in array.shape[-3:]:
        raise ValueError(
            f"{name}: wanted M square matrices, shape (..., M, N, N), got {array.shape}."
        )
    return array


def _projections(
    factors: Float[Array, "*batch M a b"], matrix: Float[Array, "*batch a b"]
) -> Float[Array, "*batch M"]:
    return jnp.einsum("...sab,...ab->...s", factors, matrix)


def _submatrices(
    factors: Float[Array, "*batch M a b"], rows: ArrayLike | None, columns: ArrayLike | None
) -> Float[Array, "*batch M c d"]:
    if rows is not None:
        factors = jnp.take(factors, jnp.asarray(rows), axis=-2)
    if columns is not None:
        factors = jnp.take(factors, jnp.asarray(columns), axis=-1)
    return factors


def _same(one: Any, other: Any) -> bool:
    if one is None or other is None:
        return one is other
    return one.shape == other.shape and bool((one == other).all())
