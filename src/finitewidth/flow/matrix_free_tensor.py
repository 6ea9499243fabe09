r"""Finite-width tensors of large data sets: operators on pairs of samples without N^4 numbers.

V, D, A, F, B of every layer, PDLT (4.119), (8.77), (8.97), (8.79), (8.89), as `tensors.PairTensor`.
Kernels and Jacobians of all layers are computed once, O(L N^2); then

- `contract` and `apply` pull weights down through the layers (`flow.adjoint_sums`):
  O(L (N^3 + M N^2)) with M drawn neurons a layer;
- `crossed`, `entries` and `block` average over drawn matrices (`flow.linear_noise`):
  O(L N^2) for each matrix, O(N^3) for a crossed contraction.

Both are Monte Carlo estimates, the first with most of its value in closed form. The same key gives
the same numbers. The theory is local in the samples: `restrict` is exact, and entries on a few
samples cost nothing for the rest of the data set.
"""

import math
from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from finitewidth.flow.adjoint_sums import adjoint_apply, adjoint_sums, neurons_at_once
from finitewidth.flow.linear_noise import (
    crossed_sums,
    entry_sums,
    factors,
    layer_roots,
    matrices_at_once,
)
from finitewidth.flow.linearized import LinearizedFlow
from finitewidth.flow.neuron_noise import Legs, Roots, Sector
from finitewidth.precision import in_double_precision
from finitewidth.tensors.factorized import FactorizedTensor
from finitewidth.tensors.pair_tensor import (
    Crossing,
    PairTensor,
    check_crossing,
    check_leading,
    check_matrix,
    check_quadruples,
    check_subset,
)

Name = Literal["V", "D", "D^T", "A", "F", "B"]

#: Drawn neurons a layer, if the caller does not say.
NEURONS = 4096

#: The most numbers of a dense form that are made on request.
MOST_DENSE_INPUTS = 48

SECTORS: dict[Name, tuple[Sector, tuple[int, int]]] = {
    "V": ("covariance", (0, 0)),
    "D": ("covariance", (0, 1)),
    "D^T": ("covariance", (1, 0)),
    "A": ("covariance", (1, 1)),
    "F": ("F", (0, 0)),
    "B": ("B", (0, 0)),
}


