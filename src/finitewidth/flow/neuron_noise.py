r"""The random matrix that the neurons of one layer add to metric and NTK of the next.

A tensor T^(l+1) = E[S (x) S] + (n_l/n_{l-1}) (J (x) J) T^(l) is the covariance of a random matrix S
of one neuron, transported. With z ~ N(0, K) the neuron and g, h ~ N(0, Theta) its NTK legs,

    V, D, A:  S = (C_W s s^T, Omega) - mean,    J = d Phi              PDLT (4.119), (8.77), (8.97)
    F:        S_13 = C_W s_1 s'_3 g_3,          J = C_W M              PDLT (8.79)
    B:        S_13 = C_W s'_1 g_1 s'_3 h_3,     J = C_W <s'_1 s'_3>    PDLT (8.89)

since E[g_3 g_4] = Theta_34 and E[g_1 g_2] E[h_3 h_4] = Theta_12 Theta_34. In each case J is also
what the projection of S on the lowest polynomials of the Gaussians is made of,

    X : S = J^T[X] : S_0 + rest,   S_0 = z z^T - K,  z g^T,  g h^T,    rest uncorrelated with S_0,

so that E[(X:S)(Y:S)] is a closed form in J^T[X] and J^T[Y], plus E[rest rest], which is all that is
left to draw. It vanishes for a linear activation and is small where sigma is nearly linear.
"""

from abc import abstractmethod
from typing import Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from finitewidth.flow.linearized import LinearizedLayer

Matrix = Float[Array, "N N"]
Sector = Literal["covariance", "F", "B"]

#: A pair of matrices, for the metric and for the NTK (None where it is not asked for); in the
#: sectors F and B there is only the first. Leading axes count draws.
Legs = tuple[Float[Array, "*draws N N"], Float[Array, "*draws N N"] | None]

#: From so many inputs on, the products of drawn neurons with weights are in single precision.
SINGLE_PRECISION_FROM = 256

#: Jitter of a Cholesky factor per row, relative to the mean of the diagonal.
JITTER = 1e-15


def covariance_root(K: Matrix) -> Matrix:
    """Return A with A A^T = K, for a K that may be singular; its shape does not depend on the rank.

    Cholesky, with a jitter of the size of rounding errors; where rounding made K indefinite by
    more than that, the eigenvalues that are positive.
    """
    size = K.shape[0]
    jitter = JITTER * size * jnp.trace(K) / size
    factor = jnp.linalg.cholesky(K + jitter * jnp.eye(size), symmetrize_input=False)

    def by_eigenvalues() -> Matrix:
        values, axes = jnp.linalg.eigh(K)
        return axes * jnp.sqrt(jnp.maximum(values, 0.0))

    return jax.lax.cond(jnp.isfinite(factor).all(), lambda: factor, by_eigenvalues)


class Roots(NamedTuple):
    """Roots of the covariances that a layer draws from: K, and Theta for legs of the NTK."""

    K: Matrix
    Theta: Matrix | None


class NeuronNoise(eqx.Module):
    """An abstract law of S at one layer, with its transport J."""

    layer: LinearizedLayer

    @abstractmethod
    def roots(self) -> Roots:
        """Return the roots that `draw` needs. Cost O(N^3)."""

    @abstractmethod
    def draw(self, roots: Roots, key: PRNGKeyArray, count: int) -> tuple[Array, ...]:
        """Draw neurons: vectors of shape (count, N)."""

    @abstractmethod
    def matrices(self, neurons: tuple[Array, ...]) -> Legs:
        """Return S of each neuron, shape (count, N, N)."""

    @abstractmethod
    def push(self, noise: Legs) -> Legs:
        """Return J of a matrix at this layer, shape (N, N)."""

    @abstractmethod
    def pull(self, weights: Legs) -> Legs:
        """Return J^T of weights at the next layer, shape (N, N)."""

    @abstractmethod
    def rest(self, neurons: tuple[Array, ...], weights: Legs, pulled: Legs) -> Float[Array, " M"]:
        """Return weights : S - pulled : S_0 of each neuron, shape (count,)."""

    @abstractmethod
    def lowest(self, pulled: Legs) -> Matrix:
        """Return E[S_0 (pulled : S_0)], in closed form. Cost O(N^3)."""

    @abstractmethod
    def spread(self, neurons: tuple[Array, ...], rest: Float[Array, " M"]) -> Legs:
        """Return the average over neurons of (S - J[S_0]) times a number for each."""


