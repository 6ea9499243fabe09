"""The NTK of one network against brute force, and what it says about one step of learning."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from finitewidth.ensemble import empirical_ntk, ntk_shares
from finitewidth.network import MLP
from finitewidth.precision import double_precision

X = np.array([[0.9, -0.4, 0.2], [0.1, 0.8, -0.5], [-0.6, 0.3, 0.7]])
DEPTH = 4


def network(activation="tanh"):
    return MLP(
        (3, 6, 5, 7, 2),
        activation,
        C_b=[0.1, 0.2, 0.3, 0.2],
        C_W=[1.0, 1.5, 1.2, 0.7],
        lambda_b=[0.3, 1.0, 0.7, 0.1],
        lambda_W=[1.0, 0.4, 3.0, 5.0],
    )


def forward(net, params, x, layer):
    """A second, plain forward pass."""
    signal = jnp.asarray(x)
    for k, (b, W) in enumerate(params[:layer], start=1):
        z = b + signal @ W.T
        signal = net.activation(z)
        if k == layer:
            return z
    raise AssertionError


def rates(net, params):
    """The learning-rate tensor, PDLT (8.6), one array per parameter array."""
    return tuple(
        type(layer)(
            jnp.full_like(layer.b, net.lambda_b[k]),
            jnp.full_like(layer.W, net.lambda_W[k] / net.widths[k]),
        )
        for k, layer in enumerate(params)
    )


def of_jacobians(jacobian, rate):
    """Contract Jacobians (N, n, ...) with the rates of their parameters; shape (n, n, N, N)."""
    J = np.asarray(jacobian).reshape(*jacobian.shape[:2], -1)
    return np.einsum("aip,p,bjp->ijab", J, np.asarray(rate).ravel(), J)


@pytest.mark.parametrize(("activation", "layers"), [("tanh", (2, 4)), ("relu", (1, 4))])
def test_ntk_and_shares_are_those_of_all_parameters(activation, layers):
    net = network(activation)
    params = net.init(jax.random.key(3))
    for layer in layers:
        with double_precision():
            jacobians = jax.jacrev(lambda p, layer=layer: forward(net, p, X, layer))(params)
        rate = rates(net, params)
        expected = np.array(
            [
                [of_jacobians(jacobians[k].b, rate[k].b), of_jacobians(jacobians[k].W, rate[k].W)]
                for k in range(layer)
            ]
        )
        shares = ntk_shares(net, params, X, layer)
        np.testing.assert_allclose(shares, expected, rtol=1e-11, atol=1e-13)
        ntk = empirical_ntk(net, params, X, layer)
        np.testing.assert_allclose(ntk, expected.sum(axis=(0, 1)), rtol=1e-11, atol=1e-13)
        own = np.einsum("iiab->iab", ntk)
        np.testing.assert_allclose(
            empirical_ntk(net, params, X, layer, diagonal=True), own, rtol=1e-12
        )
        own = np.einsum("kgiiab->kgiab", shares)
        np.testing.assert_allclose(
            ntk_shares(net, params, X, layer, diagonal=True), own, rtol=1e-12, atol=1e-14
        )
    np.testing.assert_array_equal(empirical_ntk(net, params, X), ntk)


def test_ntk_is_that_of_finite_differences():
    """No derivative taken by any program: every parameter is moved up and down."""
    net, step = network(), 1e-5
    params = net.init(jax.random.key(4))
    leaves, structure = jax.tree.flatten(params)
    leaves = [np.array(leaf) for leaf in leaves]
    rate = [np.ravel(leaf) for leaf in jax.tree.leaves(rates(net, params))]

    def outputs(values):
        signal = X
        for b, W in jax.tree.unflatten(structure, values):
            z = b + signal @ W.T
            signal = np.tanh(z)
        return z

    expected = 0.0
    for place, leaf in enumerate(leaves):
        for entry in range(leaf.size):
            moved = []
            for sign in (1, -1):
                values = [v.copy() for v in leaves]
                values[place].flat[entry] += sign * step
                moved.append(outputs(values))
            slope = (moved[0] - moved[1]) / (2 * step)
            expected = expected + rate[place][entry] * np.einsum("ai,bj->ijab", slope, slope)
    np.testing.assert_allclose(empirical_ntk(net, params, X), expected, rtol=1e-7, atol=1e-7)


def test_one_step_of_gradient_descent():
    """PDLT (8.3) for the loss and (8.13) for hidden preactivations, by central differences."""
    net = network()
    params = net.init(jax.random.key(5))
    targets = np.array([[0.3, -1.0], [0.8, 0.1], [-0.4, 0.6]])
    train = X[:2]

    def loss_of(outputs):
        return 0.5 * jnp.sum((outputs - targets[:2]) ** 2)

    with double_precision():
        gradient = jax.grad(lambda p: loss_of(forward(net, p, train, DEPTH)))(params)

        def moved(eta):
            return jax.tree.map(
                lambda p, r, g: p - eta * r * g, params, rates(net, params), gradient
            )

        def change(f, eta=1e-4):
            return (np.asarray(f(moved(eta))) - np.asarray(f(moved(-eta)))) / (2 * eta)

        error = np.asarray(net.apply(params, train)) - targets[:2]
        ntk = np.asarray(empirical_ntk(net, params, train))
        expected = -np.einsum("ai,bj,ijab->", error, error, ntk)
        found = change(lambda p: loss_of(forward(net, p, train, DEPTH)))
        np.testing.assert_allclose(found, expected, rtol=1e-6)

        # Sample 2 is not trained on: it moves because of the others.
        for layer in (1, 2, 3):
            z = forward(net, params, train, layer)

            def loss_from(z, layer=layer):
                for k in range(layer, DEPTH):
                    z = params[k].b + net.activation(z) @ params[k].W.T
                return loss_of(z)

            by_preactivation = np.asarray(jax.grad(loss_from)(z))
            ntk = np.asarray(empirical_ntk(net, params, X, layer))[:, :, :2]
            expected = -np.einsum("aj,jiad->di", by_preactivation, ntk)
            found = change(lambda p, layer=layer: forward(net, p, X, layer))
            np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8)


def test_a_large_compiled_batch_is_its_networks_one_by_one():
    # XLA on a CPU has given wrong products in large batches, so the batch is not taken on trust.
    net = MLP((6, 16, 16, 10), "tanh")
    x = np.random.default_rng(3).normal(size=(5, 6))
    with double_precision():
        keys = jax.random.split(jax.random.key(2), 64)
        params = jax.vmap(net.init)(keys)
        batch = jax.jit(jax.vmap(lambda p: empirical_ntk(net, p, x)))(params)
        for b in (17, 63):
            alone = empirical_ntk(net, net.init(keys[b]), x)
            np.testing.assert_allclose(batch[b], alone, rtol=1e-11, atol=1e-13)


def test_symmetry_and_positivity():
    net = network()
    ntk = np.asarray(empirical_ntk(net, net.init(jax.random.key(6)), X, 2))
    np.testing.assert_allclose(ntk, ntk.transpose(1, 0, 3, 2), rtol=1e-12)
    flat = ntk.transpose(0, 2, 1, 3).reshape(15, 15)
    assert np.linalg.eigvalsh(flat)[0] > 0


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"layer": 5}, ValueError, r"layer: wanted one of 1..4, got 5"),
        ({"layer": 0}, ValueError, "layer: wanted at least 1, got 0"),
        ({"layer": 1.5}, TypeError, "layer: wanted a whole number, got 1.5"),
        ({"x": X[:, :2]}, ValueError, "x: wanted 3 features.*got 2"),
        ({"params": ()}, ValueError, r"params: wanted \(b, W\) of shapes .*, got \[\]"),
    ],
)
def test_wrong_input_is_refused_in_words(change, error, message):
    net = network()
    arguments = {"net": net, "params": net.init(jax.random.key(0)), "x": X} | change
    for function in (empirical_ntk, ntk_shares):
        with pytest.raises(error, match=message):
            function(**arguments)
