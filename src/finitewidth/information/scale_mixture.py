r"""Neurons of one input without expansion: a Gaussian whose variance is itself random.

Given the layer below, the neurons of a layer are independent with the same random variance G^, so

    p(z_1 .. z_m) = E[(2 pi G^)^(-m/2) exp(-R^2/2 G^)],      R^2 = sum_i z_i^2
    S_m = -int p log p Omega_m R^(m-1) dR,                    Omega_m = 2 pi^(m/2)/Gamma(m/2)

at any width, and I(m_1, m_2) = S_m1 + S_m2 - S_(m1+m2). What is computed is the deficit

    D_m = (m/2) log 2 pi e G - S_m = KL(p | N(0, G)) >= 0,    G = E[G^],
    I(m_1, m_2) = D_(m1+m2) - D_m1 - D_m2,

as a sum over log R, in which the integrand is smooth and falls off exponentially on both sides.
In the limit n, L -> infinity at fixed r = L/n, log G^ of a scale-invariant activation is normal
with variance nu r and mean log K - nu r/2 (derived here: it is a sum of L independent terms of size
n^(-1/2), and E[G^] = K).
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln, logsumexp
from jaxtyping import Array, ArrayLike, Float

from finitewidth.precision import in_double_precision
from finitewidth.validation import check_count, is_concrete

#: Densities evaluated at once: this many exponentials are in memory together.
TERMS_AT_ONCE = 2**21
#: Steps of log R for each standard deviation of the logarithm of a chi variable.
STEPS = 5
#: The ends of the integral leave out exp(-LEFT_OUT) of it.
LEFT_OUT = 38.0


class ScaleMixture(eqx.Module):
    """The law of neurons of a layer on one input: N(0, G^) for each, with one random G^.

    Attributes:
        variances: values of G^, positive, shape (S,).
        weights: their probabilities, shape (S,), summing to 1.
    """

    variances: Float[Array, " S"]
    weights: Float[Array, " S"]

    @in_double_precision
    def __init__(self, variances: ArrayLike, weights: ArrayLike | None = None):
        """Take values of G^, of sampled networks or the nodes of a quadrature.

        Args:
            variances: G^, shape (S,).
            weights: weights, shape (S,), scaled to sum to 1; equal by default.

        Raises:
            ValueError: if a variance is not positive (a layer that can be silent has no density)
                or a weight is negative, or shapes differ.
        """
        values = jnp.asarray(variances, dtype=float)
        if values.ndim != 1 or values.size == 0:
            raise ValueError(f"variances: wanted shape (S,), got shape {values.shape}.")
        masses = jnp.ones_like(values) if weights is None else jnp.asarray(weights, dtype=float)
        if masses.shape != values.shape:
            raise ValueError(f"weights: wanted shape {values.shape}, got {masses.shape}.")
        if is_concrete(values) and not ((values > 0) & jnp.isfinite(values)).all():
            raise ValueError(
                "variances: wanted positive finite numbers, got "
                f"{np.asarray(values)[np.asarray(~((values > 0) & jnp.isfinite(values)))][:3]}; "
                "a silent layer has no density, leave out silent networks."
            )
        if is_concrete(masses) and not ((masses >= 0).all() and masses.sum() > 0):
            raise ValueError("weights: wanted numbers >= 0 with a positive sum.")
        self.variances = values
        self.weights = masses / masses.sum()

    @classmethod
    @in_double_precision
    def of_log_density(
        cls, log_density: Callable, low: float, high: float, nodes: int = 2001
    ) -> "ScaleMixture":
        """Discretize a law of log G^ by the trapezoidal rule.

        Args:
            log_density: takes log G^, an array, to the logarithm of its density (any constant).
            low: lower end of log G^.
            high: upper end.
            nodes: number of equal steps plus one; the step should be small against sqrt(2/m).

        Returns:
            The mixture.

        Example:
            >>> import jax.numpy as jnp  # chi^2_n/n with n = 50: x = 2/50
            >>> law = ScaleMixture.of_log_density(lambda t: 25 * (t - jnp.exp(t)), -2.5, 1.5)
            >>> round(float(law.relative_variance), 9)
            0.04
        """
        t = jnp.linspace(low, high, check_count(nodes, "nodes", least=3))
        log = jnp.asarray(log_density(t), dtype=float)
        return cls(jnp.exp(t), jnp.exp(log - log.max()))

    @classmethod
    @in_double_precision
    def scaling_limit(cls, spread: float, metric: float = 1.0, nodes: int = 2001) -> "ScaleMixture":
        """Return the law at infinite depth and width of a scale-invariant activation.

        log G^ ~ N(log K - nu r/2, nu r), derived here.

        Args:
            spread: nu r, with nu = 2 for linear and 5 for ReLU, r = L/n; positive.
            metric: K.
            nodes: nodes of log G^, over 11 standard deviations on both sides.

        Returns:
            The mixture.

        Raises:
            ValueError: if the spread or the metric is not positive.

        Example:
            >>> law = ScaleMixture.scaling_limit(0.2)
            >>> round(float(law.mutual_information(1, 1)), 6)
            0.003151
        """
        if not (spread > 0 and metric > 0):
            raise ValueError(f"spread, metric: wanted > 0, got {spread} and {metric}.")
        centre, width = np.log(metric) - spread / 2, np.sqrt(spread)
        return cls.of_log_density(
            lambda t: -((t - centre) ** 2) / (2 * spread),
            centre - 11 * width,
            centre + 11 * width,
            nodes,
        )

    @property
    @in_double_precision
    def metric(self) -> Float[Array, ""]:
        """G = E[G^], the variance of a neuron over the ensemble."""
        return self.weights @ self.variances

    @property
    @in_double_precision
    def relative_variance(self) -> Float[Array, ""]:
        """Return x = Var(G^)/G^2, the small parameter of the series."""
        return self.weights @ (self.variances / self.metric - 1) ** 2

    @in_double_precision
    def log_density(self, square: ArrayLike, m: int = 1) -> Float[Array, "..."]:
        """Return log p(z_1 .. z_m), a function of R^2 = sum z_i^2.

        Args:
            square: R^2, any shape.
            m: number of neurons.

        Returns:
            The log density, of the same shape.
        """
        square = jnp.asarray(square, dtype=float)
        neurons = jnp.asarray(float(check_count(m, "m")))
        return _log_density(self, jnp.ravel(square), neurons).reshape(square.shape)

    @in_double_precision
    def entropy_deficit(self, m: int = 1) -> Float[Array, ""]:
        """Compute D_m = (m/2) log 2 pi e G - S_m, how far m neurons are from Gaussian.

        Args:
            m: number of neurons.

        Returns:
            The deficit in nats, m(m+2) x^2/16 + O(x^3). Zero if all variances are equal.

        Accuracy: 1e-12 or better for the mixture as given. For G^ from S networks the mixture is
        itself an estimate, and D_m is biased up by about (number of resolved values of G^)/(2 S).

        Cost: about 3000 sqrt(m) S exponentials.
        """
        return _deficit(self, check_count(m, "m"))

    @in_double_precision
    def entropy(self, m: int = 1) -> Float[Array, ""]:
        """Compute S_m, the entropy of m neurons in nats."""
        m = check_count(m, "m")
        return m / 2 * jnp.log(2 * jnp.pi * jnp.e * self.metric) - _deficit(self, m)

    @in_double_precision
    def mutual_information(self, m1: int = 1, m2: int = 1) -> Float[Array, ""]:
        """Compute what m1 neurons tell about m2 others, without expansion.

        Args:
            m1: size of one group.
            m2: size of the other.

        Returns:
            The information in nats; it is at most that about G^ itself, and grows with its spread.

        Accuracy and cost: see `entropy_deficit`.
        """
        m1, m2 = check_count(m1, "m1"), check_count(m2, "m2")
        return _deficit(self, m1 + m2) - _deficit(self, m1) - _deficit(self, m2)

    @in_double_precision
    def tripartite_information(self, m1: int = 1, m2: int = 1, m3: int = 1) -> Float[Array, ""]:
        """Compute I_3 of three groups of neurons, without expansion, PDLT (A.24)."""
        a, b, c = check_count(m1, "m1"), check_count(m2, "m2"), check_count(m3, "m3")
        single = _deficit(self, a) + _deficit(self, b) + _deficit(self, c)
        double = _deficit(self, a + b) + _deficit(self, b + c) + _deficit(self, c + a)
        return double - single - _deficit(self, a + b + c)

    @in_double_precision
    def conditional_variance(self, z: ArrayLike) -> Float[Array, "..."]:
        """Compute E[z_2^2 | z_1 = z] = E[G^ N(z; G^)]/E[N(z; G^)], PDLT (6.72) without expansion.

        Args:
            z: what the first neuron is observed to be, any shape.

        Returns:
            The variance of another neuron, of the same shape.

        Example:
            >>> law = ScaleMixture.scaling_limit(0.05)
            >>> [round(float(v), 4) for v in law.conditional_variance([0.0, 1.0, 3.0])]
            [0.9753, 1.0006, 1.1842]
        """
        z = jnp.asarray(z, dtype=float)
        exponent = jnp.log(self.variances) + z[..., None] ** 2 / self.variances
        log = jnp.log(self.weights) - exponent / 2
        return jax.nn.softmax(log, axis=-1) @ self.variances

    def __repr__(self) -> str:
        return (
            f"ScaleMixture of {self.variances.size} variances, mean {float(self.metric):.6g}, "
            f"relative variance {float(self.relative_variance):.4g}"
        )


@eqx.filter_jit
def _log_density(
    law: ScaleMixture, squares: Float[Array, " T"], m: Float[Array, ""]
) -> Float[Array, " T"]:
    prefactor = jnp.log(law.weights) - m / 2 * jnp.log(2 * jnp.pi * law.variances)

    def at(square: Float[Array, ""]) -> Float[Array, ""]:
        return logsumexp(prefactor - square / (2 * law.variances))

    batch = max(1, TERMS_AT_ONCE // law.variances.size)
    return jax.lax.map(at, squares, batch_size=min(batch, squares.shape[0]))


def _deficit(law: ScaleMixture, m: int) -> Float[Array, ""]:
    """Compute KL(p_m | N(0, G)) by the trapezoidal rule in t = log(R/sqrt(m))."""
    step = min(0.5, 1 / np.sqrt(2 * m)) / STEPS
    alive = np.asarray(law.weights) > 0
    roots = np.log(np.asarray(law.variances)[alive]) / 2
    # The density of t goes like exp(m (t + 1/2)) at the lower end, and chi_m beyond sqrt(m) + a
    # like exp(-a^2/2) at the upper.
    low = roots.min() - LEFT_OUT / m - 0.5
    high = roots.max() + np.log1p(np.sqrt(2 * LEFT_OUT / m))
    # Few different lengths, so that few are compiled.
    points = 512 * int(np.ceil((high - low) / step / 512))
    t = high - step * jnp.arange(points)
    return _sum_over_shells(law, t, jnp.asarray(float(m))) * step


@eqx.filter_jit
def _sum_over_shells(
    law: ScaleMixture, t: Float[Array, " T"], m: Float[Array, ""]
) -> Float[Array, ""]:
    squares = m * jnp.exp(2 * t)
    log_p = _log_density(law, squares, m)
    G = law.weights @ law.variances
    log_q = -(m * jnp.log(2 * jnp.pi * G) + squares / G) / 2
    log_shell = jnp.log(2.0) + m / 2 * jnp.log(jnp.pi) - gammaln(m / 2) + m / 2 * jnp.log(squares)
    # p log(p/q) - p + q integrates to the same, and where p is near q it is of second order.
    ratio = log_p - log_q
    near = jnp.abs(ratio) < 0.5
    small = jnp.where(near, ratio, 0.0)
    second = jnp.exp(log_shell + log_q) * (jnp.expm1(small) * (small - 1) + small)
    first = jnp.exp(log_shell + log_p) * (ratio - 1) + jnp.exp(log_shell + log_q)
    return jnp.where(near, second, first).sum()
