"""Priors, likelihoods and their sum against SciPy and ridge regression."""

import jax
import numpy as np
import pytest
from scipy.stats import norm

import finitewidth as fw
from finitewidth.learning import log_prior, map_objective, negative_log_likelihood


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
