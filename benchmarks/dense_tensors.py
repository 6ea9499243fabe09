"""Dense tensors of preactivations and NTK at first order: how time and memory grow with N.

`finitewidth.flow.ntk(net, x, order=1)` for a tanh and a relu network of depth 8 and N = 8, 16, 24
inputs, against plain `jnp.einsum` that writes the same five tensors V, D, A, F, B of every layer
with all pair and four-point expectations of the neurons given: the least that a program must do for
these arrays. The two agree to rounding, which is checked. Both are compiled; times are the best of
several calls after the first. Each size runs in a process of its own, so that the peak memory is
its own; the memory of a process that computes the same at N = 2 is taken off.

    python benchmarks/dense_tensors.py [--depth 8]
"""

import argparse
import json
import resource
import subprocess
import sys
import time

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from finitewidth.flow import ntk
from finitewidth.flow.fluctuations import NeuronStatistics
from finitewidth.flow.preactivations import width_ratios
from finitewidth.gaussian.four_point import SOBOL_POINTS
from finitewidth.gaussian.pair import pair_moments
from finitewidth.network import MLP
from finitewidth.precision import double_precision

ACTIVATIONS = ("tanh", "relu")
SIZES = (8, 16, 24)
LARGEST_EXPONENT, LARGEST_RATIO = 4.0, 10.0
#: Exponents are fitted to noisy times of three sizes.
SCATTER = 0.15
FEATURES, CALLS = 32, 3
GROWTH = ("growth of time", "growth of memory")


def problem(activation: str, inputs: int, depth: int) -> tuple[MLP, np.ndarray]:
    net = MLP.critical((FEATURES, *(128,) * (depth - 1), 10), activation)
    return net, np.random.default_rng(0).normal(size=(inputs, FEATURES))


def plain(net: MLP, x: np.ndarray) -> tuple[float, list[np.ndarray]]:
    """Return the seconds that plain einsum takes to write V, D, A, F, B, and the arrays."""
    layers = [expectations(net, K) for K in ntk(net, x).kernel[:-1]]
    stacked = {name: jnp.stack([layer[name] for layer in layers]) for name in layers[0]}
    rates = (net.C_W[1:], net.lambda_W[1:], width_ratios(net)[1:])
    Theta = ntk(net, x).mean[:-1]

    @jax.jit
    def write(stacked: dict[str, jax.Array], Theta: jax.Array) -> tuple[jax.Array, ...]:
        first = (jnp.zeros((len(x),) * 4),) * 5
        return jax.lax.scan(einsum_step, first, (stacked, Theta, *rates))[1]

    return best(lambda: write(stacked, Theta)), [np.asarray(T) for T in write(stacked, Theta)]


@eqx.filter_jit
def expectations(net: MLP, K: jax.Array) -> dict[str, jax.Array]:
    """Return everything about the neurons of a layer that the recursions ask for."""
    layer = NeuronStatistics(pair_moments(net.activation), K, SOBOL_POINTS)
    names = ("value", "slope", "values", "mixed", "slopes")
    found = {name: getattr(layer, name) for name in names}
    for name, jacobian in (("L", layer.value_jacobian), ("M", layer.slope_jacobian)):
        found |= {f"{name}_1": jacobian.f_1, f"{name}_3": jacobian.f_3}
    return found


