"""The criticality of an activation in one object, and of an initialization that someone chose.

`analyze` answers: can deep networks with this activation be critical, at which C_b and C_W, and
what then happens with depth? `analyze_initialization` answers, for given C_b and C_W: where does
the kernel go, and over how many layers are norms and angles forgotten?
"""

import math
from collections.abc import Callable
from functools import lru_cache

import equinox as eqx

from finitewidth.activations import Activation
from finitewidth.criticality.advice import advice_for
from finitewidth.criticality.asymptotics import Asymptotic
from finitewidth.criticality.fixed_points import FixedPoint, fixed_points
from finitewidth.criticality.moments import described
from finitewidth.criticality.susceptibilities import check_variance
from finitewidth.criticality.universality import classify
from finitewidth.precision import in_double_precision


class Criticality(eqx.Module):
    """What depth does to networks with this activation, and how to tune them.

    Attributes:
        activation: name of sigma.
        universality_class: "scale-invariant", "K*=0", "half-stable" or "none".
        subclass: how sigma behaves at 0, for the class K*=0; else None.
        C_b: critical bias variance; None for the class "none".
        C_W: critical rescaled weight variance; None for the class "none".
        K_star: fixed point of the kernel; None if every kernel is one or for the class "none".
        chi_parallel: 1 at a critical point; None for the class "none".
        chi_perp: same.
        constants: what the exponents and amplitudes are made of.
        asymptotics: one entry per exponent.
        fixed_points: the recommended critical point, other critical points (they have their own
            C_b and C_W), then the other fixed points at the recommended hyperparameters.
        reasons: in words, why critical points were rejected or do not exist.
        advice: in words, what to do.
    """

    activation: str
    universality_class: str
    subclass: str | None
    C_b: float | None
    C_W: float | None
    K_star: float | None
    chi_parallel: float | None
    chi_perp: float | None
    constants: dict[str, float]
    asymptotics: tuple[Asymptotic, ...]
    fixed_points: tuple[FixedPoint, ...]
    reasons: tuple[str, ...]
    advice: tuple[str, ...]

    @property
    def exponents(self) -> dict[str, float | None]:
        """The critical exponents p_0, p_parallel, p_perp, p_psi, p_V, p_1, PDLT (5.93)."""
        return {entry.name: entry.exponent for entry in self.asymptotics}

    @property
    def amplitudes(self) -> dict[str, float | None]:
        """The amplitude for each exponent, None where it depends on the data."""
        return {entry.name: entry.amplitude for entry in self.asymptotics}

    @property
    def notes(self) -> tuple[str, ...]:
        """Reasons and advice together."""
        return self.reasons + self.advice

    def to_dict(self) -> dict:
        """Return everything as plain numbers, strings, lists and dicts that JSON can hold.

        K_star is the string "any" for the scale-invariant class.
        """
        scale_invariant = self.universality_class == "scale-invariant"
        return {
            "activation": self.activation,
            "universality_class": self.universality_class,
            "subclass": self.subclass,
            "C_b": self.C_b,
            "C_W": self.C_W,
            "K_star": "any" if scale_invariant else self.K_star,
            "chi_parallel": self.chi_parallel,
            "chi_perp": self.chi_perp,
            "exponents": self.exponents,
            "amplitudes": self.amplitudes,
            "constants": {
                name: value if math.isfinite(value) else str(value)
                for name, value in self.constants.items()
            },
            "laws": {
                entry.name: {"law": entry.law, "reference": entry.reference}
                for entry in self.asymptotics
            },
            "fixed_points": [point.to_dict() for point in self.fixed_points],
            "reasons": list(self.reasons),
            "advice": list(self.advice),
        }

    def summary(self) -> str:
        """Return the analysis as text for people."""
        name = self.universality_class + (f" ({self.subclass})" if self.subclass else "")
        lines = [f"{self.activation}: universality class {name}"]
        if self.C_W is not None:
            where = "any" if self.K_star is None else f"{self.K_star:.9g}"
            lines.append(f"  critical at C_b = {self.C_b:.9g}, C_W = {self.C_W:.9g}, K* = {where}")
        if self.constants:
            values = ", ".join(f"{key} = {value:.9g}" for key, value in self.constants.items())
            lines.append(f"  constants: {values}")
        for entry in self.asymptotics:
            exponent = "-" if entry.exponent is None else f"{entry.exponent:.6g}"
            lines.append(f"  {entry.name:<11}{exponent:>10}  {entry.law}  [{entry.reference}]")
        if self.fixed_points:
            lines.append("  fixed points:")
            lines += [f"    {point}" for point in self.fixed_points]
        lines += [f"  {note}" for note in self.notes]
        return "\n".join(lines)

    __str__ = summary

    def __repr__(self) -> str:
        return (
            f"Criticality({self.activation!r}, universality_class={self.universality_class!r}, "
            f"C_b={self.C_b}, C_W={self.C_W}, K_star={self.K_star})"
        )


@in_double_precision
def analyze(activation: str | Activation | Callable) -> Criticality:
    """Analyze the criticality of an activation: class, tuning, exponents, fixed points, advice.

    PDLT chapter 5: (5.55) and (5.71)-(5.73) for the tuning, sections 5.2-5.4 for the classes.

    Args:
        activation: name, `Activation` or elementwise JAX function.

    Returns:
        The analysis. C_b, C_W and K* to 1e-9 or better. Takes a second or two, of which most is
        compilation; the result is kept for the next call.

    Raises:
        ValueError, TypeError: if `activation` is not one.

    Example:
        >>> result = analyze("gelu")
        >>> result.universality_class, round(result.C_b, 8), round(result.C_W, 8)
        ('half-stable', 0.17292239, 1.98305826)
    """
    return _analyze(described(activation))


