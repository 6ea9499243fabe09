"""Real networks and their gradients, in NumPy, to measure what one-input theory predicts."""

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np


class Gradients(NamedTuple):
    """One row for each network, layer l in column l-1.

    Attributes:
        jacobian_square: sum_k (dz_i^(L)/dz_k^(l))^2, averaged over outputs i, shape (nets, L).
        signal: mean square of what enters layer l, shape (nets, L).
        chain: (sum_j dz_i^(l+1)/dz_j^(l))^2, averaged over neurons i, shape (nets, L-1).
    """

    jacobian_square: np.ndarray
    signal: np.ndarray
    chain: np.ndarray


def sample(
    sigma: Callable[[np.ndarray], np.ndarray],
    slope: Callable[[np.ndarray], np.ndarray],
    widths: tuple[int, ...],
    C_W: float,
    mean_square: float,
    nets: int,
    seed: int,
) -> Gradients:
    """Draw networks without biases (C_b = 0) and run them forwards and backwards."""
    rng = np.random.default_rng(seed)
    L = len(widths) - 1
    x = np.full(widths[0], np.sqrt(mean_square), dtype=np.float32)
    rows = []
    for _ in range(nets):
        weights = [
            rng.standard_normal((n_out, n_in), dtype=np.float32) * np.float32(np.sqrt(C_W / n_in))
            for n_in, n_out in pairwise(widths)
        ]
        signals, z = [x], []
        for W in weights:
            z.append(W @ signals[-1])
            signals.append(sigma(z[-1]))
        J, squares = np.eye(widths[-1], dtype=np.float32), []
        for layer in reversed(range(L)):
            squares.append((J.astype(float) ** 2).sum(1).mean())
            if layer:
                J = (J @ weights[layer]) * slope(z[layer - 1])
        chain = [
            ((W @ slope(z_below)).astype(float) ** 2).mean()
            for W, z_below in zip(weights[1:], z[:-1], strict=True)
        ]
        signal = [(s.astype(float) ** 2).mean() for s in signals[:-1]]
        rows.append((squares[::-1], signal, chain))
    return Gradients(*(np.array(column) for column in zip(*rows, strict=True)))


def z_scores(samples: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return (mean - wanted)/(standard error) for each column."""
    error = samples.std(0, ddof=1) / np.sqrt(len(samples))
    return (samples.mean(0) - wanted) / error
