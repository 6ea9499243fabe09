r"""What training an ensemble returns: outputs before and after, with error bars.

Over networks, with $b$ a test input and $i$ an output component,

$$\mathbb E[z_{i;b}(T)],\qquad \mathrm{Cov}[z_{i_1;b_1}(T), z_{i_2;b_2}(T)],$$

which at infinite width are $(\Theta_{BA}\Theta_{AA}^{-1}y)_i$, PDLT (10.40), and
$\delta_{i_1i_2}C_{b_1b_2}$, PDLT (10.41).
"""

from typing import TYPE_CHECKING, Any

import equinox as eqx
import numpy as np
from jaxtyping import Float

from finitewidth.ensemble.accumulator import CentralProducts
from finitewidth.ensemble.estimate import Estimate
from finitewidth.ensemble.observable import mean_estimate

if TYPE_CHECKING:
    import xarray


class TrainedEnsemble(eqx.Module):
    """Statistics of an ensemble of trained networks, each with its standard error.

    Networks that diverged are left out of everything but `initial_*`, `unconverged` and `diverged`.
    Networks that had not converged after `most_steps` count with what they had become.

    Attributes:
        mean: E[z(T)], shape (N_test, n_L).
        covariance: Cov[z_i1(T), z_i2(T)], entry [i1, i2, b1, b2], shape (n_L, n_L, N_test, N_test).
        initial_mean: E[z(0)], shape (N_test, n_L).
        initial_covariance: Cov[z_i1(0), z_i2(0)], same shape as `covariance`.
        loss: mean over networks of the loss after 0, 1, ... steps, shape (T,).
        loss_spread: standard deviation over networks of the same, shape (T,).
        steps: mean number of steps of a network, shape (); one that did not converge counts with
            `most_steps`.
        steps_spread: standard deviation over networks of the same.
        longest: the largest number of steps of a network.
        eta: mean learning rate over networks, shape ().
        unconverged: fraction of the networks that did not converge, diverged ones among them.
        diverged: fraction of the networks whose loss left the finite numbers.
        deviation: E[z(T) - z_lin], from the linear prediction, shape (N_test, n_L); None without
            `control_variate`.
        deviation_size: (E[(z(T) - z_lin)^2])^(1/2), shape (N_test, n_L); None likewise.
        limit: exact mean of z_lin, PDLT (10.40), shape (N_test, n_L); None unless the control
            variate is a frozen NTK.
        widths: (n_0, ..., n_L).
        loss_name: which loss.
        optimizer: which rule.
        tolerance: of the error factor.
        most_steps: of a network.
    """

    mean: Estimate
    covariance: Estimate
    initial_mean: Estimate
    initial_covariance: Estimate
    loss: Estimate
    loss_spread: Estimate
    steps: Estimate
    steps_spread: Estimate
    longest: int
    eta: Estimate
    unconverged: Estimate
    diverged: Estimate
    deviation: Estimate | None
    deviation_size: Estimate | None
    limit: Float[np.ndarray, "N_test n_L"] | None
    widths: tuple[int, ...] = eqx.field(static=True)
    loss_name: str = eqx.field(static=True)
    optimizer: str = eqx.field(static=True)
    tolerance: float
    most_steps: int

    @property
    def samples(self) -> int:
        """The number of networks that were trained."""
        return self.unconverged.samples

    @property
    def controlled_mean(self) -> Estimate:
        """E[z(T)] with the noise of the linear prediction taken out: `limit` + `deviation`.

        Raises:
            ValueError: if the mean of the linear prediction is not known.
        """
        if self.limit is None or self.deviation is None:
            raise ValueError(
                "controlled_mean: wanted a run with a frozen NTK as `control_variate`; only its "
                "prediction has a known mean."
            )
        return Estimate(
            self.limit + self.deviation.value, self.deviation.standard_error, self.mean.samples
        )

    def estimates(self) -> dict[str, Estimate]:
        """Return all estimates by name."""
        fields = {name: getattr(self, name) for name in DIMENSIONS}
        return {name: value for name, value in fields.items() if value is not None}

    def to_xarray(self) -> "xarray.Dataset":
        """Return a dataset with labelled dimensions.

        Returns:
            For every estimate a variable of its name and one named `<name>_standard_error`;
            dimensions `test` (0..N_test-1), `output` (0..n_L-1), `step` (0..T-1), and `test_1`,
            `test_2`, `output_1`, `output_2` for covariances.
        """
        import xarray  # slow to import, and most runs do without it

        variables: dict[str, Any] = {}
        for name, estimate in self.estimates().items():
            dims = DIMENSIONS[name]
            variables[name] = (dims, np.asarray(estimate.value))
            variables[f"{name}_standard_error"] = (dims, np.asarray(estimate.standard_error))
        if self.limit is not None:
            variables["limit"] = (DIMENSIONS["mean"], self.limit)
        dataset = xarray.Dataset(variables)
        attributes = {
            "widths": list(self.widths),
            "loss": self.loss_name,
            "optimizer": self.optimizer,
            "tolerance": self.tolerance,
            "most_steps": self.most_steps,
            "longest": self.longest,
            "samples": self.samples,
        }
        coordinates = {str(d): np.arange(size) for d, size in dataset.sizes.items()}
        return dataset.assign_coords(coordinates).assign_attrs(attributes)

    def __repr__(self) -> str:
        first, last = float(self.loss.value[0]), float(self.loss.value[-1])
        mean, spread = float(self.steps.value), float(self.steps_spread.value)
        stopped = self.tolerance > 0
        lines = [
            f"TrainedEnsemble of {self.samples} networks of widths "
            f"{'-'.join(map(str, self.widths))}, {self.loss_name} by {self.optimizer}:",
            f"  mean loss {first:.3g} -> {last:.3g} after {len(self.loss.value) - 1} steps",
            f"  {mean:.0f} +- {spread:.0f} steps, {self.longest} at most, eta = "
            f"{float(self.eta.value):.3g}",
            f"  mean: {repr(self.mean)[len('Estimate(') : -1]}",
        ]
        if stopped:
            share = 100 * float(self.unconverged.value)
            lines.insert(3, f"  not converged to {self.tolerance:g}: {share:.3g} % of the networks")
        if float(self.diverged.value) > 0:
            lines.append(f"  diverged: {100 * float(self.diverged.value):.3g} % of the networks")
        return "\n".join(lines)


