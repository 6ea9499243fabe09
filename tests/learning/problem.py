"""A training problem without symmetries, and the theory of it by dense matrices."""

import numpy as np

import finitewidth as fw

rng = np.random.default_rng(10)
X = rng.normal(size=(4, 3))
Y = rng.normal(size=(4, 2))
X_TEST = rng.normal(size=(3, 3))
N = len(X)


def network(activation="tanh", **changes):
    """Unequal widths, biases, and rates and variances that differ from layer to layer."""
    settings = {
        "C_b": [0.2, 0.1, 0.3],
        "C_W": [1.2, 1.5, 0.9],
        "lambda_b": [0.5, 1.3, 0.2],
        "lambda_W": [1.1, 0.4, 2.0],
    }
    return fw.MLP((3, 40, 30, 2), activation, **(settings | changes))


def kernels(net):
    """K and Theta of training and then test inputs as NumPy arrays."""
    found = fw.flow.ntk(net, np.concatenate([X, X_TEST]))
    return np.asarray(found.kernel[-1]), np.asarray(found.mean[-1])


def descend(Theta, z, eta, steps):
    """Iterate (10.33) one step after the other: outputs of all inputs and the targets Y."""
    for _ in range(steps):
        z = z - eta * Theta[:, :N] @ (z[:N] - Y)
    return z
