"""Time and accuracy of kernel and frozen NTK against neural-tangents 0.6.5, side by side.

Both libraries compute, in 64 bits and on the same inputs, the kernel and the NTK of a network of
the same depth at the critical initialization of its activation:

    K'     = C_b + C_W <sigma sigma>_K                                             PDLT (4.118)
    Theta' = lambda_b + lambda_W <sigma sigma>_K + C_W <sigma' sigma'>_K Theta     PDLT (9.5)

with lambda_b = C_b and lambda_W = C_W, which is the "NTK parametrization" of neural-tangents. For
relu, erf and gelu both have closed forms. For tanh and silu neural-tangents integrates by
Gauss-Hermite quadrature (`ElementwiseNumerical`, deg=25), and the error of both is measured against
a dense quadrature of some of the entries, carried through the whole depth in numpy alone.

neural-tangents needs jax 0.4.23, so it lives in an environment of its own, which this script makes
beside itself (`.venv-neural-tangents`, once, with a Python from 3.9 to 3.12). Each measurement is a
process of its own; for each activation the two libraries run one after the other.

    python benchmarks/kernel_ntk_against_neural_tangents.py
    python benchmarks/kernel_ntk_against_neural_tangents.py --inputs 100 --activations relu,tanh

The exit status is 1 if a demand in the last column is not met.
"""

import argparse
import importlib
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
ENVIRONMENT = HERE / ".venv-neural-tangents"
REQUIREMENTS = ["neural-tangents==0.6.5", "jax==0.4.23", "jaxlib==0.4.23", "numpy<2", "scipy<1.13"]

# (C_b, C_W) of the critical point of each activation, PDLT section 5.1 to 5.3.
CRITICAL = {
    "relu": (0.0, 2.0),
    "erf": (0.0, float(np.pi / 4)),
    "gelu": (0.17292239, 1.98305826),
    "tanh": (0.0, 1.0),
    "silu": (0.55514317, 1.98800468),
}
BY_QUADRATURE = ("tanh", "silu")
FEATURES = 16
REFERENCE_INPUTS = 8
LEAST_SPEEDUP = {name: 50.0 if name in BY_QUADRATURE else 1.0 for name in CRITICAL}
LEAST_ACCURACY_GAIN = 100.0
# Closed forms are quick: measure them three times in turn and take the median, which a passing
# load on the machine does not move.
ROUNDS = 3
# With closed forms both must agree. The arccos of neural-tangents loses half of the digits where
# two inputs coincide: its diagonal NTK for relu is 8e-8 off the exact (9.44).
MOST_DIFFERENCE = 1e-6


@dataclass(frozen=True)
class Result:
    """What one library did for one activation."""

    first: float  # seconds of the first call, compilation included
    seconds: float  # median of the calls after it
    calls: int
    peak_gigabytes: float
    kernel: np.ndarray  # last layer, (N, N)
    ntk: np.ndarray  # last layer, (N, N)


def inputs(count: int) -> np.ndarray:
    """Return standard normal data, shape (count, FEATURES), the same in every process."""
    return np.random.default_rng(0).normal(size=(count, FEATURES))


# ---------------------------------------------------------------- the two libraries


def finitewidth_evaluation(name: str, depth: int) -> Callable[[np.ndarray], tuple[Any, Any]]:
    """Kernel and NTK of the last layer by the public function of finitewidth."""
    fw = importlib.import_module("finitewidth")
    C_b, C_W = CRITICAL[name]
    widths = (FEATURES,) + (64,) * (depth - 1) + (1,)
    net = fw.MLP(widths=widths, activation=name, C_b=C_b, C_W=C_W, lambda_b=C_b, lambda_W=C_W)

    def evaluate(x: np.ndarray) -> tuple[Any, Any]:
        result = fw.flow.ntk(net, x)
        return result.kernel, result.mean

    return evaluate


def neural_tangents_evaluation(name: str, depth: int) -> Callable[[np.ndarray], tuple[Any, Any]]:
    """Kernel and NTK of the last layer by neural-tangents, as its documentation recommends.

    The kernel function is compiled. The quadrature holds 25^2 values for every entry at once,
    19 GB at N = 500, so there the library's own `batch` cuts the kernel into blocks.
    """
    jax = importlib.import_module("jax")
    jax.config.update("jax_enable_x64", True)
    nt = importlib.import_module("neural_tangents")
    stax = nt.stax
    activation = {
        "relu": lambda: stax.Relu(),
        "erf": lambda: stax.Erf(),
        "gelu": lambda: stax.Gelu(),
        "tanh": lambda: stax.ElementwiseNumerical(jax.numpy.tanh, deg=25),
        "silu": lambda: stax.ElementwiseNumerical(lambda z: z * jax.nn.sigmoid(z), deg=25),
    }[name]()
    C_b, C_W = CRITICAL[name]

    def dense(width: int) -> Any:
        return stax.Dense(width, W_std=C_W**0.5, b_std=C_b**0.5 or None)

    layers = [layer for _ in range(depth - 1) for layer in (dense(64), activation)]
    kernel_fn = stax.serial(*layers, dense(1))[2]
    if name in BY_QUADRATURE:
        batched = nt.batch(kernel_fn, batch_size=100, store_on_device=True)
        return lambda x: tuple(batched(x, None, ("nngp", "ntk")))
    return jax.jit(lambda x: tuple(kernel_fn(x, None, ("nngp", "ntk"))))


