r"""Real networks with their whole neural tangent kernels, layer by layer.

The forward equation of one network, PDLT (8.12), with all pairs of neurons of a layer kept:

$$\widehat H^{(\ell+1)}_{i_1i_2;12} = \delta_{i_1i_2}\Big[\lambda_b + \frac{\lambda_W}{n}
\sum_j \sigma_{j;1}\sigma_{j;2}\Big] + \sum_{j_1j_2} W_{i_1j_1}W_{i_2j_2}\,P_{j_1j_2;12},\qquad
P_{j_1j_2;12} = \sigma'_{j_1;1}\sigma'_{j_2;2}\,\widehat H^{(\ell)}_{j_1j_2;12} .$$

The last average over weights is done by hand. Given everything below, the entries of a row of $W$
are uncorrelated with mean zero and variance $C_W/n$, so that under every law of the weights

$$\widehat M_{12} = E[\widehat H^{(\ell+1)}_{ii;12}\,|\,\text{below}] = \lambda_b +
\frac{\lambda_W}{n}\sum_j\sigma_{j;1}\sigma_{j;2} + \frac{C_W}{n}\sum_j P_{jj;12},$$

and, where the rows are independent, for two neurons $i \ne j$ of layer $\ell+1$

$$E[z_{i;1}z_{j;2}\widehat H_{ij;34}\,|\,\text{below}] = \frac{C_W^2}{n^2}\sum_{j_1j_2}
\sigma_{j_1;1}\,P_{j_1j_2;34}\,\sigma_{j_2;2},\qquad
E[\widehat H_{ij;12}\widehat H_{ij;34}\,|\,\text{below}] = \frac{C_W^2}{n^2}\sum_{j_1j_2}
P_{j_1j_2;12}\,P_{j_1j_2;34} .$$

Only unordered pairs of samples are kept, because $\widehat H_{ij;21} = \widehat H_{ji;12}$.
"""

from functools import partial
from itertools import groupby, pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from finitewidth.ensemble.draw import Draw, gram
from finitewidth.ensemble.pairs import pair_entries, pair_table
from finitewidth.network import MLP, draw_layer
from finitewidth.precision import in_double_precision


class Below(NamedTuple):
    """What a layer of n neurons hands to the next one, for P unordered pairs of samples.

    Attributes:
        features: what feeds the next layer, shape (N, n).
        tangent: the NTK times the slopes on both of its sides, shape (n, P, n): with the pairs
            between the neurons, both products with W are plain matrix products. Shape (n, P) after
            layer 1, whose neurons share no parameter, and None before it.
        ntk: the conditional mean NTK of the next layer, shape (P,).
    """

    features: Float[Array, "N n"]
    tangent: Float[Array, "n P n"] | Float[Array, "n P"] | None
    ntk: Float[Array, " P"]


@in_double_precision
def draw_with_ntk(
    net: MLP,
    x: Float[Array, "N n0"],
    key: PRNGKeyArray,
    networks: int,
    with_products: bool = False,
) -> Draw:
    """Draw many networks with all their weights and follow their whole NTKs.

    Args:
        net: the network.
        x: inputs, shape (N, n0).
        key: random key of the batch; the networks are those of `draw_by_weights`.
        networks: number of networks B.
        with_products: also average the products of two neurons, which `F` and `B` need.

    Returns:
        Metrics and conditional mean NTKs of layers 1..L, exact for each network up to rounding.
        Cost per network and layer: 2 N(N+1) n^3 operations, N^4 n^2 more for the products.

    Example:
        >>> import jax, numpy as np
        >>> net = MLP(widths=(2, 8, 1), activation="relu", C_W=2.0)
        >>> draw = draw_with_ntk(net, np.eye(2), jax.random.key(0), 5, with_products=True)
        >>> draw.ntk.shape, draw.cross_products.shape, draw.square_products.shape
        ((5, 2, 2, 2), (5, 2, 2, 3, 2), (5, 2, 2, 3, 3))
    """
    x = jnp.asarray(x)
    rates = jnp.stack([net.C_b, net.C_W, net.lambda_b, net.lambda_W], axis=-1)
    # Layers of one shape share compiled code; layers 1 and 2 hold NTKs of a shape of their own.
    hidden = list(enumerate(pairwise(net.widths[:-1])))
    groups = [list(run) for _, run in groupby(hidden, lambda at: (min(at[0], 2), at[1]))]

    def one(network_key: PRNGKeyArray) -> Draw:
        keys = jax.random.split(network_key, net.depth)
        first = first_layer(net, x, with_products)
        assert first.ntk is not None
        found = [jax.tree.map(lambda leaf: leaf[None], first)]
        below = Below(x, None, pair_entries(first.ntk))
        for group in groups:
            start, stop = group[0][0], group[-1][0] + 1
            now = (keys[start:stop], rates[start:stop], rates[start + 1 : stop + 1])
            step = partial(next_layer, net, group[0][1], with_products)
            if stop - start == 1:
                below, draw = step(below, jax.tree.map(lambda leaf: leaf[0], now))
                draw = jax.tree.map(lambda leaf: leaf[None], draw)
            else:
                below, draw = jax.lax.scan(step, below, now)
            found.append(draw)
        return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *found)

    return jax.vmap(one)(jax.random.split(key, networks))


