"""Primal, dual and the limit of the ridge; networks as linear models of their features."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import finitewidth as fw
from finitewidth.ensemble import empirical_ntk
from finitewidth.learning import bayes_equivalent, gradient_descent, predict
from finitewidth.learning.kernel_machines import (
    dual_weights,
    feature_kernel,
    fit_linear_model,
    gaussian_kernel,
    kernel_machine,
    linear_features,
    linear_kernel,
    network_features,
    random_feature_kernel,
)
from tests.learning.problem import X_TEST, X, Y, network

rng = np.random.default_rng(5)
#: More features than inputs, and fewer.
MANY, MANY_TEST = rng.normal(size=(4, 7)), rng.normal(size=(3, 7))
FEW, FEW_TEST = rng.normal(size=(9, 3)), rng.normal(size=(3, 3))
Y_FEW = rng.normal(size=(9, 2))


def test_primal_is_dual_is_the_limit():
    """(10.126) = (10.132) = the limit of (10.124), to 1e-10."""
    primal = fit_linear_model(MANY, Y)(MANY_TEST)
    k_AA, k_BA = feature_kernel(MANY), feature_kernel(MANY_TEST, MANY)
    np.testing.assert_allclose(primal, k_BA @ np.linalg.inv(k_AA) @ Y, atol=1e-10)
    np.testing.assert_allclose(primal, k_BA @ dual_weights(k_AA, Y), atol=1e-10)
    # The ridge is of first order: Richardson takes it away.
    steps = [np.asarray(fit_linear_model(MANY, Y, ridge=a)(MANY_TEST)) for a in (2e-5, 1e-5)]
    np.testing.assert_allclose(primal, 2 * steps[1] - steps[0], atol=1e-8)
    np.testing.assert_allclose(
        primal, fit_linear_model(MANY, Y, ridge=1e-12)(MANY_TEST), atol=1e-10
    )


@pytest.mark.parametrize("ridge", [0.3, 4.0])
def test_ridge(ridge):
    """(10.124) from the normal equations, and as a kernel machine, both ways round."""
    for phi, phi_test, y in ((MANY, MANY_TEST, Y), (FEW, FEW_TEST, Y_FEW)):
        M = phi.T @ phi + 2 * ridge * np.eye(phi.shape[1])
        model = fit_linear_model(phi, y, ridge)
        np.testing.assert_allclose(model.weights, y.T @ phi @ np.linalg.inv(M), rtol=1e-9)
        dual = feature_kernel(phi_test, phi) @ dual_weights(feature_kernel(phi), y, ridge)
        np.testing.assert_allclose(model(phi_test), dual, rtol=1e-9)
        # The minimum of the loss: its gradient vanishes.
        loss = lambda W, phi=phi, y=y: (  # noqa: E731
            ((jnp.asarray(phi) @ W.T - jnp.asarray(y)) ** 2).sum() / 2 + ridge * (W**2).sum()
        )
        with fw.double_precision():
            assert np.abs(jax.grad(loss)(model.weights)).max() < 1e-12


def test_fewer_features_than_inputs():
    """(10.122): least squares; the dual needs a ridge."""
    want = np.linalg.lstsq(FEW, Y_FEW, rcond=None)[0].T
    np.testing.assert_allclose(fit_linear_model(FEW, Y_FEW).weights, want, rtol=1e-10)
    with pytest.raises(ValueError, match="kernel of 9 training inputs is singular"):
        dual_weights(feature_kernel(FEW), Y_FEW)


def test_descent_from_other_weights():
    """Footnote 48: iterate gradient descent of the weights."""
    start = rng.normal(size=(2, 7))
    W = start.copy()
    for _ in range(20_000):
        W -= 0.05 * (MANY @ W.T - Y).T @ MANY
    model = fit_linear_model(MANY, Y, initial=start)
    np.testing.assert_allclose(model.weights, W, atol=1e-9)
    k_AA, k_BA = feature_kernel(MANY), feature_kernel(MANY_TEST, MANY)
    z_B = MANY_TEST @ start.T - k_BA @ np.linalg.inv(k_AA) @ (MANY @ start.T - Y)
    np.testing.assert_allclose(model(MANY_TEST), z_B, atol=1e-9)


def test_kernels():
    phi, phi_test = linear_features(X), linear_features(X_TEST)
    c = np.array([0.7, 1.3, 1.3, 1.3])
    np.testing.assert_allclose(
        linear_kernel(X_TEST, X, 0.7, 1.3), feature_kernel(phi_test, phi, c), rtol=1e-13
    )
    found = gaussian_kernel(X, width=1.7)
    apart = np.linalg.norm(X[1] - X[3])
    assert float(found[1, 3]) == pytest.approx(np.exp(-(apart**2) / 2 / 1.7**2))
    assert np.diagonal(found).tolist() == [1.0] * 4


@pytest.mark.parametrize("ridge", [0.0, 0.2])
@pytest.mark.parametrize("kernel", [linear_kernel, gaussian_kernel])
def test_machines(kernel, ridge):
    machine = kernel_machine(kernel, X, Y, ridge)
    k = np.asarray(kernel(X)) + 2 * ridge * np.eye(4)
    np.testing.assert_allclose(
        machine(X_TEST), np.asarray(kernel(X_TEST, X)) @ np.linalg.inv(k) @ Y, rtol=1e-8
    )
    if not ridge:
        np.testing.assert_allclose(machine(X), Y, atol=1e-10)
    elif kernel is linear_kernel:
        model = fit_linear_model(linear_features(X), Y, ridge)
        np.testing.assert_allclose(machine(X_TEST), model(linear_features(X_TEST)), rtol=1e-9)


def test_machine_of_the_frozen_ntk_is_the_prediction():
    """(10.132) with k = Theta is (10.40)."""
    net = network("gelu")

    def Theta(x, other):
        return fw.flow.ntk(net, np.concatenate([x, other])).mean[-1][: len(x), len(x) :]

    machine = kernel_machine(Theta, X, Y)
    np.testing.assert_allclose(machine(X_TEST), predict(net, X, Y, X_TEST).mean, rtol=1e-8)


def test_features_are_derivatives():
    """(10.138)-(10.140) by automatic differentiation, (10.141) against the empirical NTK."""
    net = network()
    params = net.init(jax.random.key(1))
    found = network_features(net, params, X)
    with fw.double_precision():
        jacobian = jax.jacrev(lambda p: net.apply(p, X))(params)
        want = np.concatenate(
            [np.asarray(leaf).reshape(4, 2, -1) for layer in jacobian for leaf in layer], axis=2
        )
    np.testing.assert_allclose(found, want, rtol=1e-10, atol=1e-14)
    assert found.shape[2] == net.parameter_count
    scaled = np.asarray(network_features(net, params, X, rates=True))
    H = np.einsum("aip,bjp->ijab", scaled, scaled)
    np.testing.assert_allclose(H, empirical_ntk(net, params, X), rtol=1e-10, atol=1e-13)
    assert np.abs(H[0, 1]).max() > 0.01  # outputs are coupled


def test_random_feature_kernel_is_the_ntk_of_the_last_layer_and_what_descent_does():
    net = bayes_equivalent(network())
    params = net.init(jax.random.key(2))
    k = random_feature_kernel(net, params, X)
    H = np.asarray(empirical_ntk(net, params, X))
    np.testing.assert_allclose(H[0, 0], k, rtol=1e-12)
    np.testing.assert_allclose(H[0, 1], 0.0, atol=1e-15)
    # Training the last layer is exact linear regression from its initial weights.
    run = gradient_descent(net, params, X, Y, eta=0.2, steps=20_000)
    z, z_test = net.apply(params, X), net.apply(params, X_TEST)
    duals = dual_weights(k, Y - z)
    want = z_test + random_feature_kernel(net, params, X_TEST, X) @ duals
    np.testing.assert_allclose(net.apply(run.params, X_TEST), want, atol=1e-6)


def test_fluctuation_of_the_random_feature_kernel():
    """E k^ = K and Var k^_12 = (C_W^2/n_1) Var[sigma_1 sigma_2], one hidden layer: V_(12)(12)/n."""
    net = fw.MLP((3, 20, 2), "tanh", C_b=0.2, C_W=1.5)
    with fw.double_precision():
        keys = jax.random.split(jax.random.key(0), 20_000)
        drawn = np.asarray(
            jax.vmap(lambda key: random_feature_kernel(net, net.init(key), X[:2]))(keys)
        )
    found = fw.flow.preactivations(net, X[:2])
    K, V = np.asarray(found.kernel[-1]), np.asarray(found.vertex.dense()[-1])
    spread = drawn.std(0)
    assert np.abs((drawn.mean(0) - K) / (spread / np.sqrt(len(keys)))).max() < 4
    squares = (drawn - K) ** 2
    error = squares.std(0) / np.sqrt(len(keys))
    want = np.einsum("abab->ab", V) / 20
    assert np.abs((squares.mean(0) - want) / error).max() < 4


def test_networks_trained_in_the_last_layer_are_the_posterior():
    """(10.46)-(10.49): mean and covariance over networks, Richardson in width, three layers."""
    x, y, tests = X[:2], Y[:2, 0], X_TEST[:2]
    inputs = np.concatenate([x, tests])

    def moments(n):
        net = fw.MLP((3, n, 2 * n, 1), "tanh", C_b=0.2, C_W=1.5)

        def one(key):
            k = random_feature_kernel(net, net.init(key), inputs)
            R = jnp.linalg.solve(k[:2, :2], k[:2, 2:]).T
            P = jnp.concatenate([-R, jnp.eye(2)], axis=1)
            mean = R @ y  # over last layers, whose initial outputs have mean zero
            return jnp.concatenate([mean, (P @ k @ P.T + jnp.outer(mean, mean)).ravel()])

        with fw.double_precision():
            keys = jax.random.split(jax.random.key(n), 15_000)
            drawn = np.asarray(jax.jit(jax.vmap(one))(keys))
        return drawn.mean(0), drawn.std(0) / np.sqrt(len(drawn)), net

    (narrow, e_1, _), (wide, e_2, net) = moments(32), moments(64)
    found, error = 2 * wide - narrow, np.hypot(2 * e_2, e_1)
    limit = predict(net, x, y, tests, rule="bayes")
    mean = np.asarray(limit.mean[:, 0])
    want = np.concatenate([mean, (np.asarray(limit.covariance) + np.outer(mean, mean)).ravel()])
    assert np.abs((found - want) / error).max() < 4
    assert error.max() < 0.02


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fit_linear_model(MANY, Y[:3]), r"y: wanted shape \(4, 2\), one row per input"),
        (lambda: fit_linear_model(MANY, Y, ridge=-1), "ridge: wanted one finite number"),
        (lambda: fit_linear_model(MANY, Y, 1.0, np.ones((2, 7))), "initial: wanted none"),
        (lambda: fit_linear_model(MANY, Y, 0.0, np.ones((1, 7))), "initial: wanted 2 rows"),
        (lambda: feature_kernel(MANY, weights=np.ones(3)), "weights: wanted shape"),
        (lambda: feature_kernel(MANY, weights=-np.ones(7)), "weights: wanted finite"),
        (lambda: gaussian_kernel(X, width=0.0), "width: wanted a positive"),
        (lambda: kernel_machine(gaussian_kernel, X[[0, 0]], Y[:2]), "is singular"),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
