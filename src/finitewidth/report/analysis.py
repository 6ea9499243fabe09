r"""Everything a report says about one network: the theory, the measurements, their comparison.

The theory gives coefficients of an expansion in 1/width: the kernel $K$, the shift $G^{\{1\}}$ of
the mean metric, the vertex $V$, the frozen NTK $\Theta$ and its fluctuations $A, B, D, F$.
Networks of hidden widths $n$ and $2n$ are measured, and what they measure is extrapolated to
infinite width, because at a given width each coefficient comes with corrections of relative order
1/n:

$$O_\infty = 2\,O(2n) - O(n) + O(1/n^2),\qquad O \in \{E[\widehat G],\ n(E[\widehat G] - K),\
n\,\mathrm{Cov}\,\widehat G,\ E[\widehat H],\ A, B, D, F\}.$$

What is left of order $1/n^2$ is estimated from the first correction, see `remainder`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Float, Int

from finitewidth.comparison import Comparison, compare
from finitewidth.criticality import Criticality, analyze
from finitewidth.ensemble import Estimate, measure, richardson, scaled
from finitewidth.flow import NTK, Preactivations, ntk, preactivations
from finitewidth.learning_rates import LearningRates, equivalence
from finitewidth.network import MLP
from finitewidth.precision import in_double_precision

#: The fluctuations of the NTK.
NTK_TENSORS = ("A", "B", "D", "F")

#: Called with what is being done, and how many of how many parts of it are done.
Progress = Callable[[str, int, int], None]

#: The flow is not followed further than this many layers, unless the network is deeper.
DEEPEST = 2048


@dataclass(frozen=True, eq=False)
class Analysis:
    """One network, predicted and measured.

    Arrays over layers have layer l in entry l-1.

    Attributes:
        criticality: the critical tuning of the activation.
        net: the network, hidden widths n.
        x: inputs, shape (N, n0).
        flow: kernel, NLO metric and vertex.
        ntk: neural tangent kernel and its fluctuations.
        rates: learning rates by the equivalence principle, None if there are none.
        few: the two inputs (or the one) that `A`, `B`, `D` and `F` are measured on.
        at_width: measured `metric`, `nlo_metric`, `vertex`, `ntk`, `A`, `B`, `D` and `F` at hidden
            widths n.
        at_double: the same at hidden widths 2n.
        limit: the same, with `kernel` for `metric`, extrapolated from n and 2n.
        comparison: theory against `limit`.
        depth_curves: V/(n K^2) of every input for layers 1, 2, ... D, beyond the depth of the
            network, theory only.
    """

    criticality: Criticality
    net: MLP
    x: Float[np.ndarray, "N n0"]
    flow: Preactivations
    ntk: NTK
    rates: LearningRates | None
    few: tuple[int, ...]
    at_width: dict[str, Estimate]
    at_double: dict[str, Estimate]
    limit: dict[str, Estimate]
    comparison: Comparison
    depth_curves: Float[np.ndarray, "D N"]

    @property
    def name(self) -> str:
        """The name of the activation."""
        return self.net.activation.name

    @property
    def width(self) -> int:
        """The hidden width n."""
        return self.net.widths[1]

    @property
    def C_b(self) -> float:
        """The bias variance."""
        return float(np.asarray(self.net.C_b)[0])

    @property
    def C_W(self) -> float:
        """The rescaled weight variance."""
        return float(np.asarray(self.net.C_W)[0])

    @property
    def layers(self) -> Int[np.ndarray, " L"]:
        """The layer numbers 1..L."""
        return np.arange(1, self.net.depth + 1)

    @property
    def size(self) -> Float[np.ndarray, " N"]:
        """First-layer kernel K_aa of every input."""
        return np.diagonal(np.asarray(self.flow.kernel[0]))

    @property
    def typical(self) -> int:
        """The input of median size, out of those that carry a signal."""
        alive = np.flatnonzero(self.size > 0)
        return int(alive[spread_out(self.size[alive], 1)[0]])

    @property
    def depth_curve(self) -> Float[np.ndarray, " D"]:
        """V/(n K^2) of the typical input for layers 1, 2, ..., D."""
        return self.depth_curves[:, self.typical]

    @property
    def fluctuation(self) -> float:
        """V/(n K^2) of the typical input at the output layer, PDLT (5.128)."""
        return float(np.asarray(self.flow.normalized_vertex)[-1, self.typical])

    def depth_within(self, tolerance: float) -> int | None:
        """Return the largest depth with V/(n K^2) <= tolerance, None if beyond the depth curve."""
        beyond = np.flatnonzero(self.depth_curve > tolerance)
        return int(beyond[0]) if len(beyond) else None

    def remainder(self, observable: str) -> float:
        """Estimate the bias that extrapolation leaves at the output, in standard errors.

        If the corrections at width n go on like a geometric series with the first term
        d = O(n) - O_inf, the extrapolation from n and 2n is off by about d^2 / (2 O_inf). Here d
        is 2 (O(n) - O(2n)), root mean square over entries, less what noise alone would give.
        """
        name = "metric" if observable == "kernel" else observable
        narrow, wide = self.at_width[name], self.at_double[name]
        noise = 4 * np.mean(narrow.standard_error[-1] ** 2 + wide.standard_error[-1] ** 2)
        squared = max(4 * np.mean((narrow.value[-1] - wide.value[-1]) ** 2) - noise, 0.0)
        size = np.sqrt(np.mean(self._theory[observable][-1] ** 2))
        error = np.sqrt(np.mean(self.limit[observable].standard_error[-1] ** 2))
        return float(squared / (2 * size * error)) if size * error > 0 else 0.0

    @property
    def _theory(self) -> dict[str, np.ndarray]:
        return theory_of(self.flow, self.ntk, self.few)


@in_double_precision
def analyze_network(
    net: MLP,
    x: Float[np.ndarray, "N n0"],
    networks: int = 20_000,
    ntk_networks: int = 1_000,
    seed: int = 0,
    progress: Progress = lambda what, done, total: None,
) -> Analysis:
    """Predict and measure one network.

    Args:
        net: the network; all hidden widths equal, Gaussian weights.
        x: inputs, shape (N, n0).
        networks: networks drawn at each of the widths n and 2n for metric and vertex, by the
            chain of stochastic metrics.
        ntk_networks: networks drawn with all their weights at each width for the NTK.
        seed: seed of the ensemble.
        progress: told what is being done.

    Returns:
        The analysis.

    Raises:
        ValueError: if no input carries a signal, or a signal overflows.
    """
    progress("theory", 0, 1)
    criticality = analyze(net.activation)
    flow, curves = flow_and_beyond(net, x)
    tangent = ntk(net, x, order=1)
    if not np.any(np.diagonal(np.asarray(flow.kernel[0])) > 0):
        raise ValueError("data: all samples are zero and C_b is 0, wanted an input with a signal.")
    few = unlike_inputs(np.asarray(flow.kernel[0]))
    rates = balanced_rates(net, x)
    progress("theory", 1, 1)

    keys = jax.random.split(jax.random.key(seed), 4)
    measured: list[dict[str, Estimate]] = []
    for factor in (1, 2):
        wider = scaled(net, factor)
        width = wider.widths[1]

        def drawn(what: str, width: int = width) -> Callable[[int, int], None]:
            return lambda done, total: progress(f"{what}, width {width}", done, total)

        chain = measure(
            wider, x, ("metric", "vertex"), networks, keys[factor - 1], "chain",
            progress=drawn("metric and vertex"),
        )  # fmt: skip
        weights = measure(
            wider, x, ("ntk", *NTK_TENSORS), ntk_networks, keys[factor + 1], progress=drawn("NTK")
        )
        fan_in = np.asarray(wider.widths[:-1])[:, None, None]
        shift = fan_in * (chain["metric"].value - np.asarray(flow.kernel))
        measured.append(
            {
                "metric": chain["metric"],
                "nlo_metric": Estimate(shift, fan_in * chain["metric"].standard_error, networks),
                "vertex": chain["vertex"],
                "ntk": weights["ntk"],
                **{name: _of_inputs(weights[name], few) for name in NTK_TENSORS},
            }
        )
    narrow, wide = measured
    limit = {name: richardson(narrow[name], wide[name], 2.0) for name in narrow}
    limit = {"kernel": limit.pop("metric"), **limit}
    return Analysis(
        criticality=criticality,
        net=net,
        x=np.asarray(x),
        flow=flow,
        ntk=tangent,
        rates=rates,
        few=few,
        at_width=narrow,
        at_double=wide,
        limit=limit,
        comparison=compare(theory_of(flow, tangent, few), limit),
        depth_curves=curves,
    )


def theory_of(flow: Preactivations, tangent: NTK, few: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Return the coefficients that extrapolated measurements are compared with, by name."""
    assert flow.vertex is not None and flow.nlo_metric is not None
    return {
        "kernel": np.asarray(flow.kernel),
        "nlo_metric": np.asarray(flow.nlo_metric),
        "vertex": np.asarray(flow.vertex.dense()),
        "ntk": np.asarray(tangent.mean),
        **{
            name: np.asarray(getattr(tangent, name).restrict(list(few)).dense())
            for name in NTK_TENSORS
        },
    }


