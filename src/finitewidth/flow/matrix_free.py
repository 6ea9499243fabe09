"""Statistics of preactivations and NTK of large data sets, without N^4 numbers.

Kernel and frozen NTK of every layer, PDLT (4.118), (9.5), and the tensors of order 1/width as
operators on pairs of samples, `flow.matrix_free_tensor`: V (4.119), D (8.77), A (8.97), F (8.79)
and B (8.89), in units of 1/n_{l-1}. They have the interface of the dense tensors of
`flow.preactivations` and `flow.ntk`, so what is done with one can be done with the other.
"""

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from finitewidth.flow.linearized import LinearizedFlow, linearize
from finitewidth.flow.local_vertex import nlo_metric
from finitewidth.flow.matrix_free_tensor import NEURONS, MatrixFreeTensor, Name
from finitewidth.gaussian.pair import pair_moments
from finitewidth.network import MLP
from finitewidth.precision import in_double_precision
from finitewidth.validation import check_count, check_inputs


class MatrixFree(eqx.Module):
    """Statistics of every layer for many inputs; entry l-1 of a leading axis is layer l.

    Attributes:
        net: the network that they belong to.
        flow: kernels and Jacobians of all layers.
        key: of the neurons that contractions draw.
        neurons: how many a layer for `contract` and `apply`.
        matrices: how many random matrices for `crossed`, `entries` and `block`.
    """

    net: MLP
    flow: LinearizedFlow
    key: PRNGKeyArray
    neurons: int = eqx.field(static=True)
    matrices: int | None = eqx.field(static=True)

    @property
    def kernel(self) -> Float[Array, "L N N"]:
        """K, the two-point function at infinite width, shape (L, N, N)."""
        return self.flow.kernel

    @property
    @in_double_precision
    def nlo_metric(self) -> Float[Array, "L N N"]:
        """G^{1}, the correction of the kernel in units of 1/n_{l-1}, PDLT (4.115), (L, N, N).

        Exact, made anew each time it is asked for: six pair expectations of N x N entries a layer.
        """
        return nlo_metric(self.flow)

    @property
    @in_double_precision
    def metric(self) -> Float[Array, "L N N"]:
        """The two-point function at the widths of the network, K + G^{1}/n_{l-1}, (L, N, N)."""
        return self.kernel + self.nlo_metric / self.fan_in[:, None, None]

    @property
    def ntk_mean(self) -> Float[Array, "L N N"] | None:
        """Theta, the frozen NTK, shape (L, N, N); None if it was not asked for."""
        return self.flow.ntk_mean

    @property
    def fan_in(self) -> np.ndarray:
        """The width n_{l-1} that feeds each layer, shape (L,)."""
        return np.asarray(self.net.widths[:-1])

    @property
    def V(self) -> MatrixFreeTensor:
        """Covariance of the metric, pairs (12)(34), PDLT (4.119)."""
        return self._tensor("V")

    @property
    def D(self) -> MatrixFreeTensor:
        """Covariance of metric and NTK, pairs (12)(34), the second of the NTK, PDLT (8.77)."""
        return self._tensor("D")

    @property
    def A(self) -> MatrixFreeTensor:
        """Covariance of the NTK, pairs (12)(34), PDLT (8.97)."""
        return self._tensor("A")

    @property
    def F(self) -> MatrixFreeTensor:
        """F_1324 between the pairs (13) and (24), as F[a1, a3, a2, a4], PDLT (8.79)."""
        return self._tensor("F")

    @property
    def B(self) -> MatrixFreeTensor:
        """B_1324 between the pairs (13) and (24), as B[a1, a3, a2, a4], PDLT (8.89)."""
        return self._tensor("B")

    def __repr__(self) -> str:
        what = "kernel and V" if self.ntk_mean is None else "kernel, NTK mean, V, D, A, F, B"
        return (
            f"MatrixFree({what} of {self.flow.depth} layers for {self.flow.samples} inputs, "
            f"{self.neurons} neurons a layer)"
        )

    def _tensor(self, name: Name) -> MatrixFreeTensor:
        if name != "V" and self.ntk_mean is None:
            raise ValueError(f"{name}: wanted statistics of the NTK, got matrix_free(ntk=False).")
        layers = tuple(range(self.flow.depth))
        return MatrixFreeTensor(
            self.flow, self.key, name, layers, (len(layers),), self.neurons, self.matrices
        )


@in_double_precision
def matrix_free(
    net: MLP,
    x: Float[ArrayLike, "N n0"],
    ntk: bool = True,
    key: int | PRNGKeyArray = 0,
    neurons: int = NEURONS,
    matrices: int | None = None,
) -> MatrixFree:
    """Compute kernels, and the tensors of order 1/width as operators, for many inputs.

    PDLT (4.118), (9.5) for the means; (4.119), (8.77), (8.97), (8.79), (8.89) for the tensors.

    Args:
        net: the network, with Gaussian weights.
        x: inputs, shape (N, n_0).
        ntk: whether to include the NTK; without it there is V alone, at half the memory.
        key: of the neurons that contractions draw; the same key gives the same numbers.
        neurons: drawn neurons a layer for `contract` and `apply`.
        matrices: drawn matrices for `crossed`, `entries` and `block`; by default 64 for
            N >= 1000 and up to 16384 for fewer inputs.

    Returns:
        Kernel, NTK mean, and V, D, A, F, B as `PairTensor` with a leading axis of layers.

    Raises:
        ValueError: if the data are not finite or do not fit the network, the weights are not
            Gaussian, or the activation jumps and the NTK is asked for.

    Accuracy: kernels and Jacobians near 1e-10. Contractions are unbiased Monte Carlo estimates,
    `contract_with_error` and `crossed_with_error` say how good.

    Cost: O(L N^2) pair expectations here, then as `flow.matrix_free_tensor` says. Memory: four
    (with NTK nine) N x N arrays a layer.

    Example:
        >>> import numpy as np
        >>> import finitewidth as fw
        >>> net = fw.MLP.critical(widths=(3, 64, 64, 64, 1), activation="relu")
        >>> x = np.random.default_rng(0).normal(size=(200, 3))
        >>> many = fw.flow.matrix_free(net, x)
        >>> many
        MatrixFree(kernel, NTK mean, V, D, A, F, B of 4 layers for 200 inputs, 4096 neurons a layer)
        >>> X = np.eye(200) / 200
        >>> value, error = many.V[-1].contract_with_error(X, X)
        >>> bool(error < 0.02 * value)
        True
    """
    x = check_inputs(x, net.widths[0])
    neurons = check_count(neurons, "neurons", least=2)
    matrices = None if matrices is None else check_count(matrices, "matrices", least=2)
    if net.law != "gaussian":
        raise ValueError(
            "net: the 1/width tensors are those of independent Gaussian weights, "
            f"got a network with {net.law} weights."
        )
    if ntk and not np.isfinite(pair_moments(net.activation).diagonal_slope(1.0)):
        raise ValueError(
            f"ntk: an activation that jumps has no neural tangent kernel, got {net.activation}; "
            "use ntk=False."
        )
    if not isinstance(key, jax.Array):
        key = jax.random.key(key)
    return MatrixFree(net, linearize(net, x, ntk), key, neurons, matrices)
