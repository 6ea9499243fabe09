r"""The depth at which the series of the information between neurons turns over.

    I(m_1, m_2) = (m_1 m_2/8) x^2 - m_1 m_2 (20 + 3 m_1 + 3 m_2) x^3/48                PDLT (A.71)
    x* = 4/(20 + 3 m_1 + 3 m_2),        I(x*) = (2/3) m_1 m_2/(20 + 3 m_1 + 3 m_2)^2
    r* = L/n = x*/nu;   m_1 = m_2 = n_L/2:   r* = 4/((20 + 3 n_L) nu)            PDLT (A.72)-(A.74)

with x = nu r: nu = 3 A_4/A_2^2 - 1 for scale-invariant activations (linear 2, ReLU 5), 2/3 for the
K* = 0 class and, derived here, s = C_W^2 Var(sigma^2)/K*^2 for the half-stable class at its fixed
point (SWISH 4.923, GELU 4.904).

At x* the second term is two thirds of the first, whatever the groups: x* is the scale at which the
expansion stops being reliable. The information itself has no maximum there. It goes on growing with
depth and is about twice the truncated value at x*, see `ScaleMixture`.
"""

from collections.abc import Callable

import equinox as eqx
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from finitewidth.activations import Activation
from finitewidth.criticality import Criticality, analyze
from finitewidth.flow.single_input import single_input_flow
from finitewidth.information.neuron_information import neuron_mutual_information
from finitewidth.precision import in_double_precision
from finitewidth.validation import check_count

#: How x follows from the aspect ratio.
X_MODES = ("book", "reexpanded", "recursion")
#: Depths looked through in `x_mode="recursion"`.
DEEPEST = 100_000


class AspectRatio(eqx.Module):
    """Where the truncated information between two groups of neurons is stationary.

    Attributes:
        activation: name of sigma.
        universality_class: of sigma.
        nu: growth of x with depth, x = nu L/n.
        m1: size of one group.
        m2: size of the other.
        ratio: r* = L/n.
        x: relative variance of the metric at r*.
        x_mode: how x follows from r.
        information: I through x^3 (or r^3), in nats, at r*.
        leading_information: its first term alone.
    """

    activation: str = eqx.field(static=True)
    universality_class: str = eqx.field(static=True)
    nu: float
    m1: float
    m2: float
    ratio: float
    x: float
    x_mode: str = eqx.field(static=True)
    information: float
    leading_information: float

    def depth(self, width: int) -> float:
        """Return the number of layers r* n of a network of equal hidden widths n."""
        return self.ratio * check_count(width, "width")

    def __repr__(self) -> str:
        return (
            f"{self.activation} ({self.universality_class}), groups of {self.m1:g} and "
            f"{self.m2:g} neurons: series of the information stationary at L/n = {self.ratio:.4g}, "
            f"I = {self.information:.4g} nats; a scale where the series ends, not a maximum"
        )


@in_double_precision
def optimal_aspect_ratio(
    activation: str | Activation | Callable,
    n_out: int | None = None,
    *,
    m1: int | None = None,
    m2: int | None = None,
    x_mode: str = "book",
    width: int | None = None,
    first_kernel: float = 1.0,
) -> AspectRatio:
    """Compute where the series of the information between neurons turns over, PDLT (A.72)-(A.74).

    r* = 4/((20 + 3 m1 + 3 m2) nu) for x = nu r.

    Args:
        activation: name, `Activation` or elementwise JAX function, at its critical initialization.
        n_out: n_L, split into two halves m1 = m2 = n_L/2 (also if odd, as the book does).
        m1: instead, size of one group.
        m2: and of the other.
        x_mode: "book" for x = nu r. "reexpanded" (scale-invariant only) for x = e^(nu r) - 1 to
            second order in r, which moves the stationary point to 4/((14 + 3 m1 + 3 m2) nu): a
            difference of the size of what the series leaves out. "recursion" for the x of a
            network of hidden width `width`, layer by layer, interpolated between layers.
        width: hidden width n for "recursion".
        first_kernel: K^(1) for "recursion"; half-stable activations need one at K* or beside it.

    Returns:
        The stationary point and the information there. Read the module before building a network
        by it: the information without truncation keeps growing.

    Raises:
        ValueError: if the activation has no critical point, neither or both of n_out and (m1, m2)
            are given, the mode is unknown or does not fit, or x* is not reached in 10^5 layers.

    Cost: that of `criticality.analyze`; for "recursion" that of a deep `flow.single_input_flow`.

    Example:
        >>> [round(optimal_aspect_ratio(s, 10).ratio, 4) for s in ("tanh", "linear", "relu")]
        [0.12, 0.04, 0.016]
        >>> round(optimal_aspect_ratio("relu", m1=1, m2=1, x_mode="reexpanded").ratio, 4)
        0.04
    """
    first, second = _groups(n_out, m1, m2)
    if x_mode not in X_MODES:
        raise ValueError(f"x_mode: wanted one of {X_MODES}, got {x_mode!r}.")
    if (width is None) != (x_mode != "recursion"):
        raise ValueError(f"width: wanted one for x_mode='recursion' only, got {width}.")
    analysis = analyze(activation)
    nu = _growth(analysis)
    total = first + second
    x = 4 / (20 + 3 * total)
    third = (20 + 3 * total) / 48
    if x_mode == "reexpanded":
        if analysis.universality_class != "scale-invariant":
            raise ValueError(
                "x_mode: wanted a scale-invariant activation for 'reexpanded', got "
                f"{analysis.activation}; use 'recursion'."
            )
        x, third = 4 / (14 + 3 * total), (14 + 3 * total) / 48
    ratio = x / nu
    if width is not None:
        ratio = _depth_where(activation, x, check_count(width, "width"), first_kernel) / width
    leading = first * second * x**2 / 8
    return AspectRatio(
        activation=analysis.activation,
        universality_class=analysis.universality_class,
        nu=nu,
        m1=first,
        m2=second,
        ratio=ratio,
        x=x,
        x_mode=x_mode,
        information=leading - first * second * third * x**3,
        leading_information=leading,
    )


