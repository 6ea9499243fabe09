r"""Four-point Gaussian expectations of one neuron, <s_a s_b s_c s_d>_K with s = sigma or sigma'.

They source every tensor of the theory at first order in 1/width: the four-point vertex by
<sigma sigma sigma sigma>, PDLT (4.90), the fluctuations of the NTK by <sigma sigma sigma' sigma'>
and <sigma' sigma' sigma' sigma'>, PDLT (8.77)-(8.97). The factor of slot k is the derivative of
order m_k. The entries are found by the number of distinct inputs that they hold:

- one or two inputs: the factors of each input form one function, and the entry is a pair
  expectation (closed form for the scale-invariant family);
- three or four inputs: closed form for sin and cos, sums over signs; otherwise a scrambled Sobol
  sequence of Gaussian vectors, used with both signs, z = A u, A A^T = K.

No inverse of K appears, so repeated and collinear inputs are harmless.
"""

from functools import lru_cache
from itertools import product
from math import perm, prod

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from scipy.special import ndtri
from scipy.stats import qmc

from finitewidth.activations import Activation, Cos, Monomial, PiecewiseLinear, Sin
from finitewidth.gaussian.orthant import piecewise_linear_pair
from finitewidth.gaussian.pair import ActivationProduct, pair_expectation
from finitewidth.gaussian.pair.closed_forms import power_moment
from finitewidth.gaussian.single import single_moment

#: Sobol points for entries with three or more distinct inputs; each stands for both signs.
SOBOL_POINTS = 2**14

#: Points whose products are summed at once: those of 300 pairs of inputs take 1 MB.
POINTS_AT_ONCE = 2**11

Orders = tuple[int, int, int, int]
Pairs = tuple[int, int]


def four_point_moment(
    activation: Activation,
    K: Float[Array, "N N"],
    points: int = SOBOL_POINTS,
    orders: Orders = (0, 0, 0, 0),
) -> Float[Array, "N N N N"]:
    """Return <D^m1 sigma_a D^m2 sigma_b D^m3 sigma_c D^m4 sigma_d>_K for all quadruples of inputs.

    Args:
        activation: the activation.
        K: kernel, shape (N, N), may be singular.
        points: Sobol points, a power of two, for entries with three or more distinct inputs.
        orders: how often each factor is differentiated, (m_1, m_2, m_3, m_4); the derivatives are
            pointwise, so kinked activations are limited to orders without delta functions.

    Returns:
        The tensor, shape (N, N, N, N).

    Accuracy: entries with one or two distinct inputs as good as `pair_expectation`; the others
    2e-4 (tanh) to 6e-4 (gelu) of the largest entry for 2^14 points, falling like points^-0.75
    (exact for sin and cos).

    Cost: O(N^4) memory, O(points N^4) operations for the entries with three or more inputs.
    """
    N = K.shape[0]
    if isinstance(activation, Sin | Cos):
        return _trigonometric(activation, K, orders)
    held, low, high = _two_input_pattern(N)
    few = jnp.zeros((N,) * 4)
    tables: dict[tuple[tuple[int, ...], tuple[int, ...]], Float[Array, "N N"]] = {}
    for code, at_high in enumerate(product((False, True), repeat=4)):
        if all(at_high):
            continue  # a quadruple of one input counts as all low
        first, second = (
            tuple(sorted(m for m, up in zip(orders, at_high, strict=True) if up == side))
            for side in (False, True)
        )
        if (first, second) not in tables:
            tables[first, second] = two_input_moment(activation, K, first, second)
            tables[second, first] = tables[first, second].T
        few = jnp.where(held == code, tables[first, second][low, high], few)
    if N < 3:
        return few
    return jnp.where(held < 0, _sobol_moment(activation, K, points, orders), few)


