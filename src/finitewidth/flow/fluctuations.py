r"""What every tensor recursion of the theory is made of: transport, and a source from one neuron.

A four-index tensor T on two pairs of samples goes from layer l to l+1 by

    T' = S + (n_l/n_{l-1}) (L (x) R) T

with linear maps L, R on pairs of samples (derivatives of pair expectations, local in the samples)
and a source S, a four-point expectation of one neuron. For the metric and the NTK, L = R = J is the
Jacobian of the layer map Phi: (K, Theta) -> (K', Theta'), and the statement is the law of total
covariance, PDLT (4.119), (8.77), (8.97):

    C' = S + (n_l/n_{l-1}) J C J^T,    C = [[V, D], [D^T, A]],   S = Cov_K[(C_W s s, Omega)],
    Omega_12 = lambda_W sigma_1 sigma_2 + C_W Theta_12 sigma'_1 sigma'_2              PDLT (8.74)

    J (dG, dH) = (C_W L[dG], lambda_W L[dG] + C_W (Theta L'[dG] + <sigma' sigma'> dH))

with L, L' the derivatives of <sigma sigma> and <sigma' sigma'>. Two different neurons are joined by
the NTK through F and B, stored as operators between the pairs (13) and (24):

    F'_1324 = C_W^2 { <s_1 s_2 s'_3 s'_4> Theta_34 + (n_l/n_{l-1}) [M (x) M] F }      PDLT (8.79)
    B'_1324 = C_W^2 { <s'_1 s'_2 s'_3 s'_4> Theta_12 Theta_34
                      + (n_l/n_{l-1}) <s'_1 s'_3> <s'_2 s'_4> B_1324 }                PDLT (8.89)

with M[X]_13 = <s'_1 s'_3> X_13 + <s_1 s''_3> X_33.
"""

from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from finitewidth.flow.layer_map import derivative_moment, second_moment
from finitewidth.flow.pair_derivatives import (
    PairHessian,
    PairJacobian,
    pair_hessian,
    pair_jacobian,
)
from finitewidth.gaussian.four_point import four_point_moment
from finitewidth.gaussian.pair import PairMoments

Matrix = Float[Array, "N N"]
Tensor = Float[Array, "N N N N"]
PairMap = Callable[[Float[Array, "N N *rest"]], Float[Array, "N N *rest"]]


class NeuronStatistics:
    """Everything that recursions ask about the neurons of one layer, computed when asked for.

    Attributes:
        moments: pair expectations of the activation.
        K: kernel of the layer, shape (N, N).
        points: quasi-random points of four-point expectations.
    """

    def __init__(self, moments: PairMoments, K: Matrix, points: int):
        self.moments, self.K, self.points = moments, K, points

    @cached_property
    def value(self) -> Matrix:
        """<sigma_a sigma_b>."""
        return second_moment(self.moments, self.K)

    @cached_property
    def slope(self) -> Matrix:
        """<sigma'_a sigma'_b>."""
        return derivative_moment(self.moments, self.K)

    @cached_property
    def value_jacobian(self) -> PairJacobian:
        """First derivatives of <sigma sigma>."""
        return pair_jacobian(self.moments, self.K)

    @cached_property
    def slope_jacobian(self) -> PairJacobian:
        """First derivatives of <sigma' sigma'>."""
        return pair_jacobian(self.moments, self.K, order=1)

    @cached_property
    def value_hessian(self) -> PairHessian:
        """Second derivatives of <sigma sigma>."""
        return pair_hessian(self.moments, self.K)

    @cached_property
    def slope_hessian(self) -> PairHessian:
        """Second derivatives of <sigma' sigma'>."""
        return pair_hessian(self.moments, self.K, order=1)

    def four_point(self, m: int, k: int) -> Tensor:
        """<D^m sigma_1 D^m sigma_2 D^k sigma_3 D^k sigma_4>."""
        return four_point_moment(self.moments.activation, self.K, self.points, (m, m, k, k))

    @cached_property
    def values(self) -> Tensor:
        """<sigma_1 sigma_2 sigma_3 sigma_4>."""
        return self.four_point(0, 0)

    @cached_property
    def mixed(self) -> Tensor:
        """<sigma_1 sigma_2 sigma'_3 sigma'_4>."""
        return self.four_point(0, 1)

    @cached_property
    def slopes(self) -> Tensor:
        """<sigma'_1 sigma'_2 sigma'_3 sigma'_4>."""
        return self.four_point(1, 1)


