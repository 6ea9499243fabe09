r"""Hyperparameters with a 1/n part, tuned so that finite width does not shift the metric.

    C_b^(l) = c_b^{0} + c_b^{1}/n_{l-1}, C_W^(l) = c_W^{0} + c_W^{1}/n_{l-1}  PDLT (5.138), (5.139)
    G^{1}' = (bare recursion) + c_b^{1} + c_W^{1} <sigma sigma>               PDLT (5.140), (5.141)

with c^{1} of layer l+1 on the right; the book prints label l, against its own definition. Layer 1
is exactly Gaussian and takes none. One input of the K* = 0 class:

    bare           G^{1} -> 1/(3 a_1), so that G^{1}/K grows like l             PDLT (5.134)
    two_thirds     c_W^{1}/c_W^{0} = 2/3, in general (1+q) N/6 (see `criticality.small_kernel`):
                   G^{1}/K -> (a_2 - 84 a_1^2 + 90 a_1 b_1)/(3 a_1^2)           PDLT (5.142)
    layerwise      c_W^{1}/c_W^{0} = -(n_l/n_{l-1}) g''(K) V/(2 g(K)) of the layer below (derived):
                   G^{1} = 0 in every layer

PDLT (5.143) prints another limit for `two_thirds`, which leaves out the 1/l^2 term of the vertex.
`two_thirds` holds at large depth: for tanh it beats `bare` only beyond l = 10 or so.
"""

from typing import Literal, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from finitewidth.activations import Activation
from finitewidth.criticality import classify
from finitewidth.flow.preactivations import preactivations
from finitewidth.flow.single_input import SingleInput, check_signed_per_layer, single_input
from finitewidth.network import MLP
from finitewidth.precision import in_double_precision
from finitewidth.validation import check_inputs

Mode = Literal["bare", "two_thirds", "layerwise"]


@in_double_precision
def asymptotic_tuning(activation: str | Activation) -> float:
    """Return the c_W^{1}/c_W^{0} that keeps G^{1}/K bounded in deep networks, PDLT (5.142).

    (1+q) N/6 for the K* = 0 class, which is 2/3 for a sigma that is smooth at 0; 0 for the
    scale-invariant class, whose G^{1} of one input vanishes by itself, PDLT (5.117).

    Args:
        activation: name or `Activation`.

    Returns:
        The ratio.

    Raises:
        ValueError: for other classes, where no constant ratio does it; use `layerwise`.

    Example:
        >>> round(asymptotic_tuning("tanh"), 12), round(asymptotic_tuning("softsign"), 12)
        (0.666666666667, 0.5)
    """
    found = classify(activation)
    if found.name == "scale-invariant":
        return 0.0
    if "tuning" not in found.constants:
        raise ValueError(
            "mode: 'two_thirds' is for activations that decay to K* = 0 like a power, got class "
            f"{found.name} {found.subclass or ''}; use 'layerwise'."
        )
    return found.constants["tuning"]


@in_double_precision
def layerwise_tuning(flow: SingleInput) -> Float[Array, " L"]:
    """Return the c_W^{1}/c_W^{0} of each layer that makes G^{1} = 0 in every layer (derived).

    -(n_l/n_{l-1}) g''(K) V/(2 g(K)), from PDLT (5.110), (5.141) with G^{1} = 0.

    Args:
        flow: kernel and vertex of one input, with any tuning (they do not depend on it).

    Returns:
        The ratios, layer l in entry l-1, 0 in layers 1 and 2. Where g = 0, nothing passes and the
        ratio is 0.

    Example:
        >>> from finitewidth.flow.single_input import single_input_flow
        >>> ratios = layerwise_tuning(single_input_flow("tanh", 10_000))
        >>> [round(float(ratios[layer - 1]), 4) for layer in (2, 10, 1000)]
        [0.0, 0.4481, 0.6642]
    """
    response = flow.response
    passed = flow.C_W[1:] * response.g
    removed = flow.width_ratio * response.drift * flow.vertex[:-1]
    ratio = jnp.where(passed > 0, -removed / jnp.where(passed > 0, passed, 1.0), 0.0)
    return jnp.concatenate([jnp.zeros(1), ratio])


