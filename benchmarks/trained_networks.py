"""Networks trained per second, against plain loops over networks, side by side in one run.

A task of 4 inputs and 2 outputs, tanh networks of three layers in double precision, full-batch
gradient descent at the networks' own rates 1/lambda_max until no residual is above 1e-5. Three ways
to train the same networks, with the same steps and the same outputs, which is checked:

finitewidth: `ensemble.trainer`, one compiled loop for all networks;
python loop: a compiled step, called from Python for every step of every network;
loop in jit: a compiled `lax.while_loop` for one network, called from Python for every network;
torch: the same as the python loop, in PyTorch on one thread, if it is installed (two are slower).

    python benchmarks/trained_networks.py [--widths 32 64 128] [--seconds 5]
"""

import argparse
import importlib.util
import math
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from finitewidth.ensemble import empirical_ntk, trainer
from finitewidth.ensemble.linearized import stable_rate
from finitewidth.network import MLP, Parameters
from finitewidth.precision import double_precision

INPUTS, TESTS, FEATURES, OUTPUTS = 4, 2, 3, 2
TOLERANCE, MOST_STEPS = 1e-5, 20_000
WANTED_RATIO = 10.0
# A plain loop in JAX calls one compiled function a step, which costs less than a step of PyTorch:
# from some width on the arithmetic costs more than either.
WANTED_UP_TO = {"torch": 64, "python loop": 32}
ROUNDS = 3

Trained = tuple[np.ndarray, int]


