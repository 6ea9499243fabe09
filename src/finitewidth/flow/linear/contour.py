r"""The law of a product of gamma variables, by inverting its Mellin transform along a contour.

A product X of gamma variables of shapes a_l has E[X^s] = M(s) = prod_l Gamma(a_l + s)/Gamma(a_l).
The density of y = log X and its tails are

    p(y)     = (1/2 pi) int dt M(c + it) e^(-(c + it) y),
    P(> y)   = (1/2 pi) int dt M(c + it) e^(-(c + it) y) / (c + it),    c > 0,

and -P(< y) is the second line with c < 0. The first is a Meijer function: M(s) without its
denominators inverts to G^{L,0}_{0,L}(u | a_1, ..., a_L). Poles of equal parity coincide, so
that residues are no use; the contour does not mind. It runs through the saddle point,
M'(c)/M(c) = y, where the integrand is largest and nothing cancels. The trapezoid rule converges
exponentially there: its step must resolve the width of the saddle and the distance to the poles.

Factors may be mixtures, sum_k w_k Gamma(a_k + s)/Gamma(a_k), with weights that sum to less than 1
if X can be zero.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Inexact
from scipy.special import digamma, gammaln, loggamma, polygamma

#: The contour ends where the integrand has fallen to e^-42, below double precision.
FALL = 42.0
#: Steps per width of the saddle, and per distance to the nearest pole: errors below e^-40.
STEPS_PER_SADDLE, STEPS_PER_POLE = 2.5, 7.0
#: Points whose contours are summed at once, and nodes of each.
CHUNK, BLOCK = 64, 2048
#: Saddles beyond this, far in the upper tail, are taken to leading order.
FAR = 1e7
#: Far in the lower tail the contour squeezes between the saddle and a pole: x below e^-10^4.
MOST_NODES = 4_000_000
#: How far to go towards the pole at -edge, as a part of the edge, where that costs little.
NEAREST = 0.9
#: Digits that may be lost by it, as a natural logarithm.
MOST_LOST = 11.0
#: Distance of a saddle from the pole at -edge, relative to the edge, below which it is rounding.
LEAST_DISTANCE = 1e-15


@dataclass(frozen=True)
class GammaFactor:
    """A gamma variable, or a mixture of several, to an independent power of layers.

    Attributes:
        shapes: a_k, shape (K,).
        weights: w_k, shape (K,); they sum to the probability that the factor is not zero.
        count: how many independent factors of this kind there are.
    """

    shapes: Float[np.ndarray, " K"]
    weights: Float[np.ndarray, " K"]
    count: int = 1

    @property
    def mass(self) -> float:
        """The probability that the product of all `count` factors is not zero."""
        return float(self.weights.sum() ** self.count)

    def log_transform(self, s: Inexact[np.ndarray, "*S"]) -> Inexact[np.ndarray, "*S"]:
        """Return log M(s), real for real s; for complex s up to multiples of 2 pi i."""
        log_gamma = gammaln if np.isrealobj(s) else loggamma
        if len(self.shapes) == 1:
            a = self.shapes[0]
            return self.count * (log_gamma(a + s) - gammaln(a) + math.log(self.weights[0]))
        if not np.isrealobj(s) and self._fits(s):
            terms = (log_gamma(a + s) - gammaln(a) + np.log(sum_) for a, sum_ in self._sums(s))
        else:
            pairs = zip(self.shapes, np.log(self.weights), strict=True)
            terms = (log_gamma(a + s) - gammaln(a) + log_weight for a, log_weight in pairs)
        # One term at a time, against the largest so far: a list of all would be long.
        total, top = np.zeros_like(s), np.full(np.shape(s), -np.inf)
        with np.errstate(divide="ignore", invalid="ignore"):
            for term in terms:
                new = np.maximum(top, np.real(term))
                total = total * np.exp(top - new) + np.exp(term - new)
                top = new
            return self.count * (np.log(total) + top)

    @cached_property
    def _chains(self) -> list[tuple[float, Float[np.ndarray, " J"]]]:
        """Weights of shapes a, a + 1, a + 2, ..., one chain for every fraction of a."""
        chains = []
        for fraction in np.unique(self.shapes % 1):
            mine = self.shapes % 1 == fraction
            start = self.shapes[mine].min()
            place = np.rint(self.shapes[mine] - start).astype(int)
            weights = np.zeros(place.max() + 1)
            np.add.at(weights, place, self.weights[mine])
            chains.append((float(start), weights))
        return chains

    def _sums(self, s: Inexact[np.ndarray, "*S"]) -> Iterator[tuple[float, np.ndarray]]:
        """Sum a chain by Horner's rule, Gamma(a+1+s)/Gamma(a+1) = (a+s)/a Gamma(a+s)/Gamma(a)."""
        for start, weights in self._chains:
            total = np.full(s.shape, weights[-1], dtype=s.dtype)
            for i in range(len(weights) - 2, -1, -1):
                total *= 1 + s / (start + i)
                total += weights[i]
            yield start, total

    def _fits(self, s: Inexact[np.ndarray, "*S"]) -> bool:
        """Tell whether the products of Horner's rule are floating-point numbers."""
        farthest = float(np.abs(s).max())
        growth = max(
            np.log1p(farthest / (start + np.arange(len(weights)))).sum()
            for start, weights in self._chains
        )
        return bool(growth < 650)

    def derivatives(
        self, c: Float[np.ndarray, "*S"]
    ) -> tuple[Float[np.ndarray, "*S"], Float[np.ndarray, "*S"]]:
        """Return the first and second derivative of log M at real points."""
        if len(self.shapes) == 1:
            shifted = self.shapes[0] + c
            return self.count * digamma(shifted), self.count * polygamma(1, shifted)
        shifted = self.shapes + c[..., None]
        psi = digamma(shifted)
        log_terms = gammaln(shifted) - gammaln(self.shapes) + np.log(self.weights)
        with np.errstate(invalid="ignore"):  # NaN at a pole itself, which `_near_pole` keeps off
            share = np.exp(log_terms - log_terms.max(axis=-1, keepdims=True))
        share = share / share.sum(axis=-1, keepdims=True)
        mean = (share * psi).sum(axis=-1)
        spread = (share * (polygamma(1, shifted) + (psi - mean[..., None]) ** 2)).sum(axis=-1)
        return self.count * mean, self.count * spread


