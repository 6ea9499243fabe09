r"""Theory beside measurement, entry by entry, in units of the standard error.

For every independent entry with measured value $m \pm s$ and predicted value $t$,

$$z = \frac{m - t}{s},\qquad \mathrm{rms}\ z = \Big[\frac1R \sum_r z_r^2\Big]^{1/2}.$$

If the theory is right and the error bars are honest, rms z is near 1 (entries measured on the same
networks move together, so it scatters more than $1/\sqrt{2R}$), and the largest of R values of |z|
stays below the look-elsewhere threshold $\Phi^{-1}(1 - \alpha/2R)$, $\alpha = 10^{-3}$.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import equinox as eqx
import numpy as np
from jaxtyping import Bool, Float, Int
from rich.table import Table
from scipy.stats import norm

FALSE_ALARM = 1e-3


class Row(NamedTuple):
    """One independent entry: what the theory says and what the networks do."""

    observable: str
    layer: int
    entry: str
    theory: float
    measured: float
    standard_error: float
    z: float


class Disagreement(AssertionError):
    """The measured ensemble contradicts the theory."""


class Comparison(eqx.Module):
    """Columns of equal length R, one row per independent entry that was compared.

    Attributes:
        observable: names, R of them.
        layer: layer numbers from 1, shape (R,).
        entry: sample indices of the entries, written as text, R of them.
        theory: predicted values, shape (R,).
        measured: measured values, shape (R,).
        standard_error: one standard deviation of the measured values, shape (R,).
        z: (measured - theory) / standard_error, shape (R,); infinite where a number without
            error bar is wrong.
        exact: how many further entries are the same in every network (layer 1) and agree with
            the theory to rounding; they have no error bar and are not rows.
    """

    observable: tuple[str, ...] = eqx.field(static=True)
    layer: Int[np.ndarray, " R"]
    entry: tuple[str, ...] = eqx.field(static=True)
    theory: Float[np.ndarray, " R"]
    measured: Float[np.ndarray, " R"]
    standard_error: Float[np.ndarray, " R"]
    z: Float[np.ndarray, " R"]
    exact: int = eqx.field(static=True, default=0)

    def __len__(self) -> int:
        return len(self.observable)

    @property
    def rows(self) -> tuple[Row, ...]:
        """All rows, in the order observable, layer, entry."""
        return tuple(self._row(r) for r in range(len(self)))

    @property
    def observables(self) -> tuple[str, ...]:
        """The names of the observables that have rows, in order."""
        return tuple(dict.fromkeys(self.observable))

    def of(self, observable: str, layer: int | None = None) -> "Comparison":
        """Return the rows of one observable, or of one observable at one layer."""
        keep = np.array([name == observable for name in self.observable], dtype=bool)
        if layer is not None:
            keep &= self.layer == layer
        return self._select(keep)

    @property
    def rms_z(self) -> float:
        """Root mean square of z over all rows (0 if there are none)."""
        return float(np.sqrt(np.mean(self.z**2))) if len(self) else 0.0

    @property
    def rms_z_by_observable(self) -> dict[str, float]:
        """Root mean square of z of each observable."""
        return {name: self.of(name).rms_z for name in self.observables}

    @property
    def threshold(self) -> float:
        """The |z| that the largest of R honest rows exceeds once in a thousand comparisons."""
        return float(norm.isf(FALSE_ALARM / (2 * max(len(self), 1))))

    @property
    def systematic(self) -> tuple[Row, ...]:
        """Rows too far off to be chance: |z| beyond `threshold`, worst first."""
        return tuple(row for row in self.worst(len(self)) if abs(row.z) > self.threshold)

    def worst(self, count: int = 5) -> tuple[Row, ...]:
        """Return the rows with the largest |z|, worst first."""
        order = np.argsort(-np.abs(self.z), kind="stable")
        return tuple(self._row(int(r)) for r in order[:count])

    def check(self, rms: tuple[float, float] | None = (0.8, 1.25)) -> "Comparison":
        """Fail loudly unless theory and ensemble agree.

        Args:
            rms: the range that rms z over all rows must lie in; too small is as suspicious as
                too large. None leaves only the test of single rows.

        Returns:
            This comparison, so that a check can stand at the end of a line.

        Raises:
            Disagreement: if rms z is out of range, a single row is beyond the look-elsewhere
                threshold, or there is nothing to compare. The message lists the worst rows.
        """
        problems = []
        if not len(self):
            problems.append(f"no row with an error bar to compare ({self.exact} exact entries)")
        elif rms is not None and not rms[0] <= self.rms_z <= rms[1]:
            problems.append(f"rms z is {self.rms_z:.3f}, wanted between {rms[0]} and {rms[1]}")
        systematic = self.systematic
        if systematic:
            problems.append(
                f"{len(systematic)} of {len(self)} rows have |z| > {self.threshold:.2f}, "
                "beyond chance"
            )
        if problems:
            lines = [f"theory and ensemble disagree: {'; '.join(problems)}."]
            lines += [f"  {name}: rms z {value:.3f}" for name, value in self._summary()]
            lines += ["  worst rows:", *(f"    {_line(row)}" for row in self.worst())]
            raise Disagreement("\n".join(lines))
        return self

    def table(self, rows: int | None = 20) -> Table:
        """Return the worst rows as a Rich table, with a summary in the caption.

        Args:
            rows: how many rows, worst first; None for all of them in order.
        """
        table = Table(
            title="theory beside measured networks",
            caption=", ".join(f"rms z of {name} {value:.2f}" for name, value in self._summary()),
        )
        table.add_column("observable")
        for name in ("layer", "entry", "theory", "measured", "standard error", "z"):
            table.add_column(name, justify="right")
        for row in self.rows if rows is None else self.worst(rows):
            style = "bold red" if abs(row.z) > self.threshold else None
            table.add_row(
                row.observable,
                str(row.layer),
                row.entry,
                f"{row.theory:.6g}",
                f"{row.measured:.6g}",
                f"{row.standard_error:.2g}",
                f"{row.z:+.2f}",
                style=style,
            )
        return table

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain Python values, ready for JSON (an infinite z is null)."""
        return {
            "rms_z": self.rms_z if np.isfinite(self.rms_z) else None,
            "rms_z_by_observable": {
                name: value if np.isfinite(value) else None for name, value in self._summary()
            },
            "threshold": self.threshold,
            "exact_entries": self.exact,
            "rows": [
                row._replace(z=row.z if np.isfinite(row.z) else None)._asdict()  # type: ignore
                for row in self.rows
            ],
        }

    def __repr__(self) -> str:
        lines = [
            f"Comparison of {len(self)} entries: rms z {self.rms_z:.3f}, largest |z| "
            f"{abs(self.worst(1)[0].z) if len(self) else 0.0:.2f} "
            f"(chance reaches {self.threshold:.2f}); {self.exact} exact entries not counted"
        ]
        lines += [f"  {name}: rms z {value:.3f}" for name, value in self._summary()]
        return "\n".join(lines)

    def _summary(self) -> Iterator[tuple[str, float]]:
        yield from self.rms_z_by_observable.items()

    def _row(self, r: int) -> Row:
        return Row(
            self.observable[r],
            int(self.layer[r]),
            self.entry[r],
            float(self.theory[r]),
            float(self.measured[r]),
            float(self.standard_error[r]),
            float(self.z[r]),
        )

    def _select(self, keep: Bool[np.ndarray, " R"]) -> "Comparison":
        chosen = np.flatnonzero(keep)
        return Comparison(
            tuple(self.observable[r] for r in chosen),
            self.layer[chosen],
            tuple(self.entry[r] for r in chosen),
            self.theory[chosen],
            self.measured[chosen],
            self.standard_error[chosen],
            self.z[chosen],
        )


def _line(row: Row) -> str:
    return (
        f"{row.observable} layer {row.layer} {row.entry}: theory {row.theory:.6g}, "
        f"measured {row.measured:.6g} +- {row.standard_error:.2g}, z {row.z:+.2f}"
    )
