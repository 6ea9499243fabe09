"""Correlators measured on samples: value and block-jackknife standard error.

    E[z_1 ... z_M]            PDLT (1.46)-(1.47)
    E[z_1 ... z_M]_connected  PDLT (1.52)-(1.61)

A connected correlator is not linear in the means it is made of, so its error is not that of the
raw moment. Here the samples are cut into blocks; the statistic is computed with each block left
out in turn, which gives both the standard error and the removal of the O(1/R) bias.
"""

from collections.abc import Callable, Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from finitewidth.gaussian.cumulants import joint_cumulant
from finitewidth.precision import in_double_precision
from finitewidth.validation import check_count


class Correlator(eqx.Module):
    """A measured correlator.

    Attributes:
        value: the jackknife estimate, free of the O(1/R) bias.
        standard_error: its statistical error, one standard deviation.
        samples: the number R of samples behind it.
    """

    value: float
    standard_error: float
    samples: int

    def __repr__(self) -> str:
        """Show the value with its error."""
        return f"{self.value:.6g} +- {self.standard_error:.2g} ({self.samples} samples)"


@in_double_precision
def correlator(samples: ArrayLike, indices: Sequence[int], blocks: int = 50) -> Correlator:
    """Estimate the M-point correlator E[z_{i1} ... z_{iM}].

    PDLT (1.46).

    Args:
        samples: independent draws, shape (R, N).
        indices: i1, ..., iM, with repetitions.
        blocks: number of jackknife blocks, at most R.

    Returns:
        Value and standard error. Cost O(R M).

    Raises:
        ValueError: for samples that are not a finite (R, N) matrix or indices that do not fit.

    Example:
        >>> correlator([[1.0], [2.0], [3.0], [4.0]], (0,), blocks=4)
        2.5 +- 0.65 (4 samples)
    """
    draws = _check_samples(samples, indices, blocks)
    return _jackknife(draws, lambda mean: mean(tuple(indices)), blocks)


@in_double_precision
def connected_correlator(
    samples: ArrayLike, indices: Sequence[int], blocks: int = 50, even: bool = False
) -> Correlator:
    """Estimate the connected correlator (joint cumulant) of z_{i1}, ..., z_{iM}.

    PDLT (1.56), with block-jackknife error.

    Args:
        samples: independent draws, shape (R, N).
        indices: i1, ..., iM, with repetitions.
        blocks: number of jackknife blocks, at most R.
        even: take the law to be symmetric under z -> -z, as at initialization, and leave out
            the odd moments, which are then pure noise.

    Returns:
        Value and standard error. Cost O(2^M R + 3^M blocks). The law of S^m at depth-to-width
        ratio r has relative second moment exp(2 m^2 r): with heavy tails many samples are needed
        before the standard error itself can be trusted.

    Raises:
        ValueError: for samples that are not a finite (R, N) matrix or indices that do not fit.

    Example:
        >>> import numpy as np
        >>> signs = np.array([[1.0], [-1.0]] * 500)  # fourth cumulant 1 - 3
        >>> round(connected_correlator(signs, (0,) * 4).value, 9)
        -2.0
    """
    draws = _check_samples(samples, indices, blocks)
    if not even:
        # Cumulants beyond the first do not see a shift; small means make small rounding errors.
        shift = draws.mean(axis=0) if len(tuple(indices)) > 1 else 0.0
        return _jackknife(draws - shift, lambda mean: joint_cumulant(mean, indices), blocks)

    def even_cumulant(mean):
        return joint_cumulant(lambda block: mean(block) if len(block) % 2 == 0 else 0.0, indices)

    return _jackknife(draws, even_cumulant, blocks)


@in_double_precision
def excess_kurtosis(samples: ArrayLike, blocks: int = 50, even: bool = False) -> Correlator:
    """Estimate kappa_4 / kappa_2^2 of one variable, the first measure of non-Gaussianity.

    PDLT, footnote 8 of chapter 1: zero for a Gaussian, -6/5 for a uniform law.

    Args:
        samples: independent draws, shape (R,).
        blocks: number of jackknife blocks, at most R.
        even: take the law to be symmetric under z -> -z.

    Returns:
        Value and standard error.

    Raises:
        ValueError: for samples that are not a finite vector.

    Example:
        >>> import numpy as np
        >>> round(excess_kurtosis(np.linspace(-1, 1, 100_001), even=True).value, 2)
        -1.2
    """
    column = np.asarray(samples, dtype=float)
    if column.ndim != 1:
        raise ValueError(f"samples: wanted a vector of shape (R,), got shape {column.shape}.")
    draws = _check_samples(column[:, None], (0,), blocks)

    def ratio(mean):
        def moment(block):
            return 0.0 if even and len(block) % 2 else mean(block)

        return joint_cumulant(moment, (0,) * 4) / joint_cumulant(moment, (0,) * 2) ** 2

    return _jackknife(draws if even else draws - draws.mean(axis=0), ratio, blocks)


def _jackknife(
    draws: Float[Array, "R N"], statistic: Callable[[Callable], Array], blocks: int
) -> Correlator:
    """Apply `statistic` to the mean over all samples and to the means with one block left out."""
    count = draws.shape[0]
    edges = np.linspace(0, count, blocks + 1).round().astype(int)
    sizes = jnp.asarray(np.diff(edges))
    block_of = jnp.repeat(jnp.arange(blocks), sizes, total_repeat_length=count)

    def mean(labels: tuple[int, ...]) -> Array:
        product = jnp.prod(draws[:, jnp.asarray(labels, dtype=int)], axis=1)
        sums = jnp.zeros(blocks).at[block_of].add(product)
        total = sums.sum()
        return jnp.concatenate([total[None] / count, (total - sums) / (count - sizes)])

    estimates = statistic(mean)
    full, left_out = estimates[0], estimates[1:]
    value = blocks * full - (blocks - 1) * left_out.mean()
    error = jnp.sqrt((blocks - 1) * jnp.mean((left_out - left_out.mean()) ** 2))
    return Correlator(value=float(value), standard_error=float(error), samples=count)


def _check_samples(samples: ArrayLike, indices: Sequence[int], blocks: int) -> Float[Array, "R N"]:
    draws = jnp.asarray(samples, dtype=float)
    if draws.ndim != 2 or 0 in draws.shape:
        raise ValueError(
            f"samples: wanted a matrix of shape (R draws, N variables), got shape {draws.shape}."
        )
    if not bool(jnp.isfinite(draws).all()):
        raise ValueError("samples: wanted finite numbers, got NaN or infinity.")
    check_count(blocks, "blocks", least=2)
    if blocks > draws.shape[0]:
        raise ValueError(
            f"samples: wanted at least one draw per jackknife block ({blocks}), "
            f"got {draws.shape[0]}."
        )
    if not tuple(indices):
        raise ValueError("indices: wanted at least one variable, got none.")
    for index in indices:
        if check_count(index, "indices", least=0) >= draws.shape[1]:
            raise ValueError(
                f"indices: wanted numbers from 0 to {draws.shape[1] - 1}, got {index}."
            )
    return draws
