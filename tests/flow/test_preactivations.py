"""The flow of preactivations against the book's own form, closed forms and asymptotics."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import finitewidth as fw
from finitewidth.flow.preactivations import advance
from finitewidth.gaussian.pair import pair_moments
from tests.flow.book_form import book_step, random_fluctuations

KERNEL = np.array([[1.1, 0.4, -0.3], [0.4, 0.8, 0.2], [-0.3, 0.2, 1.4]])
X = np.array([[1.0, -0.6, 0.3, 0.8], [0.2, 0.9, -1.1, 0.5], [-0.7, 0.4, 0.6, 1.2]])


@pytest.mark.parametrize("name", [pytest.param("tanh", marks=pytest.mark.slow), "gelu", "sin"])
def test_one_layer_is_the_recursion_of_the_book(name):
    sigma = fw.activation(name)
    G1, V = random_fluctuations(np.random.default_rng(1), 3)
    hyperparameters = dict(C_b=0.2, C_W=1.3, ratio=0.7)
    want = book_step(sigma, KERNEL, G1, V, **hyperparameters)

    @jax.jit
    def step(G1, V):
        numbers = {k: jnp.float64(v) for k, v in hyperparameters.items()}
        return advance(pair_moments(sigma), jnp.asarray(KERNEL), G1, V, **numbers, points=2**16)

    got = step(G1, V)
    np.testing.assert_allclose(got[0], want[0], rtol=1e-9)
    np.testing.assert_allclose(got[1], want[1], rtol=1e-6, atol=1e-7)
    few = np.array([len(set(quadruple)) <= 2 for quadruple in np.ndindex(3, 3, 3, 3)])
    few = few.reshape((3,) * 4)
    np.testing.assert_allclose(np.asarray(got[2])[few], want[2][few], rtol=1e-7, atol=1e-8)
    # Three distinct inputs rest on quasi-random points, unless there is a closed form.
    accuracy = 1e-7 if name == "sin" else 5e-4
    np.testing.assert_allclose(got[2], want[2], atol=accuracy * np.abs(want[2]).max())


def test_two_relu_inputs_of_the_theory_file():
    net = fw.MLP((4, 10, 10, 10, 10, 1), "relu", C_b=0.0, C_W=2.0)
    pre = fw.flow.preactivations(net, [[1.2, 0.1, -0.4, 0.7], [0.5, 0.9, 0.3, -0.2]])
    K, G1 = np.asarray(pre.kernel[-1]), np.asarray(pre.nlo_metric[-1])
    np.testing.assert_allclose([K[0, 0], K[1, 1], K[0, 1]], [1.05, 0.595, 0.574269], atol=5e-7)
    np.testing.assert_allclose(G1[0, 1], -0.597974, atol=5e-7)
    np.testing.assert_allclose(np.diagonal(G1), 0.0, atol=1e-12)


@pytest.mark.parametrize(("layers", "want"), [(5, -0.6434), (10, -2.030), (100, -7.61)])
def test_relu_angle_drift_of_the_theory_file(layers, want):
    # Equal norms with K = 1 and an angle of 1.2 at layer 1.
    net = fw.MLP((2,) + (7,) * (layers - 1) + (1,), "relu", C_W=2.0)
    x = [[1.0, 0.0], [np.cos(1.2), np.sin(1.2)]]
    G1 = fw.flow.preactivations(net, x).nlo_metric[-1, 0, 1]
    assert abs(float(G1) - want) < 0.6 * 10.0 ** -(len(str(want).split(".")[1]))


@pytest.mark.parametrize(
    ("name", "slope"), [("linear", 2.0), ("relu", 5.0), ("leaky_relu(0.2)", 4.556213), ("abs", 2.0)]
)
def test_scale_invariant_vertex_grows_linearly_at_unequal_widths(name, slope):
    widths = (4, 30, 11, 24, 17, 2)
    net = fw.MLP.critical(widths, name)
    pre = fw.flow.preactivations(net, X)
    K = np.einsum("laa->la", pre.kernel)
    np.testing.assert_allclose(K, K[:1].repeat(5, axis=0), rtol=1e-12)
    V = np.einsum("laaaa->la", pre.vertex.dense())
    for layer in range(5):
        want = widths[layer] * slope * sum(1 / n for n in widths[1 : layer + 1])
        np.testing.assert_allclose(V[layer], want * K[layer] ** 2, rtol=2e-7)


def single_input(name, layers, K1=1.0, **hyperparameters):
    """Return K, V, G1 of one input with kernel K1 at layer 1 and equal hidden widths."""
    net = fw.MLP((1,) + (8,) * (layers - 1) + (1,), name, **hyperparameters)
    x = [[float(jnp.sqrt((K1 - net.C_b[0]) / net.C_W[0]))]]
    pre = fw.flow.preactivations(net, x)
    V = np.asarray(pre.vertex.dense())[:, 0, 0, 0, 0]
    return np.asarray(pre.kernel)[:, 0, 0], V, np.asarray(pre.nlo_metric)[:, 0, 0]


@pytest.fixture(scope="module")
def tanh_flow():
    with fw.double_precision():
        return single_input("tanh", 3000)


def test_tanh_vertex_at_the_depths_of_the_theory_file(tanh_flow):
    K, V, _ = tanh_flow
    for layer, want in ((10, 0.552), (100, 0.648), (1000, 0.664)):
        assert abs(V[layer - 1] / (layer * K[layer - 1] ** 2) - want) < 5e-4


@pytest.mark.parametrize(
    ("name", "a_1", "beta"), [("tanh", -2.0, -11 / 36), ("sin", -1.0, -14 / 9)]
)
def test_deep_vertex_and_metric_of_the_K0_class(name, a_1, beta, tanh_flow):
    K, V, G1 = tanh_flow if name == "tanh" else single_input("sin", 3000)
    approach = (V / K + 2 / (3 * a_1)) / K
    # The next term is of relative order K log K: extrapolate with two depths.
    deep, shallow = approach[-1], approach[len(K) // 2 - 1]
    assert abs(deep - beta) < abs(shallow - beta)
    assert abs(deep - beta) < 0.02 * max(1, abs(beta))
    assert abs(G1[-1] - 1 / (3 * a_1)) < 2e-3
    assert abs(len(K) * K[-1] * (-a_1) - 1) < 5e-3


def test_a_subset_of_inputs_gives_the_subset_of_the_result():
    net = fw.MLP((4, 12, 20, 9, 1), "relu", C_b=0.1, C_W=1.4)
    whole = fw.flow.preactivations(net, X)
    part = fw.flow.preactivations(net, X[[2, 0]])
    keep = np.ix_(range(4), [2, 0], [2, 0])
    np.testing.assert_allclose(part.kernel, np.asarray(whole.kernel)[keep], rtol=1e-12)
    np.testing.assert_allclose(part.nlo_metric, np.asarray(whole.nlo_metric)[keep], rtol=1e-9)
    keep = np.ix_(range(4), [2, 0], [2, 0], [2, 0], [2, 0])
    np.testing.assert_allclose(
        part.vertex.dense(), np.asarray(whole.vertex.dense())[keep], rtol=1e-9
    )


def test_depth_1000_is_finite_and_compiles_once():
    net = fw.MLP.critical((4,) + (50,) * 999 + (1,), "relu")
    pre = fw.flow.preactivations(net, X, order=0)
    assert bool(jnp.isfinite(pre.kernel).all())
    np.testing.assert_allclose(pre.kernel[-1, 0, 0], pre.kernel[0, 0, 0], rtol=1e-10)


@pytest.mark.parametrize("name", ["relu", pytest.param("sin", marks=pytest.mark.slow)])
def test_derivatives_with_respect_to_hyperparameters(name):
    def spread(C_b, C_W):
        net = fw.MLP((4, 12, 20, 1), name, C_b=C_b, C_W=C_W)
        pre = fw.flow.preactivations(net, X[:2])
        return pre.metric[-1].sum() + pre.vertex.dense()[-1, 0, 1, 0, 1]

    gradient = jax.grad(spread, argnums=(0, 1))(0.2, 1.5)
    step = 1e-5
    numeric = (
        (spread(0.2 + step, 1.5) - spread(0.2 - step, 1.5)) / (2 * step),
        (spread(0.2, 1.5 + step) - spread(0.2, 1.5 - step)) / (2 * step),
    )
    np.testing.assert_allclose(gradient, numeric, rtol=2e-6)


def test_a_map_over_hyperparameters_is_the_loop_over_them():
    def last(C_W):
        net = fw.MLP((4, 12, 20, 1), "relu", C_W=C_W)
        return fw.flow.preactivations(net, X[:2]).vertex.dense()[-1]

    grid = jnp.array([0.8, 1.0, 1.7])
    loop = jnp.stack([last(C_W) for C_W in grid])
    np.testing.assert_allclose(jax.vmap(last)(grid), loop, rtol=1e-10)


@settings(max_examples=10)
@given(st.permutations([0, 1, 2]), st.floats(0.2, 3.0), st.floats(0.0, 1.0))
def test_the_order_of_the_inputs_does_not_matter(order, C_W, C_b):
    net = fw.MLP((4, 12, 20, 1), "sin", C_b=C_b, C_W=C_W)
    straight = fw.flow.preactivations(net, X)
    permuted = fw.flow.preactivations(net, X[order])
    index = np.ix_(range(3), order, order)
    np.testing.assert_allclose(
        permuted.nlo_metric, np.asarray(straight.nlo_metric)[index], rtol=1e-8, atol=1e-12
    )
    V = np.asarray(straight.vertex.dense())
    np.testing.assert_allclose(V, V.transpose(0, 2, 1, 3, 4), atol=1e-12)
    np.testing.assert_allclose(V, V.transpose(0, 3, 4, 1, 2), atol=1e-12)
    pairs = V[-1].reshape(9, 9)
    assert np.linalg.eigvalsh(pairs).min() > -1e-10 * np.abs(pairs).max()


def test_labelled_results():
    net = fw.MLP((4, 12, 20, 1), "sin")
    pre = fw.flow.preactivations(net, X)
    data = pre.to_xarray()
    assert data.vertex.sel(layer=2).shape == (3, 3, 3, 3)
    np.testing.assert_allclose(pre.metric[2], pre.kernel[2] + pre.nlo_metric[2] / 20, rtol=1e-14)
    assert "layer 3" in repr(pre)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"order": 2}, "wanted 0"),
        ({"x": X[:, :3]}, "wanted 4 features"),
        ({"x": X * np.nan}, "NaN"),
        ({"x": np.ones((60, 4))}, "at most 48 inputs"),
        ({"law": "orthogonal"}, "orthogonal"),
    ],
)
def test_bad_input_is_refused_in_words(arguments, message):
    net = fw.MLP((4, 5, 1), "relu", law=arguments.pop("law", "gaussian"))
    with pytest.raises(ValueError, match=message):
        fw.flow.preactivations(net, **({"x": X} | arguments))
