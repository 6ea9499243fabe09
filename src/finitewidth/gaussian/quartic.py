"""Nearly-Gaussian laws: a Gaussian action plus a small quartic coupling, to first order in it.

    S(z) = K^{mn} z_m z_n / 2 + eps V^{mnrl} z_m z_n z_r z_l / 24                    PDLT (1.71)
    Z / |2 pi K|^(1/2) = 1 - (eps/8) V^{mnrl} K_mn K_rl                              PDLT (1.73)
    G_mn = K_mn - (eps/2) V^{abcd} K_ma K_nb K_cd                                    PDLT (1.74)
    kappa_{1234} = -eps V^{abcd} K_1a K_2b K_3c K_4d                                 PDLT (1.78)

The correlators (G, kappa) are the natural variables: they need no inverse matrix and stay small
where couplings do not. In terms of them any observable is, to first order,

    E[O] = <O>_G + kappa_{mnrl} <d_m d_n d_r d_l O>_G / 24.

The coupling and the connected correlator have opposite signs. Networks with Gaussian weights have
kappa > 0, a negative coupling, for which exp(-S) cannot be normalized: only the expansion has a
meaning, never draw samples from it.
"""

from collections.abc import Callable
from itertools import combinations_with_replacement, permutations
from math import factorial, prod

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from finitewidth.gaussian.covariance import check_covariance
from finitewidth.gaussian.expectation import Expectation, gaussian_expectation
from finitewidth.precision import in_double_precision
from finitewidth.validation import is_concrete


class QuarticAction(eqx.Module):
    """The action S = K^{-1} zz / 2 + coupling zzzz / 24 and its correlators to first order.

    Attributes:
        kernel: K, the inverse of the quadratic coupling, shape (N, N).
        coupling: eps V, totally symmetric, shape (N, N, N, N).

    Example:
        >>> law = QuarticAction([[1.0]], [[[[0.01]]]])
        >>> [round(float(v), 6) for v in (law.partition_ratio(), law.two_point()[0, 0])]
        [0.99875, 0.995]
    """

    kernel: Float[Array, "N N"]
    coupling: Float[Array, "N N N N"]

    @in_double_precision
    def __init__(self, kernel: ArrayLike, coupling: ArrayLike):
        self.kernel = check_covariance(kernel, "kernel")
        self.coupling = _check_symmetric(coupling, self.kernel, "coupling")

    @classmethod
    @in_double_precision
    def from_correlators(cls, metric: ArrayLike, connected: ArrayLike) -> "QuarticAction":
        """Solve the inverse problem: couplings from correlators, to first order.

        PDLT (1.74), (1.78) inverted: eps V = -kappa with indices raised by G^{-1},
        K_mn = G_mn - kappa_mnrl G^{rl} / 2.

        Args:
            metric: two-point correlator G, not singular, shape (N, N).
            connected: connected four-point correlator kappa, shape (N, N, N, N).

        Returns:
            The action. Cost O(N^5).

        Raises:
            ValueError: if G is not an invertible covariance or kappa is not totally symmetric.
        """
        G = check_covariance(metric, "metric")
        kappa = _check_symmetric(connected, G, "connected")
        precision = _inverse(G, "metric")
        coupling = -_lower(kappa, precision)
        return cls(G - jnp.einsum("mnrl,rl->mn", kappa, precision) / 2, coupling)

    @in_double_precision
    def action(self, z: ArrayLike) -> Float[Array, "*batch"]:
        """Evaluate S(z), minus the log density up to a constant.

        PDLT (1.71).

        Args:
            z: shape (..., N).

        Returns:
            S, shape (...).

        Raises:
            ValueError: if the kernel is singular or z has the wrong length.
        """
        z = jnp.asarray(z, dtype=float)
        if z.shape[-1:] != self.kernel.shape[:1]:
            raise ValueError(f"z: wanted shape (..., {self.kernel.shape[0]}), got {z.shape}.")
        quadratic = jnp.einsum("...m,...n,mn->...", z, z, _inverse(self.kernel, "kernel"))
        quartic = jnp.einsum("...m,...n,...r,...l,mnrl->...", z, z, z, z, self.coupling)
        return quadratic / 2 + quartic / 24

    @in_double_precision
    def partition_ratio(self) -> Float[Array, ""]:
        """Compute Z / |2 pi K|^(1/2) to first order, PDLT (1.73)."""
        return 1 - jnp.einsum("mnrl,mn,rl->", self.coupling, self.kernel, self.kernel) / 8

    @in_double_precision
    def two_point(self) -> Float[Array, "N N"]:
        """Compute E[z_m z_n] to first order, PDLT (1.74)."""
        K = self.kernel
        return K - K @ jnp.einsum("abcd,cd->ab", self.coupling, K) @ K / 2

    @in_double_precision
    def connected_four_point(self) -> Float[Array, "N N N N"]:
        """Compute the connected four-point correlator to first order, PDLT (1.78)."""
        return -_lower(self.coupling, self.kernel)

    @in_double_precision
    def four_point(self) -> Float[Array, "N N N N"]:
        """Compute E[z_m z_n z_r z_l] to first order, PDLT (1.77).

        Returns:
            K_12 K_34 and its two partners, their first-order change, and the connected part.
        """
        K, change = self.kernel, self.two_point() - self.kernel
        pairs = jnp.einsum("mn,rl->mnrl", K, K)
        pairs = pairs + jnp.einsum("mn,rl->mnrl", K, change)
        pairs = pairs + jnp.einsum("mn,rl->mnrl", change, K)
        three = pairs + pairs.transpose(0, 2, 1, 3) + pairs.transpose(0, 3, 2, 1)
        return three + self.connected_four_point()

    @in_double_precision
    def expectation(self, observable: Callable[[Array], Array], **options) -> "Perturbed":
        """Compute E[O(z)] to first order; see `perturbed_expectation` for the options."""
        return perturbed_expectation(
            observable, self.two_point(), self.connected_four_point(), **options
        )


