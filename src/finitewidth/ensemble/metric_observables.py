r"""What can be measured of the stochastic metric, whose fluctuations are those of preactivations.

With $E$ the mean over networks, $\Delta G = \widehat G - E[\widehat G]$ and $n = n_{\ell-1}$ the
width that feeds layer $\ell$:

| name | measured | book |
| --- | --- | --- |
| `metric` | $E[\widehat G_{12}]$ | PDLT (4.72) |
| `vertex` | $n\,E[\Delta G_{12}\,\Delta G_{34}]$ | PDLT (4.76) |
| `metric_cumulant3` | $n^2\,E[\Delta G_{12}\,\Delta G_{34}\,\Delta G_{56}]$ | PDLT (4.59) |
| `nlo_metric` | $n\,(E[\widehat G_{12}] - K_{12})$, by control variates | PDLT (4.104) |
"""

from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from finitewidth.ensemble.accumulator import Moments, ProductSums
from finitewidth.ensemble.control_variates import LayerMap, controlled_deviation
from finitewidth.ensemble.draw import Draw
from finitewidth.ensemble.estimate import Estimate
from finitewidth.ensemble.observable import (
    Observable,
    Reference,
    deviation_estimate,
    mean_estimate,
)
from finitewidth.ensemble.pairs import pair_entries, pair_table, pair_triples


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
    # The maps take the mean over Gaussian preactivations.
    laws: ClassVar[tuple[str, ...]] = ("gaussian",)
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
        """Return fan-in times the mean deviation; any diagonal entry of a ReLU network is zero."""
        return deviation_estimate(state, fan_in)
