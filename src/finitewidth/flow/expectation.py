r"""Expectations of functions of preactivations in a network of finite width.

    E[F(z)] = <F>_G + kappa_{mnrl} <d_m d_n d_r d_l F>_G/24              PDLT (4.61)-(4.63)
    kappa   = the connected four-point correlator with neuron indices    PDLT (4.77)
    Cov[F(z_1), H(z_2)] = V_(ab)(cd) <d_a d_b F>_K <d_c d_d H>_K/(4 n_{l-1})       PDLT (4.64)

The book expands about the couplings and has to follow how they depend on the number of neurons,
which drops out. Here the expansion is about the full metric G = K + G^{1}/n_{l-1}: it is the second
order of E[<F>_{G^}] in the fluctuation of the metric, needs no inverse, and for one neuron reads
E[F] = <F>_G + V_(ab)(cd) <d_a d_b d_c d_d F>_G/(8 n_{l-1}).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from finitewidth.flow.correlators import connected_four_point
from finitewidth.flow.effective_action import first_order_of_layer
from finitewidth.flow.preactivations import Preactivations
from finitewidth.gaussian import Perturbed, gaussian_expectation, perturbed_expectation
from finitewidth.precision import in_double_precision
from finitewidth.validation import check_count

#: A function of the preactivations of one neuron on all inputs.
OfNeuron = Callable[[Float[Array, " N"]], Array]


@in_double_precision
def expectation(
    pre: Preactivations,
    layer: int,
    F: Callable[[Array], Array],
    neurons: int | None = None,
    *,
    smooth: bool = True,
    **options,
) -> Perturbed:
    """Compute E[F(z)] over the ensemble of networks to first order in 1/width.

    PDLT (4.61): <F>_G + kappa <d^4 F>_G/24.

    Args:
        pre: statistics of order 1.
        layer: l, from 1 to L.
        F: written with jax.numpy, output of any shape. A function of one neuron's preactivations,
            shape (N,), if `neurons` is None, else of those of m neurons, shape (m, N).
        neurons: m.
        smooth: differentiate F four times (the kernel may be singular). If False, put the
            derivatives on the Gaussian instead: right for kinked F, but needs an invertible kernel.
        **options: of `gaussian.gaussian_expectation` (tolerance, max_points, sobol_points, seed).

    Returns:
        `value`, its parts `leading` (at the full metric) and `correction`, and the numerical error.
        Cost: binom(m N + 3, 4) fourth derivatives at each point; quadrature up to m N = 3
        dimensions, quasi-random points beyond.

    Raises:
        ValueError: for statistics of order 0, a layer that does not exist, or a metric G that is
            not positive (1/n corrections larger than the kernel).

    Example:
        >>> import finitewidth as fw
        >>> net = fw.MLP.critical(widths=(1, 100, 100, 1), activation="relu")
        >>> pre = fw.flow.preactivations(net, [[1.0]])
        >>> round(float(expectation(pre, 3, lambda z: z[0] ** 4).value), 9)  # 3 K^2 (1 + 10/100)
        13.2
    """
    K, G1, _, fan_in = first_order_of_layer(pre, layer)
    m = 1 if neurons is None else check_count(neurons, "neurons")
    N = K.shape[0]
    metric = np.kron(np.eye(m), np.asarray(K + G1 / fan_in))
    kappa = connected_four_point(pre, layer, m).reshape((m * N,) * 4)
    shape = (N,) if neurons is None else (m, N)
    return perturbed_expectation(
        lambda z: F(z.reshape(shape)), metric, kappa, smooth=smooth, **options
    )


@in_double_precision
def neuron_covariance(
    pre: Preactivations,
    layer: int,
    F: OfNeuron,
    H: OfNeuron,
    *,
    smooth: bool = True,
    **options,
) -> Float[Array, ""]:
    """Compute Cov[F(z_1), H(z_2)] of two different neurons, PDLT (4.64), at leading order.

    (1/n_{l-1}) sum of V_(ab)(cd) <d_a d_b F>_K <d_c d_d H>_K/4: the two neurons know of each other
    only through the metric that they share.

    Args:
        pre: statistics of order 1.
        layer: l, from 1 to L.
        F: scalar function of one neuron's preactivations, shape (N,).
        H: likewise.
        smooth: differentiate F and H twice. If False, <(zz - K) F> with raised indices instead:
            right for kinked functions, but needs an invertible kernel.
        **options: of `gaussian.gaussian_expectation`.

    Returns:
        The covariance, of order 1/n; the next order is 1/n^2.

    Raises:
        ValueError: for statistics of order 0, a layer that does not exist, or functions that are
            not scalar.

    Example:
        >>> import finitewidth as fw
        >>> net = fw.MLP.critical(widths=(1, 100, 100, 1), activation="relu")
        >>> pre = fw.flow.preactivations(net, [[1.0]])
        >>> square = lambda z: z[0] ** 2
        >>> round(float(neuron_covariance(pre, 3, square, square)), 9)  # V/n = 10 K^2/100
        0.4
    """
    K, _, V, fan_in = first_order_of_layer(pre, layer)
    inverse = K if smooth else jnp.linalg.inv(K)

    def response(function: OfNeuron) -> Float[Array, "N N"]:
        """Return <d_a d_b F>_K."""
        if jax.eval_shape(function, K[0]).shape != ():
            raise ValueError("F, H: wanted scalar functions of one neuron's preactivations.")
        if smooth:
            return gaussian_expectation(jax.hessian(function), K, **options).value

        def raised(z: Array) -> Array:
            y = inverse @ z
            return (jnp.outer(y, y) - inverse) * function(z)

        return gaussian_expectation(raised, K, **options).value

    return V.contract(response(F), response(H)) / (4 * fan_in)
