"""Time against the number of inputs N, from 50 to 3000: kernels, NTKs and a contraction X:V:Y.

A network of depth 4 and inputs with 64 features. Fitted is the exponent of N, time ~ N^p, over the
upper half of the sizes, where the constant part no longer counts: 2 for kernels and NTKs, which are
pair expectations, and between 2 and 3 for contractions with a fixed number of drawn neurons (matrix
products are N^3, pair expectations and drawn neurons N^2). The first call of each size compiles and
is not counted.

    python benchmarks/scaling_with_inputs.py [--activation tanh] [--most 3000]
"""

import argparse
import sys
import time
from collections.abc import Callable

import jax
import numpy as np

from finitewidth.flow import matrix_free, ntk, preactivations
from finitewidth.network import MLP

SIZES = (50, 100, 200, 400, 800, 1500, 3000)
FEATURES, DEPTH, NEURONS = 64, 4, 2**13
#: The largest exponents that the fitted ones may be, with the scatter of a fit to a few times.
WANTED = {"kernel": 2.2, "kernel and NTK": 2.2, "contraction X:V:Y": 3.2}


def tasks(net: MLP, x: np.ndarray) -> dict[str, Callable[[], object]]:
    """Return what is timed; each call computes everything anew."""
    N = len(x)
    a, b = np.random.default_rng(1).normal(size=(2, N)) / np.sqrt(N)
    X, Y = (np.eye(N) / N + np.multiply.outer(v, v) for v in (a, b))
    return {
        "kernel": lambda: preactivations(net, x, order=0).kernel,
        "kernel and NTK": lambda: ntk(net, x).mean,
        "contraction X:V:Y": lambda: (
            matrix_free(net, x, ntk=False, neurons=NEURONS).V[-1].contract(X, Y)
        ),
    }


def seconds(call: Callable[[], object]) -> float:
    jax.block_until_ready(call())  # compiles
    start = time.perf_counter()
    jax.block_until_ready(call())
    return time.perf_counter() - start


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--activation", default="tanh")
    parser.add_argument("--most", type=int, default=SIZES[-1], help="largest N")
    options = parser.parse_args()
    net = MLP.critical((FEATURES, *(128,) * (DEPTH - 1), 10), options.activation)
    sizes = [N for N in SIZES if N <= options.most]
    if len(sizes) < 4:
        parser.error(f"--most: wanted at least {SIZES[3]}, got {options.most}")
    x = np.random.default_rng(0).normal(size=(sizes[-1], FEATURES))
    times: dict[str, list[float]] = {}
    print(f"{options.activation}, depth {DEPTH}, {NEURONS} drawn neurons a layer; seconds a call")
    print(f"{'N':>6} " + " ".join(f"{name:>18}" for name in WANTED))
    for N in sizes:
        for name, call in tasks(net, x[:N]).items():
            times.setdefault(name, []).append(seconds(call))
        print(f"{N:6d} " + " ".join(f"{times[name][-1]:18.4f}" for name in WANTED), flush=True)
    upper = len(sizes) // 2
    good = True
    for name, found in times.items():
        exponent = float(np.polyfit(np.log(sizes[upper:]), np.log(found[upper:]), 1)[0])
        print(f"{name}: N^{exponent:.2f} from N = {sizes[upper]} on, wanted at most {WANTED[name]}")
        good &= exponent <= WANTED[name]
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
