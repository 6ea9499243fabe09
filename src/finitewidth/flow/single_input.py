r"""Kernel, vertex and NLO metric of one input, layer by layer, to depths of 10^5.

    K'      = C_b + C_W g(K)                                                     PDLT (5.68)
    V'      = C_W^2 (<sigma^4> - g^2) + (n_l/n_{l-1}) chi_parallel^2 V           PDLT (5.109)
    G^{1}'  = (n_l/n_{l-1}) [chi_parallel G^{1} + C_W g'' V/2]
              + c_b^{1} + c_W^{1} g                                     PDLT (5.110), (5.141)

K, V, G^{1} of layer l on the right, of layer l+1 on the left, C_b, C_W, c^{1} of layer l+1, and
C_W g''/2 = j/(8 K^2). The book prints (5.109) to (5.111) at equal widths, and (5.140), (5.141)
with c^{1} of layer l; by their definition (5.138), (5.139) they belong to layer l+1.

The kernel is iterated first. What a layer does to small changes then follows for all layers at
once, and the rest is linear.
"""

from collections.abc import Callable
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, ArrayLike, Float

from finitewidth.activations import Activation
from finitewidth.criticality import Susceptibilities, critical_initialization
from finitewidth.criticality.moments import OneInput, described
from finitewidth.criticality.susceptibilities import check_variance
from finitewidth.network import MLP
from finitewidth.precision import in_double_precision
from finitewidth.validation import check_count, check_inputs, check_per_layer, is_concrete

#: Layers whose expectations are taken at once, so that memory stays small at any depth.
LAYERS_AT_ONCE = 4096


class LayerResponse(eqx.Module):
    """What the step from layer l to l+1 does to one input, l = 1 .. L-1 in entry l-1.

    Everything is taken at the kernel K^(l) with the hyperparameters of layer l+1.

    Attributes:
        g: <sigma^2>, PDLT (5.5).
        chi_parallel: C_W g', PDLT (5.50).
        chi_perp: C_W <sigma'^2>, PDLT (5.51).
        h: chi_perp'/2, PDLT (5.52).
        drift: C_W g''/2 = j/(8 K^2), PDLT (5.111).
        fluctuation: C_W^2 (<sigma^4> - g^2), the vertex made by the layer, PDLT (5.109).
    """

    g: Float[Array, " L-1"]
    chi_parallel: Float[Array, " L-1"]
    chi_perp: Float[Array, " L-1"]
    h: Float[Array, " L-1"]
    drift: Float[Array, " L-1"]
    fluctuation: Float[Array, " L-1"]


