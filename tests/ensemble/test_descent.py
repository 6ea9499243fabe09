"""The compiled loop against one network at a time, step by step, for every optimizer."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from finitewidth.ensemble import descent as module
from finitewidth.ensemble.descent import OPTIMIZERS, Descent, descend, places_for
from finitewidth.learning import gradient_descent, tensorial_learning_rates
from finitewidth.network import MLP, loss_of

rng = np.random.default_rng(7)
X = rng.standard_normal((4, 3))
Y = rng.standard_normal((4, 2))
ETA = 0.03
NETWORKS = 7


def network():
    return MLP(
        (3, 6, 5, 2), "tanh", C_b=0.2, C_W=1.5, lambda_b=[0.5, 1.3, 0.2], lambda_W=[1.1, 0.4, 2.0]
    )


def descent(optimizer="gradient_descent", tolerance=0.0, most_steps=9, history=6, batch_size=3):
    numbers = [jnp.asarray(v) for v in (X, Y)]
    return Descent(
        *numbers,
        loss_of("mse"),
        jnp.asarray(0.8),
        jnp.asarray(tolerance),
        jnp.asarray(most_steps),
        optimizer,
        batch_size,
        history,
    )


def run(rule, etas=ETA, wanted=NETWORKS):
    net = network()
    keys = jax.random.split(jax.random.key(3), (NETWORKS, 2))
    params = jax.vmap(net.init)(keys[:, 0])
    etas = jnp.broadcast_to(jnp.asarray(etas, dtype=float), (NETWORKS,))
    # A new function each time: the number of places is read when it is compiled.
    compiled = eqx.filter_jit(lambda *arguments: descend(*arguments))
    done = compiled(net, rule, params, etas, keys[:, 1], jnp.asarray(wanted))
    return net, params, keys[:, 1], done


def peer(net, optimizer):
    """The same rule, written with Optax for a single network."""
    tensor = tensorial_learning_rates(net)
    if optimizer == "momentum":
        return optax.chain(tensor, optax.trace(decay=0.8), optax.scale(-ETA))
    if optimizer == "adam":
        return optax.chain(optax.scale_by_adam(), tensor, optax.scale(-ETA))
    return None


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_network_is_the_one_trained_alone(optimizer):
    net, params, keys, done = run(descent(optimizer))
    assert done.steps.tolist() == [9] * NETWORKS
    assert not done.converged.any() and not done.diverged.any()
    for k in (0, 4, 6):
        alone = gradient_descent(
            net,
            jax.tree.map(lambda leaf, k=k: leaf[k], params),
            X,
            Y,
            eta=ETA,
            steps=9,
            batch_size=3 if optimizer == "sgd" else None,
            key=keys[k],
            optimizer=peer(net, optimizer),
        )
        for got, wanted in zip(done.params, alone.params, strict=True):
            np.testing.assert_allclose(got.b[k], wanted.b, atol=1e-13)
            np.testing.assert_allclose(got.W[k], wanted.W, atol=1e-13)
        np.testing.assert_allclose(done.losses[k], alone.losses[:7], rtol=1e-12)


def test_a_step_written_out():
    """Backpropagation by hand, with the rates of every layer."""
    _, params, _, done = run(descent(most_steps=1, history=1))
    (b1, W1), (b2, W2), (b3, W3) = ((np.asarray(b[2]), np.asarray(W[2])) for b, W in params)
    h1 = np.tanh(X @ W1.T + b1)
    h2 = np.tanh(h1 @ W2.T + b2)
    eps = h2 @ W3.T + b3 - Y
    back2 = eps @ W3 * (1 - h2**2)
    back1 = back2 @ W2 * (1 - h1**2)
    wanted = (
        (b1 - ETA * 0.5 * back1.sum(0), W1 - ETA * 1.1 / 3 * back1.T @ X),
        (b2 - ETA * 1.3 * back2.sum(0), W2 - ETA * 0.4 / 6 * back2.T @ h1),
        (b3 - ETA * 0.2 * eps.sum(0), W3 - ETA * 2.0 / 5 * eps.T @ h2),
    )
    for got, (b, W) in zip(done.params, wanted, strict=True):
        np.testing.assert_allclose(got.b[2], b, atol=1e-14)
        np.testing.assert_allclose(got.W[2], W, atol=1e-14)
    assert float(done.losses[2, 0]) == pytest.approx((eps**2).sum() / 2)


def clocks(net, params, tolerance):
    """Steps that each network needs, one at a time."""

    @jax.jit
    def step(p):
        after = gradient_descent(net, p, X, Y, eta=ETA, steps=1).params
        return after, jnp.abs(net.apply(p, X) - Y).max()

    steps = []
    for k in range(NETWORKS):
        now, taken = jax.tree.map(lambda leaf, k=k: leaf[k], params), 0
        following, residual = step(now)
        while residual > tolerance:
            now, taken = following, taken + 1
            following, residual = step(now)
        steps.append(taken)
    return steps


@pytest.mark.parametrize("places", [2, 3, 100])
def test_each_network_has_its_own_clock(places, monkeypatch):
    """Networks that take turns at few places end as they do side by side."""
    monkeypatch.setattr(module, "PARAMETERS_AT_ONCE", 0)
    monkeypatch.setattr(module, "FEWEST_AT_ONCE", places)
    assert places_for(network(), NETWORKS) == min(places, NETWORKS)
    net, params, _, done = run(descent(tolerance=0.03, most_steps=3000, history=400))
    assert done.steps.tolist() == clocks(net, params, 0.03)
    assert len(set(done.steps.tolist())) == NETWORKS
    assert done.converged.all()
    z = jax.vmap(lambda p: net.apply(p, X))(done.params)
    residual = np.abs(np.asarray(z) - Y).max((1, 2))
    assert (residual <= 0.03).all() and (residual > 0.029).all()
    final = ((np.asarray(z) - Y) ** 2).sum((1, 2)) / 2
    for k, steps in enumerate(done.steps.tolist()):
        if steps <= 400:
            np.testing.assert_allclose(done.losses[k, steps:], final[k], rtol=1e-10)
        assert (np.diff(done.losses[k, : min(steps, 400) + 1]) < 0).all()


@pytest.mark.parametrize("optimizer", ["momentum", "adam", "sgd"])
def test_a_place_that_is_given_away_starts_afresh(optimizer, monkeypatch):
    """Velocity, counts and batches are those of the new network, not of the old one."""
    monkeypatch.setattr(module, "PARAMETERS_AT_ONCE", 0)
    ends = []
    for places in (2, 100):
        monkeypatch.setattr(module, "FEWEST_AT_ONCE", places)
        ends.append(run(descent(optimizer))[3])
    for few, many in zip(*(jax.tree.leaves(end) for end in ends), strict=True):
        np.testing.assert_allclose(few, many, rtol=1e-11, atol=1e-13)


def test_only_the_wanted_networks_are_trained():
    _, params, _, done = run(descent(), wanted=4)
    assert done.steps.tolist() == [9] * 4 + [0] * 3
    assert np.array_equal(done.params[1].W[4:], params[1].W[4:])
    assert not np.array_equal(done.params[1].W[3], params[1].W[3])


def test_a_network_that_diverges_is_stopped_and_said():
    etas = [ETA] * NETWORKS
    etas[2] = 50.0
    _, _, _, done = run(descent(tolerance=0.03, most_steps=3000), etas)
    assert np.flatnonzero(done.diverged).tolist() == [2]
    assert np.flatnonzero(~done.converged).tolist() == [2]
    assert 0 < done.steps[2] < 3000
