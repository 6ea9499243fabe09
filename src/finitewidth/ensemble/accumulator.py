r"""Mergeable moments: what is kept of an ensemble when the networks themselves are forgotten.

Two ensembles with counts $n_a, n_b$, means $m_a, m_b$ and sums of squares about the mean
$M_a, M_b$ merge exactly (Chan, Golub and LeVeque 1979): with $\delta = m_b - m_a$,

$$m = m_a + \delta\,\frac{n_b}{n},\qquad M = M_a + M_b + \delta^2\,\frac{n_a n_b}{n},\qquad
n = n_a + n_b .$$

Covariances of a vector $d$ are kept as sums of products about a reference that is fixed for the
whole run, $\sum d_p d_q$, $\sum d_p^2 d_q$, $\sum d_p^2 d_q^2$: sums merge by addition, and the
distance of the reference from the mean is removed at the end by exact algebra. Where no reference
is known beforehand, the same sums are kept about the running mean: with the means of both parts
moved to $m$ by $\delta$, $\sum(c_p+\delta_p)^2(c_q+\delta_q)^2$ and its fellows are polynomials in
the old sums.

Merging is not associative to the last bit, so a run folds its chunks in one fixed order.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree


class Moments(eqx.Module):
    """Count, mean and sum of squares about the mean of a pytree of per-network numbers.

    Attributes:
        count: number of networks.
        mean: pytree of means.
        squares: pytree of the same shape, sum over networks of (value - mean)^2.
    """

    count: Float[Array, ""]
    mean: PyTree[Float[Array, "..."]]
    squares: PyTree[Float[Array, "..."]]

    @staticmethod
    def of(values: PyTree[Float[Array, "B ..."]], present: Float[Array, " B"]) -> "Moments":
        """Take the moments of a batch of networks.

        Args:
            values: per-network numbers, networks along the leading axis.
            present: 1 for a network that counts, 0 for one that does not; the first must count.

        Returns:
            The moments; a number that is the same in every network has exactly that mean and
            exactly zero variance.

        Example:
            >>> import numpy as np
            >>> moments = Moments.of(np.array([1.0, 2.0, 6.0]), np.ones(3))
            >>> float(moments.mean), float(moments.squares)
            (3.0, 14.0)
        """
        count = jnp.sum(present)

        def weighted_sum(value: Array) -> Array:
            return jnp.tensordot(present, value, axes=1)

        def mean(value: Array) -> Array:
            # Distances from the first network keep digits, and make constants exact.
            return value[0] + weighted_sum(value - value[0]) / count

        means = jax.tree.map(mean, values)
        squares = jax.tree.map(lambda v, m: weighted_sum((v - m) ** 2), values, means)
        return Moments(count, means, squares)

    def merge(self, other: "Moments") -> "Moments":
        """Return the moments of both ensembles together."""
        count = self.count + other.count
        share = other.count / count

        def merged_squares(mean_a: Any, mean_b: Any, squares_a: Any, squares_b: Any) -> Any:
            return squares_a + squares_b + (mean_b - mean_a) ** 2 * (self.count * share)

        return Moments(
            count,
            jax.tree.map(lambda a, b: a + (b - a) * share, self.mean, other.mean),
            jax.tree.map(merged_squares, self.mean, other.mean, self.squares, other.squares),
        )

    def variance(self) -> PyTree[Float[Array, "..."]]:
        """Return the unbiased variance over networks."""
        return jax.tree.map(lambda s: s / (self.count - 1.0), self.squares)

    def standard_error(self) -> PyTree[Float[Array, "..."]]:
        """Return the standard error of the mean."""
        return jax.tree.map(lambda v: (v / self.count) ** 0.5, self.variance())


class Covariance(NamedTuple):
    """A covariance matrix over networks and its standard error, both of shape (..., P, P)."""

    value: Float[np.ndarray, "*batch P P"]
    standard_error: Float[np.ndarray, "*batch P P"]


class ProductSums(eqx.Module):
    """Sums over networks of products of a vector d, taken about a fixed reference.

    Attributes:
        count: number of networks.
        first: sum of d_p, shape (..., P).
        second: sum of d_p d_q, shape (..., P, P).
        third: sum of d_p^2 d_q, shape (..., P, P).
        fourth: sum of d_p^2 d_q^2, shape (..., P, P).
    """

    count: Float[Array, ""]
    first: Float[Array, "*batch P"]
    second: Float[Array, "*batch P P"]
    third: Float[Array, "*batch P P"]
    fourth: Float[Array, "*batch P P"]

    @staticmethod
    def of(d: Float[Array, "B *batch P"], present: Float[Array, " B"]) -> "ProductSums":
        """Sum the products of a batch of networks.

        Args:
            d: per-network vectors minus the reference, networks along the leading axis.
            present: 1 for a network that counts, 0 for one that does not.

        Returns:
            The sums; cost B P^2, no array larger than B P or P^2 is made.
        """
        masked = d * present.reshape((-1,) + (1,) * (d.ndim - 1))
        squared = masked * d
        return ProductSums(
            count=jnp.sum(present),
            first=jnp.sum(masked, axis=0),
            second=jnp.einsum("b...p,b...q->...pq", masked, d),
            third=jnp.einsum("b...p,b...q->...pq", squared, d),
            fourth=jnp.einsum("b...p,b...q->...pq", squared, d**2),
        )

    def merge(self, other: "ProductSums") -> "ProductSums":
        """Return the sums over both ensembles together."""
        return jax.tree.map(lambda a, b: a + b, self, other)

    def covariance(self) -> Covariance:
        r"""Return the unbiased covariance and its standard error from the fourth moments.

        With $c = d - \langle d\rangle$, the squared error of the covariance is
        $(E[c_p^2 c_q^2] - E[c_p c_q]^2)/n$, up to relative corrections of order $1/n$.
        """
        count = np.asarray(self.count)
        mean = np.asarray(self.first) / count
        second, third, fourth = (
            np.asarray(s) / count for s in (self.second, self.third, self.fourth)
        )
        p, q = mean[..., :, None], mean[..., None, :]
        diagonal = np.einsum("...pp->...p", second)
        central = second - p * q
        central_fourth = (
            fourth
            - 2.0 * q * third
            - 2.0 * p * np.swapaxes(third, -1, -2)
            + p**2 * diagonal[..., None, :]
            + q**2 * diagonal[..., :, None]
            + 4.0 * p * q * second
            - 3.0 * p**2 * q**2
        )
        spread = np.maximum(central_fourth - central**2, 0.0)
        return Covariance(central * count / (count - 1.0), np.sqrt(spread / (count - 1.0)))


class CentralProducts(eqx.Module):
    """Mean of a vector over networks and sums of products of its distances c from that mean.

    Attributes:
        count: number of networks; may be 0.
        mean: shape (..., P).
        second: sum of c_p c_q, shape (..., P, P).
        third: sum of c_p^2 c_q, shape (..., P, P).
        fourth: sum of c_p^2 c_q^2, shape (..., P, P).
    """

    count: Float[Array, ""]
    mean: Float[Array, "*batch P"]
    second: Float[Array, "*batch P P"]
    third: Float[Array, "*batch P P"]
    fourth: Float[Array, "*batch P P"]

    @staticmethod
    def of(values: Float[Array, "B *batch P"], present: Float[Array, " B"]) -> "CentralProducts":
        """Take the mean and the products of a batch of networks.

        Args:
            values: per-network vectors, networks along the leading axis; finite.
            present: 1 for a network that counts, 0 for one that does not.

        Returns:
            The sums; a number that is the same in every network has exactly that mean and exactly
            zero products.

        Example:
            >>> import numpy as np
            >>> sums = CentralProducts.of(np.array([[1.0], [2.0], [6.0]]), np.ones(3))
            >>> sums.covariance().value.tolist()
            [[7.0]]
        """
        count = jnp.sum(present)
        # Distances from a network that counts keep digits, and make constants exact.
        start = jnp.asarray(values)[jnp.argmax(present)]
        mean = start + jnp.tensordot(present, values - start, axes=1) / jnp.maximum(count, 1.0)
        sums = ProductSums.of(values - mean, present)
        return CentralProducts(count, mean, sums.second, sums.third, sums.fourth)

    def about(self, mean: Float[Array, "*batch P"]) -> "CentralProducts":
        """Return the same sums about another point than the mean."""
        shift = self.mean - mean
        p, q = shift[..., :, None], shift[..., None, :]
        squares = np.einsum("...pp->...p", self.second)
        first, last = squares[..., :, None], squares[..., None, :]
        return CentralProducts(
            self.count,
            mean,
            self.second + self.count * p * q,
            self.third + q * first + 2.0 * p * self.second + self.count * p**2 * q,
            self.fourth
            + 2.0 * q * self.third
            + 2.0 * p * np.swapaxes(self.third, -1, -2)
            + q**2 * first
            + p**2 * last
            + 4.0 * p * q * self.second
            + self.count * p**2 * q**2,
        )

    def merge(self, other: "CentralProducts") -> "CentralProducts":
        """Return the sums over both ensembles together."""
        count = self.count + other.count
        mean = self.mean + (other.mean - self.mean) * (other.count / np.maximum(count, 1.0))
        a, b = self.about(mean), other.about(mean)
        return CentralProducts(
            count, mean, a.second + b.second, a.third + b.third, a.fourth + b.fourth
        )

    def standard_error(self) -> Float[np.ndarray, "*batch P"]:
        """Return the standard error of the mean."""
        count = np.asarray(self.count)
        squares = np.einsum("...pp->...p", np.asarray(self.second))
        return np.sqrt(np.maximum(squares, 0.0) / ((count - 1.0) * count))

    def covariance(self) -> Covariance:
        """Return the unbiased covariance and its standard error, as `ProductSums.covariance`."""
        zero = np.zeros_like(np.asarray(self.mean))
        sums = ProductSums(self.count, zero, self.second, self.third, self.fourth)  # pyright: ignore[reportArgumentType]
        return sums.covariance()
