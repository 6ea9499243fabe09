"""Losses and error factors against optax, SciPy and finite differences written out by hand."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.special import log_softmax, softmax
from scipy.stats import norm

import finitewidth as fw
from finitewidth.learning import (
    Loss,
    cross_entropy,
    log_prior,
    loss_of,
    map_objective,
    mean_squared_error,
    negative_log_likelihood,
)
from finitewidth.learning.losses import check_targets

rng = np.random.default_rng(0)
Z = rng.standard_normal((5, 3))
Y = rng.standard_normal((5, 3))
P = softmax(rng.standard_normal((5, 3)), axis=1)
CLASSES = np.array([0, 2, 1, 1, 0])


def test_mean_squared_error_is_a_sum_over_samples():
    assert float(mean_squared_error(Z, Y)) == pytest.approx(((Z - Y) ** 2).sum() / 2)
    np.testing.assert_allclose(mean_squared_error.error_factor(Z, Y), Z - Y, rtol=1e-14)
    twice = mean_squared_error(np.tile(Z, (2, 1)), np.tile(Y, (2, 1)))
    assert float(twice) == pytest.approx(2 * float(mean_squared_error(Z, Y)))


def test_cross_entropy():
    assert float(cross_entropy(Z, P)) == pytest.approx(-(P * log_softmax(Z, axis=1)).sum())
    with fw.double_precision():
        peer = float(optax.softmax_cross_entropy_with_integer_labels(jnp.asarray(Z), CLASSES).sum())
    labels = check_targets(CLASSES, 5, 3, cross_entropy)
    assert float(cross_entropy(Z, labels)) == pytest.approx(peer, rel=1e-13)
    # Targets that do not sum to 1: eps = p sum y - y.
    weights = 2.5 * P
    wanted = softmax(Z, axis=1) * weights.sum(axis=1, keepdims=True) - weights
    np.testing.assert_allclose(cross_entropy.error_factor(Z, weights), wanted, atol=1e-14)
    huge = cross_entropy([[1e4, 0.0]], [[0.0, 1.0]])
    assert float(huge) == pytest.approx(1e4)


def test_any_loss_against_finite_differences():
    loss = loss_of(lambda z, y: jnp.log(jnp.cosh(z - y)).sum() + z[0] * z[-1])
    got = np.asarray(loss.error_factor(Z, Y))
    for place in np.ndindex(Z.shape):
        step = np.zeros_like(Z)
        step[place] = 1e-6
        difference = (float(loss(Z + step, Y)) - float(loss(Z - step, Y))) / 2e-6
        assert got[place] == pytest.approx(difference, abs=1e-8)
    assert isinstance(loss, Loss) and loss_of(loss) is loss


def small_problem():
    net = fw.MLP((2, 3, 2), "tanh", C_b=[0.3, 0.1], C_W=[1.5, 0.7])
    rng = np.random.default_rng(1)
    shapes = [((3,), (3, 2)), ((2,), (2, 3))]
    params = tuple(
        fw.network.initialization.Layer(rng.standard_normal(b), rng.standard_normal(W))
        for b, W in shapes
    )
    return net, params, rng.standard_normal((4, 2)), rng.standard_normal((4, 2))


def test_objectives_are_log_densities_of_scipy():
    net, params, x, y = small_problem()
    prior = sum(
        norm.logpdf(b, scale=np.sqrt(C_b)).sum() + norm.logpdf(W, scale=np.sqrt(C_W / n)).sum()
        for (b, W), C_b, C_W, n in zip(params, [0.3, 0.1], [1.5, 0.7], [2, 3], strict=True)
    )
    assert float(log_prior(net, params)) == pytest.approx(prior, rel=1e-12)
    hidden = np.tanh(x @ params[0].W.T + params[0].b)
    z = hidden @ params[1].W.T + params[1].b
    likelihood = norm.logpdf(y, loc=z, scale=np.sqrt(0.2)).sum()
    assert float(negative_log_likelihood(net, params, x, y, 0.2)) == pytest.approx(
        -likelihood, rel=1e-12
    )
    assert float(map_objective(net, params, x, y, 0.2)) == pytest.approx(-likelihood - prior)


def test_map_estimate_of_a_linear_layer_is_ridge_regression():
    """With one layer the posterior is Gaussian: its mode is the mean of the book's posterior."""
    import jax

    net = fw.MLP((2, 1), "linear", C_b=0.0, C_W=1.4)
    _, _, x, y = small_problem()
    y = y[:, :1]
    wanted = np.linalg.solve(x.T @ x + 0.2 / 0.7 * np.eye(2), x.T @ y)[:, 0]
    with fw.double_precision():
        zero = jax.tree.map(lambda p: 0.0 * p, net.init(jax.random.key(0)))
        slope = jax.grad(lambda p: map_objective(net, p, x, y, 0.2))
        curvature = jax.hessian(lambda W: map_objective(net, (zero[0]._replace(W=W),), x, y, 0.2))
        H = np.asarray(curvature(zero[0].W)).reshape(2, 2)
        mode = -np.linalg.solve(H, np.asarray(slope(zero)[0].W)[0])
    np.testing.assert_allclose(mode, wanted, rtol=1e-10)
    moved = (zero[0]._replace(b=zero[0].b + 1.0),)
    assert float(log_prior(net, moved)) == -np.inf  # C_b = 0: the bias is zero


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: loss_of("huber"), ValueError, "loss: wanted one of mse"),
        (lambda: loss_of(3), TypeError, "loss"),
        (lambda: check_targets(Y, 4, 3, mean_squared_error), ValueError, "4 targets"),
        (lambda: check_targets(Y, 5, 2, mean_squared_error), ValueError, r"shape \(5, 2\)"),
        (lambda: check_targets(CLASSES, 5, 2, cross_entropy), ValueError, "classes from 0 to 1"),
        (lambda: check_targets([np.nan], 1, 1, mean_squared_error), ValueError, "finite"),
        (lambda: negative_log_likelihood(*small_problem(), 0.0), ValueError, "noise"),
        (
            lambda: log_prior(fw.MLP((2, 3, 2), "tanh", law="uniform"), small_problem()[1]),
            ValueError,
            "Gaussian",
        ),
        (lambda: log_prior(fw.MLP((2, 4, 2), "tanh"), small_problem()[1]), ValueError, "params"),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()
