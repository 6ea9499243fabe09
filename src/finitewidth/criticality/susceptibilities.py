"""The layer map of one input's kernel and how it responds to perturbations.

K' = C_b + C_W g(K),                     g = <sigma^2>                     PDLT (5.5), (5.68)
chi_parallel = C_W g'(K)                 change of the norm                PDLT (5.50)
chi_perp     = C_W <sigma'^2>            change of a small angle           PDLT (5.51)
h = chi_perp'(K)/2                       feed of norms into angles         PDLT (5.52)
j = 4 C_W K^2 g''(K)                     1/n drift of the kernel           PDLT (5.111)
"""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from finitewidth.activations import Activation
from finitewidth.criticality.moments import OneInput, described
from finitewidth.precision import in_double_precision
from finitewidth.validation import is_concrete


class Susceptibilities(eqx.Module):
    """The single-input functions of one layer; C_b, C_W and K may be arrays that broadcast.

    Every method is elementwise and differentiable in C_b, C_W and K, and costs one Gaussian
    integral for each K (none for homogeneous activations). At K = 0 it gives the limit.

    Attributes:
        activation: sigma.
        C_b: bias variance.
        C_W: rescaled weight variance.
    """

    activation: Activation = eqx.field(static=True)
    C_b: Float[Array, "..."]
    C_W: Float[Array, "..."]

    @in_double_precision
    def g(self, K: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
        """Return the mean square activation <sigma^2>_K, PDLT (5.5), free of C_b and C_W."""
        return self._moments.value(check_kernel(K))

    @in_double_precision
    def kernel(self, K: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
        """Return the kernel of the next layer, C_b + C_W g(K), PDLT (5.68)."""
        return self.C_b + self.C_W * self._moments.value(check_kernel(K))

    @in_double_precision
    def chi_parallel(self, K: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
        """Return C_W g'(K) = C_W <z sigma sigma'>/K, PDLT (5.50)."""
        return self.C_W * self._moments.rate(check_kernel(K))

    @in_double_precision
    def chi_perp(self, K: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
        """Return C_W <sigma'^2>, PDLT (5.51); infinite if sigma jumps."""
        return self.C_W * self._moments.slope(check_kernel(K))

    @in_double_precision
    def h(self, K: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
        """Return chi_perp'(K)/2, PDLT (5.52)."""
        return self.C_W * self._moments.slope_rate(check_kernel(K)) / 2

    @in_double_precision
    def j(self, K: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
        """Return C_W <sigma^2 [(z^2/K)^2 - 6 z^2/K + 3]> = 4 C_W K^2 g''(K), PDLT (5.111)."""
        K = check_kernel(K)
        return 4 * self.C_W * K**2 * self._moments.curvature(K)

    @in_double_precision
    def fluctuation(self, K: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
        """Return C_W^2 (<sigma^4> - g^2), the vertex made by one layer, PDLT (5.109)."""
        K = check_kernel(K)
        return self.C_W**2 * (self._moments.quartic(K) - self._moments.value(K) ** 2)

    @property
    def _moments(self) -> OneInput:
        return OneInput(self.activation)

    def __repr__(self) -> str:
        return f"Susceptibilities({self.activation}, C_b={self.C_b}, C_W={self.C_W})"


@in_double_precision
def susceptibilities(
    activation: str | Activation | Callable,
    C_b: Float[ArrayLike, "..."] = 0.0,
    C_W: Float[ArrayLike, "..."] = 1.0,
) -> Susceptibilities:
    """Return g, chi_parallel, chi_perp, h and j as functions of the kernel.

    PDLT (5.5), (5.50)-(5.52), (5.111).

    Args:
        activation: name, `Activation` or elementwise JAX function.
        C_b: bias variance, any shape that broadcasts with K.
        C_W: rescaled weight variance, same.

    Returns:
        An object with methods `g`, `kernel`, `chi_parallel`, `chi_perp`, `h`, `j`, `fluctuation`.

    Raises:
        ValueError: if a hyperparameter is negative, NaN or infinite.

    Example:
        >>> chi = susceptibilities("selu", C_W=1.0)
        >>> round(float(chi.chi_parallel(1.0)), 8), round(float(chi.chi_perp(1.0)), 8)
        (0.78264788, 1.07157499)
    """
    sigma = described(activation)
    return Susceptibilities(sigma, check_variance(C_b, "C_b"), check_variance(C_W, "C_W"))


@in_double_precision
def criticality_ratio(
    activation: str | Activation | Callable, K: Float[ArrayLike, "..."]
) -> Float[Array, "..."]:
    """Return r(K) = <sigma'^2>/g'(K), which is 1 where a network can be critical, PDLT (5.73).

    Args:
        activation: name, `Activation` or elementwise JAX function.
        K: kernels, any shape.

    Returns:
        The ratio, same shape; chi_perp/chi_parallel at any hyperparameters.

    Raises:
        ValueError: if K is negative, NaN or infinite.

    Example:
        >>> round(float(criticality_ratio("tanh", 1.0)), 6)
        2.554504
    """
    moments = OneInput(described(activation))
    K = check_kernel(K)
    return moments.slope(K) / moments.rate(K)


def check_kernel(K: Float[ArrayLike, "..."], name: str = "K") -> Float[Array, "..."]:
    """Return kernels as a double-precision array, or say what is wrong with them."""
    return check_variance(K, name)


def check_variance(value: Float[ArrayLike, "..."], name: str) -> Float[Array, "..."]:
    """Return a non-negative finite number or array in double precision, or say what is wrong.

    Raises:
        TypeError: if it is not a number.
        ValueError: if an entry is negative, NaN or infinite. Under a JAX transform the values are
            not known and are not checked.
    """
    try:
        array = jnp.asarray(value, dtype=float)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{name}: wanted a number or an array of numbers, got {value!r}."
        ) from error
    if is_concrete(array) and not ((np.asarray(array) >= 0) & np.isfinite(np.asarray(array))).all():
        raise ValueError(f"{name}: wanted a finite variance >= 0, got {value}.")
    return array
