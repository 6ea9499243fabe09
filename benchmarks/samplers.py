"""Networks per second and peak memory of the two samplers, side by side in one run.

Drawing weights costs n^2 normal numbers a layer, the exact chain of stochastic metrics N n. For
N = 4 inputs, width 128 and depth 8 the chain must give at least ten times as many networks per
second. Both run through `finitewidth.ensemble.measure`, with the same observables.

    python benchmarks/samplers.py [--activation tanh] [--seconds 5]
"""

import argparse
import json
import resource
import subprocess
import sys
import time

import numpy as np

from finitewidth.ensemble import measure
from finitewidth.ensemble.chunk import Method
from finitewidth.network import MLP

INPUTS, WIDTH, DEPTH, FEATURES = 4, 128, 8, 64
WANTED_RATIO = 10.0
LARGE_CHUNK = 1024
METHODS: tuple[Method, ...] = ("weights", "chain")


def problem(activation: str) -> tuple[MLP, np.ndarray]:
    net = MLP(
        (FEATURES, *(WIDTH,) * (DEPTH - 1), 10),
        activation,
        C_b=0.0,
        C_W=2.0 if activation == "relu" else 1.0,
    )
    return net, np.random.default_rng(0).normal(size=(INPUTS, FEATURES))


def seconds_for(method: Method, samples: int, activation: str) -> float:
    net, x = problem(activation)
    start = time.perf_counter()
    measure(net, x, ("metric", "vertex"), samples, key=samples, method=method)
    return time.perf_counter() - start


def networks_per_second(activation: str, seconds: float) -> dict[Method, float]:
    """Time both samplers in turn, several rounds, and take the best round of each."""
    samples: dict[Method, int] = {}
    for method in METHODS:
        seconds_for(method, 500, activation)  # compiles
        trial = 500 / seconds_for(method, 500, activation)
        samples[method] = max(500, int(trial * seconds / 3))
    best: dict[Method, float] = dict.fromkeys(METHODS, 0.0)
    for _ in range(3):
        for method in METHODS:
            rate = samples[method] / seconds_for(method, samples[method], activation)
            best[method] = max(best[method], rate)
    return best


def peak_memory(method: str, activation: str, chunk_size: int | None) -> dict[str, float]:
    """Run one sampler in a process of its own and return its peak memory in MiB."""
    command = [sys.executable, __file__, "--only", method, "--activation", activation]
    if chunk_size is not None:
        command += ["--chunk-size", str(chunk_size)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return json.loads(output)


def resident() -> float:
    """Peak resident memory of this process in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Networks per second and peak memory of the two samplers."
    )
    parser.add_argument("--activation", default="tanh")
    parser.add_argument("--seconds", type=float, default=5.0, help="time for each sampler")
    parser.add_argument("--only", choices=METHODS, help=argparse.SUPPRESS)
    parser.add_argument("--chunk-size", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        net, x = problem(arguments.activation)
        observables = ("metric", "vertex")
        measure(net, x, observables, 4, method=arguments.only, chunk_size=2)
        before = resident()  # libraries, compiler, and a chunk of two networks
        size = arguments.chunk_size
        measure(net, x, observables, 2 * LARGE_CHUNK, method=arguments.only, chunk_size=size)
        print(json.dumps({"before": before, "peak": resident()}))
        return
    print(f"N = {INPUTS}, width {WIDTH}, depth {DEPTH}, {arguments.activation}, double precision")
    rates = networks_per_second(arguments.activation, arguments.seconds)
    for method in METHODS:
        print(f"{method:>8}: {rates[method]:10.0f} networks/s")
    ratio = rates["chain"] / rates["weights"]
    print(f"   ratio: {ratio:10.1f} (wanted at least {WANTED_RATIO:g})")
    for size, label in ((None, "default chunks"), (LARGE_CHUNK, f"chunks of {LARGE_CHUNK}")):
        for method in METHODS:
            memory = peak_memory(method, arguments.activation, size)
            print(
                f"{method:>8}: peak memory {memory['peak']:5.0f} MiB with {label}, "
                f"{memory['peak'] - memory['before']:.0f} MiB of it above libraries and compiler"
            )
    if ratio < WANTED_RATIO:
        sys.exit("The chain is slower than wanted.")


if __name__ == "__main__":
    main()