EVALUATIONS = {
    "finitewidth": finitewidth_evaluation,
    "neural-tangents": neural_tangents_evaluation,
}


def measure(library: str, name: str, count: int, depth: int, out: Path) -> None:
    """Time one library for one activation in this process; write the result to `out`."""
    evaluate = EVALUATIONS[library](name, depth)
    x = inputs(count)
    jax = importlib.import_module("jax")

    def timed() -> tuple[float, tuple[Any, Any]]:
        start = time.perf_counter()
        result = jax.block_until_ready(evaluate(x))
        return time.perf_counter() - start, result

    first, result = timed()
    seconds = [timed()[0]]
    while len(seconds) < 3 or (sum(seconds) < 3.0 and len(seconds) < 25):
        if sum(seconds) > 20.0 and len(seconds) >= 2:
            break
        seconds.append(timed()[0])
    kernel, ntk = (np.asarray(matrix) for matrix in result)
    if kernel.ndim == 3:  # finitewidth returns every layer
        kernel, ntk = kernel[-1], ntk[-1]
    if kernel.dtype != np.float64 or ntk.dtype != np.float64:
        raise TypeError(f"wanted 64 bits, got {kernel.dtype} and {ntk.dtype} from {library}.")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    np.savez(out, first=first, seconds=seconds, peak=peak, kernel=kernel, ntk=ntk)


# ---------------------------------------------------------------- the reference