class Hyperparameters(NamedTuple):
    """Initialization and learning rates of layer l+1, and n_l / n_{l-1}."""

    C_b: Float[Array, ""]
    C_W: Float[Array, ""]
    lambda_b: Float[Array, ""]
    lambda_W: Float[Array, ""]
    ratio: Float[Array, ""]


class LayerJacobian(eqx.Module):
    """The Jacobian J of (K, Theta) -> (K', Theta'), and its adjoint.

    Attributes:
        value: derivatives of <sigma sigma>.
        slope: derivatives of <sigma' sigma'>.
        mean_slope: <sigma' sigma'>, shape (N, N).
        Theta: frozen NTK of the layer, shape (N, N).
        C_W: weight variance of the next layer.
        lambda_W: learning rate of the weights of the next layer.
    """

    value: PairJacobian
    slope: PairJacobian
    mean_slope: Matrix
    Theta: Matrix
    C_W: Float[Array, ""]
    lambda_W: Float[Array, ""]

    def push(
        self, dG: Float[Array, "N N *rest"], dH: Float[Array, "N N *rest"]
    ) -> tuple[Float[Array, "N N *rest"], Float[Array, "N N *rest"]]:
        """Return how metric and NTK of the next layer move, each (N, N, ...)."""
        moved = self.value.push(dG)
        turned = _times(self.Theta, self.slope.push(dG)) + _times(self.mean_slope, dH)
        return self.C_W * moved, self.lambda_W * moved + self.C_W * turned

    def pull(
        self, X: Float[Array, "*batch N N"], Y: Float[Array, "*batch N N"]
    ) -> tuple[Float[Array, "*batch N N"], Float[Array, "*batch N N"]]:
        """Return the adjoint of `push` on weights X of the metric and Y of the NTK."""
        on_metric = self.value.pull(self.C_W * X + self.lambda_W * Y)
        on_metric = on_metric + self.slope.pull(self.C_W * self.Theta * Y)
        return on_metric, self.C_W * self.mean_slope * Y


class NTKFluctuations(eqx.Module):
    """Covariances of metric and NTK at one layer, in units of 1/n_{l-1}.

    Attributes:
        V: Cov(metric, metric), pairs (12)(34).
        D: Cov(metric, NTK), pairs (12)(34): the first of preactivations, the second of the NTK.
        A: Cov(NTK, NTK) of one neuron each, pairs (12)(34).
        F: preactivations of two neurons with the NTK between them, pairs (13)(24).
        B: NTK between two neurons, pairs (13)(24).
    """

    V: Tensor
    D: Tensor
    A: Tensor
    F: Tensor
    B: Tensor

    @classmethod
    def none(cls, samples: int) -> "NTKFluctuations":
        """Return those of layer 1, which is the same in every network."""
        return cls(*(jnp.zeros((samples,) * 4) for _ in range(5)))


def advance_vertex(layer: NeuronStatistics, V: Tensor, C_W: Array, ratio: Array) -> Tensor:
    """Return the vertex of the next layer, PDLT (4.119), shape (N, N, N, N)."""
    source = layer.values - jnp.multiply.outer(layer.value, layer.value)
    return C_W**2 * (source + ratio * on_both_pairs(layer.value_jacobian.push, V))