@in_double_precision
def finite_width_tuned(net: MLP, mode: Mode = "two_thirds", x: ArrayLike | None = None) -> MLP:
    """Return the network with C_W^(l) (1 + t_l/n_{l-1}), so that its width shifts the metric less.

    PDLT (5.138), (5.142).

    Args:
        net: the network; for `two_thirds` at its critical hyperparameters and of equal hidden
            widths, for which the constant is derived.
        mode: "bare" (t = 0), "two_thirds" (`asymptotic_tuning`) or "layerwise"
            (`layerwise_tuning`, for one input).
        x: the input that "layerwise" is tuned for, shape (n_0,) or (1, n_0).

    Returns:
        A network that differs in C_W. Its theory is the one for these numbers: `preactivations` of
        it has a kernel that holds the shift, and K + G^{1}/n_{l-1} is what was tuned.

    Raises:
        ValueError: for an unknown mode, a missing input, a class of activations without a constant
            ratio, a network that is not critical, or a width so small that C_W would be negative.

    Example:
        >>> import finitewidth as fw
        >>> net = fw.MLP.critical(widths=(1, 10, 10, 1), activation="tanh")
        >>> [round(float(c), 6) for c in finite_width_tuned(net).C_W]
        [1.0, 1.066667, 1.066667]
    """
    if mode not in get_args(Mode):
        raise ValueError(f"mode: wanted one of {', '.join(get_args(Mode))}, got {mode!r}.")
    if mode == "bare":
        return net
    if mode == "layerwise":
        if x is None:
            raise ValueError("x: mode 'layerwise' is tuned for one input, got none.")
        ratios = np.array(layerwise_tuning(single_input(net, x)))
    else:
        ratios = np.full(net.depth, asymptotic_tuning(net.activation))
        point = classify(net.activation).tuning.points[0]
        critical = np.allclose(net.C_W, point.C_W, rtol=1e-6) and np.allclose(
            net.C_b, point.C_b, atol=1e-9
        )
        if not critical:
            raise ValueError(
                f"net: mode 'two_thirds' wants the critical C_b = {point.C_b:.6g}, "
                f"C_W = {point.C_W:.6g} in every layer, got {net}; use 'layerwise'."
            )
    ratios[0] = 0.0
    C_W = np.asarray(net.C_W) * (1 + ratios / np.asarray(net.widths[:-1]))
    return MLP(net.widths, net.activation, net.C_b, C_W, net.lambda_b, net.lambda_W, net.law)


@in_double_precision
def hyperparameter_shift(
    net: MLP, x: ArrayLike, nlo_C_b: ArrayLike = 0.0, nlo_C_W: ArrayLike = 0.0
) -> Float[Array, "L N N"]:
    """Return what 1/n parts of the hyperparameters add to G^{1}, PDLT (5.140), (5.141).

    n_{l-1} (dK^(l)/dC) c^{1}/n, the derivative of the kernel flow in the direction of c^{1}.

    Args:
        net: the network, at the leading hyperparameters.
        x: inputs, shape (N, n_0).
        nlo_C_b: c_b^{1}, a number or one for each layer; layer 1 takes none.
        nlo_C_W: c_W^{1}, likewise.

    Returns:
        To be added to `preactivations(net, x).nlo_metric`, shape (L, N, N).

    Raises:
        ValueError: if x does not fit the network or c^{1} has the wrong shape.

    Example:
        >>> import finitewidth as fw
        >>> net = fw.MLP.critical(widths=(1, 10, 10, 1), activation="relu")
        >>> hyperparameter_shift(net, [[1.0]], nlo_C_W=2.0)[:, 0, 0].round(9).tolist()
        [0.0, 2.0, 4.0]
    """
    x = check_inputs(x, net.widths[0])
    fan_in = jnp.asarray(net.widths[:-1], dtype=float)
    below = jnp.arange(net.depth) > 0
    move = [
        jnp.where(below, check_signed_per_layer(value, net.depth, name) / fan_in, 0.0)
        for value, name in ((nlo_C_b, "nlo_C_b"), (nlo_C_W, "nlo_C_W"))
    ]

    def kernel(C_b: Array, C_W: Array) -> Array:
        moved = eqx.tree_at(lambda n: (n.C_b, n.C_W), net, (C_b, C_W))
        return preactivations(moved, x, order=0).kernel

    shift = jax.jvp(kernel, (net.C_b, net.C_W), tuple(move))[1]
    return fan_in[:, None, None] * shift