class Perturbed(eqx.Module):
    """An expectation in a nearly-Gaussian law, to first order.

    Attributes:
        value: leading + correction.
        leading: the Gaussian expectation <O>_G with the full two-point correlator G.
        correction: kappa <d^4 O>_G / 24.
        error: numerical error of `value` (not the neglected second order).
    """

    value: Float[Array, "..."]
    leading: Float[Array, "..."]
    correction: Float[Array, "..."]
    error: Float[Array, "..."]


@in_double_precision
def perturbed_expectation(
    observable: Callable[[Array], Array],
    metric: ArrayLike,
    connected: ArrayLike,
    *,
    smooth: bool = True,
    **options,
) -> Perturbed:
    """Compute E[O(z)] for a nearly-Gaussian law known by its correlators, to first order.

    From PDLT (1.74), (1.78): E[O] = <O>_G + kappa_{mnrl} <d_m d_n d_r d_l O>_G / 24 + O(eps^2).

    Args:
        observable: O, function of one vector (N,) written with jax.numpy, output of any shape.
        metric: the full two-point correlator G, not the kernel K, shape (N, N).
        connected: connected four-point correlator kappa, shape (N, N, N, N).
        smooth: differentiate O four times (G may be singular). If False, put the derivatives on
            the Gaussian instead, <O He_4>: right for kinked O, but G must be invertible.
        **options: of `gaussian_expectation` (tolerance, max_points, sobol_points, seed).

    Returns:
        Value, its two parts and the numerical error. Cost: binom(N + 3, 4) fourth derivatives of O
        per quadrature point if smooth, one evaluation if not.

    Raises:
        ValueError: if G is not a covariance, kappa is not totally symmetric, or G is singular
            while `smooth` is False.

    Example:
        >>> result = perturbed_expectation(lambda z: z[0]**4, [[2.0]], [[[[0.1]]]])
        >>> round(float(result.value), 9)  # 3 G^2 + kappa
        12.1
    """
    G = check_covariance(metric, "metric")
    kappa = _check_symmetric(connected, G, "connected")
    if smooth:
        corrected = _with_fourth_derivative(observable, kappa)
    else:
        corrected = _with_hermite_weight(observable, kappa, _inverse(G, "metric"))
    result: Expectation = gaussian_expectation(corrected, G, **options)
    leading, correction = result.value
    return Perturbed(leading + correction, leading, correction, result.error.sum(axis=0))


def _with_fourth_derivative(observable, kappa: Array):
    """Return z -> (O, kappa d^4 O / 24)."""
    directions, weights = _fourth_powers(kappa)

    def corrected(z):
        def along(direction):
            line = lambda t: jnp.asarray(observable(z + t * direction), dtype=float)  # noqa: E731
            for _ in range(4):
                line = _derivative(line)
            return line(0.0)

        fourth = jax.vmap(along)(directions)
        value = jnp.asarray(observable(z), dtype=float)
        return jnp.stack([value, jnp.tensordot(weights, fourth, axes=1) / 24])

    return corrected


def _derivative(line):
    return lambda t: jax.jvp(line, (t,), (jnp.ones_like(t, dtype=float),))[1]


def _fourth_powers(kappa: Array) -> tuple[Array, Array]:
    """Write a symmetric tensor as sum_w c_w w^(x4), so that kappa d^4 = sum_w c_w (w.d)^4.

    The directions w are the integer points with w >= 0 and sum w = 4: as many as independent
    entries, and no polynomial of degree 4 vanishes on all of them.
    """
    variables = kappa.shape[0]
    quadruples = list(combinations_with_replacement(range(variables), 4))
    powers = np.array([[q.count(k) for k in range(variables)] for q in quadruples])
    directions = powers / 4.0
    monomials = np.prod(directions[None, :, :] ** powers[:, None, :], axis=-1)
    entries = kappa[tuple(np.array(quadruples).T)]
    return jnp.asarray(directions), jnp.linalg.solve(jnp.asarray(monomials), entries)


