"""The pair functions of an activation: <s1 s2>, <s1' s2'> and their one-input values.

    f(K11, K22, K12) = <sigma(z_1) sigma(z_2)>,    (z_1, z_2) ~ N(0, [[K11, K12], [K12, K22]])

The kernel recursion is K' = C_b + C_W f, elementwise, PDLT (4.118); everything at order 1/n is a
derivative of f. Derivatives follow from Price's theorem and hold for kinked activations too.
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from finitewidth.activations import Activation, Perceptron, PiecewiseLinear
from finitewidth.activations import activation as as_activation
from finitewidth.gaussian.factor import ActivationProduct, as_factor
from finitewidth.gaussian.pair.closed_forms import ClosedForm, closed_form, has_closed_form
from finitewidth.gaussian.pair.primitive import PairFunction, evaluate, pair_primitive
from finitewidth.gaussian.single import single_moment
from finitewidth.precision import in_double_precision
from finitewidth.validation import is_concrete


@dataclass(frozen=True)
class PairReport:
    """How a pair expectation was computed.

    Attributes:
        method: `"closed form"`, `"Mehler series"` or `"Mehler series with split panels"`.
        orders: orders of the series that were summed, 0 for a closed form.
        direct: number of pairs that were integrated directly.
        error: largest bound on the error relative to (<F^2> <G^2>)^(1/2).
    """

    method: str
    orders: int
    direct: int
    error: float


@dataclass(frozen=True)
class PairMoments:
    """The pair functions of one activation; made by `pair_moments`.

    Attributes:
        activation: sigma.
    """

    activation: Activation

    @property
    def _pair(self) -> PairFunction:
        factor = as_factor(self.activation)
        return PairFunction(factor, factor)

    @in_double_precision
    def value(
        self,
        K11: Float[ArrayLike, "..."],
        K22: Float[ArrayLike, "..."],
        K12: Float[ArrayLike, "..."],
    ) -> Float[Array, "..."]:
        """Return <sigma(z_1) sigma(z_2)>, PDLT (4.118).

        Args:
            K11: variances of z_1; any shape that broadcasts, (N, 1) for a kernel matrix.
            K22: variances of z_2, (1, N) for a kernel matrix.
            K12: covariances, (N, N) for a kernel matrix.

        Returns:
            The expectation, in the broadcast shape. Differentiable any number of times, except
            where the derivative diverges (second derivatives of an activation with a jump in
            its slope, for inputs that are parallel).

        The error relative to (<s1^2> <s2^2>)^(1/2), for all |rho| <= 1: smooth activations below
        1e-12 for variances in [1e-6, 10] and 1e-9 up to 1e3, with first and second derivatives;
        kinked ones below 1e-10 with first derivatives (1e-8 for parallel inputs), second
        derivatives below 1e-8. `report` tells the bound at given covariances.

        Cost for N x N covariances: O(N^2 P + N P n) with P orders and n nodes; P is about 100 K
        for tanh where |rho| is near 1, and less elsewhere. Pairs with |rho| > 0.97 of a kinked
        activation, and those of a smooth one that would need P > 4096, are integrated one by one,
        at milliseconds each.

        Raises:
            ValueError: for a negative variance, |K12| > sqrt(K11 K22), NaN or infinity.

        Example:
            >>> round(float(pair_moments("relu").value(1.0, 1.0, 0.0)), 12)
            0.159154943092
        """
        return pair_primitive(self._pair, *check_pair(K11, K22, K12))

    @in_double_precision
    def differentiated(
        self,
        m1: int,
        m2: int,
        K11: Float[ArrayLike, "..."],
        K22: Float[ArrayLike, "..."],
        K12: Float[ArrayLike, "..."],
    ) -> Float[Array, "..."]:
        """Return <D^m1 sigma(z_1) D^m2 sigma(z_2)> with D the distributional derivative.

        Args:
            m1: how often sigma is differentiated at the first input.
            m2: likewise at the second.
            K11: variances of z_1.
            K22: variances of z_2.
            K12: covariances.

        Returns:
            The expectation, in the broadcast shape.

        Example:
            >>> round(float(pair_moments("sin").differentiated(2, 2, 1.0, 1.0, 1.0)), 12)
            0.432332358382
        """
        return pair_primitive(self._pair.raised(m1, m2), *check_pair(K11, K22, K12))

    @in_double_precision
    def slope(
        self,
        K11: Float[ArrayLike, "..."],
        K22: Float[ArrayLike, "..."],
        K12: Float[ArrayLike, "..."],
    ) -> Float[Array, "..."]:
        """Return <sigma'(z_1) sigma'(z_2)> = df/dK12, PDLT (8.12); arguments as in `value`.

        Example:
            >>> round(float(pair_moments("relu").slope(1.0, 1.0, 0.0)), 12)
            0.25
        """
        return pair_primitive(self._pair.raised(1, 1), *check_pair(K11, K22, K12))

    def value_and_slope(
        self,
        K11: Float[ArrayLike, "..."],
        K22: Float[ArrayLike, "..."],
        K12: Float[ArrayLike, "..."],
    ) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
        """Return both `value` and `slope`."""
        return self.value(K11, K22, K12), self.slope(K11, K22, K12)

    @in_double_precision
    def diagonal_value(self, K: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
        """Return g(K) = <sigma^2>_K, PDLT (5.5).

        Args:
            K: variances, any shape.

        Returns:
            g(K), same shape; differentiable any number of times, also for kinked activations.
        """
        K = _check_variance(K)
        if isinstance(self.activation, PiecewiseLinear):
            return _mean_square_slope(self.activation) * K
        if (form := self._smooth_form(0)) is not None:
            return form(K, K, K)
        return single_moment(ActivationProduct(self.activation, (0, 0)), K)

    @in_double_precision
    def diagonal_slope(self, K: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
        """Return <sigma'^2>_K, which is chi_perp/C_W, PDLT (5.51); infinite for a step.

        Args:
            K: variances, any shape.

        Returns:
            The expectation, same shape; differentiable any number of times.
        """
        K = _check_variance(K)
        if isinstance(self.activation, PiecewiseLinear):
            return jnp.full_like(K, _mean_square_slope(self.activation))
        if isinstance(self.activation, Perceptron):
            return jnp.full_like(K, jnp.inf)
        if (form := self._smooth_form(1)) is not None:
            return form(K, K, K)
        return single_moment(ActivationProduct(self.activation, (1, 1)), K)

    def _smooth_form(self, order: int) -> ClosedForm | None:
        # With a kink the two-input form is not smooth where the inputs coincide.
        return None if self.activation.kinks else closed_form(self.activation, order, order)

    @in_double_precision
    def report(
        self,
        K11: Float[ArrayLike, "..."],
        K22: Float[ArrayLike, "..."],
        K12: Float[ArrayLike, "..."],
        orders: tuple[int, int] = (0, 0),
    ) -> PairReport:
        """Return how <sigma^(m1)(z_1) sigma^(m2)(z_2)> is computed there and how accurately.

        Example:
            >>> pair_moments("tanh").report(1.0, 1.0, 0.5).method
            'Mehler series'
        """
        result = _evaluate(self._pair.raised(*orders), *check_pair(K11, K22, K12))
        if has_closed_form(self.activation):
            method = "closed form"
        elif self.activation.kinks:
            method = "Mehler series with split panels"
        else:
            method = "Mehler series"
        return PairReport(method, int(result.orders), int(result.direct), float(result.error.max()))


def pair_moments(activation: str | Activation | Callable) -> PairMoments:
    """Return the pair functions of an activation.

    Args:
        activation: a name, an `Activation` or an elementwise JAX function without kinks.

    Returns:
        An object with `value`, `slope`, `diagonal_value`, `diagonal_slope` and `report`.

    Example:
        >>> moments = pair_moments("tanh")
        >>> round(float(moments.diagonal_value(1.0)), 10)
        0.3942944904
    """
    return PairMoments(as_activation(activation))


@in_double_precision
def pair_expectation(
    F: Callable,
    G: Callable,
    K11: Float[ArrayLike, "..."],
    K22: Float[ArrayLike, "..."],
    K12: Float[ArrayLike, "..."],
    kinks: tuple[float, ...] = (),
) -> Float[Array, "..."]:
    """Return <F(z_1) G(z_2)> for two functions, (z_1, z_2) ~ N(0, [[K11, K12], [K12, K22]]).

    Args:
        F: elementwise JAX function, an `Activation`, or an `ActivationProduct`. Hold on to it:
            a new lambda is compiled anew.
        G: likewise.
        K11: variances of z_1; any shapes that broadcast.
        K22: variances of z_2.
        K12: covariances.
        kinks: where F, G or a derivative of one of them jumps, beyond the kinks they declare.

    Returns:
        The expectation, in the broadcast shape; differentiable any number of times.

    Raises:
        TypeError: if F or G cannot be called.
        ValueError: for a negative variance, |K12| > sqrt(K11 K22), NaN or infinity.

    Example:
        >>> import jax.numpy as jnp
        >>> round(float(pair_expectation(jnp.sin, jnp.tanh, 1.0, 1.0, 0.5)), 10)
        0.1883942498
    """
    pair = PairFunction(as_factor(F, tuple(kinks)), as_factor(G, tuple(kinks)))
    return pair_primitive(pair, *check_pair(K11, K22, K12))


_evaluate = jax.jit(evaluate, static_argnums=0)


def check_pair(K11: ArrayLike, K22: ArrayLike, K12: ArrayLike) -> tuple[Array, Array, Array]:
    """Return the three covariances as arrays, or say what is wrong with them."""
    k11, k22, k12 = (jnp.asarray(k, dtype=float) for k in (K11, K22, K12))
    try:
        jnp.broadcast_shapes(k11.shape, k22.shape, k12.shape)
    except ValueError:
        raise ValueError(
            "K11, K22, K12: wanted shapes that broadcast, such as (N, 1), (1, N), (N, N), "
            f"got {k11.shape}, {k22.shape}, {k12.shape}."
        ) from None
    _check_variance(k11, "K11")
    _check_variance(k22, "K22")
    if all(is_concrete(k) for k in (k11, k22, k12)):
        _check_concrete(*(np.asarray(k) for k in (k11, k22, k12)))
    return k11, k22, k12


def _check_concrete(K11: np.ndarray, K22: np.ndarray, K12: np.ndarray) -> None:
    if not np.isfinite(K12).all():
        raise ValueError("K12: wanted finite covariances, got NaN or infinity.")
    excess = np.abs(K12) - np.sqrt(K11) * np.sqrt(K22) * (1 + 1e-6)
    if K12.size and (excess > 0).any():
        raise ValueError(
            "K12: wanted |K12| <= sqrt(K11 K22), got an entry that exceeds it by "
            f"{float(excess.max()):.3g}."
        )


def _check_variance(K: ArrayLike, name: str = "K") -> Array:
    K = jnp.asarray(K, dtype=float)
    # NumPy, not JAX: a concrete value may be met while a caller's function is being traced.
    if is_concrete(K):
        values = np.asarray(K)
        bad = ~((values >= 0) & np.isfinite(values))
        if bad.any():
            raise ValueError(f"{name}: wanted finite variances >= 0, got {values[bad][0]}.")
    return K


def _mean_square_slope(activation: PiecewiseLinear) -> float:
    return (activation.a_plus**2 + activation.a_minus**2) / 2