_MATRIX = ("output_1", "output_2", "test_1", "test_2")
#: The labelled dimensions of every estimate.
DIMENSIONS: dict[str, tuple[str, ...]] = {
    "mean": ("test", "output"),
    "covariance": _MATRIX,
    "initial_mean": ("test", "output"),
    "initial_covariance": _MATRIX,
    "loss": ("step",),
    "loss_spread": ("step",),
    "steps": (),
    "steps_spread": (),
    "eta": (),
    "unconverged": (),
    "diverged": (),
    "deviation": ("test", "output"),
    "deviation_size": ("test", "output"),
}


def summarize(
    state: dict[str, Any],
    outputs: int,
    limit: Float[np.ndarray, "N_test n_L"] | None,
    **settings: Any,
) -> TrainedEnsemble:
    """Turn the state of all chunks into numbers with error bars."""
    initial_mean, initial_covariance = _outputs(state["initial"], outputs)
    mean, covariance = _outputs(state["trained"], outputs)
    loss, loss_spread = _scalars(state["loss"])
    steps, steps_spread = _scalars(state["steps"])
    deviation = size = None
    if "deviation" in state:
        deviation = _mean(state["deviation"])
        square = _mean(state["deviation_square"])
        root = np.sqrt(square.value)
        error = square.standard_error / np.maximum(2 * root, np.finfo(float).tiny)
        size = Estimate(root, error, square.samples)
    return TrainedEnsemble(
        mean=mean,
        covariance=covariance,
        initial_mean=initial_mean,
        initial_covariance=initial_covariance,
        loss=loss,
        loss_spread=loss_spread,
        steps=steps,
        steps_spread=steps_spread,
        longest=int(state["longest"].steps),
        eta=_scalars(state["eta"])[0],
        unconverged=mean_estimate(state["unconverged"]),
        diverged=mean_estimate(state["diverged"]),
        deviation=deviation,
        deviation_size=size,
        limit=limit,
        **settings,
    )


def _mean(sums: CentralProducts) -> Estimate:
    return Estimate(np.asarray(sums.mean), sums.standard_error(), int(sums.count))


def _outputs(sums: CentralProducts, outputs: int) -> tuple[Estimate, Estimate]:
    """Return mean (N_test, n_L) and covariance [i1, i2, b1, b2] of flattened (i, b)."""
    mean, covariance = _mean(sums), sums.covariance()

    def vector(values: np.ndarray) -> np.ndarray:
        return values.reshape(outputs, -1).T

    def matrix(values: np.ndarray) -> np.ndarray:
        tests = values.shape[0] // outputs
        return values.reshape(outputs, tests, outputs, tests).swapaxes(1, 2)

    return (
        Estimate(vector(mean.value), vector(mean.standard_error), mean.samples),
        Estimate(matrix(covariance.value), matrix(covariance.standard_error), mean.samples),
    )


def _scalars(sums: CentralProducts) -> tuple[Estimate, Estimate]:
    """Return mean and standard deviation of numbers, kept as vectors of one entry."""
    mean, covariance = _mean(sums), sums.covariance()
    spread = np.sqrt(np.maximum(covariance.value[..., 0, 0], 0.0))
    error = covariance.standard_error[..., 0, 0] / np.maximum(2 * spread, np.finfo(float).tiny)
    return (
        Estimate(mean.value[..., 0], mean.standard_error[..., 0], mean.samples),
        Estimate(spread, np.where(spread > 0, error, 0.0), mean.samples),
    )
