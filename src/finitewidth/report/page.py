"""Build the report: analyze, draw, conclude, and put everything on one self-contained page."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import ArrayLike, Float
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from finitewidth.activations import Activation, activation
from finitewidth.data import AS_THEY_ARE, describe, draw_samples, load_data
from finitewidth.network import MLP
from finitewidth.precision import double_precision
from finitewidth.report.analysis import Analysis, Progress, analyze_network
from finitewidth.report.conclusions import conclude
from finitewidth.report.figures import Drawing, draw
from finitewidth.report.labelled import labelled_samples
from finitewidth.report.overview import draw_overview
from finitewidth.report.prediction import PredictionAnalysis, analyze_prediction
from finitewidth.report.prediction_figure import draw_prediction
from finitewidth.report.progress import progress_bar
from finitewidth.report.reproduce import Settings, command, snippet, torch_snippet, versions
from finitewidth.report.style import to_svg
from finitewidth.report.writing import check_destination, write_whole
from finitewidth.validation import check_count, check_inputs

#: A dense vertex of more inputs than this makes a page that nobody reads.
MOST_INPUTS = 12
USUAL_INPUTS = 6
DEFAULT_OUT = "report.html"
#: Labelled samples that networks are trained on, points of the line between two of them, and steps
#: of the loss: later ones are far below what networks of one width keep.
TRAINED_ON, TRAINED_POINTS, TRAINED_STEPS = 2, 7, 30


@dataclass(frozen=True, eq=False)
class Report:
    """A finished page.

    Attributes:
        html: the page.
        analyses: what it is about, one per activation.
        trained: what training does to each of them, None if the data have no labels.
        settings: what was asked for.
    """

    html: str
    analyses: tuple[Analysis, ...]
    trained: tuple[PredictionAnalysis | None, ...]
    settings: Settings

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the page to a file, as a whole or not at all."""
        return write_whole(path, self.html)

    def __repr__(self) -> str:
        names = ", ".join(run.name for run in self.analyses)
        return f"Report({names}; {len(self.html) / 1e6:.1f} MB)"


def build_report(
    activations: str | Activation | Sequence[str | Activation],
    depth: int,
    width: int,
    data: str | os.PathLike[str] | ArrayLike = "digits",
    samples: int | None = None,
    networks: int = 20_000,
    ntk_networks: int = 1_000,
    seed: int = 0,
    C_b: float | None = None,
    C_W: float | None = None,
    out: str | os.PathLike[str] | None = None,
    progress: bool = False,
    trained_networks: int = 200,
) -> Report:
    """Compute the effective theory of networks, measure them, and write a page about both.

    For every activation: the critical tuning, kernel, angles, the 1/n shift, the vertex, the frozen
    NTK, each beside the measured ensemble, and what follows for a practitioner; for data with
    labels also what training does.

    Args:
        activations: one activation or several.
        depth: number of layers L, the output included; at least 2.
        width: hidden width n.
        data: `"digits"`, the path of a .npy, .npz or .csv file, or an array of shape (N, n0).
        samples: how many samples to draw from the data; 6, or all if there are fewer, if None.
        networks: networks measured at each of the widths n and 2n, without their weights.
        ntk_networks: networks measured at each of these widths with all their weights.
        seed: seed of the choice of samples and of the ensemble.
        C_b: bias variance; the critical one if neither C_b nor C_W is given.
        C_W: rescaled weight variance; the critical one if neither is given.
        out: file to write the page to; nothing is written if None.
        progress: show progress bars on stderr.
        trained_networks: networks to train on two labelled samples, at least 16; none if 0 or if
            the data have no labels.

    Returns:
        The page and the analyses it was made from.

    Raises:
        ValueError, TypeError, FileNotFoundError: if an argument is not what it should be; nothing
            is computed or written then.

    Cost: depth times networks times (3 width samples) normal numbers, and depth times ntk_networks
    times 5 width^2; about a minute per activation for the defaults at depth 8, width 64.

    Example:
        >>> import numpy as np
        >>> report = build_report(
        ...     "relu", depth=2, width=8, data=np.eye(2), networks=50, ntk_networks=4
        ... )
        >>> report.html.startswith("<!doctype html>")
        True
    """
    given = (activations,) if isinstance(activations, str | Activation) else tuple(activations)
    sigmas = tuple(dict.fromkeys(activation(one) for one in given))
    if not sigmas:
        raise ValueError("activations: wanted at least one, got none.")
    depth = check_count(depth, "depth", least=2)
    width = check_count(width, "width")
    networks = check_count(networks, "networks", least=10)
    ntk_networks = check_count(ntk_networks, "ntk_networks", least=2)
    seed = check_count(seed, "seed", least=0)
    trained_networks = check_count(trained_networks, "trained_networks", least=0)
    if out is not None:
        check_destination(out)
    x, source, description = _inputs(data, samples, seed)
    if len(x) > MOST_INPUTS:
        raise ValueError(
            f"samples: got {len(x)}, wanted at most {MOST_INPUTS}: the vertex has N^4 components."
        )
    if (C_b is None) != (C_W is None):
        raise ValueError("C_b, C_W: wanted both or neither (then they are the critical ones).")
    widths = (x.shape[1], *[width] * depth)
    nets = [
        MLP.critical(widths, s) if C_b is None or C_W is None else MLP(widths, s, C_b, C_W)
        for s in sigmas
    ]
    settings = Settings(
        activations=tuple(s.name for s in sigmas),
        depth=depth,
        width=width,
        data=source,
        samples=len(x),
        networks=networks,
        ntk_networks=ntk_networks,
        seed=seed,
        C_b=C_b,
        C_W=C_W,
        trained_networks=trained_networks,
    )
    with progress_bar(progress) as report:
        runs = tuple(
            analyze_network(net, x, networks, ntk_networks, seed, _named(report, net))
            for net in nets
        )
        trained = tuple(
            _trained(net, source, trained_networks, seed, _named(report, net)) for net in nets
        )
    page = Report(
        _render(runs, trained, settings, x, description, DEFAULT_OUT if out is None else str(out)),
        runs,
        trained,
        settings,
    )
    if out is not None:
        page.save(out)
    return page


