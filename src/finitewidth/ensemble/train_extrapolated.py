r"""Trained ensembles at several widths, extrapolated to infinite width.

$$\mathbb E[z(T)]_n = m^\infty + c_1 n^{-p_1} + c_2 n^{-p_2},$$

and likewise for covariances, PDLT (10.40), (10.41), with powers 1, 2 for smooth activations and
1/2, 1 for those with a kink. What networks are at initialization goes in whole powers in any case.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import ArrayLike, Float, PRNGKeyArray

from finitewidth.ensemble.estimate import Estimate
from finitewidth.ensemble.measure import as_key
from finitewidth.ensemble.richardson import scaled
from finitewidth.ensemble.train import train
from finitewidth.ensemble.trained import DIMENSIONS, TrainedEnsemble
from finitewidth.ensemble.width_fit import WidthFit, fit_widths
from finitewidth.network import MLP
from finitewidth.precision import in_double_precision
from finitewidth.validation import check_count

if TYPE_CHECKING:
    import xarray

#: What is extrapolated: of trained networks, and of networks at initialization.
TRAINED, INITIAL = ("mean", "covariance"), ("initial_mean", "initial_covariance")


class TrainedLimit(eqx.Module):
    """Trained ensembles in the limit of infinite width.

    Attributes:
        fits: the fit of every statistic, by the name it has in `TrainedEnsemble`; with a frozen NTK
            as control variate also "controlled_mean".
        runs: the ensembles at finite width, in the order of their widths.
    """

    fits: dict[str, WidthFit]
    runs: tuple[TrainedEnsemble, ...]

    @property
    def mean(self) -> Estimate:
        """E[z(T)], shape (N_test, n_L)."""
        return self.fits["mean"].limit

    @property
    def covariance(self) -> Estimate:
        """Cov[z_i1(T), z_i2(T)], entry [i1, i2, b1, b2], shape (n_L, n_L, N_test, N_test)."""
        return self.fits["covariance"].limit

    @property
    def controlled_mean(self) -> Estimate:
        """E[z(T)] with the noise of the linear prediction taken out.

        Raises:
            ValueError: if the runs had no frozen NTK as control variate.
        """
        if "controlled_mean" not in self.fits:
            raise ValueError("controlled_mean: wanted runs with a frozen NTK as control variate.")
        return self.fits["controlled_mean"].limit

    def __repr__(self) -> str:
        lines = [f"TrainedLimit of {len(self.runs)} ensembles:"]
        for name, fit in self.fits.items():
            lines.append(f"  {name}: {repr(fit)[len('WidthFit(') : -1]}")
        return "\n".join(lines)

    def to_xarray(self) -> "xarray.Dataset":
        """Return a dataset with labelled dimensions.

        Returns:
            For every fitted statistic its limit, `<name>_standard_error` and `<name>_chi_squared`.
        """
        import xarray  # slow to import, and most runs do without it

        variables: dict[str, Any] = {}
        for name, fit in self.fits.items():
            dims = DIMENSIONS[name.removeprefix("controlled_")]
            variables[name] = (dims, fit.limit.value)
            variables[f"{name}_standard_error"] = (dims, fit.limit.standard_error)
            variables[f"{name}_chi_squared"] = (dims, fit.chi_squared)
        dataset = xarray.Dataset(variables)
        fit = self.fits["mean"]
        attributes = {
            "widths": list(fit.widths),
            "powers": list(fit.powers),
            "degrees_of_freedom": fit.degrees_of_freedom,
        }
        coordinates = {str(d): np.arange(size) for d, size in dataset.sizes.items()}
        return dataset.assign_coords(coordinates).assign_attrs(attributes)


@in_double_precision
def train_extrapolated(
    net: MLP,
    x: Float[ArrayLike, "N n0"],
    y: ArrayLike,
    x_test: Float[ArrayLike, "N_test n0"],
    samples: int | Sequence[int] = 1000,
    key: int | PRNGKeyArray = 0,
    *,
    factors: Sequence[int] = (1, 2, 4),
    powers: Sequence[float] | None = None,
    **options: Any,
) -> TrainedLimit:
    """Train ensembles whose hidden widths are multiplied and extrapolate to infinite width.

    Args:
        net: the network at the smallest widths.
        x: training inputs, shape (N, n_0).
        y: targets, as for `train`.
        x_test: test inputs, shape (N_test, n_0).
        samples: number of networks at each width, or one number per width.
        key: random key; every width gets one of its own made from it.
        factors: whole numbers that the hidden widths are multiplied with, all different.
        powers: powers of 1/width of what is trained; those of the activation (`width_powers`) if
            None. Initial outputs are fitted in as many whole powers.
        options: as for `train`, except `checkpoint`: several runs cannot share one file.

    Returns:
        The fits of means and covariances, and the runs. With three widths and two powers the fit
        goes through all points; more widths say in `chi_squared` whether the powers are enough.

    Raises:
        TypeError, ValueError: as for `train` and `fit_widths`.

    Example:
        >>> net = MLP.critical(widths=(2, 8, 8, 1), activation="tanh")
        >>> x, y, x_test = [[1.0, 0.5], [-0.3, 0.8]], [0.5, -1.0], [[0.4, 0.4]]
        >>> limit = train_extrapolated(net, x, y, x_test, 50, factors=(1, 2), powers=(1,))
        >>> limit.mean.value.shape, [run.widths[1] for run in limit.runs]
        ((1, 1), [8, 16])
    """
    if options.get("checkpoint") is not None:
        raise ValueError(
            "checkpoint: wanted none, because this makes several runs; call `train` for each width "
            "and combine them with `fit_widths`."
        )
    factors = [check_count(factor, "factors") for factor in factors]
    numbers = list(samples) if isinstance(samples, Sequence) else [samples] * len(factors)
    if len(numbers) != len(factors):
        raise ValueError(
            f"samples: wanted one number or one per factor ({len(factors)}), got {len(numbers)}."
        )
    if net.depth < 2:
        raise ValueError("net: wanted at least one hidden layer, whose width can be extrapolated.")
    basis = net.activation.width_powers if powers is None else powers
    if len(set(factors)) <= len(tuple(basis)):
        raise ValueError(
            f"factors: wanted more than {len(tuple(basis))} different ones, the number of powers, "
            f"got {factors}."
        )
    keys = jax.random.split(as_key(key), len(factors))
    runs = tuple(
        train(scaled(net, factor), x, y, x_test, number, run_key, **options)
        for factor, number, run_key in zip(factors, numbers, keys, strict=True)
    )
    whole = tuple(range(1, len(tuple(basis)) + 1))
    powers_of = dict.fromkeys(TRAINED, tuple(basis)) | dict.fromkeys(INITIAL, whole)
    if runs[0].limit is not None:
        powers_of["controlled_mean"] = tuple(basis)
    widths = [net.widths[1] * factor for factor in factors]
    fits = {
        name: fit_widths(widths, [getattr(run, name) for run in runs], fitted)
        for name, fitted in powers_of.items()
    }
    return TrainedLimit(fits, runs)
