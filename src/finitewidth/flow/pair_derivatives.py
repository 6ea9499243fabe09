r"""Derivatives of pair expectations with respect to the kernel: the Jacobian of every recursion.

Let f_ab(K_aa, K_bb, K_ab) = <s_a s_b>_K with s = sigma or s = sigma'. By Price's theorem

    f_1 = df/dK_aa = <s''_a s_b>/2,  f_2 = df/dK_bb = <s_a s''_b>/2,  f_3 = df/dK_ab = <s'_a s'_b>
    L[A]_ab = f_1 A_aa + f_2 A_bb + f_3 A_ab                      the local form of PDLT (4.90)

is how f moves when K moves by A, and integration by parts makes every other contraction of the
theory local in the same way: with X on the pair of a preactivation at a and an NTK leg at b,

    sum_g <d_g (s_a s'_b)> X_gb = <s'_a s'_b> X_ab + <s_a s''_b> X_bb      local form of (8.79)

has the coefficients f_3 and 2 f_2. So two matrices, f_1 and f_3, carry all first derivatives.

Where two inputs are one (a = b, duplicates, and x, -x for an odd or even activation), f depends on
one variance only. There f_1 = f_2 = half the derivative of the one-input function and f_3 = 0: the
same contractions hold, and kinked activations stay finite. For inputs that are parallel in another
way, a kinked activation has divergent derivatives in a direction in which the kernel never moves;
they are left out.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from finitewidth.gaussian.pair import PairMoments

Matrix = Float[Array, "N N"]

#: Two inputs whose kernel entries agree to this fraction are the same input.
COINCIDENT = 1e-13

#: Inputs with 1 - rho^2 below this are parallel: the angle is lost in rounding.
PARALLEL = 1e-13


class PairJacobian(eqx.Module):
    """First derivatives of <s_a s_b> at one kernel.

    Attributes:
        f_1: derivative with respect to K_aa, shape (N, N); f_2 is its transpose.
        f_3: derivative with respect to K_ab, shape (N, N), symmetric.
    """

    f_1: Matrix
    f_3: Matrix

    def push(self, A: Float[Array, "N N *rest"]) -> Float[Array, "N N *rest"]:
        """Return f_1 A_aa + f_2 A_bb + f_3 A_ab: how <s_a s_b> moves when K moves by A.

        Args:
            A: symmetric in its first two axes, shape (N, N, ...).

        Returns:
            The change, same shape. Cost: the size of A.
        """
        A_aa = jnp.einsum("aa...->a...", A)
        moved = _scaled(self.f_3, A) + _scaled(self.f_1, A_aa[:, None])
        return moved + _scaled(self.f_1.T, A_aa[None, :])

    def pull(self, X: Float[Array, "*batch N N"]) -> Float[Array, "*batch N N"]:
        """Apply the adjoint of `push`.

        With it, sum X_ab push(A)_ab = sum pull(X)_ab A_ab for all symmetric A.

        Args:
            X: shape (..., N, N).

        Returns:
            Same shape.
        """
        own = (self.f_1 * (X + jnp.swapaxes(X, -1, -2))).sum(axis=-1)
        return self.f_3 * X + own[..., None] * jnp.eye(self.f_1.shape[0])

    def push_leg(self, X: Float[Array, "N N *rest"]) -> Float[Array, "N N *rest"]:
        """Return f_3 X_ab + 2 f_2 X_bb, for a pair of a preactivation a and an NTK leg b.

        Args:
            X: shape (N, N, ...), no symmetry.

        Returns:
            Same shape.
        """
        X_bb = jnp.einsum("bb...->b...", X)
        return _scaled(self.f_3, X) + _scaled(2 * self.f_1.T, X_bb[None, :])

    def pull_leg(self, X: Float[Array, "*batch N N"]) -> Float[Array, "*batch N N"]:
        """Return the adjoint of `push_leg`."""
        own = 2 * (self.f_1.T * X).sum(axis=-2)
        return self.f_3 * X + own[..., None] * jnp.eye(self.f_1.shape[0])


class PairHessian(eqx.Module):
    """Second derivatives of <s_a s_b> at one kernel.

    Attributes:
        f_11: with respect to K_aa twice, shape (N, N).
        f_13: with respect to K_aa and K_ab, shape (N, N).
        f_33: with respect to K_ab twice, shape (N, N); the mixed derivative f_12 is f_33 / 4.
    """

    f_11: Matrix
    f_13: Matrix
    f_33: Matrix

    def drift(self, V: Float[Array, "N N N N"]) -> Matrix:
        r"""Return (1/2) sum_{P, Q in {aa, bb, ab}} f_PQ V_PQ, the local form of PDLT (4.115).

        The mean of <s_a s_b> exceeds its value at K by this much if K fluctuates with
        covariance V.

        Args:
            V: four-point vertex, shape (N, N, N, N).

        Returns:
            The drift, shape (N, N).
        """
        local = (jnp.einsum(f"{entries}->ab", V) for entries in ("aaab", "aabb", "abab"))
        return self.local_drift(*local)

    def local_drift(self, aaab: Matrix, aabb: Matrix, abab: Matrix) -> Matrix:
        """Return `drift` from V_(aa)(ab), V_(aa)(bb) and V_(ab)(ab), all that it asks for.

        Args:
            aaab: shape (N, N), V_(aa)(aa) on the diagonal.
            aabb: shape (N, N).
            abab: shape (N, N).

        Returns:
            The drift, shape (N, N).
        """
        # The terms in K_aa; those in K_bb are their transpose.
        one_sided = self.f_11 * jnp.diagonal(aaab)[:, None] + 2 * self.f_13 * aaab
        return 0.5 * (one_sided + one_sided.T + self.f_33 * (abab + aabb / 2))


def pair_jacobian(moments: PairMoments, K: Matrix, order: int = 0) -> PairJacobian:
    """Return the first derivatives of <sigma^(m)_a sigma^(m)_b> at the kernel K.

    Args:
        moments: pair expectations of the activation.
        K: kernel, shape (N, N).
        order: m, 0 for <sigma sigma> and 1 for <sigma' sigma'>.

    Returns:
        The derivatives. Cost: two pair expectations of N x N entries.
    """
    fill = _Filling(moments, K, order)
    slope = jax.grad(lambda k: fill.one_input(k).sum())(jnp.diagonal(K))
    return PairJacobian(
        fill(fill.expectation(2, 0) / 2, slope / 2, diverges=order > 0),
        fill(fill.expectation(1, 1), jnp.zeros_like(slope), diverges=order > 0),
    )


def pair_hessian(moments: PairMoments, K: Matrix, order: int = 0) -> PairHessian:
    """Return the second derivatives of <sigma^(m)_a sigma^(m)_b> at the kernel K.

    Args:
        moments: pair expectations of the activation.
        K: kernel, shape (N, N).
        order: m, 0 for <sigma sigma> and 1 for <sigma' sigma'>.

    Returns:
        The derivatives. Cost: three pair expectations of N x N entries.
    """
    fill = _Filling(moments, K, order)

    def slope(k: Array) -> Array:
        return jax.grad(lambda k: fill.one_input(k).sum())(k)

    curvature = jax.grad(lambda k: slope(k).sum())(jnp.diagonal(K))
    nothing = jnp.zeros_like(curvature)
    return PairHessian(
        fill(fill.expectation(4, 0) / 4, curvature / 2),
        fill(fill.expectation(3, 1) / 2, nothing),
        fill(fill.expectation(2, 2), nothing),
    )


class _Filling(eqx.Module):
    """Two-input derivatives with the one-input limit filled in where two inputs are one."""

    moments: PairMoments = eqx.field(static=True)
    K: Matrix
    order: int = eqx.field(static=True)

    @property
    def one_input(self) -> Callable[[Array], Array]:
        return (self.moments.diagonal_value, self.moments.diagonal_slope)[self.order]

    def expectation(self, m1: int, m2: int) -> Matrix:
        diagonal = jnp.diagonal(self.K)
        m = self.order
        return self.moments.differentiated(
            m + m1, m + m2, diagonal[:, None], diagonal[None, :], self.K
        )

    def __call__(
        self, two_inputs: Matrix, one_input: Float[Array, " N"], diverges: bool = True
    ) -> Matrix:
        sigma = self.moments.activation
        diagonal = jnp.diagonal(self.K)
        K11, K22 = diagonal[:, None], diagonal[None, :]
        same = (jnp.abs(K11 - self.K) <= COINCIDENT * K11) & (
            jnp.abs(K22 - self.K) <= COINCIDENT * K22
        )
        if sigma.kinks and diverges:
            size = jnp.sqrt(K11 * K22)
            parallel = (size - self.K) * (size + self.K) <= PARALLEL * size**2
            two_inputs = jnp.where(parallel, 0.0, two_inputs)
        if sigma.parity is not None:
            opposite = (jnp.abs(K11 + self.K) <= COINCIDENT * K11) & (
                jnp.abs(K22 + self.K) <= COINCIDENT * K22
            )
            sign = (-1.0) ** (self.order + (sigma.parity == "odd"))
            two_inputs = jnp.where(opposite, sign * one_input[:, None], two_inputs)
        return jnp.where(same, one_input[:, None], two_inputs)


def _scaled(matrix: Matrix, A: Float[Array, "N N *rest"]) -> Float[Array, "N N *rest"]:
    return matrix.reshape(matrix.shape + (1,) * (A.ndim - 2)) * A
