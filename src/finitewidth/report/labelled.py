"""Labelled samples of a data set that are unlike each other, and what to call them."""

import numpy as np
from jaxtyping import Float

from finitewidth.data import centred_one_hot, draw_unlike, load_data
from finitewidth.validation import check_count


def labelled_samples(
    data: str, train: int, seed: int
) -> tuple[Float[np.ndarray, "N n0"], Float[np.ndarray, "N n_L"], list[str], list[str]]:
    """Draw samples whose labels differ as far as possible.

    Args:
        data: `"digits"` or a .npz file with arrays `x` and `y`.
        train: number of samples N, at least 2.
        seed: seed of the choice.

    Returns:
        Inputs, shape (N, n0); targets, shape (N, n_L); what to call outputs and inputs. Classes
        that are drawn become one output each, with centred targets; real labels are targets as
        they are.

    Raises:
        ValueError, TypeError, FileNotFoundError: if the data have no labels or too few samples, or
            all labels drawn are the same.
    """
    train = check_count(train, "train", least=2)
    loaded = load_data(data)
    if loaded.labels is None:
        raise ValueError(
            f"data: {data} has no labels; wanted digits, or a .npz file with inputs x and labels y."
        )
    if train > len(loaded.x):
        raise ValueError(f"train: got {train}, wanted at most the {len(loaded.x)} of {data}.")
    rows = draw_unlike(loaded.labels, train, seed)
    x, labels = loaded.x[rows], loaded.labels[rows]
    if (labels == labels[0]).all():
        shown = labels[0] if labels.ndim == 1 else labels[0].tolist()
        raise ValueError(
            f"data: all {train} labels drawn from {data} are {shown}; wanted different ones to "
            "tell apart."
        )
    if labels.ndim == 1:
        names = [f"class {one}" for one in np.unique(labels)]
        return x, centred_one_hot(labels), names, [f"class {one}" for one in labels]
    outputs = [f"output {i + 1}" for i in range(labels.shape[1])]
    return x, labels, outputs, [f"sample {row}" for row in rows]
