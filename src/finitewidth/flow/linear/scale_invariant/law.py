r"""The law of the signal in scale-invariant networks on one input.

Of n neurons k are positive, k ~ Binomial(n, 1/2), and s = (a_+^2 chi^2_k + a_-^2 chi^2_{n-k})/n.
For ReLU (a_- = 0) that is a binomial mixture of gamma variables,

    E[s^t] = sum_{k>=1} 2^-n binom(n, k) (2 a_+^2/n)^t Gamma(k/2 + t)/Gamma(k/2),

and the output law is that of a linear network with widths replaced by active counts, plus an atom
at 0. For two slopes the wider chi-square is itself a mixture, a^2 chi^2_k = b^2 chi^2_{k+2J} with J
negative binomial of parameters k/2, b^2/a^2, and s a mixture of gamma variables of shapes n/2 + J.

The moments of log s need no mixture: with e exponentially distributed,

    P(log e - log s > x) = E exp(-e^x s) = [(1 + 2 a_+^2 e^x/n)^(-1/2)/2 + (same with a_-)]^n,

and E log s, Var log s follow from the density of log e - log s by the trapezoid rule. Density and
tails behind PDLT chapter 3, footnote 7, as in `density`.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import ArrayLike, Float
from scipy import stats

from finitewidth.flow.linear.contour import GammaFactor, gamma_factors
from finitewidth.flow.linear.density import OutputDensity
from finitewidth.flow.linear.gamma_product import GammaProduct
from finitewidth.flow.linear.kernel import check_network, log_kernel
from finitewidth.flow.linear.scale_invariant.correlators import Slopes, check_slopes
from finitewidth.validation import check_count

#: Mixtures of more gamma variables than this are refused: slopes further apart than about 1 to 7.
MOST_COMPONENTS = 4096
#: Components that are left out of a mixture weigh less than this together.
NEGLIGIBLE = 1e-25


def log_mean(
    widths: Sequence[int], C_W: ArrayLike, G0: float, slopes: Slopes
) -> Float[np.ndarray, " L"]:
    """Compute E log S of every layer, over the networks whose signal has not died.

    Args:
        widths: (n_0, n_1, ..., n_L).
        C_W: rescaled weight variances, one number or shape (L,).
        G0: |x|^2/n_0 of the input.
        slopes: (a_+, a_-), the slopes of the activation.

    Returns:
        The means in layers 1 to L, shape (L,).

    Raises:
        ValueError: if an argument is not what is wanted.

    Accuracy: 1e-13.

    Example:
        >>> round(float(log_mean((1, 10, 10, 1), 2.0, 0.5, (1.0, 0.0))[-1]), 6)
        -0.614922
    """
    checked, _ = check_network(widths, C_W)
    steps = [_log_statistics(n, *check_slopes(slopes))[0] for n in checked[1:-1]]
    return log_kernel(checked, C_W, G0) + np.concatenate([[0.0], np.cumsum(steps)])


def log_variance(widths: Sequence[int], slopes: Slopes) -> Float[np.ndarray, " L"]:
    """Compute Var log S of every layer, over the networks whose signal has not died.

    Args:
        widths: (n_0, n_1, ..., n_L).
        slopes: (a_+, a_-), the slopes of the activation.

    Returns:
        The variances in layers 1 to L, shape (L,).

    Raises:
        ValueError: if an argument is not what is wanted.

    Accuracy: 1e-13.

    Example:
        >>> round(float(log_variance((1, 10, 10, 1), (1.0, 0.0))[-1]), 6)
        1.733469
    """
    checked, _ = check_network(widths, 1.0)
    steps = [_log_statistics(n, *check_slopes(slopes))[1] for n in checked[1:-1]]
    return np.concatenate([[0.0], np.cumsum(steps)])


def density(
    widths: Sequence[int], C_W: ArrayLike, G0: float, slopes: Slopes, outputs: int = 1
) -> OutputDensity:
    """Compute the exact law of the output of a scale-invariant network on one input.

    Args:
        widths: (n_0, n_1, ..., n_L).
        C_W: rescaled weight variances, one number or shape (L,).
        G0: |x|^2/n_0 of the input.
        slopes: (a_+, a_-), the slopes of the activation.
        outputs: d, how many output neurons are looked at together, 1 to n_L.

    Returns:
        The law, as that of `linear.density`. With a dead-network probability P, `cdf` and
        `neuron_cdf` jump by P at 0, and the density has the integral 1 - P.

    Raises:
        ValueError: if an argument is not what is wanted, the output is always zero, or the slopes
            are so different that the mixture is too long.

    Accuracy: 1e-10 in the log density for ReLU; for two slopes tails below 1e-20 are cut off.

    Cost: that of `linear.density` times the length of the mixture, n for ReLU.

    Example:
        >>> law = density((1, 4, 3, 5, 1), 2.0, 0.5, (1.0, 0.0))
        >>> round(float(law.cdf(0.0)), 6)  # dead networks
        0.205322
    """
    checked, _ = check_network(widths, C_W)
    outputs = check_count(outputs, "outputs")
    if outputs > checked[-1]:
        raise ValueError(f"outputs: wanted at most n_L = {checked[-1]}, got {outputs}.")
    return OutputDensity(metric_law(widths, C_W, G0, slopes), outputs)


def metric_law(widths: Sequence[int], C_W: ArrayLike, G0: float, slopes: Slopes) -> GammaProduct:
    """Compute the exact law of S, the variance of the outputs given the last hidden layer.

    Args, Raises, Accuracy: those of `density`.

    Returns:
        The law, with `logpdf`, `cdf`, `sf`, `ppf`, `isf`, `sample`; its `mass` is the probability
        that the network is not dead.

    Example:
        >>> law = metric_law((1, 6, 6, 1), 1.0, 1.0, (1.0, 0.3))
        >>> round(law.mass, 12), round(float(law.cdf(law.ppf(0.25))), 12)
        (1.0, 0.25)
    """
    checked, C_W = check_network(widths, C_W)
    log_scale = float(log_kernel(checked, C_W, G0)[-1])
    if math.isinf(log_scale):
        raise ValueError(
            "G0, C_W: wanted an output that is not zero in every network, got a zero input or a "
            "layer without weights."
        )
    low, high = sorted(abs(a) for a in check_slopes(slopes))
    hidden = checked[1:-1]
    scale = low if low > 0 else high
    log_scale += sum(math.log(2 * scale**2 / n) for n in hidden)
    if low == high:
        return GammaProduct(gamma_factors(np.array(hidden, dtype=float) / 2), log_scale)
    mixtures = {n: _mixture(n, (low / high) ** 2) for n in set(hidden)}
    return GammaProduct(
        tuple(GammaFactor(*mixtures[n], hidden.count(n)) for n in sorted(mixtures)), log_scale
    )


def _mixture(n: int, ratio: float) -> tuple[Float[np.ndarray, " K"], Float[np.ndarray, " K"]]:
    """Return shapes and weights of n s/(2 b^2), b the smaller slope (the larger if one is zero)."""
    k = np.arange(n + 1)
    log_binomial = stats.binom.logpmf(k, n, 0.5)
    if ratio == 0:
        shapes, weights = k[1:] / 2, np.exp(log_binomial[1:])
    else:
        # The longest tail is that of k = n, with mean (n/2)(1/ratio - 1).
        length = int(stats.nbinom.isf(NEGLIGIBLE, n / 2, ratio)) + 1
        if length > MOST_COMPONENTS:
            raise ValueError(
                f"slopes: for width {n} the mixture takes {length} gamma variables, wanted at most "
                f"{MOST_COMPONENTS}; slopes nearer to each other, or one of them zero, take fewer."
            )
        J = np.arange(length)
        log_weights = log_binomial[1:, None] + stats.nbinom.logpmf(J, k[1:, None] / 2, ratio)
        weights = np.exp(np.logaddexp.reduce(log_weights, axis=0))
        weights[0] += math.exp(log_binomial[0])
        shapes, weights = n / 2 + J, weights / weights.sum()
    kept = weights > 0
    return shapes[kept], weights[kept]


@lru_cache(maxsize=256)
def _log_statistics(n: int, a_plus: float, a_minus: float) -> tuple[float, float]:
    """Return mean and variance of log s of one layer, given s > 0."""
    high = max(abs(a_plus), abs(a_minus))
    squares = np.array([(a_plus / high) ** 2, (a_minus / high) ** 2])
    least = math.log(squares.min()) if squares.min() > 0 else 0.0
    # log e - log s has the tails e^x below and at least e^(-x/2) above, where s is near 0.
    step = 0.1
    x = np.arange(-50.0, 110.0 + math.log(n) - least, step)
    growth = 2 * squares[:, None] / n * np.exp(x)
    log_half = -0.5 * np.log1p(growth)
    log_h = np.where(
        log_half.max(axis=0) > -0.5,
        np.log1p(np.maximum(np.expm1(log_half).mean(axis=0), -0.9)),
        np.logaddexp.reduce(log_half, axis=0) - math.log(2),
    )
    # -d/dx of h^n, and of h = mean of (1 + growth)^(-1/2).
    slope = (0.5 * growth / (1 + growth) * np.exp(log_half)).mean(axis=0)
    weight = n * slope * np.exp((n - 1) * log_h)
    weight /= weight.sum()
    mean = float(weight @ x)
    variance = float(weight @ (x - mean) ** 2)
    # log e has mean -gamma and variance pi^2/6.
    return 2 * math.log(high) - np.euler_gamma - mean, variance - math.pi**2 / 6
