r"""What can be measured of the neural tangent kernel, its mean and its fluctuations.

With $\widehat M = E[\widehat H_{ii}\,|\,\text{below}]$ the conditional mean NTK of layer $\ell$,
$\widehat G$ its stochastic metric, $n = n_{\ell-1}$ and two neurons $i \ne j$ of layer $\ell$:

| name | measured | book |
| --- | --- | --- |
| `ntk` | $E[\widehat H_{ii;12}]$ | PDLT (8.27) |
| `A` | $A_{(12)(34)} = n\,\mathrm{Cov}(\widehat M_{12}, \widehat M_{34})$ | PDLT (8.32), (8.82) |
| `B` | $B_{1324} = n\,E[\widehat H_{ij;12}\widehat H_{ij;34}]$ | PDLT (8.33), (8.82) |
| `D` | $D_{1234} = n\,\mathrm{Cov}(\widehat G_{12}, \widehat M_{34})$ | PDLT (8.38), (8.67) |
| `F` | $F_{1324} = n\,E[z_{i;1}z_{j;2}\widehat H_{ij;34}]$ | PDLT (8.39), (8.67) |
| `nlo_ntk` | $n\,(E[\widehat H_{ii;12}] - \Theta_{12})$, by control variates | PDLT (9.3) |

B and F are stored as their indices stand, `B[1, 3, 2, 4]` and `F[1, 3, 2, 4]`. All are averaged
over the weights of layer $\ell$ by hand, network by network, as described in
`finitewidth.ensemble.conditional_ntk`; all but `ntk` are zero in layer 1.
"""

from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from finitewidth.ensemble.accumulator import Moments, ProductSums
from finitewidth.ensemble.control_variates import NtkLayerMap, controlled_ntk_deviation
from finitewidth.ensemble.draw import Detail, Draw
from finitewidth.ensemble.estimate import Estimate
from finitewidth.ensemble.observable import (
    Observable,
    Reference,
    deviation_estimate,
    mean_estimate,
)
from finitewidth.ensemble.pairs import pair_entries, pair_table

# Two rows of an orthogonal matrix are not independent; those of all other laws are.
INDEPENDENT_ROWS = ("gaussian", "uniform", "truncated_normal")


class Ntk(Observable):
    """The mean diagonal empirical NTK, shape (L, N, N)."""

    name: ClassVar[str] = "ntk"
    detail: ClassVar[Detail] = Detail.NTK_OF_FEW

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


class NtkCovariance(Observable):
    """The NTK variance A between neurons, shape (L, N, N, N, N)."""

    name: ClassVar[str] = "A"
    detail: ClassVar[Detail] = Detail.NTK
    laws: ClassVar[tuple[str, ...]] = INDEPENDENT_ROWS
    needs_reference: ClassVar[bool] = True
    order: ClassVar[int] = 2

    def state(
        self, draw: Draw, present: Float[Array, " B"], reference: Reference | None
    ) -> ProductSums:
        """Keep the products of every two pairs of samples."""
        assert draw.ntk is not None
        assert reference is not None
        assert reference.ntk is not None
        return ProductSums.of(pair_entries(draw.ntk) - reference.ntk, present)

    def estimate(
        self, state: ProductSums, fan_in: Float[np.ndarray, " L"], reference: Reference | None
    ) -> Estimate:
        """Return fan-in times the covariance and its standard error."""
        covariance = state.covariance()
        table = pair_table(state.first.shape[-1])
        here = (slice(None), table[:, :, None, None], table)
        scale = fan_in[:, None, None]
        return Estimate(
            (scale * covariance.value)[here],
            (scale * covariance.standard_error)[here],
            int(state.count),
        )


class MetricNtkCovariance(Observable):
    """The covariance D of metric (first pair) and NTK (last pair), shape (L, N, N, N, N)."""

    name: ClassVar[str] = "D"
    detail: ClassVar[Detail] = Detail.NTK
    laws: ClassVar[tuple[str, ...]] = INDEPENDENT_ROWS
    needs_reference: ClassVar[bool] = True
    order: ClassVar[int] = 2
    vectors: ClassVar[int] = 2

    def state(
        self, draw: Draw, present: Float[Array, " B"], reference: Reference | None
    ) -> ProductSums:
        """Keep the products within the vector of all metric and NTK entries."""
        assert draw.ntk is not None
        assert reference is not None
        assert reference.ntk is not None
        metric = pair_entries(draw.metric) - reference.metric
        ntk = pair_entries(draw.ntk) - reference.ntk
        return ProductSums.of(jnp.concatenate([metric, ntk], axis=-1), present)

    def estimate(
        self, state: ProductSums, fan_in: Float[np.ndarray, " L"], reference: Reference | None
    ) -> Estimate:
        """Return fan-in times the covariance and its standard error."""
        covariance = state.covariance()
        pairs = state.first.shape[-1] // 2
        table = pair_table(pairs)
        here = (slice(None), table[:, :, None, None], table + pairs)
        scale = fan_in[:, None, None]
        return Estimate(
            (scale * covariance.value)[here],
            (scale * covariance.standard_error)[here],
            int(state.count),
        )


