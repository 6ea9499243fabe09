"""The pair expectation as one differentiable primitive.

    E[m1, m2](K11, K22, K12) = <F^(m1)(z_1) G^(m2)(z_2)>,  z ~ N(0, [[K11, K12], [K12, K22]])
    dE[m1, m2] = 1/2 E[m1+2, m2] dK11 + 1/2 E[m1, m2+2] dK22 + E[m1+1, m2+1] dK12

(Price's theorem; PDLT chapter 5 uses its one-input form (5.25).) Derivatives of F and G are those
of distributions: a kink gives delta functions. Every derivative of the theory is this rule.
"""

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float

from finitewidth.gaussian.factor import Factor
from finitewidth.gaussian.pair.closed_forms import closed_form
from finitewidth.gaussian.pair.kinked import kinked_pairs
from finitewidth.gaussian.pair.result import Result
from finitewidth.gaussian.pair.smooth import smooth_pairs

#: Pairs that are handled at once where every pair has variances of its own.
SLICE = 1024


class PairFunction(NamedTuple):
    """The two factors of a pair expectation; static under `jax.jit`."""

    F: Factor
    G: Factor

    def raised(self, m1: int, m2: int) -> "PairFunction":
        """Return the expectation with the orders of differentiation raised."""
        return PairFunction(self.F.differentiated(m1), self.G.differentiated(m2))


@partial(jax.custom_jvp, nondiff_argnums=(0,))
@partial(jax.jit, static_argnums=0)
def pair_primitive(
    pair: PairFunction,
    K11: Float[Array, "..."],
    K22: Float[Array, "..."],
    K12: Float[Array, "..."],
) -> Float[Array, "..."]:
    """Return <D^m1 F(z_1) D^m2 G(z_2)> elementwise; differentiable any number of times."""
    return evaluate(pair, K11, K22, K12).value


def _price(pair: PairFunction, primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    value = pair_primitive(pair, *primals)
    tangent = jnp.zeros_like(value)
    for rate, dK, (m1, m2) in zip((0.5, 0.5, 1.0), tangents, ((2, 0), (0, 2), (1, 1)), strict=True):
        if not isinstance(dK, SymbolicZero):
            tangent = tangent + rate * pair_primitive(pair.raised(m1, m2), *primals) * dK
    return value, tangent


pair_primitive.defjvp(_price, symbolic_zeros=True)


def evaluate(pair: PairFunction, K11: Array, K22: Array, K12: Array) -> Result:
    """Choose the method and return values with the error reached; not differentiable.

    Batching with `jax.vmap` adds axes to the arrays and calls this once more, so that the choice
    of the order stays one choice.
    """
    rank = max(K11.ndim, K22.ndim, K12.ndim)
    aligned = [k.reshape((1,) * (rank - k.ndim) + k.shape) for k in (K11, K22, K12)]
    shape = jnp.broadcast_shapes(*(k.shape for k in aligned))
    aligned[2] = jnp.broadcast_to(aligned[2], shape)
    size = math.prod(shape)
    if 8 * max(k.size for k in aligned[:2]) > size > 4 * SLICE:
        return _in_slices(pair, *aligned)
    return _batched(pair)(*aligned)


def _in_slices(pair: PairFunction, K11: Array, K22: Array, K12: Array) -> Result:
    # Every pair has variances of its own: the nodes of all of them would not fit in memory.
    count = -(-K12.size // SLICE)

    def cut(K: Array, fill: float) -> Array:
        flat = jnp.broadcast_to(K, K12.shape).reshape(-1)
        padding = jnp.full(count * SLICE - flat.size, fill)
        return jnp.concatenate([flat, padding]).reshape(count, SLICE)

    slices = (cut(K11, 1.0), cut(K22, 1.0), cut(K12, 0.0))
    result = jax.lax.map(lambda part: _batched(pair)(*part), slices)

    def join(values: Array) -> Array:
        return values.reshape(-1)[: K12.size].reshape(K12.shape)

    return Result(join(result.value), join(result.error), result.orders.max(), result.direct.sum())


def _batched(pair: PairFunction):
    @jax.custom_batching.custom_vmap
    def core(K11: Array, K22: Array, K12: Array) -> Result:
        return _method(pair, K11, K22, K12)

    @core.def_vmap
    def _rule(axis_size: int, batched: list, K11: Array, K22: Array, K12: Array):
        parts = [k if on else k[None] for k, on in zip((K11, K22, K12), batched, strict=True)]
        parts[2] = jnp.broadcast_to(parts[2], (axis_size, *parts[2].shape[1:]))
        result = core(*parts)
        orders = jnp.broadcast_to(result.orders, (axis_size,))
        direct = jnp.broadcast_to(result.direct, (axis_size,))
        whole = Result(result.value, result.error, orders, direct)
        return whole, jax.tree.map(lambda _: True, whole)

    return core


def _method(pair: PairFunction, K11: Array, K22: Array, K12: Array) -> Result:
    form = None
    if pair.F.function == pair.G.function:
        form = closed_form(pair.F.function, pair.F.order, pair.G.order)
    if form is not None:
        value = jnp.broadcast_to(form(K11, K22, K12), K12.shape)
        result = Result(value, jnp.full(K12.shape, 1e-15), jnp.zeros(()), jnp.zeros((), dtype=int))
    elif pair.F.kinks or pair.G.kinks:
        result = kinked_pairs(pair.F, pair.G, K11, K22, K12)
    else:
        result = smooth_pairs(pair.F, pair.G, K11, K22, K12)
    impossible = jnp.abs(K12) > jnp.sqrt(K11 * K22) * (1 + 1e-6)
    return result._replace(value=jnp.where(impossible, jnp.nan, result.value))
