r"""Haar-orthogonal linear networks, exact at every width, and networks that mix both kinds.

W = sqrt(C_W max(n_out, n_in)/n_in) Q, Q with orthonormal rows or columns and distributed by the
Haar measure, so that E[W_ij^2] = C_W/n_in. In square networks |z|^2 is the same in all, and z is
uniform on a sphere (Kahn's lecture on linear networks; -2/n there to leading order)

    G_2m = G_2^m / c_2m(n),   K_4 = -2/(n+2) G_2^2,   K_6 = 16/((n+2)(n+4)) G_2^3

at every depth: the sign is opposite to Gaussian weights, and nothing grows. In general a layer
multiplies the mean of the zonal polynomial C_lambda of the Gram matrix, besides the C_W, by

    f_lambda(n_l)                     Gaussian weights
    1                                 Haar weights, n_l >= n_{l-1}
    f_lambda(n_l)/f_lambda(n_{l-1})   Haar weights, n_l < n_{l-1}

with f_(m) = c_2m, PDLT (3.45), f_(2) = 1 + 2/n and f_(1,1) = 1 - 1/n; correlators of fixed neurons
are divided by f_lambda(n_l) in the end. So a Gaussian readout of Haar layers is exactly Gaussian.
"""

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

import numpy as np
from jaxtyping import ArrayLike, Float
from scipy import stats

from finitewidth.flow.linear.correlators import cumulants_from_moments, log_width_factor
from finitewidth.flow.linear.inputs import product_and_symmetric
from finitewidth.flow.linear.kernel import (
    check_gram,
    check_network,
    check_one_input,
    check_order,
    kernel,
    log_kernel,
)
from finitewidth.validation import check_count

Laws = str | Sequence[str]


def correlator(
    widths: Sequence[int], C_W: ArrayLike, G0: float, m: int, laws: Laws = "orthogonal"
) -> Float[np.ndarray, " L"]:
    """Compute the 2m-point correlator G_2m of one input in every layer.

    Args:
        widths: (n_0, n_1, ..., n_L); n_0 and n_L enter too.
        C_W: rescaled weight variances, one number or shape (L,).
        G0: |x|^2/n_0 of the input.
        m: half the number of points, at least 1.
        laws: "orthogonal" or "gaussian", for all layers or one name per layer.

    Returns:
        G_2m of layers 1 to L, shape (L,), the sum over pairings split off.

    Raises:
        TypeError, ValueError: if an argument is not what is wanted.

    Example:
        >>> round(float(correlator((6, 4, 4, 4), 1.0, 1.0, 2)[-1]), 12)  # 1/c_4(6)
        0.75
    """
    m = check_order(m)
    checked, _ = check_network(widths, C_W)
    log_f = log_width_factor(m, np.array(checked))
    steps = [
        _step(log_f[k], log_f[k + 1], checked[k + 1] < checked[k], law)
        for k, law in enumerate(check_laws(laws, checked))
    ]
    relative = np.cumsum(steps) - log_f[1:]
    with np.errstate(over="ignore"):
        return np.exp(m * log_kernel(checked, C_W, G0) + relative)


def connected(
    widths: Sequence[int], C_W: ArrayLike, G0: float, m: int, laws: Laws = "orthogonal"
) -> Float[np.ndarray, " L"]:
    """Compute the connected 2m-point correlator K_2m of one input in every layer.

    Square layers: K_4 = -2/(n+2) G_2^2 and K_6 = 16/((n+2)(n+4)) G_2^3, independent of depth.

    Args, Raises: those of `correlator`.

    Returns:
        K_2m of layers 1 to L, shape (L,).

    Accuracy: all digits; the cumulants are formed from fractions.

    Example:
        >>> connected((6, 6, 6, 6), 1.0, 1.0, 2).tolist()
        [-0.25, -0.25, -0.25]
        >>> connected((4, 4, 7, 2), 1.0, 1.0, 2, ["orthogonal", "orthogonal", "gaussian"]).tolist()
        [-0.3333333333333333, -0.2222222222222222, 0.0]
    """
    m = check_order(m)
    checked, _ = check_network(widths, C_W)
    scale = m * log_kernel(checked, C_W, G0)
    running = [Fraction(1)] * m
    cumulants = []
    for layer, law in enumerate(check_laws(laws, checked)):
        below, here = (
            [_exact_width_factor(k, checked[place]) for k in range(1, m + 1)]
            for place in (layer, layer + 1)
        )
        if law == "gaussian":
            running = [r * f for r, f in zip(running, here, strict=True)]
        elif checked[layer + 1] < checked[layer]:
            running = [r * f / g for r, f, g in zip(running, here, below, strict=True)]
        relative = [r / f for r, f in zip(running, here, strict=True)]
        cumulants.append(float(cumulants_from_moments(relative)[-1]))
    with np.errstate(over="ignore", invalid="ignore"):
        # A cumulant that vanishes does so also where the scale overflows.
        return np.where(np.array(cumulants) == 0, 0.0, np.exp(scale) * np.array(cumulants))


