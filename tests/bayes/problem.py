"""The fixed problem whose numbers are known, and one without symmetries."""

import numpy as np

import finitewidth as fw

X = np.array([[1.0, 0.3, -0.5], [-0.2, 1.1, 0.6]])
Y = np.array([[1.6, 0.7], [-0.9, 1.5]])
X_TEST = np.array([[1.0, -1.0, 1.0]])


def wide(hidden):
    """Hidden widths so large that the 1/n^2 terms are below the digits that are known."""
    return fw.MLP((3, *hidden, 2), "tanh", C_b=0.1, C_W=1.8)
