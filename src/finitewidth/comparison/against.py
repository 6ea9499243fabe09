r"""Put predictions and measurements side by side: `compare(theory, measured)`.

Predictions and measurements meet by name. What the flow predicts at the widths of its network,
leading order and first correction in 1/width,

$$\texttt{metric} = K^{(\ell)} + \frac{G^{\{1\}(\ell)}}{n_{\ell-1}},\qquad
\texttt{ntk} = \Theta^{(\ell)} + \frac{H^{\{1\}(\ell)}}{n_{\ell-1}},$$

differs from a network of width n by the next order, $O(1/n^2)$; the coefficients beside them,
`kernel`, `nlo_metric`, `vertex`, `frozen_ntk`, `nlo_ntk`, `A`, `B`, `D`, `F`, by $O(1/n)$; PDLT
(4.105), (4.119), (9.5), (8.77)-(8.97). A measurement precise enough to see that must be
extrapolated in width first (`ensemble.richardson`), or the comparison will rightly fail.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from jaxtyping import ArrayLike

from finitewidth.comparison.comparison import Comparison
from finitewidth.comparison.entries import independent, label, symmetries
from finitewidth.flow import NTK, Preactivations

# An error bar this small against the observable is rounding: the entry is the same in every
# network, and theory and measurement must agree to `_EXACT`.
_ROUNDING = 1e-12
_EXACT = 1e-9


class Measured(Protocol):
    """Anything with values and standard errors; `ensemble.Estimate` is one."""

    @property
    def value(self) -> Any:
        """Measured values, layers along the leading axis."""

    @property
    def standard_error(self) -> Any:
        """One standard deviation of every value."""


class Measurements(Protocol):
    """Anything that holds measurements by name; `ensemble.Measurement` is one, a dict another."""

    def keys(self) -> Any:
        """Return the names."""

    def __getitem__(self, name: str, /) -> Any:
        """Return the measurement of that name."""


Theory = Mapping[str, ArrayLike] | Preactivations | NTK


def predictions(*results: Theory) -> dict[str, np.ndarray]:
    """Collect what results of the theory predict, by the names that measurements use.

    Args:
        *results: results of `flow.preactivations` and `flow.ntk`, or mappings from names to arrays
            with layers along the leading axis; later ones replace earlier ones.

    Returns:
        The predictions by name.

    Raises:
        TypeError: if a result is none of these.

    Example:
        >>> predictions({"metric": [1.0, 2.0]})["metric"].shape
        (2,)
    """
    found: dict[str, Any] = {}
    for result in results:
        if isinstance(result, Preactivations):
            found |= {"metric": result.metric, "kernel": result.kernel}
            if result.vertex is not None:
                found |= {"vertex": result.vertex.dense(), "nlo_metric": result.nlo_metric}
        elif isinstance(result, NTK):
            found |= {"ntk": result.corrected_mean, "frozen_ntk": result.mean}
            if result.order:
                found |= predictions(result.preactivations)
                found["nlo_ntk"] = result.nlo_mean
                found |= {name: getattr(result, name).dense() for name in ("A", "B", "D", "F")}
        elif isinstance(result, Mapping):
            found |= result
        else:
            raise TypeError(
                "theory: wanted results of flow.preactivations or flow.ntk, or a mapping from "
                f"names to arrays, got {type(result).__name__}."
            )
    return {name: np.asarray(values, dtype=float) for name, values in found.items()}


def compare(theory: Theory | tuple[Theory, ...], measured: Measurements) -> Comparison:
    """Compare theory and measurement, entry by entry, in units of the standard error.

    Only independent entries are compared: an entry that is equal to another one by a symmetry
    that theory and measurement share is left out. Entries that are the same in every network
    (standard error 0, all of layer 1) must agree to rounding; they are counted, not listed.

    Args:
        theory: a result of the flow, a mapping from names to arrays, or a tuple of these.
        measured: estimates by name, `ensemble.Measurement` or a dict of `ensemble.Estimate`; what
            was measured and not predicted, or predicted and not measured, is an error only if
            nothing is left to compare.

    Returns:
        The comparison, with rms z, the rows beyond chance, a table and a check that fails loudly.

    Raises:
        ValueError: if no name is in both, shapes differ, or an error bar is negative or NaN.
        TypeError: if one of the arguments is of the wrong kind.

    Cost: the number of entries, times 8 for four-index tensors.

    Example:
        >>> from finitewidth.ensemble.estimate import Estimate
        >>> estimate = Estimate(np.array([1.0, 2.1]), np.array([0.0, 0.1]), samples=100)
        >>> compare({"metric": [1.0, 2.0]}, {"metric": estimate})
        Comparison of 1 entries: rms z 1.000, largest |z| 1.00 (chance reaches 3.29); 1 exact ...
          metric: rms z 1.000
    """
    predicted = predictions(*(theory if isinstance(theory, tuple) else (theory,)))
    if not hasattr(measured, "keys"):
        raise TypeError(
            "measured: wanted estimates by name (ensemble.Measurement or a dict), "
            f"got {type(measured).__name__}."
        )
    names = [name for name in measured.keys() if name in predicted]
    if not names:
        raise ValueError(
            f"nothing to compare: predicted {', '.join(predicted) or 'nothing'}; "
            f"measured {', '.join(measured.keys()) or 'nothing'}."
        )
    blocks = [_block(name, predicted[name], measured[name]) for name in names]
    columns = [np.concatenate([block[c] for block in blocks]) for c in range(6)]
    rows, exact = columns[:-1], columns[-1]
    layer, entry, t, m, s = rows
    keep = ~exact.astype(bool)
    observable = np.repeat(names, [len(block[0]) for block in blocks])[keep]
    t, m, s = t[keep], m[keep], s[keep]
    with np.errstate(divide="ignore"):
        z = (m - t) / s
    return Comparison(
        tuple(str(name) for name in observable),
        layer[keep],
        tuple(str(e) for e in entry[keep]),
        t,
        m,
        s,
        z,
        int(np.sum(exact)),
    )


def _block(name: str, theory: np.ndarray, measured: Measured) -> tuple[np.ndarray, ...]:
    if not (hasattr(measured, "value") and hasattr(measured, "standard_error")):
        raise TypeError(
            f"measured {name}: wanted an estimate with .value and .standard_error, "
            f"got {type(measured).__name__}."
        )
    value = np.asarray(measured.value, dtype=float)
    error = np.asarray(measured.standard_error, dtype=float)
    if not theory.shape == value.shape == error.shape:
        raise ValueError(
            f"{name}: wanted one shape for all, got theory {theory.shape}, measured "
            f"{value.shape}, standard error {error.shape}."
        )
    if theory.ndim == 0:
        raise ValueError(f"{name}: wanted layers along a leading axis, got a single number.")
    for what, array in (("theory", theory), ("measured", value), ("standard error", error)):
        if not np.isfinite(array).all():
            raise ValueError(f"{name}: wanted finite numbers, got NaN or infinity in {what}.")
    if (error < 0).any():
        raise ValueError(f"{name}: wanted standard errors >= 0, got {error.min()}.")

    entries = independent(theory.shape[1:], symmetries(theory, value, error))
    which = (slice(None), *entries.T)
    t, m, s = (a[which].reshape(len(theory), -1) for a in (theory, value, error))
    scale = max(float(np.max(np.abs(theory))), float(np.max(np.abs(value))))
    without_error = s <= _ROUNDING * scale
    s = np.where(without_error, 0.0, s)
    exact = without_error & (np.abs(m - t) <= _EXACT * scale)
    layers = np.broadcast_to(np.arange(1, len(t) + 1)[:, None], t.shape)
    labels = np.broadcast_to(np.array([label(e) for e in entries]), t.shape)
    return tuple(a.reshape(-1) for a in (layers, labels, t, m, s, exact))
