r"""The third cumulant of the metric of layer 2, exact at any width.

    E[dG_12 dG_34 dG_56] = (C_W^3/n_1^2) kappa_3[s_1 s_2, s_3 s_4, s_5 s_6]_K            PDLT (4.59)
    kappa_3[A, B, C] = <ABC> - <A><BC> - <B><CA> - <C><AB> + 2<A><B><C>

with s_a = sigma(z_a), z ~ N(0, K^(1)), C_W of layer 2 and dG = G^ - E[G^]. The metric of layer 2 is
a mean over n_1 independent neurons, so its m-th cumulant is n_1^(1-m) times that of one neuron; its
m-th moment is not from m = 4 on, as the footnote to (4.58) has it: E[dG^4] = 3 V^2/n_1^2 + ...
"""

from itertools import combinations_with_replacement

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from finitewidth.activations import Activation
from finitewidth.flow.layer_map import second_moment
from finitewidth.flow.preactivations import first_kernel
from finitewidth.gaussian import (
    ActivationProduct,
    gaussian_expectation,
    pair_expectation,
    single_moment,
)
from finitewidth.gaussian.four_point import four_point_moment
from finitewidth.gaussian.pair import pair_moments
from finitewidth.network import MLP
from finitewidth.precision import in_double_precision
from finitewidth.validation import check_inputs

#: The tensor grows like N^6.
MOST_INPUTS = 8
#: Points of expectations with three or more distinct inputs, if they are quasi-random.
SOBOL_POINTS = 2**16


@in_double_precision
def third_cumulant(
    net: MLP, x: ArrayLike, points: int = SOBOL_POINTS
) -> Float[Array, "N N N N N N"]:
    """Compute n_1^2 times the third cumulant of the metric of layer 2, PDLT (4.59).

    C_W^3 kappa_3[sigma_1 sigma_2, sigma_3 sigma_4, sigma_5 sigma_6] in the kernel of layer 1.

    Args:
        net: a network of two layers or more with Gaussian weights in the first layer.
        x: inputs, shape (N, n_0), at most 8.
        points: quasi-random points, if N > 3, for entries with three or more distinct inputs.

    Returns:
        The cumulant in units of 1/n_1^2, shape (N, N, N, N, N, N). It does not depend on n_1.

    Raises:
        ValueError: if the network has one layer, its weights are not Gaussian, x does not fit it,
            or there are more than 8 inputs.

    Accuracy: entries with one or two distinct inputs 1e-9 of the largest; three by a grid (1e-10
    for smooth activations, 1e-5 for kinked ones), if N <= 3, else about 1e-3.

    Cost: O(N^6) memory.

    Example:
        >>> import finitewidth as fw
        >>> net = fw.MLP(widths=(1, 12, 1), activation="linear")
        >>> round(float(third_cumulant(net, [[1.0]])[0, 0, 0, 0, 0, 0]), 9)  # of chi-squared
        8.0
    """
    x = check_inputs(x, net.widths[0])
    if net.depth < 2:
        raise ValueError(f"net: wanted two layers or more, got widths {net.widths}.")
    if net.law != "gaussian":
        raise ValueError(f"net: wanted Gaussian weights, got law {net.law!r}.")
    N = x.shape[0]
    if N > MOST_INPUTS:
        raise ValueError(f"x: the tensor grows like N^6; wanted at most {MOST_INPUTS}, got {N}.")
    K = first_kernel(net, x)
    two = second_moment(pair_moments(net.activation), K)
    four = four_point_moment(net.activation, K, points=points)
    six = _sixth_moment(net.activation, K, points)
    by_pairs = (
        jnp.einsum("ab,cdef->abcdef", two, four)
        + jnp.einsum("cd,abef->abcdef", two, four)
        + jnp.einsum("ef,abcd->abcdef", two, four)
    )
    return net.C_W[1] ** 3 * (six - by_pairs + 2 * jnp.einsum("ab,cd,ef->abcdef", two, two, two))


def _sixth_moment(
    sigma: Activation, K: Float[Array, "N N"], points: int
) -> Float[Array, "N N N N N N"]:
    """Return <sigma_a ... sigma_f>, which depends only on how often each input occurs."""
    N = K.shape[0]
    sextuples = np.array(list(combinations_with_replacement(range(N), 6)))
    distinct = np.array([len(set(row)) for row in sextuples])
    values = np.zeros(len(sextuples))
    powers = [ActivationProduct(sigma, (0,) * count) for count in range(7)]
    diagonal = np.asarray(jnp.diagonal(K))
    # One grid serves all entries of a smooth function, and compiles once.
    gridded = (distinct > 2) | (N <= 3 and not sigma.kinks)
    if not gridded.all():
        values[distinct == 1] = np.asarray(single_moment(powers[6], diagonal))
    for fewer in range(1, 4):
        # One input occurs `fewer` times, the other 6 - `fewer` times.
        occurs = (sextuples == sextuples[:, :1]).sum(axis=1)
        here = (distinct == 2) & ~gridded & ((occurs == fewer) | (occurs == 6 - fewer))
        ends, first = sextuples[here][:, [0, -1]], (occurs[here] == fewer)
        rare, often = np.where(first, ends.T, ends.T[::-1])
        if here.any():
            kernels = (diagonal[rare], diagonal[often], K[rare, often])
            values[here] = np.asarray(pair_expectation(powers[fewer], powers[6 - fewer], *kernels))
    many = sextuples[gridded]
    if len(many):

        def products(z: Array) -> Array:
            return jnp.prod(sigma(z)[many], axis=1)

        estimate = gaussian_expectation(products, K, sobol_points=points, max_points=2**20)
        values[gridded] = np.asarray(estimate.value)
    # Look up every index by its sorted form, as a number in base N.
    place = {tuple(row): number for number, row in enumerate(sextuples)}
    every = np.sort(np.array(list(np.ndindex((N,) * 6))), axis=1)
    where = np.array([place[tuple(row)] for row in every]).reshape((N,) * 6)
    return jnp.asarray(values[where])
