r"""What a practitioner should conclude from an analysis, in words.

The small parameter of a deep network is the relative variance of its mean square preactivation
from one initialization to the next, $r = V/(n K^2) \propto L/n$, PDLT (5.128)-(5.131). Networks
with $r \ll 1$ behave like the ensemble mean; at $r \sim 1$ every initialization is its own story.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import ArrayLike, Float

from finitewidth.report.analysis import Analysis
from finitewidth.report.angles import angle_in_degrees
from finitewidth.report.figures import COMFORTABLE, TOO_DEEP

#: Shares of the NTK that differ by more than this are worth a remark.
UNEVEN = 2.0

#: |x|^2/n0 outside this range is worth a remark.
USUAL_SIZE = (0.2, 5.0)


@dataclass(frozen=True)
class Conclusions:
    """Sentences about one network.

    Attributes:
        verdict: `"fine"`, `"strained"` or `"too deep"`, by V/(n K^2).
        headline: the verdict in one sentence.
        points: what else to know, most important first.
        agreement: whether the measured networks agree with the theory, in one sentence.
    """

    verdict: str
    headline: str
    points: tuple[str, ...]
    agreement: str


def conclude(run: Analysis) -> Conclusions:
    """Say what an analysis means for whoever trains the network."""
    return Conclusions(
        verdict=verdict(run.fluctuation),
        headline=_headline(run),
        points=tuple(
            point
            for point in (
                _tuning(run), _signal(run), _angles(run), _depths(run), _gradients(run),
                _rates(run), _data(run),
            )
            if point
        ),
        agreement=agreement(run),
    )  # fmt: skip


def verdict(fluctuation: float) -> str:
    """Return `"fine"`, `"strained"` or `"too deep"` for a value of V/(n K^2).

    Example:
        >>> verdict(0.05), verdict(0.2), verdict(0.6)
        ('fine', 'strained', 'too deep')
    """
    if fluctuation <= COMFORTABLE:
        return "fine"
    return "strained" if fluctuation <= TOO_DEEP else "too deep"


def width_for(run: Analysis, tolerance: float) -> int:
    """Return the hidden width at which V/(n K^2) falls to the tolerance at this depth."""
    return int(np.ceil(run.width * run.fluctuation / tolerance))


def agreement(run: Analysis) -> str:
    """Say whether the measured networks agree with the theory."""
    comparison = run.comparison
    worst = comparison.worst(1)[0]
    bias = {name: run.remainder(name) for name in comparison.observables}
    largest = max(bias, key=lambda name: bias[name])
    if comparison.systematic:
        sentence = (
            f"{len(comparison.systematic)} of {len(comparison)} entries are further from the "
            f"theory than chance allows (|z| > {comparison.threshold:.1f}); the worst is "
            f"{worst.observable} {worst.entry} at layer {worst.layer} with z = {worst.z:+.1f}."
        )
    else:
        sentence = (
            f"The networks agree with the theory: rms z = {comparison.rms_z:.2f} over "
            f"{len(comparison)} independent entries, and no |z| beyond chance "
            f"(largest {abs(worst.z):.1f}, chance reaches {comparison.threshold:.1f})."
        )
    if bias[largest] < 0.5:
        weight = "within the noise."
    elif bias[largest] < 1.5:
        weight = "as large as the noise."
    else:
        weight = "more than the noise: more networks will not help, a larger width will."
    return sentence + (
        " The extrapolation in width leaves corrections of order 1/n²; they are largest for "
        f"{largest}, about {bias[largest]:.1f} standard errors at the output, {weight}"
    )


def _headline(run: Analysis) -> str:
    r, L, n = run.fluctuation, run.net.depth, run.width
    spread = f"{100 * np.sqrt(r):.0f} %"
    if r <= COMFORTABLE:
        return (
            f"Depth {L} is fine for width {n}: from one initialization to the next the mean square "
            f"of the output varies by about {spread}."
        )
    if r <= TOO_DEEP:
        return (
            f"Depth {L} strains width {n}: from one initialization to the next the mean square of "
            f"the output varies by about {spread}. A width of {width_for(run, COMFORTABLE)} would "
            "be comfortable."
        )
    return (
        f"Depth {L} is too much for width {n}: from one initialization to the next the mean square "
        f"of the output varies by about {spread}. Use a width of at least "
        f"{width_for(run, TOO_DEEP)}, or fewer layers."
    )


def _tuning(run: Analysis) -> str:
    C_b, C_W = run.C_b, run.C_W
    critical = run.criticality
    if critical.C_W is None or critical.C_b is None:
        return (
            f"{run.name} has no critical initialization: with any choice of C_b and C_W signals "
            f"or gradients die out or blow up exponentially with depth. This page uses C_b = "
            f"{C_b:.6g}, C_W = {C_W:.6g}."
        )
    if np.isclose(C_b, critical.C_b) and np.isclose(C_W, critical.C_W):
        return (
            f"Initialize biases with variance C_b = {C_b:.6g} and weights with variance "
            f"C_W/fan_in, C_W = {C_W:.6g}: this is critical, signals and gradients neither "
            "explode nor die exponentially with depth."
        )
    return (
        f"The network is not critical: it has C_b = {C_b:.6g}, C_W = {C_W:.6g}; critical would be "
        f"C_b = {critical.C_b:.6g}, C_W = {critical.C_W:.6g}."
    )


def _signal(run: Analysis) -> str:
    a = run.typical
    metric = np.asarray(run.flow.metric)[:, a, a]
    first, last = float(metric[0]), float(metric[-1])
    ratio = last / first
    if 0.8 < ratio < 1.25:
        return (
            f"The mean square of the preactivations holds: {first:.3g} at layer 1, {last:.3g} at "
            f"layer {run.net.depth}."
        )
    how = "shrinks" if ratio < 1 else "grows"
    shift = 100 * (last / float(np.asarray(run.flow.kernel)[-1, a, a]) - 1)
    return (
        f"The mean square of the preactivations {how} from {first:.3g} at layer 1 to {last:.3g} at "
        f"layer {run.net.depth}; finite width accounts for {shift:+.1f} % of the last value."
    )


def _angles(run: Analysis) -> str:
    metric = np.asarray(run.flow.metric)
    alive = np.flatnonzero(run.size > 0).tolist()
    pairs = [(a, b) for a in alive for b in alive if a < b]
    if not pairs:
        return ""
    angles = np.mean([angle_in_degrees(metric, a, b) for a, b in pairs], axis=0)
    first, last = float(angles[0]), float(angles[-1])
    if last < 0.8 * first:
        meaning = "different inputs come to look alike, and deep layers have less to tell apart"
    elif last > 1.25 * first:
        meaning = "similar inputs are driven apart, and deep layers generalize less between them"
    else:
        meaning = "the network keeps what makes inputs different"
    return (
        f"The mean angle between two inputs goes from {first:.1f}° at layer 1 to {last:.1f}° at "
        f"layer {run.net.depth}: {meaning}."
    )


def _depths(run: Analysis) -> str:
    def depth(tolerance: float) -> str:
        limit = run.depth_within(tolerance)
        return f"more than {len(run.depth_curve)}" if limit is None else str(limit)

    return (
        f"At width {run.width}, V/(nK²) stays below {COMFORTABLE} (run-to-run spread "
        f"{100 * COMFORTABLE**0.5:.0f} %) up to depth {depth(COMFORTABLE)}, and below {TOO_DEEP} "
        f"(spread {100 * TOO_DEEP**0.5:.0f} %) up to depth {depth(TOO_DEEP)}. The ratio "
        "depth/width is what counts: twice the width allows twice the depth."
    )


def _gradients(run: Analysis) -> str:
    theta = np.einsum("laa->l", np.asarray(run.ntk.mean)) / len(run.x)
    spread = float(np.asarray(run.ntk.relative_spread)[-1, run.typical, run.typical])
    return (
        f"The mean neural tangent kernel Θ_aa is {theta[-1]:.3g} at the output, "
        f"{theta[-1] / theta[0]:.3g} times that of a single layer, and that of a neuron varies by "
        f"about {100 * spread:.0f} % from one initialization to the next. With learning rate η for "
        "biases and η/fan-in for weights, gradient descent on the mean squared error (half of it) "
        f"starts stably for η below 2/Θ_aa = {2 / theta[-1]:.2g}."
    )


def _rates(run: Analysis) -> str:
    rates = run.rates
    if rates is None:
        return ""
    uneven = rates.uniform_imbalance["layer"]
    if uneven < UNEVEN:
        now = "With one rate for all layers each gives about as much to the neural tangent kernel"
    else:
        times = f"{uneven:.2g} times" if np.isfinite(uneven) else "infinitely"
        now = (
            f"With one rate for all layers some give {times} as much to the neural tangent kernel "
            "as others"
        )
    return (
        f"{now}. Step sizes that make all layers learn alike at any depth: "
        f"{_range(rates.bias_step)} for biases and {_range(rates.weight_step)} for weights; they "
        f"bring Θ_aa to {rates.output_ntk:.3g} at the output."
    )


def _range(steps: Float[ArrayLike, " L"]) -> str:
    first, last = (float(step) for step in np.asarray(steps)[[0, -1]])
    if np.isclose(first, last, rtol=0.01):
        return f"η·{first:.3g}"
    return f"η·{first:.3g} (first layer) to η·{last:.3g} (last)"


def _data(run: Analysis) -> str:
    size = float(np.mean(run.x**2))
    if USUAL_SIZE[0] <= size <= USUAL_SIZE[1]:
        return ""
    return (
        f"The inputs have a mean |x|²/n₀ of {size:.3g}; dividing them by {np.sqrt(size):.3g} would "
        "bring it to 1, where the critical tuning is meant to start."
    )
