r"""Entropy and information of neurons on one input at finite width, as series in 1/n.

With x = V/(n_{l-1} G^2) = Var(G^)/G^2, the relative variance of the stochastic metric,

    S_m          = (m/2) log 2 pi e G - m(m+2) x^2/16 + m(m+2)(m+8) x^3/48             PDLT (A.66)
    I(m_1, m_2)  = m_1 m_2 x^2/8 - m_1 m_2 (20 + 3 m_1 + 3 m_2) x^3/48                  PDLT (A.67)
    I_3          = m_1 m_2 m_3 x^3/8                                                    PDLT (A.75)

up to O(1/n^4). They come from the action of largest entropy with the right variance and vertex,

    S = g_m R^2/2 - v_m R^4/8 + u_m R^6/24,    R^2 = sum_i z_i^2
    g_m = 1/G + (m+2) v_m G/2 - (m+2)(m+4) u_m G^2/4 + (m+2) v_m^2 G^3/2                PDLT (A.59)
    v_m = W/G^4 - (m+8)(W/G^3)^2/2 + (m+4) u_m G,    W = V/n_{l-1}                      PDLT (A.63)

The sextic coupling u_m drops out of the entropy at this order. The series is in m x: for groups of
m ~ 1/x neurons it says nothing, and `scale_mixture` has the value without expansion.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from finitewidth.precision import in_double_precision
from finitewidth.validation import check_count, is_concrete


@in_double_precision
def neuron_entropy(
    x: ArrayLike, m: int, order: int = 2, metric: ArrayLike = 1.0
) -> Float[Array, "..."]:
    """Compute the entropy of m neurons of a layer on one input, PDLT (A.52), (A.66).

    Args:
        x: relative variance of the stochastic metric, any shape; see `metric_variance`.
        m: number of neurons.
        order: 0 for infinite width, 2 or 3 for the highest power of x that is kept.
        metric: G, the variance of a neuron over the ensemble.

    Returns:
        The entropy in nats, of the shape of x and `metric` together. It is below that of the
        Gaussian of the same variance, by `neuron_entropy(x, m, 0, G) - neuron_entropy(x, m, 2, G)`.

    Raises:
        ValueError: if x is negative, the metric not positive or the order not 0, 2 or 3.

    Example:
        >>> deficit = neuron_entropy(0.1, 2, order=0) - neuron_entropy(0.1, 2)
        >>> round(float(deficit), 9)  # 2 * 4 * 0.01/16
        0.005
    """
    x, m, order = check_relative_variance(x), check_count(m, "m"), _check_order(order, (0, 2, 3))
    G = jnp.asarray(metric, dtype=float)
    if is_concrete(G) and not (np.asarray(G) > 0).all():
        raise ValueError(f"metric: wanted positive variances, got {metric}.")
    entropy = m / 2 * jnp.log(2 * jnp.pi * jnp.e * G)
    if order >= 2:
        entropy = entropy - m * (m + 2) / 16 * x**2
    if order == 3:
        entropy = entropy + m * (m + 2) * (m + 8) / 48 * x**3
    return jnp.broadcast_to(entropy, jnp.broadcast_shapes(x.shape, G.shape))


@in_double_precision
def neuron_mutual_information(
    x: ArrayLike, m1: int = 1, m2: int = 1, order: int = 2
) -> Float[Array, "..."]:
    """Compute what m1 neurons of a layer tell about m2 others on one input, PDLT (A.53), (A.67).

    Args:
        x: relative variance of the stochastic metric, any shape; see `metric_variance`.
        m1: size of one group.
        m2: size of the other.
        order: 2 or 3, the highest power of x that is kept.

    Returns:
        The information in nats, of the shape of x. At order 3 it is largest at
        x = 4/(20 + 3 m1 + 3 m2), where the second term is 2/3 of the first: there the series has
        ended, while the information itself goes on growing, see `ScaleMixture`.

    Raises:
        ValueError: if x is negative, a group empty or the order not 2 or 3.

    Example:
        >>> round(float(neuron_mutual_information(0.1, 1, 1, order=3)), 9)
        0.000708333
    """
    x, order = check_relative_variance(x), _check_order(order, (2, 3))
    m1, m2 = check_count(m1, "m1"), check_count(m2, "m2")
    information = m1 * m2 / 8 * x**2
    if order == 3:
        information = information - m1 * m2 * (20 + 3 * m1 + 3 * m2) / 48 * x**3
    return information


@in_double_precision
def tripartite_information(
    x: ArrayLike, m1: int = 1, m2: int = 1, m3: int = 1
) -> Float[Array, "..."]:
    """Compute the information that three groups of neurons share, PDLT (A.75), leading order.

    m1 m2 m3 x^3/8: positive, so neurons of a layer are redundant rather than synergistic.

    Args:
        x: relative variance of the stochastic metric, any shape; see `metric_variance`.
        m1: size of the first group.
        m2: size of the second.
        m3: size of the third.

    Returns:
        I_3 in nats, of the shape of x.

    Raises:
        ValueError: if x is negative or a group empty.

    Example:
        >>> round(float(tripartite_information(0.2, 1, 2, 2)), 9)
        0.004
    """
    sizes = check_count(m1, "m1") * check_count(m2, "m2") * check_count(m3, "m3")
    return sizes / 8 * check_relative_variance(x) ** 3


@in_double_precision
def variational_couplings(
    metric: ArrayLike, variance: ArrayLike, m: int, sextic: ArrayLike = 0.0
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """Compute the couplings g_m and v_m of the action of m neurons through O(1/n^2).

    PDLT (A.59), (A.63): the action that has E[z^2] = G and the connected four-point function W.

    Args:
        metric: G, positive.
        variance: W = Var(G^) = V/n_{l-1}, of order 1/n.
        m: number of neurons.
        sextic: u_m, of order 1/n^2.

    Returns:
        (g_m, v_m). The action is not bounded from below: only its expansion means something.

    Raises:
        ValueError: if m is not positive.

    Example:
        >>> g, v = variational_couplings(1.0, 0.01, 2)
        >>> round(float(g), 9), round(float(v), 9)
        (1.0191805, 0.0095)
    """
    m = check_count(m, "m")
    G, W, u = (jnp.asarray(a, dtype=float) for a in (metric, variance, sextic))
    v = W / G**4 - (m + 8) / 2 * (W / G**3) ** 2 + (m + 4) * u * G
    g = 1 / G + (m + 2) / 2 * v * G - (m + 2) * (m + 4) / 4 * u * G**2 + (m + 2) / 2 * v**2 * G**3
    return g, v


def check_relative_variance(x: ArrayLike) -> Float[Array, "..."]:
    """Return relative variances of the metric, or say what is wrong with them."""
    array = jnp.asarray(x, dtype=float)
    if is_concrete(array):
        values = np.asarray(array)
        if not np.isfinite(values).all() or (values < 0).any():
            raise ValueError(f"x: wanted relative variances >= 0, got {x}.")
    return array


def _check_order(order: int, known: tuple[int, ...]) -> int:
    if order not in known:
        raise ValueError(f"order: wanted one of {known}, a power of x, got {order!r}.")
    return order
