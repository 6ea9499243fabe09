r"""The figure of a posterior: bands of the theory, sampled networks, and what finite width changes.

Above, one panel for every output shown: the mean and the band of one standard deviation $\sigma$
along the line $x(t)$, at infinite width and to first order in 1/width, and networks. Finite width
shows little there, so that below stands

$$n\,\big(\langle z\rangle - \langle z\rangle_\infty\big),\qquad n\,(\sigma - \sigma_\infty),$$

which has a limit for large n: the first order is a line, and networks lie on it up to 1/n.
"""

import os
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from finitewidth.report.figures import Drawing
from finitewidth.report.posterior import EXACT, PosteriorAnalysis
from finitewidth.report.style import (
    INK,
    MARKERS,
    SERIES,
    legend_outside,
    panels,
    to_file_content,
)
from finitewidth.report.writing import check_destination, write_whole

#: How a figure can be saved.
SUFFIXES = (".svg", ".png", ".pdf")

#: Infinite width, first order, change of the mean, change of sigma.
INFINITE, FIRST, MEAN, SIGMA = SERIES[0], SERIES[1], SERIES[2], SERIES[3]


def draw_posterior(found: PosteriorAnalysis) -> Drawing:
    """Draw the posterior along the line, and below it the change by finite width times n.

    Example:
        >>> from finitewidth.network import MLP
        >>> from finitewidth.report.posterior import analyze_posterior
        >>> found = analyze_posterior(
        ...     MLP((2, 64, 1), "relu", C_W=2.0), [[1.0, 0.3], [-0.2, 1.0]], [1.0, -1.0],
        ...     points=3, networks=2000,
        ... )
        >>> draw_posterior(found).title
        'Posterior of relu networks of width 64'
    """  # fmt: skip
    shown = found.shown
    fig, axes = panels(2, len(shown), (2.4 + 3.0 * len(shown), 5.4), (1.5, 1.0))
    for (above, below), output in zip(axes.T, shown, strict=True):
        _bands(above, found, output)
        _changes(below, found, output)
        above.set_title(found.names[output], fontsize=10, color=INK)
        label_line(below, *(found.names_of_inputs[end] for end in found.ends))
    axes[0, 0].set_ylabel("output $z$")
    axes[1, 0].set_ylabel("$n$ × (shift from $n=\\infty$)")
    columns = 2 * len(shown)
    legend_outside(fig, axes[0, 0], "upper", columns)
    legend_outside(fig, axes[1, 0], "lower", columns)
    return Drawing(
        fig,
        f"Posterior of {found.net.activation.name} networks of width {found.width}",
        f"{found.sampled.samples} networks given {len(found.x)} labels with noise of variance "
        f"{found.noise:g}, along the line through two training inputs u and v."
        f"{others_off_the_line(len(found.x))} Bands and "
        "vertical bars: one standard deviation of the output; error bars of the mean above are "
        f"often smaller than the point. Below: n = {found.width} times the difference to infinite "
        "width, of the mean and of the standard deviation.",
    )


def label_line(axes: Axes, u: str, v: str) -> None:
    """Name the line below its axis, and on it the inputs u and v."""
    axes.set_xticks([-0.5, 0.0, 0.5, 1.0, 1.5], ["−0.5", f"0\nu: {u}", "0.5", f"1\nv: {v}", "1.5"])
    axes.set_xlabel("t, along (1 − t) u + t v, in units of |v − u|")


def others_off_the_line(training: int) -> str:
    """Return a sentence on the training inputs besides u and v, none if there are only these."""
    others = training - 2
    return {0: "", 1: " The third training input lies off the line."}.get(
        others, f" The other {others} training inputs lie off the line."
    )