def einsum_step(now: tuple, above: tuple) -> tuple[tuple, tuple]:
    """Take V, D, A, F, B to the next layer, PDLT (4.119), (8.77), (8.97), (8.79), (8.89)."""
    V, D, A, F, B = now
    e, Theta, C_W, lambda_W, r = above

    def left(name: str, T: jax.Array) -> jax.Array:
        moved = jnp.einsum("ab,abcd->abcd", e[f"{name}_3"], T)
        moved += jnp.einsum("ab,aacd->abcd", e[f"{name}_1"], T)
        return moved + jnp.einsum("ba,bbcd->abcd", e[f"{name}_1"], T)

    def right(name: str, T: jax.Array) -> jax.Array:
        moved = jnp.einsum("cd,abcd->abcd", e[f"{name}_3"], T)
        moved += jnp.einsum("cd,abcc->abcd", e[f"{name}_1"], T)
        return moved + jnp.einsum("dc,abdd->abcd", e[f"{name}_1"], T)

    def ntk_left(on_metric: jax.Array, on_ntk: jax.Array) -> jax.Array:
        turned = jnp.einsum("ab,abcd->abcd", Theta, left("M", on_metric))
        turned += jnp.einsum("ab,abcd->abcd", e["slope"], on_ntk)
        return lambda_W * left("L", on_metric) + C_W * turned

    def ntk_right(on_metric: jax.Array, on_ntk: jax.Array) -> jax.Array:
        turned = jnp.einsum("cd,abcd->abcd", Theta, right("M", on_metric))
        turned += jnp.einsum("cd,abcd->abcd", e["slope"], on_ntk)
        return lambda_W * right("L", on_metric) + C_W * turned

    V_left, D_left = C_W * left("L", V), C_W * left("L", D)
    E_left, A_left = ntk_left(V, jnp.einsum("cdab->abcd", D)), ntk_left(D, A)

    values = e["values"] - jnp.einsum("ab,cd->abcd", e["value"], e["value"])
    mixed = e["mixed"] - jnp.einsum("ab,cd->abcd", e["value"], e["slope"])
    slopes = e["slopes"] - jnp.einsum("ab,cd->abcd", e["slope"], e["slope"])
    with_Omega = lambda_W * values + C_W * jnp.einsum("abcd,cd->abcd", mixed, Theta)
    Omega_Omega = (
        lambda_W * with_Omega
        + lambda_W * C_W * jnp.einsum("cdab,ab->abcd", mixed, Theta)
        + C_W**2 * jnp.einsum("abcd,ab,cd->abcd", slopes, Theta, Theta)
    )
    F_1 = jnp.einsum("ab,abcd->abcd", e["L_3"], F) + 2 * jnp.einsum("ba,bbcd->abcd", e["L_1"], F)
    F_2 = jnp.einsum("cd,abcd->abcd", e["L_3"], F_1)
    F_2 += 2 * jnp.einsum("dc,abdd->abcd", e["L_1"], F_1)
    after = (
        C_W**2 * values + r * C_W * right("L", V_left),
        C_W * with_Omega + r * ntk_right(V_left, D_left),
        Omega_Omega + r * ntk_right(E_left, A_left),
        C_W**2 * (jnp.einsum("acbd,bd->abcd", e["mixed"], Theta) + r * F_2),
        C_W**2 * jnp.einsum("abcd,ac,bd->abcd", e["slopes"], Theta, Theta)
        + C_W**2 * r * jnp.einsum("ab,cd,abcd->abcd", e["slope"], e["slope"], B),
    )
    return after, after


def compare(activation: str, inputs: int, depth: int) -> dict[str, float]:
    """Time both ways in turn, and check that they give the same arrays."""
    net, x = problem(activation, inputs, depth)
    seconds = best(lambda: ntk(net, x, order=1))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    with double_precision():
        plain_seconds, arrays = plain(net, x)
    found = ntk(net, x, order=1)
    tensors = (found.vertex, found.D, found.A, found.F, found.B)
    for tensor, array in zip(tensors, arrays, strict=True):
        np.testing.assert_allclose(
            tensor.dense()[1:], array, rtol=1e-5, atol=1e-6 * np.abs(array).max()
        )
    return {"seconds": seconds, "plain": plain_seconds, "GiB": peak}


def best(call) -> float:
    jax.block_until_ready(call())  # compiles
    times = []
    for _ in range(CALLS):
        start = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - start)
    return min(times)


def in_a_process(activation: str, inputs: int, depth: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--only", activation, str(inputs), str(depth)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def exponent(values: list[float]) -> float:
    """Return the exponent of N between the smallest and the largest size."""
    return float(np.log(values[-1] / values[0]) / np.log(SIZES[-1] / SIZES[0]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--depth", type=int, default=8)
    parser.add_argument("--only", nargs=3, metavar=("WHAT", "N", "L"), help="one, here, as JSON")
    options = parser.parse_args()
    if options.only:
        activation, inputs, depth = options.only
        print(json.dumps(compare(activation, int(inputs), int(depth))))
        return 0
    good = True
    for activation in ACTIVATIONS:
        idle = in_a_process(activation, 2, options.depth)["GiB"]
        found = [in_a_process(activation, N, options.depth) for N in SIZES]
        seconds = [f["seconds"] for f in found]
        memory = [f["GiB"] - idle for f in found]
        ratio = [f["seconds"] / f["plain"] for f in found]
        for N, f, m, q in zip(SIZES, found, memory, ratio, strict=True):
            arrays = 5 * options.depth * N**4 * 8 / 2**30
            print(
                f"{activation} N = {N}: {f['seconds']:.3f} s, {m:.3f} GiB above N = 2 (the arrays "
                f"themselves {arrays:.3f}); plain einsum {f['plain']:.3f} s, ratio {q:.1f}"
            )
        growth = exponent(seconds), exponent(memory)
        print(
            f"{activation}: "
            + ", ".join(f"{g} N^{e:.2f}" for g, e in zip(GROWTH, growth, strict=True))
        )
        good &= max(growth) <= LARGEST_EXPONENT + SCATTER
        good &= ratio[-1] <= LARGEST_RATIO
    wanted = f"growth at most N^{LARGEST_EXPONENT:g}, ratio at N = {SIZES[-1]} at most "
    print("as wanted" if good else f"wanted: {wanted}{LARGEST_RATIO:g}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
