"""Algorithms in function space: NumPy loops, closed forms, independence of the algorithm."""

import jax
import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from finitewidth.learning import (
    cross_entropy,
    flow_duals,
    max_learning_rate,
    predict,
    steps_to_tolerance,
    train_duals,
)
from tests.learning.problem import X_TEST, N, X, Y, kernels, network

rng = np.random.default_rng(4)
NET = network()
K, THETA = kernels(NET)
AA, BA = THETA[:N, :N], THETA[N:, :N]
Z = rng.multivariate_normal(np.zeros(len(K)), K, size=2).T
KAPPA = np.array(
    [[1.0, 0.3, 0.0, 0.1], [0.3, 2.0, 0.2, 0.0], [0.0, 0.2, 0.7, 0.1], [0.1, 0.0, 0.1, 1.3]]
)
ETA = 0.9 / np.linalg.eigvalsh(AA).max()
LEAP = Z[N:] - BA @ np.linalg.solve(AA, Z[:N] - Y)
P = softmax(rng.normal(size=(N, 2)), axis=1)


def test_history_is_the_loop():
    """Momentum, a sample matrix and a schedule against (10.20) written out for the outputs."""
    schedule = ETA * (1 + 0.3 * np.sin(np.arange(6)))
    run = train_duals(AA, Z[:N], Y, eta=schedule, steps=6, kappa=KAPPA, momentum=0.4)
    z, velocity, losses = Z.copy(), 0.0, []
    for eta in schedule:
        losses.append(((z[:N] - Y) ** 2).sum() / 2)
        velocity = 0.4 * velocity + KAPPA @ (z[:N] - Y)
        z = z - eta * THETA[:, :N] @ velocity
    losses.append(((z[:N] - Y) ** 2).sum() / 2)
    np.testing.assert_allclose(run.losses, losses, rtol=1e-11)
    np.testing.assert_allclose(run.outputs, z[:N], rtol=1e-11)
    np.testing.assert_allclose(run.at(BA, Z[N:]), z[N:], rtol=1e-11)


def test_descent_is_the_closed_form():
    run = train_duals(AA, np.zeros((N, 2)), Y, eta=ETA, steps=25)
    found = predict(NET, X, Y, X_TEST, steps=25, eta=ETA)
    np.testing.assert_allclose(run.at(BA, np.zeros((3, 2))), found.mean, rtol=1e-10)


ALGORITHMS = {
    "descent": {"steps": 20_000},
    "slower": {"steps": 60_000, "eta": 0.3 * ETA},
    "stochastic": {"steps": 60_000, "batch_size": 3, "key": jax.random.key(0)},
    "momentum": {"steps": 5_000, "momentum": 0.8},
    "sample matrix": {"steps": 60_000, "kappa": KAPPA, "eta": 0.3 * ETA},
    "newton": {"steps": 1, "kappa": "newton"},
}


@pytest.mark.parametrize("name", ALGORITHMS)
def test_all_algorithms_take_the_same_leap(name):
    """(10.35)."""
    settings = {"eta": ETA} | ALGORITHMS[name]
    run = train_duals(AA, Z[:N], Y, **settings)
    np.testing.assert_allclose(run.at(BA, Z[N:]), LEAP, atol=1e-9)


def test_any_history_and_one_newton_step():
    """(10.31): from a random walk of a loss of its own, to 1e-10."""
    run = train_duals(
        AA, Z[:N], Y, lambda z, y: ((z - y) ** 4).sum() + z[0] * z[1], eta=1e-3, steps=7,
        batch_size=2, key=jax.random.key(2), momentum=0.5,
    )  # fmt: skip
    assert np.abs(run.at(BA, Z[N:]) - LEAP).max() > 0.1
    np.testing.assert_allclose(run.newton_step(Y).at(BA, Z[N:]), LEAP, atol=1e-10)


def test_cross_entropy():
    """(10.36)-(10.38): the softmax is that of the squared error, the mean component frozen."""
    eta = float(max_learning_rate(AA, "cross-entropy"))
    run = train_duals(AA, Z[:N], P, "cross-entropy", eta=eta, steps=200_000)
    np.testing.assert_allclose(softmax(run.outputs, axis=1), P, atol=1e-10)
    test = run.at(BA, Z[N:])
    leap = Z[N:] - BA @ np.linalg.solve(AA, Z[:N] - np.log(P))
    np.testing.assert_allclose(softmax(test, axis=1), softmax(leap, axis=1), atol=1e-10)
    np.testing.assert_allclose(test.mean(1), Z[N:].mean(1), atol=1e-12)
    # The outputs themselves differ by a shift common to both components.
    shift = np.asarray(test - leap)
    np.testing.assert_allclose(shift[:, 0], shift[:, 1], atol=1e-9)
    c = Z[:N].mean(1) - np.log(P).mean(1)
    np.testing.assert_allclose(shift[:, 0], BA @ np.linalg.solve(AA, c), atol=1e-9)


