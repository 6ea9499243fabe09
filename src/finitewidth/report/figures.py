"""The figures of one network: theory as lines, measured networks as points with error bars.

Hollow points are networks of the width asked for, as they are; filled points are measurements at
widths n and 2n extrapolated to infinite width, which is what the coefficients of the theory are.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import norm

from finitewidth.report.analysis import NTK_TENSORS, Analysis, spread_out
from finitewidth.report.angles import angle_in_degrees, measured_angle
from finitewidth.report.style import INK, MARKERS, SERIES, figure, layer_ticks, legend

#: V/(n K^2) above which a network is called too deep for its width, and half of the way there.
TOO_DEEP = 0.3
COMFORTABLE = 0.1

#: Inputs or pairs of inputs in one figure.
SHOWN = 3
#: A kernel that changes by more than this factor is drawn on a logarithmic axis.
LOG_RANGE = 4.0


class Drawing(NamedTuple):
    """A figure and what is said below it."""

    figure: Figure
    title: str
    caption: str


def kernel(run: Analysis) -> Drawing:
    """Draw the mean square of the preactivations of a few inputs by layer."""
    fig, axes = figure("layer", "mean square preactivation $G_{aa}$")
    metric = np.asarray(run.flow.metric)
    measured = run.at_width["metric"]
    spread = np.sqrt(np.asarray(run.flow.normalized_vertex))
    a = run.typical
    centre = metric[:, a, a]
    axes.fill_between(
        run.layers,
        centre * np.maximum(1 - spread[:, a], 0.0),
        centre * (1 + spread[:, a]),
        color=SERIES[1],
        alpha=0.15,
        linewidth=0,
        label=f"one network in three is outside (input {a})",
    )
    for k, b in enumerate(_inputs(run)):
        axes.plot(run.layers, metric[:, b, b], color=SERIES[k], label=f"theory, input {b}")
        _points(axes, run, measured.value[:, b, b], measured.standard_error[:, b, b], k)
    layer_ticks(axes, run.layers.tolist())
    shown = [metric[:, b, b] for b in _inputs(run)]
    if np.min(shown) > 0 and np.max(shown) > LOG_RANGE * np.min(shown):
        axes.set_yscale("log")
        axes.set_ylim(0.5 * np.min(shown), 1.5 * np.max(shown))
    else:
        axes.set_ylim(bottom=0.0)
    legend(axes)
    return Drawing(
        fig,
        f"{run.name}: kernel flow",
        f"Lines: K + G¹/n. Points: {measured.samples} networks of width {run.width}, mean and "
        "standard error (often smaller than the point). Band: the spread from one network to the "
        "next, K (1 ± √(V/n)/K).",
    )


def shift(run: Analysis) -> Drawing:
    """Draw the 1/n shift of the mean square, where finite width shows first."""
    fig, axes = figure("layer", "relative shift times width, $n\\,(G_{aa}-K_{aa})/K_{aa}$")
    K = np.asarray(run.flow.kernel)
    theory = np.asarray(run.flow.nlo_metric)
    narrow, limit = run.at_width["nlo_metric"], run.limit["nlo_metric"]
    a = run.typical
    scale = K[:, a, a]
    _theory_and_points(
        axes, run, theory[:, a, a] / scale, _over(narrow, (a, a), scale),
        _over(limit, (a, a), scale), 0, f"input {a}",
    )  # fmt: skip
    pairs = _pairs(run)
    if pairs:
        b, c = pairs[len(pairs) // 2]
        scale = np.sqrt(K[:, b, b] * K[:, c, c])
        _theory_and_points(
            axes, run, theory[:, b, c] / scale, _over(narrow, (b, c), scale),
            _over(limit, (b, c), scale), 1, f"pair ({b}, {c})",
        )  # fmt: skip
    axes.axhline(0.0, color=INK, linewidth=0.7)
    layer_ticks(axes, run.layers.tolist())
    legend(axes)
    return Drawing(
        fig,
        f"{run.name}: shift of the kernel by finite width",
        "How far the mean over networks lies from the kernel of infinite width. "
        "For a pair of inputs (a, b): G_ab and K_ab, in units of √(K_aa K_bb).",
    )


def angle(run: Analysis) -> Drawing | None:
    """Draw the angle between the preactivations of two inputs by layer; None for one input."""
    pairs = _pairs(run)
    if not pairs:
        return None
    fig, axes = figure("layer", "angle between two inputs (degrees)")
    metric = np.asarray(run.flow.metric)
    for k, pair in enumerate(pairs):
        a, b = pair
        axes.plot(
            run.layers, angle_in_degrees(metric, a, b), color=SERIES[k], label=f"theory, {pair}"
        )
        value, error = measured_angle(run, a, b)
        _points(axes, run, value, error, k)
    layer_ticks(axes, run.layers.tolist())
    axes.set_ylim(bottom=0.0)
    legend(axes)
    return Drawing(
        fig,
        f"{run.name}: angle flow",
        "cos ψ = G_ab / √(G_aa G_bb), from the mean metric at the width of the network. Inputs "
        "whose angle shrinks to zero look the same to the layers above.",
    )


def vertex(run: Analysis) -> Drawing:
    """Draw the relative variance of the mean square over networks by layer."""
    fig, axes = figure("layer", "$V_{(aa)(aa)}/(n K_{aa}^2)$")
    theory = np.asarray(run.flow.normalized_vertex)
    fan_in = np.asarray(run.flow.fan_in, dtype=float)
    K = np.asarray(run.flow.kernel)
    for k, a in enumerate(_inputs(run)):
        scale = fan_in * K[:, a, a] ** 2
        _theory_and_points(
            axes, run, theory[:, a], _over(run.at_width["vertex"], (a,) * 4, scale),
            _over(run.limit["vertex"], (a,) * 4, scale), k, f"input {a}", offset=0.09 * (k - 1),
        )  # fmt: skip
    top = axes.get_ylim()[1]
    for level, words in ((TOO_DEEP, "too deep above"), (COMFORTABLE, "comfortable below")):
        if level < 1.3 * top:
            axes.axhline(level, color=INK, linewidth=0.8, linestyle=(0, (4, 3)), alpha=0.6)
            axes.text(
                run.layers[-1], level, f"{words} {level}", color=INK, fontsize=8, va="bottom",
                ha="right",
            )  # fmt: skip
    layer_ticks(axes, run.layers.tolist())
    axes.set_ylim(bottom=0.0)
    legend(axes, loc="upper left")
    return Drawing(
        fig,
        f"{run.name}: vertex growth",
        f"The relative variance of the mean square from one network to the next, at width "
        f"{run.width}. Its square root is the run-to-run spread.",
    )


def depth(run: Analysis) -> Drawing:
    """Draw the same for deeper networks of the same width."""
    fig, axes = figure("depth", "$V/(n K^2)$ at the output")
    curve = run.depth_curve
    layers = np.arange(1, len(curve) + 1)
    axes.loglog(layers[1:], curve[1:], color=SERIES[0], label=f"theory, width {run.width}")
    for k, level in enumerate((COMFORTABLE, TOO_DEEP, 1.0)):
        limit = run.depth_within(level)
        if limit is not None and limit >= 1:
            axes.plot(
                [limit], [curve[limit - 1]], MARKERS[k + 1], color=SERIES[k + 1],
                label=f"V/(nK²) ≤ {level}: {limit} layer{'s' if limit > 1 else ''}",
            )  # fmt: skip
    own = (run.net.depth, curve[run.net.depth - 1])
    axes.vlines(own[0], 0, own[1], color=INK, linewidth=0.8, linestyle=(0, (4, 3)), alpha=0.6)
    axes.annotate(
        f" this network,\n {run.net.depth} layers", (run.net.depth, curve[1:].min()), fontsize=8,
        color=INK, va="bottom",
    )  # fmt: skip
    legend(axes, loc="upper left")
    return Drawing(
        fig,
        f"{run.name}: how deep the width allows",
        "Leading order for the typical input; where V/(nK²) comes near 1 the expansion in "
        "depth/width itself breaks down.",
    )


def tangent_kernel(run: Analysis) -> Drawing:
    """Draw the mean NTK of a few inputs by layer, and how far single networks are from it."""
    fig, axes = figure("layer", "neural tangent kernel")
    theory = np.asarray(run.ntk.mean)
    ones = np.ones(run.net.depth)
    a = run.typical
    spread = np.asarray(run.ntk.relative_spread)[:, a, a] * theory[:, a, a]
    axes.fill_between(
        run.layers, np.maximum(theory[:, a, a] - spread, 0.0), theory[:, a, a] + spread,
        color=SERIES[0], alpha=0.15, linewidth=0,
        label=f"one neuron in three is outside (input {a})",
    )  # fmt: skip
    curves = [((a, a), f"input {a}")]
    curves += [(pair, f"pair {pair}") for pair in _pairs(run)[:1]]
    for k, (entry, words) in enumerate(curves):
        _theory_and_points(
            axes, run, theory[:, entry[0], entry[1]], _over(run.at_width["ntk"], entry, ones),
            _over(run.limit["ntk"], entry, ones), k, words,
        )  # fmt: skip
    layer_ticks(axes, run.layers.tolist())
    axes.set_ylim(bottom=min(0.0, float(theory.min())))
    legend(axes, loc="upper left")
    return Drawing(
        fig,
        f"{run.name}: neural tangent kernel",
        f"With λ_b = λ_W = 1 in every layer. {run.at_width['ntk'].samples} networks with all "
        f"their weights at each width. Band: Θ ± √((A + 2B)/n) at width {run.width}.",
    )


def tangent_fluctuations(run: Analysis) -> Drawing:
    """Draw the relative fluctuations of the NTK of one input by layer."""
    fig, axes = figure("layer", "relative fluctuation at this width")
    a = run.typical
    K, Theta = (np.asarray(m)[:, a, a] for m in (run.ntk.kernel, run.ntk.mean))
    fan_in = np.asarray(run.flow.fan_in, dtype=float)
    scales = {"A": Theta**2, "B": Theta**2, "D": K * Theta, "F": K * Theta}
    words = {"A": "A/(nΘ²)", "B": "B/(nΘ²)", "D": "D/(nKΘ)", "F": "F/(nKΘ)"}
    for k, (name, scale) in enumerate(scales.items()):
        theory = np.einsum("laaaa->la", np.asarray(getattr(run.ntk, name).dense()))[:, a]
        first = (run.few.index(a),) * 4
        _theory_and_points(
            axes, run, theory / (fan_in * scale),
            _over(run.at_width[name], first, fan_in * scale),
            _over(run.limit[name], first, fan_in * scale), k, words[name], offset=0.06 * (k - 1.5),
        )  # fmt: skip
    axes.axhline(0.0, color=INK, linewidth=0.7)
    layer_ticks(axes, run.layers.tolist())
    legend(axes, loc="upper left")
    return Drawing(
        fig,
        f"{run.name}: fluctuations of the neural tangent kernel",
        f"Input {a}, width {run.width}. A: covariance of the NTK of two neurons; B: mean square of "
        "the NTK between two neurons; D: covariance of the NTK with the mean square preactivation; "
        "F: of the NTK between two neurons with both of their preactivations.",
    )


def contributions(run: Analysis) -> Drawing | None:
    """Draw what every layer gives to the output NTK; None without learning rates."""
    if run.rates is None:
        return None
    fig, axes = figure("layer", "share of the output NTK")
    curves = (
        (run.rates.uniform, "one rate for all layers", (0, (4, 3)), "none"),
        (run.rates.shares, "balanced rates", "solid", None),
    )
    for shares, words, dashes, face in curves:
        for k, (name, part) in enumerate((("biases", shares.bias), ("weights", shares.weight))):
            axes.plot(
                run.layers, np.asarray(part) / float(shares.total), MARKERS[k], linestyle=dashes,
                color=SERIES[k], markerfacecolor=face or SERIES[k], label=f"{name}, {words}",
            )  # fmt: skip
    layer_ticks(axes, run.layers.tolist())
    axes.set_ylim(0.0, 1.5 * axes.get_ylim()[1])
    legend(axes, loc="upper left")
    return Drawing(
        fig,
        f"{run.name}: which layers learn",
        "The parts of Θ(output) that come from the biases and the weights of each layer, at "
        f"infinite width and for inputs of the mean size of the data. {run.rates.principle}, "
        f"{run.rates.reference}.",
    )


def z_scores(run: Analysis) -> Drawing:
    """Draw the distribution of z over all compared entries."""
    fig, axes = figure("z = (measured - theory) / standard error", "density")
    edges = np.linspace(-5, 5, 21).tolist()
    alone = [(name,) for name in run.comparison.observables if name not in NTK_TENSORS]
    for k, names in enumerate((*alone, NTK_TENSORS)):
        z = np.concatenate([run.comparison.of(name).z for name in names])
        axes.hist(
            np.clip(z, -5, 5), edges, density=True, histtype="step", color=SERIES[k],
            linewidth=1.5, label=f"{', '.join(names)}: rms {np.sqrt(np.mean(z**2)):.2f}",
        )  # fmt: skip
    z = np.linspace(-5, 5, 201)
    axes.plot(
        z, norm.pdf(z), color=INK, linewidth=1, linestyle=(0, (4, 3)), label="standard normal"
    )
    legend(axes)
    return Drawing(
        fig,
        f"{run.name}: theory against measurement",
        "Each observable is measured on the same networks at all layers, so its entries move "
        "together: a curve may be shifted as a whole by about one.",
    )


#: All figures of a section, in order.
ALL: tuple[Callable[[Analysis], Drawing | None], ...] = (
    kernel,
    angle,
    shift,
    vertex,
    depth,
    tangent_kernel,
    tangent_fluctuations,
    contributions,
    z_scores,
)


def draw(run: Analysis) -> list[Drawing]:
    """Draw all figures of one network."""
    return [drawing for drawing in (make(run) for make in ALL) if drawing is not None]


def _inputs(run: Analysis) -> list[int]:
    alive = np.flatnonzero(run.size > 0)
    return alive[spread_out(run.size[alive], SHOWN)].tolist()


def _pairs(run: Analysis) -> list[tuple[int, int]]:
    alive = np.flatnonzero(run.size > 0).tolist()
    pairs = [(a, b) for a in alive for b in alive if a < b]
    if not pairs:
        return []
    first = np.asarray(run.flow.kernel)[:1]
    angles = np.array([angle_in_degrees(first, a, b)[0] for a, b in pairs])
    return [pairs[p] for p in spread_out(angles, SHOWN)]


def _over(
    estimate, entry: tuple[int, ...], scale: Float[np.ndarray, " L"]
) -> tuple[Float[np.ndarray, " L"], Float[np.ndarray, " L"]]:
    which = (slice(None), *entry)
    return estimate.value[which] / scale, estimate.standard_error[which] / scale


def _points(
    axes: Axes,
    run: Analysis,
    value: Float[np.ndarray, " L"],
    error: Float[np.ndarray, " L"],
    k: int,
    hollow: bool = True,
    offset: float = 0.0,
    label: str | None = None,
) -> None:
    axes.errorbar(
        run.layers + offset,
        value,
        error,
        fmt=MARKERS[k],
        color=SERIES[k],
        markerfacecolor="none" if hollow else SERIES[k],
        markersize=5.5 if hollow else 4.0,
        capsize=2,
        elinewidth=1.1,
        label=label,
    )


def _theory_and_points(
    axes: Axes,
    run: Analysis,
    theory: Float[np.ndarray, " L"],
    narrow: tuple[np.ndarray, np.ndarray],
    limit: tuple[np.ndarray, np.ndarray],
    k: int,
    words: str,
    offset: float = 0.0,
) -> None:
    axes.plot(run.layers, theory, color=SERIES[k], label=f"theory, {words}")
    first = k == 0
    _points(
        axes, run, *narrow, k, hollow=True, offset=offset,
        label=f"networks of width {run.width}" if first else None,
    )  # fmt: skip
    _points(
        axes, run, *limit, k, hollow=False, offset=offset + 0.1,
        label="extrapolated from n and 2n" if first else None,
    )  # fmt: skip