def advance_fluctuations(
    layer: NeuronStatistics, Theta: Matrix, now: NTKFluctuations, above: Hyperparameters
) -> NTKFluctuations:
    """Return V, D, A, F, B of the next layer, PDLT (4.119), (8.77), (8.97), (8.79), (8.89).

    Args:
        layer: what the neurons of layer l do.
        Theta: frozen NTK of layer l, shape (N, N).
        now: the tensors of layer l.
        above: hyperparameters of layer l+1.

    Returns:
        The tensors of layer l+1. Cost: O(N^4), and the four-point expectations.
    """
    C_W, lambda_W, r = above.C_W, above.lambda_W, above.ratio
    Theta_12, Theta_34 = Theta[:, :, None, None], Theta[None, None, :, :]

    # The covariance of metric and NTK: J C J^T, one pair after the other, and the source.
    J = layer_jacobian(layer, Theta, above)
    V, D_transposed = J.push(now.V, swap_pairs(now.D))
    D, A = J.push(now.D, now.A)
    V, D = (swap_pairs(T) for T in J.push(swap_pairs(V), swap_pairs(D)))
    _, A = (swap_pairs(T) for T in J.push(swap_pairs(D_transposed), swap_pairs(A)))

    values = layer.values - jnp.multiply.outer(layer.value, layer.value)
    mixed = layer.mixed - jnp.multiply.outer(layer.value, layer.slope)
    slopes = layer.slopes - jnp.multiply.outer(layer.slope, layer.slope)
    with_Omega = lambda_W * values + C_W * Theta_34 * mixed
    Omega_Omega = (
        lambda_W * (with_Omega + C_W * Theta_12 * swap_pairs(mixed))
        + C_W**2 * Theta_12 * Theta_34 * slopes
    )

    # Two neurons: pairs (13) and (24).
    Theta_legs = Theta[None, :, None, :]
    F_source = layer.mixed.transpose(0, 2, 1, 3) * Theta_legs
    B_source = layer.slopes * Theta[:, None, :, None] * Theta_legs
    return NTKFluctuations(
        V=C_W**2 * values + r * V,
        D=C_W * with_Omega + r * D,
        A=Omega_Omega + r * A,
        F=C_W**2 * (F_source + r * on_both_pairs(layer.value_jacobian.push_leg, now.F)),
        B=C_W**2 * (B_source + r * layer.slope[:, :, None, None] * layer.slope[None, None] * now.B),
    )


def advance_ntk_shift(
    layer: NeuronStatistics,
    Theta: Matrix,
    G1: Matrix,
    H1: Matrix,
    now: NTKFluctuations,
    above: Hyperparameters,
) -> tuple[Matrix, Matrix]:
    r"""Return G^{1} and H^{1} of the next layer, the 1/n corrections of the mean metric and NTK.

    The second-order Taylor term of Phi, and what the NTK of a neuron has to do with its own
    preactivation (derived from PDLT (8.59), (8.71)):

        (G1, H1)' = r { J (G1, H1) + (1/2) d^2 Phi : C
                        + (0, C_W sum <d_g d_k (s'_1 s'_2)> F_g1k2) }

    Args:
        layer: what the neurons of layer l do.
        Theta: frozen NTK of layer l, shape (N, N).
        G1: NLO metric of layer l, shape (N, N).
        H1: NLO mean of the NTK of layer l, shape (N, N).
        now: the tensors of layer l.
        above: hyperparameters of layer l+1.

    Returns:
        The same two of layer l+1.
    """
    metric, ntk = layer_jacobian(layer, Theta, above).push(G1, H1)
    drift = layer.value_hessian.drift(now.V)
    f_1, f_3 = layer.slope_jacobian.f_1, layer.slope_jacobian.f_3
    D, F = now.D, now.F
    with_metric = (
        f_1 * jnp.einsum("aaab->ab", D)
        + f_1.T * jnp.einsum("bbab->ab", D)
        + f_3 * jnp.einsum("abab->ab", D)
    )
    across = (
        2 * f_1 * jnp.einsum("aaab->ab", F)
        + 2 * f_1.T * jnp.einsum("babb->ab", F)
        + f_3 * (jnp.einsum("aabb->ab", F) + jnp.einsum("baab->ab", F))
    )
    turned = Theta * layer.slope_hessian.drift(now.V) + with_metric + across
    return (
        above.ratio * (metric + above.C_W * drift),
        above.ratio * (ntk + above.lambda_W * drift + above.C_W * turned),
    )


def layer_jacobian(layer: NeuronStatistics, Theta: Matrix, above: Hyperparameters) -> LayerJacobian:
    """Return the Jacobian of (K, Theta) -> (K', Theta') at one layer."""
    return LayerJacobian(
        layer.value_jacobian, layer.slope_jacobian, layer.slope, Theta, above.C_W, above.lambda_W
    )


def on_both_pairs(pair_map: PairMap, T: Tensor) -> Tensor:
    """Apply a linear map to the first pair and to the second pair of a tensor."""
    return swap_pairs(pair_map(swap_pairs(pair_map(T))))


def swap_pairs(T: Tensor) -> Tensor:
    """Exchange the first and the second pair of a tensor."""
    return T.transpose(2, 3, 0, 1)


def _times(matrix: Matrix, A: Float[Array, "N N *rest"]) -> Float[Array, "N N *rest"]:
    return matrix.reshape(matrix.shape + (1,) * (A.ndim - 2)) * A