def first_layer(net: MLP, x: Float[Array, "N n0"], with_products: bool) -> Draw:
    """Return what there is to see of layer 1, PDLT (8.22) and (8.23): it does not fluctuate."""
    samples = x.shape[0]
    pairs = samples * (samples + 1) // 2
    return Draw(
        metric=gram(net.C_b[0], net.C_W[0], x),
        ntk=gram(net.lambda_b[0], net.lambda_W[0], x),
        ntk_surplus=jnp.zeros((samples, samples)),
        cross_products=jnp.zeros((samples, pairs, samples)) if with_products else None,
        square_products=jnp.zeros((2, pairs, pairs)) if with_products else None,
    )


def next_layer(
    net: MLP,
    shape: tuple[int, int],
    with_products: bool,
    below: Below,
    now: tuple[PRNGKeyArray, Float[Array, " 4"], Float[Array, " 4"]],
) -> tuple[Below, Draw]:
    """Draw a hidden layer on top of another and look at the layer after it.

    Args:
        net: the network, for its activation and the law of its weights.
        shape: widths of the layer below and of this layer.
        with_products: also average the products of two neurons.
        below: what the layer below hands over.
        now: key of the layer, and (C_b, C_W, lambda_b, lambda_W) of this and of the next layer.

    Returns:
        What this layer hands over, and the statistics of the next one.
    """
    n_in, n = shape
    layer_key, (C_b, C_W, lambda_b, lambda_W), rates_next = now
    C_b_next, C_W_next, lambda_b_next, lambda_W_next = rates_next
    b, W = draw_layer(net.law, layer_key, n_in, n, C_b, C_W)
    z = b + below.features @ W.T
    features, slopes = net.activation(z), net.activation.derivative(z).T
    rows, columns = np.triu_indices(z.shape[0])
    left, right = slopes[:, rows], slopes[:, columns]

    parameter_gram = pair_entries(gram(lambda_b, lambda_W, below.features))
    if below.tangent is None:
        own = jnp.broadcast_to(parameter_gram, left.shape)
        tangent = left * own * right
    else:
        ntk = carry(W, below.tangent) + jnp.eye(n)[:, None, :] * parameter_gram[:, None]
        own = jnp.diagonal(ntk, axis1=0, axis2=2).T
        tangent = left[:, :, None] * ntk * right.T

    through = C_W_next / n
    mean = pair_entries(gram(lambda_b_next, lambda_W_next, features))
    mean = mean + through * jnp.sum(left * own * right, axis=0)
    surplus = through * jnp.sum(left * (own - below.ntk) * right, axis=0)
    table = pair_table(len(rows))
    draw = Draw(
        metric=gram(C_b_next, C_W_next, features),
        ntk=mean[table],
        ntk_surplus=surplus[table],
        cross_products=through**2 * cross_products(features, tangent) if with_products else None,
        square_products=through**2 * square_products(tangent) if with_products else None,
    )
    return Below(features, tangent, mean), draw


def carry(W: Float[Array, "m n"], tangent: Array) -> Float[Array, "m P m"]:
    """Return W T W^T for every pair of samples; T may be diagonal, of shape (n, P)."""
    m, n = W.shape
    if tangent.ndim == 2:
        half = (W[:, None, :] * tangent.T).reshape(-1, n)
        return (half @ W.T).reshape(m, -1, m)
    half = (tangent.reshape(-1, n) @ W.T).reshape(n, -1)
    return (W @ half).reshape(m, -1, m)


def cross_products(features: Float[Array, "N n"], tangent: Array) -> Float[Array, "N P N"]:
    """Return the sum over neurons of s_1 T_p s_2, entry [1, p, 2]."""
    samples, n = features.shape
    if tangent.ndim == 2:
        return jnp.einsum("aj,jp,bj->apb", features, tangent, features)
    half = (tangent.reshape(-1, n) @ features.T).reshape(n, -1)
    return (features @ half).reshape(samples, -1, samples)


def square_products(tangent: Array) -> Float[Array, "2 P P"]:
    """Return the sums over neurons of T_p T_q (entry 0) and of T_p and T_q transposed (entry 1)."""
    if tangent.ndim == 2:
        products = tangent.T @ tangent
        return jnp.stack([products, products])
    # As batches of small products over the first neuron: twice as fast as one long contraction.
    exchanged = tangent.transpose(2, 1, 0)
    return jnp.stack(
        [jnp.sum(tangent @ other.swapaxes(1, 2), axis=0) for other in (tangent, exchanged)]
    )
