"""Gaussian expectation of any function of N variables, with an estimate of the error.

    <F(z)>_K = integral d^N z F(z) exp(-z^T K^{-1} z / 2) / |2 pi K|^(1/2)           PDLT (1.68)

computed as the average of F(A u) over standard normal u, where K = A A^T: no inverse, and a K of
rank r < N costs an r-dimensional integral only. Up to three dimensions the trapezoid rule on a
uniform grid converges faster than any power of the step for smooth F; the step is halved until
the result stands still. In more dimensions the average is over scrambled Sobol points.
"""

from collections.abc import Callable
from math import floor, log2

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float
from scipy.special import ndtri
from scipy.stats import qmc

from finitewidth.gaussian.covariance import check_covariance, square_root
from finitewidth.precision import in_double_precision
from finitewidth.validation import check_count, is_concrete

#: The grid ends at this many standard deviations, where the weight is 5e-32.
RANGE = 12.0
#: Points evaluated at once.
CHUNK = 2048
#: Independent scramblings of the Sobol points, whose scatter is the error.
SCRAMBLINGS = 16


class Expectation(eqx.Module):
    """A Gaussian expectation and what is known about its accuracy.

    Attributes:
        value: the expectation, in the shape of the function's output.
        error: same shape. `method` "trapezoid": the change at the last halving of the step plus
            what the edge of the grid still contributes, for smooth functions far above the true
            error. `method` "sobol": a standard error (one standard deviation).
        points: number of evaluations of the function in the last refinement.
        method: "trapezoid" or "sobol".
    """

    value: Float[Array, "..."]
    error: Float[Array, "..."]
    points: int = eqx.field(static=True)
    method: str = eqx.field(static=True)


@in_double_precision
def gaussian_expectation(
    F: Callable[[Float[Array, " N"]], Array],
    K: ArrayLike,
    *,
    tolerance: float = 1e-12,
    max_points: int = 2**23,
    sobol_points: int = 2**16,
    seed: int = 0,
) -> Expectation:
    """Compute <F(z)>_K for a Gaussian vector z of covariance K.

    PDLT (1.68).

    Args:
        F: function of one vector z of shape (N,), written with jax.numpy, output of any shape.
        K: covariance, may be singular, shape (N, N). Must be known numbers: the refinement is
            decided here, so this function does not work inside `jax.jit` or `jax.grad`.
        tolerance: stop halving the step when the change is below this fraction of <|F|>_K.
        max_points: limit of the grid (rank <= 3).
        sobol_points: number of points in all (rank > 3).
        seed: of the scrambling (rank > 3).

    Returns:
        Value, error, points, method. Rank <= 3: near 1e-14 of <|F|> for analytic F; for kinked F
        the error falls as a power of the step and `error` tells how far it got (the pair functions
        of this package treat kinks exactly). Rank > 3: `error` is statistical, roughly 1/points
        for smooth F. Cost: points * cost of F, (24 / step)^rank points on the grid.

    Raises:
        ValueError: if K is not a covariance, or F is NaN or infinite on the grid.
        TypeError: if K is not known (inside a JAX transform).

    Example:
        >>> result = gaussian_expectation(lambda z: z[0]**2 * z[1]**2, [[1.0, 0.5], [0.5, 1.0]])
        >>> round(float(result.value), 12), bool(result.error < 1e-12)
        (1.5, True)
    """
    K = check_covariance(K)
    if not is_concrete(K):
        raise TypeError("K: wanted known numbers, got a traced array; call this outside jax.jit.")
    if K.ndim != 2:
        raise ValueError(f"K: wanted one matrix of shape (N, N), got shape {K.shape}.")
    root = square_root(K)
    rank = root.shape[1]
    if rank == 0:
        value = jnp.asarray(F(jnp.zeros(K.shape[0])), dtype=float)
        result = Expectation(value, jnp.zeros_like(value), 1, "trapezoid")
    elif rank <= 3:
        result = _trapezoid(F, root, tolerance, check_count(max_points, "max_points", least=2))
    else:
        points = check_count(sobol_points, "sobol_points", least=SCRAMBLINGS)
        result = _sobol(F, root, points, seed)
    if not bool(jnp.isfinite(result.value).all()):
        raise ValueError(
            "F: wanted finite values on the grid (up to 12 standard deviations), "
            "got NaN or infinity."
        )
    return result


