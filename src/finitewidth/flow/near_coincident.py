r"""Two nearby inputs: the gamma basis, and how small differences flow with depth.

    K_[0] = (K_++ + K_-- + 2 K_+-)/4,  K_[1] = (K_++ - K_--)/2,  K_[2] = (K_++ + K_-- - 2 K_+-)/4
    R = K_++ - K_-- = 2 K_[1],     D = K_++ + K_-- - 2 K_+- = 4 K_[2]       PDLT (5.13)-(5.20)

With x_pm = x_0 +- dx/2 and K_00 the kernel of the midpoint, to second order in dx,

    K_00'    = C_b + C_W g(K_00)                                                PDLT (5.46)
    dK_[1]'  = chi_parallel(K_00) dK_[1]                                        PDLT (5.47)
    ddK_[2]' = chi_perp(K_00) ddK_[2] + h(K_00) dK_[1]^2                        PDLT (5.48)

If sigma' jumps by Delta at k, the two preactivations may lie on both sides of k. With u their
difference given that they do, of mean k dK_[1]/K_00 and variance 4 ddK_[2] - dK_[1]^2/K_00, this
takes away (derived)

    C_W Delta^2 exp(-k^2/2 K_00) (2 pi K_00)^(-1/2) <|u|^3>/24

from ddK_[2]', which for equal norms and a scale-invariant sigma is (4 rho/3) K_00^(-1/2)
ddK_[2]^(3/2), the leading term of PDLT (5.164). It is of third order in dx, but decides at
criticality.
"""

import math
from collections.abc import Callable
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax.scipy.special import erf
from jaxtyping import Array, ArrayLike, Float

from finitewidth.activations import Activation
from finitewidth.criticality.moments import described
from finitewidth.flow.single_input import kernel_flow, layer_response
from finitewidth.gaussian import gaussian_expectation
from finitewidth.gaussian.factor import as_factor
from finitewidth.network import MLP
from finitewidth.precision import in_double_precision
from finitewidth.validation import check_inputs

#: gamma^[0], gamma^[1], gamma^[2], PDLT (5.14)-(5.16); the first index is + and then -.
GAMMA = np.array([[[1, 1], [1, 1]], [[1, 0], [0, -1]], [[1, -1], [-1, 1]]], dtype=float)


@in_double_precision
def gamma_components(kernel: ArrayLike) -> Float[Array, "*batch 3"]:
    """Return K_[a] = tr(K gamma^[a])/tr(gamma^[a] gamma^[a]), PDLT (5.17)-(5.20).

    Args:
        kernel: of the inputs + and -, shape (..., 2, 2).

    Returns:
        K_[0], K_[1], K_[2] along the last axis; R = 2 K_[1] and D = 4 K_[2].

    Raises:
        ValueError: if the last axes are not (2, 2).

    Example:
        >>> gamma_components([[4.0, 1.0], [1.0, 2.0]]).tolist()
        [2.0, 1.0, 1.0]
    """
    K = jnp.asarray(kernel, dtype=float)
    if K.shape[-2:] != (2, 2):
        raise ValueError(f"kernel: wanted shape (..., 2, 2), got {K.shape}.")
    return jnp.einsum("...ij,aji->...a", K, GAMMA) / np.einsum("aij,aji->a", GAMMA, GAMMA)


@in_double_precision
def from_gamma_components(components: ArrayLike) -> Float[Array, "*batch 2 2"]:
    """Return K = sum K_[a] gamma^[a], the inverse of `gamma_components`, PDLT (5.17).

    Args:
        components: K_[0], K_[1], K_[2], shape (..., 3).

    Returns:
        The kernel, shape (..., 2, 2).

    Raises:
        ValueError: if the last axis is not 3.

    Example:
        >>> from_gamma_components([2.0, 1.0, 1.0]).tolist()
        [[4.0, 1.0], [1.0, 2.0]]
    """
    parts = jnp.asarray(components, dtype=float)
    if parts.shape[-1:] != (3,):
        raise ValueError(f"components: wanted shape (..., 3), got {parts.shape}.")
    return jnp.einsum("...a,aij->...ij", parts, GAMMA)


