r"""The figure of trained ensembles: what they say along a line, and how their loss falls.

Above, one panel for every output shown: the mean and the band of one standard deviation along the
line $x(t)$ at infinite width, PDLT (10.40), (10.41), and trained networks. Below, against the step,
mean and standard deviation over networks of the training loss

$$L=\tfrac12\sum_{i,\alpha}\big(z_{i;\alpha}-y_{i;\alpha}\big)^2$$

on a logarithmic scale, at infinite width from PDLT (10.33) and of the networks.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from finitewidth.report.figures import Drawing
from finitewidth.report.posterior_figure import label_line, others_off_the_line
from finitewidth.report.prediction import PredictionAnalysis
from finitewidth.report.style import (
    INK,
    MARKERS,
    SERIES,
    legend,
    legend_outside,
    panels_over_one,
)

#: Infinite width, networks, labels.
INFINITE, NETWORKS, LABELS = SERIES[0], SERIES[1], SERIES[4]
#: The axis of the loss ends so far below the lowest mean: lower edges of bands may be below zero.
ROOM = 4.0


def draw_prediction(found: PredictionAnalysis) -> Drawing:
    """Draw trained outputs along the line, and below them the loss by step.

    Example:
        >>> from finitewidth.network import MLP
        >>> from finitewidth.report.prediction import analyze_prediction
        >>> found = analyze_prediction(
        ...     MLP.critical((2, 64, 1), "tanh"), [[1.0, 0.3], [-0.2, 1.0]], [1.0, -1.0],
        ...     points=3, networks=100, steps=20,
        ... )
        >>> draw_prediction(found).title
        'Trained tanh networks of width 64'
    """  # fmt: skip
    shown = found.shown
    fig, above, below = panels_over_one(len(shown), (2.4 + 3.0 * len(shown), 6.2), (1.4, 1.0))
    for axes, output in zip(above, shown, strict=True):
        _outputs(axes, found, output)
        axes.set_title(found.names[output], fontsize=10, color=INK)
        label_line(axes, *(found.names_of_inputs[end] for end in found.ends))
    above[0].set_ylabel("output $z$ after training")
    _losses(below, found)
    legend_outside(fig, above[0], "upper", 3 if len(shown) > 1 else 2)
    return Drawing(
        fig,
        f"Trained {found.net.activation.name} networks of width {found.width}",
        f"{found.trained.samples} networks trained on {len(found.x)} labels by gradient descent on "
        "the squared error, along the line through two training inputs u and v."
        f"{others_off_the_line(len(found.x))} Band and vertical bars: one standard deviation of "
        "the output over networks; error bars of the mean are often smaller than the point. Below: "
        f"the training loss, a sum over inputs and outputs, after steps of "
        f"η = {float(found.history.eta):.3g} for all networks; bands: one standard deviation over "
        "networks.",
    )


def _outputs(axes: Axes, found: PredictionAnalysis, output: int) -> None:
    mean = found.theory("mean")[:, output]
    sigma = np.sqrt(found.theory("variance")[:, output])
    axes.plot(found.t, mean, color=INFINITE, label="infinite width, ± σ")
    axes.fill_between(found.t, mean - sigma, mean + sigma, color=INFINITE, alpha=0.18, linewidth=0)
    t = found.t[found.at]
    mean, error = (values[:, output] for values in found.networks("mean"))
    sigma = np.sqrt(found.networks("variance")[0][:, output])
    axes.errorbar(
        t, mean, sigma, fmt="none", ecolor=INK, elinewidth=0.8, capsize=3, capthick=0.8, alpha=0.7
    )
    axes.errorbar(
        t, mean, error, fmt=MARKERS[0], color=INK, elinewidth=2.2,
        label=f"trained networks, $n$ = {found.width}, ± σ", zorder=4,
    )  # fmt: skip
    axes.plot(
        [0.0, 1.0], found.y[list(found.ends), output], MARKERS[3], color=LABELS, markersize=6.5,
        label="label", zorder=5,
    )  # fmt: skip


def _losses(axes: Axes, found: PredictionAnalysis) -> None:
    steps = np.arange(found.steps + 1)
    theory, spread = np.asarray(found.history.mean), np.asarray(found.history.standard_deviation)
    measured, deviation = found.descended.loss.value, found.descended.loss_spread.value
    axes.set_yscale("log")
    positive = np.concatenate([theory, measured])
    bottom = positive[positive > 0].min() / ROOM
    axes.fill_between(
        steps, np.maximum(measured - deviation, bottom), measured + deviation, color=NETWORKS,
        alpha=0.22, linewidth=0,
    )  # fmt: skip
    axes.plot(
        steps, measured, color=NETWORKS, linewidth=2.4, label=f"networks, $n$ = {found.width}, ± σ"
    )
    axes.plot(
        steps, theory, color=INFINITE, linestyle=(0, (4, 3)), label="infinite width, ± σ", zorder=3
    )
    for edge in (theory - spread, theory + spread):
        axes.plot(
            steps, np.where(edge > bottom, edge, np.nan), color=INFINITE, linewidth=0.8,
            linestyle=(0, (4, 3)),
        )  # fmt: skip
    axes.set_ylim(bottom=bottom)
    # Room for step 0, which the first large step leaves at once.
    axes.set_xlim(-0.01 * found.steps, found.steps)
    axes.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True))
    axes.set_xlabel(f"step of gradient descent, η = {float(found.history.eta):.3g}")
    axes.set_ylabel("training loss $L$")
    legend(axes, loc="upper right")
