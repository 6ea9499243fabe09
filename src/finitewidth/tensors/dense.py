"""The four-index tensor by its components: V_(ab)(cd) as an array (..., N, N, N, N).

For up to some tens of samples; N^4 numbers of 8 bytes are 0.8 GB at N = 100.
"""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from finitewidth.precision import in_double_precision
from finitewidth.tensors.pair_tensor import (
    PairTensor,
    check_leading,
    check_matrix,
    check_quadruples,
    check_subset,
)
from finitewidth.tensors.symmetry import check_pair_tensor


class DenseTensor(PairTensor):
    """A tensor V_(ab)(cd) that holds all its components.

    Attributes:
        values: shape (..., N, N, N, N).

    Every contraction costs O(N^4) per leading index.

    Raises:
        ValueError: if the last four axes are not (N, N, N, N).

    Example:
        >>> import numpy as np
        >>> V = DenseTensor(np.ones((3, 2, 2, 2, 2)))  # 3 layers, 2 samples
        >>> V.shape, V.contract(np.eye(2), np.eye(2)).tolist(), V[0].crossed(np.eye(2)).tolist()
        ((3, 2, 2, 2, 2), [4.0, 4.0, 4.0], [[2.0, 2.0], [2.0, 2.0]])
    """

    values: Float[Array, "*batch N N N N"]

    @in_double_precision
    def __init__(self, values: ArrayLike):
        self.values = check_pair_tensor(values)

    @property
    def samples(self) -> int:
        """The number of samples N."""
        return self.values.shape[-1]

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Shape of the leading axes."""
        return self.values.shape[:-4]

    def dense(self) -> Float[Array, "*batch N N N N"]:
        """Return all components."""
        return self.values

    @in_double_precision
    def contract(self, X: ArrayLike, Y: ArrayLike) -> Float[Array, "*batch"]:
        """Compute sum X_ab V_(ab)(cd) Y_cd."""
        X = check_matrix(X, self.samples, "X")
        return jnp.einsum("...ab,...ab->...", X, self.apply(Y))

    @in_double_precision
    def apply(self, Y: ArrayLike) -> Float[Array, "*batch N N"]:
        """Compute sum_cd V_(ab)(cd) Y_cd."""
        Y = check_matrix(Y, self.samples, "Y")
        return jnp.einsum("...abcd,...cd->...ab", self.values, Y)

    @in_double_precision
    def crossed(self, M: ArrayLike) -> Float[Array, "*batch N N"]:
        """Compute sum_bd M_bd V_(ab)(cd)."""
        M = check_matrix(M, self.samples, "M")
        return jnp.einsum("...abcd,...bd->...ac", self.values, M)

    @in_double_precision
    def restrict(self, indices: ArrayLike) -> "DenseTensor":
        """Keep some of the samples, in the order given."""
        kept = check_subset(indices, self.samples)
        values = self.values
        for axis in range(-4, 0):
            values = jnp.take(values, kept, axis=axis)
        return DenseTensor(values)

    @in_double_precision
    def entries(self, quadruples: ArrayLike | None = None) -> Float[Array, "*batch E"]:
        """Read single components, by default the independent ones."""
        a, b, c, d = check_quadruples(quadruples, self.samples).T
        return self.values[..., a, b, c, d]

    @in_double_precision
    def __getitem__(self, key: Any) -> "DenseTensor":
        """Index the leading axes."""
        return DenseTensor(self.values[check_leading(key, len(self.batch_shape))])
