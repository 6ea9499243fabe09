r"""Weighted sums over networks that merge without overflow and know their own errors.

Weights enter as $r = w\,e^{-s}$ with $s$ the largest $\log w$ met so far; merging two sums rescales
both to the larger $s$. Every network belongs to one of $J$ blocks, the network's number modulo $J$.
With $\theta_{(j)}$ an estimate made without block $j$, the jackknife gives the standard error

$$\varepsilon^2 = \frac{J-1}{J}\sum_j\big(\theta_{(j)} - \bar\theta_{(\cdot)}\big)^2$$

of any smooth function of sums: ratios, logarithms, covariances.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

Arrays = dict[str, np.ndarray]
#: Blocks of the jackknife; an error bar is itself known to 1 / sqrt(2 BLOCKS), 9 percent.
BLOCKS = 64


class Sums(eqx.Module):
    """Sums over networks, in units of the weight e^s; all leaves but those of `plain` scale.

    Attributes:
        networks: number of networks.
        weights: sum of r.
        squared_weights: sum of r^2.
        weighted: sums of r q by name of q.
        plain: sums of q by name of q.
    """

    networks: Float[Array | np.ndarray, "*J"]
    weights: Float[Array | np.ndarray, "*J"]
    squared_weights: Float[Array | np.ndarray, "*J"]
    weighted: dict[str, Float[Array | np.ndarray, "..."]]
    plain: dict[str, Float[Array | np.ndarray, "..."]]

    def rescaled(self, factor: np.ndarray) -> "Sums":
        """Return the same sums for weights r in a unit that makes them `factor` times as large."""
        return Sums(
            self.networks,
            factor * self.weights,
            factor**2 * self.squared_weights,
            jax.tree.map(lambda leaf: factor * leaf, self.weighted),
            self.plain,
        )


class WeightedSums(eqx.Module):
    """Mergeable sums with a log scale and an axis of blocks.

    Attributes:
        log_scale: the largest log weight s, or minus infinity if all weights are zero.
        blocks: the sums; the leading axis of every leaf is the block.
    """

    log_scale: Float[Array | np.ndarray, ""]
    blocks: Sums

    def merge(self, other: "WeightedSums") -> "WeightedSums":
        """Return the sums over the networks of both; the order of merging affects rounding only."""
        scale = np.asarray(np.maximum(self.log_scale, other.log_scale))
        # All weights zero so far: any unit will do.
        unit = scale if np.isfinite(scale) else 0.0
        a, b = (sums.blocks.rescaled(np.exp(sums.log_scale - unit)) for sums in (self, other))
        return WeightedSums(scale, jax.tree.map(np.add, a, b))

    def jackknife(
        self, estimate: Callable[[Sums, Array | np.ndarray], Arrays]
    ) -> tuple[Arrays, Arrays]:
        """Return estimates made from all networks, and their standard errors.

        Args:
            estimate: takes sums over blocks and the log scale to arrays by name.

        Returns:
            Values and standard errors by name; an error is infinite where one block holds all of
            the weight.
        """
        total = jax.tree.map(lambda leaf: np.sum(leaf, axis=0), self.blocks)
        value = estimate(total, self.log_scale)
        # One left-out estimate in memory at a time.
        with np.errstate(divide="ignore", invalid="ignore"):
            sums, squares = (
                {name: np.zeros(np.shape(v)) for name, v in value.items()} for _ in range(2)
            )
            for block in range(BLOCKS):
                rest = jax.tree.map(lambda t, leaf, j=block: t - leaf[j], total, self.blocks)
                for name, one in estimate(rest, self.log_scale).items():
                    shift = one - value[name]
                    sums[name] = sums[name] + shift
                    squares[name] = squares[name] + shift**2
            errors = {}
            for name in value:
                variance = (BLOCKS - 1) * (squares[name] / BLOCKS - (sums[name] / BLOCKS) ** 2)
                error = np.sqrt(np.maximum(variance, 0.0))
                errors[name] = np.where(np.isnan(error), np.inf, error)
        return value, errors


def sum_over_blocks(
    log_weight: Float[Array, " B"],
    present: Float[Array, " B"],
    block: Int[Array, " B"],
    weighted: dict[str, Float[Array, "B ..."]],
    plain: dict[str, Float[Array, "B ..."]],
) -> WeightedSums:
    """Return the sums of one batch of networks.

    Args:
        log_weight: log weights.
        present: 1 for networks that count, 0 for others.
        block: block of every network.
        weighted: quantities to sum with weights.
        plain: quantities to sum without.

    Returns:
        The sums, relative to the largest weight of the batch.
    """
    log_weight = jnp.where(present > 0, log_weight, -jnp.inf)
    log_scale = jnp.max(log_weight)
    r = jnp.exp(log_weight - jnp.where(jnp.isfinite(log_scale), log_scale, 0.0))

    def by_block(factor: Array, q: Array) -> Array:
        rows = factor.reshape(-1, *[1] * (q.ndim - 1)) * q
        return jax.ops.segment_sum(rows, block, num_segments=BLOCKS)

    ones = jnp.ones_like(r)
    return WeightedSums(
        log_scale,
        Sums(
            by_block(present, ones),
            by_block(r, ones),
            by_block(r**2, ones),
            {name: by_block(r, q) for name, q in weighted.items()},
            {name: by_block(present, q) for name, q in plain.items()},
        ),
    )
