r"""The law of the output of a deep linear network on one input, exact at every width.

    |z^(L)|^2 = A prod_{l<=L} chi^2_{n_l},     A = |x|^2 prod_l C_W^(l)/n_{l-1}
    p(z) = (pi 2^L A)^(-d/2) / prod_{l<L} Gamma(n_l/2)
           G^{L,0}_{0,L}(|z|^2/(2^L A) | 0, (n_1-d)/2, ..., (n_{L-1}-d)/2),   z in R^d

a Meijer function (PDLT chapter 3, footnote 7; Kahn's lecture on linear networks), for any d of the
output neurons. It is computed by contour quadrature, not from its moments: for L >= 3 they do not
determine it. Large |z| has p ~ exp(-c |z|^(2/L)). A hidden layer as narrow as d makes a logarithm
at z = 0, a narrower one a power. Two dimensions more are a derivative,

    d p_d(z)/d|z|^2 = -pi p_{d+2}(z),

which gives the score without a new integral.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import ArrayLike, Float
from scipy.special import gammaln

from finitewidth.flow.linear.contour import GammaFactor, gamma_factors
from finitewidth.flow.linear.gamma_product import GammaProduct
from finitewidth.flow.linear.kernel import check_network, check_one_input, log_kernel
from finitewidth.validation import check_count


@dataclass(frozen=True)
class OutputDensity:
    """The law of d output neurons, isotropic in R^d.

    Attributes:
        metric: law of S, the variance of an output neuron given the layer below; its mass is
            below 1 if the outputs can vanish identically (ReLU).
        outputs: d.
    """

    metric: GammaProduct
    outputs: int

    @property
    def squared_norm(self) -> GammaProduct:
        """The law of |z|^2 = S chi^2_d."""
        return _squared_norm(self.metric, self.outputs)

    def logpdf(self, z: ArrayLike) -> Float[np.ndarray, "*batch"]:
        """Return log p(z).

        Args:
            z: outputs, shape (..., d), or any shape if d = 1.

        Returns:
            The log density, shape (...). At z = 0 it is infinite if a hidden width is at most d.
            If outputs can vanish identically this is the part without the atom at 0.

        Raises:
            ValueError: if the last axis is not d.

        Example:
            >>> law = density((1, 2, 1), 1.0, 2.0)  # Laplace: exp(-|z| sqrt(2)/sqrt(2))/2
            >>> round(float(law.logpdf(3.0)), 9) == round(-3 - math.log(2), 9)
            True
        """
        return self._logpdf(self._log_squares(z))

    def pdf(self, z: ArrayLike) -> Float[np.ndarray, "*batch"]:
        """Return p(z), for z of shape (..., d), or any shape if d = 1."""
        return np.exp(self.logpdf(z))

    def score(self, z: ArrayLike) -> Float[np.ndarray, "*batch d"]:
        """Return the gradient of log p(z), -2 pi z p_{d+2}(z)/p_d(z).

        Args:
            z: outputs, shape (..., d), or any shape if d = 1.

        Returns:
            The gradient, shape of `z`; NaN at z = 0 if a hidden width is at most d + 1, where log p
            has a kink or a peak without bound.

        Raises:
            ValueError: if the last axis is not d.
        """
        z = np.asarray(z, dtype=float)
        log_squares = self._log_squares(z)
        wider = OutputDensity(self.metric, self.outputs + 2)
        with np.errstate(invalid="ignore", over="ignore"):
            rate = 2 * math.pi * np.exp(wider._logpdf(log_squares) - self._logpdf(log_squares))
        smooth = not self.metric.factors or 2 * self.metric.transform.edge > self.outputs + 1
        rate = np.where(np.isneginf(log_squares), 0.0 if smooth else np.nan, rate)
        return -z * (rate if self.outputs == 1 else rate[..., None])

    def cdf(self, z2: ArrayLike) -> Float[np.ndarray, "*batch"]:
        """Return P(|z|^2 <= z2)."""
        return self.squared_norm.cdf(z2)

    def sf(self, z2: ArrayLike) -> Float[np.ndarray, "*batch"]:
        """Return P(|z|^2 > z2), accurate in relative terms also where it is tiny."""
        return self.squared_norm.sf(z2)

    def ppf(self, q: ArrayLike) -> Float[np.ndarray, "*batch"]:
        """Return the quantile of |z|^2 at probability q.

        Example:
            >>> law = density((3, 20, 20, 4), 1.0, 1.0, outputs=4)
            >>> round(float(law.cdf(law.ppf(0.9))), 12)
            0.9
        """
        return self.squared_norm.ppf(q)

    def isf(self, q: ArrayLike) -> Float[np.ndarray, "*batch"]:
        """Return the value that |z|^2 exceeds with probability q."""
        return self.squared_norm.isf(q)

    def neuron_cdf(self, z: ArrayLike) -> Float[np.ndarray, "*batch"]:
        """Return P(z_1 <= z) for a single output neuron."""
        z = np.asarray(z, dtype=float)
        with np.errstate(over="ignore"):
            tail = _squared_norm(self.metric, 1).sf(z**2) / 2
        return np.where(z < 0, tail, 1 - tail)

    def neuron_ppf(self, q: ArrayLike) -> Float[np.ndarray, "*batch"]:
        """Return the quantile of a single output neuron at probability q.

        Raises:
            ValueError: if a probability is not in [0, 1].

        Example:
            >>> round(float(density((1, 2, 1), 1.0, 2.0).neuron_ppf(0.1)), 9)  # log(2 q)
            -1.609437912
        """
        q = np.asarray(q, dtype=float)
        if not ((q >= 0) & (q <= 1)).all():
            raise ValueError(f"q: wanted probabilities from 0 to 1, got {q.tolist()}.")
        # The median is 0, also as the square root of a quantile that rounds to nothing.
        size = np.sqrt(_squared_norm(self.metric, 1).isf(2 * np.minimum(q, 1 - q)))
        return np.where(q < 0.5, -size, np.where(q > 0.5, size, 0.0))

    def sample(
        self, networks: int, seed: int | np.random.Generator = 0
    ) -> Float[np.ndarray, "R d"]:
        """Draw outputs of independent networks, without drawing weights, shape (R, d)."""
        rng = np.random.default_rng(seed)
        S = self.metric.sample(networks, rng)
        return np.sqrt(S)[:, None] * rng.standard_normal((networks, self.outputs))

    def _log_squares(self, z: ArrayLike) -> Float[np.ndarray, "*batch"]:
        """Return log |z|^2, for outputs whose square is no float too."""
        z = np.asarray(z, dtype=float)
        if self.outputs == 1:
            z = z[..., None]
        elif z.ndim == 0 or z.shape[-1] != self.outputs:
            raise ValueError(
                f"z: wanted {self.outputs} outputs along the last axis, got shape {z.shape}."
            )
        with np.errstate(divide="ignore"):
            return np.logaddexp.reduce(2 * np.log(np.abs(z)), axis=-1)

    def _logpdf(self, log_z2: Float[np.ndarray, "*batch"]) -> Float[np.ndarray, "*batch"]:
        d = self.outputs
        # log |z|^2 has the density p(z) pi^(d/2) |z|^d / Gamma(d/2).
        of_log = self.squared_norm.log_density_of_log(log_z2)
        finite = np.where(np.isfinite(log_z2), log_z2, 0.0)
        value = of_log - d / 2 * (math.log(math.pi) + finite) + gammaln(d / 2)
        value = np.where(np.isneginf(log_z2), self._log_at_zero(), value)
        return np.where(np.isnan(log_z2), np.nan, value)

    def _log_at_zero(self) -> float:
        """Return log E[(2 pi S)^(-d/2)], infinite if the moment does not exist."""
        d = self.outputs
        if self.metric.factors and self.metric.transform.edge <= d / 2:
            return math.inf
        power = np.array(-d / 2)
        inverse = sum(float(f.log_transform(power)) for f in self.metric.factors)
        return inverse - d / 2 * (math.log(2 * math.pi) + self.metric.log_scale)

    def __repr__(self) -> str:
        kinds = len(self.metric.factors)
        layers = sum(factor.count for factor in self.metric.factors)
        return f"OutputDensity(d = {self.outputs}, {layers} hidden layers of {kinds} widths)"


def density(widths: Sequence[int], C_W: ArrayLike, G0: float, outputs: int = 1) -> OutputDensity:
    """Compute the exact law of the output of a deep linear network on one input.

    The Meijer function of PDLT chapter 3, footnote 7, at any widths.

    Args:
        widths: (n_0, n_1, ..., n_L).
        C_W: rescaled weight variances, one number or shape (L,).
        G0: |x|^2/n_0 of the input.
        outputs: d, how many of the n_L output neurons are looked at together, 1 to n_L.

    Returns:
        The law, with `logpdf(z)`, `pdf(z)`, `score(z)`; `cdf(z2)`, `sf(z2)`, `ppf(q)`, `isf(q)` of
        |z|^2; `neuron_cdf(z)`, `neuron_ppf(q)` of one neuron; and `sample(networks, seed)`.

    Raises:
        ValueError: if an argument is not what is wanted, or the outputs are zero in every network.

    Accuracy: 1e-10 in the log density and in the logarithms of the tails.

    Cost: a contour of some hundred nodes per point and distinct hidden width.

    Example:
        >>> law = density((784, 100, 100, 100, 10), 1.0, 1.0, outputs=10)
        >>> round(float(law.sf(2 * 10)), 4)  # |z|^2 at least twice its mean
        0.0488
    """
    checked, _ = check_network(widths, C_W)
    outputs = check_count(outputs, "outputs")
    if outputs > checked[-1]:
        raise ValueError(f"outputs: wanted at most n_L = {checked[-1]}, got {outputs}.")
    return OutputDensity(metric_law(widths, C_W, G0), outputs)


def metric_law(widths: Sequence[int], C_W: ArrayLike, G0: float) -> GammaProduct:
    """Compute the exact law of S, the variance of the outputs given the last hidden layer.

    S = G_2 prod_{l<L} chi^2_{n_l}/n_l; its moments are the G_2m, PDLT (3.47).

    Args:
        widths: (n_0, n_1, ..., n_L).
        C_W: rescaled weight variances, one number or shape (L,).
        G0: |x|^2/n_0 of the input.

    Returns:
        The law, with `logpdf`, `cdf`, `sf`, `ppf`, `isf`, `sample`. Without hidden layers S is
        the same in every network, and the law has no density.

    Raises:
        ValueError: if an argument is not what is wanted, or the outputs are zero in every network.

    Example:
        >>> round(float(metric_law((1,) + (20,) * 10 + (1,), 1.0, 1.0).sf(1.0)), 4)
        0.3145
    """
    checked, C_W = check_network(widths, C_W)
    log_G2 = float(log_kernel(checked, C_W, check_one_input(G0))[-1])
    if math.isinf(log_G2):
        raise ValueError(
            "G0, C_W: wanted an output that is not zero in every network, got a zero input or a "
            "layer without weights."
        )
    hidden = np.array(checked[1:-1], dtype=float)
    return GammaProduct(gamma_factors(hidden / 2), log_G2 + float(np.log(2 / hidden).sum()))


def _squared_norm(metric: GammaProduct, d: int) -> GammaProduct:
    """Return the law of S chi^2_d, one more gamma factor."""
    factors = list(metric.factors)
    for place, factor in enumerate(factors):
        if len(factor.shapes) == 1 and factor.shapes[0] == d / 2 and factor.mass == 1:
            factors[place] = GammaFactor(factor.shapes, factor.weights, factor.count + 1)
            break
    else:
        factors.append(GammaFactor(np.array([d / 2]), np.ones(1)))
    return GammaProduct(tuple(factors), metric.log_scale + math.log(2))
