r"""Real networks: draw every weight, propagate the inputs, look at each layer.

The metric of each layer is read off the activations below it, and the neural tangent kernel of
the neurons of layer $\ell$ off backward Jacobians, PDLT (8.16)-(8.18): with
$J^{(k)}_{ij;\alpha} = dz^{(\ell)}_{i;\alpha}/dz^{(k)}_{j;\alpha}$,

$$\widehat H^{(\ell)}_{ii;\alpha\beta} = \sum_{k=1}^{\ell}
\Big[\sum_j J^{(k)}_{ij;\alpha}J^{(k)}_{ij;\beta}\Big]
\Big[\lambda_b^{(k)} + \frac{\lambda_W^{(k)}}{n_{k-1}}
\sum_j \sigma^{(k-1)}_{j;\alpha}\sigma^{(k-1)}_{j;\beta}\Big],\qquad \sigma^{(0)} = x .$$
"""

from collections.abc import Sequence
from itertools import groupby, pairwise

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from finitewidth.ensemble.draw import Draw, gram
from finitewidth.network import MLP, draw_layer
from finitewidth.precision import in_double_precision

# Neurons of one layer have the same mean NTK; averaging a few of them halves the error bar, and
# averaging all (`conditional_ntk`) costs far more for little more.
NTK_NEURONS = 4


@in_double_precision
def draw_by_weights(
    net: MLP,
    x: Float[Array, "N n0"],
    key: PRNGKeyArray,
    networks: int,
    with_ntk: bool = False,
) -> Draw:
    """Draw many networks with all their weights and propagate the inputs.

    Args:
        net: the network, with any law of the weights.
        x: inputs, shape (N, n0).
        key: random key of the batch.
        networks: number of networks B.
        with_ntk: also measure the empirical NTK of every layer.

    Returns:
        The metrics of layers 1..L, shape (B, L, N, N), and the NTKs if asked for. Cost per
        network: all weights once, and L times as many products if the NTK is measured.

    Example:
        >>> import jax, numpy as np
        >>> net = MLP(widths=(2, 8, 1), activation="relu", C_W=2.0)
        >>> draw_by_weights(net, np.ones((3, 2)), jax.random.key(0), 5).metric.shape
        (5, 2, 3, 3)
    """

    def one(network_key: PRNGKeyArray) -> Draw:
        metrics = [gram(net.C_b[0], net.C_W[0], x)[None]]
        weights: list[Array] = []
        preactivations: list[Array] = []
        # The last layer has a metric without being drawn; only its NTK needs its weights.
        drawn = net.depth if with_ntk else net.depth - 1
        keys = jax.random.split(network_key, net.depth)
        signal, start = x, 0
        for (n_in, n_out), run in groupby(pairwise(net.widths[: drawn + 1])):
            layers = slice(start, start + len(list(run)))
            following = slice(layers.start + 1, layers.stop + 1)
            # Layers of one shape share compiled code; the last layer has no next one.
            C_b_next, C_W_next = (jnp.append(C, 0.0)[following] for C in (net.C_b, net.C_W))
            now = (keys[layers], net.C_b[layers], net.C_W[layers], C_b_next, C_W_next)

            def layer(
                signal: Array, now: tuple[Array, ...], n_in: int = n_in, n_out: int = n_out
            ) -> tuple[Array, tuple[Array, tuple[Array, Array] | None]]:
                layer_key, C_b, C_W, C_b_next, C_W_next = now
                b, W = draw_layer(net.law, layer_key, n_in, n_out, C_b, C_W)
                z = b + signal @ W.T
                above = net.activation(z)
                return above, (gram(C_b_next, C_W_next, above), (z, W) if with_ntk else None)

            first = jax.tree.map(lambda leaf: leaf[0], now)
            if layers.stop - layers.start == 1:
                signal, outputs = layer(signal, first)
                outputs = jax.tree.map(lambda leaf: leaf[None], outputs)
            else:
                signal, outputs = jax.lax.scan(layer, signal, now)
            metric, kept = outputs
            metrics.append(metric)
            if kept is not None:
                preactivations.extend(kept[0])
                weights.extend(kept[1])
            start = layers.stop
        metric = jnp.concatenate(metrics)[: net.depth]
        if not with_ntk:
            return Draw(metric)
        features = [x, *(net.activation(z) for z in preactivations[:-1])]
        return Draw(metric, layer_ntks(net, weights, preactivations, features))

    return jax.vmap(one)(jax.random.split(key, networks))


def layer_ntks(
    net: MLP,
    weights: Sequence[Float[Array, "_ _"]],
    preactivations: Sequence[Float[Array, "N _"]],
    features: Sequence[Float[Array, "N _"]],
) -> Float[Array, "L N N"]:
    """Return the diagonal empirical NTK of every layer of one network, averaged over neurons.

    Args:
        net: the network, for its learning rates lambda_b and lambda_W.
        weights: W of layers 1..L, each (n_k, n_{k-1}).
        preactivations: z of layers 1..L, each (N, n_k).
        features: what feeds layers 1..L, each (N, n_{k-1}); the first is the inputs.

    Returns:
        Shape (L, N, N); entry l-1 is the mean over the first `NTK_NEURONS` neurons i of
        H_ii of layer l. One backward pass serves all layers: cost L NTK_NEURONS N n^2 a layer.
    """
    depth, samples = len(weights), features[0].shape[0]
    per_neuron: list[Array] = [jnp.zeros((0, samples, samples))] * depth
    # Rows of the backward pass: d z^(l)_i / d z^(k) for the chosen neurons i of every layer l >= k.
    rows = jnp.zeros((0, samples, 0))
    for k in reversed(range(depth)):
        width = weights[k].shape[0]
        if k < depth - 1:
            rows = (rows @ weights[k + 1]) * net.activation.derivative(preactivations[k])
        else:
            rows = jnp.zeros((0, samples, width))
        neurons = min(NTK_NEURONS, width)
        parameter_gram = gram(net.lambda_b[k], net.lambda_W[k], features[k])
        # A neuron's derivative by itself is 1: its own rows need no product. (Multiplying the
        # constant rows of an identity is also what XLA on a CPU got wrong in large batches.)
        own_share = jnp.ones((neurons, samples, samples))
        shares = jnp.concatenate([own_share, rows @ rows.swapaxes(-1, -2)]) * parameter_gram
        own = jnp.broadcast_to(jnp.eye(neurons, width)[:, None], (neurons, samples, width))
        rows = jnp.concatenate([own, rows])
        start = 0
        for layer in range(k, depth):
            neurons = min(NTK_NEURONS, weights[layer].shape[0])
            share = shares[start : start + neurons]
            per_neuron[layer] = share if layer == k else per_neuron[layer] + share
            start += neurons
    return jnp.stack([jnp.mean(ntk, axis=0) for ntk in per_neuron])
