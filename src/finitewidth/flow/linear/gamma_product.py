r"""A product of gamma variables as a law with the interface of `scipy.stats`, and Meijer's G.

    X = scale * prod_l gamma_(a_l),   E[X^s] = scale^s prod_l Gamma(a_l + s)/Gamma(a_l)

PDLT chapter 3, footnote 7. Density and tails come from the contour integrals of `contour`;
quantiles invert the tails.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import ArrayLike, Float
from scipy.optimize import root_scalar
from scipy.special import gammaln

from finitewidth.flow.linear.contour import GammaFactor, MellinTransform, gamma_factors


@dataclass(frozen=True)
class GammaProduct:
    """The law of X = scale * prod gamma_(a_l) > 0, with the interface of `scipy.stats`.

    Attributes:
        factors: the independent factors.
        log_scale: logarithm of the scale.

    Accuracy: log densities and logarithms of tails to 1e-10, or 1e-15 of themselves where they are
    large; the rounding of log-gammas adds 1e-16 sum_l a_l log a_l.

    Cost: a few hundred complex log-gammas per point and distinct factor.

    Example:
        >>> law = GammaProduct(gamma_factors([1.0]), 0.0)  # exponential
        >>> round(float(law.sf(2.0)), 12) == round(math.exp(-2.0), 12)
        True
    """

    factors: tuple[GammaFactor, ...]
    log_scale: float

    @property
    def transform(self) -> MellinTransform:
        """The Mellin transform E[(X/scale)^s]."""
        return MellinTransform(self.factors)

    @property
    def mass(self) -> float:
        """The probability that X is not zero; 1 for gamma variables."""
        return self.transform.mass

    def logpdf(self, x: ArrayLike) -> Float[np.ndarray, "*batch"]:
        """Return the log density at x > 0; minus infinity at and below 0 and at infinity."""
        x = np.asarray(x, dtype=float)
        with np.errstate(divide="ignore", invalid="ignore"):
            log_x = np.log(x)
        inside = (x > 0) & np.isfinite(x)
        density = self._on_line(log_x, inside, self.transform.log_density)
        return np.where(np.isnan(x), np.nan, density - np.where(inside, log_x, 0.0))

    def log_density_of_log(self, log_x: ArrayLike) -> Float[np.ndarray, "*batch"]:
        """Return the log density of log X, for magnitudes that no floating-point number has."""
        log_x = np.asarray(log_x, dtype=float)
        return self._on_line(log_x, np.isfinite(log_x), self.transform.log_density)

    def pdf(self, x: ArrayLike) -> Float[np.ndarray, "*batch"]:
        """Return the density at x > 0."""
        return np.exp(self.logpdf(x))

    def cdf(self, x: ArrayLike) -> Float[np.ndarray, "*batch"]:
        """Return P(X <= x)."""
        return self._tails(x)[0]

    def sf(self, x: ArrayLike) -> Float[np.ndarray, "*batch"]:
        """Return P(X > x), accurate in relative terms also where it is tiny."""
        return self._tails(x)[1]

    def ppf(self, q: ArrayLike) -> Float[np.ndarray, "*batch"]:
        """Return the quantile x with P(X <= x) = q.

        Raises:
            ValueError: if a probability is not in [0, 1].
        """
        with np.errstate(over="ignore"):
            return np.exp(self.log_ppf(q))

    def isf(self, q: ArrayLike) -> Float[np.ndarray, "*batch"]:
        """Return the x with P(X > x) = q, accurate also for tiny q.

        Raises:
            ValueError: if a probability is not in [0, 1].
        """
        with np.errstate(over="ignore"):
            return np.exp(self._solve(q, upper=True))

    def log_ppf(self, q: ArrayLike) -> Float[np.ndarray, "*batch"]:
        """Return the logarithm of the quantile, for magnitudes that no float has."""
        return self._solve(q, upper=False)

    def sample(self, count: int, seed: int | np.random.Generator = 0) -> Float[np.ndarray, " R"]:
        """Draw independent values; those that are zero with the probability 1 - mass are 0."""
        rng = np.random.default_rng(seed)
        total = np.full(count, self.log_scale)
        for factor in self.factors:
            cumulative = np.cumsum(factor.weights)
            for _ in range(factor.count):
                place = np.searchsorted(cumulative, rng.random(count), side="right")
                alive = place < len(cumulative)
                shape = factor.shapes[np.minimum(place, len(cumulative) - 1)]
                # The logarithm of a gamma variable of small shape: gamma_a = gamma_(a+1) U^(1/a).
                log_value = np.log(rng.gamma(shape + 1)) + np.log(rng.random(count)) / shape
                total += np.where(alive | (factor.weights.sum() >= 1), log_value, -np.inf)
        return np.exp(total)

    def _on_line(
        self,
        log_x: Float[np.ndarray, "*batch"],
        inside: np.ndarray,
        function: Callable[[Float[np.ndarray, " P"]], Float[np.ndarray, " P"]],
    ) -> Float[np.ndarray, "*batch"]:
        result = np.full(log_x.shape, -np.inf)
        if inside.any():
            result[inside] = function(log_x[inside] - self.log_scale)
        return result

    def _tails(
        self, x: ArrayLike
    ) -> tuple[Float[np.ndarray, "*batch"], Float[np.ndarray, "*batch"]]:
        x = np.asarray(x, dtype=float)
        lower, upper = np.where(x < 0, 0.0, 1 - self.mass), np.where(x < 0, 1.0, self.mass)
        infinite = np.isposinf(x)
        lower, upper = np.where(infinite, 1.0, lower), np.where(infinite, 0.0, upper)
        inside = (x > 0) & ~infinite
        if inside.any():
            y = np.log(x[inside]) - self.log_scale
            log_tail, is_upper = self.transform.log_tail(y)
            tail = np.exp(log_tail)
            lower[inside] = np.where(is_upper, 1 - tail, 1 - self.mass + tail)
            upper[inside] = np.where(is_upper, tail, self.mass - tail)
        bad = np.isnan(x)
        return np.where(bad, np.nan, lower), np.where(bad, np.nan, upper)

    def _solve(self, q: ArrayLike, upper: bool) -> Float[np.ndarray, "*batch"]:
        """Return log x with P(X <= x) = q, or P(X > x) = q."""
        q = np.asarray(q, dtype=float)
        if not ((q >= 0) & (q <= 1)).all():
            raise ValueError(f"q: wanted probabilities from 0 to 1, got {q.tolist()}.")
        flat = [self._solve_one(float(one), upper) for one in q.ravel()]
        return np.array(flat).reshape(q.shape)

    def _solve_one(self, q: float, upper: bool) -> float:
        mean, variance = (float(d[0]) for d in self.transform.derivatives(np.zeros(1)))
        below, above = (self.mass - q, q) if upper else (q - (1 - self.mass), 1 - q)
        if above <= 0:
            return math.inf
        if below <= 0:
            return -math.inf
        # Compare the tail that is small, whose logarithm is accurate.
        from_above = above < below

        def excess(y: float) -> float:
            log_tail, is_upper = (v[0] for v in self.transform.log_tail(np.array([y])))
            wanted = above if from_above else below
            if bool(is_upper) == from_above:
                log_value = float(log_tail)
            else:
                log_value = math.log(max(self.mass - math.exp(log_tail), 1e-300))
            difference = log_value - math.log(wanted)
            return -difference if from_above else difference

        low, high, reach = mean, mean, 2 * math.sqrt(variance)
        while excess(low) > 0:
            low, reach = low - reach, 2 * reach
        reach = 2 * math.sqrt(variance)
        while excess(high) < 0:
            high, reach = high + reach, 2 * reach
        if low < high:
            low = root_scalar(excess, bracket=(low, high), xtol=1e-13, rtol=1e-14).root
        return float(low) + self.log_scale


def log_meijer_g(u: ArrayLike, b: Sequence[float]) -> Float[np.ndarray, "*batch"]:
    """Compute the logarithm of the Meijer function G^{L,0}_{0,L}(u | b_1, ..., b_L) at u > 0.

    It is (1/2 pi i) int ds u^(-s) prod_l Gamma(b_l + s), the density behind PDLT chapter 3,
    footnote 7: e^-u u^b for L = 1 and 2 u^((b_1 + b_2)/2) K_(b_1 - b_2)(2 sqrt u) for L = 2.

    Args:
        u: positive numbers, any shape.
        b: parameters, any real numbers; they may coincide or differ by whole numbers.

    Returns:
        The logarithms, shape of `u`.

    Raises:
        ValueError: if there is no parameter or a u is not positive and finite.

    Accuracy: 1e-10 in the logarithm, at any u.

    Example:
        >>> round(float(log_meijer_g(0.7, [0.5, 1.0, 2.5])), 9)
        -0.914905535
    """
    parameters = np.asarray(b, dtype=float)
    u = np.asarray(u, dtype=float)
    if parameters.ndim != 1 or parameters.size == 0 or not np.isfinite(parameters).all():
        raise ValueError(f"b: wanted a list of finite numbers, got {b!r}.")
    if not ((u > 0) & np.isfinite(u)).all():
        raise ValueError("u: wanted finite positive numbers.")
    # u^k G(u | b) = G(u | b + k): the parameters of a law of gamma variables are positive.
    shift = max(0.0, 1 - float(parameters.min()))
    law = GammaProduct(gamma_factors(parameters + shift), 0.0)
    normalization = gammaln(parameters + shift).sum()
    log_u = np.log(u)
    return law.log_density_of_log(log_u) + normalization - shift * log_u
