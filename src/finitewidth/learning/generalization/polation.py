r"""Interpolation and extrapolation: predictions on the line through two training inputs.

    x_s = s x_+ + (1 - s) x_-,     m(s), C(s, s')  from (10.40), (10.41) with A = {x_+, x_-}
                                                                  PDLT (10.99)-(10.105), exact

The straight line s y_+ + (1 - s) y_- is what linear networks make, at any width; the rest is the
curvature. For small separations and a smooth sigma, with the coefficients of `flow.line_jets`,
t_0 = Theta_20, t_1 = 2 Theta_10, t_2 = Theta_11, S = y_+ + y_-, D = y_+ - y_-,

    m(s) = s y_+ + (1 - s) y_- - 2 s (1-s)/(4 Theta_00 t_2 - t_1^2) {
             t_0 [2 t_2 S - t_1 D] + Theta_21 [2 Theta_00 D - t_1 S]
             + (2s-1)/3 (Theta_30 [2 t_2 S - t_1 D] + Theta_31 [2 Theta_00 D - t_1 S]) }

PDLT (10.113)-(10.117) corrected: the book has Theta_00 t_2 for 4 Theta_00 t_2 and leaves out
Theta_21, Theta_30 and Theta_31, which the inverse NTK raises to the same order. For equal norms and
D of the order of the separation it is -s (1-s) (t_0/Theta_00) (y_+ + y_-). One network adds the
nonlinear part of its initial output, and y_pm - z_pm takes the place of y_pm in the curvature (the
book has y + z).

For a kinked sigma and separations to zero the prediction is the straight line between the inputs
and constant outside of them (derived): the NTK has a cusp at equal inputs.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, ArrayLike, Float

from finitewidth.flow import line_jets
from finitewidth.learning.frozen_kernels import Rule
from finitewidth.learning.prediction import Prediction, predict
from finitewidth.network import MLP, Parameters
from finitewidth.network.losses import check_targets, mean_squared_error
from finitewidth.precision import in_double_precision
from finitewidth.validation import check_inputs, is_concrete


class Polation(eqx.Module):
    """Predictions along the line through two training inputs, s = 1 at x_+ and 0 at x_-.

    Attributes:
        s: places on the line, shape (S,).
        prediction: mean and covariance there.
        line: s y_+ + (1 - s) y_-, shape (S, n_L).
    """

    s: Float[Array, " S"]
    prediction: Prediction
    line: Float[Array, "S n_L"]

    @property
    def mean(self) -> Float[Array, "S n_L"]:
        """m(s), shape (S, n_L)."""
        return self.prediction.mean

    @property
    @in_double_precision
    def curvature(self) -> Float[Array, "S n_L"]:
        """What the mean differs from the straight line by, shape (S, n_L)."""
        return self.mean - self.line

    @property
    def variance(self) -> Float[Array, " S"]:
        """C(s, s) of each output over networks, shape (S,)."""
        return self.prediction.standard_deviation**2

    def band(self, deviations: float = 2.0) -> tuple[Array, Array]:
        """Return mean minus and plus so many standard deviations, each (S, n_L)."""
        return self.prediction.band(deviations)

    def to_xarray(self) -> xr.Dataset:
        """Return the curve as a labelled data set over s."""
        return xr.Dataset(
            {
                "mean": (("s", "output"), np.asarray(self.mean)),
                "line": (("s", "output"), np.asarray(self.line)),
                "standard_deviation": (("s",), np.asarray(self.prediction.standard_deviation)),
            },
            coords={"s": np.asarray(self.s)},
        )

    def __repr__(self) -> str:
        bent = float(jnp.abs(self.curvature).max())
        return (
            f"Predictions at {len(self.s)} places on a line, up to {bent:.4g} off the straight one"
        )


@in_double_precision
def interpolate(
    net: MLP,
    x_plus: Float[ArrayLike, " n0"],
    x_minus: Float[ArrayLike, " n0"],
    y_plus: ArrayLike,
    y_minus: ArrayLike,
    s: Float[ArrayLike, " S"],
    *,
    rule: Rule = "ntk",
) -> Polation:
    """Predict on the line through two training inputs, between them and beyond.

    PDLT (10.99)-(10.105), exact at any separation.

    Args:
        net: the network, with its learning rates.
        x_plus: training input at s = 1, shape (n_0,).
        x_minus: training input at s = 0.
        y_plus: its target, shape (n_L,), or a number for one output.
        y_minus: its target.
        s: places, shape (S,).
        rule: "ntk" or "bayes", see `predict`.

    Returns:
        The curve with its covariance.

    Raises:
        TypeError, ValueError: as `predict`.

    Accuracy: the NTK of two inputs of small separation d is nearly singular, and rounding errors
    grow like 1e-16/d^2; see `small_separation` for its limit.

    Example:
        >>> import finitewidth as fw
        >>> net = fw.MLP.critical((2, 99, 99, 1), "relu")
        >>> curve = interpolate(net, [1.0, 0.1], [1.0, -0.1], 1.0, 0.0, [0.5, 1.0, 2.0])
        >>> [round(float(value), 3) for value in curve.mean[:, 0]]
        [0.5, 1.0, 1.016]
    """
    pair, targets, places = _check(net, x_plus, x_minus, y_plus, y_minus, s)
    line = jnp.outer(places, targets[0]) + jnp.outer(1 - places, targets[1])
    between = jnp.outer(places, pair[0]) + jnp.outer(1 - places, pair[1])
    return Polation(places, predict(net, pair, targets, between, rule=rule), line)


@in_double_precision
def small_separation(
    net: MLP,
    x_plus: Float[ArrayLike, " n0"],
    x_minus: Float[ArrayLike, " n0"],
    y_plus: ArrayLike,
    y_minus: ArrayLike,
    s: Float[ArrayLike, " S"],
    params: Parameters | None = None,
) -> Float[Array, "S n_L"]:
    """Compute the mean on the line to leading order in a small separation, smooth sigma.

    PDLT (10.113)-(10.117), corrected.

    Args:
        net: the network, with its learning rates.
        x_plus: training input at s = 1, shape (n_0,).
        x_minus: training input at s = 0.
        y_plus: its target, shape (n_L,), or a number for one output.
        y_minus: its target.
        s: places, shape (S,).
        params: parameters of one network at initialization, whose trained output is wanted, PDLT
            (10.117); None for the mean over networks.

    Returns:
        Outputs, shape (S, n_L).

    Raises:
        TypeError, ValueError: for bad data, or an activation with kinks.

    Accuracy: the curvature has relative errors of the order of the separation, of its square for
    equal norms.

    Example:
        >>> import finitewidth as fw
        >>> net = fw.MLP.critical((2, 99, 99, 1), "tanh")
        >>> where = [1.0, 0.01], [1.0, -0.01], 1.0, 1.0, [0.5]
        >>> bent = float(small_separation(net, *where)[0, 0]) - 1
        >>> abs(bent / float(interpolate(net, *where).curvature[0, 0]) - 1) < 1e-3
        True
    """
    pair, targets, places = _check(net, x_plus, x_minus, y_plus, y_minus, s)
    inside = places[:, None]
    straight = inside * targets[0] + (1 - inside) * targets[1]
    if params is not None:
        between = inside * pair[0] + (1 - inside) * pair[1]
        z = net.apply(params, jnp.concatenate([pair, between]))
        straight = straight + z[2:] - inside * z[0] - (1 - inside) * z[1]
        targets = targets - z[:2]
    jets = line_jets(net, pair[0], pair[1]).ntk[-1]
    Theta, t_0, t_1, t_2 = jets[0, 0], jets[2, 0], 2 * jets[1, 0], jets[1, 1]
    total, apart = targets[0] + targets[1], targets[0] - targets[1]
    by_size, by_slope = 2 * t_2 * total - t_1 * apart, 2 * Theta * apart - t_1 * total
    second = t_0 * by_size + jets[2, 1] * by_slope
    third = jets[3, 0] * by_size + jets[3, 1] * by_slope
    bent = 2 * inside * (1 - inside) / (4 * Theta * t_2 - t_1**2)
    return straight - bent * (second + (2 * inside - 1) / 3 * third)


@in_double_precision
def kinked_limit(
    y_plus: ArrayLike, y_minus: ArrayLike, s: Float[ArrayLike, " S"]
) -> Float[Array, "S n_L"]:
    """Return the mean on the line for kinked activations and separations to zero (derived).

    A straight line between the inputs, the nearer target outside of them. It holds for two inputs
    that differ in direction; the variance is then of third order in the separation inside and of
    second order outside.

    Args:
        y_plus: target at s = 1, shape (n_L,), or a number.
        y_minus: target at s = 0.
        s: places, shape (S,).

    Returns:
        Outputs, shape (S, n_L).

    Example:
        >>> kinked_limit(2.0, 1.0, [-0.5, 0.25, 3.0]).ravel().tolist()
        [1.0, 1.25, 2.0]
    """
    inside = jnp.clip(jnp.asarray(s, dtype=float), 0.0, 1.0)[:, None]
    plus, minus = (jnp.atleast_1d(jnp.asarray(y, dtype=float)) for y in (y_plus, y_minus))
    return inside * plus + (1 - inside) * minus


def _check(
    net: MLP, x_plus: ArrayLike, x_minus: ArrayLike, y_plus: ArrayLike, y_minus: ArrayLike, s
) -> tuple[Float[Array, "2 n0"], Float[Array, "2 n_L"], Float[Array, " S"]]:
    pair = check_inputs(
        jnp.stack([jnp.asarray(x, dtype=float) for x in (x_plus, x_minus)]), net.widths[0]
    )
    targets = jnp.stack([jnp.atleast_1d(jnp.asarray(y, dtype=float)) for y in (y_plus, y_minus)])
    places = jnp.asarray(s, dtype=float)
    if places.ndim != 1 or not places.size:
        raise ValueError(f"s: wanted a list of places, shape (S,), got shape {places.shape}.")
    if is_concrete(places) and not np.isfinite(np.asarray(places)).all():
        raise ValueError("s: wanted finite places, got NaN or infinity.")
    return pair, check_targets(targets, 2, net.widths[-1], mean_squared_error), places