@in_double_precision
def near_coincident_expectation(
    F: Callable[[Array, Array], Array],
    midpoint: float,
    dK_1: float = 0.0,
    ddK_2: float = 0.0,
    ddK_0: float = 0.0,
) -> Float[Array, ""]:
    """Compute <F(z_+, z_-)> for two nearby inputs to second order in their distance, PDLT (5.39).

    <F> + dK_1 <z (d_+ - d_-) F>/(2K) + ddK_0 <z (d_+ + d_-) F>/(2K)
    + <[ddK_2 + (dK_1/2K)^2 (z^2 - K)] (d_+ - d_-)^2 F>/2, all at z_+ = z_- = z ~ N(0, K).

    Args:
        F: scalar function of two scalars, twice differentiable, written with jax.numpy.
        midpoint: K = K_00 > 0, the kernel of the midpoint input.
        dK_1: K_[1], of first order in the distance.
        ddK_2: K_[2], of second order.
        ddK_0: K_[0] - K_00, of second order.

    Returns:
        The expectation, up to a remainder of third order in the distance. The term with ddK_0 has
        a minus sign in PDLT (5.38); plus is right.

    Raises:
        ValueError: if the midpoint kernel is not positive.

    Example:
        >>> product = lambda p, m: p * m
        >>> round(float(near_coincident_expectation(product, 1.0, ddK_2=0.01)), 12)
        0.99
    """
    if not midpoint > 0:
        raise ValueError(f"midpoint: wanted a kernel > 0, got {midpoint}.")
    along, across = jnp.array([1.0, 1.0]), jnp.array([1.0, -1.0])

    def terms(z: Array) -> Array:
        pair = jnp.stack([z[0], z[0]])

        def line(direction: Array) -> Callable[[Array], Array]:
            return lambda t: jnp.asarray(F(*(pair + t * direction)), dtype=float)

        across_twice = jax.grad(jax.grad(line(across)))(0.0)
        spread = ddK_2 + (dK_1 / (2 * midpoint)) ** 2 * (z[0] ** 2 - midpoint)
        return (
            F(*pair)
            + dK_1 / (2 * midpoint) * z[0] * jax.grad(line(across))(0.0)
            + ddK_0 / (2 * midpoint) * z[0] * jax.grad(line(along))(0.0)
            + spread * across_twice / 2
        )

    return gaussian_expectation(terms, np.array([[float(midpoint)]])).value