def four_point(
    widths: Sequence[int], C_W: ArrayLike, G0: ArrayLike, laws: Laws = "orthogonal"
) -> Float[np.ndarray, "L N N N N"]:
    """Compute the four-point correlator H_ab,cd of several inputs in every layer.

    Square layers: n/((n-1)(n+2)) [(n+1) G_ab G_cd - G_ac G_bd - G_ad G_bc], the second-order
    Weingarten function. The neurons are those of `inputs.four_point`.

    Args:
        widths: (n_0, n_1, ..., n_L).
        C_W: rescaled weight variances, one number or shape (L,).
        G0: Gram matrix x x^T/n_0, shape (N, N).
        laws: "orthogonal" or "gaussian", for all layers or one name per layer.

    Returns:
        H of layers 1 to L, shape (L, N, N, N, N). In a layer of one neuron only the sum of the
        three pairings has a meaning; each is given as a third of it.

    Raises:
        ValueError: if an argument is not what is wanted.

    Example:
        >>> H = four_point((2, 2), 1.0, [[1.0, 0.0], [0.0, 1.0]])
        >>> H[-1, 0, 0, 1, 1].round(12), H[-1, 0, 1, 0, 1].round(12)
        (np.float64(1.5), np.float64(-0.5))
    """
    product, symmetric = product_and_symmetric(kernel(widths, C_W, check_gram(G0)))
    growths = []
    for f in _sectors(widths):
        growth = _mean_growth(f, widths, laws)
        here = f[1:]
        growths.append(np.divide(growth, here, out=np.zeros_like(growth), where=here != 0))
    grow, shrink = (g[:, None, None, None, None] for g in growths)
    return grow * symmetric + shrink * (product - symmetric)


def gram_covariance(
    widths: Sequence[int], C_W: ArrayLike, G0: ArrayLike, laws: Laws = "orthogonal"
) -> Float[np.ndarray, "L N N N N"]:
    """Compute the covariance over networks of the Gram matrix (1/n_l) sum_j z_j z_j^T.

    It is 0 as long as Haar layers do not contract: they keep the Gram matrix of their inputs. The
    stochastic metric of the next layer, PDLT (4.70), is C_W times this Gram matrix.

    Args, Raises: those of `four_point`.

    Returns:
        Cov(Gram_ab, Gram_cd) in layers 1 to L, shape (L, N, N, N, N).

    Example:
        >>> gram_covariance((4, 4, 2), 1.0, [[1.0]])[:, 0, 0, 0, 0].round(12).tolist()
        [0.0, 0.333333333333]
    """
    product, symmetric = product_and_symmetric(kernel(widths, C_W, check_gram(G0)))
    grow, shrink = (
        (_mean_growth(f, widths, laws) - 1)[:, None, None, None, None] for f in _sectors(widths)
    )
    return grow * symmetric + shrink * (product - symmetric)


def marginal(widths: Sequence[int], C_W: ArrayLike, G0: float, outputs: int = 1):
    """Compute the law of the squared norm of k output neurons, |z_k|^2/(n_L G_2) ~ Beta.

    The output is uniform on the sphere |z|^2 = n_L G_2, so that |z_k|^2/(n_L G_2) has the law
    Beta(k/2, (n_L - k)/2).

    Args:
        widths: (n_0, n_1, ..., n_L), never decreasing.
        C_W: rescaled weight variances, one number or shape (L,).
        G0: |x|^2/n_0 of the input, not zero.
        outputs: k, from 1 to n_L - 1.

    Returns:
        A frozen `scipy.stats.beta` scaled to |z_k|^2.

    Raises:
        ValueError: if a layer contracts, all outputs are asked for (their norm is the same in
            every network) or the output is zero.

    Example:
        >>> round(float(marginal((6, 6, 6), 1.0, 1.0).cdf(6 * 0.2)), 8)
        0.68562736
    """
    checked, C_W = check_network(widths, C_W)
    k = check_count(outputs, "outputs")
    if any(b < a for a, b in pairwise(checked)):
        raise ValueError(f"widths: wanted layers that do not contract, got {checked}.")
    n = checked[-1]
    if k >= n:
        raise ValueError(
            f"outputs: wanted fewer than n_L = {n} (their norm does not fluctuate), got {k}."
        )
    G2 = float(np.prod(C_W)) * check_one_input(G0)
    if not (G2 > 0 and math.isfinite(G2)):
        raise ValueError(f"G0, C_W: wanted a finite output that is not zero, got G_2 = {G2}.")
    return stats.beta(k / 2, (n - k) / 2, scale=n * G2)


def check_laws(laws: Laws, widths: tuple[int, ...]) -> tuple[str, ...]:
    """Return one law per layer, or say what is wrong with them."""
    layers = len(widths) - 1
    names = (laws,) * layers if isinstance(laws, str) else tuple(laws)
    if len(names) != layers:
        raise ValueError(f"laws: wanted one name or one per layer ({layers}), got {len(names)}.")
    for name in names:
        if name not in ("orthogonal", "gaussian"):
            raise ValueError(f"laws: wanted 'orthogonal' or 'gaussian', got {name!r}.")
    return names


def _step(below: float, here: float, contracts: bool, law: str) -> float:
    if law == "gaussian":
        return here
    return here - below if contracts else 0.0


def _sectors(widths: Sequence[int]) -> tuple[Float[np.ndarray, " W"], Float[np.ndarray, " W"]]:
    n = np.array(check_network(widths, 1.0)[0], dtype=float)
    return 1 + 2 / n, 1 - 1 / n


def _mean_growth(
    f: Float[np.ndarray, " W"], widths: Sequence[int], laws: Laws
) -> Float[np.ndarray, " L"]:
    """Return the running product over layers of the factors of one sector."""
    growth, result = 1.0, []
    for layer, law in enumerate(check_laws(laws, tuple(widths))):
        if law == "gaussian":
            growth *= f[layer + 1]
        elif widths[layer + 1] < widths[layer]:
            growth *= f[layer + 1] / f[layer]
        result.append(growth)
    return np.array(result)


def _exact_width_factor(k: int, n: int) -> Fraction:
    return Fraction(math.prod(n + 2 * i for i in range(k)), n**k)
