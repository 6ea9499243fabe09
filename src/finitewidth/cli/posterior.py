"""What `finitewidth posterior` computes: labelled samples from data, tables and JSON."""

from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from finitewidth.cli.json_text import json_text, network_content
from finitewidth.cli.tuning import check_tuning, tuned
from finitewidth.report.labelled import labelled_samples
from finitewidth.report.posterior import PosteriorAnalysis, analyze_posterior
from finitewidth.report.progress import progress_bar
from finitewidth.validation import check_count


def posterior_of(
    activation: str,
    depth: int,
    width: int,
    data: str,
    train: int,
    points: int,
    noise: float,
    networks: int,
    seed: int,
    C_b: float | None = None,
    C_W: float | None = None,
    progress: bool = False,
) -> PosteriorAnalysis:
    """Build the network that the options describe and condition it on samples of the data.

    Args:
        activation: name of the activation.
        depth: number of layers L, the output included; at least 2.
        width: hidden width n.
        data: `"digits"` or a .npz file with arrays `x` and `y`.
        train: number of labelled samples, of as many classes as there can be; at least 2.
        points: points of the line at which networks are sampled.
        noise: variance of the noise of the labels.
        networks: networks to sample.
        seed: seed of the choice of samples and of the networks.
        C_b: bias variance, critical if neither is given.
        C_W: weight variance, critical if neither is given.
        progress: show a progress bar on stderr.

    Returns:
        The posterior along the line. Classes that are drawn become one output each, with centred
        targets; real labels are targets as they are.

    Raises:
        ValueError, TypeError, FileNotFoundError: if an option is not what it should be.
    """
    check_tuning(C_b, C_W)
    depth = check_count(depth, "depth", least=2)
    width = check_count(width, "width")
    x, y, names, inputs = labelled_samples(data, train, seed)
    net = tuned((x.shape[1], *[width] * (depth - 1), y.shape[1]), activation, C_b, C_W)
    with progress_bar(progress) as report:
        return analyze_posterior(
            net, x, y, noise, points, networks, seed, names, inputs, progress=report
        )


def print_posterior(found: PosteriorAnalysis, console: Console | None = None) -> None:
    """Print evidence and agreement with the networks as a table."""
    console = console or Console()
    console.print(
        f"[bold]{escape(repr(found.net))}[/]\ngiven {len(found.x)} labels with noise of variance "
        f"{found.noise:g}",
        highlight=False,
    )
    summary = found.summary()
    evidence = summary["log_evidence"]
    table = Table(box=SIMPLE_HEAD, padding=(0, 1))
    table.add_column("", no_wrap=True)
    for heading in ("log-evidence", "z", "rms z, mean", "rms z, variance"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name in ("infinite_width", "first_order"):
        z = summary[name]
        table.add_row(
            name.replace("_", " "), f"{evidence[name]:.4f}", f"{z['log_evidence_z']:.2f}",
            f"{z['mean_rms_z']:.2f}", f"{z['variance_rms_z']:.2f}",
        )  # fmt: skip
    error = evidence["networks_error"]
    table.add_row(f"{summary['networks']} networks", f"{evidence['networks']:.4f} ± {error:.1g}")
    console.print(table)
    console.print(
        f"M:W:M = {summary['expansion_parameter']:.3g}, {summary['effective_networks']:.0f} "
        "effective networks. z: (networks - theory) / standard error.",
        highlight=False,
    )


def to_json(found: PosteriorAnalysis) -> str:
    """Return evidence, agreement and the values at the points of the networks as JSON."""
    at = found.at
    line: dict[str, Any] = {"t": found.t[at].tolist(), "outputs": list(found.names)}
    for name, theory in (("infinite_width", found.limit), ("first_order", found.first_order)):
        line[f"{name}_mean"] = np.asarray(theory.mean)[at].tolist()
        line[f"{name}_variance"] = np.asarray(theory.variance)[at].tolist()
    for name in ("mean", "mean_error", "variance", "variance_error"):
        line[f"networks_{name}"] = np.asarray(getattr(found.sampled, name)).tolist()
    content = {
        **network_content(found.net),
        "noise": found.noise,
        "inputs": list(found.names_of_inputs),
        "labels": found.y.tolist(),
        "u": found.ends[0],
        "v": found.ends[1],
        **found.summary(),
        "line": line,
    }
    return json_text(content)
