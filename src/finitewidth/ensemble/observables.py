r"""What can be measured on an ensemble, each by name.

With $E$ the mean over networks, $\Delta G = \widehat G - E[\widehat G]$ the fluctuation of the
stochastic metric and $n = n_{\ell-1}$ the width that feeds layer $\ell$:

| name | measured | book |
| --- | --- | --- |
| `metric` | $E[\widehat G_{12}]$ | PDLT (4.72) |
| `vertex` | $n\,E[\Delta G_{12}\,\Delta G_{34}]$ | PDLT (4.76) |
| `metric_cumulant3` | $n^2\,E[\Delta G_{12}\,\Delta G_{34}\,\Delta G_{56}]$ | PDLT (4.59) |
| `ntk` | $E[\widehat H_{ii;12}]$ | PDLT (8.27) |
| `nlo_metric` | $n\,(E[\widehat G_{12}] - K_{12})$, by control variates | PDLT (4.104) |

An observable turns a batch of networks into a mergeable state, and a state into an estimate.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Protocol, Self

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from finitewidth.ensemble.accumulator import Moments, ProductSums
from finitewidth.ensemble.control_variates import LayerMap, controlled_deviation
from finitewidth.ensemble.draw import Draw
from finitewidth.ensemble.estimate import Estimate
from finitewidth.ensemble.pairs import pair_entries, pair_table, pair_triples

# A deviation smaller than this part of the metric is the rounding of the layer maps.
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
    """

    metric: Float[Array, "L P"]
    covariance: Float[Array, "L P P"]

    @staticmethod
    def of(metric: Float[Array, "B L N N"]) -> "Reference":
        """Take the mean and covariance of a batch of networks."""
        pairs = pair_entries(metric)
        mean = pairs[0] + jnp.mean(pairs - pairs[0], axis=0)
        d = pairs - mean
        return Reference(mean, jnp.einsum("blp,blq->lpq", d, d) / d.shape[0])


class Observable(eqx.Module):
    """One thing that can be measured; see the table of this file."""

    name: ClassVar[str]
    needs_ntk: ClassVar[bool] = False
    needs_reference: ClassVar[bool] = False
    # Order of the statistic in the pairs of samples; sets memory and the fewest networks.
    order: ClassVar[int] = 1
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


class Metric(Observable):
    """The mean stochastic metric, shape (L, N, N)."""

    name: ClassVar[str] = "metric"

    def state(
        self, draw: Draw, present: Float[Array, " B"], reference: Reference | None
    ) -> Moments:
        """Keep the moments of every entry."""
        return Moments.of(draw.metric, present)

    def estimate(
        self, state: Moments, fan_in: Float[np.ndarray, " L"], reference: Reference | None
    ) -> Estimate:
        """Return the mean and its standard error."""
        return mean_estimate(state)


class Ntk(Observable):
    """The mean diagonal empirical NTK, shape (L, N, N)."""

    name: ClassVar[str] = "ntk"
    needs_ntk: ClassVar[bool] = True

    def state(
        self, draw: Draw, present: Float[Array, " B"], reference: Reference | None
    ) -> Moments:
        """Keep the moments of every entry."""
        assert draw.ntk is not None
        return Moments.of(draw.ntk, present)

    def estimate(
        self, state: Moments, fan_in: Float[np.ndarray, " L"], reference: Reference | None
    ) -> Estimate:
        """Return the mean and its standard error."""
        return mean_estimate(state)


class Vertex(Observable):
    """The four-point vertex, shape (L, N, N, N, N); layer 1 is exactly zero."""

    name: ClassVar[str] = "vertex"
    needs_reference: ClassVar[bool] = True
    order: ClassVar[int] = 2

    def state(
        self, draw: Draw, present: Float[Array, " B"], reference: Reference | None
    ) -> ProductSums:
        """Keep the products of every two pairs of samples."""
        assert reference is not None
        return ProductSums.of(pair_entries(draw.metric) - reference.metric, present)

    def estimate(
        self, state: ProductSums, fan_in: Float[np.ndarray, " L"], reference: Reference | None
    ) -> Estimate:
        """Return fan-in times the covariance and its standard error."""
        covariance = state.covariance()
        scale = fan_in[:, None, None]
        table = pair_table(state.first.shape[-1])
        here = (slice(None), table[:, :, None, None], table[None, None, :, :])
        return Estimate(
            (scale * covariance.value)[here],
            (scale * covariance.standard_error)[here],
            int(state.count),
        )


