"""One thing that can be measured: a batch of networks to a mergeable state, a state to an estimate.

networks --state--> State --merge over chunks--> State --estimate--> value +- standard error
"""

from abc import abstractmethod
from typing import Any, ClassVar, Protocol, Self

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from finitewidth.ensemble.accumulator import Moments
from finitewidth.ensemble.draw import Detail, Draw
from finitewidth.ensemble.estimate import Estimate
from finitewidth.ensemble.pairs import pair_entries
from finitewidth.network import weight_laws

# A deviation smaller than this part of its scale is the rounding of the layer maps.
ROUNDING = 64 * np.finfo(float).eps


class State(Protocol):
    """A mergeable state: what is kept of the networks seen so far."""

    count: Any

    def merge(self, other: Self) -> Self:
        """Return the state of both ensembles together."""
        ...


class Reference(eqx.Module):
    """Fixed points of reference of a run, taken from a pilot batch of its own networks.

    They change no estimate (their distance from the mean is removed exactly); they keep digits,
    and the error bar of the third cumulant needs them to be near.

    Attributes:
        metric: shape (L, P), one entry per unordered pair of samples.
        covariance: covariance of those pairs, shape (L, P, P).
        ntk: of the NTK, shape (L, P), or None if it is not measured.
    """

    metric: Float[Array, "L P"]
    covariance: Float[Array, "L P P"]
    ntk: Float[Array, "L P"] | None = None

    @staticmethod
    def of(
        metric: Float[Array, "B L N N"], ntk: Float[Array, "B L N N"] | None = None
    ) -> "Reference":
        """Take the mean and covariance of a batch of networks."""
        mean = mean_of_pairs(metric)
        d = pair_entries(metric) - mean
        covariance = jnp.einsum("blp,blq->lpq", d, d) / d.shape[0]
        return Reference(mean, covariance, None if ntk is None else mean_of_pairs(ntk))


def mean_of_pairs(matrices: Float[Array, "B L N N"]) -> Float[Array, "L P"]:
    """Return the mean over networks, exact for entries that are the same in all of them."""
    pairs = pair_entries(matrices)
    return pairs[0] + jnp.mean(pairs - pairs[0], axis=0)


class Observable(eqx.Module):
    """One thing that can be measured, by name."""

    name: ClassVar[str]
    # How much of every network has to be computed.
    detail: ClassVar[Detail] = Detail.METRIC
    # Laws of the weights for which the measured number is what the name says.
    laws: ClassVar[tuple[str, ...]] = weight_laws()
    needs_reference: ClassVar[bool] = False
    # Order of the statistic in the pairs of samples; sets memory and the fewest networks.
    order: ClassVar[int] = 1
    # Numbers per pair of samples that enter a covariance.
    vectors: ClassVar[int] = 1
    # Networks that the reference is taken from, at least.
    pilot_networks: ClassVar[int] = 1

    @abstractmethod
    def state(self, draw: Draw, present: Float[Array, " B"], reference: Reference | None) -> State:
        """Summarize a batch of networks, of which those with `present` = 1 count."""

    @abstractmethod
    def estimate(
        self, state: Any, fan_in: Float[np.ndarray, " L"], reference: Reference | None
    ) -> Estimate:
        """Turn the state of the whole ensemble into numbers with error bars."""


def mean_estimate(state: Moments) -> Estimate:
    """Return the mean of an array with its standard error."""
    return Estimate(np.asarray(state.mean), np.asarray(state.standard_error()), int(state.count))


def deviation_estimate(state: Moments, fan_in: Float[np.ndarray, " L"]) -> Estimate:
    """Return fan-in times a mean deviation and its standard error.

    An entry that is zero in every network but for rounding is returned as exactly zero, without
    error.

    Args:
        state: moments of `deviation`, shape (L, N, N), and of its `scale`, shape (L, N).
        fan_in: n_{l-1} of every layer.
    """
    size = np.sqrt(state.mean["scale"])
    rounding = ROUNDING * size[:, :, None] * size[:, None, :]
    value, error = state.mean["deviation"], state.standard_error()["deviation"]
    real = (np.abs(value) > rounding) | (error > rounding)
    scale = fan_in[:, None, None] * real
    return Estimate(scale * value, scale * error, int(state.count))