def two_input_moment(
    activation: Activation, K: Float[Array, "N N"], low: tuple[int, ...], high: tuple[int, ...]
) -> Float[Array, "N N"]:
    """Return <prod_low D^m sigma(z_i) prod_high D^m sigma(z_j)>, all of them at z_i where i = j.

    Args:
        activation: the activation.
        K: kernel, shape (N, N).
        low: how often each factor at the first input i is differentiated.
        high: the same at the second input j.

    Returns:
        All pairs of inputs, shape (N, N).
    """
    diagonal = jnp.diagonal(K)
    K11, K22 = diagonal[:, None], diagonal[None, :]
    if isinstance(activation, PiecewiseLinear) and max(low + high) < 2:
        return piecewise_linear_pair(activation, low, high, K11, K22, K)
    if isinstance(activation, Monomial):
        a, b = (sum(activation.p - m for m in orders) for orders in (low, high))
        scale = prod(perm(activation.p, m) for m in low + high)
        return scale * power_moment(max(a, 0), max(b, 0))(K11, K22, K)
    one = single_moment(ActivationProduct(activation, low + high), diagonal)
    if not high:
        return jnp.broadcast_to(one[:, None], K.shape)
    two = pair_expectation(
        ActivationProduct(activation, low), ActivationProduct(activation, high), K11, K22, K
    )
    return jnp.where(np.eye(K.shape[0], dtype=bool), one[:, None], two)


def _trigonometric(
    activation: Sin | Cos, K: Float[Array, "N N"], orders: Orders
) -> Float[Array, "N N N N"]:
    """Return 2^-4 sum over signs eps of (phase) exp(-eps^T K eps / 2), for any four inputs."""
    diagonal = jnp.diagonal(K)
    total = jnp.zeros((K.shape[0],) * 4)
    halves = [diagonal.reshape([-1 if axis == k else 1 for axis in range(4)]) for k in range(4)]
    # D^m cos = D^(m+1) sin, and sin(z + m pi/2) = sum over eps of -i eps i^(eps m) e^(i eps z)/2.
    quarters = [m + isinstance(activation, Cos) for m in orders]
    for signs in product((1, -1), repeat=4):
        phases = [-1j * e * 1j ** (e * m) for e, m in zip(signs, quarters, strict=True)]
        phase = complex(np.prod(phases)).real
        if round(phase) == 0:
            continue
        quadratic = sum(halves) / 2
        for i in range(4):
            for j in range(i + 1, 4):
                shape = [K.shape[0] if axis in (i, j) else 1 for axis in range(4)]
                quadratic = quadratic + signs[i] * signs[j] * K.reshape(shape)
        total = total + round(phase) * jnp.exp(-quadratic) / 16
    return total


def _sobol_moment(
    activation: Activation, K: Float[Array, "N N"], points: int, orders: Orders
) -> Float[Array, "N N N N"]:
    """Return the mean over Gaussian points of products of pairs, one Gram matrix of pairs.

    The products are summed in single precision, chunk by chunk, and the sums of chunks in double.
    Every factor is divided by its root mean square, so that they are of order one: the rounding is
    near 1e-7 of the largest entry, a thousand times below the error of the points.
    """
    N = K.shape[0]
    if activation.parity is not None and sum(orders) % 2:
        return jnp.zeros((N,) * 4)  # an odd function of z
    signs = (1.0,) if activation.parity is not None else (1.0, -1.0)
    z = triangular_root(K) @ _gaussian_points(N, points).T
    first, where_first = _pairs_of_slots(N, orders[:2])
    second, where_second = _pairs_of_slots(N, orders[2:])
    scale = {m: _root_mean_square(activation, z, m, signs) for m in set(orders)}

    def add(total: Float[Array, "P Q"], z: Float[Array, "N C"]) -> tuple[Float[Array, "P Q"], None]:
        for sign in signs:
            s = {
                m: (activation.derivative(sign * z, m) / scale[m][:, None]).astype(jnp.float32)
                for m in scale
            }
            one = s[orders[0]][first[0]] * s[orders[1]][first[1]]
            other = (
                one
                if orders[:2] == orders[2:]
                else s[orders[2]][second[0]] * s[orders[3]][second[1]]
            )
            product = jnp.matmul(one, other.T, precision=jax.lax.Precision.HIGHEST)
            total = total + product.astype(total.dtype)
        return total, None

    nothing = jnp.zeros((len(first[0]), len(second[0])))
    chunks = z.reshape(N, -1, min(points, POINTS_AT_ONCE)).swapaxes(0, 1)
    total, _ = jax.lax.scan(add, nothing, chunks)
    sizes = [
        scale[m].reshape([-1 if axis == k else 1 for axis in range(4)])
        for k, m in enumerate(orders)
    ]
    mean = total / (len(signs) * points)
    return mean[where_first[:, :, None, None], where_second[None, None, :, :]] * prod(sizes)


