"""How figures look: on light and dark pages, on paper, and without colour.

Figures are inline SVG with a transparent background. Text and axes are drawn in one stand-in
colour that is replaced by `currentColor`, so they follow the text colour of the page; the series
colours are readable on white and on dark grey, and every series has its own marker.
"""

from collections.abc import Sequence
from io import BytesIO, StringIO
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

#: Stands for the text colour of the page.
INK = "#0b0c0d"
SERIES = ("#2f7ed8", "#e07b22", "#2f9e68", "#a55fc9", "#c2496b", "#8a8a1f")
MARKERS = ("o", "s", "^", "D", "v", "P")

_SETTINGS: dict[Any, Any] = {
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "font.size": 9.5,
    "axes.labelsize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.grid": True,
    "grid.color": INK,
    "grid.alpha": 0.12,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.5,
    "mathtext.fontset": "dejavusans",
    "svg.fonttype": "path",
    "svg.hashsalt": "finitewidth",
}


def figure(xlabel: str, ylabel: str) -> tuple[Figure, Axes]:
    """Return an empty figure with one pair of labelled axes, in the style of the report."""
    with mpl.rc_context(_SETTINGS):
        fig = Figure(figsize=(5.2, 3.5), layout="constrained")
        axes = fig.add_subplot()
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)
    return fig, axes


def panels(
    rows: int, columns: int, size: tuple[float, float], heights: Sequence[float]
) -> tuple[Figure, np.ndarray]:
    """Return an empty figure with rows x columns panels that share their horizontal axis.

    Args:
        rows: number of rows.
        columns: number of columns.
        size: width and height in inches.
        heights: relative heights of the rows.

    Returns:
        The figure and its axes, an array of shape (rows, columns).
    """
    with mpl.rc_context(_SETTINGS):
        fig = Figure(figsize=size, layout="constrained")
        axes = fig.subplots(
            rows, columns, sharex="col", sharey="row", squeeze=False, height_ratios=heights
        )
    return fig, axes


def panels_over_one(
    columns: int, size: tuple[float, float], heights: tuple[float, float]
) -> tuple[Figure, np.ndarray, Axes]:
    """Return an empty figure with a row of panels of one height axis, and a wide one below them.

    Args:
        columns: number of panels above.
        size: width and height in inches.
        heights: relative heights of the two rows.

    Returns:
        The figure, the axes above, shape (columns,), and the axes below.
    """
    with mpl.rc_context(_SETTINGS):
        fig = Figure(figsize=size, layout="constrained")
        grid = fig.add_gridspec(2, columns, height_ratios=heights)
        above = [fig.add_subplot(grid[0, 0])]
        above += [fig.add_subplot(grid[0, k], sharey=above[0]) for k in range(1, columns)]
        for axes in above[1:]:
            axes.tick_params(labelleft=False)
        below = fig.add_subplot(grid[1, :])
    return fig, np.array(above), below


def legend_outside(fig: Figure, axes: Axes, side: str, columns: int) -> None:
    """Explain what is in one panel above ("upper") or below ("lower") all panels."""
    place: Any = f"outside {side} center"
    with mpl.rc_context(_SETTINGS):
        fig.legend(*axes.get_legend_handles_labels(), loc=place, ncols=columns)


def legend(axes: Axes, **options: object) -> None:
    """Add a legend if there is anything to explain."""
    if axes.get_legend_handles_labels()[0]:
        with mpl.rc_context(_SETTINGS):
            axes.legend(**options)  # type: ignore[arg-type]


def layer_ticks(axes: Axes, layers: Sequence[int]) -> None:
    """Put ticks on whole layers, about ten of them at most."""
    step = max(1, -(-len(layers) // 10))
    axes.set_xticks(list(layers)[::step])


def to_svg(fig: Figure, title: str) -> str:
    """Return a figure as an SVG element that can stand inside a page.

    Args:
        fig: the figure.
        title: what it shows, for readers who cannot see it.

    Returns:
        The element, without XML declaration, references to other files, or dates: the same figure
        gives the same text.
    """
    buffer = StringIO()
    metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
    with mpl.rc_context({**_SETTINGS, "svg.hashsalt": title}):
        fig.savefig(buffer, format="svg", metadata=metadata)
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    _, rest = text.split(">", 1)
    width, height = fig.get_size_inches()
    attributes = (
        f'<svg role="img" aria-label="{title}" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {72 * width:g} {72 * height:g}"'
    )
    return f"{attributes}>{rest}"


def to_file_content(fig: Figure, suffix: str, title: str) -> bytes:
    """Return a figure as the content of a file of its own, on white.

    Args:
        fig: the figure.
        suffix: ".svg", ".png" or ".pdf".
        title: what it shows; SVG and PDF carry it.

    Returns:
        The content, without dates: the same figure gives the same bytes.
    """
    metadata: dict[str, dict[str, str | None]] = {
        ".svg": {"Date": None, "Creator": None, "Title": title},
        ".png": {"Software": None},
        ".pdf": {"CreationDate": None, "Creator": None, "Title": title},
    }
    buffer = BytesIO()
    with mpl.rc_context({**_SETTINGS, "svg.hashsalt": title}):
        # The constrained layout starts from the last one: the second drawing is the first to stay.
        fig.draw_without_rendering()
        fig.savefig(
            buffer, format=suffix[1:], dpi=200, facecolor="white", metadata=metadata[suffix]
        )
    return buffer.getvalue()
