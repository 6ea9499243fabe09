"""The cost of a posterior at order 1: seconds, statistical error and memory against N.

Training inputs are digits with one-hot labels of ten outputs; 100 test inputs; relu, depth 4.
Tensors are drawn, not dense (`finitewidth.flow.matrix_free`). The order 0 of the same problem
stands beside. Each N runs in a process of its own; compilation is counted.

    python benchmarks/posterior_cost.py [--inputs 100 300 1000]
"""

import argparse
import json
import resource
import subprocess
import sys
import time
import warnings

import jax
import numpy as np
from sklearn.datasets import load_digits

from finitewidth.bayes import posterior
from finitewidth.network import MLP

TESTS, DEPTH, WIDTH, NOISE = 100, 4, 4096, 0.1


def cost(inputs: int) -> dict[str, float]:
    """Return seconds and errors of one posterior, all in this process."""
    images, digits = load_digits(return_X_y=True)
    chosen = np.random.default_rng(0).permutation(len(images))[: inputs + TESTS]
    images = images[chosen] / np.sqrt((images**2).mean())
    labels = np.eye(10)[digits[chosen[:inputs]]] - 0.1
    net = MLP.critical((images.shape[1], *(WIDTH,) * (DEPTH - 1), 10), "relu")
    x, y, x_test = images[:inputs], labels, images[inputs:]
    seconds = {}
    warnings.simplefilter("ignore")  # of the range of the expansion, which is printed
    for order in (0, 1):
        start = time.perf_counter()
        found = jax.block_until_ready(posterior(net, x, y, x_test, NOISE, order=order))
        seconds[order] = time.perf_counter() - start
    limit = posterior(net, x, y, x_test, NOISE, order=0)
    shift = np.asarray(found.mean - limit.mean)
    return {
        "seconds at order 0": seconds[0],
        "seconds at order 1": seconds[1],
        "M:W:M": float(found.expansion_parameter),
        "rms shift of the mean": float(np.sqrt(np.mean(shift**2))),
        "its statistical error": float(np.sqrt(np.mean(np.asarray(found.mean_error) ** 2))),
        "peak GiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, nargs="+", default=[100, 300, 1000])
    parser.add_argument("--only", type=int, help="this N here, as JSON")
    options = parser.parse_args()
    if options.only:
        print(json.dumps(cost(options.only)))
        return 0
    for inputs in options.inputs:
        command = [sys.executable, __file__, "--only", str(inputs)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found = json.loads(done.stdout.splitlines()[-1])
        print(f"N = {inputs}: " + ", ".join(f"{name} {v:.3g}" for name, v in found.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
