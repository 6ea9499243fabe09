"""Regression on the digits, ten outputs: infinitely wide networks next to kernels of scikit-learn.

One split of the 1797 images, 1000 to learn and 797 to predict, centred one-hot labels. Accuracy,
mean square error, and seconds of `fit` and `predict` in one run; for the network the first time
(with compilation) and the second. Wanted for the network: under 10 s the first time.

    python benchmarks/digits_regression.py [--training 1000] [--seed 0]
"""

import argparse
import sys
import time

import numpy as np
from sklearn.datasets import load_digits
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.kernel_ridge import KernelRidge
from sklearn.model_selection import GridSearchCV, train_test_split

from finitewidth.integrations.sklearn import InfiniteWidthRegressor

MOST_SECONDS = 10.0


def models() -> dict:
    """Return the estimators by name; those of scikit-learn with their hyperparameters searched."""
    ridge = GridSearchCV(
        KernelRidge(kernel="rbf"),
        {"alpha": [1e-3, 1e-2, 1e-1], "gamma": [0.01, 0.03, 0.1, 0.3]},
    )
    process = GaussianProcessRegressor(
        ConstantKernel(1.0) * RBF(3.0) + WhiteKernel(0.01), normalize_y=True
    )
    network = {
        f"InfiniteWidth({activation!r}, depth={depth}{words})": InfiniteWidthRegressor(
            activation, depth, C_b, C_W
        )
        for activation, depth, C_b, C_W, words in (
            ("relu", 3, None, None, ""),
            ("relu", 8, None, None, ""),
            ("erf", 3, 0.1, (10.0, 4.0, 1.0), ", chaotic"),
        )
    }
    return {**network, "KernelRidge(rbf), searched": ridge, "GaussianProcess(rbf)": process}


def run(model, x_train, y_train, x_test) -> tuple[np.ndarray, float]:
    """Fit and predict; return the prediction and the seconds of both."""
    start = time.perf_counter()
    predicted = model.fit(x_train, y_train).predict(x_test)
    return predicted, time.perf_counter() - start


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--training", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    x, digit = load_digits(return_X_y=True)
    x = x / np.sqrt(np.mean(x**2))
    y = np.eye(10)[digit] - 0.1
    x_train, x_test, y_train, y_test = train_test_split(
        x, y, train_size=options.training, random_state=options.seed
    )
    print(f"{len(x_train)} images to learn, {len(x_test)} to predict")
    good = True
    for name, model in models().items():
        predicted, seconds = run(model, x_train, y_train, x_test)
        correct = np.mean(predicted.argmax(axis=1) == y_test.argmax(axis=1))
        error = np.mean((predicted - y_test) ** 2)
        line = f"{name:45s} accuracy {correct:.4f}  mean square error {error:.5f}  {seconds:6.2f} s"
        if isinstance(model, InfiniteWidthRegressor):
            line += f", again {run(model, x_train, y_train, x_test)[1]:.2f} s"
            line += f"  noise {model.noise_:.2g}, log-evidence {model.log_evidence_:.0f}"
            good &= seconds < MOST_SECONDS
        print(line, flush=True)
    print("as wanted" if good else f"wanted fit and predict below {MOST_SECONDS:g} s")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