def check_figure_path(path: str | os.PathLike[str]) -> Path:
    """Return the path that a figure is to be written to, or say why that cannot work.

    Raises:
        ValueError: if its suffix is not one of `SUFFIXES`, or a file cannot be written there.
    """
    target = check_destination(path)
    if target.suffix.lower() not in SUFFIXES:
        raise ValueError(f"out: wanted a name that ends in {', '.join(SUFFIXES)}, got {target}")
    return target


def save_figure(drawing: Drawing, path: str | os.PathLike[str]) -> Path:
    """Write a figure on white to a file, as a whole or not at all.

    Args:
        drawing: the figure.
        path: its suffix says how: .svg, .png or .pdf; an existing file is replaced.

    Returns:
        The path.

    Raises:
        ValueError: as `check_figure_path`.
    """
    target = check_figure_path(path)
    content = to_file_content(drawing.figure, target.suffix.lower(), drawing.title)
    return write_whole(target, content)


def _bands(axes: Axes, found: PosteriorAnalysis, output: int) -> None:
    for theory, color, line, words in (
        (found.limit, INFINITE, (0, (4, 3)), "infinite width, ± σ"),
        (found.first_order, FIRST, "solid", "first order, ± σ"),
    ):
        mean, sigma = _mean_and_sigma(theory, output)
        # The two nearly coincide: dashes on top of the line show both.
        above = 3 if theory is found.limit else 2
        axes.plot(found.t, mean, color=color, linestyle=line, label=words, zorder=above)
        edges = mean - sigma, mean + sigma
        if theory is found.limit:
            axes.fill_between(found.t, *edges, color=color, alpha=0.15, linewidth=0)
        else:
            for edge in edges:
                axes.plot(found.t, edge, color=color, linewidth=0.8)
    t = found.t[found.at]
    mean, sigma = _mean_and_sigma(found.sampled, output)
    axes.errorbar(
        t, mean, sigma, fmt="none", ecolor=INK, elinewidth=0.8, capsize=3, capthick=0.8, alpha=0.7
    )
    axes.errorbar(
        t, mean, found.sampled.mean_error[:, output], fmt=MARKERS[0], color=INK, elinewidth=2.2,
        label=f"networks, $n$ = {found.width}", zorder=4,
    )  # fmt: skip
    axes.plot(
        [0.0, 1.0], found.y[list(found.ends), output], MARKERS[3], color=SERIES[4], markersize=6.5,
        label="label", zorder=5,
    )  # fmt: skip


def _changes(axes: Axes, found: PosteriorAnalysis, output: int) -> None:
    axes.axhline(0.0, color=INK, linewidth=0.7)
    n, at = found.width, found.at
    limit = _mean_and_sigma(found.limit, output)
    theory = _mean_and_sigma(found.first_order, output)
    sampled = _mean_and_sigma(found.sampled, output)
    # d sigma = d(sigma^2) / (2 sigma); sigma is zero at an exact label, and has no error there.
    known = sampled[1] ** 2 > EXACT * np.max(sampled[1] ** 2)
    sigma = np.where(known, sampled[1], np.nan)
    errors = (
        found.sampled.mean_error[:, output],
        found.sampled.variance_error[:, output] / (2 * sigma),
    )
    style = ((MEAN, MARKERS[2], "mean"), (SIGMA, MARKERS[1], "standard deviation"))
    for k, (color, marker, words) in enumerate(style):
        axes.plot(found.t, n * (theory[k] - limit[k]), color=color, label=f"{words}, first order")
        axes.errorbar(
            found.t[at], n * (sampled[k] - limit[k][at]), n * errors[k], fmt=marker, color=color,
            markersize=4, capsize=2, elinewidth=1.1, label=f"{words}, networks",
        )  # fmt: skip


def _mean_and_sigma(theory, output: int) -> tuple[np.ndarray, np.ndarray]:
    # Rounding, or a first order out of its range, leaves a variance below zero.
    variance = np.maximum(np.asarray(theory.variance)[:, output], 0.0)
    return np.asarray(theory.mean)[:, output], np.sqrt(variance)
