"""What `finitewidth flow` computes: networks from options, their flow, and tables of it."""

from collections.abc import Iterator

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from finitewidth.cli.json_text import json_text, network_content
from finitewidth.cli.tuning import check_rates, check_tuning, tuned, with_rates
from finitewidth.data import draw_samples, load_data
from finitewidth.flow import NTK, ntk

#: A table of more layers than this is thinned out in the middle.
MOST_ROWS = 24


def parse_widths(text: str) -> tuple[int, ...]:
    """Read hidden and output widths such as `100x10,50,10`: ten layers of 100, then 50, then 10.

    Raises:
        ValueError: if a part is not a width or a width x a number of layers.

    Example:
        >>> parse_widths("64x3,10")
        (64, 64, 64, 10)
    """
    widths: list[int] = []
    for part in text.split(","):
        width, _, count = part.strip().partition("x")
        if not (width.isdigit() and int(width) and (not _ or (count.isdigit() and int(count)))):
            raise ValueError(
                f"widths: wanted hidden and output widths such as 100x10,50,10, got {text!r}."
            )
        widths += [int(width)] * int(count or 1)
    return tuple(widths)


def flow_of(
    activation: str,
    widths: str,
    data: str,
    samples: int,
    seed: int,
    order: int,
    rates: str,
    C_b: float | None,
    C_W: float | None,
) -> NTK:
    """Build the network that the options describe and follow its statistics through the layers.

    Args:
        activation: name of the activation.
        widths: hidden and output widths, see `parse_widths`.
        data: `"digits"` or a file.
        samples: number of samples drawn from the data.
        seed: seed of the choice of samples.
        order: 0 or 1.
        rates: one of `tuning.RATES`.
        C_b: bias variance, critical if neither is given.
        C_W: weight variance, critical if neither is given.

    Returns:
        The statistics of preactivations and NTK.

    Raises:
        ValueError, TypeError, FileNotFoundError: if an option is not what it should be.
    """
    check_rates(rates)
    check_tuning(C_b, C_W)
    above = parse_widths(widths)
    x = draw_samples(load_data(data).x, samples, seed, data)
    net = tuned((x.shape[1], *above), activation, C_b, C_W)
    return ntk(with_rates(net, x, rates), x, order=order)


def rows_of(result: NTK) -> list[dict[str, float | int]]:
    """Return one row per layer, averaged over the inputs."""
    kernel, mean, metric, shifted = (
        np.einsum("laa->la", np.asarray(matrix)).mean(axis=1)
        for matrix in (
            result.kernel, result.mean, result.preactivations.metric, result.corrected_mean
        )
    )  # fmt: skip
    rates = (np.asarray(result.net.lambda_b), np.asarray(result.net.lambda_W))
    rows: list[dict[str, float | int]] = []
    for layer, fan_in in enumerate(result.fan_in):
        row: dict[str, float | int] = {
            "layer": layer + 1, "fan_in": int(fan_in),
            "lambda_b": rates[0][layer], "lambda_W": rates[1][layer],
            "K": kernel[layer], "Theta": mean[layer],
        }  # fmt: skip
        if result.order:
            spread = np.asarray(result.preactivations.normalized_vertex)[layer].mean()
            row |= {
                "metric": metric[layer],
                "metric_spread": float(np.sqrt(spread)),
                "ntk": shifted[layer],
                "ntk_spread": float(np.diagonal(np.asarray(result.relative_spread)[layer]).mean()),
            }
        rows.append({name: value if isinstance(value, int) else float(value)
                     for name, value in row.items()})  # fmt: skip
    return rows


def print_flow(result: NTK, console: Console | None = None) -> None:
    """Print kernel and NTK layer by layer, means over the inputs."""
    console = console or Console()
    console.print(f"[bold]{escape(repr(result.net))}[/], {result.mean.shape[1]} inputs")
    table = Table(
        title="averages over the inputs", title_justify="left", box=SIMPLE_HEAD, padding=0
    )
    headings = {
        "layer": "layer", "fan_in": "fan-in", "lambda_b": "λ_b", "lambda_W": "λ_W", "K": "K",
        "metric": "E G", "metric_spread": "± G", "Theta": "Θ", "ntk": "E H", "ntk_spread": "± H",
    }  # fmt: skip
    rows = rows_of(result)
    shown = [name for name in headings if name in rows[0]]
    for name in shown:
        table.add_column(headings[name], justify="right", no_wrap=True)
    for row in _thinned(rows):
        table.add_row(*("..." if row is None else _cell(name, row[name]) for name in shown))
    console.print(table)
    if result.order:
        console.print(
            "K, Θ: infinite width; E G, E H: means of metric and NTK at this width; "
            "±: spread from one network to the next.",
            highlight=False,
        )


def to_json(result: NTK) -> str:
    """Return the rows and the network as JSON."""
    return json_text(
        {
            **network_content(result.net),
            "order": result.order,
            "inputs": int(result.mean.shape[1]),
            "layers": rows_of(result),
        }
    )


def _thinned(rows: list[dict]) -> Iterator[dict | None]:
    if len(rows) <= MOST_ROWS:
        yield from rows
        return
    half = MOST_ROWS // 2
    yield from rows[:half]
    yield None
    yield from rows[-half:]


def _cell(name: str, value: float | int) -> str:
    if name.endswith("spread"):
        return f"{100 * value:.3g}%"
    return str(value) if isinstance(value, int) else f"{value:.4g}"
