r"""Critical exponents and amplitudes read off from recursions, with an estimate of their error.

    O(l) = A l^-p [1 + (c_1 + c_2 log l)/l + (c_3 + c_4 log l + c_5 log^2 l)/l^2 + ...]  PDLT (5.93)

is the form of every solution in the classes with power laws, PDLT (5.92)-(5.99), (5.127): each
power of 1/l comes with logarithms of the depth. log |O| is fitted by least squares in these terms
at depths evenly spaced in log l. Recursions carry no noise: what is wrong is what was left out, and
the error is estimated by how far the fit moves when the highest power of 1/l is taken away.
"""

import math
from collections.abc import Callable

import equinox as eqx
import numpy as np
from jaxtyping import ArrayLike, Float

from finitewidth.activations import Activation
from finitewidth.criticality import Asymptotic, classify
from finitewidth.criticality.moments import described
from finitewidth.flow.near_coincident import nearby_flow
from finitewidth.flow.single_input import single_input_flow
from finitewidth.precision import in_double_precision
from finitewidth.validation import check_count

#: Depths that a fit looks at.
FITTED_DEPTHS = 200
#: A fit starts at the deepest layer divided by this.
FITTED_RANGE = 256
#: Powers of 1/l that a fit takes along.
HIGHEST_POWER = 3


class PowerLaw(eqx.Module):
    """A fit O ~ amplitude l^-exponent.

    Attributes:
        exponent: p.
        exponent_error: how far it moves with one power of 1/l less.
        amplitude: A, with the sign of O, at the exponent that was fitted or given.
        amplitude_error: likewise.
    """

    exponent: float
    exponent_error: float
    amplitude: float
    amplitude_error: float

    def __repr__(self) -> str:
        return (
            f"({self.amplitude:.9g} +- {self.amplitude_error:.1g}) "
            f"l^-({self.exponent:.9g} +- {self.exponent_error:.1g})"
        )


class FittedExponent(eqx.Module):
    """A predicted exponent beside the one that a recursion has.

    Attributes:
        predicted: from `criticality.classify`.
        fitted: from the recursion; None if the observable vanishes or is 0 in rounding.
    """

    predicted: Asymptotic
    fitted: PowerLaw | None

    def __repr__(self) -> str:
        exponent = self.predicted.exponent
        wanted = "-" if exponent is None else f"{exponent:.6g}"
        return f"{self.predicted.name}: predicted {wanted}, fitted {self.fitted}"


