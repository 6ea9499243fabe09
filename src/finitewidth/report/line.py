"""The line through two training inputs of different label, and the points to look at on it.

x(t) = (1 - t) u + t v for t from -1/2 to 3/2: u lies at t = 0, v at t = 1, and t is a distance in
units of |v - u|.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from finitewidth.flow.preactivations import MOST_INPUTS_WITH_VERTEX

#: Where the line begins and ends, in units of |v - u|.
FROM, TO = -0.5, 1.5
#: At most so many points of theory for every interval between two points of networks.
FINEST = 4
#: Most outputs in one figure.
SHOWN = 2


class Line(NamedTuple):
    """The line through two training inputs, and what is said about them.

    Attributes:
        ends: which training inputs are u and v.
        names: what to call every output.
        names_of_inputs: what to call every training input.
        t: where the theory is evaluated, in units of |v - u|, shape (T,).
        at: the entries of t that are points of networks, shape (P,).
        x: inputs at t, shape (T, n0).
    """

    ends: tuple[int, int]
    names: tuple[str, ...]
    names_of_inputs: tuple[str, ...]
    t: Float[np.ndarray, " T"]
    at: Int[np.ndarray, " P"]
    x: Float[np.ndarray, "T n0"]


def labelled_line(
    x: Float[np.ndarray, "N n0"],
    y: Float[np.ndarray, "N n_L"],
    points: int,
    names: Sequence[str] | None,
    names_of_inputs: Sequence[str] | None,
) -> Line:
    """Return the line through the two inputs whose labels differ most.

    Args:
        x: training inputs, shape (N, n0).
        y: their labels, shape (N, n_L).
        points: number of points of networks.
        names: what to call the outputs; "output 1", ... if None.
        names_of_inputs: what to call the training inputs; "input 1", ... if None.

    Raises:
        ValueError: if the names do not fit, no two labels differ, or there are too many points.
    """
    outputs = given_or_numbered(names, "names", "output", y.shape[1])
    inputs = given_or_numbered(names_of_inputs, "names_of_inputs", "input", len(x))
    ends = unlike_ends(x, y)
    t, at = line_points(len(x), points)
    u, v = x[list(ends)]
    return Line(ends, outputs, inputs, t, at, (1 - t)[:, None] * u + t[:, None] * v)


def unlike_ends(x: Float[np.ndarray, "N n0"], y: Float[np.ndarray, "N n_L"]) -> tuple[int, int]:
    """Return the two inputs whose labels differ most, the first two if there are several.

    Args:
        x: training inputs, shape (N, n0).
        y: their labels, shape (N, n_L).

    Raises:
        ValueError: if there are no two different inputs with different labels.

    Example:
        >>> unlike_ends(np.eye(3), np.array([[1.0], [1.0], [0.0]]))
        (0, 2)
    """
    if len(x) < 2:
        raise ValueError(f"x: wanted at least two inputs with labels, got {len(x)}.")
    if (y == y[0]).all():
        raise ValueError(f"y: all {len(y)} labels are equal, wanted two inputs that differ in it.")
    distance = {
        (a, b): np.linalg.norm(y[a] - y[b])
        for a, b in combinations(range(len(x)), 2)
        if (x[a] != x[b]).any()
    }
    most = max(distance.values(), default=0.0)
    if most == 0:
        raise ValueError("x: inputs with different labels are equal; wanted two that differ.")
    # Classes are all equally far apart, up to rounding.
    return next(ends for ends, one in distance.items() if one > most * (1 - 1e-9))


def line_points(
    training: int, points: int
) -> tuple[Float[np.ndarray, " T"], Int[np.ndarray, " P"]]:
    """Return where to evaluate the theory, and which of these are the points of networks.

    Args:
        training: number of training inputs N.
        points: number of points of networks P, evenly spaced.

    Returns:
        t, shape (T,), with up to four intervals between two points of networks and
        N + T <= 48; the entries of t that are points of networks, shape (P,).

    Raises:
        ValueError: if N + P > 48.

    Example:
        >>> line_points(4, 3)[0].tolist()
        [-0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5]
    """
    finer = min(FINEST, (MOST_INPUTS_WITH_VERTEX - training - 1) // (points - 1))
    if finer < 1:
        raise ValueError(
            f"points: wanted at most {MOST_INPUTS_WITH_VERTEX} training inputs and points of the "
            f"line together, got {training} and {points}."
        )
    t = np.linspace(FROM, TO, finer * (points - 1) + 1)
    # A point that is a training input is that input to the last digit.
    for end in (0.0, 1.0):
        t[np.abs(t - end) < 1e-12] = end
    return t, np.arange(points) * finer


def telling_outputs(y: Float[np.ndarray, "N n_L"], ends: tuple[int, int]) -> tuple[int, ...]:
    """Return the outputs to look at: the two whose labels tell u and v apart most, in their order.

    Example:
        >>> telling_outputs(np.array([[0.0, 1.0, 3.0], [0.1, 2.0, 1.0]]), (0, 1))
        (1, 2)
    """
    u, v = ends
    apart = np.argsort(-np.abs(y[u] - y[v]), kind="stable")
    return tuple(sorted(apart[:SHOWN].tolist()))


def given_or_numbered(
    given: Sequence[str] | None, what: str, noun: str, count: int
) -> tuple[str, ...]:
    """Return names that are given, or "input 1", "input 2", ... for the noun "input".

    Args:
        given: the names, or None.
        what: the argument that they come from, for a message.
        noun: what is named.
        count: how many names there must be.

    Raises:
        ValueError: if there are more or fewer.
    """
    if given is None:
        return tuple(f"{noun} {i + 1}" for i in range(count))
    if len(given) != count:
        raise ValueError(f"{what}: wanted one for each {noun}, {count}, got {len(given)}.")
    return tuple(given)