@lru_cache(maxsize=128)
@in_double_precision
def _analyze(sigma: Activation) -> Criticality:
    universality = classify(sigma)
    tuning = universality.tuning
    chosen = tuning.points[0] if tuning.recommended else None
    known = tuning.points
    if chosen is not None:
        others = fixed_points(sigma, chosen.C_b, chosen.C_W)
        known += tuple(point for point in others if not _same(point, chosen))
    return Criticality(
        activation=sigma.name,
        universality_class=universality.name,
        subclass=universality.subclass,
        C_b=chosen.C_b if chosen else None,
        C_W=chosen.C_W if chosen else None,
        K_star=chosen.K_star if chosen else None,
        chi_parallel=chosen.chi_parallel if chosen else None,
        chi_perp=chosen.chi_perp if chosen else None,
        constants=universality.constants,
        asymptotics=universality.asymptotics,
        fixed_points=known,
        reasons=tuning.reasons,
        advice=advice_for(sigma, universality),
    )


def _same(a: FixedPoint, b: FixedPoint) -> bool:
    if a.K_star is None or b.K_star is None:
        return a.K_star is b.K_star
    return math.isclose(a.K_star, b.K_star, rel_tol=1e-6)


class Initialization(eqx.Module):
    """Where the kernel of a deep network goes at hyperparameters that someone chose.

    Attributes:
        activation: name of sigma.
        C_b: bias variance.
        C_W: rescaled weight variance.
        fixed_points: all of them, in ascending order.
        reached: the one that a first-layer kernel of `start` flows to; None if it stays where it
            is (scale-invariant sigma at criticality).
        start: kernel of the first layer.
    """

    activation: str
    C_b: float
    C_W: float
    fixed_points: tuple[FixedPoint, ...]
    reached: FixedPoint | None
    start: float

    @property
    def phase(self) -> str:
        """What becomes of nearby inputs: "ordered" if angles shrink, "chaotic" if they grow.

        "critical" if both susceptibilities are 1, "angle-preserving" if only chi_perp is.
        """
        if self.reached is None:
            return "critical"
        chi = self.reached.chi_perp
        if abs(chi - 1) < 1e-6:
            return "critical" if abs(self.reached.chi_parallel - 1) < 1e-6 else "angle-preserving"
        return "ordered" if chi < 1 else "chaotic"

    def to_dict(self) -> dict:
        """Return plain numbers, strings, lists and dicts that JSON can hold."""
        return {
            "activation": self.activation,
            "C_b": self.C_b,
            "C_W": self.C_W,
            "phase": self.phase,
            "start": self.start,
            "reached": self.reached.to_dict() if self.reached else None,
            "fixed_points": [point.to_dict() for point in self.fixed_points],
        }

    def summary(self) -> str:
        """Return the analysis as text for people."""
        lines = [f"{self.activation} at C_b = {self.C_b:.9g}, C_W = {self.C_W:.9g}: {self.phase}"]
        if self.reached is None:
            lines.append(f"  the kernel stays at its first value, {self.start:g}")
        else:
            point = self.reached
            lines += [
                f"  from K = {self.start:g} the kernel flows to K* = {point.K_star:.9g}",
                f"  norms change by a factor e in {_layers(point.xi_parallel)}, "
                f"small angles squared in {_layers(point.xi_perp)}",
            ]
        lines += [f"    {point}" for point in self.fixed_points]
        return "\n".join(lines)

    __str__ = summary


@in_double_precision
def analyze_initialization(
    activation: str | Activation | Callable, C_b: float, C_W: float, start: float = 1.0
) -> Initialization:
    """Say where the kernel goes and how fast norms and angles change at given hyperparameters.

    PDLT (5.7), (5.9), (5.48).

    Args:
        activation: name, `Activation` or elementwise JAX function.
        C_b: bias variance.
        C_W: rescaled weight variance.
        start: kernel K^(1) of the first layer, C_b + C_W |x|^2/n_0.

    Returns:
        All fixed points with their susceptibilities and correlation depths, and the one reached.

    Raises:
        ValueError: if a number is negative, NaN or infinite.

    Example:
        >>> selu = analyze_initialization("selu", C_b=0.0, C_W=1.0)
        >>> selu.phase, round(selu.reached.chi_parallel, 8)
        ('chaotic', 0.78264788)
    """
    sigma = described(activation)
    points = fixed_points(sigma, C_b, C_W)
    start = float(check_variance(start, "start"))
    return Initialization(
        sigma.name, float(C_b), float(C_W), points, _destination(points, start), start
    )


def _destination(points: tuple[FixedPoint, ...], start: float) -> FixedPoint | None:
    """Follow the flow between fixed points: it cannot pass one of them if g rises."""
    known = [(point.K_star, point) for point in points if point.K_star is not None]
    above = [point for K, point in known if K >= start]
    below = [point for K, point in known if K < start]
    if above and (above[0].K_star == start or above[0].attracts_from in ("both", "below")):
        return above[0]
    return below[-1] if below and below[-1].attracts_from in ("both", "above") else None


def _layers(depth: float) -> str:
    if math.isinf(depth):
        return "no finite number of layers"
    return f"{abs(depth):.4g} layers ({'decaying' if depth > 0 else 'growing'})"