def test_gradient_flow_of_the_squared_error():
    times = [0.0, 0.4, 3.0]
    duals = flow_duals(AA, np.zeros((N, 2)), Y, times)
    assert float(np.abs(duals[0]).max()) == 0
    for t, a in zip(times[1:], duals[1:], strict=True):
        want = predict(NET, X, Y, X_TEST, time=t).mean
        np.testing.assert_allclose(-BA @ a, want, rtol=1e-8)


def test_gradient_flow_of_the_cross_entropy():
    """Against descent in small steps, whose error halves with the step; and it descends."""
    flow = flow_duals(AA, Z[:N], P, [2.0], "cross-entropy")[0]
    errors = [
        np.abs(train_duals(AA, Z[:N], P, "cross-entropy", eta=2.0 / s, steps=s).duals - flow).max()
        for s in (1000, 2000)
    ]
    assert errors[0] / errors[1] == pytest.approx(2, abs=0.02)


def test_stability():
    """Descent at 0.99 of the largest rate converges, at 1.01 it does not."""
    largest = float(max_learning_rate(AA))
    assert largest == pytest.approx(2 / np.linalg.eigvalsh(AA).max())
    good, bad = (
        train_duals(AA, Z[:N], Y, eta=part * largest, steps=4000).losses for part in (0.99, 1.01)
    )
    assert good[-1] < 0.01 * good[0] and bad[-1] > 1e3 * bad[0]
    # At the minimum the curvature of the cross-entropy is that of its targets.
    p = np.tile([[0.9, 0.1]], (N, 1))
    curvature = np.linalg.eigvalsh(np.diag(p[0]) - np.outer(p[0], p[0])).max()
    sharp = float(max_learning_rate(AA, cross_entropy, curvature=curvature))
    assert sharp > float(max_learning_rate(AA, "cross-entropy")) == pytest.approx(2 * largest)
    start = np.log(p) + 1e-3 * rng.normal(size=p.shape)
    lowest = -(p * log_softmax(np.log(p), axis=1)).sum()
    good, bad = (
        train_duals(AA, start, p, "cross-entropy", eta=part * sharp, steps=1500).losses - lowest
        for part in (0.98, 1.02)
    )
    assert good[-1] < 0.5 * good[0] and bad[-1] > 10 * bad[0]


@pytest.mark.parametrize("part", [0.2, 1.4])
def test_steps_to_tolerance(part):
    eta = part / np.linalg.eigvalsh(AA).max()
    T = steps_to_tolerance(AA, eta, 0.05)
    left = [np.linalg.norm(np.linalg.matrix_power(np.eye(N) - eta * AA, t), 2) for t in (T - 1, T)]
    assert left[1] <= 0.05 < left[0]
    with pytest.raises(ValueError, match="eta: wanted one between 0 and"):
        steps_to_tolerance(AA, 3 / np.linalg.eigvalsh(AA).max())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Theta": AA[:3, :3]}, "Theta: wanted shape"),
        ({"kappa": KAPPA[:2, :2]}, "kappa: wanted shape"),
        ({"kappa": "adam"}, "kappa: wanted a matrix"),
        ({"batch_size": 2}, "key: wanted a random key"),
        ({"momentum": 1.0}, "momentum: wanted a number from 0"),
        ({"batch_size": 9}, "batch_size: wanted at most 4"),
        ({"eta": [0.1, 0.2]}, "eta: wanted one number or 100"),
        ({"eta": -0.1}, "eta: wanted finite learning rates"),
        ({"y": Y[:2]}, "y: wanted 4 targets"),
    ],
)
def test_what_is_refused(change, message):
    arguments = {"Theta": AA, "initial": Z[:N], "y": Y} | change
    with pytest.raises(ValueError, match=message):
        train_duals(**arguments)


def test_curvature_of_other_losses_is_asked_for():
    with pytest.raises(ValueError, match="curvature: wanted that of the loss"):
        max_learning_rate(AA, lambda z, y: z.sum())
    with pytest.raises(ValueError, match="times: wanted ascending"):
        flow_duals(AA, Z[:N], Y, [2.0, 1.0])
    with pytest.raises(ValueError, match="Theta: wanted an NTK that is not zero"):
        max_learning_rate(np.zeros((2, 2)))


def test_a_flow_of_no_time():
    assert float(np.abs(flow_duals(AA, Z[:N], Y, [0.0])).max()) == 0