def _of_inputs(tensor: Estimate, inputs: tuple[int, ...]) -> Estimate:
    kept = (slice(None), *np.ix_(*[inputs] * 4))
    return Estimate(tensor.value[kept], tensor.standard_error[kept], tensor.samples)


def unlike_inputs(K: Float[np.ndarray, "N N"]) -> tuple[int, ...]:
    """Return the input of median size and the one at the angle nearest to 90 degrees from it.

    Example:
        >>> unlike_inputs(np.array([[1.0, 0.9, 0.1], [0.9, 2.0, 1.0], [0.1, 1.0, 3.0]]))
        (1, 2)
    """
    size = np.diagonal(K)
    alive = np.flatnonzero(size > 0)
    first = int(alive[spread_out(size[alive], 1)[0]])
    others = [int(a) for a in alive if a != first]
    if not others:
        return (first,)
    norm = np.sqrt(size)
    cosine = [abs(K[first, a]) / norm[first] / norm[a] for a in others]
    return first, others[int(np.argmin(cosine))]


def balanced_rates(net: MLP, x: Float[np.ndarray, "N n0"]) -> LearningRates | None:
    """Return rates by the equivalence principle: of the class, or else of this very network."""
    for mode in ("asymptotic", "layerwise"):
        try:
            return equivalence(net, x, mode=mode)
        except ValueError:
            continue
    return None