class NearbyInputs(eqx.Module):
    """Perturbations of the kernel about a midpoint input; entry l-1 is layer l.

    Attributes:
        midpoint: K_00, shape (L,).
        dK_1: half the difference of the two kernels, shape (L,).
        ddK_2: a quarter of the squared distance D, shape (L,).
        chi_parallel: of the step from layer l to l+1, shape (L-1,).
        chi_perp: likewise.
        h: likewise.
    """

    midpoint: Float[Array, " L"]
    dK_1: Float[Array, " L"]
    ddK_2: Float[Array, " L"]
    chi_parallel: Float[Array, " L-1"]
    chi_perp: Float[Array, " L-1"]
    h: Float[Array, " L-1"]

    @property
    @in_double_precision
    def angle(self) -> Float[Array, " L"]:
        """The small angle between the inputs, psi^2 = 4 ddK_2/K_00 - (dK_1/K_00)^2."""
        K = jnp.where(self.midpoint > 0, self.midpoint, 1.0)
        return jnp.sqrt(jnp.maximum(4 * self.ddK_2 / K - (self.dK_1 / K) ** 2, 0.0))

    def to_xarray(self) -> xr.Dataset:
        """Return the perturbations as a labelled data set."""
        names = ("midpoint", "dK_1", "ddK_2", "angle")
        fields = {name: ("layer", np.asarray(getattr(self, name))) for name in names}
        return xr.Dataset(fields, coords={"layer": np.arange(1, self.midpoint.shape[0] + 1)})

    def __repr__(self) -> str:
        layers = self.midpoint.shape[0]
        lines = [f"Two nearby inputs, {layers} layers"]
        for i in sorted({0, 1, layers // 2, layers - 1} & set(range(layers))):
            K, first, second = (float(a[i]) for a in (self.midpoint, self.dK_1, self.ddK_2))
            lines.append(
                f"  layer {i + 1}: K_00 = {K:.6g}, dK_1 = {first:.6g}, ddK_2 = {second:.6g}"
            )
        return "\n".join(lines)


@in_double_precision
def nearby_inputs(
    net: MLP, x_plus: ArrayLike, x_minus: ArrayLike, *, kinks: bool = True
) -> NearbyInputs:
    """Run K_00, dK_[1] and ddK_[2] of two nearby inputs through a network, PDLT (5.46)-(5.48).

    Args:
        net: the network.
        x_plus: first input, shape (n_0,).
        x_minus: second input.
        kinks: take the term of third order from jumps of sigma' along, PDLT (5.164).

    Returns:
        The perturbations of layers 1 .. L.

    Raises:
        ValueError: if an input does not fit the network.

    Accuracy: relative errors of order (|dx|/|x|)^2; of order |dx|/|x| in ddK_2 if sigma' jumps and
    `kinks` is False.

    Cost: one Gaussian integral for each layer, one after the other, and six at once.

    Example:
        >>> import finitewidth as fw
        >>> net = fw.MLP.critical(widths=(2, 9, 9, 1), activation="linear")
        >>> nearby_inputs(net, [1.0, 0.1], [1.0, -0.1]).ddK_2.round(6).tolist()
        [0.005, 0.005, 0.005]
    """
    pair = check_inputs(
        jnp.stack([jnp.asarray(x, dtype=float) for x in (x_plus, x_minus)]), net.widths[0]
    )
    middle, difference = pair.mean(axis=0), pair[0] - pair[1]
    scale = net.C_W[0] / net.widths[0]
    return nearby_flow(
        described(net.activation),
        net.C_b[0] + scale * middle @ middle,
        scale * middle @ difference,
        scale * difference @ difference / 4,
        net.C_b,
        net.C_W,
        kinks,
    )


@partial(jax.jit, static_argnums=(0, 6))
def nearby_flow(
    sigma: Activation,
    midpoint: Float[Array, ""],
    dK_1: Float[Array, ""],
    ddK_2: Float[Array, ""],
    C_b: Float[Array, " L"],
    C_W: Float[Array, " L"],
    kinks: bool = True,
) -> NearbyInputs:
    """Run the recursions from their first-layer values; traceable. See `nearby_inputs`."""
    kernel = kernel_flow(sigma, midpoint, C_b, C_W)
    response = layer_response(sigma, kernel[:-1], C_W[1:])
    jumps = slope_jumps(sigma) if kinks else ()

    def step(state, now):
        first, second = state
        layer, K, w = now
        crossed = sum(
            (size**2 * _crossing(K, first, second, place) for place, size in jumps),
            start=jnp.zeros_like(K),
        )
        state = (
            layer.chi_parallel * first,
            layer.chi_perp * second + layer.h * first**2 - w * crossed,
        )
        return state, state

    start = (jnp.asarray(dK_1, dtype=float), jnp.asarray(ddK_2, dtype=float))
    _, rest = jax.lax.scan(step, start, (response, kernel[:-1], C_W[1:]))
    first, second = (jnp.concatenate([s[None], r]) for s, r in zip(start, rest, strict=True))
    return NearbyInputs(kernel, first, second, response.chi_parallel, response.chi_perp, response.h)


def slope_jumps(sigma: Activation) -> tuple[tuple[float, float], ...]:
    """Return (k, Delta) for every place k where sigma' jumps by Delta.

    Example:
        >>> import finitewidth as fw
        >>> slope_jumps(fw.activation("leaky_relu(0.2)"))
        ((0.0, 0.8),)
    """
    # The second derivative of sigma holds Delta delta(z - k).
    jumps = as_factor(sigma).differentiated(2).jumps()
    return tuple((place, sizes[0]) for place, sizes in jumps if sizes[0])


def _crossing(K: Array, first: Array, second: Array, place: float) -> Array:
    """Return the density of z at the kink times <|u|^3>/24."""
    K = jnp.where(K > 0, K, 1.0)
    mean = place * first / K
    # A difference of norms alone (parallel inputs) has no spread; rounding may make it negative.
    variance = jnp.maximum(4 * second - first**2 / K, 0.0)
    spread = jnp.sqrt(jnp.where(variance > 0, variance, 1.0))
    cubed = (mean**3 + 3 * mean * spread**2) * erf(mean / (math.sqrt(2) * spread)) + (
        mean**2 * spread + 2 * spread**3
    ) * math.sqrt(2 / math.pi) * jnp.exp(-((mean / spread) ** 2) / 2)
    density = jnp.exp(-(place**2) / (2 * K)) / jnp.sqrt(2 * math.pi * K)
    return density * jnp.where(variance > 0, cubed, jnp.abs(mean) ** 3) / 24
