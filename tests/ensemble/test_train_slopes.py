"""How far single trained networks are from their predictions and from each other, against width."""

import jax
import numpy as np
import pytest

from finitewidth.ensemble import trainer
from tests.ensemble.chapter10 import X_TEST, X, Y, network, prediction


def sizes(widths, networks):
    """Root mean squares over networks of three differences, with errors of their logarithms."""
    found = {"frozen": [], "own": [], "momentum": []}
    theta, _, _ = prediction(network((8,)))  # of any width
    R = np.linalg.solve(theta[:3, :3], theta[:3, 3:]).T
    both = np.concatenate([X, X_TEST])
    for n in widths:
        net, key = network((n,)), jax.random.key(n)
        options = {"chunk_size": networks, "tolerance": 1e-6, "history": 0}
        plain = trainer(net, X, Y, both, control_variate="empirical", **options).networks(key)
        other = trainer(net, X, Y, both, optimizer="momentum", momentum=0.8, **options)
        z0, z = np.asarray(plain.initial), np.asarray(plain.outputs)
        frozen = z0[:, 3:] - np.einsum("ba,mai->mbi", R, z0[:, :3] - Y)
        found["frozen"].append(z[:, 3:] - frozen)
        found["own"].append((z - np.asarray(plain.linearized))[:, 3:])
        found["momentum"].append((z - np.asarray(other.networks(key).outputs))[:, 3:])
    return {name: [logarithm_of_rms(d) for d in arrays] for name, arrays in found.items()}


def logarithm_of_rms(d):
    square = (d**2).mean((1, 2))
    error = square.std(ddof=1) / len(square) ** 0.5
    return np.log(square.mean()) / 2, error / square.mean() / 2


def test_slopes_in_width_of_single_networks():
    """-1/2 from the frozen prediction, -1 from the empirical one and between algorithms."""
    widths = (128, 1024)
    found = sizes(widths, 250)
    for name, slope in {"frozen": -0.5, "own": -1.0, "momentum": -1.0}.items():
        (small, e1), (large, e2) = found[name]
        steps = np.log(widths[1] / widths[0])
        measured, error = (large - small) / steps, np.hypot(e1, e2) / steps
        print(name, round(measured, 3), "+-", round(error, 3))
        assert error < 0.06
        assert abs(measured - slope) < 3 * error


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "slope"),
    [
        ({"optimizer": "sgd"}, -1.0),
        ({"eta": 0.05}, -1.0),
        ({"optimizer": "adam", "eta": 0.003, "tolerance": 1e-5}, 0.0),
    ],
)
def test_other_algorithms(options, slope):
    """SGD, and descent at a sixth of the rate: slope -1. Adam ends elsewhere at any width."""
    widths, found = (128, 1024), []
    for n in widths:
        net, key = network((n,)), jax.random.key(n)
        fixed = {"chunk_size": 250, "tolerance": 1e-6, "history": 0}
        plain = trainer(net, X, Y, X_TEST, **fixed).networks(key)
        other = trainer(net, X, Y, X_TEST, **(fixed | options)).networks(key)
        assert plain.converged.all() and other.converged.all()
        found.append(logarithm_of_rms(np.asarray(plain.outputs) - np.asarray(other.outputs)))
    steps = np.log(widths[1] / widths[0])
    measured = (found[1][0] - found[0][0]) / steps
    error = np.hypot(found[0][1], found[1][1]) / steps
    print(options, round(measured, 3), "+-", round(error, 3))
    assert error < 0.07 and abs(measured - slope) < 3 * error
