r"""What training does to an ensemble of networks, along a line through two of its inputs.

The line through the training inputs u and v, whose labels differ, is x(t) = (1-t) u + t v. On it
stand next to each other what fully trained networks of infinite width say over the ensemble,

$$m_i=\Theta_{BA}\Theta_{AA}^{-1}\,y_i,\qquad C=P\,K\,P^T,\quad
P=\big[-\Theta_{BA}\Theta_{AA}^{-1}\;\;1\big],$$

PDLT (10.40), (10.41), and real networks that descended the squared error. On the way there,
with one learning rate $\eta$ for all networks, PDLT (10.33) gives the errors of training outputs
after t steps as $z_A(t)-y=(1-\eta\Theta_{AA})^t\,[z_A(0)-y]$, where $z_A(0)$ is Gaussian with mean
zero and covariance $K_{AA}$, so that the loss $L=\frac12\sum_i|z_i-y_i|^2$ is

$$\mathbb E[L(t)]=\tfrac12\sum_i\big|(1-\eta\Theta)^ty_i\big|^2
+\tfrac{n_L}{2}\,\mathrm{tr}\big[(1-\eta\Theta)^tK(1-\eta\Theta)^t\big]$$

over the ensemble (`learning.expected_loss_history`), next to the history of the real networks.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import equinox as eqx
import numpy as np
from jaxtyping import ArrayLike, Float, Int

from finitewidth.ensemble.train import train
from finitewidth.ensemble.trained import TrainedEnsemble
from finitewidth.flow import output_kernels
from finitewidth.learning import (
    LossHistory,
    Prediction,
    expected_loss_history,
    max_learning_rate,
    predict,
)
from finitewidth.network import MLP
from finitewidth.network.descent import check_step
from finitewidth.precision import in_double_precision
from finitewidth.report.analysis import Progress
from finitewidth.report.line import labelled_line, telling_outputs
from finitewidth.validation import check_count, check_inputs, check_outputs

if TYPE_CHECKING:
    import xarray

#: Fewest networks of which a variance with an error makes sense.
FEWEST = 16
#: The common learning rate, in units of 1/lambda_max(Theta_AA): well below 2, where descent breaks.
COMMON_RATE = 0.8
#: Where networks have learned their labels, the theory has no spread up to rounding.
EXACT = 1e-6

Statistic = Literal["mean", "variance"]


class PredictionAnalysis(eqx.Module):
    """Trained ensembles on a line through two training inputs, predicted and measured.

    Attributes:
        net: the network, with its learning rates.
        x: training inputs, shape (N, n0).
        y: their labels, shape (N, n_L).
        ends: which training inputs are u and v.
        names: what to call every output, n_L words.
        names_of_inputs: what to call every training input, N words.
        t: where on the line the theory is evaluated, in units of |v - u|, shape (T,).
        at: the entries of t where networks are looked at, shape (P,).
        limit: fully trained networks of infinite width, at t.
        trained: real networks, trained until they have converged, at t[at].
        history: loss of infinitely wide networks after 0, 1, ... steps of the common learning rate.
        descended: the same real networks after those steps, with the history of their loss.
    """

    net: MLP
    x: Float[np.ndarray, "N n0"]
    y: Float[np.ndarray, "N n_L"]
    ends: tuple[int, int] = eqx.field(static=True)
    names: tuple[str, ...] = eqx.field(static=True)
    names_of_inputs: tuple[str, ...] = eqx.field(static=True)
    t: Float[np.ndarray, " T"]
    at: Int[np.ndarray, " P"]
    limit: Prediction
    trained: TrainedEnsemble
    history: LossHistory
    descended: TrainedEnsemble

    @property
    def width(self) -> int:
        """The width n of the last hidden layer."""
        return self.net.widths[-2]

    @property
    def steps(self) -> int:
        """The number of steps whose loss is followed."""
        return len(self.history.mean) - 1

    @property
    def shown(self) -> tuple[int, ...]:
        """The outputs to look at: the two whose labels tell u and v apart most, in their order."""
        return telling_outputs(self.y, self.ends)

    def theory(self, statistic: Statistic = "mean") -> Float[np.ndarray, "T n_L"]:
        """Return mean or variance of trained outputs at infinite width, shape (T, n_L)."""
        _check_statistic(statistic)
        mean = np.asarray(self.limit.mean)
        if statistic == "mean":
            return mean
        variance = np.asarray(self.limit.standard_deviation) ** 2
        return np.broadcast_to(variance[:, None], mean.shape)

    def networks(
        self, statistic: Statistic = "mean"
    ) -> tuple[Float[np.ndarray, "P n_L"], Float[np.ndarray, "P n_L"]]:
        """Return mean or variance of trained networks and its standard error, each (P, n_L)."""
        _check_statistic(statistic)
        if statistic == "mean":
            return self.trained.mean.value, self.trained.mean.standard_error
        covariance = self.trained.covariance
        return (
            np.einsum("iipp->pi", covariance.value),
            np.einsum("iipp->pi", covariance.standard_error),
        )

    def z(self, statistic: Statistic = "mean") -> Float[np.ndarray, " entries"]:
        """Return (networks - theory) / standard error at all points and outputs.

        Args:
            statistic: "mean" or "variance" of the outputs.

        Returns:
            The z-scores, without training inputs: all networks give their labels there, to within
            the tolerance of training. All points come from the same networks, so that they move
            together: the root mean square scatters more than that of independent numbers.
        """
        value, error = self.networks(statistic)
        sigma = np.sqrt(self.theory("variance"))
        known = sigma[self.at] > EXACT * sigma.max()
        return (value - self.theory(statistic)[self.at])[known] / error[known]

    def rms_z(self, statistic: Statistic = "mean") -> float:
        """Return the root mean square of `z`, NaN if all points are training inputs."""
        z = self.z(statistic)
        return float(np.sqrt(np.mean(z**2))) if len(z) else float("nan")

    def loss_z(self) -> Float[np.ndarray, " steps"]:
        """Return (networks - theory) / standard error of the mean loss after 0, 1, ... steps.

        All from the same networks; the shift by finite width grows along the way.
        """
        measured = self.descended.loss
        return (measured.value - np.asarray(self.history.mean)) / measured.standard_error

    def summary(self) -> dict[str, Any]:
        """Return numbers of networks and steps, z-scores and losses by name."""
        loss = self.descended.loss
        return {
            "networks": self.trained.samples,
            "tolerance": self.trained.tolerance,
            "unconverged": float(self.trained.unconverged.value),
            "mean_steps": float(self.trained.steps.value),
            "mean_eta": float(self.trained.eta.value),
            "mean_rms_z": self.rms_z("mean"),
            "variance_rms_z": self.rms_z("variance"),
            "common_eta": float(self.history.eta),
            "steps": self.steps,
            "loss": {
                name: {
                    "infinite_width": float(self.history.mean[step]),
                    "networks": float(loss.value[step]),
                    "networks_error": float(loss.standard_error[step]),
                    "z": float(self.loss_z()[step]),
                }
                for name, step in (("first", 0), ("last", self.steps))
            },
        }

    def to_xarray(self) -> "xarray.Dataset":
        """Return a dataset with labelled dimensions.

        Returns:
            `infinite_mean` and `infinite_variance` over (t, output); `networks_mean`,
            `networks_variance` and their `_error` over (t_sampled, output); `infinite_loss`,
            `infinite_loss_spread`, `networks_loss`, `networks_loss_error` and
            `networks_loss_spread` over (step); the training inputs `x` over (sample, feature) with
            labels `y` over (sample, output); names and settings as attributes.
        """
        import xarray  # slow to import, and most runs do without it

        variables: dict[str, Any] = {}
        for statistic in get_args(Statistic):
            value, error = self.networks(statistic)
            variables[f"infinite_{statistic}"] = (("t", "output"), self.theory(statistic))
            variables[f"networks_{statistic}"] = (("t_sampled", "output"), value)
            variables[f"networks_{statistic}_error"] = (("t_sampled", "output"), error)
        variables |= {
            name: (("step",), np.asarray(value))
            for name, value in (
                ("infinite_loss", self.history.mean),
                ("infinite_loss_spread", self.history.standard_deviation),
                ("networks_loss", self.descended.loss.value),
                ("networks_loss_error", self.descended.loss.standard_error),
                ("networks_loss_spread", self.descended.loss_spread.value),
            )
        }
        variables |= {"x": (("sample", "feature"), self.x), "y": (("sample", "output"), self.y)}
        attributes = {
            "network": repr(self.net),
            "lambda_b": np.asarray(self.net.lambda_b).tolist(),
            "lambda_W": np.asarray(self.net.lambda_W).tolist(),
            # Zarr has no settled type for arrays of words.
            "outputs": list(self.names),
            "samples": list(self.names_of_inputs),
            "u": self.ends[0],
            "v": self.ends[1],
            **{name: value for name, value in self.summary().items() if name != "loss"},
        }
        coordinates = {
            "t": self.t,
            "t_sampled": self.t[self.at],
            "output": np.arange(len(self.names)) + 1,
            "step": np.arange(self.steps + 1),
        }
        return xarray.Dataset(variables, coordinates, attributes)

    def __repr__(self) -> str:
        found = self.summary()
        last = found["loss"]["last"]
        return (
            f"PredictionAnalysis({self.net!r}, {len(self.x)} labels)\n"
            f"  {found['networks']} networks trained for {found['mean_steps']:.0f} steps on "
            f"average; rms z: {found['mean_rms_z']:.2f} of the mean, "
            f"{found['variance_rms_z']:.2f} of the variance, against infinite width\n"
            f"  loss after {found['steps']} steps of eta = {found['common_eta']:.3g}: "
            f"{last['infinite_width']:.4g} at infinite width, {last['networks']:.4g} +- "
            f"{last['networks_error']:.1g} of networks"
        )


@in_double_precision
def analyze_prediction(
    net: MLP,
    x: Float[ArrayLike, "N n0"],
    y: Float[ArrayLike, "N n_L"],
    points: int = 7,
    networks: int = 1000,
    seed: int = 0,
    *,
    eta: ArrayLike | None = None,
    steps: int = 100,
    tolerance: float = 1e-3,
    most_steps: int = 20_000,
    names: Sequence[str] | None = None,
    names_of_inputs: Sequence[str] | None = None,
    progress: Progress = lambda what, done, total: None,
) -> PredictionAnalysis:
    """Predict and train an ensemble, and look along the line through two inputs.

    PDLT (10.40), (10.41) at the end of training and (10.33) on the way, next to real networks
    (`ensemble.train`).

    Args:
        net: the network, with its learning rates lambda_b, lambda_W.
        x: training inputs, shape (N, n0), at least two.
        y: labels, shape (N, n_L), or (N,) for one output; not all rows equal.
        points: points of the line at which networks are looked at; theory is evaluated at up to
            four times as many.
        networks: networks to train, at least 16.
        seed: seed of these networks.
        eta: the common learning rate of the loss history, 0.8/lambda_max(Theta_AA) if None. For the
            end of training each network has a rate of its own, 1/lambda_max of its NTK.
        steps: number of steps of the loss history.
        tolerance: a network is trained when no output is further from its label. It shows where
            standard errors are as small.
        most_steps: a network is left as it is after so many steps.
        names: what to call the outputs; "output 1", ... if None.
        names_of_inputs: what to call the training inputs; "input 1", ... if None.
        progress: told what is being done.

    Returns:
        Predictions, measurements and how they agree. u and v are the inputs whose labels differ
        most.

    Raises:
        TypeError, ValueError: if an argument is not what it should be, all labels are equal, the
            NTK of the training inputs is singular, training inputs and points are more than 48, or
            eta makes descent diverge.

    Warns:
        RuntimeWarning: if networks did not converge, or diverged and were left out.

    Cost: two passes of every network through every step of its training, which takes about
    lambda_max/lambda_min steps times the logarithm of 1/tolerance.

    Example:
        >>> net = MLP.critical((2, 64, 1), "tanh")
        >>> found = analyze_prediction(
        ...     net, [[1.0, 0.3], [-0.2, 1.0]], [1.0, -1.0], points=3, networks=100, steps=20
        ... )
        >>> found.t[found.at], found.limit.mean.shape, len(found.loss_z())
        (array([-0.5,  0.5,  1.5]), (9, 1), 21)
    """
    x = np.asarray(check_inputs(x, net.widths[0]))
    y = np.asarray(check_outputs(y, len(x), net.widths[-1]))
    points = check_count(points, "points", least=2)
    networks = check_count(networks, "networks", least=FEWEST)
    seed = check_count(seed, "seed", least=0)
    steps = check_count(steps, "steps")
    if not 0 < tolerance < np.inf:
        raise ValueError(f"tolerance: wanted a positive number, got {tolerance}.")
    most_steps = check_count(most_steps, "most_steps")
    line = labelled_line(x, y, points, names, names_of_inputs)

    progress("theory", 0, 1)
    limit = predict(net, x, y, line.x)
    if eta is None:
        # Half of where descent breaks is 1/lambda_max.
        rate = COMMON_RATE * max_learning_rate(output_kernels(net, x)[1]) / 2
    else:
        rate = check_step(eta)
    history = expected_loss_history(net, x, y, rate, steps)
    progress("theory", 1, 1)
    trained = train(
        net, x, y, line.x[line.at], networks, seed, tolerance=tolerance, most_steps=most_steps,
        history=0, progress=lambda done, total: progress("networks", done, total),
    )  # fmt: skip
    descended = train(
        net, x, y, line.x[line.at], networks, seed, eta=rate, tolerance=0.0, most_steps=steps,
        history=steps, progress=lambda done, total: progress("loss by step", done, total),
    )  # fmt: skip
    return PredictionAnalysis(net, x, y, *line[:5], limit, trained, history, descended)


def _check_statistic(statistic: str) -> None:
    if statistic not in get_args(Statistic):
        raise ValueError(f"statistic: wanted 'mean' or 'variance', got {statistic!r}.")
