"""Real networks trained in several ways: how far from each other and from the giant leap.

Distances fall like a power of the width, (10.35), (10.39): 1/n between algorithms, n^(-1/2) from
the leap of the frozen NTK. Slopes of log distance against log n at four widths.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import finitewidth as fw
from finitewidth.learning import (
    giant_leap,
    gradient_descent,
    max_learning_rate,
    second_order_step,
    tensorial_learning_rates,
)

X = np.array([[0.9, -0.4, 1.2], [-1.1, 1.0, 0.5], [0.6, 1.3, -0.9]])
X_TEST = np.array([[0.2, 0.8, 1.0], [-0.7, -0.6, 0.4]])
Y = np.array([[0.7, -0.5], [-0.3, 0.6], [0.4, 0.2]])
P = np.array([[0.7, 0.3], [0.35, 0.65], [0.55, 0.45]])
WIDTHS = (24, 48, 96, 192)
NETWORKS = 64


def network(n):
    return fw.MLP((3, n, n, 2), "tanh", C_b=0.2, C_W=1.5, lambda_b=0.5, lambda_W=1.0)


#: The same at all widths.
THETA = np.asarray(fw.flow.ntk(network(9), X).mean[-1])


def of_all(run, n):
    """Apply a function of the parameters to the same networks at one width."""
    net = network(n)
    with fw.double_precision():
        keys = jax.random.split(jax.random.key(n), NETWORKS)
        return np.asarray(jax.jit(jax.vmap(lambda key: run(net, net.init(key))))(keys))


def slope_of(distances):
    """Log-slope of the distance, and its standard error from the scatter of networks."""
    logs = [np.log((np.asarray(d).reshape(NETWORKS, -1) ** 2).mean(1)) / 2 for d in distances]
    x = np.log(WIDTHS) - np.log(WIDTHS).mean()
    errors = np.array([log.std() for log in logs]) / np.sqrt(NETWORKS)
    slope = x @ [log.mean() for log in logs] / (x @ x)
    return slope, np.sqrt((x * errors) @ (x * errors)) / (x @ x)


def rate():
    return 0.4 * float(max_learning_rate(THETA))


def trained(net, params, y=Y, loss="mse", **settings):
    """Test outputs after training to the end."""
    run = gradient_descent(net, params, X, y, loss, **({"steps": 1200} | settings))
    return net.apply(run.params, jnp.concatenate([X_TEST, X]))


def algorithms(eta):
    def heavy_ball(net):
        chain = (tensorial_learning_rates(net), optax.trace(decay=0.6), optax.scale(-0.4 * eta))
        return {"optimizer": optax.chain(*chain), "steps": 800}

    return {
        "slower descent": lambda net: {"eta": 0.25 * eta, "steps": 4800},
        "batches of two": lambda net: {
            "eta": eta, "steps": 3000, "batch_size": 2, "key": jax.random.key(0),
        },
        "momentum": heavy_ball,
    }  # fmt: skip


@pytest.fixture(scope="module")
def descent():
    eta = rate()
    return [of_all(lambda net, p: trained(net, p, eta=eta), n) for n in WIDTHS]


@pytest.mark.slow
def test_training_has_come_to_its_end(descent):
    for outputs in descent:
        assert np.abs(outputs[:, 2:] - Y).max() < 1e-5


@pytest.mark.slow
def test_distance_from_the_leap(descent):
    """(10.39): n^(-1/2)."""
    leaps = [of_all(lambda net, p: giant_leap(net, p, X, Y, X_TEST), n) for n in WIDTHS]
    slope, error = slope_of([a[:, :2] - b for a, b in zip(descent, leaps, strict=True)])
    assert abs(slope + 0.5) < 4 * error + 0.05 and error < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["slower descent", "batches of two", "momentum"])
def test_distance_between_algorithms(descent, name):
    """(10.35): 1/n."""
    settings = algorithms(rate())[name]
    others = [of_all(lambda net, p: trained(net, p, **settings(net)), n) for n in WIDTHS]
    for outputs in others:
        assert np.abs(outputs[:, 2:] - Y).max() < 1e-5
    slope, error = slope_of([a[:, :2] - b[:, :2] for a, b in zip(descent, others, strict=True)])
    # Widths from 24 on still show the next order, which flattens the slope.
    print(name, slope, error)
    assert abs(slope + 1) < 4 * error + 0.1 and slope < -0.5 - 3 * error


@pytest.mark.slow
def test_cross_entropy():
    """Softmax n^(-1/2) from that of the squared error, outputs 1/n if its targets are matched."""
    eta = rate()

    def both(net, p):
        chain = (tensorial_learning_rates(net), optax.trace(decay=0.8), optax.scale(-eta))
        settings = {"optimizer": optax.chain(*chain), "steps": 2500}
        by_entropy = trained(net, p, P, "cross-entropy", **settings)
        by_error = trained(net, p, jnp.log(P), eta=eta)
        matched = trained(net, p, by_entropy[2:], eta=eta)
        q, q_error = (jax.nn.softmax(z[:2]) for z in (by_entropy, by_error))
        reached = jnp.abs(jax.nn.softmax(by_entropy[2:]) - P).max()
        return jnp.stack([q - q_error, by_entropy[:2] - matched[:2], reached * jnp.ones((2, 2))])

    found = [of_all(both, n) for n in WIDTHS]
    assert max(f[:, 2].max() for f in found) < 1e-5
    for part, want in ((0, -0.5), (1, -1.0)):
        slope, error = slope_of([f[:, part] for f in found])
        print("cross-entropy", slope, error)
        assert abs(slope - want) < 4 * error + 0.05 and error < 0.15


def newton_residual(net, params, kappa):
    """The error at training inputs after one second-order step of a real network, (10.30)."""
    return net.apply(second_order_step(net, params, X, Y, kappa=kappa), X) - Y


@pytest.mark.parametrize(("kappa", "want"), [("newton", -0.5), ("own", -1.0)])
def test_one_newton_step(kappa, want):
    """(10.30): what is left falls like n^(-1/2) with Theta and like 1/n with the own NTK."""
    left = [of_all(lambda net, p: newton_residual(net, p, kappa), n) for n in WIDTHS]
    slope, error = slope_of(left)
    assert abs(slope - want) < 4 * error + 0.05 and error < 0.1
