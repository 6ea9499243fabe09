"""What a measurement returns: numbers with error bars, by name.

An estimate of an expectation E[O] from M independent networks is their mean, and its standard
error is the spread over networks divided by sqrt(M).
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import equinox as eqx
import numpy as np
from jaxtyping import Float

if TYPE_CHECKING:
    import xarray


class Estimate(eqx.Module):
    """A measured array with the standard error of every entry.

    Attributes:
        value: the measured numbers; in a `Measurement` the leading axis is the layer, entry 0 is
            layer 1.
        standard_error: one standard deviation of `value`, same shape; exactly 0 for entries that
            are the same in every network (layer 1).
        samples: number of networks measured.

    Example:
        >>> import numpy as np
        >>> Estimate(np.array([1.0]), np.array([0.1]), 100)
        Estimate(shape (1,), 100 networks, largest relative standard error 10%)
    """

    value: Float[np.ndarray, "..."]
    standard_error: Float[np.ndarray, "..."]
    samples: int = eqx.field(static=True)

    def __repr__(self) -> str:
        error, scale = np.max(self.standard_error), np.max(np.abs(self.value))
        relative = f"{100 * error / scale:.2g}%" if scale > 0 else "0%"
        return (
            f"Estimate(shape {self.value.shape}, {self.samples} networks, "
            f"largest relative standard error {relative})"
        )


class Measurement(eqx.Module):
    """Estimates by name: `m["metric"]` and `m.metric` are the same.

    Attributes:
        estimates: the estimates, keyed by the name of the observable.
        method: how the networks were drawn, `"weights"` or `"chain"`.
        widths: (n_0, ..., n_L) of the measured network.

    Example:
        >>> import numpy as np
        >>> one = Estimate(np.ones((2, 1, 1)), np.zeros((2, 1, 1)), 10)
        >>> m = Measurement({"metric": one}, "weights", (1, 4, 1))
        >>> m
        Measurement of widths 1-4-1 by weights:
          metric: shape (2, 1, 1), 10 networks, largest relative standard error 0%
        >>> dict(m.to_xarray().sizes)
        {'layer': 2, 'sample_1': 1, 'sample_2': 1}
    """

    estimates: dict[str, Estimate]
    method: str = eqx.field(static=True)
    widths: tuple[int, ...] = eqx.field(static=True)

    def __getitem__(self, name: str) -> Estimate:
        try:
            return self.estimates[name]
        except KeyError:
            raise KeyError(
                f"{name!r} was not measured; measured: {', '.join(self.estimates)}."
            ) from None

    def __getattr__(self, name: str) -> Estimate:
        # Called only for names that are no attributes; `estimates` itself may not be set yet.
        estimates = self.__dict__.get("estimates", {})
        if name in estimates:
            return estimates[name]
        raise AttributeError(f"{name!r} was not measured; measured: {', '.join(estimates)}.")

    def __iter__(self) -> Iterator[str]:
        return iter(self.estimates)

    def __len__(self) -> int:
        return len(self.estimates)

    def __contains__(self, name: object) -> bool:
        return name in self.estimates

    def keys(self) -> Iterator[str]:
        """Return the names of the measured observables."""
        return iter(self.estimates)

    def __repr__(self) -> str:
        lines = [f"Measurement of widths {'-'.join(map(str, self.widths))} by {self.method}:"]
        for name, estimate in self.estimates.items():
            lines.append(f"  {name}: {repr(estimate)[len('Estimate(') : -1]}")
        return "\n".join(lines)

    def to_xarray(self) -> "xarray.Dataset":
        """Return a dataset with labelled dimensions.

        Returns:
            A dataset with, for every observable, a variable of its name and one named
            `<name>_standard_error`; dimensions `layer` (1..L), `sample_1`, `sample_2`, ...
            (0..N-1).
        """
        import xarray  # slow to import, and most runs do without it

        variables: dict[str, tuple[tuple[str, ...], np.ndarray]] = {}
        coordinates: dict[str, np.ndarray] = {}
        for name, estimate in self.estimates.items():
            shape = np.shape(estimate.value)
            dims = ("layer", *(f"sample_{i}" for i in range(1, len(shape))))
            variables[name] = (dims, np.asarray(estimate.value))
            variables[f"{name}_standard_error"] = (dims, np.asarray(estimate.standard_error))
            coordinates["layer"] = np.arange(1, shape[0] + 1)
            coordinates |= {d: np.arange(s) for d, s in zip(dims[1:], shape[1:], strict=True)}
        attributes = {
            "method": self.method,
            "widths": list(self.widths),
            "samples": next((e.samples for e in self.estimates.values()), 0),
        }
        return xarray.Dataset(variables, coordinates, attributes)
