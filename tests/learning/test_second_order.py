"""Second-order steps of a real network: the sum (10.19) written out, and where they end."""

import jax
import numpy as np
import pytest

import finitewidth as fw
from finitewidth.learning import gradient_step, second_order_step
from tests.learning.problem import N, X, Y, kernels, network

NET = network()
KAPPA = np.array(
    [[1.0, 0.3, 0.0, 0.1], [0.3, 2.0, 0.2, 0.0], [0.0, 0.2, 0.7, 0.1], [0.1, 0.0, 0.1, 1.3]]
)
P = np.array([[0.7, 0.3], [0.35, 0.65], [0.55, 0.45], [0.2, 0.8]])


@pytest.fixture(scope="module")
def one():
    """A network, its outputs, and d z_ia/d theta_m as a matrix over (a, i), with the rates."""
    with fw.double_precision():
        params = NET.init(jax.random.key(3))
        jacobian = jax.jacobian(lambda p: NET.apply(p, X))(params)
        columns = [np.asarray(part).reshape(2 * N, -1) for part in jax.tree.leaves(jacobian)]
        z = np.asarray(NET.apply(params, X))
    rates = [
        np.full(columns[2 * layer + kind].shape[1], rate)
        for layer in range(NET.depth)
        for kind, rate in enumerate(
            (float(NET.lambda_b[layer]), float(NET.lambda_W[layer]) / NET.widths[layer])
        )
    ]
    return params, z, np.concatenate(columns, axis=1), np.concatenate(rates)


def flat(params):
    return np.concatenate([np.asarray(part).ravel() for part in jax.tree.leaves(params)])


@pytest.mark.parametrize("kappa", ["newton", "own", KAPPA], ids=["newton", "own", "matrix"])
@pytest.mark.parametrize("loss", ["mse", "cross-entropy"])
def test_is_the_sum_over_samples(one, kappa, loss):
    """(10.19) from the whole Jacobian, for both losses and every kappa."""
    params, z, jacobian, rates = one
    if loss == "mse":
        y, error = Y, z - Y
    else:
        y, error = P, np.exp(z) / np.exp(z).sum(1, keepdims=True) - P
    if isinstance(kappa, str):
        Theta = kernels(NET)[1][:N, :N]
        H = (jacobian * rates) @ jacobian.T
        matrix = np.linalg.inv(H if kappa == "own" else np.kron(Theta, np.eye(2)))
    else:
        matrix = np.kron(kappa, np.eye(2))
    want = flat(params) - 0.7 * rates * (jacobian.T @ (matrix @ error.ravel()))
    got = second_order_step(NET, params, X, y, loss, kappa, eta=0.7)
    np.testing.assert_allclose(flat(got), want, rtol=1e-9, atol=1e-11)


def test_unit_kappa_is_gradient_descent(one):
    params = one[0]
    for loss, y in (("mse", Y), ("cross-entropy", P)):
        want = gradient_step(NET, params, X, y, loss, eta=0.3)
        got = second_order_step(NET, params, X, y, loss, np.eye(N), eta=0.3)
        np.testing.assert_allclose(flat(got), flat(want), rtol=1e-12, atol=1e-14)


def test_a_network_that_is_linear_in_its_parameters_is_done():
    """One layer: H = Theta, and both Newton steps reach the labels from anywhere."""
    net = fw.MLP((3, 2), "linear", lambda_b=0.4, lambda_W=1.7)
    params = net.init(jax.random.key(0))
    for kappa in ("newton", "own"):
        after = second_order_step(net, params, X, Y, kappa=kappa)
        np.testing.assert_allclose(net.apply(after, X), Y, atol=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kappa": "gauss"}, "kappa: wanted a matrix, 'newton' or 'own', got 'gauss'"),
        ({"kappa": np.eye(3)}, r"kappa: wanted shape \(4, 4\), got \(3, 3\)"),
        ({"kappa": -np.eye(4)}, "kappa"),
        ({"x": np.ones((4, 3))}, "inputs 0 and 1 are equal"),
        ({"eta": -1.0}, "eta: wanted a finite learning rate >= 0"),
        ({"y": Y[:3]}, "y: wanted 4 targets"),
    ],
)
def test_what_is_refused(one, change, message):
    given = {"params": one[0], "x": X, "y": Y} | change
    with pytest.raises(ValueError, match=message):
        second_order_step(NET, **given)
