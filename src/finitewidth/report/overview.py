"""Figures that put several activations side by side."""

from collections.abc import Sequence

import numpy as np

from finitewidth.report.analysis import Analysis
from finitewidth.report.angles import angle_in_degrees, measured_angle
from finitewidth.report.figures import TOO_DEEP, Drawing
from finitewidth.report.style import INK, MARKERS, SERIES, figure, layer_ticks, legend


def draw_overview(runs: Sequence[Analysis]) -> list[Drawing]:
    """Draw what tells activations apart: fluctuations by layer, and angles by layer."""
    drawings = [_fluctuations(runs)]
    if len(runs[0].x) > 1:
        drawings.append(_angles(runs))
    return drawings


def _fluctuations(runs: Sequence[Analysis]) -> Drawing:
    fig, axes = figure("layer", "$V/(nK^2)$ of the typical input")
    for k, run in enumerate(runs):
        a, style = run.typical, _style(k)
        axes.plot(
            run.layers, np.asarray(run.flow.normalized_vertex)[:, a], color=style[0], label=run.name
        )
        scale = np.asarray(run.flow.fan_in) * np.asarray(run.flow.kernel)[:, a, a] ** 2
        limit = run.limit["vertex"]
        axes.errorbar(
            run.layers, limit.value[:, a, a, a, a] / scale,
            limit.standard_error[:, a, a, a, a] / scale,
            fmt=style[1], color=style[0], capsize=2, elinewidth=1.1,
        )  # fmt: skip
    if axes.get_ylim()[1] > TOO_DEEP / 1.3:
        axes.axhline(TOO_DEEP, color=INK, linewidth=0.8, linestyle=(0, (4, 3)), alpha=0.6)
        axes.text(
            runs[0].net.depth, TOO_DEEP, f"too deep above {TOO_DEEP}", color=INK, fontsize=8,
            va="bottom", ha="right",
        )  # fmt: skip
    layer_ticks(axes, runs[0].layers.tolist())
    axes.set_ylim(bottom=0.0)
    legend(axes, loc="upper left")
    return Drawing(
        fig,
        "Run-to-run fluctuations of all activations",
        "Relative variance of the mean square from one network to the next. Lines: theory. Points: "
        "measured, extrapolated in width.",
    )


def _angles(runs: Sequence[Analysis]) -> Drawing:
    fig, axes = figure("layer", "angle (degrees)")
    first = np.asarray(runs[0].flow.metric)[:1]
    alive = np.flatnonzero(runs[0].size > 0).tolist()
    pairs = [(a, b) for a in alive for b in alive if a < b]
    order = np.argsort([angle_in_degrees(first, a, b)[0] for a, b in pairs], kind="stable")
    a, b = pairs[order[len(order) // 2]]
    for k, run in enumerate(runs):
        color, marker = _style(k)
        metric = np.asarray(run.flow.metric)
        axes.plot(run.layers, angle_in_degrees(metric, a, b), color=color, label=run.name)
        value, error = measured_angle(run, a, b)
        axes.errorbar(run.layers, value, error, fmt=marker, color=color, capsize=2, elinewidth=1.1)
    layer_ticks(axes, runs[0].layers.tolist())
    axes.set_ylim(bottom=0.0)
    legend(axes)
    return Drawing(
        fig,
        "Angle between two inputs for all activations",
        f"Inputs {a} and {b}, the pair of median angle. Lines: theory at the width of the network. "
        "Points: measured at that width.",
    )


def _style(k: int) -> tuple[str, str]:
    return SERIES[k % len(SERIES)], MARKERS[k % len(MARKERS)]
