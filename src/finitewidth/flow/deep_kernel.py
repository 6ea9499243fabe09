r"""The deep asymptotics of the K* = 0 class with their logarithms, for a sigma smooth at 0.

With e = (a_2 - a_1^2)/a_1^2 and L = log(l/l_0), PDLT (5.94), (5.97), (5.99), (5.127),

    K      = [1/(-a_1 l)] [1 + e L/l + e^2 (L^2 - L)/l^2 + ...]
    dK_[1] = l^-2 [1 + 2 e L/l + ...]
    ddK_[2]= l^(-b_1/a_1) [1 + (b_1/a_1) e L/l + ...]
    V      = [2/(3 a_1^2 l)] [1 + e L/l] + [5 a_2 + a_1 (82 a_1 - 90 b_1)]/(3 a_1^4 l^2) + ...

One number l_0 holds all that is left of the input, K^(1). It is read off from an iterated kernel.
"""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import scipy.optimize
from jaxtyping import Array, ArrayLike, Float

from finitewidth.activations import Activation
from finitewidth.criticality import classify
from finitewidth.precision import in_double_precision


class DeepKernel(eqx.Module):
    """Deep kernel, perturbations and vertex of a network with K* = 0; l may be any array.

    Attributes:
        a_1: PDLT (5.86), negative.
        a_2: PDLT (5.87).
        b_1: PDLT (5.88).
        l_0: the constant of integration.
    """

    a_1: float
    a_2: float
    b_1: float
    l_0: float

    @in_double_precision
    def kernel(self, layer: ArrayLike) -> Float[Array, "..."]:
        """Return K, PDLT (5.94), up to terms of order log^3(l)/l^4."""
        ell, L, e = self._parts(layer)
        return (1 + e * L / ell + e**2 * (L**2 - L) / ell**2) / (-self.a_1 * ell)

    @in_double_precision
    def parallel(self, layer: ArrayLike) -> Float[Array, "..."]:
        """Return dK_[1] up to a constant factor, PDLT (5.97)."""
        ell, L, e = self._parts(layer)
        return (1 + 2 * e * L / ell) / ell**2

    @in_double_precision
    def perpendicular(self, layer: ArrayLike) -> Float[Array, "..."]:
        """Return ddK_[2] up to a constant factor, PDLT (5.99)."""
        ell, L, e = self._parts(layer)
        p = self.b_1 / self.a_1
        return (1 + p * e * L / ell) / ell**p

    @in_double_precision
    def vertex(self, layer: ArrayLike) -> Float[Array, "..."]:
        """Return V at equal widths, PDLT (5.127)."""
        ell, L, e = self._parts(layer)
        a_1, a_2 = self.a_1, self.a_2
        rest = (5 * a_2 + a_1 * (82 * a_1 - 90 * self.b_1)) / (3 * a_1**4)
        return 2 / (3 * a_1**2 * ell) * (1 + e * L / ell) + rest / ell**2

    def _parts(self, layer: ArrayLike) -> tuple[Array, Array, float]:
        ell = jnp.asarray(layer, dtype=float)
        return ell, jnp.log(ell / self.l_0), (self.a_2 - self.a_1**2) / self.a_1**2


@in_double_precision
def deep_kernel(activation: str | Activation | Callable, kernel: float, layer: int) -> DeepKernel:
    """Return the asymptotics that pass through one deep value of the kernel, PDLT (5.94).

    Args:
        activation: of the K* = 0 class, smooth at 0, at its critical hyperparameters.
        kernel: K^(l) of a deep layer, from `single_input_flow`.
        layer: that l.

    Returns:
        The asymptotics, l_0 solved for.

    Raises:
        ValueError: for other classes, or if no l_0 fits: the layer is not deep enough.

    Example:
        >>> from finitewidth.flow.single_input import single_input_flow
        >>> flow = single_input_flow("sin", 10_000)
        >>> deep = deep_kernel("sin", float(flow.kernel[-1]), 10_000)
        >>> round(float(deep.kernel(1000) / flow.kernel[999] - 1), 6)
        -0.0
    """
    found = classify(activation)
    if found.name != "K*=0" or found.subclass != "smooth" or not found.constants["a_1"]:
        raise ValueError(
            "activation: wanted one that decays to K* = 0 and is smooth at 0 with a_1 < 0, got "
            f"class {found.name} {found.subclass or ''}."
        )
    a_1, a_2, b_1 = (found.constants[name] for name in ("a_1", "a_2", "b_1"))
    if a_2 == a_1**2:
        return DeepKernel(a_1, a_2, b_1, 1.0)

    def miss(log_l_0: float) -> float:
        trial = DeepKernel(a_1, a_2, b_1, float(np.exp(log_l_0)))
        return float(trial.kernel(layer)) / kernel - 1

    # To leading order K fixes log(l/l_0); the solution is near.
    e = (a_2 - a_1**2) / a_1**2
    guess = np.log(layer) - (-a_1 * layer * kernel - 1) * layer / e
    try:
        log_l_0 = scipy.optimize.newton(miss, guess)
    except RuntimeError as error:
        raise ValueError(
            f"kernel: K = {kernel:.6g} at layer {layer} is not on the asymptotic curve yet; "
            "wanted a deeper layer."
        ) from error
    return DeepKernel(a_1, a_2, b_1, float(np.exp(log_l_0)))
