"""The four-index tensor by its components: T_(ab)(cd) as an array (..., N, N, N, N).

For up to some tens of samples; N^4 numbers of 8 bytes are 0.8 GB at N = 100.
"""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from finitewidth.precision import in_double_precision
from finitewidth.tensors.pair_tensor import (
    Crossing,
    PairTensor,
    check_crossing,
    check_leading,
    check_matrix,
    check_quadruples,
    check_subset,
)


class DenseTensor(PairTensor):
    """A tensor T_(ab)(cd) that holds all its components.

    Attributes:
        values: shape (..., N, N, N, N), or (..., a, b, c, d) for a block.

    Every contraction costs O(N^4) per leading index.

    Raises:
        ValueError: if there are fewer than four axes or one of the last four is empty.

    Example:
        >>> import numpy as np
        >>> V = DenseTensor(np.ones((3, 2, 2, 2, 2)))  # 3 layers, 2 samples
        >>> V.shape, V.contract(np.eye(2), np.eye(2)).tolist(), V[0].crossed(np.eye(2)).tolist()
        ((3, 2, 2, 2, 2), [4.0, 4.0, 4.0], [[2.0, 2.0], [2.0, 2.0]])
        >>> V.block(a=[1]).shape
        (3, 1, 2, 2, 2)
    """

    values: Float[Array, "*batch a b c d"]

    @in_double_precision
    def __init__(self, values: ArrayLike):
        array = jnp.asarray(values, dtype=float)
        if array.ndim < 4 or 0 in array.shape[-4:]:
            raise ValueError(
                "values: wanted shape (..., N, N, N, N), or (..., a, b, c, d) for a block, "
                f"got {array.shape}."
            )
        self.values = array

    @property
    def axes(self) -> tuple[int, int, int, int]:
        """The number of samples along a, b, c and d."""
        a, b, c, d = self.values.shape[-4:]
        return a, b, c, d

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Shape of the leading axes."""
        return self.values.shape[:-4]

    @property
    @in_double_precision
    def T(self) -> "DenseTensor":
        """The transpose, T_(cd)(ab)."""
        return DenseTensor(jnp.einsum("...abcd->...cdab", self.values))

    def dense(self) -> Float[Array, "*batch a b c d"]:
        """Return all components."""
        return self.values

    @in_double_precision
    def contract(self, X: ArrayLike, Y: ArrayLike) -> Float[Array, "*batch"]:
        """Compute sum X_ab T_(ab)(cd) Y_cd."""
        X = check_matrix(X, self.axes[:2], "X")
        return jnp.einsum("...ab,...ab->...", X, self.apply(Y))

    @in_double_precision
    def apply(self, Y: ArrayLike) -> Float[Array, "*batch a b"]:
        """Compute sum_cd T_(ab)(cd) Y_cd."""
        Y = check_matrix(Y, self.axes[2:], "Y")
        return jnp.einsum("...abcd,...cd->...ab", self.values, Y)

    @in_double_precision
    def crossed(self, M: ArrayLike, axes: Crossing = "bd") -> Float[Array, "*batch N N"]:
        """Compute sum_bd M_bd T_(ab)(cd), or the contraction of two other axes."""
        M = check_crossing(M, axes, self.axes)
        left = "".join(letter for letter in "abcd" if letter not in axes)
        return jnp.einsum(f"...abcd,...{axes}->...{left}", self.values, M)

    @in_double_precision
    def block(
        self,
        a: ArrayLike | None = None,
        b: ArrayLike | None = None,
        c: ArrayLike | None = None,
        d: ArrayLike | None = None,
    ) -> "DenseTensor":
        """Keep some of the samples on each axis, in the order given."""
        values = self.values
        for axis, kept in enumerate((a, b, c, d)):
            if kept is not None:
                values = jnp.take(values, check_subset(kept, self.axes[axis]), axis=axis - 4)
        return DenseTensor(values)

    @in_double_precision
    def entries(self, quadruples: ArrayLike | None = None) -> Float[Array, "*batch E"]:
        """Read single components, by default the independent ones."""
        a, b, c, d = check_quadruples(quadruples, self)
        return self.values[..., a, b, c, d]

    @in_double_precision
    def __getitem__(self, key: Any) -> "DenseTensor":
        """Index the leading axes."""
        return DenseTensor(self.values[check_leading(key, len(self.batch_shape))])