def gamma_factors(shapes: Sequence[float] | Float[np.ndarray, " A"]) -> tuple[GammaFactor, ...]:
    """Return one factor for every distinct shape, with its multiplicity."""
    values, counts = np.unique(np.asarray(shapes, dtype=float), return_counts=True)
    return tuple(
        GammaFactor(np.array([a]), np.ones(1), int(n)) for a, n in zip(values, counts, strict=True)
    )


@dataclass(frozen=True)
class MellinTransform:
    """M(s) of a product of independent factors, and its inversion.

    Attributes:
        factors: the independent factors.
    """

    factors: tuple[GammaFactor, ...]

    @property
    def mass(self) -> float:
        """The probability that the product is not zero; 1 for gamma variables."""
        return math.prod(factor.mass for factor in self.factors)

    @property
    def edge(self) -> float:
        """The smallest shape: moments E[X^s] exist for s > -edge."""
        if not self.factors:
            raise ValueError(
                "widths: without hidden layers the signal is the same number in every network; "
                "wanted a hidden layer."
            )
        return float(min(factor.shapes.min() for factor in self.factors))

    def log_density(self, y: Float[np.ndarray, " P"]) -> Float[np.ndarray, " P"]:
        """Return the log density of log X at finite y."""
        return self._integrate(y, self.saddle(y), tail=False)

    def log_tail(
        self, y: Float[np.ndarray, " P"]
    ) -> tuple[Float[np.ndarray, " P"], Bool[np.ndarray, " P"]]:
        """Return the logarithm of one tail, the smaller one or nearly, and if it is the upper.

        The contour must pass the pole at 0 at a distance; half an inverse standard deviation off
        the saddle costs no digits. It stays on this side of the pole at -edge.
        """
        c = self.saddle(y)
        keep_off = min(0.5 / math.sqrt(self.derivatives(np.zeros(1))[1][0]), self.edge / 2)
        upper = c >= 0
        c = np.where(upper, np.maximum(c, keep_off), np.minimum(c, -keep_off))
        return self._integrate(y, c, tail=True), upper

    def derivatives(
        self, c: Float[np.ndarray, " P"]
    ) -> tuple[Float[np.ndarray, " P"], Float[np.ndarray, " P"]]:
        """Return the first and second derivative of log M at real points."""
        slope, curvature = np.zeros_like(c), np.zeros_like(c)
        for factor in self.factors:
            first, second = factor.derivatives(c)
            slope, curvature = slope + first, curvature + second
        return slope, curvature

    def log_transform(self, s: Inexact[np.ndarray, "*S"]) -> Inexact[np.ndarray, "*S"]:
        """Return log M(s), real for real s; for complex s up to multiples of 2 pi i."""
        total = np.zeros_like(s)
        for factor in self.factors:
            total = total + factor.log_transform(s)
        return total

    def saddle(self, y: Float[np.ndarray, " P"]) -> Float[np.ndarray, " P"]:
        """Solve (log M)'(c) = y by Newton's method for log(c + edge), inside a bracket.

        (log M)' increases from minus infinity at -edge; like -1/(c + edge) there and like a
        logarithm at infinity, so that the logarithmic variable suits both ends.
        """
        low = np.full(y.shape, -5.0)
        high = np.full(y.shape, 5.0)
        for bound, sign in ((low, -1.0), (high, 1.0)):
            for _ in range(200):
                wrong = sign * (self.derivatives(np.exp(bound) - self.edge)[0] - y) < 0
                if not wrong.any():
                    break
                bound[wrong] += sign * 5.0
        u = (low + high) / 2
        for _ in range(100):
            slope, curvature = self.derivatives(np.exp(u) - self.edge)
            residual = slope - y
            low, high = np.where(residual < 0, u, low), np.where(residual >= 0, u, high)
            step = u - residual / (curvature * np.exp(u))
            new = np.where((step > low) & (step < high), step, (low + high) / 2)
            # The integral does not depend on the contour, except where only its leading order is
            # taken.
            done = np.abs(new - u) < 1e-9
            u = new
            if done.all():
                break
        return np.exp(u) - self.edge

    def _integrate(
        self, y: Float[np.ndarray, " P"], c: Float[np.ndarray, " P"], tail: bool
    ) -> Float[np.ndarray, " P"]:
        value = np.empty_like(y)
        # Where the saddle is enormous the integral is its leading order, and only that: the
        # correction 1/c is below the rounding of the exponent, which no longer resolves the saddle.
        far = np.flatnonzero(c > FAR)
        width = np.sqrt(2 * math.pi * self.derivatives(c[far])[1])
        with np.errstate(over="ignore", invalid="ignore"):
            leading = self.log_transform(c[far]) - c[far] * y[far] - np.log(width)
        leading = np.where(np.isnan(leading), -np.inf, leading)
        value[far] = leading - np.log(c[far]) if tail else leading
        near = np.flatnonzero(c <= FAR)
        for i in range(0, len(near), CHUNK):
            some = near[i : i + CHUNK]
            value[some] = self._near_pole(y[some], c[some], tail)
        return value

    def _near_pole(
        self, y: Float[np.ndarray, " P"], c: Float[np.ndarray, " P"], tail: bool
    ) -> Float[np.ndarray, " P"]:
        """Integrate, but not along a pole that does not matter.

        In wide layers the pole at -edge is that of a network with one live neuron, of weight 2^-n:
        saddles of ordinary points are pinned to it. A contour at a distance is as good where it
        costs few digits: M(c) e^(-cy), the largest term, is least at the saddle.
        """
        aside = np.maximum(c, -NEAREST * self.edge)
        saddle = np.maximum(c, -self.edge * (1 - 1e-9))
        cost = self.log_transform(aside) - self.log_transform(saddle) - (aside - saddle) * y
        c = np.where(cost < MOST_LOST, aside, c)
        if not (c + self.edge > LEAST_DISTANCE * self.edge).all():
            raise ValueError(
                f"x: log(x/scale) = {float(y.min()):.4g} is so near to zero that its contour is "
                "pinned to a pole; wanted a larger x."
            )
        return self._integrate_chunk(y, c, tail)

    def _integrate_chunk(
        self, y: Float[np.ndarray, " P"], c: Float[np.ndarray, " P"], tail: bool
    ) -> Float[np.ndarray, " P"]:
        width = 1 / np.sqrt(self.derivatives(c)[1])
        step = np.minimum(width / STEPS_PER_SADDLE, (c + self.edge) / STEPS_PER_POLE)
        if tail:
            step = np.minimum(step, np.abs(c) / STEPS_PER_POLE)
        peak = self.log_transform(c)
        # Find where the integrand has fallen; its decay is set by its slowest factor.
        end = width * math.sqrt(2 * FALL)
        for _ in range(200):
            high = np.real(self.log_transform(c + 1j * end)) - peak > -FALL
            if not high.any():
                break
            end = np.where(high, 1.3 * end, end)
        last = math.ceil(float((end / step).max()))
        if last > MOST_NODES:
            raise ValueError(
                f"x: so near to zero (log(x/scale) = {float(y.min()):.4g}) the contour would take "
                f"{last} nodes, wanted at most {MOST_NODES}."
            )
        total = np.ones_like(y)
        for first in range(1, last + 1, BLOCK):
            t = step[:, None] * np.arange(first, min(first + BLOCK, last + 1))
            s = c[:, None] + 1j * t
            terms = np.exp(self.log_transform(s) - peak[:, None] - 1j * t * y[:, None])
            # 1/(c + it) relative to 1/|c|; -P(< y) has c < 0.
            terms = terms * (c[:, None] / s) if tail else terms
            total += 2 * np.real(terms).sum(axis=1)
        log_value = peak - c * y + np.log(step / (2 * math.pi)) + np.log(total)
        return log_value - np.log(np.abs(c)) if tail else log_value