class CovarianceNoise(NeuronNoise):
    """The law of V, D and A: metric and NTK of a neuron about their means."""

    def roots(self) -> Roots:
        """Return the root of K."""
        return Roots(covariance_root(self.layer.K), None)

    def draw(self, roots: Roots, key: PRNGKeyArray, count: int) -> tuple[Array, ...]:
        """Draw z, sigma(z) and, with the NTK, sigma'(z)."""
        z = _standard_normal(key, count, self.layer.K) @ roots.K.T
        sigma = self.layer.activation
        if self.layer.ntk is None:
            return z, sigma(z)
        return z, sigma(z), sigma.derivative(z, 1)

    def matrices(self, neurons: tuple[Array, ...]) -> Legs:
        """Return (C_W s s^T, Omega) about their means."""
        s, above = neurons[1], self.layer.above
        squares = s[:, :, None] * s[:, None, :]
        metric = above.C_W * squares - self.layer.mean_metric
        if self.layer.ntk is None:
            return metric, None
        ds = neurons[2]
        slopes = ds[:, :, None] * ds[:, None, :]
        Omega = above.lambda_W * squares + above.C_W * self.layer.ntk.Theta * slopes
        return metric, Omega - self.layer.ntk.mean_Omega

    def push(self, noise: Legs) -> Legs:
        """Return (dG', dH') = J (dG, dH)."""
        dG, dH = noise
        if dH is None:
            return self.layer.above.C_W * self.layer.value.push(dG), None
        return self.layer.jacobian.push(dG, dH)

    def pull(self, weights: Legs) -> Legs:
        """Return J^T (X, Y)."""
        X, Y = weights
        if Y is None:
            return self.layer.value.pull(self.layer.above.C_W * X), None
        return self.layer.jacobian.pull(X, Y)

    def rest(self, neurons: tuple[Array, ...], weights: Legs, pulled: Legs) -> Float[Array, " M"]:
        """Return C_W s^T X s + Y:Omega - P:z z^T about its mean.

        With s = c z + t, for any c, the quadratic forms of s and z are z^T (c X c - P) z and
        t^T X (2 c z + t). Each term is small where the neuron is nearly linear: nothing cancels,
        and for large matrices single precision is enough.
        """
        X, Y = weights
        z, s, above = neurons[0], neurons[1], self.layer.above
        P = pulled[0]
        mean = (X * self.layer.mean_metric).sum() - (P * self.layer.K).sum()
        on_values, on_slopes = above.C_W * X, 0.0
        if Y is not None and self.layer.ntk is not None:
            on_values = on_values + above.lambda_W * Y
            on_slopes = _quadratic(neurons[2], above.C_W * self.layer.ntk.Theta * Y, neurons[2])
            mean = mean + (Y * self.layer.ntk.mean_Omega).sum()
        size = (z**2).sum(axis=0)
        c = (s * z).sum(axis=0) / jnp.where(size > 0, size, 1.0)
        t = s - c * z
        on_z = _quick_quadratic(z, on_values * c[:, None] * c - P, z)
        on_values_of_s = _quick_quadratic(t, on_values, 2 * c * z + t)
        return on_z + on_values_of_s + on_slopes - mean

    def lowest(self, pulled: Legs) -> Matrix:
        """Return E[(z z^T - K) (P : z z^T)] = 2 K P K, for a symmetric P."""
        return 2 * self.layer.K @ pulled[0] @ self.layer.K

    def spread(self, neurons: tuple[Array, ...], rest: Float[Array, " M"]) -> Legs:
        """Return the average of rest times (S - J[z z^T - K])."""
        z, s, above = neurons[0], neurons[1], self.layer.above
        share = rest[:, None] / rest.shape[0]
        total = rest.mean()
        squares = (share * s).T @ s
        lowest = (share * z).T @ z - total * self.layer.K
        metric = above.C_W * squares - total * self.layer.mean_metric
        if self.layer.ntk is None:
            return metric - self.push((lowest, None))[0], None
        ntk, ds = self.layer.ntk, neurons[2]
        Omega = above.lambda_W * squares + above.C_W * ntk.Theta * ((share * ds).T @ ds)
        on_metric, on_ntk = self.layer.jacobian.push(lowest, jnp.zeros_like(lowest))
        return metric - on_metric, Omega - total * ntk.mean_Omega - on_ntk