@in_double_precision
def information_growth(activation: str | Activation | Callable) -> float:
    """Return nu, the relative variance of the metric gained per layer and neuron at criticality.

    x = nu L/n at large depth, PDLT (A.69), (A.70).

    Args:
        activation: name, `Activation` or elementwise JAX function.

    Returns:
        3 A_4/A_2^2 - 1, a third of it for the K* = 0 class, s for the half-stable class, in which
        it holds while the kernel is at its fixed point.

    Raises:
        ValueError: if the activation has no critical point.

    Example:
        >>> [round(information_growth(s), 3) for s in ("linear", "relu", "tanh", "gelu")]
        [2.0, 5.0, 0.667, 4.904]
    """
    return _growth(analyze(activation))


@in_double_precision
def information_by_depth(
    activation: str | Activation | Callable,
    depth: int,
    width: int,
    m1: int = 1,
    m2: int = 1,
    order: int = 2,
    first_kernel: float = 1.0,
) -> Float[Array, " L"]:
    """Compute the information between neurons of every layer at criticality, PDLT (A.67).

    Args:
        activation: name, `Activation` or elementwise JAX function.
        depth: number of layers L.
        width: width n of the hidden layers.
        m1: size of one group.
        m2: size of the other.
        order: 2 or 3, the highest power of x that is kept.
        first_kernel: K^(1).

    Returns:
        The information in nats of layers 1 .. L, with x from the recursion PDLT (5.109).

    Raises:
        ValueError: as for `flow.single_input_flow` and `neuron_mutual_information`.

    Example:
        >>> information_by_depth("linear", 3, 100).round(9).tolist()  # x = 2 (l - 1)/100
        [0.0, 5e-05, 0.0002]
    """
    flow = single_input_flow(activation, depth, first_kernel)
    x = flow.normalized_vertex / check_count(width, "width")
    return neuron_mutual_information(x, m1, m2, order)


def _groups(n_out: int | None, m1: int | None, m2: int | None) -> tuple[float, float]:
    """Return the sizes of the two groups, or say what is wanted."""
    if n_out is not None and m1 is None and m2 is None:
        half = check_count(n_out, "n_out", least=2) / 2
        return half, half
    if n_out is None and m1 is not None and m2 is not None:
        return float(check_count(m1, "m1")), float(check_count(m2, "m2"))
    raise ValueError(f"wanted n_out or both m1 and m2, got n_out={n_out}, m1={m1}, m2={m2}.")


def _growth(analysis: Criticality) -> float:
    """Return nu of a universality class from the constants of its analysis."""
    kind, constants = analysis.universality_class, analysis.constants
    if kind == "scale-invariant":
        return constants["N"]
    if kind == "K*=0":
        return constants["N"] / 3
    if kind == "half-stable":
        return constants["w_star"]
    raise ValueError(
        f"activation: wanted one with a critical initialization, got {analysis.activation}."
    )


def _depth_where(
    activation: str | Activation | Callable, x: float, width: int, first_kernel: ArrayLike
) -> float:
    """Return the number of layers, between whole ones, at which the recursion reaches x."""
    depth = 64
    while depth <= DEEPEST:
        flow = single_input_flow(activation, depth, first_kernel)
        reached = np.asarray(flow.normalized_vertex) / width
        above = np.flatnonzero(reached >= x)
        if above.size:
            last = int(above[0])
            part = (x - reached[last - 1]) / (reached[last] - reached[last - 1])
            return last + float(part)
        depth *= 4
    raise ValueError(f"width: wanted one at which x* = {x:.3g} is reached, got {width}.")
