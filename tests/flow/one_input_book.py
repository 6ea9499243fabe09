"""The one-input recursions as the book prints them, in NumPy, with a quadrature of their own.

Two forms: PDLT (9.13), (9.16), and PDLT (9.20), (9.21), which mix layers l and l+1.
"""

from collections.abc import Callable

import numpy as np

NODES = np.linspace(-9.0, 9.0, 4001)
WEIGHTS = np.exp(-(NODES**2) / 2)
WEIGHTS /= WEIGHTS.sum()


def mean(function: Callable[[np.ndarray], np.ndarray], K: float) -> float:
    return float(WEIGHTS @ function(np.sqrt(K) * NODES))


def recursion(
    sigma: Callable,
    slope: Callable,
    mean_square: float,
    C_b: np.ndarray,
    C_W: np.ndarray,
    lambda_b: np.ndarray,
    lambda_W: np.ndarray,
    ratio: np.ndarray,
    mixed_layers: bool,
) -> dict[str, np.ndarray]:
    """Return kernel, mean, vertex, D, F, B and A of every layer."""
    K = C_b[0] + C_W[0] * mean_square
    Theta, V, D, F, B, A = lambda_b[0] + lambda_W[0] * mean_square, 0.0, 0.0, 0.0, 0.0, 0.0
    rows = [(K, Theta, V, D, F, B, A)]
    for b, w, rate_b, rate_W, r in zip(
        C_b[1:], C_W[1:], lambda_b[1:], lambda_W[1:], ratio, strict=True
    ):
        g = mean(lambda z: sigma(z) ** 2, K)
        chi_perp = w * mean(lambda z: slope(z) ** 2, K)
        chi_parallel = w / K * mean(lambda z: z * slope(z) * sigma(z), K)
        h = w / (4 * K**2) * mean(lambda z, K=K: slope(z) ** 2 * (z**2 - K), K)
        q_4 = w**2 * mean(lambda z: sigma(z) ** 4, K) - (w * g) ** 2
        s_2 = w**2 * mean(lambda z: sigma(z) ** 2 * slope(z) ** 2, K)
        q_2 = s_2 - w * g * chi_perp
        d_4 = w**2 * mean(lambda z: slope(z) ** 4, K)
        rho = rate_W / w
        # The 1/n label changes with the width: everything carried over takes the ratio.
        V, D, F, B, A = r * V, r * D, r * F, r * B, r * A
        V_next = chi_parallel**2 * V + q_4
        source = Theta * (q_2 + 2 * h * chi_parallel * V)
        fresh = Theta**2 * (d_4 - chi_perp**2 + 4 * h**2 * V)
        if mixed_layers:
            D_next = chi_perp * chi_parallel * D + rho * V_next + source
            A_next = (
                chi_perp**2 * A - rho**2 * V_next + 2 * rho * D_next
                + 4 * h * chi_perp * Theta * D + fresh
            )  # fmt: skip
        else:
            D_next = chi_perp * chi_parallel * D + rho * (q_4 + chi_parallel**2 * V) + source
            A_next = (
                chi_perp**2 * A + rho**2 * (q_4 + chi_parallel**2 * V) + 2 * rho * source
                + 2 * rho * chi_perp * chi_parallel * D + 4 * h * chi_perp * Theta * D + fresh
            )  # fmt: skip
        F, B = chi_parallel**2 * F + s_2 * Theta, chi_perp**2 * B + d_4 * Theta**2
        V, D, A = V_next, D_next, A_next
        K, Theta = b + w * g, rate_b + rate_W * g + chi_perp * Theta
        rows.append((K, Theta, V, D, F, B, A))
    names = ("kernel", "mean", "vertex", "D", "F", "B", "A")
    return dict(zip(names, np.array(rows).T, strict=True))
