"""A run as a stream of chunks: computed on all local devices, folded in order, kept on disk.

    state = chunk(0) + chunk(1) + ... + part of the last chunk

with + the merge of states. Chunks are pure functions of (key, number) and are folded in the order
of their numbers, so the same key gives the same numbers however many devices there are and however
often the run was interrupted.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, Self, TypeVar

import equinox as eqx
import jax
from jaxtyping import ArrayLike, PRNGKeyArray

from finitewidth.ensemble.checkpoint import Checkpoint, Stored
from finitewidth.ensemble.chunk import merge_states

State = dict[str, Any]
ProgressReport = Callable[[int, int], None]


class Chunks(Protocol):
    """An ensemble cut into chunks; an `eqx.Module`.

    Attributes:
        chunk_size: networks in a chunk.
        reference: fixed reference of the run, or None.
    """

    chunk_size: int
    reference: Any

    def __call__(
        self, key: PRNGKeyArray, number: ArrayLike, size: ArrayLike | None = None
    ) -> State:
        """Return the state of chunk `number`, or of its first `size` networks."""
        ...

    def pilot(self, key: PRNGKeyArray) -> Self:
        """Return the same chunks with a reference, if they need one."""
        ...


C = TypeVar("C", bound=Chunks)


def fold(
    chunks: C,
    key: PRNGKeyArray,
    samples: int,
    file: Checkpoint | None,
    seconds: float,
    report: ProgressReport,
) -> tuple[C, State]:
    """Fold all chunks, going on from a checkpoint if there is one.

    Args:
        chunks: the ensemble.
        key: the key of the run.
        samples: number of networks.
        file: where the state is kept, or None.
        seconds: least time between two writes of that file.
        report: called with (networks done, samples).

    Returns:
        The chunks with their reference, and the state of all networks.

    Raises:
        ValueError: if the file belongs to another run or holds more networks than are wanted.
    """
    size = chunks.chunk_size
    whole, rest = divmod(samples, size)
    stored = None if file is None else file.load(_shapes(chunks, key))
    if stored is None:
        chunks = chunks.pilot(key)
        folded, done = None, 0
    else:
        chunks = eqx.tree_at(
            lambda c: c.reference, chunks, stored.reference, is_leaf=lambda node: node is None
        )
        folded, done = stored.state, stored.chunks
    if file is not None and done > whole:
        raise ValueError(
            f"checkpoint: {file.path} already holds {done * size} networks; "
            f"wanted samples of at least that, got {samples}."
        )
    saved = time.monotonic()
    report(done * size, samples)
    for state in _states(chunks, key, range(done, whole)):
        folded = state if folded is None else merge_states([folded, state])
        done += 1
        if file is not None and (done == whole or time.monotonic() - saved >= seconds):
            file.save(Stored(done, folded, chunks.reference))
            saved = time.monotonic()
        report(done * size, samples)
    if rest:
        # A part of a chunk is not kept on disk: a longer run needs that chunk as a whole.
        part = jax.device_get(chunks(key, whole, rest))
        folded = part if folded is None else merge_states([folded, part])
        report(samples, samples)
    assert folded is not None
    return chunks, folded


def _states(chunks: Chunks, key: PRNGKeyArray, numbers: range) -> Iterator[State]:
    """Compute chunks on all local devices and hand them over in order."""
    devices = jax.local_devices()
    arrays, rest = eqx.partition(chunks, eqx.is_array)
    placed = [
        (eqx.combine(jax.device_put(arrays, device), rest), jax.device_put(key, device))
        for device in devices[: max(1, len(numbers))]
    ]
    waiting: deque[State] = deque()
    for number in numbers:
        local, local_key = placed[number % len(placed)]
        waiting.append(local(local_key, number))
        if len(waiting) > len(placed):
            yield jax.device_get(waiting.popleft())
    while waiting:
        yield jax.device_get(waiting.popleft())


def _shapes(chunks: Chunks, key: PRNGKeyArray) -> tuple[Any, Any]:
    """Return state and reference of a run as shapes, without computing them."""
    ready = eqx.filter_eval_shape(lambda c, k: c.pilot(k), chunks, key)
    state = eqx.filter_eval_shape(lambda c, k: c(k, 0), ready, key)
    return state, ready.reference


@contextmanager
def progress_report(progress: bool | ProgressReport, samples: int) -> Iterator[ProgressReport]:
    """Turn the argument `progress` into a function to report to, with a bar if it is True."""
    if callable(progress):
        yield progress
    elif not progress:
        yield lambda done, total: None
    else:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        columns = (
            TextColumn("networks"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, transient=True) as bar:
            task = bar.add_task("networks", total=samples)
            yield lambda done, total: bar.update(task, completed=done, total=total)
