"""Double precision for the library's own computations, whatever the caller's JAX settings are.

JAX computes in single precision unless told otherwise, and O(1/n) effects drown in single
precision. Every public function of this package runs inside `double_precision`, which is local to
the call and to the thread: the global JAX configuration of the caller is never touched.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import wraps
from typing import ParamSpec, TypeVar

import jax

P = ParamSpec("P")
R = TypeVar("R")


def double_precision() -> AbstractContextManager[None]:
    """Compute in 64 bits inside a `with` block.

    Use it around code of your own that mixes this package with `jax.grad`, `jax.vmap` or
    `jax.jit`: a transformation must start and end at one precision.

    Returns:
        A context manager; the precision of the caller comes back when the block ends.

    Example:
        >>> import jax.numpy as jnp
        >>> from finitewidth.precision import double_precision
        >>> with double_precision():
        ...     jnp.ones(1).dtype
        dtype('float64')
    """
    return jax.enable_x64(True)


def in_double_precision(function: Callable[P, R]) -> Callable[P, R]:
    """Run `function` inside `double_precision`.

    Args:
        function: any callable.

    Returns:
        The same callable, computing in 64 bits.
    """

    @wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        with double_precision():
            return function(*args, **kwargs)

    return wrapped
