"""Real linear and piecewise-linear networks with every weight drawn, the other road."""

import numpy as np


def preactivations(widths, C_W, x, networks, seed, law="gaussian", slopes=(1.0, 1.0), C_b=0.0):
    """Return z of every layer, a list of arrays (R, n_l, N); inputs x are (N, n_0)."""
    rng = np.random.default_rng(seed)
    layers = len(widths) - 1
    C_W, C_b = np.broadcast_to(C_W, layers), np.broadcast_to(C_b, layers)
    laws = (law,) * layers if isinstance(law, str) else law
    signal = np.broadcast_to(np.asarray(x, dtype=float).T, (networks, widths[0], len(x)))
    z = []
    for layer in range(layers):
        n_in, n_out = widths[layer], widths[layer + 1]
        W = np.sqrt(C_W[layer] / n_in) * weights(rng, laws[layer], networks, n_out, n_in)
        b = np.sqrt(C_b[layer]) * rng.standard_normal((networks, n_out, 1))
        z.append(W @ signal + b)
        signal = np.where(z[-1] >= 0, slopes[0], slopes[1]) * z[-1]
    return z


def weights(rng, law, networks, n_out, n_in):
    """Return matrices with unit variance of every entry, (R, n_out, n_in)."""
    shape = (networks, n_out, n_in)
    if law == "gaussian":
        return rng.standard_normal(shape)
    if law == "uniform":
        return rng.uniform(-np.sqrt(3), np.sqrt(3), shape)
    if law == "sign":
        return rng.choice([-1.0, 1.0], shape)
    tall, wide = max(n_out, n_in), min(n_out, n_in)
    q, r = np.linalg.qr(rng.standard_normal((networks, tall, wide)))
    q = q * np.sign(np.einsum("rii->ri", r))[:, None, :] * np.sqrt(tall)
    return q if n_out >= n_in else q.swapaxes(1, 2)


def z_score(samples, theory):
    """Return (mean - theory)/standard error along the first axis; 0 where both are exact."""
    samples = np.asarray(samples, dtype=float)
    error = samples.std(axis=0, ddof=1) / np.sqrt(len(samples))
    return (samples.mean(axis=0) - theory) / error


def check(scores, largest=4.0):
    """Many scores have an rms near 1, and none is large."""
    scores = np.ravel(scores)
    assert np.isfinite(scores).all()
    assert np.abs(scores).max() < largest, scores
    rms = np.sqrt(np.mean(scores**2))
    # For k independent scores the rms has the spread 1/sqrt(2k); allow four of them.
    assert rms < 1 + 4 / np.sqrt(2 * len(scores)), rms