@in_double_precision
def fit_power_law(
    values: ArrayLike, *, exponent: float | None = None, logarithms: bool = True
) -> PowerLaw:
    """Fit the exponent and amplitude of an observable in deep layers, PDLT (5.93).

    Args:
        values: O of layers 1 .. L, shape (L,), of one sign in its deep part; L >= 1000.
        exponent: if it is known, only the amplitude is fitted, which is then far more accurate.
        logarithms: take log l along with each power of 1/l.

    Returns:
        The fit. For 10^4 layers p of the K* = 0 class is good to 1e-7, of angles to 1e-8. A law
        that is no power (logarithms, depths before the asymptotic ones) is seen by a p that goes
        on to move with the depth, not always by its error.

    Raises:
        ValueError: if there are fewer than 1000 layers or O changes its sign or vanishes.

    Example:
        >>> import numpy as np
        >>> layer = np.arange(1, 3001)
        >>> fit = fit_power_law(-2 / (layer + 5.0) ** 1.5)
        >>> round(fit.exponent, 5), round(fit.amplitude, 3)
        (1.5, -2.0)
    """
    O = np.asarray(values, dtype=float)  # noqa: E741
    if O.ndim != 1 or len(O) < 1000:
        raise ValueError(f"values: wanted at least 1000 layers, shape (L,), got shape {O.shape}.")
    first = max(8, len(O) // FITTED_RANGE)
    layer = np.unique(np.geomspace(first, len(O), FITTED_DEPTHS).astype(int))
    seen = O[layer - 1]
    sign = np.sign(seen[-1])
    if sign == 0 or not (np.sign(seen) == sign).all() or not np.isfinite(seen).all():
        raise ValueError("values: wanted finite numbers of one sign in deep layers.")
    fits = [
        _least_squares(np.log(np.abs(seen)), layer, power, exponent, logarithms)
        for power in (HIGHEST_POWER - 1, HIGHEST_POWER)
    ]
    (p_low, logA_low), (p, logA) = fits
    with np.errstate(over="ignore"):
        amplitude, other = (float(sign * np.exp(a)) for a in (logA, logA_low))
    settled = math.isfinite(amplitude) and math.isfinite(other)
    error = abs(amplitude - other) if settled else math.inf
    return PowerLaw(p, abs(p - p_low), amplitude, error)


def _least_squares(
    log_values: Float[np.ndarray, " M"],
    layer: Float[np.ndarray, " M"],
    highest: int,
    exponent: float | None,
    logarithms: bool,
) -> tuple[float, float]:
    log_l = np.log(layer)
    # Centered logarithms keep the columns of one power of 1/l apart.
    centered = log_l - log_l[-1]
    columns = [np.ones_like(log_l)]
    if exponent is None:
        columns.append(-log_l)
    else:
        log_values = log_values + exponent * log_l
    for power in range(1, highest + 1):
        for logs in range(power + 1 if logarithms else 1):
            columns.append(centered**logs * (layer[0] / layer) ** power)
    matrix = np.stack(columns, axis=1)
    size = np.abs(matrix).max(axis=0)
    solution = np.linalg.lstsq(matrix / size, log_values, rcond=1e-15)[0] / size
    return (float(solution[1]) if exponent is None else exponent), float(solution[0])


@in_double_precision
def fitted_exponents(
    activation: str | Activation | Callable, depth: int = 10_000, first_kernel: float = 1.0
) -> tuple[FittedExponent, ...]:
    """Hold the predicted critical exponents of an activation against its own recursions.

    p_0, p_V, p_1 from PDLT (5.68), (5.109), (5.110); p_parallel and p_perp from (5.47), (5.48) with
    the term of kinks; p_psi is half of p_perp - p_0.

    Args:
        activation: with a critical initialization, at which the recursions run.
        depth: number of layers.
        first_kernel: K^(1). Half-stable points need it on their attracting side, and depths far
            beyond 1/|a~_1 (K^(1) - K*)|.

    Returns:
        One entry for each exponent.

    Raises:
        ValueError: if the activation has no critical initialization.

    Cost: seconds for 10^5 layers.

    Example:
        >>> import finitewidth as fw
        >>> for entry in fitted_exponents("relu", 2000):
        ...     if entry.fitted:
        ...         print(entry.predicted.name, round(entry.fitted.exponent, 3))
        p_0 0.0
        p_parallel 0.0
        p_perp 2.0
        p_psi 1.0
        p_V -1.0
    """
    sigma = described(activation)
    depth = check_count(depth, "depth", least=1000)
    flow = single_input_flow(sigma, depth, first_kernel)
    kernel = flow.kernel
    # Equal norms, at a distance of order 1, so that the crossover of kinked angles is early.
    nearby = nearby_flow(sigma, kernel[0], kernel[0] * 0, kernel[0] / 4, flow.C_b, flow.C_W)
    norms = np.concatenate([[1.0], np.cumprod(np.asarray(flow.response.chi_parallel))])
    curves = {
        "p_0": flow.kernel,
        "p_parallel": norms,
        "p_perp": nearby.ddK_2,
        "p_psi": nearby.angle,
        "p_V": flow.vertex,
        "p_1": flow.nlo_metric,
    }
    found = []
    for predicted in classify(sigma).asymptotics:
        curve = np.asarray(curves[predicted.name])
        vanishes = np.abs(curve[-1]) < 1e-300
        found.append(FittedExponent(predicted, None if vanishes else fit_power_law(curve)))
    return tuple(found)
