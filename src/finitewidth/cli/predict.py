"""What `finitewidth predict` computes: networks trained on samples from data, tables and JSON."""

from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from finitewidth.cli.json_text import json_text, network_content
from finitewidth.cli.tuning import check_rates, check_tuning, tuned, with_rates
from finitewidth.report.labelled import labelled_samples
from finitewidth.report.prediction import PredictionAnalysis, analyze_prediction
from finitewidth.report.progress import progress_bar
from finitewidth.validation import check_count


def prediction_of(
    activation: str,
    depth: int,
    width: int,
    data: str,
    train: int,
    points: int,
    networks: int,
    rates: str,
    steps: int,
    seed: int,
    C_b: float | None = None,
    C_W: float | None = None,
    progress: bool = False,
) -> PredictionAnalysis:
    """Build the network that the options describe and train an ensemble on samples of the data.

    Args:
        activation: name of the activation.
        depth: number of layers L, the output included; at least 2.
        width: hidden width n.
        data: `"digits"` or a .npz file with arrays `x` and `y`.
        train: number of labelled samples, of as many classes as there can be; at least 2.
        points: points of the line at which networks are looked at.
        networks: networks to train.
        rates: one of `tuning.RATES`.
        steps: steps of which the loss is followed.
        seed: seed of the choice of samples and of the networks.
        C_b: bias variance, critical if neither is given.
        C_W: weight variance, critical if neither is given.
        progress: show a progress bar on stderr.

    Returns:
        Predictions and trained networks along the line, and the loss by step. Classes that are
        drawn become one output each, with centred targets; real labels are targets as they are.

    Raises:
        ValueError, TypeError, FileNotFoundError: if an option is not what it should be.
    """
    check_tuning(C_b, C_W)
    check_rates(rates)
    depth = check_count(depth, "depth", least=2)
    width = check_count(width, "width")
    x, y, names, inputs = labelled_samples(data, train, seed)
    net = tuned((x.shape[1], *[width] * (depth - 1), y.shape[1]), activation, C_b, C_W)
    net = with_rates(net, x, rates)
    with progress_bar(progress) as report:
        return analyze_prediction(
            net, x, y, points, networks, seed, steps=steps, names=names, names_of_inputs=inputs,
            progress=report,
        )  # fmt: skip


def print_prediction(found: PredictionAnalysis, console: Console | None = None) -> None:
    """Print how trained networks agree with infinite width, and the loss by step, as a table."""
    console = console or Console()
    summary = found.summary()
    console.print(
        f"[bold]{escape(repr(found.net))}[/]\ntrained on {len(found.x)} labels until |z - y| <= "
        f"{summary['tolerance']:g}: {summary['networks']} networks, {summary['mean_steps']:.0f} "
        f"steps on average\nrms z against infinite width: {summary['mean_rms_z']:.2f} of the mean, "
        f"{summary['variance_rms_z']:.2f} of the variance",
        highlight=False,
    )
    table = Table(box=SIMPLE_HEAD, padding=(0, 1))
    for heading in ("step", "loss, infinite width", "± σ", "loss, networks", "± σ", "z"):
        table.add_column(heading, justify="right", no_wrap=True)
    history, measured = found.history, found.descended
    for step in _some_steps(found.steps):
        error = f"{measured.loss.standard_error[step]:.1g}"
        table.add_row(
            str(step), f"{float(history.mean[step]):.4g}",
            f"{float(history.standard_deviation[step]):.2g}",
            f"{measured.loss.value[step]:.4g} ± {error}",
            f"{measured.loss_spread.value[step]:.2g}", f"{found.loss_z()[step]:.2f}",
        )  # fmt: skip
    console.print(table)
    console.print(
        f"Loss by steps of eta = {summary['common_eta']:.4g} for all networks; σ: from network to "
        "network.\nz: (networks - theory) / standard error.",
        highlight=False,
    )


def to_json(found: PredictionAnalysis) -> str:
    """Return agreement, the values at the points of the networks and the loss by step as JSON."""
    at = found.at
    line: dict[str, Any] = {"t": found.t[at].tolist(), "outputs": list(found.names)}
    for statistic in ("mean", "variance"):
        value, error = found.networks(statistic)
        line[f"infinite_width_{statistic}"] = found.theory(statistic)[at].tolist()
        line[f"networks_{statistic}"] = value.tolist()
        line[f"networks_{statistic}_error"] = error.tolist()
    history, measured = found.history, found.descended
    summary = found.summary()
    del summary["loss"]  # below, at every step
    content = {
        **network_content(found.net),
        "inputs": list(found.names_of_inputs),
        "labels": found.y.tolist(),
        "u": found.ends[0],
        "v": found.ends[1],
        **summary,
        "line": line,
        "loss": {
            "infinite_width": np.asarray(history.mean).tolist(),
            "infinite_width_spread": np.asarray(history.standard_deviation).tolist(),
            "networks": measured.loss.value.tolist(),
            "networks_error": measured.loss.standard_error.tolist(),
            "networks_spread": measured.loss_spread.value.tolist(),
        },
    }
    return json_text(content)


def _some_steps(steps: int) -> list[int]:
    """Return 0, 1 and a few more steps, evenly spaced to the last."""
    return sorted({0, 1, *np.linspace(0, steps, 5).round().astype(int).tolist()})
