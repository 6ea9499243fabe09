"""What chapter 10 predicts of trained networks, written out from the frozen NTK.

With R = Theta_BA Theta_AA^-1: mean R y, PDLT (10.40), covariance P K P^T with P = [-R 1], (10.41).
"""

import numpy as np

import finitewidth as fw

X = np.array([[1.2, 0.3, -0.5], [-0.4, 0.9, 0.6], [0.5, -1.1, 0.8]])
X_TEST = np.array([[0.3, 0.8, 0.2], [-0.9, 0.1, -0.7]])
Y = np.array([[0.8, -0.3], [-0.5, 0.9], [0.2, 0.6]])


def network(hidden, activation="tanh", **changes):
    numbers = {"C_b": 0.2, "C_W": 1.5, "lambda_b": 0.5, "lambda_W": 1.0} | changes
    return fw.MLP((3, *hidden, 2), activation, **numbers)


def prediction(net, x=X, x_test=X_TEST, y=Y):
    """Return frozen NTK, mean (10.40) and covariance (10.41)."""
    flow = fw.flow.ntk(net, np.concatenate([x, x_test]), order=0)
    theta, K = np.asarray(flow.mean[-1]), np.asarray(flow.kernel[-1])
    N = len(x)
    R = np.linalg.solve(theta[:N, :N], theta[:N, N:]).T
    P = np.concatenate([-R, np.eye(len(x_test))], axis=1)
    return theta, R @ y, P @ K @ P.T


def z_scores(estimate, theory):
    return (estimate.value - theory) / estimate.standard_error


def distinct(covariance):
    """Entries of [i1, i2, b1, b2] that are different numbers."""
    return np.concatenate(
        [
            covariance[0, 0][np.triu_indices(2)],
            covariance[1, 1][np.triu_indices(2)],
            covariance[0, 1].ravel(),
        ]
    )


def check_limit(limit, m, C):
    """Every mean and covariance of an extrapolated ensemble within its error bars."""
    wanted = np.einsum("ij,bc->ijbc", np.eye(2), C)
    scores = {
        "mean": z_scores(limit.mean, m).ravel(),
        "controlled": z_scores(limit.controlled_mean, m).ravel(),
        "covariance": distinct(z_scores(limit.covariance, wanted)),
    }
    print({name: np.round(values, 2).tolist() for name, values in scores.items()})
    for values in scores.values():
        assert np.abs(values).max() < 3.5
        assert (values**2).mean() < 2.5
