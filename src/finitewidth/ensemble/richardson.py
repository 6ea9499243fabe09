r"""Richardson extrapolation in width: taking the next order in 1/n out of a measurement.

An observable with a limit and corrections in powers of one over the width,
$O(n) = O_\infty + c/n + O(1/n^2)$, measured at hidden widths $n$ and $rn$ gives

$$O_\infty = \frac{r\,O(rn) - O(n)}{r-1} + O(1/n^2) .$$

The two measurements are independent, so their errors add in squares:
$\varepsilon^2 = (r^2\varepsilon_{rn}^2 + \varepsilon_n^2)/(r-1)^2$.
"""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import ArrayLike, Float, PRNGKeyArray

from finitewidth.ensemble.estimate import Estimate, Measurement
from finitewidth.ensemble.measure import as_key, measure
from finitewidth.network import MLP
from finitewidth.precision import in_double_precision
from finitewidth.validation import check_count


def scaled(net: MLP, factor: int) -> MLP:
    """Return the network with its hidden widths multiplied; input and output widths stay.

    Args:
        net: the network.
        factor: a whole number of at least 1.

    Returns:
        The network with widths (n_0, factor n_1, ..., factor n_{L-1}, n_L).

    Raises:
        TypeError, ValueError: if the factor is not a whole number of at least 1.

    Example:
        >>> from finitewidth.network import MLP
        >>> scaled(MLP(widths=(3, 8, 16, 2), activation="tanh"), 2).widths
        (3, 16, 32, 2)
    """
    factor = check_count(factor, "factor")
    hidden = tuple(factor * width for width in net.widths[1:-1])
    return MLP(
        widths=(net.widths[0], *hidden, net.widths[-1]),
        activation=net.activation,
        C_b=net.C_b,
        C_W=net.C_W,
        lambda_b=net.lambda_b,
        lambda_W=net.lambda_W,
        law=net.law,
    )


def richardson(narrow: Estimate, wide: Estimate, factor: float = 2.0) -> Estimate:
    """Combine independent estimates at hidden widths n and factor n into their limit.

    Args:
        narrow: the estimate at the smaller widths.
        wide: the estimate at the larger widths.
        factor: ratio of the widths.

    Returns:
        The limit, with a bias of order 1/n^2 left, and its propagated standard error (for a
        factor of 2, `sqrt(4 wide^2 + narrow^2)`); `samples` is the smaller of the two.

    Raises:
        ValueError: if the shapes differ or the factor is not larger than 1.

    Example:
        >>> import numpy as np
        >>> one = np.ones(1)
        >>> limit = richardson(Estimate(1.2 * one, one, 10), Estimate(1.1 * one, one, 10))
        >>> limit.value.round(12), limit.standard_error.round(6)
        (array([1.]), array([2.236068]))
    """
    if not factor > 1:
        raise ValueError(f"factor: wanted a ratio of widths larger than 1, got {factor}.")
    if np.shape(narrow.value) != np.shape(wide.value):
        raise ValueError(
            "richardson: wanted two estimates of one shape, got "
            f"{np.shape(narrow.value)} and {np.shape(wide.value)}."
        )
    value = (factor * wide.value - narrow.value) / (factor - 1)
    error = np.hypot(factor * wide.standard_error, narrow.standard_error) / (factor - 1)
    return Estimate(value, error, min(narrow.samples, wide.samples))


@in_double_precision
def measure_extrapolated(
    net: MLP,
    x: Float[ArrayLike, "N n0"],
    observables: str | Sequence[str] = ("metric", "vertex"),
    samples: int = 10_000,
    key: int | PRNGKeyArray = 0,
    *,
    factor: int = 2,
    **options: Any,
) -> Measurement:
    """Measure at hidden widths n and factor n and extrapolate to infinite width.

    Args:
        net: the network at the smaller widths.
        x: inputs, shape (N, n0).
        observables: names, as for `measure`.
        samples: number of networks at each of the two widths.
        key: random key; the two widths get independent keys made from it.
        factor: ratio of the widths, at least 2.
        options: as for `measure`, except `checkpoint`: two runs cannot share one file.

    Returns:
        The leading order of every observable: K for `metric`, the leading vertex for `vertex`,
        the frozen NTK for `ntk`, G^{1} for `nlo_metric`; a bias of order 1/n^2 is left.

    Raises:
        TypeError, ValueError: as for `measure`.

    Example:
        >>> net = MLP(widths=(2, 16, 16, 1), activation="relu", C_W=2.0)
        >>> measure_extrapolated(net, [[1.0, 0.5]], "metric", samples=100).widths
        (2, 16, 16, 1)
    """
    factor = check_count(factor, "factor", least=2)
    if options.get("checkpoint") is not None:
        raise ValueError(
            "checkpoint: wanted none, because this makes two runs; call `measure` for each width "
            "and combine them with `richardson`."
        )
    narrow_key, wide_key = jax.random.split(as_key(key))
    narrow = measure(net, x, observables, samples, narrow_key, **options)
    wide = measure(scaled(net, factor), x, observables, samples, wide_key, **options)
    estimates = {name: richardson(narrow[name], wide[name], factor) for name in narrow}
    return Measurement(estimates, narrow.method, net.widths)