def _root_mean_square(
    activation: Activation, z: Float[Array, "N points"], m: int, signs: tuple[float, ...]
) -> Float[Array, " N"]:
    """Return the size of the m-th derivative at every input, 1 where it vanishes; a constant."""
    square = sum((activation.derivative(sign * z, m) ** 2).mean(axis=1) for sign in signs)
    square = jax.lax.stop_gradient(square)
    return jnp.sqrt(jnp.where(square > 0, square, 1.0))


@lru_cache(maxsize=32)
def _pairs_of_slots(
    N: int, orders: Pairs
) -> tuple[tuple[Int[np.ndarray, " P"], Int[np.ndarray, " P"]], Int[np.ndarray, "N N"]]:
    """Return the pairs to be multiplied, and where each (a, b) is: unordered for equal factors."""
    if orders[0] != orders[1]:
        where = np.arange(N * N).reshape(N, N)
        return np.divmod(where.ravel(), N), where
    pairs = np.triu_indices(N)
    where = np.zeros((N, N), dtype=int)
    where[pairs] = where[pairs[::-1]] = np.arange(len(pairs[0]))
    return pairs, where


def triangular_root(K: Float[Array, "N N"], rounding: float = 1e-13) -> Float[Array, "N N"]:
    """Return a lower triangular A with A A^T = K, also for a singular K, differentiable in K.

    Unlike `covariance.square_root` it may be traced: its shape does not depend on the rank. A
    pivot that vanishes to rounding stands for an input that depends on the earlier ones; its
    column is zero.

    Args:
        K: symmetric positive semi-definite, shape (N, N).
        rounding: pivots below this fraction of the diagonal count as zero.

    Returns:
        The factor, shape (N, N).
    """
    N = K.shape[0]
    rest = K
    columns = []
    for j in range(N):
        pivot = rest[j, j]
        positive = pivot > rounding * K[j, j]
        scale = jnp.sqrt(jnp.where(positive, pivot, 1.0))
        column = jnp.where(positive, rest[:, j] / scale, 0.0) * (np.arange(N) >= j)
        rest = rest - column[:, None] * column[None, :]
        columns.append(column)
    return jnp.stack(columns, axis=1)


@lru_cache(maxsize=16)
def _gaussian_points(dimensions: int, points: int) -> np.ndarray:
    uniform = qmc.Sobol(dimensions, scramble=True, rng=np.random.default_rng(2022)).random(points)
    # The scrambled points may touch 0 in rounding, where the normal quantile is infinite.
    return ndtri(np.clip(uniform, 1e-16, 1 - 1e-16))


@lru_cache(maxsize=32)
def _two_input_pattern(
    N: int,
) -> tuple[Int[np.ndarray, "N N N N"], Int[np.ndarray, "N N N N"], Int[np.ndarray, "N N N N"]]:
    """Return which slots hold the higher of two inputs, as a binary code, and the two inputs.

    The code is -1 for quadruples of three or four distinct inputs, 0 for those of one input.
    """
    quadruples = np.stack(np.meshgrid(*(np.arange(N),) * 4, indexing="ij"), axis=-1)
    low, high = quadruples.min(axis=-1), quadruples.max(axis=-1)
    at_low, at_high = (quadruples == end[..., None] for end in (low, high))
    code = (at_high & ~at_low) @ np.array([8, 4, 2, 1])
    return np.where((at_low | at_high).all(axis=-1), code, -1), low, high