def flow_and_beyond(
    net: MLP, x: Float[np.ndarray, "N n0"]
) -> tuple[Preactivations, Float[np.ndarray, "D N"]]:
    """Follow the flow through the network and on through more layers of the same width.

    Args:
        net: the network, all hidden widths equal, the same C_b and C_W in every layer.
        x: inputs, shape (N, n0).

    Returns:
        The flow of the network, and V/(n K^2) of every input for layers 1, 2, ..., D, with D twice
        the width or the depth (whichever is more; at most `DEEPEST` beyond the depth). It is one
        flow: its first layers do not depend on how many follow.
    """
    n0, width = net.widths[:2]
    depth = max(2 * net.depth, min(2 * width, DEEPEST))
    deep = MLP((n0, *[width] * depth), net.activation, net.C_b[0], net.C_W[0])
    flow = preactivations(deep, x, order=1)
    assert flow.vertex is not None and flow.nlo_metric is not None
    here = slice(0, net.depth)
    own = Preactivations(net, flow.kernel[here], flow.nlo_metric[here], flow.vertex[here])
    return own, np.asarray(flow.normalized_vertex)


def spread_out(values: Float[np.ndarray, " M"], count: int) -> Int[np.ndarray, " C"]:
    """Return the places of `count` values from the smallest to the largest; the median if 1.

    Example:
        >>> spread_out(np.array([5.0, 1.0, 3.0, 4.0, 2.0]), 3).tolist()
        [1, 2, 0]
    """
    order = np.argsort(values, kind="stable")
    count = min(count, len(order))
    at = np.linspace(0, len(order) - 1, count) if count > 1 else np.array([(len(order) - 1) / 2])
    return order[np.round(at).astype(int)]