def _trapezoid(F, root: Array, tolerance: float, max_points: int) -> Expectation:
    rank = root.shape[1]
    shape = jax.eval_shape(F, root[:, 0]).shape

    @jax.jit
    def level(step, half):
        """Sum over the grid of `half` steps on each side: weighted F, |F|, and |F| on the edge."""
        side = 2 * half + 1

        def add_chunk(chunk, sums):
            index = chunk * CHUNK + jnp.arange(CHUNK)
            digits = (index[:, None] // side ** jnp.arange(rank)) % side - half
            u = step * digits
            weight = jnp.where(index < side**rank, jnp.exp(-(u**2).sum(axis=1) / 2), 0.0)
            edge = weight * (jnp.abs(u).max(axis=1) > RANGE - 1.0)
            values = jnp.asarray(jax.vmap(F)(u @ root.T), dtype=float)
            return (
                sums[0] + _weighted_sum(weight, jnp.ones(CHUNK)),
                sums[1] + _weighted_sum(weight, values),
                sums[2] + _weighted_sum(weight, jnp.abs(values)),
                sums[3] + _weighted_sum(edge, jnp.abs(values)),
            )

        zero = jnp.zeros(shape)
        chunks = (side**rank + CHUNK - 1) // CHUNK
        total = jax.lax.fori_loop(0, chunks, add_chunk, (jnp.zeros(()), zero, zero, zero))
        return total[1] / total[0], total[2] / total[0], total[3] / total[0]

    previous, half = None, 2 * int(RANGE)
    while True:
        value, size, edge = level(RANGE / half, half)
        points = (2 * half + 1) ** rank
        rounding = 4 * jnp.finfo(float).eps * size
        if previous is None:
            error = jnp.inf * jnp.ones(shape)
        else:
            error = jnp.abs(value - previous) + edge + rounding
            if bool((jnp.abs(value - previous) <= tolerance * size + rounding).all()):
                break
        if (4 * half + 1) ** rank > max_points or not bool(jnp.isfinite(value).all()):
            break
        previous, half = value, 2 * half
    return Expectation(value, error, points, "trapezoid")


def _weighted_sum(weight: Array, values: Array) -> Array:
    """Sum over a chunk in two stages, which keeps rounding errors from adding up."""
    rows = weight.reshape(CHUNK // 32, 32)
    return jnp.einsum("ij,ij...->i...", rows, values.reshape(*rows.shape, *values.shape[1:])).sum(0)


def _sobol(F, root: Array, points: int, seed: int) -> Expectation:
    rank = root.shape[1]
    # Sobol points are balanced only in numbers that are powers of two.
    exponent = floor(log2(points / SCRAMBLINGS))
    generators = np.random.default_rng(seed).spawn(SCRAMBLINGS)
    chunk = 2 ** min(exponent, floor(log2(CHUNK)))

    @jax.jit
    def average(u):
        batches = (u @ root.T).reshape(-1, chunk, root.shape[0])
        sums = jax.lax.map(lambda z: jnp.asarray(jax.vmap(F)(z), dtype=float).mean(axis=0), batches)
        return sums.mean(axis=0)

    means = []
    for generator in generators:
        uniform = qmc.Sobol(rank, scramble=True, rng=generator).random_base2(exponent)
        means.append(average(jnp.asarray(ndtri(np.clip(uniform, 2.0**-60, 1 - 2.0**-53)))))
    replicates = jnp.stack(means)
    error = replicates.std(axis=0, ddof=1) / np.sqrt(SCRAMBLINGS)
    return Expectation(replicates.mean(axis=0), error, SCRAMBLINGS * 2**exponent, "sobol")