class MetricCumulant3(Observable):
    """The third cumulant of the metric, shape (L, N, N, N, N, N, N); for few inputs."""

    name: ClassVar[str] = "metric_cumulant3"
    needs_reference: ClassVar[bool] = True
    order: ClassVar[int] = 3
    # A reference from M networks makes the squared error bar too large by a few parts in M.
    pilot_networks: ClassVar[int] = 512

    def state(
        self, draw: Draw, present: Float[Array, " B"], reference: Reference | None
    ) -> Moments:
        """Keep moments of the products of three, less what their parts explain.

        Subtracting d_p C_qr + d_q C_pr + d_r C_pq leaves a quantity whose spread over networks is
        the error of the cumulant itself (its influence function), not only of the raw moment.
        """
        assert reference is not None
        d = pair_entries(draw.metric) - reference.metric
        p, q, r = pair_triples(d.shape[-1])
        C = reference.covariance
        explained = d[..., p] * C[:, q, r] + d[..., q] * C[:, p, r] + d[..., r] * C[:, p, q]
        return Moments.of(
            {
                "first": d,
                "second": d[..., :, None] * d[..., None, :],
                "third": d[..., p] * d[..., q] * d[..., r] - explained,
            },
            present,
        )

    def estimate(
        self, state: Moments, fan_in: Float[np.ndarray, " L"], reference: Reference | None
    ) -> Estimate:
        """Return fan-in squared times the unbiased third cumulant and its standard error."""
        assert reference is not None
        m = float(state.count)
        mean: dict[str, np.ndarray] = state.mean
        shift = np.asarray(mean["first"])
        p, q, r = pair_triples(shift.shape[-1])
        C = np.asarray(reference.covariance)
        covariance = mean["second"] - shift[:, :, None] * shift[:, None, :]
        excess = C - covariance
        third = (
            mean["third"]
            + shift[:, p] * excess[:, q, r]
            + shift[:, q] * excess[:, p, r]
            + shift[:, r] * excess[:, p, q]
            - shift[:, p] * shift[:, q] * shift[:, r]
        )
        third = third * m**2 / ((m - 1.0) * (m - 2.0))
        scale = fan_in[:, None] ** 2
        table = pair_table(shift.shape[-1])
        place = np.empty((shift.shape[-1],) * 3, dtype=int)
        for number, triple in enumerate(zip(p, q, r, strict=True)):
            a, b, c = triple
            for order in ((a, b, c), (a, c, b), (b, a, c), (b, c, a), (c, a, b), (c, b, a)):
                place[order] = number
        where = place[
            table[:, :, None, None, None, None],
            table[None, None, :, :, None, None],
            table[None, None, None, None, :, :],
        ]
        error = state.standard_error()["third"]
        return Estimate((scale * third)[:, where], (scale * error)[:, where], int(m))


class NloMetric(Observable):
    """n (E[G] - K) with control variates, shape (L, N, N); needs the layer maps of the caller."""

    name: ClassVar[str] = "nlo_metric"
    layer_maps: tuple[LayerMap, ...]

    def state(
        self, draw: Draw, present: Float[Array, " B"], reference: Reference | None
    ) -> Moments:
        """Keep the moments of the controlled deviation of every network, and its scale."""
        deviation = controlled_deviation(self.layer_maps, draw.metric)
        scale = jnp.diagonal(draw.metric, axis1=-2, axis2=-1)
        return Moments.of({"deviation": deviation, "scale": scale}, present)

    def estimate(
        self, state: Moments, fan_in: Float[np.ndarray, " L"], reference: Reference | None
    ) -> Estimate:
        """Return fan-in times the mean deviation and its standard error.

        An entry that is zero in every network but for rounding (any diagonal entry of a ReLU
        network) is returned as exactly zero, without error.
        """
        size = np.sqrt(state.mean["scale"])
        rounding = ROUNDING * size[:, :, None] * size[:, None, :]
        value, error = state.mean["deviation"], state.standard_error()["deviation"]
        real = (np.abs(value) > rounding) | (error > rounding)
        scale = fan_in[:, None, None] * real
        return Estimate(scale * value, scale * error, int(state.count))


OBSERVABLES: dict[str, type[Observable]] = {
    kind.name: kind for kind in (Metric, Vertex, MetricCumulant3, Ntk, NloMetric)
}


def observable_names() -> tuple[str, ...]:
    """Return the names of everything that can be measured.

    Example:
        >>> observable_names()
        ('metric', 'vertex', 'metric_cumulant3', 'ntk', 'nlo_metric')
    """
    return tuple(OBSERVABLES)


def build_observables(
    names: str | Sequence[str], control_variate: Sequence[LayerMap] | None
) -> tuple[Observable, ...]:
    """Return the observables of these names, or say which names are known.

    Args:
        names: names, or one name.
        control_variate: the layer maps that `nlo_metric` needs; if they are given, `nlo_metric`
            is measured even when it is not named.

    Raises:
        ValueError: if there is no name, a name is unknown or layer maps are missing.
    """
    wanted = list(dict.fromkeys((names,) if isinstance(names, str) else names))
    if control_variate is not None and NloMetric.name not in wanted:
        wanted.append(NloMetric.name)
    if not wanted:
        raise ValueError(f"observables: wanted some of {', '.join(OBSERVABLES)}, got none.")
    for name in wanted:
        if name not in OBSERVABLES:
            raise ValueError(f"observables: wanted some of {', '.join(OBSERVABLES)}, got {name!r}.")
    if NloMetric.name in wanted and control_variate is None:
        raise ValueError(
            "observables: nlo_metric is measured with control variates; wanted layer maps in "
            "`control_variate`, got none."
        )
    maps = tuple(control_variate or ())
    return tuple(
        NloMetric(maps) if name == NloMetric.name else OBSERVABLES[name]() for name in wanted
    )


def mean_estimate(state: Moments) -> Estimate:
    """Return the mean of an array with its standard error."""
    return Estimate(np.asarray(state.mean), np.asarray(state.standard_error()), int(state.count))