def sigma_and_slope(name: str, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the activation and its derivative, in numpy."""
    if name == "tanh":
        return np.tanh(z), 1 - np.tanh(z) ** 2
    sigmoid = 1 / (1 + np.exp(-z))
    return z * sigmoid, sigmoid * (1 + z * (1 - sigmoid))


def reference(name: str, x: np.ndarray, depth: int) -> tuple[np.ndarray, np.ndarray]:
    """Kernel and NTK of the last layer by an equispaced rule in two whitened coordinates.

    The integrands are analytic in a strip and Gaussian at large arguments, where an equispaced rule
    converges exponentially in 1/spacing: at spacing 0.1 and range 9.5 its error is far below the
    rounding of the arithmetic for the kernels met here.
    """
    nodes = np.arange(-95, 96) * 0.1
    weights = np.exp(-(nodes**2) / 2) * 0.1 / np.sqrt(2 * np.pi)
    weight = weights[:, None] * weights[None, :]
    C_b, C_W = CRITICAL[name]
    K = C_b + C_W * x @ x.T / x.shape[1]
    Theta = K.copy()
    for _ in range(depth - 1):
        second, slope = np.empty_like(K), np.empty_like(K)
        for a in range(len(x)):
            for b in range(a, len(x)):
                scale_a, scale_b = np.sqrt(K[a, a]), np.sqrt(K[b, b])
                rho = min(1.0, K[a, b] / (scale_a * scale_b)) if a != b else 1.0
                z_b = scale_b * (rho * nodes[:, None] + np.sqrt(1 - rho**2) * nodes[None, :])
                sigma_a, slope_a = sigma_and_slope(name, scale_a * nodes[:, None])
                sigma_b, slope_b = sigma_and_slope(name, z_b)
                second[a, b] = second[b, a] = np.sum(weight * sigma_a * sigma_b)
                slope[a, b] = slope[b, a] = np.sum(weight * slope_a * slope_b)
        K, Theta = C_b + C_W * second, C_b + C_W * (second + slope * Theta)
    return K, Theta


def relative_error(result: Result, kernel: np.ndarray, ntk: np.ndarray) -> float:
    """Return the largest relative error of the kernel and NTK of the first inputs."""
    n = len(kernel)
    return max(
        float(np.max(np.abs(got[:n, :n] / wanted - 1)))
        for got, wanted in ((result.kernel, kernel), (result.ntk, ntk))
    )


# ---------------------------------------------------------------- running both


def neural_tangents_python(python: str) -> Path:
    """Make the environment of neural-tangents if it is not there; return its Python."""
    executable = ENVIRONMENT / "bin" / "python"
    finished = ENVIRONMENT / "requirements.json"
    if finished.exists() and json.loads(finished.read_text()) == REQUIREMENTS:
        return executable
    print(f"Making {ENVIRONMENT.name} (once, about 2 GB): {', '.join(REQUIREMENTS)}", flush=True)
    shutil.rmtree(ENVIRONMENT, ignore_errors=True)
    subprocess.run([python, "-m", "venv", str(ENVIRONMENT)], check=True)
    pip = [str(executable), "-m", "pip", "install", "--quiet", *REQUIREMENTS]
    if subprocess.run(pip).returncode != 0:
        raise SystemExit(
            "Could not install neural-tangents 0.6.5. jaxlib 0.4.23 exists for Python 3.9 to 3.12 "
            "on Linux and macOS; name such a Python with --python."
        )
    finished.write_text(json.dumps(REQUIREMENTS))
    return executable


def run(library: str, python: str, name: str, count: int, depth: int) -> Result:
    """Measure in a fresh process."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "result.npz"
        arguments = ["--measure", library, "--activations", name, "--out", str(out)]
        arguments += ["--inputs", str(count), "--depth", str(depth)]
        process = subprocess.run(
            [python, __file__, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        if process.returncode != 0:
            raise SystemExit(f"{library}, {name}:\n{process.stdout.decode()[-3000:]}")
        data = np.load(out)
        return Result(
            first=float(data["first"]),
            seconds=float(np.median(data["seconds"])),
            calls=len(data["seconds"]),
            peak_gigabytes=float(data["peak"]),
            kernel=data["kernel"],
            ntk=data["ntk"],
        )


def compare(name: str, python: str, count: int, depth: int) -> bool:
    """Print one row per library and the ratios; tell whether the demands are met."""
    rounds = 1 if name in BY_QUADRATURE else ROUNDS
    runs = [
        (
            run("neural-tangents", python, name, count, depth),
            run("finitewidth", sys.executable, name, count, depth),
        )
        for _ in range(rounds)
    ]
    by_library = zip(*runs, strict=True)
    theirs, ours = (sorted(some, key=lambda r: r.seconds)[rounds // 2] for some in by_library)
    speedup = theirs.seconds / ours.seconds
    met = speedup >= LEAST_SPEEDUP[name]
    demands = [f"{speedup:.3g} times as fast (wanted {LEAST_SPEEDUP[name]:g})"]
    errors = ["", ""]
    if name in BY_QUADRATURE:
        exact = reference(name, inputs(count)[:REFERENCE_INPUTS], depth)
        their_error, our_error = (relative_error(result, *exact) for result in (theirs, ours))
        errors = [f"{their_error:9.1e}", f"{our_error:9.1e}"]
        gain = their_error / our_error
        met = met and gain >= LEAST_ACCURACY_GAIN
        demands.append(f"error {gain:.2g} times smaller (wanted {LEAST_ACCURACY_GAIN:g})")
    else:
        gap = relative_error(theirs, ours.kernel, ours.ntk)
        met = met and gap < MOST_DIFFERENCE
        demands.append(f"largest relative difference {gap:.1e} (wanted {MOST_DIFFERENCE:g})")
    for library, result, error in (
        ("neural-tangents", theirs, errors[0]),
        ("finitewidth", ours, errors[1]),
    ):
        print(
            f"{name:5} {library:15} {result.seconds:10.4f} s x {result.calls:<2} "
            f"{result.first - result.seconds:8.2f} s {result.peak_gigabytes:7.2f} GB {error:>9}"
        )
    print(f"{'':5} {'met' if met else 'NOT MET':15} {'; '.join(demands)}\n", flush=True)
    return met


def main() -> int:
    """Read the command line and compare, or measure one library in this process."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--activations", default=",".join(CRITICAL), help="comma-separated names")
    parser.add_argument("--inputs", type=int, default=500, help="number of inputs N")
    parser.add_argument("--depth", type=int, default=16, help="number of layers L")
    parser.add_argument("--python", default=sys.executable, help="Python for neural-tangents")
    parser.add_argument("--measure", choices=EVALUATIONS, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    names = arguments.activations.split(",")
    if unknown := set(names) - set(CRITICAL):
        parser.error(f"wanted activations among {', '.join(CRITICAL)}, got {', '.join(unknown)}")
    if arguments.measure:
        measure(arguments.measure, names[0], arguments.inputs, arguments.depth, arguments.out)
        return 0
    python = str(neural_tangents_python(arguments.python))
    print(f"Kernel and NTK of {arguments.depth} layers at N = {arguments.inputs}, 64 bits")
    print(f"{'':21} {'median':>12} x calls {'compile':>7} {'peak':>12} {'rel. error':>12}")
    met = [compare(name, python, arguments.inputs, arguments.depth) for name in names]
    return 0 if all(met) else 1


if __name__ == "__main__":
    raise SystemExit(main())
