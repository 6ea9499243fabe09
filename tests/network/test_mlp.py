"""The network specification: forward pass, laws of the weights, leaves, and bad input."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from finitewidth.network import MLP, draw_layer, weight_laws

X = jnp.array([[1.0, -0.5, 0.3], [0.2, 0.8, -1.1]])


def test_the_forward_pass_is_the_recursion_of_the_book():
    net = MLP(widths=(3, 5, 4, 2), activation="tanh", C_b=0.3, C_W=[1.1, 0.7, 2.0])
    params = net.init(jax.random.key(3))
    for row in range(2):
        signal = [float(v) for v in X[row]]
        for layer in params:
            z = [
                float(layer.b[i])
                + sum(float(layer.W[i, j]) * signal[j] for j in range(len(signal)))
                for i in range(len(layer.b))
            ]
            signal = [float(np.tanh(v)) for v in z]
        np.testing.assert_allclose(net.apply(params, X)[row], z, rtol=1e-13)


def test_parameter_counts_of_the_book():
    assert MLP((4, 5, 5, 5, 1), "relu").parameter_count == 91
    assert MLP((256,) * 6, "relu").parameter_count == 328_960
    net = MLP((3, 5, 4, 2), "relu")
    assert net.parameter_count == sum(
        leaf.size for leaf in jax.tree.leaves(net.init(jax.random.key(0)))
    )


@pytest.mark.parametrize("law", weight_laws())
@pytest.mark.parametrize(("n_in", "n_out"), [(12, 7), (7, 12)])
def test_every_law_has_the_variances_of_the_book(law, n_in, n_out):
    C_b, C_W, networks = 0.4, 1.7, 4000
    keys = jax.random.split(jax.random.key(5), networks)
    layer = jax.vmap(lambda key: draw_layer(law, key, n_in, n_out, C_b, C_W))(keys)
    for draws, variance in ((layer.b, C_b), (layer.W, C_W / n_in)):
        per_network = np.asarray(jnp.mean(draws.reshape(networks, -1) ** 2, axis=1))
        if law == "orthogonal" and draws is layer.W:
            np.testing.assert_allclose(per_network, variance, rtol=1e-12)
            continue
        z = (per_network.mean() - variance) / (per_network.std() / np.sqrt(networks))
        assert abs(z) < 4
    entry = np.asarray(layer.W[:, 0, 0])
    z = (np.mean(entry**2) - C_W / n_in) / (np.std(entry**2) / np.sqrt(networks))
    assert abs(z) < 4
    mean_z = entry.mean() / (entry.std() / np.sqrt(networks))
    assert abs(mean_z) < 4


def test_laws_differ_in_their_fourth_moment():
    keys = jax.random.split(jax.random.key(8), 20_000)
    kurtosis = {}
    for law in weight_laws():
        W = jax.vmap(lambda key, law=law: draw_layer(law, key, 2, 3, 1.0, 1.0).W[0, 0])(keys)
        kurtosis[law] = float(jnp.mean(W**4) / jnp.mean(W**2) ** 2)
    assert abs(kurtosis["gaussian"] - 3) < 0.15
    assert abs(kurtosis["uniform"] - 1.8) < 0.05
    assert 1.8 < kurtosis["truncated_normal"] < 2.9
    # One entry of a Haar matrix with orthonormal columns of length m: E q^4 / (E q^2)^2 = 3m/(m+2).
    assert abs(kurtosis["orthogonal"] - 9 / 5) < 0.05


def test_orthogonal_columns_or_rows():
    for n_in, n_out in ((4, 9), (9, 4)):
        W = draw_layer("orthogonal", jax.random.key(0), n_in, n_out, 0.0, 1.0).W
        short = W @ W.T if n_out < n_in else W.T @ W
        np.testing.assert_allclose(short, max(n_in, n_out) / n_in * jnp.eye(4), atol=1e-12)


def test_hyperparameters_are_leaves_and_widths_are_not():
    net = MLP((3, 5, 2), "tanh", C_b=0.1, C_W=[1.0, 2.0])
    assert len(jax.tree.leaves(net)) == 4
    scaled = jax.tree.map(lambda leaf: 2 * leaf, net)
    assert scaled.widths == net.widths
    np.testing.assert_allclose(scaled.C_W, [2.0, 4.0])
    grid = eqx.filter_vmap(lambda C_W: MLP((3, 5, 2), "tanh", C_W=C_W))(jnp.array([1.0, 1.5]))
    assert grid.C_W.shape == (2, 2)


def test_a_function_that_is_compiled_may_close_over_data_and_build_networks():
    def output(C_W):
        net = MLP((3, 5, 2), lambda z: jnp.tanh(z) ** 3, C_b=0.1, C_W=C_W)
        return net.apply(net.init(jax.random.key(0)), np.asarray(X))

    np.testing.assert_allclose(jax.jit(output)(1.5), output(1.5), rtol=1e-12)


def test_layers_are_in_double_precision_for_a_caller_in_single_precision():
    with jax.enable_x64(False):
        net = MLP((3, 5, 2), "tanh")
        params = net.init(jax.random.key(0))
        assert net.C_W.dtype == params[0].W.dtype == net.apply(params, X).dtype == jnp.float64
        assert jnp.ones(1).dtype == jnp.float32


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"widths": (3,)}, ValueError, "at least one layer"),
        ({"widths": (3, 0, 1)}, ValueError, "positive widths, got 0"),
        ({"widths": (3, -2, 1)}, ValueError, "positive widths"),
        ({"widths": (3, 2.5, 1)}, TypeError, "whole numbers"),
        ({"C_b": -0.1}, ValueError, ">= 0"),
        ({"C_W": [1.0, -1.0]}, ValueError, ">= 0"),
        ({"C_W": [1.0, 1.0, 1.0]}, ValueError, "one per layer"),
        ({"C_W": float("nan")}, ValueError, "finite"),
        ({"lambda_b": float("inf")}, ValueError, "finite"),
        ({"law": "cauchy"}, ValueError, "wanted one of gaussian"),
        ({"activation": "nothing"}, ValueError, "wanted one of"),
    ],
)
def test_bad_networks_are_refused_in_words(arguments, error, message):
    with pytest.raises(error, match=message):
        MLP(**({"widths": (3, 4, 2), "activation": "relu"} | arguments))


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (jnp.ones(3), ValueError, "matrix of shape"),
        (jnp.ones((2, 4)), ValueError, "wanted 3 features"),
        (jnp.ones((0, 3)), ValueError, "at least one sample"),
        (jnp.array([[1.0, jnp.nan, 0.0]]), ValueError, "1 NaN or infinite"),
        ([["a", "b", "c"]], TypeError, "real numbers"),
    ],
)
def test_bad_data_are_refused_in_words(x, error, message):
    net = MLP((3, 4, 2), "relu")
    with pytest.raises(error, match=message):
        net.apply(net.init(jax.random.key(0)), x)
