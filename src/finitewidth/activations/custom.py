"""A user's own function as an activation."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from finitewidth.activations.base import Activation, Parity
from finitewidth.precision import in_double_precision


@dataclass(frozen=True)
class Custom(Activation):
    """Any elementwise function written with JAX; its symmetries are found by computation.

    Attributes:
        function: maps an array to an array of the same shape, elementwise.
        kinks: where the function or one of its derivatives jumps. They must be given: a kink
            cannot be found by looking at values, and integrals across it lose accuracy.
        label: a name for tables; the name of the function if not given.
        parity: odd, even or None, found by computation when made by `activation`.
        homogeneity: found by computation when made by `activation`.
    """

    function: Callable[[Array], Array]
    kinks: tuple[float, ...] = ()
    label: str | None = None
    parity: Parity = None
    homogeneity: int | None = None

    @property
    def name(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.label or getattr(self.function, "__name__", type(self.function).__name__)

    def __call__(self, z: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
        return self.function(jnp.asarray(z, dtype=float))


@in_double_precision
def custom(
    function: Callable[[Array], Array],
    kinks: tuple[float, ...] = (),
    name: str | None = None,
) -> Custom:
    """Describe a user's function as an activation and find its parity and homogeneity.

    Args:
        function: elementwise function of a JAX array.
        kinks: where the function or one of its derivatives jumps.
        name: a name for tables.

    Returns:
        The activation.

    Raises:
        TypeError: if the function does not map an array to real numbers.
        ValueError: if it changes the shape or gives NaN or infinity on [-8, 8].

    Example:
        >>> import jax.numpy as jnp
        >>> custom(lambda z: z * jnp.exp(-z**2), name="bump").parity
        'odd'
    """
    # A network may be built inside a caller's jit: what is found out here must be values there too.
    with jax.ensure_compile_time_eval():
        return _examined(function, kinks, name)


def _examined(
    function: Callable[[Array], Array], kinks: tuple[float, ...], name: str | None
) -> Custom:
    probe = jnp.asarray(np.random.default_rng(0).uniform(-8, 8, 64))
    try:
        values = function(probe)
        scalar_shape = jax.eval_shape(function, jax.ShapeDtypeStruct((), probe.dtype)).shape
    except Exception as error:
        raise TypeError(
            f"activation: wanted a function of a JAX array, but calling it failed: {error}"
        ) from error
    values = jnp.asarray(values)
    if values.dtype.kind != "f":
        raise TypeError(f"activation: wanted real values, got type {values.dtype}.")
    if values.shape != probe.shape or scalar_shape != ():
        raise ValueError(
            f"activation: wanted an elementwise function, got shape {values.shape} "
            f"from shape {probe.shape}."
        )
    if not bool(jnp.isfinite(values).all()):
        raise ValueError("activation: wanted finite values on [-8, 8], got NaN or infinity.")

    def same(a: Array, b: Array) -> bool:
        return bool(jnp.allclose(a, b, rtol=1e-12, atol=1e-13))

    parity: Parity = None
    if same(function(-probe), -values):
        parity = "odd"
    elif same(function(-probe), values):
        parity = "even"
    homogeneity = None
    for power in range(7):
        if all(same(function(c * probe), c**power * values) for c in (0.3, 2.7)):
            homogeneity = power
            break
    return Custom(function, tuple(float(k) for k in kinks), name, parity, homogeneity)
