"""A run on disk: killed at any moment and started again, it gives the same numbers to the last bit.

A checkpoint is one `.npz` file with the folded state of the first c chunks, the reference of the
run, and a fingerprint of what was run. It is written under another name, flushed, and moved into
place, so that the file is always a whole one: the last or the one before.
"""

import hashlib
import json
import os
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from finitewidth.ensemble.chunk import Sampler
from finitewidth.ensemble.draw import gram
from finitewidth.network import MLP

FORMAT = 2

# A function is recognized by its values here.
PROBE = np.linspace(-3.0, 3.0, 49)


class Stored(NamedTuple):
    """How far a run has come: the number of folded chunks, their state, and the reference."""

    chunks: int
    state: Any
    reference: Any


class Checkpoint:
    """A checkpoint file of one particular run.

    Args:
        path: where the file is or will be; its folder must exist.
        fingerprint: what the run is, as returned by `fingerprint`.

    Raises:
        ValueError: if the file cannot be written there.
    """

    def __init__(self, path: str | os.PathLike[str], fingerprint: dict[str, str]):
        self.path = Path(path)
        self.partial = self.path.with_name(self.path.name + ".partial")
        self.fingerprint = fingerprint
        if self.path.is_dir():
            raise ValueError(f"checkpoint: wanted a file, got the folder {self.path}.")
        try:
            with open(self.partial, "wb"):
                pass
            self.partial.unlink()
        except OSError as error:
            raise ValueError(
                f"checkpoint: wanted a path that can be written, got {self.path}: {error.strerror}."
            ) from error

    def save(self, stored: Stored) -> None:
        """Replace the file in one step."""
        leaves = jax.tree.leaves((stored.state, stored.reference))
        arrays: dict[str, Any] = {f"leaf_{i}": np.asarray(leaf) for i, leaf in enumerate(leaves)}
        with open(self.partial, "wb") as file:
            np.savez(
                file,
                fingerprint=np.array(json.dumps(self.fingerprint)),
                chunks=np.array(stored.chunks),
                **arrays,
            )
            file.flush()
            os.fsync(file.fileno())
        os.replace(self.partial, self.path)

    def load(self, like: tuple[Any, Any]) -> Stored | None:
        """Return how far the run has come, or None if it has not begun.

        Args:
            like: a state and a reference of the same structure and shapes.

        Raises:
            ValueError: if the file is damaged or belongs to another run.
        """
        if not self.path.exists():
            return None
        leaves, structure = jax.tree.flatten(like)
        try:
            with np.load(self.path, allow_pickle=False) as file:
                found = json.loads(str(file["fingerprint"]))
                chunks = int(file["chunks"])
                stored = [file[key] for key in file.files if key.startswith("leaf_")]
        except (OSError, EOFError, KeyError, ValueError, TypeError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"checkpoint: wanted a file written by an earlier run, got {self.path}, which "
                f"cannot be read as one ({error}). Remove it to start over."
            ) from error
        names = sorted(set(found) | set(self.fingerprint))
        other = [name for name in names if found.get(name) != self.fingerprint.get(name)]
        if other:
            raise ValueError(
                f"checkpoint: {self.path} belongs to another run, which differs in "
                f"{', '.join(other)}. Wanted the same run; give another path or remove the file."
            )
        if [a.shape for a in stored] != [tuple(leaf.shape) for leaf in leaves]:
            raise ValueError(
                f"checkpoint: {self.path} holds arrays of other shapes than this run. "
                "Remove it to start over."
            )
        state, reference = jax.tree.unflatten(structure, stored)
        return Stored(chunks, state, reference)


def fingerprint(sampler: Sampler, key: jax.Array) -> dict[str, str]:
    """Return what makes a run the run it is, name by name.

    An activation and a control variate are recognized by their values, not only by their names.
    """
    net = sampler.net
    start = (
        gram(net.C_b[0], net.C_W[0], sampler.x)[None],
        gram(net.lambda_b[0], net.lambda_W[0], sampler.x)[None],
    )
    kernels = [start[0]]
    for layer_map in [m for o in sampler.observables for m in getattr(o, "layer_maps", ())]:
        kernels.append(layer_map(kernels[-1]))
    ntks = [start]
    for layer_map in [m for o in sampler.observables for m in getattr(o, "ntk_layer_maps", ())]:
        ntks.append(layer_map(*ntks[-1]))
    parts = {
        "format": FORMAT,
        **network_parts(net),
        "x": digest(sampler.x),
        "key": key_part(key),
        "observables": [o.name for o in sampler.observables],
        "method": sampler.method,
        "chunk_size": sampler.chunk_size,
        "control_variate": [rounded_digest(kernel) for kernel in kernels[1:]],
        "ntk_control_variate": [rounded_digest(both) for both in ntks[1:]],
    }
    return {name: json.dumps(part) for name, part in parts.items()}


def network_parts(net: MLP) -> dict[str, Any]:
    """Return what makes a network specification the one it is, name by name."""
    return {
        "widths": net.widths,
        "activation": (net.activation.name, rounded_digest(net.activation(PROBE))),
        "law": net.law,
        "C_b": digest(net.C_b),
        "C_W": digest(net.C_W),
        "lambda_b": digest(net.lambda_b),
        "lambda_W": digest(net.lambda_W),
    }


def key_part(key: jax.Array) -> tuple[str, str]:
    """Return what makes a random key the one it is."""
    return str(jax.random.key_impl(key)), digest(jax.random.key_data(key))


def rounded_digest(array: Any) -> str:
    """Return a digest of values of a function; another machine may round their last digits."""
    return hashlib.sha256(" ".join(f"{v:.9e}" for v in np.ravel(array)).encode()).hexdigest()[:16]


def digest(array: Any) -> str:
    """Return a digest of every bit of an array."""
    array = np.ascontiguousarray(array)
    content = f"{array.dtype}{array.shape}".encode() + array.tobytes()
    return hashlib.sha256(content).hexdigest()[:16]
