"""A chunk of the ensemble: a pure function of (key, chunk number).

The networks of chunk c are drawn with `jax.random.fold_in(key, c)`. Nothing else enters, so chunks
may be computed in any order, on any device or machine; folded in the order of their numbers they
give the same state to the last bit.
"""

import math
import os
from functools import reduce
from itertools import pairwise
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from finitewidth.ensemble.conditional_ntk import draw_with_ntk
from finitewidth.ensemble.draw import Detail, Draw
from finitewidth.ensemble.metric_chain import draw_by_chain
from finitewidth.ensemble.observable import Observable, Reference, State
from finitewidth.ensemble.weights import NTK_NEURONS, draw_by_weights
from finitewidth.network import MLP
from finitewidth.precision import in_double_precision

Method = Literal["weights", "chain"]
METHODS: tuple[Method, ...] = ("weights", "chain")

# A chunk of about this many numbers (16 MiB) stays near the processor's cache and is large enough
# for the cost of starting it to vanish.
DEFAULT_CHUNK_NUMBERS = 2**21
LARGEST_DEFAULT_CHUNK = 4096


class Sampler(eqx.Module):
    """Everything that defines an ensemble and what is measured on it, but no randomness.

    Attributes:
        net: the network.
        x: inputs, shape (N, n0).
        observables: what is measured.
        reference: fixed reference of the run, or None if no observable needs one.
        method: how networks are drawn.
        chunk_size: networks in a chunk.
    """

    net: MLP
    x: Float[Array, "N n0"]
    observables: tuple[Observable, ...]
    reference: Reference | None
    method: Method = eqx.field(static=True)
    chunk_size: int = eqx.field(static=True)

    @in_double_precision
    def draw(self, key: PRNGKeyArray, number: ArrayLike) -> Draw:
        """Draw the networks of chunk `number`: their statistics, not their weights."""
        detail = max(o.detail for o in self.observables)
        number = jnp.asarray(number, int)
        return _draw(self.net, self.x, key, number, self.method, self.chunk_size, detail)

    @in_double_precision
    def __call__(
        self, key: PRNGKeyArray, number: ArrayLike, size: ArrayLike | None = None
    ) -> dict[str, State]:
        """Return the state of chunk `number` of the ensemble of `key`.

        Args:
            key: the key of the run.
            number: which chunk.
            size: if given, only the first `size` networks of the chunk count.

        Returns:
            The mergeable state of every observable, by name.
        """
        size = self.chunk_size if size is None else size
        return _summary(
            self.observables, self.draw(key, number), jnp.asarray(size, int), self.reference
        )

    @in_double_precision
    def pilot(self, key: PRNGKeyArray) -> "Sampler":
        """Return the same sampler with a reference from its first chunks, if it needs one."""
        if not any(o.needs_reference for o in self.observables):
            return self
        networks = max(o.pilot_networks for o in self.observables)
        draws = [self.draw(key, number) for number in range(-(-networks // self.chunk_size))]
        metric = jnp.concatenate([draw.metric for draw in draws])
        ntks = [draw.ntk for draw in draws if draw.ntk is not None]
        ntk = jnp.concatenate(ntks) if ntks else None
        return eqx.tree_at(
            lambda s: s.reference,
            self,
            eqx.filter_jit(Reference.of)(metric, ntk),
            is_leaf=lambda node: node is None,
        )


# Drawing and summarizing are compiled apart: the pilot of a run and other observables of the same
# network use the compiled sampler again.
@eqx.filter_jit
def _draw(
    net: MLP,
    x: Float[Array, "N n0"],
    key: PRNGKeyArray,
    number: Array,
    method: Method,
    chunk_size: int,
    detail: Detail,
) -> Draw:
    chunk_key = jax.random.fold_in(key, number)
    if method == "chain":
        return draw_by_chain(net, x, chunk_key, chunk_size)
    if detail >= Detail.NTK:
        return draw_with_ntk(net, x, chunk_key, chunk_size, detail >= Detail.PRODUCTS)
    return draw_by_weights(net, x, chunk_key, chunk_size, detail >= Detail.NTK_OF_FEW)


@eqx.filter_jit
def _summary(
    observables: tuple[Observable, ...], draw: Draw, size: Array, reference: Reference | None
) -> dict[str, State]:
    present = (jnp.arange(draw.metric.shape[0]) < size).astype(float)
    return {o.name: o.state(draw, present, reference) for o in observables}


def merge_states(states: list[dict[str, State]]) -> dict[str, State]:
    """Fold the states of chunks, in the order given."""
    return reduce(lambda a, b: {name: a[name].merge(b[name]) for name in a}, states)


def numbers_per_network(
    net: MLP, samples: int, observables: tuple[Observable, ...], method: str
) -> int:
    """Return about how many double-precision numbers one network of a chunk occupies."""
    pairs = samples * (samples + 1) // 2
    numbers = net.depth * samples**2
    if method == "chain":
        # All normal numbers are drawn at once; what is made from them reuses its memory.
        hidden = net.widths[1:-1]
        numbers += samples * (sum(hidden) + 2 * max(hidden, default=1))
    else:
        numbers += samples * sum(net.widths)
        detail = max(o.detail for o in observables)
        if detail >= Detail.NTK:
            # The NTK of one layer at a time, for every pair: it, what carries it on, and a copy.
            numbers += (4 * pairs + 1) * max(net.widths[:-1]) ** 2
            if detail >= Detail.PRODUCTS:
                numbers += 2 * net.depth * (samples**2 * pairs + 2 * pairs**2)
        elif detail == Detail.NTK_OF_FEW:
            numbers += net.parameter_count
            numbers += net.depth * NTK_NEURONS * samples * max(net.widths)
        else:
            # Weights are forgotten layer by layer.
            numbers += max(n_out * n_in for n_in, n_out in pairwise(net.widths))
    if any(o.order == 3 for o in observables):
        numbers += net.depth * (pairs**2 + 2 * math.comb(pairs + 2, 3))
    return numbers


def memory_numbers() -> int:
    """Return how many double-precision numbers fit into this machine's memory."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 8
    except (ValueError, OSError, AttributeError):
        return 2**30


def choose_chunk_size(
    net: MLP,
    samples: int,
    observables: tuple[Observable, ...],
    method: str,
    wanted: int | None,
) -> int:
    """Return the number of networks in a chunk, or say that the wish does not fit into memory.

    The default depends on the network, the inputs and what is measured, never on how many
    networks are asked for: a longer run continues a shorter one.

    Raises:
        ValueError: if the chunk, or the result itself, does not fit into memory.
    """
    room = memory_numbers()
    pairs = samples * (samples + 1) // 2
    result = max(
        4 * net.depth * (o.vectors * pairs) ** 2 if o.order == 2 else 0 for o in observables
    )
    result = max(result, max(2 * net.depth * samples ** (2 * o.order) for o in observables))
    if result > room:
        raise ValueError(
            f"observables: the result for {samples} inputs and {net.depth} layers has {result:.2g} "
            f"numbers, more than fit into memory ({room:.2g}); wanted fewer inputs."
        )
    each = numbers_per_network(net, samples, observables, method)
    if wanted is None:
        return max(2, min(LARGEST_DEFAULT_CHUNK, DEFAULT_CHUNK_NUMBERS // each))
    if wanted * each > room:
        raise ValueError(
            f"chunk_size: wanted at most {max(1, room // each)} networks, as many as fit into "
            f"memory, got {wanted}."
        )
    return wanted
