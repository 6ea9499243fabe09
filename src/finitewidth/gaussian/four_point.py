r"""Four-point Gaussian expectations of one neuron, <sigma_1 sigma_2 sigma_3 sigma_4>_K.

They source the four-point vertex, PDLT (4.90). For N inputs the tensor is totally symmetric, and
its entries are found by the number of distinct inputs that they hold:

- one or two inputs: <sigma_1^4>, <sigma_1^3 sigma_2> and <sigma_1^2 sigma_2^2> are pair
  expectations, computed to the accuracy of `pair_expectation` (closed form for the scale-invariant
  family);
- three or four inputs: closed form for sin and cos, sums over signs; otherwise a scrambled Sobol
  sequence of Gaussian vectors, used with both signs, z = A u, A A^T = K.

No inverse of K appears, so repeated and collinear inputs are harmless.
"""

from functools import lru_cache
from itertools import product

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from scipy.special import ndtri
from scipy.stats import qmc

from finitewidth.activations import Activation, Cos, Sin
from finitewidth.gaussian.pair import ActivationProduct, pair_expectation
from finitewidth.gaussian.single import single_moment

#: Sobol points for entries with three or more distinct inputs; each is used with both signs.
SOBOL_POINTS = 2**14


def four_point_moment(
    activation: Activation, K: Float[Array, "N N"], points: int = SOBOL_POINTS
) -> Float[Array, "N N N N"]:
    """Return <sigma_a sigma_b sigma_c sigma_d>_K for all quadruples of N inputs.

    Args:
        activation: the activation.
        K: kernel, shape (N, N), may be singular.
        points: Sobol points, a power of two, for entries with three or more distinct inputs.

    Returns:
        The totally symmetric tensor, shape (N, N, N, N).

    Accuracy: entries with one or two distinct inputs as good as `pair_expectation`; the others
    2e-4 (tanh) to 6e-4 (gelu) of the largest entry for 2^14 points, falling like points^-0.75
    (exact for sin and cos).

    Cost: O(N^4) memory, O(points N^4) operations for the entries with three or more inputs.
    """
    N = K.shape[0]
    if isinstance(activation, Sin | Cos):
        return _trigonometric(activation, K)
    kind, first, second = _patterns(N)
    three_one, two_two = _two_input_moments(activation, K)
    few = jnp.where(kind == 1, three_one[first, second], two_two[first, second])
    if N < 3:
        return few
    return jnp.where(kind == 0, _sobol_moment(activation, K, points), few)


def _two_input_moments(
    activation: Activation, K: Float[Array, "N N"]
) -> tuple[Float[Array, "N N"], Float[Array, "N N"]]:
    """Return <sigma_a^3 sigma_b> and <sigma_a^2 sigma_b^2>, shapes (N, N)."""
    diagonal = jnp.diagonal(K)
    K11, K22 = diagonal[:, None], diagonal[None, :]
    if activation.slopes is not None:
        three_one, two_two = _scale_invariant(activation.slopes, K11, K22, K)
        fourth = 3 * diagonal**2 * sum(a**4 for a in activation.slopes) / 2
    else:
        square, cube, fourth_power = (ActivationProduct(activation, (0,) * p) for p in (2, 3, 4))
        three_one = pair_expectation(cube, activation, K11, K22, K)
        two_two = pair_expectation(square, square, K11, K22, K)
        fourth = single_moment(fourth_power, diagonal)
    same = jnp.eye(K.shape[0], dtype=bool)
    fourth = jnp.broadcast_to(fourth, K.shape)
    return jnp.where(same, fourth, three_one), jnp.where(same, fourth, two_two)


