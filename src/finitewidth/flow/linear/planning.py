r"""How deep a linear network may be, and how many networks show a correlator.

The relative variance of the variance S over networks is K_4/G_2^2 = prod_l (1 + 2/n_l) - 1,
PDLT (3.28). An average of S^m over R networks has the relative error sqrt((G_4m/G_2m^2 - 1)/R), and
the average of one neuron's z^2m

    sqrt(((4m-1)!!/(2m-1)!!^2 G_4m/G_2m^2 - 1) / R),     G_4m/G_2m^2 ~ e^(2 m^2 r),  PDLT (3.55)

so that high correlators of deep networks cannot be measured by averaging.
"""

import math
from collections.abc import Sequence

import numpy as np

from finitewidth.flow.linear.correlators import log_width_factor
from finitewidth.flow.linear.kernel import check_network, check_order
from finitewidth.gaussian import number_of_pairings
from finitewidth.validation import check_count


def max_depth(n: int, relative_std: float) -> int:
    """Compute the largest depth at which S still fluctuates less than wanted.

    PDLT (3.28): the largest L with (1 + 2/n)^(L-1) - 1 <= relative_std^2.

    Args:
        n: width of all hidden layers.
        relative_std: wanted bound on the standard deviation of S over networks, relative to its
            mean.

    Returns:
        The number of layers L, at least 1.

    Raises:
        ValueError: if the bound is not a positive number.

    Example:
        >>> max_depth(100, 0.5)
        12
    """
    n = check_count(n, "n")
    if not (math.isfinite(relative_std) and relative_std > 0):
        raise ValueError(f"relative_std: wanted a finite number > 0, got {relative_std!r}.")
    hidden = math.log1p(relative_std**2) / math.log1p(2 / n)
    # A bound that is met exactly counts as met.
    return 1 + math.floor(hidden * (1 + 1e-12))


def networks_needed(
    widths: Sequence[int], m: int, relative_error: float, estimator: str = "metric"
) -> float:
    """Compute how many networks give the 2m-point correlator of the output to a relative error.

    Args:
        widths: (n_0, n_1, ..., n_L).
        m: half the number of points, at least 1.
        relative_error: wanted standard error over the mean.
        estimator: "metric" averages S^m, "neuron" averages z^2m of one output neuron.

    Returns:
        The number of networks, rounded up; infinity if it is no floating-point number.

    Raises:
        ValueError: if the error is not positive or the estimator unknown.

    Example:
        >>> networks_needed((10, 100, 100, 1), 1, 0.01)  # (1.02^2 - 1)/1e-4
        404.0
        >>> networks_needed((10, 100, 100, 1), 1, 0.01, "neuron")
        21212.0
    """
    checked, _ = check_network(widths, 1.0)
    m = check_order(m)
    if not (math.isfinite(relative_error) and relative_error > 0):
        raise ValueError(f"relative_error: wanted a finite number > 0, got {relative_error!r}.")
    hidden = np.array(checked[1:-1], dtype=float)
    log_ratio = float((log_width_factor(2 * m, hidden) - 2 * log_width_factor(m, hidden)).sum())
    if estimator == "neuron":
        log_ratio += math.log(number_of_pairings(4 * m)) - 2 * math.log(number_of_pairings(2 * m))
    elif estimator != "metric":
        raise ValueError(f"estimator: wanted 'metric' or 'neuron', got {estimator!r}.")
    with np.errstate(over="ignore"):
        needed = float(np.expm1(log_ratio) / relative_error**2)
    return needed if math.isinf(needed) else float(math.ceil(needed * (1 - 1e-12)))