class CrossNeuronPreactivations(Observable):
    """The cross-neuron correlation F of preactivations and NTK, shape (L, N, N, N, N)."""

    name: ClassVar[str] = "F"
    detail: ClassVar[Detail] = Detail.PRODUCTS
    laws: ClassVar[tuple[str, ...]] = INDEPENDENT_ROWS
    order: ClassVar[int] = 2

    def state(
        self, draw: Draw, present: Float[Array, " B"], reference: Reference | None
    ) -> Moments:
        """Keep the moments of every product, shape (L, N, P, N)."""
        assert draw.cross_products is not None
        return Moments.of(draw.cross_products, present)

    def estimate(
        self, state: Moments, fan_in: Float[np.ndarray, " L"], reference: Reference | None
    ) -> Estimate:
        """Return fan-in times the mean, entry [1, 3, 2, 4].

        The product for (1, 2; 3, 4) is that for (2, 1; 4, 3), of which only 3 <= 4 is kept.
        """
        samples = state.mean.shape[1]
        a1, a3, a2, a4 = np.ogrid[:samples, :samples, :samples, :samples]
        kept = a3 <= a4
        pair = pair_table(state.mean.shape[2])[a3, a4]
        here = (slice(None), np.where(kept, a1, a2), pair, np.where(kept, a2, a1))
        return scaled_mean(state, fan_in, here)


class CrossNeuronNtk(Observable):
    """The cross-neuron variance B of the NTK, shape (L, N, N, N, N)."""

    name: ClassVar[str] = "B"
    detail: ClassVar[Detail] = Detail.PRODUCTS
    laws: ClassVar[tuple[str, ...]] = INDEPENDENT_ROWS
    order: ClassVar[int] = 2

    def state(
        self, draw: Draw, present: Float[Array, " B"], reference: Reference | None
    ) -> Moments:
        """Keep the moments of every product, shape (L, 2, P, P)."""
        assert draw.square_products is not None
        return Moments.of(draw.square_products, present)

    def estimate(
        self, state: Moments, fan_in: Float[np.ndarray, " L"], reference: Reference | None
    ) -> Estimate:
        """Return fan-in times the mean, entry [1, 3, 2, 4].

        Exchanging the samples of one pair exchanges the neurons of that factor only.
        """
        table = pair_table(state.mean.shape[-1])
        samples = len(table)
        a1, a3, a2, a4 = np.ogrid[:samples, :samples, :samples, :samples]
        exchanged = ((a1 - a2) * (a3 - a4) < 0).astype(int)
        here = (slice(None), exchanged, table[a1, a2], table[a3, a4])
        return scaled_mean(state, fan_in, here)


class NloNtk(Observable):
    """n (E[H] - Theta) with control variates, shape (L, N, N); needs the maps of the caller."""

    name: ClassVar[str] = "nlo_ntk"
    detail: ClassVar[Detail] = Detail.NTK
    # The maps take the mean over Gaussian preactivations.
    laws: ClassVar[tuple[str, ...]] = ("gaussian",)
    ntk_layer_maps: tuple[NtkLayerMap, ...]

    def state(
        self, draw: Draw, present: Float[Array, " B"], reference: Reference | None
    ) -> Moments:
        """Keep the moments of the controlled deviation of every network, and its scale."""
        assert draw.ntk is not None
        assert draw.ntk_surplus is not None
        deviation = controlled_ntk_deviation(
            self.ntk_layer_maps, draw.metric, draw.ntk, draw.ntk_surplus
        )
        scale = jnp.diagonal(draw.ntk, axis1=-2, axis2=-1)
        return Moments.of({"deviation": deviation, "scale": scale}, present)

    def estimate(
        self, state: Moments, fan_in: Float[np.ndarray, " L"], reference: Reference | None
    ) -> Estimate:
        """Return fan-in times the mean deviation and its standard error."""
        return deviation_estimate(state, fan_in)


def scaled_mean(
    state: Moments, fan_in: Float[np.ndarray, " L"], here: tuple[slice | np.ndarray, ...]
) -> Estimate:
    """Return fan-in times the entries `here` of a mean and of its standard error."""
    mean = mean_estimate(state)
    scale = fan_in[:, None, None, None, None]
    return Estimate(scale * mean.value[here], scale * mean.standard_error[here], mean.samples)
