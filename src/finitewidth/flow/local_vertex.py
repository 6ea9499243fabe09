r"""The NLO metric of many inputs, from the vertex entries that hold no more than two of them.

The first 1/n correction of an entry (a, b) asks for the vertex on these two inputs alone,

    G1'_ab = r C_W { L[G1]_ab + (1/2) sum_{P, Q in {aa, bb, ab}} f_PQ V_PQ }      PDLT (4.115)

and so does the recursion of these entries: with L_aa[A] = g_a A_aa on one input and
L_ab[A] = f_1 A_aa + f_2 A_bb + f_3 A_ab on two,

    V'_PQ = C_W^2 { Cov_K[s s, s s]_PQ + r (L_P L_Q V) },   P, Q in {aa, bb, ab}   PDLT (4.119)

closes. Three N x N matrices, V_aaab, V_aabb and V_abab, carry all of it: O(L N^2) time and memory,
exact, where the full vertex has N^4 entries. Here r = n_l/n_{l-1}.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from finitewidth.flow.linearized import LinearizedFlow, LinearizedLayer
from finitewidth.flow.pair_derivatives import pair_hessian
from finitewidth.gaussian.four_point import two_input_moment
from finitewidth.gaussian.pair import pair_moments

Matrix = Float[Array, "N N"]


class LocalVertex(NamedTuple):
    """The vertex of one layer where it holds at most two inputs, in units of 1/n_{l-1}.

    Attributes:
        aaab: V_(aa)(ab), shape (N, N); V_(aa)(aa) on the diagonal.
        aabb: V_(aa)(bb), shape (N, N), symmetric.
        abab: V_(ab)(ab), shape (N, N), symmetric.
    """

    aaab: Matrix
    aabb: Matrix
    abab: Matrix

    @property
    def aaaa(self) -> Float[Array, " N"]:
        """V_(aa)(aa), shape (N,)."""
        return jnp.diagonal(self.aaab)


@eqx.filter_jit
def nlo_metric(flow: LinearizedFlow) -> Float[Array, "L N N"]:
    """Return G^{1} of every layer, PDLT (4.115), in units of 1/n_{l-1}, shape (L, N, N)."""

    def step(
        state: tuple[Matrix, LocalVertex], layer: LinearizedLayer
    ) -> tuple[tuple[Matrix, LocalVertex], Matrix]:
        G1, V = advance_locally(layer, *state)
        return (G1, V), G1

    zero = jnp.zeros_like(flow.kernel[0])
    _, above = jax.lax.scan(step, (zero, LocalVertex(zero, zero, zero)), flow.layers)
    return jnp.concatenate([zero[None], above])


def advance_locally(
    layer: LinearizedLayer, G1: Matrix, V: LocalVertex
) -> tuple[Matrix, LocalVertex]:
    """Take the NLO metric and the two-input entries of the vertex to the next layer."""
    moments, K = pair_moments(layer.activation), layer.K
    r, C_W = layer.above.ratio, layer.above.C_W
    drift = pair_hessian(moments, K).local_drift(*V)
    V_aaaa, V_bbab = V.aaaa, V.aaab.T
    f_1, f_2, f_3 = layer.value.f_1, layer.value.f_1.T, layer.value.f_3
    # On one input f_1 = f_2 = g / 2 and f_3 = 0.
    g = 2 * jnp.diagonal(f_1)
    mean = layer.mean_metric / jnp.where(C_W == 0, 1.0, C_W)
    own = jnp.diagonal(mean)

    def source(copies_of_a: int, covariance_with: Matrix) -> Matrix:
        m = (0,) * copies_of_a, (0,) * (4 - copies_of_a)
        return two_input_moment(layer.activation, K, *m) - covariance_with

    aaab = f_1 * V_aaaa[:, None] + f_2 * V.aabb + f_3 * V.aaab
    abab = (
        f_1**2 * V_aaaa[:, None]
        + f_2**2 * V_aaaa[None, :]
        + f_3**2 * V.abab
        + 2 * (f_1 * f_2 * V.aabb + f_1 * f_3 * V.aaab + f_2 * f_3 * V_bbab)
    )
    two_and_two = source(2, jnp.zeros_like(K))
    above = LocalVertex(
        aaab=C_W**2 * (source(3, own[:, None] * mean) + r * g[:, None] * aaab),
        aabb=C_W**2 * (two_and_two - jnp.outer(own, own) + r * jnp.outer(g, g) * V.aabb),
        abab=C_W**2 * (two_and_two - mean**2 + r * abab),
    )
    return r * C_W * (layer.value.push(G1) + drift), above
