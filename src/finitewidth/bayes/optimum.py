r"""Hyperparameters that make labels most probable: the maximum of the evidence, PDLT section 6.3.1.

    (C_b, C_W, sigma^2, L)* = argmax log p(y | C_b, C_W, sigma^2, L)

For scale-invariant activations and one input the optimum is known,

    C_W* = (1/A_2) (A_2 n_0 Y/|x|^2)^(1/L) -> 1/A_2,    Y = sum_i y_i^2/n_L,

and deep networks are driven to criticality. That is not so for every class: for tanh and labels of
order one, networks above C_W = 1 keep a kernel of order one at any depth and have the larger
evidence.
"""

import math
from collections.abc import Sequence
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
from jaxtyping import Array, ArrayLike, Float

from finitewidth.bayes.regression import (
    check_problem,
    check_regular,
    infinite_width_regression,
)
from finitewidth.criticality import critical_initialization
from finitewidth.network import MLP
from finitewidth.precision import in_double_precision
from finitewidth.validation import check_count

Hyperparameter = Literal["C_b", "C_W", "noise"]
NAMES = ("C_b", "C_W", "noise")

#: Where the search starts for a variance that the network has at zero.
START = 1e-2
#: Variances are searched between these.
RANGE = (1e-12, 1e6)
TOLERANCE, MOST_STEPS = 1e-9, 500


class EvidenceOptimum(eqx.Module):
    """The most probable hyperparameters of a network.

    Attributes:
        net: the network with these hyperparameters, the same in all layers.
        noise: variance of the observation noise.
        log_evidence: its log-evidence at infinite width.
        distance: C_W - C_W of criticality; None if the activation has no critical point.
        by_depth: log-evidence of the optimum at every depth that was tried.
    """

    net: MLP
    noise: Float[Array, ""]
    log_evidence: Float[Array, ""]
    distance: Float[Array, ""] | None
    by_depth: dict[int, float] = eqx.field(static=True)

    def __repr__(self) -> str:
        away = "no critical point" if self.distance is None else f"{float(self.distance):+.4g} away"
        return (
            f"EvidenceOptimum: depth {self.net.depth}, C_b = {float(self.net.C_b[0]):.6g}, "
            f"C_W = {float(self.net.C_W[0]):.6g} ({away} from criticality), "
            f"noise {float(self.noise):.4g}, log-evidence {float(self.log_evidence):.6g}"
        )


@in_double_precision
def optimize_evidence(
    net: MLP,
    x: Float[ArrayLike, "N n0"],
    y: Float[ArrayLike, "N n_L"],
    noise: float = 0.0,
    over: Sequence[Hyperparameter] = ("C_b", "C_W"),
    depths: Sequence[int] | None = None,
) -> EvidenceOptimum:
    """Find the hyperparameters that maximize the evidence at infinite width.

    By gradient (BFGS of Optimistix) in the logarithms of the variances, the same in all layers;
    depths are tried one by one.

    Args:
        net: where the search starts; what is not searched stays as it is. Hidden layers that are
            added have the width of the last hidden one.
        x: inputs, shape (N, n_0).
        y: labels, shape (N, n_L), or (N,) for one output.
        noise: variance of the observation noise, or where its search starts.
        over: what is searched, out of "C_b", "C_W", "noise".
        depths: numbers of layers L to try; that of the network by default.

    Returns:
        The optimum, and how far it is from criticality. An optimum at C_b or noise = 0 is found
        as a very small number.

    Raises:
        ValueError: for an unknown or no hyperparameter, a depth below 1, or as `posterior`.

    Accuracy: log-evidence to 1e-9 of its size; the optimum of a flat evidence is less certain.

    Cost: some tens of evaluations and gradients of the evidence for each depth.

    Example:
        >>> import finitewidth as fw
        >>> net = fw.MLP((4, 50, 50, 50, 50, 1), "relu", C_W=1.0)
        >>> x = [[0.9, 0.9, 0.9, 0.5196152422706632]]  # |x|^2 = 2.7
        >>> found = optimize_evidence(net, x, [0.7724420150376335], over=("C_W",))
        >>> round(float(found.net.C_W[0]), 5)
        1.69867
    """
    over = tuple(over)
    if not over or not set(over) <= set(NAMES) or len(set(over)) != len(over):
        raise ValueError(f"over: wanted some of {', '.join(NAMES)}, got {over!r}.")
    x, y, variance, _ = check_problem(net, x, y, noise)
    if variance == 0 and "noise" not in over:
        check_regular(infinite_width_regression(net, x, y, variance), x, variance)
    tried = [check_count(depth, "depths") for depth in (depths or (net.depth,))]
    found = {depth: _maximum(_of_depth(net, depth), x, y, variance, over) for depth in tried}
    best = max(found, key=lambda depth: float(found[depth][2]))
    optimum, noise_found, evidence = found[best]
    try:
        distance = optimum.C_W[0] - critical_initialization(net.activation)[1]
    except ValueError:
        distance = None
    by_depth = {depth: float(f[2]) for depth, f in found.items()}
    return EvidenceOptimum(optimum, noise_found, evidence, distance, by_depth)


def _of_depth(net: MLP, depth: int) -> MLP:
    """Return a network of so many layers with the hyperparameters of the last layer."""
    if depth == net.depth:
        return net
    hidden = net.widths[1:-1] or (net.widths[-1],)
    hidden = (*hidden, *(hidden[-1],) * depth)[: depth - 1]
    widths = (net.widths[0], *hidden, net.widths[-1])
    return MLP(widths, net.activation, float(net.C_b[-1]), float(net.C_W[-1]))


def _maximum(
    net: MLP, x: Array, y: Array, noise: Array, over: tuple[Hyperparameter, ...]
) -> tuple[MLP, Array, Array]:
    current = {"C_b": net.C_b[-1], "C_W": net.C_W[-1], "noise": noise}
    low, high = (math.log(end) for end in RANGE)

    def with_values(log_values: Array) -> tuple[MLP, Array]:
        values = dict(zip(over, jnp.exp(jnp.clip(log_values, low, high)), strict=True))

        def uniform(name: str, own: Array) -> Array:
            return jnp.broadcast_to(values[name], own.shape) if name in values else own

        changed = eqx.tree_at(
            lambda n: (n.C_b, n.C_W), net, (uniform("C_b", net.C_b), uniform("C_W", net.C_W))
        )
        return changed, values.get("noise", noise)

    @eqx.filter_jit
    def negative(log_values: Array, _: None) -> Array:
        changed, sigma_squared = with_values(log_values)
        value = -infinite_width_regression(changed, x, y, sigma_squared).log_evidence
        # A step into a singular kernel is a step too far.
        return jnp.where(jnp.isfinite(value), value, 1e30)

    start = jnp.log(jnp.array([jnp.where(current[n] > 0, current[n], START) for n in over]))
    solution = optx.minimise(
        negative, optx.BFGS(TOLERANCE, TOLERANCE), start, max_steps=MOST_STEPS, throw=False
    )
    changed, sigma_squared = with_values(solution.value)
    value = -negative(solution.value, None)
    if not np.isfinite(value) or value <= -1e29:
        raise ValueError("x: the kernel is singular to rounding wherever the search went.")
    return jax.lax.stop_gradient(changed), sigma_squared, value