def problem(width: int) -> tuple[MLP, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    net = MLP((FEATURES, width, width, OUTPUTS), "tanh", C_b=0.2, C_W=1.5, lambda_b=0.5)
    shapes = ((INPUTS, FEATURES), (INPUTS, OUTPUTS), (TESTS, FEATURES))
    x, y, x_test = (rng.normal(size=shape) for shape in shapes)
    return net, x, y, x_test


def start(net: MLP, x: Array) -> Callable[[PRNGKeyArray, int], tuple[Parameters, Array]]:
    """Return a compiled function to the parameters and the rate of one network."""

    @jax.jit
    def one(key: PRNGKeyArray, number: int) -> tuple[Parameters, Array]:
        # The networks of `trainer`.
        params = net.init(jax.random.split(jax.random.fold_in(key, number))[0])
        return params, stable_rate(empirical_ntk(net, params, x))

    return one


def step(net: MLP, x: Array, y: Array) -> Callable[[Parameters, Array], tuple[Parameters, Array]]:
    """Return a function that takes one step and returns the residual before it."""
    rates = list(zip(net.lambda_b, net.lambda_W, net.widths[:-1], strict=True))

    def one(params: Parameters, eta: Array) -> tuple[Parameters, Array]:
        def loss(params: Parameters) -> tuple[Array, Array]:
            residual = net.apply(params, x) - y
            return jnp.sum(residual**2) / 2, jnp.max(jnp.abs(residual))

        gradients, residual = jax.grad(loss, has_aux=True)(params)
        after = tuple(
            type(p)(p.b - eta * b * g.b, p.W - eta * W / n * g.W)
            for p, g, (b, W, n) in zip(params, gradients, rates, strict=True)
        )
        return after, residual

    return one


def python_loop(net: MLP, x: Array, y: Array, x_test: Array) -> Callable[[Any, int], Trained]:
    begin, advance = start(net, x), jax.jit(step(net, x, y))
    outputs = jax.jit(lambda params: net.apply(params, x_test))

    def train(key: PRNGKeyArray, number: int) -> Trained:
        params, eta = begin(key, number)
        for taken in range(MOST_STEPS):
            after, residual = advance(params, eta)
            if float(residual) <= TOLERANCE:
                return np.asarray(outputs(params)), taken
            params = after
        raise RuntimeError("A network did not converge.")

    return train


def loop_in_jit(net: MLP, x: Array, y: Array, x_test: Array) -> Callable[[Any, int], Trained]:
    begin, advance = start(net, x), step(net, x, y)

    @jax.jit
    def run(params: Parameters, eta: Array) -> tuple[Array, Array]:
        def forward(state: tuple) -> tuple:
            params, following, _, taken = state
            params = following
            following, residual = advance(params, eta)
            return params, following, residual, taken + 1

        following, residual = advance(params, eta)
        params, _, _, taken = jax.lax.while_loop(
            lambda state: (state[2] > TOLERANCE) & (state[3] < MOST_STEPS),
            forward,
            (params, following, residual, jnp.zeros((), int)),
        )
        return net.apply(params, x_test), taken

    def train(key: PRNGKeyArray, number: int) -> Trained:
        outputs, taken = run(*begin(key, number))
        return np.asarray(outputs), int(taken)

    return train


def torch_loop(net: MLP, x: Array, y: Array, x_test: Array) -> Callable[[Any, int], Trained]:
    import torch  # pyright: ignore[reportMissingImports]

    torch.set_num_threads(1)
    begin = start(net, x)
    inputs, targets, tests = (torch.tensor(np.asarray(a)) for a in (x, y, x_test))
    rates = [
        rate
        for b, W, n in zip(net.lambda_b, net.lambda_W, net.widths[:-1], strict=True)
        for rate in (float(b), float(W) / n)
    ]

    def apply(flat: list, signal: Any) -> Any:
        for layer in range(net.depth):
            signal = torch.tanh(signal) if layer else signal
            signal = signal @ flat[2 * layer + 1].T + flat[2 * layer]
        return signal

    def train(key: PRNGKeyArray, number: int) -> Trained:
        params, eta = begin(key, number)
        steps = [float(eta) * rate for rate in rates]
        flat = [torch.tensor(np.asarray(p), requires_grad=True) for p in jax.tree.leaves(params)]
        for taken in range(MOST_STEPS):
            residual = apply(flat, inputs) - targets
            if float(residual.detach().abs().max()) <= TOLERANCE:
                return apply(flat, tests).detach().numpy(), taken
            gradients = torch.autograd.grad((residual**2).sum() / 2, flat)
            with torch.no_grad():
                for p, g, size in zip(flat, gradients, steps, strict=True):
                    p -= size * g
        raise RuntimeError("A network did not converge.")

    return train


def ensemble(net: MLP, x: Array, y: Array, x_test: Array) -> tuple[Callable, int]:
    one = trainer(net, x, y, x_test, tolerance=TOLERANCE, most_steps=MOST_STEPS, history=0)
    return lambda key, number: jax.block_until_ready(one.networks(key, number)), one.chunk_size


def compare(width: int, seconds: float) -> dict[str, float]:
    """Print networks per second of all ways and return the ratio to each of the others."""
    net, x, y, x_test = problem(width)
    arrays = [jnp.asarray(a) for a in (x, y, x_test)]
    key = jax.random.key(1)
    chunk, size = ensemble(net, *arrays)
    ways = {"python loop": python_loop(net, *arrays), "loop in jit": loop_in_jit(net, *arrays)}
    if importlib.util.find_spec("torch"):
        ways["torch"] = torch_loop(net, *arrays)
    reference = chunk(key, 0)  # compiles
    steps = np.asarray(reference.steps)
    for name, train in ways.items():
        for number in range(3):
            outputs, taken = train(key, number)
            if taken != steps[number]:
                sys.exit(f"{name}: network {number} took {taken} steps, not {steps[number]}.")
            np.testing.assert_allclose(outputs, reference.outputs[number], atol=1e-9)
    print(
        f"width {width}: {np.mean(steps):.0f} steps per network on average, {np.max(steps)} at "
        f"most; {size} networks in a chunk"
    )
    best = {"finitewidth": 0.0} | dict.fromkeys(ways, 0.0)
    following = 1
    for _ in range(ROUNDS):
        begun, done = time.perf_counter(), 0
        while done == 0 or time.perf_counter() - begun < seconds / ROUNDS:
            chunk(key, following)
            following, done = following + 1, done + size
        rate = done / (time.perf_counter() - begun)
        best["finitewidth"] = max(best["finitewidth"], rate)
        for name, train in ways.items():
            begun, done = time.perf_counter(), 0
            while done == 0 or time.perf_counter() - begun < seconds / ROUNDS:
                train(key, done)
                done += 1
            best[name] = max(best[name], done / (time.perf_counter() - begun))
    fast = best.pop("finitewidth")
    print(f"  {'finitewidth':>12}: {fast:9.1f} networks/s")
    ratios = {name: fast / rate for name, rate in best.items()}
    for name, rate in best.items():
        print(f"  {name:>12}: {rate:9.1f} networks/s   ratio {ratios[name]:6.1f}", flush=True)
    return ratios


def main() -> None:
    parser = argparse.ArgumentParser(description="Networks trained per second.")
    parser.add_argument("--widths", type=int, nargs="+", default=[16, 32, 64, 128])
    parser.add_argument("--seconds", type=float, default=6.0, help="time for each way and width")
    arguments = parser.parse_args()
    with double_precision():
        ratios = {width: compare(width, arguments.seconds) for width in arguments.widths}
    slow = [
        f"{name} at width {width}"
        for width, found in ratios.items()
        for name, widest in WANTED_UP_TO.items()
        if width <= widest and found.get(name, math.inf) < WANTED_RATIO
    ]
    wanted = ", ".join(f"{name} up to width {widest}" for name, widest in WANTED_UP_TO.items())
    print(f"wanted: {WANTED_RATIO:g} times the {wanted}")
    if slow:
        sys.exit(f"Slower than wanted: {', '.join(slow)}.")


if __name__ == "__main__":
    main()
