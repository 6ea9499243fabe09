"""The four-index tensor as a sum of squares: V = sum_s w_s B_s (x) B_s.

A covariance of matrices is an average of such squares, V_(ab)(cd) = E[B_ab B_cd], and the vertex of
a deep network is the covariance of a random metric. Nothing here makes N^4 numbers except `dense`:

    V[X, Y] = sum_s w_s (X:B_s)(Y:B_s)        O(M N^2)
    crossed(M) = sum_s w_s B_s M B_s^T        O(M N^3)
"""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from finitewidth.precision import in_double_precision
from finitewidth.tensors.dense import DenseTensor
from finitewidth.tensors.pair_tensor import (
    PairTensor,
    check_leading,
    check_matrix,
    check_quadruples,
    check_subset,
)
from finitewidth.tensors.symmetry import asymmetry


class FactorizedTensor(PairTensor):
    """A tensor V_(ab)(cd) = sum_s w_s B_s,ab B_s,cd.

    Attributes:
        factors: the matrices B_s, shape (..., M, N, N).
        weights: w_s, shape (M,); 1/M each by default, the average over the factors. The same for
            all leading indices, unless given with them, (..., M).

    Raises:
        ValueError: if the factors are not square matrices or the weights do not fit them.

    Example:
        >>> import numpy as np
        >>> B = np.array([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]])
        >>> V = FactorizedTensor(B)
        >>> V.samples, float(V.contract(np.eye(2), np.eye(2))), V.crossed(np.eye(2)).tolist()
        (2, 2.0, [[1.0, 0.0], [0.0, 1.0]])
    """

    factors: Float[Array, "*batch M N N"]
    weights: Float[Array, "*batch M"]

    @in_double_precision
    def __init__(self, factors: ArrayLike, weights: ArrayLike | None = None):
        array = jnp.asarray(factors, dtype=float)
        if array.ndim < 3 or array.shape[-1] != array.shape[-2] or 0 in array.shape[-3:]:
            raise ValueError(
                f"factors: wanted M square matrices, shape (..., M, N, N), got {array.shape}."
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
    def samples(self) -> int:
        """The number of samples N."""
        return self.factors.shape[-1]

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Shape of the leading axes."""
        return self.factors.shape[:-3]

    @in_double_precision
    def dense(self) -> Float[Array, "*batch N N N N"]:
        """Return all components, at a cost of O(M N^4)."""
        weighted = self.weights[..., None, None] * self.factors
        return jnp.einsum("...sab,...scd->...abcd", weighted, self.factors)

    @in_double_precision
    def contract(self, X: ArrayLike, Y: ArrayLike) -> Float[Array, "*batch"]:
        """Compute sum X_ab V_(ab)(cd) Y_cd, at a cost of O(M N^2)."""
        return (self.weights * self._projections(X, "X") * self._projections(Y, "Y")).sum(axis=-1)

    @in_double_precision
    def apply(self, Y: ArrayLike) -> Float[Array, "*batch N N"]:
        """Compute sum_cd V_(ab)(cd) Y_cd, at a cost of O(M N^2)."""
        weighted = self.weights * self._projections(Y, "Y")
        return jnp.einsum("...s,...sab->...ab", weighted, self.factors)

    @in_double_precision
    def crossed(self, M: ArrayLike) -> Float[Array, "*batch N N"]:
        """Compute sum_bd M_bd V_(ab)(cd) = sum_s w_s B_s M B_s^T, at a cost of O(M N^3)."""
        M = check_matrix(M, self.samples, "M")[..., None, :, :]
        products = self.factors @ M @ jnp.swapaxes(self.factors, -1, -2)
        return jnp.einsum("...s,...sac->...ac", self.weights, products)

    @in_double_precision
    def restrict(self, indices: ArrayLike) -> "FactorizedTensor":
        """Keep some of the samples, in the order given."""
        kept = check_subset(indices, self.samples)
        factors = jnp.take(jnp.take(self.factors, kept, axis=-2), kept, axis=-1)
        return FactorizedTensor(factors, self.weights)

    @in_double_precision
    def entries(self, quadruples: ArrayLike | None = None) -> Float[Array, "*batch E"]:
        """Read single components, by default the independent ones, at a cost of O(M E)."""
        a, b, c, d = check_quadruples(quadruples, self.samples).T
        products = self.factors[..., a, b] * self.factors[..., c, d]
        return jnp.einsum("...s,...se->...e", self.weights, products)

    @in_double_precision
    def __getitem__(self, key: Any) -> "FactorizedTensor":
        """Index the leading axes."""
        check_leading(key, len(self.batch_shape))
        return FactorizedTensor(self.factors[key], self.weights[key])

    def _projections(self, matrix: ArrayLike, name: str) -> Float[Array, "*batch M"]:
        checked = check_matrix(matrix, self.samples, name)
        return jnp.einsum("...sab,...ab->...s", self.factors, checked)
