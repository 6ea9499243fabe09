r"""What networks that have seen a few labels say along a line through two of the inputs.

The line through the training inputs u and v, whose labels differ, is

$$x(t) = (1-t)\,u + t\,v,\qquad -\tfrac12\le t\le\tfrac32,$$

so that t is a distance in units of |v - u|; u lies at t = 0 and v at t = 1. On it stand next to
each other the posterior at infinite width, PDLT (6.57), (6.64), its first correction in 1/width,
(6.83) to (6.89), and sampled networks of the width itself, which share no formula with either.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Float, Int

from finitewidth.bayes import Posterior, SampledPosterior, importance_sample, posterior
from finitewidth.bayes.sampling.arguments import check_network
from finitewidth.bayes.sampling.weighted_sums import BLOCKS
from finitewidth.network import MLP
from finitewidth.precision import in_double_precision
from finitewidth.report.analysis import Progress
from finitewidth.report.line import labelled_line, telling_outputs
from finitewidth.validation import (
    check_count,
    check_inputs,
    check_outputs,
    check_variance,
)

if TYPE_CHECKING:
    import xarray

#: Quasi-random points of the vertex, more than usual: the figure shows a small difference.
VERTEX_POINTS = 2**17
#: An error below this fraction of the largest one is rounding: the value is exact.
EXACT = 1e-6

Statistic = Literal["mean", "variance"]


class PosteriorAnalysis(eqx.Module):
    """The posterior on a line through two training inputs, predicted and sampled.

    Attributes:
        net: the network.
        x: training inputs, shape (N, n0).
        y: their labels, shape (N, n_L).
        noise: variance of the noise of the labels.
        ends: which training inputs are u and v.
        names: what to call every output, n_L words.
        names_of_inputs: what to call every training input, N words.
        t: where on the line the theory is evaluated, in units of |v - u|, shape (T,).
        at: the entries of t where networks are sampled, shape (P,).
        limit: the posterior at infinite width at t.
        first_order: with the first correction in 1/width, at t.
        sampled: of real networks, at t[at].
    """

    net: MLP
    x: Float[np.ndarray, "N n0"]
    y: Float[np.ndarray, "N n_L"]
    noise: float = eqx.field(static=True)
    ends: tuple[int, int] = eqx.field(static=True)
    names: tuple[str, ...] = eqx.field(static=True)
    names_of_inputs: tuple[str, ...] = eqx.field(static=True)
    t: Float[np.ndarray, " T"]
    at: Int[np.ndarray, " P"]
    limit: Posterior
    first_order: Posterior
    sampled: SampledPosterior

    @property
    def width(self) -> int:
        """The width n of the last hidden layer."""
        return self.net.widths[-2]

    @property
    def shown(self) -> tuple[int, ...]:
        """The outputs to look at: the two whose labels tell u and v apart most, in their order."""
        return telling_outputs(self.y, self.ends)

    def z(self, order: int, statistic: Statistic = "mean") -> Float[np.ndarray, " entries"]:
        """Return (networks - theory) / standard error at all sampled points and outputs.

        Args:
            order: 0 for the theory of infinite width, 1 for that to first order.
            statistic: "mean" or "variance" of the outputs.

        Returns:
            The z-scores, without entries that are exact, such as the mean at a training input
            when there is no noise, or of which no error is known. All points come from the same
            networks, so that they move together: the root mean square scatters more than that of
            independent numbers.
        """
        if statistic not in get_args(Statistic):
            raise ValueError(f"statistic: wanted 'mean' or 'variance', got {statistic!r}.")
        theory = np.asarray(getattr(self._theory(order), statistic))[self.at]
        error = getattr(self.sampled, f"{statistic}_error")
        finite = np.isfinite(error)
        known = finite & (error > EXACT * error[finite].max(initial=0.0))
        return ((getattr(self.sampled, statistic) - theory)[known]) / error[known]

    def rms_z(self, order: int, statistic: Statistic = "mean") -> float:
        """Return the root mean square of `z`, NaN if too few networks count to know any error."""
        z = self.z(order, statistic)
        return float(np.sqrt(np.mean(z**2))) if len(z) else float("nan")

    def evidence_z(self, order: int) -> float:
        """Return (networks - theory) / standard error of the log-evidence."""
        theory = float(self._theory(order).log_evidence)
        return (self.sampled.log_evidence - theory) / self.sampled.log_evidence_error

    def summary(self) -> dict[str, Any]:
        """Return evidence, M:W:M, effective samples and z-scores by name."""
        return {
            "log_evidence": {
                "infinite_width": float(self.limit.log_evidence),
                "first_order": float(self.first_order.log_evidence),
                "networks": self.sampled.log_evidence,
                "networks_error": self.sampled.log_evidence_error,
            },
            "expansion_parameter": float(self.first_order.expansion_parameter),
            "networks": self.sampled.samples,
            "effective_networks": self.sampled.effective_samples,
            **{
                name: {
                    "mean_rms_z": self.rms_z(order, "mean"),
                    "variance_rms_z": self.rms_z(order, "variance"),
                    "log_evidence_z": self.evidence_z(order),
                }
                for order, name in enumerate(("infinite_width", "first_order"))
            },
        }

    def to_xarray(self) -> "xarray.Dataset":
        """Return a dataset with labelled dimensions.

        Returns:
            `infinite_mean`, `infinite_variance`, `first_order_mean` and `first_order_variance` over
            (t, output); `networks_mean`, `networks_variance` and their `_error` over
            (t_sampled, output); the training inputs `x` over (sample, feature) with labels `y` over
            (sample, output); names, evidence, M:W:M and settings as attributes.
        """
        import xarray  # slow to import, and most runs do without it

        line, few, training = ("t", "output"), ("t_sampled", "output"), ("sample", "output")
        variables = {
            f"{name}_{statistic}": (line, np.asarray(getattr(found, statistic)))
            for name, found in (("infinite", self.limit), ("first_order", self.first_order))
            for statistic in get_args(Statistic)
        }
        variables |= {
            f"networks_{name}": (few, np.asarray(getattr(self.sampled, name)))
            for name in ("mean", "mean_error", "variance", "variance_error")
        }
        variables |= {"x": (("sample", "feature"), self.x), "y": (training, self.y)}
        summary = self.summary()
        attributes = {
            "network": repr(self.net),
            # Zarr has no settled type for arrays of words.
            "outputs": list(self.names),
            "samples": list(self.names_of_inputs),
            "noise": self.noise,
            "u": self.ends[0],
            "v": self.ends[1],
            "networks": summary["networks"],
            "effective_networks": summary["effective_networks"],
            "expansion_parameter": summary["expansion_parameter"],
            **{f"log_evidence_{k}": value for k, value in summary["log_evidence"].items()},
        }
        coordinates = {
            "t": self.t,
            "t_sampled": self.t[self.at],
            "output": np.arange(len(self.names)) + 1,
        }
        return xarray.Dataset(variables, coordinates, attributes)

    def __repr__(self) -> str:
        found = self.summary()
        evidence = found["log_evidence"]
        return (
            f"PosteriorAnalysis({self.net!r}, {len(self.x)} labels, noise {self.noise:g})\n"
            f"  log-evidence: {evidence['infinite_width']:.4f} at infinite width, "
            f"{evidence['first_order']:.4f} to first order, {evidence['networks']:.4f} +- "
            f"{evidence['networks_error']:.2g} of {self.sampled.samples} networks "
            f"({self.sampled.effective_samples:.0f} effective)\n"
            f"  M:W:M = {found['expansion_parameter']:.3g}; rms z of the mean: "
            f"{self.rms_z(0):.2f} at infinite width, {self.rms_z(1):.2f} to first order"
        )

    def _theory(self, order: int) -> Posterior:
        if order not in (0, 1):
            raise ValueError(f"order: wanted 0 or 1, got {order!r}.")
        return self.first_order if order else self.limit


@in_double_precision
def analyze_posterior(
    net: MLP,
    x: Float[ArrayLike, "N n0"],
    y: Float[ArrayLike, "N n_L"],
    noise: float = 0.1,
    points: int = 9,
    networks: int = 20_000,
    seed: int = 0,
    names: Sequence[str] | None = None,
    names_of_inputs: Sequence[str] | None = None,
    progress: Progress = lambda what, done, total: None,
) -> PosteriorAnalysis:
    """Predict and sample the posterior on the line through two inputs of different label.

    PDLT (6.57), (6.64) at infinite width and (6.83) to (6.89) to first order, next to networks
    that are drawn from the prior and weighted by the evidence (`bayes.importance_sample`).

    Args:
        net: the network; its weights must be Gaussian.
        x: training inputs, shape (N, n0), at least two.
        y: labels, shape (N, n_L), or (N,) for one output; not all rows equal.
        noise: variance of the noise of the labels, in units of y^2.
        points: points of the line at which networks are sampled; theory is evaluated at up to
            four times as many.
        networks: networks to draw, at least 64.
        seed: seed of these networks.
        names: what to call the outputs; "output 1", ... if None.
        names_of_inputs: what to call the training inputs; "input 1", ... if None.
        progress: told what is being done.

    Returns:
        Predictions, measurements and how they agree. u and v are the inputs whose labels differ
        most.

    Raises:
        TypeError, ValueError: if an argument is not what it should be, all labels are equal, or
            training inputs and points are more than 48, which the dense vertex cannot hold.

    Warns:
        ExpansionWarning: if M:W:M is above 0.3.

    Accuracy: the vertex is known to about 1e-4 of its largest entry. Where contributions to the
    shift cancel, without noise above all, that shows in n times the shift.

    Cost: the vertex of N and about 4 `points` inputs, O(L (N + 4 points)^4), and `networks` chains
    of N + `points` inputs.

    Example:
        >>> net = MLP((2, 64, 1), "relu", C_W=2.0)
        >>> found = analyze_posterior(
        ...     net, [[1.0, 0.3], [-0.2, 1.0]], [1.0, -1.0], points=3, networks=2000
        ... )
        >>> found.t[found.at], found.first_order.mean.shape
        (array([-0.5,  0.5,  1.5]), (9, 1))
    """
    x = np.asarray(check_inputs(x, net.widths[0]))
    y = np.asarray(check_outputs(y, len(x), net.widths[-1]))
    noise = float(check_variance(noise, "noise"))
    check_network(net, jnp.asarray(x), noise)
    points = check_count(points, "points", least=2)
    networks = check_count(networks, "networks", least=BLOCKS)
    seed = check_count(seed, "seed", least=0)
    line = labelled_line(x, y, points, names, names_of_inputs)

    progress("theory", 0, 2)
    limit = posterior(net, x, y, line.x, noise, order=0)
    progress("theory", 1, 2)
    first_order = posterior(net, x, y, line.x, noise, order=1, points=VERTEX_POINTS)
    progress("theory", 2, 2)
    sampled = importance_sample(
        net, x, y, line.x[line.at], noise, networks, seed,
        progress=lambda done, total: progress("networks", done, total),
    )  # fmt: skip
    return PosteriorAnalysis(net, x, y, noise, *line[:5], limit, first_order, sampled)
