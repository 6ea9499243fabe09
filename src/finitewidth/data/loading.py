r"""Load inputs for a network, and their labels: a built-in data set or a file.

The theory depends on the inputs through $x_\alpha\cdot x_\beta/n_0$ alone, PDLT (4.8), and the
critical tuning assumes that $|x|^2/n_0$ is of order one. The digits are therefore divided by the
root mean square pixel of the whole data set, so that the mean of $|x|^2/n_0$ over its 1797 images
is exactly 1; nothing is subtracted, so the angles between images stay what they are. Files are
taken as they are. Labels are never scaled.
"""

from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, Shaped

from finitewidth.data.files import read_arrays
from finitewidth.data.labels import Labels, check_labels
from finitewidth.precision import double_precision
from finitewidth.validation import check_count, check_inputs

#: The names that `load_data` knows besides paths.
BUILT_IN = ("digits",)
SUFFIXES = (".npy", ".npz", ".csv")
AS_THEY_ARE = "taken as they are"


@dataclass(frozen=True, eq=False)
class DataSet:
    """Inputs for a network and where they come from.

    Attributes:
        x: inputs, shape (N, n0), double precision.
        source: the name or path that was asked for.
        scaling: what was done to the numbers, in words.
        total: number of samples that there are to draw from.
        labels: None if there are none; whole numbers of shape (N,) for classes, or real numbers of
            shape (N, k).
    """

    x: Float[np.ndarray, "N n0"]
    source: str
    scaling: str
    total: int
    labels: Labels | None = None

    @property
    def description(self) -> str:
        """One line on what was loaded and how it was scaled."""
        return describe(self.x, self.total, self.source, self.scaling)

    def __repr__(self) -> str:
        text = f"DataSet({self.source}: {len(self.x)} samples of {self.x.shape[1]} features"
        if self.labels is None:
            return f"{text})"
        if self.labels.ndim == 1:
            return f"{text}, {len(np.unique(self.labels))} classes)"
        return f"{text}, {self.labels.shape[1]} real labels each)"


def load_data(spec: str | PathLike[str], samples: int | None = None, seed: int = 0) -> DataSet:
    """Load a data set by name or from a file.

    Args:
        spec: `"digits"`, the 1797 images of 8 x 8 pixels that come with scikit-learn, or the path
            of a .npy, .npz or .csv file that holds a matrix, one sample a row. A .npz file must
            hold one array, or one of the name `x`; next to `x`, an array `y` holds labels, one row
            per sample: a vector of whole numbers for classes, or real numbers. A .csv file may
            have a header line.
        samples: how many samples to draw at random without replacement, with their labels; all
            if None.
        seed: seed of that draw.

    Returns:
        The data set; digits are scaled to a mean |x|^2/n0 of 1 and their labels are the numbers
        that they show; files are taken as they are.

    Raises:
        FileNotFoundError: if the file does not exist.
        TypeError: if the file holds no real numbers.
        ValueError: if the name is unknown, the file cannot be read, the matrix is empty, has the
            wrong shape, too few samples, NaN or infinite entries, or the labels do not have one
            row of finite numbers for every sample.

    Example:
        >>> data = load_data("digits", samples=6)
        >>> data.x.shape, data.labels.tolist()
        ((6, 64), [6, 6, 6, 2, 5, 6])
    """
    name = str(spec)
    seed = check_count(seed, "seed", least=0)
    if samples is not None:
        samples = check_count(samples, "samples")  # before the work of reading
    if name in BUILT_IN:
        x, labels, scaling = _digits()
    else:
        path = Path(name)
        if path.suffix.lower() not in SUFFIXES:
            raise ValueError(
                f"data: got {name!r}, wanted {', '.join(BUILT_IN)} or the path of a "
                f"{', '.join(SUFFIXES)} file."
            )
        with double_precision():
            inputs, y = read_arrays(path)
            x = np.asarray(check_inputs(inputs, name=f"data {name}"), dtype=float)
        labels = None if y is None else check_labels(y, len(x), f"data {name}, y")
        scaling = AS_THEY_ARE
    drawn = draw_samples(x, samples, seed, name)
    if labels is not None:
        labels = draw_samples(labels, samples, seed, name)  # the same rows
    return DataSet(drawn, name, scaling, len(x), labels)


def describe(x: Float[np.ndarray, "N n0"], total: int, source: str, scaling: str) -> str:
    """Say in one line which samples of what these are.

    Example:
        >>> describe(np.eye(2), 10, "x.npy", "taken as they are")
        '2 of 10 samples of x.npy, 2 features, taken as they are'
    """
    chosen = f"{len(x)} of {total}" if len(x) < total else f"all {total}"
    return f"{chosen} samples of {source}, {x.shape[1]} features, {scaling}"


def draw_samples(
    x: Shaped[np.ndarray, "M *features"],
    samples: int | None,
    seed: int = 0,
    name: str = "the data",
) -> Shaped[np.ndarray, "N *features"]:
    """Draw rows at random without replacement, or return all rows.

    Args:
        x: all samples, or all labels: which rows are drawn depends on their number alone.
        samples: how many to draw; all, in their order, if None.
        seed: seed of the draw; more samples of one seed start with fewer of it.
        name: what to call the data in a message.

    Raises:
        TypeError, ValueError: if `samples` is not a whole number from 1 to the number of rows.

    Example:
        >>> draw_samples(np.eye(3), 2).shape
        (2, 3)
    """
    if samples is None:
        return x
    samples = check_count(samples, "samples")
    if samples > len(x):
        raise ValueError(f"samples: got {samples}, wanted at most the {len(x)} of {name}.")
    order = np.random.default_rng(check_count(seed, "seed", least=0)).permutation(len(x))
    return x[order[:samples]]


def _digits() -> tuple[Float[np.ndarray, "N n0"], Int[np.ndarray, " N"], str]:
    # scikit-learn takes a second to import and is needed only here.
    from sklearn.datasets import load_digits

    pixels, labels = (np.asarray(array) for array in load_digits(return_X_y=True))
    scaled = pixels / np.sqrt(np.mean(pixels**2))
    scaling = "divided by the root mean square pixel so that the mean |x|²/n₀ is 1"
    return scaled, labels.astype(np.int64), scaling
