r"""The infinite-width map of one layer, from which every recursion of the theory follows.

    F(K)_ab = C_b + C_W <sigma_a sigma_b>_K                                  PDLT (4.118)
    Theta'_ab = lambda_b + lambda_W <sigma_a sigma_b>_K
                + C_W <sigma'_a sigma'_b>_K Theta_ab                          PDLT (9.5)

F acts elementwise: entry (a, b) depends on K_aa, K_bb and K_ab alone. Its Jacobian on a symmetric
matrix is therefore local, J[A]_ab = C_W (f_3 A_ab + f_1 A_aa + f_2 A_bb), and so is the second
derivative that drives the drift of the metric. No inverse kernel is ever needed, and the result
for a subset of the inputs is the subset of the result.

Entries on the diagonal and between coincident inputs depend on one variance only. They are taken
from the one-input functions, which stay finite for activations with kinks where second derivatives
of the two-input function do not.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from finitewidth.activations import Activation
from finitewidth.gaussian.pair import PairMoments, pair_moments
from finitewidth.network import MLP
from finitewidth.precision import in_double_precision

Matrix = Float[Array, "*batch N N"]

#: Two inputs whose kernel entries agree to this fraction are the same input.
COINCIDENT = 1e-13


class LayerMap(eqx.Module):
    """The map F from the kernel of one layer to the kernel of the next, PDLT (4.118).

    Attributes:
        activation: the activation function.
        C_b: bias variance of the next layer.
        C_W: weight variance of the next layer.
    """

    activation: Activation = eqx.field(static=True)
    C_b: Float[Array, ""]
    C_W: Float[Array, ""]

    @in_double_precision
    def __call__(self, K: Matrix) -> Matrix:
        """Return C_b + C_W <sigma sigma>_K for kernels of shape (..., N, N)."""
        K = jnp.asarray(K, dtype=float)
        return kernel_map(pair_moments(self.activation), K, self.C_b, self.C_W)


@in_double_precision
def layer_maps(net: MLP) -> tuple[LayerMap, ...]:
    """Return F_1, ..., F_{L-1}; F_l takes the kernel of layer l to that of layer l+1.

    They are what `ensemble.measure(..., control_variate=...)` takes to see the O(1/n) shift of
    the metric through the noise.

    Args:
        net: the network.

    Returns:
        One map between every two layers, differentiable, for kernels of shape (..., N, N).

    Example:
        >>> import finitewidth as fw
        >>> maps = fw.flow.layer_maps(fw.MLP(widths=(2, 8, 8, 1), activation="relu", C_W=2.0))
        >>> maps[0]([[2.0]]).tolist()
        [[2.0]]
    """
    return tuple(
        LayerMap(net.activation, C_b, C_W)
        for C_b, C_W in zip(net.C_b[1:], net.C_W[1:], strict=True)
    )


def second_moment(moments: PairMoments, K: Matrix) -> Matrix:
    """Return <sigma_a sigma_b>_K for all pairs of inputs, shape (..., N, N)."""
    return _pairwise(moments.value, moments.diagonal_value, K)


def derivative_moment(moments: PairMoments, K: Matrix) -> Matrix:
    """Return <sigma'_a sigma'_b>_K for all pairs of inputs, shape (..., N, N)."""
    return _pairwise(moments.slope, moments.diagonal_slope, K)


def kernel_map(
    moments: PairMoments, K: Matrix, C_b: Float[Array, ""], C_W: Float[Array, ""]
) -> Matrix:
    """Return the kernel of the next layer, PDLT (4.118), shape (..., N, N)."""
    return C_b + C_W * second_moment(moments, K)


class LayerDerivatives(eqx.Module):
    r"""First and second derivatives of f(K_aa, K_bb, K_ab) = <sigma_a sigma_b>_K at one kernel.

    With 1, 2, 3 for the derivatives with respect to K_aa, K_bb, K_ab (Price's theorem) and D for
    the derivative of the activation,

        f_1 = <D^2 sigma_a sigma_b>/2,       f_3  = <D sigma_a D sigma_b>,
        f_11 = <D^4 sigma_a sigma_b>/4,      f_13 = <D^3 sigma_a D sigma_b>/2,
        f_33 = <D^2 sigma_a D^2 sigma_b>,    f_12 = f_33/4,

    and f_2, f_22, f_23 are the transposes of f_1, f_11, f_13.

    Attributes:
        f_1, f_3, f_11, f_13, f_33: shape (N, N).
        slope: g'(K) with g = <sigma^2>, shape (N,): the derivative of a diagonal entry.
        curvature: g''(K), shape (N,).
        coincident: which entries belong to one input or two equal ones, shape (N, N).
    """

    f_1: Matrix
    f_3: Matrix
    f_11: Matrix
    f_13: Matrix
    f_33: Matrix
    slope: Float[Array, " N"]
    curvature: Float[Array, " N"]
    coincident: Bool[Array, "N N"]

    def push(self, A: Float[Array, "N N *rest"]) -> Float[Array, "N N *rest"]:
        """Return f_3 A_ab + f_1 A_aa + f_2 A_bb: how <sigma sigma> moves when K moves by A.

        Args:
            A: symmetric in its first two axes, shape (N, N, ...).

        Returns:
            The change, same shape. Cost: the size of A.
        """
        extra = (1,) * (A.ndim - 2)
        f_1, f_3 = (f.reshape(f.shape + extra) for f in (self.f_1, self.f_3))
        A_aa = jnp.einsum("aa...->a...", A)
        moved = f_3 * A + f_1 * A_aa[:, None] + jnp.swapaxes(f_1, 0, 1) * A_aa[None, :]
        same = jnp.eye(self.f_1.shape[0], dtype=bool).reshape(self.f_1.shape + extra)
        slope = self.slope.reshape(self.slope.shape + extra)
        return jnp.where(same, (slope * A_aa)[:, None], moved)

    def drift(self, V: Float[Array, "N N N N"]) -> Matrix:
        r"""Return (1/2) sum_{P, Q in {aa, bb, ab}} f_PQ V_PQ, the local form of PDLT (4.115).

        The mean of <sigma sigma> exceeds its value at K by this much if K fluctuates with
        covariance V.

        Args:
            V: four-point vertex, shape (N, N, N, N).

        Returns:
            The drift, shape (N, N).
        """
        aaaa = jnp.einsum("aaaa->a", V)
        aaab = jnp.einsum("aaab->ab", V)
        aabb = jnp.einsum("aabb->ab", V)
        abab = jnp.einsum("abab->ab", V)
        # The terms in K_aa; those in K_bb are their transpose.
        one_sided = self.f_11 * aaaa[:, None] + 2 * self.f_13 * aaab
        two_inputs = one_sided + one_sided.T + self.f_33 * (abab + aabb / 2)
        one_input = (self.curvature * aaaa)[:, None]
        return 0.5 * jnp.where(self.coincident, one_input, two_inputs)


def layer_derivatives(moments: PairMoments, K: Float[Array, "N N"]) -> LayerDerivatives:
    """Return the derivatives of <sigma sigma> at the kernel K, shape (N, N)."""
    K11, K22 = _diagonals(K)

    def expectation(m1: int, m2: int) -> Matrix:
        return moments.differentiated(m1, m2, K11, K22, K)

    def summed(of_one: Callable[[Array], Array]) -> Callable[[Array], Array]:
        # An elementwise function of N numbers: the gradient of the sum is its derivative.
        return jax.grad(lambda k: of_one(k).sum())

    first = summed(moments.diagonal_value)
    diagonal = _diagonal(K)
    return LayerDerivatives(
        f_1=expectation(2, 0) / 2,
        f_3=expectation(1, 1),
        f_11=expectation(4, 0) / 4,
        f_13=expectation(3, 1) / 2,
        f_33=expectation(2, 2),
        slope=first(diagonal),
        curvature=summed(first)(diagonal),
        coincident=_coincident(K),
    )


def _pairwise(
    two_inputs: Callable[[Array, Array, Array], Array],
    one_input: Callable[[Array], Array],
    K: Matrix,
) -> Matrix:
    on_diagonal = one_input(_diagonal(K))[..., :, None]
    same = jnp.eye(K.shape[-1], dtype=bool)
    return jnp.where(same, on_diagonal, two_inputs(*_diagonals(K), K))


def _diagonal(K: Matrix) -> Float[Array, "*batch N"]:
    return jnp.diagonal(K, axis1=-2, axis2=-1)


def _diagonals(K: Matrix) -> tuple[Float[Array, "*batch N 1"], Float[Array, "*batch 1 N"]]:
    diagonal = _diagonal(K)
    return diagonal[..., :, None], diagonal[..., None, :]


def _coincident(K: Matrix) -> Bool[Array, "*batch N N"]:
    K11, K22 = _diagonals(K)
    return (jnp.abs(K11 - K) <= COINCIDENT * K11) & (jnp.abs(K22 - K) <= COINCIDENT * K22)
