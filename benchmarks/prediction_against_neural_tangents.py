"""Predictions of fully trained infinite-width ensembles against neural-tangents 0.6.5, one run.

    m = Theta_BA Theta_AA^-1 y,   C = K_BB - R K_AB - K_BA R^T + R K_AA R^T    PDLT (10.40), (10.41)

for 2000 training inputs, ten outputs and 200 test inputs, mean and covariance, in 64 bits, kernels
included: `finitewidth.learning.predict` next to
`neural_tangents.predict.gradient_descent_mse_ensemble`,
the one after the other, each in a process of its own, three times in turn. The time is that of a
call after the first; medians are compared. The environment of neural-tangents is the one of
`kernel_ntk_against_neural_tangents.py`.

    python benchmarks/prediction_against_neural_tangents.py [--inputs 2000] [--activations erf,relu]

The exit status is 1 if finitewidth is slower or the numbers differ.
"""

import argparse
import importlib
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from kernel_ntk_against_neural_tangents import neural_tangents_python

FEATURES, OUTPUTS, TESTS, DEPTH, ROUNDS = 16, 10, 200, 4, 3
#: C_b, C_W of all layers; rates in the "NTK parametrization", lambda = C.
VARIANCES = {"erf": (0.1, 1.5), "relu": (0.1, 2.0)}
LEAST_SPEEDUP = 1.0
#: Relative to the largest number. For relu the NTK of neural-tangents is 8e-8 off on its diagonal.
MOST_DIFFERENCE = 1e-5

Predict = Callable[[], tuple[np.ndarray, np.ndarray]]


def data(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return training inputs, labels and test inputs, the same in every process."""
    rng = np.random.default_rng(0)
    x, x_test = rng.normal(size=(count, FEATURES)), rng.normal(size=(TESTS, FEATURES))
    return x, np.tanh(x @ rng.normal(size=(FEATURES, OUTPUTS)) / 4), x_test


def finitewidth_prediction(activation: str, count: int) -> Predict:
    """Return mean and covariance by `learning.predict`."""
    fw = importlib.import_module("finitewidth")
    C_b, C_W = VARIANCES[activation]
    widths = (FEATURES, *(64,) * (DEPTH - 1), OUTPUTS)
    net = fw.MLP(widths, activation, C_b=C_b, C_W=C_W, lambda_b=C_b, lambda_W=C_W)
    x, y, x_test = data(count)

    def predict() -> tuple[np.ndarray, np.ndarray]:
        found = fw.learning.predict(net, x, y, x_test)
        return np.asarray(found.mean), np.asarray(found.covariance)

    return predict


def neural_tangents_prediction(activation: str, count: int) -> Predict:
    """Return the same by neural-tangents, its kernel function compiled."""
    jax = importlib.import_module("jax")
    jax.config.update("jax_enable_x64", True)
    nt = importlib.import_module("neural_tangents")
    stax = nt.stax
    C_b, C_W = VARIANCES[activation]
    layer = {"erf": stax.Erf, "relu": stax.Relu}[activation]

    def dense(width: int):
        return stax.Dense(width, W_std=C_W**0.5, b_std=C_b**0.5)

    hidden = [part for _ in range(DEPTH - 1) for part in (dense(64), layer())]
    kernel_fn = jax.jit(stax.serial(*hidden, dense(OUTPUTS))[2], static_argnums=(2,))
    x, y, x_test = data(count)

    def predict() -> tuple[np.ndarray, np.ndarray]:
        ensemble = nt.predict.gradient_descent_mse_ensemble(kernel_fn, x, y)
        found = ensemble(x_test=x_test, get="ntk", compute_cov=True)
        return np.asarray(found.mean), np.asarray(found.covariance)

    return predict


LIBRARIES = {
    "neural-tangents": neural_tangents_prediction,
    "finitewidth": finitewidth_prediction,
}


def measure(library: str, activation: str, count: int, out: str) -> None:
    """Time two calls in this process and write what came out."""
    predict = LIBRARIES[library](activation, count)
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        mean, covariance = predict()
        seconds.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    np.savez(out, seconds=seconds, peak=peak, mean=mean, covariance=covariance)


def run(library: str, python: str, activation: str, count: int) -> dict[str, np.ndarray]:
    """Measure one library in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder) / "found.npz")
        command = [python, __file__, "--measure", library, "--inputs", str(count)]
        command += ["--activations", activation, "--out", out]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{library}, {activation}:\n{done.stderr[-3000:]}")
        with np.load(out) as file:
            return dict(file)


def compare(activation: str, python: str, count: int) -> bool:
    """Print both, the ratio and the difference; return whether they are as wanted."""
    pythons = {"neural-tangents": python, "finitewidth": sys.executable}
    runs = {name: [] for name in pythons}
    for _ in range(ROUNDS):
        for name, executable in pythons.items():
            runs[name].append(run(name, executable, activation, count))
    middle = {name: np.median([r["seconds"][1] for r in some]) for name, some in runs.items()}
    for name, some in runs.items():
        first = np.median([r["seconds"][0] for r in some])
        print(
            f"{activation:5} {name:16} {middle[name]:7.2f} s, first call {first:6.2f} s, "
            f"peak {max(float(r['peak']) for r in some):.2f} GiB"
        )
    ours, theirs = runs["finitewidth"][0], runs["neural-tangents"][0]
    gap = max(
        np.abs(ours[what] - theirs[what]).max() / np.abs(theirs[what]).max()
        for what in ("mean", "covariance")
    )
    ratio = middle["neural-tangents"] / middle["finitewidth"]
    print(f"{'':5} {ratio:.2f} times as fast, largest relative difference {gap:.1e}\n", flush=True)
    return bool(ratio >= LEAST_SPEEDUP and gap < MOST_DIFFERENCE)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=2000)
    parser.add_argument("--activations", default="erf,relu")
    parser.add_argument("--python", default=sys.executable, help="Python for neural-tangents")
    parser.add_argument("--measure", choices=LIBRARIES, help=argparse.SUPPRESS)
    parser.add_argument("--out", help=argparse.SUPPRESS)
    options = parser.parse_args()
    names = options.activations.split(",")
    if unknown := set(names) - set(VARIANCES):
        parser.error(f"wanted activations among {', '.join(VARIANCES)}, got {', '.join(unknown)}")
    if options.measure:
        measure(options.measure, names[0], options.inputs, options.out)
        return 0
    python = str(neural_tangents_python(options.python))
    print(f"{options.inputs} training and {TESTS} test inputs, {OUTPUTS} outputs, depth {DEPTH}")
    good = [compare(name, python, options.inputs) for name in names]
    print("as wanted" if all(good) else "not as wanted")
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