class MatrixFreeTensor(PairTensor):
    """One of V, D, A, F, B as an operator on pairs of samples; made by `matrix_free`.

    Attributes:
        flow: kernels and Jacobians of all layers.
        key: of the neurons that are drawn; the same key gives the same numbers.
        name: "V", "D", "D^T", "A", "F" or "B".
        layers: which layers the leading axes stand for, counted from 0.
        batch: shape of the leading axes.
        neurons: drawn neurons a layer for `contract` and `apply`, rounded up to whole chunks.
        matrices: drawn matrices for `crossed`, `entries`, `block`, rounded up to whole chunks;
            None for 64 at N = 1000 and more the fewer the inputs, up to 16384.
    """

    flow: LinearizedFlow
    key: PRNGKeyArray
    name: Name = eqx.field(static=True)
    layers: tuple[int, ...] = eqx.field(static=True)
    batch: tuple[int, ...] = eqx.field(static=True)
    neurons: int = eqx.field(static=True, default=NEURONS)
    matrices: int | None = eqx.field(static=True, default=None)

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Shape of the leading axes."""
        return self.batch

    @property
    def axes(self) -> tuple[int, int, int, int]:
        """The number of samples along a, b, c and d, all the same."""
        N = self.flow.samples
        return N, N, N, N

    @property
    def T(self) -> "MatrixFreeTensor":
        """The transpose, T_(cd)(ab): that of D, and the tensor itself for the others."""
        swapped: dict[Name, Name] = {"D": "D^T", "D^T": "D"}
        return self._with(name=swapped.get(self.name, self.name))

    @in_double_precision
    def contract(self, X: ArrayLike, Y: ArrayLike) -> Float[Array, "*batch"]:
        """Compute sum X_ab T_(ab)(cd) Y_cd from `neurons` drawn neurons a layer."""
        return self.contract_with_error(X, Y)[0]

    @in_double_precision
    def contract_with_error(
        self,
        X: ArrayLike,
        Y: ArrayLike,
        accuracy: float | None = None,
        most_neurons: int = 2**20,
    ) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
        """Compute sum X_ab T_(ab)(cd) Y_cd with its statistical error.

        Args:
            X: shape (..., N, N), leading axes broadcast against those of the tensor.
            Y: like X.
            accuracy: standard error wanted, relative to the value; neurons are drawn until it is
                reached. None for a fixed number, `neurons`.
            most_neurons: where to stop in any case, neurons a layer.

        Returns:
            Value and standard error, shape (...). The error is that of the drawing alone; it is
            above `accuracy` where `most_neurons` was not enough.

        Raises:
            ValueError: if X or Y do not fit, or the accuracy is not positive.
        """
        if accuracy is not None and not accuracy > 0:
            raise ValueError(f"accuracy: wanted a positive number or None, got {accuracy!r}.")
        X = check_matrix(X, self.axes[:2], "X")
        Y = check_matrix(Y, self.axes[2:], "Y")

        def one(layer: int, X: Array, Y: Array) -> tuple[Array, Array]:
            left, right = self._weights(X, 0), self._weights(Y, 1)
            return self._contract(layer, left, right, accuracy, most_neurons)

        return self._over_layers(one, X, Y)

    @in_double_precision
    def apply(self, Y: ArrayLike) -> Float[Array, "*batch N N"]:
        """Compute sum_cd T_(ab)(cd) Y_cd from `neurons` drawn neurons a layer."""
        chunks = jnp.asarray(math.ceil(self.neurons / neurons_at_once(self.flow.samples)))
        sector, legs = SECTORS[self.name]

        def one(layer: int, Y: Array) -> Array:
            weights = self._weights(Y, 1)
            number = jnp.asarray(layer)
            applied = adjoint_apply(self.flow, sector, number, weights, self.key, chunks)
            return applied[legs[0]]  # type: ignore[return-value]

        return self._over_layers(one, check_matrix(Y, self.axes[2:], "Y"))

    @in_double_precision
    def crossed(self, M: ArrayLike, axes: Crossing = "bd") -> Float[Array, "*batch N N"]:
        """Compute sum_bd M_bd T_(ab)(cd), or the contraction of two other axes."""
        return self.crossed_with_error(M, axes)[0]

    @in_double_precision
    def crossed_with_error(
        self, M: ArrayLike, axes: Crossing = "bd"
    ) -> tuple[Float[Array, "*batch N N"], Float[Array, "*batch N N"]]:
        """Compute sum_bd M_bd T_(ab)(cd), or the contraction of two other axes, with its error.

        Args:
            M: shape (..., N, N), leading axes broadcast against those of the tensor.
            axes: which index of each pair the rows and columns of M belong to.

        Returns:
            Value and standard error of each entry, shape (..., N, N).
        """
        M = check_crossing(M, axes, self.axes)
        transposed = (axes[0] == "a", axes[1] == "d")
        noise, (chunks, count) = self._noise(), self._chunks(self.flow.samples)

        def one(layer: int, M: Array) -> tuple[Array, Array]:
            sums = crossed_sums(*noise, jnp.asarray(layer), M, transposed, self.key, chunks)
            return _mean_and_error(*sums, count)

        return self._over_layers(one, M)

    @in_double_precision
    def entries(self, quadruples: ArrayLike | None = None) -> Float[Array, "*batch E"]:
        """Read single components, by default the independent ones, from drawn matrices."""
        return self.entries_with_error(quadruples)[0]

    @in_double_precision
    def entries_with_error(
        self, quadruples: ArrayLike | None = None
    ) -> tuple[Float[Array, "*batch E"], Float[Array, "*batch E"]]:
        """Read single components from drawn matrices, with their errors.

        Only the samples that occur are looked at: for few quadruples the cost does not depend on N.

        Args:
            quadruples: rows (a, b, c, d), shape (E, 4); the independent ones by default.

        Returns:
            Value and standard error, shape (..., E).
        """
        rows = np.stack(check_quadruples(quadruples, self), axis=1)
        samples, renumbered = np.unique(rows, return_inverse=True)
        if len(samples) < self.flow.samples:
            return self.restrict(samples).entries_with_error(renumbered.reshape(rows.shape))
        noise, (chunks, count) = self._noise(), self._chunks(self.flow.samples)

        def one(layer: int) -> tuple[Array, Array]:
            numbers = jnp.asarray(rows)
            sums = entry_sums(*noise, jnp.asarray(layer), numbers, self.key, chunks)
            return _mean_and_error(*sums, count)

        return self._over_layers(one)

    @in_double_precision
    def restrict(self, indices: ArrayLike) -> "MatrixFreeTensor":
        """Keep some of the samples, in the order given: exactly the tensor of those samples."""
        kept = check_subset(indices, self.flow.samples)
        return self._with(flow=self.flow.restrict(kept))

    @in_double_precision
    def block(
        self,
        a: ArrayLike | None = None,
        b: ArrayLike | None = None,
        c: ArrayLike | None = None,
        d: ArrayLike | None = None,
    ) -> FactorizedTensor:
        """Keep some of the samples on each axis: a sum of drawn matrices, M (n_a n_b) numbers."""
        everything = np.arange(self.flow.samples)
        kept = [
            everything if part is None else check_subset(part, self.flow.samples)
            for part in (a, b, c, d)
        ]
        samples = np.unique(np.concatenate(kept))
        smaller = self if len(samples) == self.flow.samples else self.restrict(samples)
        positions = tuple(np.searchsorted(samples, part) for part in kept)
        noise, chunks = smaller._noise(), int(smaller._chunks(len(samples))[0])

        def one(layer: int) -> tuple[Array, Array | None]:
            number = jnp.asarray(layer)
            return factors(*noise, number, positions, self.key, chunks)  # type: ignore[arg-type]

        left, right = self._over_layers(one)
        return FactorizedTensor(left, right=right)

    def factorized(self) -> FactorizedTensor:
        """Return the average of `matrices` drawn products, T = (1/M) sum_s L_s (x) R_s.

        Returns:
            Memory M N^2 for each leading index; the error of every contraction falls like
            M^(-1/2).
        """
        return self.block()

    def dense(self) -> Float[Array, "*batch N N N N"]:
        """Return all components, from drawn matrices, for few samples.

        Raises:
            ValueError: if there are more than 48 samples.
        """
        if self.flow.samples > MOST_DENSE_INPUTS:
            raise ValueError(
                f"dense: N^4 numbers are made for at most {MOST_DENSE_INPUTS} samples, got "
                f"{self.flow.samples}; use contract, apply, crossed, entries or restrict."
            )
        return self.factorized().dense()

    def __getitem__(self, key: Any) -> "MatrixFreeTensor":
        """Index the layers."""
        check_leading(key, len(self.batch))
        kept = np.asarray(self.layers).reshape(self.batch)[key]
        return self._with(layers=tuple(kept.ravel().tolist()), batch=kept.shape)

    def __repr__(self) -> str:
        layers = ", ".join(str(layer + 1) for layer in self.layers)
        return (
            f"MatrixFreeTensor({self.name} of layer {layers}; N = {self.flow.samples}, "
            f"{self.neurons} neurons a layer, {int(self._chunks(self.flow.samples)[1])} matrices)"
        )

    def _noise(self) -> tuple[LinearizedFlow, Roots, Sector, tuple[int, int]]:
        sector, legs = SECTORS[self.name]
        return self.flow, layer_roots(self.flow, sector), sector, legs

    def _chunks(self, samples: int) -> tuple[Array, int]:
        """Return the number of chunks of matrices, and of matrices in them."""
        wanted = self.matrices
        if wanted is None:
            wanted = min(2**14, max(64, 64 * 1000**2 // samples**2))
        at_once = matrices_at_once(samples)
        chunks = math.ceil(wanted / at_once)
        return jnp.asarray(chunks), chunks * at_once

    def _weights(self, X: Array, pair: int) -> Legs:
        """Return X as weights of the leg that it belongs to, symmetric where the tensor is."""
        sector, legs = SECTORS[self.name]
        if sector != "covariance":
            return X, None
        X = (X + X.T) / 2
        if 1 not in legs:
            return X, None
        return (jnp.zeros_like(X), X) if legs[pair] else (X, jnp.zeros_like(X))

    def _contract(
        self, layer: int, X: Legs, Y: Legs, accuracy: float | None, most_neurons: int
    ) -> tuple[Array, Array]:
        at_once, layers = neurons_at_once(self.flow.samples), self.flow.depth - 1
        sector, number = SECTORS[self.name][0], jnp.asarray(layer)
        most = max(1, most_neurons // at_once)
        done = np.zeros(layers, dtype=int)
        until = np.full(layers, math.ceil(self.neurons / at_once))
        products, squares = jnp.zeros(layers), jnp.zeros(layers)
        while True:
            chunks = (jnp.asarray(done), jnp.asarray(until))
            sums = adjoint_sums(self.flow, sector, number, X, Y, self.key, chunks)
            products, squares = products + sums.products, squares + sums.squares
            done = until
            means, errors = _mean_and_error(products, squares, jnp.asarray(done * at_once))
            value, error = sums.exact + means.sum(), jnp.sqrt((errors**2).sum())
            if accuracy is None or not error > accuracy * abs(value):
                return value, error
            until = _more_chunks(done, np.asarray(errors), accuracy * float(abs(value)), most)
            if (until == done).all():
                return value, error

    def _over_layers(self, one: Callable, *matrices: Array) -> Any:
        """Return `one` for every leading index of tensor and matrices, stacked."""
        leading = jnp.broadcast_shapes(self.batch, *(m.shape[:-2] for m in matrices))
        layers = np.broadcast_to(np.asarray(self.layers).reshape(self.batch), leading)
        matrices = tuple(jnp.broadcast_to(m, (*leading, *m.shape[-2:])) for m in matrices)
        results = [one(int(layers[i]), *(m[i] for m in matrices)) for i in np.ndindex(*leading)]
        if not leading:
            return results[0]
        return jax.tree.map(lambda *r: jnp.stack(r).reshape(*leading, *r[0].shape), *results)

    def _with(self, **changes: Any) -> "MatrixFreeTensor":
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return MatrixFreeTensor(**(fields | changes))


def _more_chunks(done: np.ndarray, errors: np.ndarray, wanted: float, most: int) -> np.ndarray:
    """Return how many chunks each layer needs for the error that is wanted, at the least cost.

    An error sqrt(sum s_l^2/n_l) costs least, sum n_l, with n_l proportional to s_l.
    """
    spread = errors * np.sqrt(done)
    # A little more makes up for the noise of the errors themselves.
    needed = 1.05 * spread * spread.sum() / max(wanted, 1e-300) ** 2
    return np.clip(np.ceil(np.minimum(needed, 64.0 * done)), done, np.maximum(most, done)).astype(
        int
    )


def _mean_and_error(total: Array, squares: Array, count: int | Array) -> tuple[Array, Array]:
    """Return mean and standard error from a sum and a sum of squares."""
    mean = total / count
    variance = jnp.maximum(squares / count - mean**2, 0.0)
    return mean, jnp.sqrt(variance / (count - 1))
