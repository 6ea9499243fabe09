"""One step against the NTK, descent against NumPy, batches against descent, Optax chains."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import finitewidth as fw
from finitewidth.learning import (
    first_order_change,
    gradient_descent,
    gradient_descent_optimizer,
    gradient_step,
    loss_of,
    tensorial_learning_rates,
)

rng = np.random.default_rng(3)
X = rng.standard_normal((4, 3))
X_TEST = rng.standard_normal((2, 3))
Y = rng.standard_normal((4, 2))
CLASSES = np.array([0, 1, 1, 0])


def network(activation="tanh"):
    return fw.MLP(
        (3, 12, 8, 2),
        activation,
        C_b=0.1,
        C_W=1.6,
        lambda_b=[0.5, 1.3, 0.2],
        lambda_W=[1.1, 0.4, 2.0],
    )


def observable(z):
    """A function of all outputs, training inputs first."""
    return jnp.stack([jnp.sin(z).sum(), z[0, 0] * z[-1, 1], (z[4:] ** 2).sum()])


LOSSES = {
    "mse": ("mse", Y),
    "cross-entropy": ("cross-entropy", CLASSES),
    "own": (lambda z, y: jnp.log(jnp.cosh(z - y)).sum() + z[0] * z[1] / 5, Y),
}


@pytest.mark.parametrize("name", LOSSES)
def test_first_order_identities(name):
    """(7.12), (7.14), (7.19), (7.20): finite differences in eta of real steps, to 1e-5."""
    loss, y = LOSSES[name]
    net = network()
    params = net.init(jax.random.key(0))
    inputs = np.concatenate([X, X_TEST])
    change = first_order_change(net, params, X, y, loss, 1.0, X_TEST, observable)
    kind = loss_of(loss)
    targets = np.eye(2)[CLASSES] if name == "cross-entropy" else y

    def measured(eta):
        after = params if eta == 0 else gradient_step(net, params, X, y, loss, eta)
        z = np.asarray(net.apply(after, inputs))
        with fw.double_precision():
            seen = np.asarray(observable(jnp.asarray(z)))
        return float(kind(z[:4], targets)), z, seen

    before, errors = measured(0.0), []
    for eta in (1e-4, 1e-5):
        after = measured(eta)
        loss_rate, z_rate, seen_rate = ((a - b) / eta for a, b in zip(after, before, strict=True))
        rates = np.concatenate([[loss_rate], z_rate.ravel(), seen_rate])
        assert change.test_outputs is not None and change.observable is not None
        theory = np.concatenate(
            [
                [float(change.loss)],
                np.ravel(change.outputs),
                np.ravel(change.test_outputs),
                np.ravel(change.observable),
            ]
        )
        errors.append(np.abs(rates - theory).max() / np.abs(theory).max())
    assert errors[1] < 1e-4 and errors[1] < 0.15 * errors[0]  # O(eta)
    # Both differences together leave O(eta^2): agreement to 1e-5 and better.
    whole, half = measured(1e-4), measured(5e-5)
    richardson = 4 * (half[0] - before[0]) - (whole[0] - before[0])
    assert richardson / 1e-4 == pytest.approx(float(change.loss), rel=1e-7)
    assert float(change.loss) < 0


def test_first_order_loss_is_the_quadratic_form_of_the_ntk():
    net = network("relu")
    params = net.init(jax.random.key(5))
    change = first_order_change(net, params, X, Y, eta=0.3)
    eps = np.asarray(net.apply(params, X)) - Y
    np.testing.assert_allclose(change.error_factor, eps, atol=1e-13)
    # The NTK from the derivative by every parameter.
    with fw.double_precision():
        jacobian = jax.jacrev(lambda p: net.apply(p, X))(params)
    H = np.zeros((2, 2, 4, 4))
    for layer, n_in, b, W in zip(jacobian, (3, 12, 8), net.lambda_b, net.lambda_W, strict=True):
        H += float(b) * np.einsum("aik,bjk->ijab", layer.b, layer.b)
        H += float(W) / n_in * np.einsum("aikl,bjkl->ijab", layer.W, layer.W)
    np.testing.assert_allclose(change.ntk, H, atol=1e-12)
    wanted = -0.3 * np.einsum("ai,ijab,bj->", eps, H, eps)
    assert float(change.loss) == pytest.approx(wanted, rel=1e-12)


def test_step_written_out_for_two_layers():
    """Backpropagation by hand, with the rates of every layer."""
    net = fw.MLP((3, 5, 1), "tanh", lambda_b=[0.7, 0.3], lambda_W=[1.2, 0.9])
    params = net.init(jax.random.key(2))
    y = Y[:, 0]
    (b1, W1), (b2, W2) = ((np.asarray(b), np.asarray(W)) for b, W in params)
    h = np.tanh(X @ W1.T + b1)
    eps = h @ W2.T + b2 - y[:, None]
    back = eps @ W2 * (1 - h**2)
    eta = 0.05
    wanted = (
        (b1 - eta * 0.7 * back.sum(0), W1 - eta * 1.2 / 3 * back.T @ X),
        (b2 - eta * 0.3 * eps.sum(0), W2 - eta * 0.9 / 5 * eps.T @ h),
    )
    got = gradient_step(net, params, X, y, eta=eta)
    for layer, (b, W) in zip(got, wanted, strict=True):
        np.testing.assert_allclose(layer.b, b, atol=1e-14)
        np.testing.assert_allclose(layer.W, W, atol=1e-14)


def test_descent_is_repeated_steps_and_lowers_the_loss():
    net = network()
    params = net.init(jax.random.key(1))
    run = gradient_descent(
        net, params, X, Y, eta=0.02, steps=40, record=lambda p: net.apply(p, X_TEST)
    )
    assert run.losses.shape == (41,) and run.recorded.shape == (41, 2, 2)
    assert (np.diff(run.losses) < 0).all()
    after = params
    for _ in range(3):
        after = gradient_step(net, after, X, Y, eta=0.02)
    np.testing.assert_allclose(run.recorded[3], net.apply(after, X_TEST), atol=1e-13)
    np.testing.assert_allclose(run.recorded[-1], net.apply(run.params, X_TEST), atol=1e-13)
    z = np.asarray(net.apply(run.params, X))
    assert float(run.losses[-1]) == pytest.approx(((z - Y) ** 2).sum() / 2, rel=1e-12)
    none = gradient_descent(net, params, X, Y, steps=0)
    assert none.losses.shape == (1,)


def test_wide_linear_descent_follows_the_ntk():
    """A linear model is its own first order: z_t - y = (1 - eta H)^t (z_0 - y), exactly."""
    net = fw.MLP((3, 1), "linear", lambda_b=0.5, lambda_W=2.0)
    params = net.init(jax.random.key(0))
    y, eta = Y[:, 0], 0.1
    run = gradient_descent(net, params, X, y, eta=eta, steps=25)
    H = 0.5 + 2.0 * X @ X.T / 3
    error = np.asarray(net.apply(params, X))[:, 0] - y
    for _ in range(25):
        error = error - eta * H @ error
    assert float(run.losses[-1]) == pytest.approx((error**2).sum() / 2, rel=1e-11)


def test_batches():
    net = network()
    params = net.init(jax.random.key(1))
    full = gradient_descent(net, params, X, Y, eta=0.02, steps=6)
    same = gradient_descent(
        net, params, X, Y, eta=0.02, steps=6, batch_size=4, key=jax.random.key(9)
    )
    np.testing.assert_array_equal(full.losses, same.losses)
    one, other = (
        gradient_descent(
            net, params, X, Y, eta=0.02, steps=6, batch_size=2, key=jax.random.key(key)
        )
        for key in (0, 1)
    )
    assert not np.allclose(one.losses, other.losses)
    again = gradient_descent(
        net, params, X, Y, eta=0.02, steps=6, batch_size=2, key=jax.random.key(0)
    )
    np.testing.assert_array_equal(one.losses, again.losses)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_an_epoch_visits_every_sample_once(size):
    """To first order in eta an epoch is one step with all samples that fill batches."""
    net = network()
    params = net.init(jax.random.key(1))
    eta, batches = 1e-6, 4 // size
    run = gradient_descent(
        net, params, X, Y, eta=eta, steps=batches, batch_size=size, key=jax.random.key(4)
    )
    moved = [
        (np.asarray(a) - np.asarray(b)) / eta
        for a, b in zip(jax.tree.leaves(run.params), jax.tree.leaves(params), strict=True)
    ]
    single = []
    for sample in range(4):
        step = gradient_step(net, params, X[[sample]], Y[[sample]], eta=eta)
        single.append(
            [
                (np.asarray(a) - np.asarray(b)) / eta
                for a, b in zip(jax.tree.leaves(step), jax.tree.leaves(params), strict=True)
            ]
        )
    columns = np.stack([np.concatenate([m.ravel() for m in s]) for s in single], axis=1)
    counts = np.linalg.lstsq(columns, np.concatenate([m.ravel() for m in moved]), rcond=None)[0]
    np.testing.assert_allclose(
        np.sort(counts), [0.0] * (4 - batches * size) + [1.0] * (batches * size), atol=1e-3
    )


def test_many_networks_at_once():
    net = network()
    keys = jax.random.split(jax.random.key(7), 3)
    with fw.double_precision():
        many = jax.vmap(net.init)(keys)
        runs = jax.vmap(lambda p: gradient_descent(net, p, X, Y, eta=0.02, steps=5))(many)
    assert runs.losses.shape == (3, 6)
    alone = gradient_descent(net, net.init(keys[1]), X, Y, eta=0.02, steps=5)
    np.testing.assert_allclose(runs.losses[1], alone.losses, rtol=1e-11)


def test_optax_chains():
    net = network()
    params = net.init(jax.random.key(1))
    plain = gradient_descent(net, params, X, Y, eta=0.02, steps=5)
    chained = gradient_descent(
        net, params, X, Y, steps=5, optimizer=gradient_descent_optimizer(net, 0.02)
    )
    np.testing.assert_allclose(plain.losses, chained.losses, rtol=1e-13)
    with fw.double_precision():
        momentum = optax.chain(
            tensorial_learning_rates(net), optax.trace(decay=0.9), optax.scale(-0.02)
        )
    run = gradient_descent(net, params, X, Y, steps=3, optimizer=momentum)
    # Heavy ball: two steps by hand.
    first = gradient_step(net, params, X, Y, eta=0.02)
    second = gradient_step(net, first, X, Y, eta=0.02)
    ball = jax.tree.map(lambda a, b, c: c + 0.9 * (b - a), params, first, second)
    z = np.asarray(net.apply(ball, X))
    assert float(run.losses[2]) == pytest.approx(((z - Y) ** 2).sum() / 2, rel=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"eta": -0.1}, "eta"),
        ({"eta": np.nan}, "eta"),
        ({"steps": -1}, "steps"),
        ({"batch_size": 5}, "batch_size: wanted at most 4"),
        ({"batch_size": 2}, "key: wanted a random key"),
        ({"batch_size": 0}, "batch_size"),
        ({"loss": "hinge"}, "loss"),
    ],
)
def test_bad_arguments(arguments, message):
    net = network()
    with pytest.raises(ValueError, match=message):
        gradient_descent(net, net.init(jax.random.key(0)), X, Y, **arguments)
    with pytest.raises(ValueError, match="x: wanted 3 features"):
        first_order_change(net, net.init(jax.random.key(0)), X[:, :2], Y)
    with pytest.raises(ValueError, match="params"):
        gradient_step(net, net.init(jax.random.key(0))[:2], X, Y)