def _with_hermite_weight(observable, kappa: Array, precision: Array):
    """Return z -> (O, O kappa He_4(z) / 24), the same correction after integration by parts."""
    raised = _lower(kappa, precision)
    # Contractions of the raised tensor with the covariance, of which `kappa` holds two.
    pair = jnp.einsum("mnrl,mi,nj,rl->ij", kappa, precision, precision, precision)
    scalar = jnp.einsum("mnrl,mn,rl->", kappa, precision, precision)

    def corrected(z):
        value = jnp.asarray(observable(z), dtype=float)
        hermite = jnp.einsum("m,n,r,l,mnrl->", z, z, z, z, raised) - 6 * z @ pair @ z + 3 * scalar
        return jnp.stack([value, value * hermite / 24])

    return corrected


@in_double_precision
def even_action(z: ArrayLike, kernel: ArrayLike, *couplings: ArrayLike) -> Float[Array, "*batch"]:
    """Evaluate an even polynomial action with couplings of rank 4, 6, 8, ...

    PDLT (1.81): S = K^{mn} z_m z_n / 2 + sum_{m>=2} s_{2m} z^{2m} / (2m)!.

    Args:
        z: shape (..., N).
        kernel: K, invertible, shape (N, N).
        *couplings: s_4, s_6, ..., of shapes (N,) * 4, (N,) * 6, ...

    Returns:
        S, shape (...).

    Raises:
        ValueError: if the kernel is singular or a coupling has the wrong shape.

    Example:
        >>> import numpy as np
        >>> float(even_action([2.0], [[1.0]], np.full((1,) * 4, 3.0)))  # 4/2 + 3 * 16/24
        4.0
    """
    K = check_covariance(kernel, "kernel")
    z = jnp.asarray(z, dtype=float)
    if z.shape[-1:] != K.shape[:1]:
        raise ValueError(f"z: wanted shape (..., {K.shape[0]}), got {z.shape}.")
    total = jnp.einsum("...m,...n,mn->...", z, z, _inverse(K, "kernel")) / 2
    for k, coupling in enumerate(couplings):
        rank = 4 + 2 * k
        tensor = jnp.asarray(coupling, dtype=float)
        if tensor.shape != K.shape[:1] * rank:
            raise ValueError(
                f"couplings: wanted shape {K.shape[:1] * rank} at rank {rank}, got {tensor.shape}."
            )
        # One index after the other: the first contraction makes the batch axes.
        contracted = jnp.tensordot(z, tensor, axes=1)
        for _ in range(rank - 1):
            contracted = jnp.einsum("...m,...m->...", contracted, _align(z, contracted))
        total = total + contracted / prod(range(1, rank + 1))
    return total


def _align(z: Array, contracted: Array) -> Array:
    """Insert axes in z so that its last axis meets the last axis of `contracted`."""
    extra = contracted.ndim - z.ndim
    return z.reshape(z.shape[:-1] + (1,) * extra + z.shape[-1:])


def _lower(tensor: Array, matrix: Array) -> Array:
    return jnp.einsum(
        "abcd,ma,nb,rc,ld->mnrl", tensor, matrix, matrix, matrix, matrix, optimize=True
    )


def _inverse(matrix: Array, name: str) -> Array:
    if is_concrete(matrix):
        eigenvalues = np.linalg.eigvalsh(np.asarray(matrix))
        if eigenvalues[0] <= 1e-14 * eigenvalues[-1]:
            raise ValueError(
                f"{name}: wanted an invertible matrix, got one with smallest and largest "
                f"eigenvalues {eigenvalues[0]:.3g} and {eigenvalues[-1]:.3g}."
            )
    inverse = jnp.linalg.inv(matrix)
    return (inverse + inverse.T) / 2


def _check_symmetric(tensor: ArrayLike, matrix: Array, name: str) -> Float[Array, "N N N N"]:
    array = jnp.asarray(tensor, dtype=float)
    if matrix.ndim != 2 or array.shape != matrix.shape[:1] * 4:
        raise ValueError(
            f"{name}: wanted shape (N, N, N, N) beside a matrix (N, N), "
            f"got {array.shape} beside {matrix.shape}."
        )
    if is_concrete(array):
        values = np.asarray(array)
        if not np.isfinite(values).all():
            raise ValueError(f"{name}: wanted finite numbers, got NaN or infinity.")
        total = sum(values.transpose(p) for p in permutations(range(4)))
        difference = np.abs(values - total / factorial(4)).max()
        if difference > 1e-10 * np.abs(values).max():
            raise ValueError(
                f"{name}: wanted a totally symmetric tensor, got one that differs from its "
                f"symmetric part by {difference:.3g}."
            )
    return array