def _named(report: Progress, net: MLP) -> Progress:
    return lambda what, done, total: report(f"{net.activation.name}: {what}", done, total)


def _trained(
    net: MLP, source: str | None, networks: int, seed: int, report: Progress
) -> PredictionAnalysis | None:
    """Train networks like this one on two samples, if the data have labels that differ."""
    if source is None or networks == 0:
        return None
    labels = load_data(source).labels
    if labels is None or len(np.unique(labels, axis=0)) < TRAINED_ON:
        return None
    x, y, names, inputs = labelled_samples(source, TRAINED_ON, seed)
    of_labels = MLP((*net.widths[:-1], y.shape[1]), net.activation, net.C_b, net.C_W)
    return analyze_prediction(
        of_labels, x, y, TRAINED_POINTS, networks, seed, steps=TRAINED_STEPS, names=names,
        names_of_inputs=inputs, progress=report,
    )  # fmt: skip


def _inputs(
    data: str | os.PathLike[str] | ArrayLike, samples: int | None, seed: int
) -> tuple[np.ndarray, str | None, str]:
    if isinstance(data, str | os.PathLike):
        loaded = load_data(data)
        everything, source, scaling = loaded.x, loaded.source, loaded.scaling
    else:
        with double_precision():
            everything = np.asarray(check_inputs(data, name="data"))
        source, scaling = None, AS_THEY_ARE
    if samples is None:
        samples = min(USUAL_INPUTS, len(everything))
    x = draw_samples(everything, samples, seed, source or "the array")
    return x, source, describe(x, len(everything), source or "an array", scaling)


def _render(
    runs: tuple[Analysis, ...],
    trained: tuple[PredictionAnalysis | None, ...],
    settings: Settings,
    x: Float[np.ndarray, "N n0"],
    data: str,
    out: str,
) -> str:
    environment = Environment(
        loader=PackageLoader("finitewidth.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": _number, "svg": _svg, "maths": _maths}
    return environment.get_template("report.html").render(
        runs=[_section(run, after) for run, after in zip(runs, trained, strict=True)],
        overview=draw_overview(runs) if len(runs) > 1 else [],
        settings=settings,
        data=data,
        shape=x.shape,
        size=float(np.mean(x**2)),
        command=command(settings, out),
        snippet=snippet(settings, out),
        versions=versions(),
    )


def _section(run: Analysis, trained: PredictionAnalysis | None) -> dict[str, Any]:
    C_b, C_W = run.C_b, run.C_W
    comparison = run.comparison
    return {
        "run": run,
        "name": run.name,
        "critical": run.criticality,
        "C_b": C_b,
        "C_W": C_W,
        "conclusions": conclude(run),
        "figures": draw(run),
        "trained": trained,
        "trained_figure": None if trained is None else draw_prediction(trained),
        "torch": torch_snippet(C_b, C_W),
        "rates": _rates(run),
        "comparison": comparison,
        "remainder": {name: run.remainder(name) for name in comparison.observables},
        "by_layer": {
            name: [comparison.of(name, layer).rms_z for layer in run.layers[1:].tolist()]
            for name in comparison.observables
        },
        "rows": {
            name: list(rows) for name, rows in groupby(comparison.rows, key=lambda r: r.observable)
        },
    }


def _rates(run: Analysis) -> list[dict[str, Any]]:
    if run.rates is None:
        return []
    table = run.rates.to_dict()
    columns = ("bias_step", "weight_step", "bias_share", "weight_share")
    return [
        {"layer": int(layer)} | {name: table[name][layer - 1] for name in columns}
        for layer in run.layers
    ]


def _svg(drawing: Drawing) -> Markup:
    # The text inside the SVG is our own; it is the one thing on the page that is not escaped.
    return Markup(to_svg(drawing.figure, drawing.title))


def _maths(text: str) -> Markup:
    """Set C_W, G_ab, l^-2 and their like with real subscripts and superscripts.

    Example:
        >>> str(_maths("dK_2 ~ l^-(b/q) & C_W/fan_in"))
        'dK<sub>2</sub> ~ l<sup>−(b/q)</sup> &amp; C<sub>W</sub>/fan_in'
    """
    words = {"parallel": "∥", "perp": "⊥", "psi": "ψ"}

    def subscript(match: re.Match[str]) -> str:
        return f"{match[1]}<sub>{words.get(match[2], match[2])}</sub>"

    def superscript(match: re.Match[str]) -> str:
        return f"<sup>{match[1].replace('-', '−')}</sup>"

    html = str(escape(text)).replace("a~_", "ã_").replace("chi_", "χ_")
    html = re.sub(r"\b(d?[^\W\d_])_(\w+)", subscript, html)
    return Markup(re.sub(r"\^(-?(?:\([^()]*\)|[\w.]+))", superscript, html))


def _number(value: float | None, digits: int = 4) -> str:
    """Write a number for a reader: a real minus sign, powers of ten only where needed."""
    if value is None:
        return "–"
    text = f"{float(value):.{digits}g}"
    if "e" in text:
        mantissa, exponent = text.split("e")
        text = f"{mantissa}·10^{int(exponent)}"
    return text.replace("-", "−")