class SingleInput(eqx.Module):
    """Statistics of the preactivations of one input; entry l-1 is layer l.

    Attributes:
        kernel: K, shape (L,).
        vertex: V in units of 1/n_{l-1}, shape (L,).
        nlo_metric: G^{1} in units of 1/n_{l-1}, shape (L,).
        response: what each step does to small changes, fields of shape (L-1,).
        C_b: bias variances, shape (L,).
        C_W: rescaled weight variances at leading order, shape (L,).
        tuning: c_W^{1}/c_W^{0} of each layer, in units of 1/n_{l-1}, shape (L,); 0 at layer 1.
        width_ratio: n_l/n_{l-1} of the steps, shape (L-1,).
    """

    kernel: Float[Array, " L"]
    vertex: Float[Array, " L"]
    nlo_metric: Float[Array, " L"]
    response: LayerResponse
    C_b: Float[Array, " L"]
    C_W: Float[Array, " L"]
    tuning: Float[Array, " L"]
    width_ratio: Float[Array, " L-1"]

    @property
    def depth(self) -> int:
        """The number of layers L."""
        return self.kernel.shape[0]

    @property
    @in_double_precision
    def normalized_vertex(self) -> Float[Array, " L"]:
        """V/K^2 in units of 1/n_{l-1}, PDLT (5.128); 0 where K = 0."""
        positive = self.kernel > 0
        return jnp.where(positive, self.vertex / jnp.where(positive, self.kernel, 1.0) ** 2, 0.0)

    def to_xarray(self) -> xr.Dataset:
        """Return everything as a labelled data set, with the layer number as a coordinate."""
        names = ("kernel", "vertex", "nlo_metric", "C_b", "C_W", "tuning")
        fields = {name: ("layer", np.asarray(getattr(self, name))) for name in names}
        steps = {
            name: ("step", np.asarray(getattr(self.response, name)))
            for name in LayerResponse.__dataclass_fields__
        }
        layers = np.arange(1, self.depth + 1)
        return xr.Dataset(fields | steps, coords={"layer": layers, "step": layers[:-1]})

    def __repr__(self) -> str:
        lines = [f"One input, {self.depth} layers"]
        for i in sorted({0, 1, self.depth // 2, self.depth - 1} & set(range(self.depth))):
            K, V, G1 = (float(a[i]) for a in (self.kernel, self.vertex, self.nlo_metric))
            lines.append(f"  layer {i + 1}: K = {K:.6g}, V = {V:.6g}, G1 = {G1:.6g}")
        return "\n".join(lines)


@in_double_precision
def single_input_flow(
    activation: str | Activation | Callable,
    depth: int,
    first_kernel: float | Float[ArrayLike, ""] = 1.0,
    C_b: ArrayLike | None = None,
    C_W: ArrayLike | None = None,
    *,
    tuning: ArrayLike = 0.0,
    nlo_C_b: ArrayLike = 0.0,
    width_ratio: ArrayLike = 1.0,
) -> SingleInput:
    """Run the recursions of one input, PDLT (5.68), (5.109)-(5.111), (5.141).

    Args:
        activation: name, `Activation` or elementwise JAX function.
        depth: number of layers L.
        first_kernel: K^(1).
        C_b: bias variances, a number or one for each layer; critical if both are None.
        C_W: rescaled weight variances, likewise.
        tuning: c_W^{1}/c_W^{0}, a number or one for each layer: C_W stands for
            C_W (1 + tuning/n_{l-1}) at finite width. Layer 1 takes none. Negative ones are fine.
        nlo_C_b: c_b^{1}, likewise: C_b stands for C_b + nlo_C_b/n_{l-1}.
        width_ratio: n_l/n_{l-1}, a number or one for each of the L-1 steps.

    Returns:
        The statistics of layers 1 .. L.

    Raises:
        ValueError: for a depth below 1, negative or non-finite hyperparameters, wrong shapes, or
            if only one of C_b and C_W is given.

    Accuracy: relative 1e-13 for each step; 1e-11 for the kernel after 10^5 layers. `drift` loses
    digits as K -> 0, like 1e-14/K.

    Cost: one Gaussian integral for each layer, one after the other, and six at once; 10^5 layers
    take seconds. None for homogeneous activations.

    Example:
        >>> flow = single_input_flow("relu", 4)
        >>> (flow.vertex / flow.kernel**2).round(12).tolist()
        [0.0, 5.0, 10.0, 15.0]
    """
    sigma = described(activation)
    depth = check_count(depth, "depth")
    if (C_b is None) != (C_W is None):
        raise ValueError("C_b, C_W: wanted both or neither (critical), got one of them.")
    if C_b is None or C_W is None:
        C_b, C_W = critical_initialization(sigma)
    return run_single_input(
        sigma,
        check_variance(first_kernel, "first_kernel"),
        check_per_layer(C_b, depth, "C_b"),
        check_per_layer(C_W, depth, "C_W"),
        check_signed_per_layer(tuning, depth, "tuning"),
        check_signed_per_layer(nlo_C_b, depth, "nlo_C_b"),
        check_signed_per_layer(width_ratio, depth - 1, "width_ratio"),
    )


@in_double_precision
def single_input(
    net: MLP, x: ArrayLike, *, tuning: ArrayLike = 0.0, nlo_C_b: ArrayLike = 0.0
) -> SingleInput:
    """Run the recursions of one input through a network, with its widths and hyperparameters.

    Args:
        net: the network.
        x: the input, shape (n_0,) or (1, n_0).
        tuning: c_W^{1}/c_W^{0}, beyond the C_W of the network, see `single_input_flow`.
        nlo_C_b: c_b^{1}, beyond the C_b of the network.

    Returns:
        The statistics of layers 1 .. L; V and G^{1} are the diagonal entries of `preactivations`.

    Raises:
        ValueError: if x is not one input of the network.

    Example:
        >>> import finitewidth as fw
        >>> net = fw.MLP.critical(widths=(2, 10, 20, 1), activation="linear")
        >>> single_input(net, [1.0, 1.0]).vertex.tolist()  # 2 n_{l-1} sum of 1/n
        [0.0, 2.0, 6.0]
    """
    x = check_inputs(jnp.atleast_2d(jnp.asarray(x, dtype=float)), net.widths[0])
    if x.shape[0] != 1:
        raise ValueError(f"x: wanted one input, shape ({net.widths[0]},), got {x.shape[0]}.")
    widths = np.asarray(net.widths, dtype=float)
    return run_single_input(
        described(net.activation),
        net.C_b[0] + net.C_W[0] * (x**2).sum() / widths[0],
        net.C_b,
        net.C_W,
        check_signed_per_layer(tuning, net.depth, "tuning"),
        check_signed_per_layer(nlo_C_b, net.depth, "nlo_C_b"),
        jnp.asarray(widths[1:-1] / widths[:-2]),
    )


@partial(jax.jit, static_argnums=0)
def run_single_input(
    sigma: Activation,
    first_kernel: Float[Array, ""],
    C_b: Float[Array, " L"],
    C_W: Float[Array, " L"],
    tuning: Float[Array, " L"],
    nlo_C_b: Float[Array, " L"],
    width_ratio: Float[Array, " L-1"],
) -> SingleInput:
    """Run the recursions on arrays that are already checked; see `single_input_flow`."""
    kernel = kernel_flow(sigma, first_kernel, C_b, C_W)
    response = layer_response(sigma, kernel[:-1], C_W[1:])

    def step(state, now):
        V, G1 = state
        layer, ratio, added = now
        state = (
            layer.fluctuation + ratio * layer.chi_parallel**2 * V,
            ratio * (layer.chi_parallel * G1 + layer.drift * V) + added,
        )
        return state, state

    added = nlo_C_b[1:] + tuning[1:] * C_W[1:] * response.g
    zero = jnp.zeros_like(kernel[0])
    _, (V, G1) = jax.lax.scan(step, (zero, zero), (response, width_ratio, added))
    none = jnp.zeros(1)
    return SingleInput(
        kernel,
        jnp.concatenate([none, V]),
        jnp.concatenate([none, G1]),
        response,
        C_b,
        C_W,
        tuning.at[0].set(0.0),
        width_ratio,
    )


def kernel_flow(
    sigma: Activation,
    first_kernel: Float[Array, ""],
    C_b: Float[Array, " L"],
    C_W: Float[Array, " L"],
) -> Float[Array, " L"]:
    """Iterate K' = C_b + C_W g(K) from layer 1 to L, PDLT (5.68); traceable."""
    moments = OneInput(sigma)

    def step(K, now):
        b, w = now
        after = b + w * moments.value(K)
        return after, after

    first = jnp.asarray(first_kernel, dtype=float)
    _, rest = jax.lax.scan(step, first, (C_b[1:], C_W[1:]))
    return jnp.concatenate([first[None], rest])


def layer_response(
    sigma: Activation, kernel: Float[Array, " steps"], C_W: Float[Array, " steps"]
) -> LayerResponse:
    """Compute g, chi_parallel, chi_perp, h, drift and fluctuation at many kernels; traceable."""
    moments = OneInput(sigma)

    def at(now):
        K, w = now
        chi = Susceptibilities(sigma, jnp.zeros_like(w), w)
        return LayerResponse(
            g=chi.g(K),
            chi_parallel=chi.chi_parallel(K),
            chi_perp=chi.chi_perp(K),
            h=chi.h(K),
            drift=w * moments.curvature(K) / 2,
            fluctuation=chi.fluctuation(K),
        )

    if kernel.shape[0] <= LAYERS_AT_ONCE:
        return at((kernel, C_W))
    return jax.lax.map(at, (kernel, C_W), batch_size=LAYERS_AT_ONCE)


def check_signed_per_layer(value: ArrayLike, entries: int, name: str) -> Float[Array, " entries"]:
    """Return a number of any sign for each layer, or say what is wrong with it.

    Raises:
        ValueError: if the shape is neither one number nor one for each layer, or it is not finite.
    """
    array = jnp.asarray(value, dtype=float)
    if array.shape not in ((), (1,), (entries,)):
        raise ValueError(f"{name}: wanted one number or {entries}, got shape {array.shape}.")
    if is_concrete(array) and not np.isfinite(np.asarray(array)).all():
        raise ValueError(f"{name}: wanted finite numbers, got {value}.")
    return jnp.broadcast_to(array, (entries,))
