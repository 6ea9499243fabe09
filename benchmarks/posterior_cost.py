"""The posterior at first order in 1/width for 100, 300 and 1000 training inputs: time and memory.

Contractions of the metric covariance with drawn neurons serve where the dense tensor would have
N^4 numbers, 10^12 for the largest N. Each N runs in a process of its own, compilation included;
order 0 of the same problem stands next to it. Labels are those of a network drawn at infinite
width, with noise. The width of the network grows like N^2, as M:W:M wants it to stay where the
first order can be trusted; the cost does not depend on it.

    python benchmarks/posterior_cost.py [--inputs 100 300 1000] [--tests 20] [--depth 4]
"""

import argparse
import json
import resource
import subprocess
import sys
import time
import warnings

import numpy as np

from finitewidth import bayes
from finitewidth.flow import preactivations
from finitewidth.network import MLP

ACTIVATION, FEATURES, NOISE = "tanh", 16, 0.1
#: Hidden neurons for each pair of labelled inputs.
NEURONS_PER_PAIR = 2


def problem(inputs: int, tests: int, depth: int) -> tuple:
    """Return network, inputs, labels and test inputs without symmetries."""
    rng = np.random.default_rng(0)
    x, x_test = rng.normal(size=(inputs, FEATURES)), rng.normal(size=(tests, FEATURES))
    width = NEURONS_PER_PAIR * inputs**2
    net = MLP((FEATURES, *(width,) * (depth - 1), 2), ACTIVATION, C_b=0.1, C_W=1.5)
    kernel = np.asarray(preactivations(net, x, order=0).kernel[-1])
    root = np.linalg.cholesky(kernel + NOISE * np.eye(inputs))
    return net, x, root @ rng.normal(size=(inputs, 2)), x_test


def cost(inputs: int, tests: int, depth: int) -> dict[str, float]:
    """Return seconds of orders 0 and 1, the size of errors, and the peak of the memory."""
    arguments = problem(inputs, tests, depth)
    start = time.perf_counter()
    limit = bayes.posterior(*arguments, NOISE, order=0)
    limit.mean.block_until_ready()
    at_limit = time.perf_counter() - start
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bayes.ExpansionWarning)
        first = bayes.posterior(*arguments, NOISE, order=1)
    first.mean.block_until_ready()
    seconds = time.perf_counter() - start
    shift = np.asarray(first.mean - limit.mean)
    error = np.sqrt(np.mean(np.square(first.mean_error)))
    return {
        "width": float(arguments[0].widths[1]),
        "seconds at order 0": at_limit,
        "seconds at order 1": seconds,
        "peak GiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "M:W:M": float(first.expansion_parameter),
        "shift of the mean": float(np.sqrt(np.mean(shift**2))),
        "its error": float(error),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, nargs="+", default=[100, 300, 1000])
    parser.add_argument("--tests", type=int, default=20)
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--only", type=int, help="run this number of inputs here and print JSON")
    options = parser.parse_args()
    if options.only:
        print(json.dumps(cost(options.only, options.tests, options.depth)))
        return 0
    seconds = []
    for inputs in options.inputs:
        command = [sys.executable, __file__, "--only", str(inputs)]
        command += ["--tests", str(options.tests), "--depth", str(options.depth)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found = json.loads(done.stdout.splitlines()[-1])
        seconds.append(found["seconds at order 1"])
        line = ", ".join(f"{name} {n:.3g}" for name, n in found.items())
        print(f"N = {inputs}: {line}", flush=True)
    if len(seconds) > 1:
        power = np.polyfit(np.log(options.inputs), np.log(seconds), 1)[0]
        print(f"seconds at order 1 grow like N^{power:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