def _scale_invariant(
    slopes: tuple[float, float],
    K11: Float[Array, "N 1"],
    K22: Float[Array, "1 N"],
    K12: Float[Array, "N N"],
) -> tuple[Float[Array, "N N"], Float[Array, "N N"]]:
    """Return the closed forms for slopes a_plus, a_minus, in the angle psi between two inputs."""
    plus, minus = slopes
    area = K11 * K22
    sine_squared = jnp.maximum(area - K12**2, 0.0)
    norm = jnp.sqrt(jnp.where(area > 0, area, 1.0))
    # The angle enters through smooth combinations; the floor only guards the derivative of sqrt.
    tiny = 1e-30
    sin = jnp.where(area > 0, jnp.sqrt(sine_squared + tiny * norm**2) / norm, 0.0)
    cos = jnp.where(area > 0, K12 / norm, 0.0)
    psi = jnp.arctan2(jnp.where(area > 0, sin, 1.0), cos)

    def J(psi: Array, sin: Array, cos: Array) -> Array:
        return (3 * sin * cos + (jnp.pi - psi) * (1 + 2 * cos**2)) / (2 * jnp.pi)

    def T(psi: Array, sin: Array, cos: Array) -> Array:
        return (3 * (jnp.pi - psi) * cos + sin * (2 + cos**2)) / (2 * jnp.pi)

    acute, obtuse = (psi, sin, cos), (jnp.pi - psi, sin, -cos)
    fourth = plus**4 + minus**4
    two_two = area * (fourth * J(*acute) + 2 * plus**2 * minus**2 * J(*obtuse))
    mixed = plus * minus * (plus**2 + minus**2)
    three_one = K11 * norm * (fourth * T(*acute) - mixed * T(*obtuse))
    return jnp.where(area > 0, three_one, 0.0), two_two


def _trigonometric(activation: Sin | Cos, K: Float[Array, "N N"]) -> Float[Array, "N N N N"]:
    """Return 2^-4 sum over signs eps of (phase) exp(-eps^T K eps / 2), for any four inputs."""
    diagonal = jnp.diagonal(K)
    total = jnp.zeros((K.shape[0],) * 4)
    halves = [diagonal.reshape([-1 if axis == k else 1 for axis in range(4)]) for k in range(4)]
    for signs in product((1, -1), repeat=4):
        quadratic = sum(halves) / 2
        for i in range(4):
            for j in range(i + 1, 4):
                shape = [K.shape[0] if axis in (i, j) else 1 for axis in range(4)]
                quadratic = quadratic + signs[i] * signs[j] * K.reshape(shape)
        phase = np.prod(signs) if isinstance(activation, Sin) else 1
        total = total + phase * jnp.exp(-quadratic) / 16
    return total


def _sobol_moment(
    activation: Activation, K: Float[Array, "N N"], points: int
) -> Float[Array, "N N N N"]:
    N = K.shape[0]
    z = _gaussian_points(N, points) @ triangular_root(K).T
    pairs = np.triu_indices(N)
    total = jnp.zeros((len(pairs[0]),) * 2)
    for sign in (1.0, -1.0):
        sigma = activation(sign * z)
        products = sigma[:, pairs[0]] * sigma[:, pairs[1]]
        total = total + products.T @ products / (2 * points)
    where = np.zeros((N, N), dtype=int)
    where[pairs] = where[pairs[::-1]] = np.arange(len(pairs[0]))
    return total[where[:, :, None, None], where[None, None, :, :]]


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
def _patterns(
    N: int,
) -> tuple[Int[np.ndarray, "N N N N"], Int[np.ndarray, "N N N N"], Int[np.ndarray, "N N N N"]]:
    """Sort quadruples: kind 1 is (i,i,i,j), kind 2 (i,i,j,j), kind 0 has three or more inputs."""
    quadruples = np.stack(np.meshgrid(*(np.arange(N),) * 4, indexing="ij"), axis=-1)
    ordered = np.sort(quadruples, axis=-1)
    lowest, highest = ordered[..., 0], ordered[..., 3]
    two = ((ordered == lowest[..., None]) | (ordered == highest[..., None])).all(axis=-1)
    low = (ordered == lowest[..., None]).sum(axis=-1)
    kind = np.where(two, np.where(low == 2, 2, 1), 0)
    majority_high = two & (low == 1)
    first = np.where(majority_high, highest, lowest)
    second = np.where(majority_high, lowest, highest)
    return kind, first, second


def four_point_covariance(
    activation: Activation,
    K: Float[Array, "N N"],
    second_moment: Float[Array, "N N"],
    points: int = SOBOL_POINTS,
) -> Float[Array, "N N N N"]:
    """Return Cov_K[sigma_a sigma_b, sigma_c sigma_d], the source of the four-point vertex.

    Args:
        activation: the activation.
        K: kernel, shape (N, N).
        second_moment: <sigma_a sigma_b>_K, shape (N, N).
        points: Sobol points for entries with three or more distinct inputs.

    Returns:
        The covariance with pairs (ab) and (cd), shape (N, N, N, N).
    """
    moment = four_point_moment(activation, K, points)
    return moment - jnp.multiply.outer(second_moment, second_moment)
