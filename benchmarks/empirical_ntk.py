"""Empirical NTKs per second, against the derivative by every parameter, side by side in one run.

The plain way to the NTK of a network is the Jacobian of its neurons by all parameters,
`vmap(jacrev)` over an ensemble, and its product with itself. `finitewidth.ensemble` never forms
that Jacobian. Two comparisons, on N = 4 inputs, five layers and ten outputs, in double precision:

outputs: `empirical_ntk` of the ten outputs against `vmap(jacrev)`, the same numbers, checked;
all layers: `measure` of the mean NTK, A, B, D and F of every layer against only the NTKs of all
hidden neurons by `vmap(jacrev)`, from which these tensors would still have to be made.

    python benchmarks/empirical_ntk.py [--activation tanh] [--width 64] [--seconds 5]
"""

import argparse
import sys
import time
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from finitewidth.ensemble import empirical_ntk, measure
from finitewidth.network import MLP, Parameters
from finitewidth.precision import double_precision

INPUTS, LAYERS, OUTPUTS, FEATURES = 4, 5, 10, 16
WANTED_RATIO = 5.0
ROUNDS = 3
# Networks at once: the Jacobians of the outputs of 32 networks of width 64 take 150 MB, those of
# all hidden neurons of 2 networks about as much.
BATCH = {"outputs": 32, "all layers": 2}
MEASURED = 512


def problem(activation: str, width: int) -> tuple[MLP, np.ndarray]:
    net = MLP(
        (FEATURES, *(width,) * (LAYERS - 1), OUTPUTS),
        activation,
        C_b=0.0,
        C_W=2.0 if activation == "relu" else 1.0,
    )
    return net, np.random.default_rng(0).normal(size=(INPUTS, FEATURES))


def plain_ntk(
    net: MLP, params: Parameters, x: Array, layer: int = LAYERS
) -> Float[Array, "n n N N"]:
    """Return the NTK of a layer from its Jacobian by every parameter below."""
    jacobians = jax.jacrev(lambda p: net.preactivations(p, x)[-1])(params[:layer])
    ntk = jnp.zeros(())
    for k, (b, W) in enumerate(jacobians):
        flat = W.reshape(*W.shape[:2], -1)
        ntk = ntk + net.lambda_b[k] * jnp.einsum("aip,bjp->ijab", b, b)
        ntk = ntk + net.lambda_W[k] / net.widths[k] * jnp.einsum("aip,bjp->ijab", flat, flat)
    return ntk


def plain_ntks(net: MLP, params: Parameters, x: Array) -> list[Float[Array, "n n N N"]]:
    """Return the NTKs of all hidden layers, which the tensors of every layer are made of."""
    return [plain_ntk(net, params, x, layer) for layer in range(1, LAYERS)]


def batched(ntk_of: Callable, net: MLP, x: np.ndarray, networks: int) -> Callable:
    """Return a compiled function from a key to the NTKs of a batch of fresh networks."""

    def one(key: PRNGKeyArray) -> Array:
        return ntk_of(net, net.init(key), jnp.asarray(x))

    return eqx.filter_jit(lambda key: jax.vmap(one)(jax.random.split(key, networks)))


def seconds_for(run: Callable[[int], object], times: int) -> float:
    start = time.perf_counter()
    for number in range(times):
        jax.block_until_ready(run(number))
    return time.perf_counter() - start


def rates(runs: dict[str, tuple[Callable[[int], object], int]], seconds: float) -> dict[str, float]:
    """Time all ways in turn, several rounds, and take the best round of each: networks/s."""
    times, best = {}, dict.fromkeys(runs, 0.0)
    for name, (run, _) in runs.items():
        seconds_for(run, 1)  # compiles
        times[name] = max(1, int(seconds / ROUNDS / seconds_for(run, 1)))
    for _ in range(ROUNDS):
        for name, (run, networks) in runs.items():
            rate = networks * times[name] / seconds_for(run, times[name])
            best[name] = max(best[name], rate)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description="Empirical NTKs per second.")
    parser.add_argument("--activation", default="tanh")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=5.0, help="time for each way")
    arguments = parser.parse_args()
    net, x = problem(arguments.activation, arguments.width)
    print(
        f"N = {INPUTS}, width {arguments.width}, {LAYERS} layers, {OUTPUTS} outputs, "
        f"{arguments.activation}, double precision"
    )
    few, all_layers = BATCH["outputs"], BATCH["all layers"]
    plain, grams = (batched(way, net, x, few) for way in (plain_ntk, empirical_ntk))
    plain_all = batched(plain_ntks, net, x, all_layers)
    with double_precision():
        key = jax.random.key(1)
        reference = np.asarray(plain(key))
        difference = np.max(np.abs(np.asarray(grams(key)) - reference)) / np.max(reference)

        def ensemble(number: int) -> object:
            return measure(net, x, ("ntk", "A", "B", "D", "F"), MEASURED, number)

        found = rates(
            {
                "outputs, vmap(jacrev)": (lambda number: plain(jax.random.key(number)), few),
                "outputs, empirical_ntk": (lambda number: grams(jax.random.key(number)), few),
                "all layers, vmap(jacrev)": (
                    lambda number: plain_all(jax.random.key(number)),
                    all_layers,
                ),
                "all layers, measure": (ensemble, MEASURED),
            },
            arguments.seconds,
        )
    print(f"largest difference of an NTK of the outputs: {difference:.1e} of its largest entry")
    for name, rate in found.items():
        print(f"{name:>25}: {rate:8.1f} networks/s")
    ratios = {
        "outputs": found["outputs, empirical_ntk"] / found["outputs, vmap(jacrev)"],
        "all layers": found["all layers, measure"] / found["all layers, vmap(jacrev)"],
    }
    for name, ratio in ratios.items():
        print(f"{name + ', ratio':>25}: {ratio:8.1f} (wanted at least {WANTED_RATIO:g})")
    if difference > 1e-12:
        sys.exit("The two NTKs differ.")
    if min(ratios.values()) < WANTED_RATIO:
        sys.exit("Slower than wanted.")


if __name__ == "__main__":
    main()