class LegNoise(NeuronNoise):
    """What F and B have in common: S_13 = C_W u_1 v_3, with mean zero, and S_0 = u0_1 v0_3.

    The neurons are drawn as (u0, v0, u, v).
    """

    def roots(self) -> Roots:
        """Return the roots of K and Theta."""
        return Roots(covariance_root(self.layer.K), covariance_root(self._ntk.Theta))

    @property
    def _ntk(self):
        if self.layer.ntk is None:
            raise ValueError("F, B: wanted a flow with the NTK, got one of the metric alone.")
        return self.layer.ntk

    def matrices(self, neurons: tuple[Array, ...]) -> Legs:
        """Return C_W u v^T."""
        u, v = neurons[2:]
        return self.layer.above.C_W * u[:, :, None] * v[:, None, :], None

    def rest(self, neurons: tuple[Array, ...], weights: Legs, pulled: Legs) -> Float[Array, " M"]:
        """Return C_W u^T X v - u0^T P v0."""
        u0, v0, u, v = neurons
        return self.layer.above.C_W * _quadratic(u, weights[0], v) - _quadratic(u0, pulled[0], v0)

    def spread(self, neurons: tuple[Array, ...], rest: Float[Array, " M"]) -> Legs:
        """Return the average of rest times (C_W u v^T - J[u0 v0^T])."""
        u0, v0, u, v = neurons
        share = rest[:, None] / rest.shape[0]
        lowest, _ = self.push(((share * u0).T @ v0, None))
        return self.layer.above.C_W * (share * u).T @ v - lowest, None


class FNoise(LegNoise):
    """The law of F: a preactivation leg z, and an NTK leg g."""

    def draw(self, roots: Roots, key: PRNGKeyArray, count: int) -> tuple[Array, ...]:
        """Draw z, g, sigma(z), sigma'(z) g."""
        z, g = _gaussians(key, count, roots.K, roots.Theta)
        sigma = self.layer.activation
        return z, g, sigma(z), sigma.derivative(z, 1) * g

    def push(self, noise: Legs) -> Legs:
        """Return C_W (<s'_1 s'_3> X_13 + <s_1 s''_3> X_33)."""
        return self.layer.above.C_W * self.layer.value.push_leg(noise[0]), None

    def pull(self, weights: Legs) -> Legs:
        """Return the adjoint of `push`."""
        return self.layer.above.C_W * self.layer.value.pull_leg(weights[0]), None

    def lowest(self, pulled: Legs) -> Matrix:
        """Return E[z g^T (z^T P g)] = K P Theta."""
        return self.layer.K @ pulled[0] @ self._ntk.Theta


class BNoise(LegNoise):
    """The law of B: two NTK legs g and h."""

    def draw(self, roots: Roots, key: PRNGKeyArray, count: int) -> tuple[Array, ...]:
        """Draw g, h, sigma'(z) g, sigma'(z) h."""
        z, g, h = _gaussians(key, count, roots.K, roots.Theta, roots.Theta)
        ds = self.layer.activation.derivative(z, 1)
        return g, h, ds * g, ds * h

    def push(self, noise: Legs) -> Legs:
        """Return C_W <s'_1 s'_3> X_13."""
        return self.layer.above.C_W * self._ntk.mean_slope * noise[0], None

    def pull(self, weights: Legs) -> Legs:
        """Return the adjoint of `push`, which is its own."""
        return self.push(weights)

    def lowest(self, pulled: Legs) -> Matrix:
        """Return E[g h^T (g^T P h)] = Theta P Theta."""
        return self._ntk.Theta @ pulled[0] @ self._ntk.Theta


#: The law of each sector.
NOISE: dict[Sector, type[NeuronNoise]] = {"covariance": CovarianceNoise, "F": FNoise, "B": BNoise}


def _gaussians(key: PRNGKeyArray, count: int, *roots: Matrix | None) -> list[Array]:
    keys = jax.random.split(key, len(roots))
    return [
        _standard_normal(k, count, root) @ root.T
        for k, root in zip(keys, roots, strict=True)
        if root is not None
    ]


def _standard_normal(key: PRNGKeyArray, count: int, like: Matrix) -> Float[Array, "M N"]:
    """Draw in single precision, in half the time: the grid of the numbers, not their use.

    The variance of such numbers is one to 1e-6, far below the error of any number of draws.
    """
    drawn = jax.random.normal(key, (count, like.shape[0]), dtype=jnp.float32)
    return drawn.astype(like.dtype)


def _quadratic(u: Float[Array, "M N"], X: Matrix, v: Float[Array, "M N"]) -> Float[Array, " M"]:
    """Return u^T X v for each row."""
    return ((u @ X) * v).sum(axis=-1)


def _quick_quadratic(
    u: Float[Array, "M N"], X: Matrix, v: Float[Array, "M N"]
) -> Float[Array, " M"]:
    """Return u^T X v for each row, for large X to a relative accuracy of 1e-6 in half the time."""
    if X.shape[0] < SINGLE_PRECISION_FROM:
        return _quadratic(u, X, v)
    size = jnp.abs(X).max()
    scale = jnp.where(size > 0, size, 1.0)
    product = jnp.matmul(
        u.astype(jnp.float32), (X / scale).astype(jnp.float32), precision=jax.lax.Precision.HIGHEST
    )
    return scale * (product.astype(v.dtype) * v).sum(axis=-1)
