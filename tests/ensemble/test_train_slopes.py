"""How far single trained networks are from their predictions and from each other, against width."""

import jax
import numpy as np
import pytest

from finitewidth.ensemble import scaled, trainer
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


@pytest.mark.parametrize("widths", [(128, 1024)])
def test_slopes_in_width_of_single_networks(widths):
    """-1/2 from the frozen prediction, -1 from the empirical one and between algorithms."""
    found = sizes(widths, 250)
    for name, slope in {"frozen": -0.5, "own": -1.0, "momentum": -1.0}.items():
        (small, e1), (large, e2) = found[name]
        steps = np.log(widths[1] / widths[0])
        measured, error = (large - small) / steps, np.hypot(e1, e2) / steps
        print(name, round(measured, 3), "+-", round(error, 3))
        assert error < 0.06
        assert abs(measured - slope) < 3 * error


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["sgd", "gradient_descent"])
def test_other_algorithms_differ_at_the_next_order(optimizer):
    """SGD, and descent at a third of the rate, of networks of three layers: slope -1."""
    found = []
    for factor in (1, 8):
        net, key = scaled(network((48, 32)), factor), jax.random.key(factor)
        options = {"chunk_size": 200, "tolerance": 1e-6, "history": 0}
        rate = {"eta": 0.05} if optimizer == "gradient_descent" else {}
        one = trainer(net, X, Y, X_TEST, **options).networks(key)
        other = trainer(net, X, Y, X_TEST, optimizer=optimizer, **rate, **options).networks(key)
        found.append(logarithm_of_rms(np.asarray(one.outputs) - np.asarray(other.outputs)))
    slope = (found[1][0] - found[0][0]) / np.log(8)
    error = np.hypot(found[0][1], found[1][1]) / np.log(8)
    print(optimizer, slope, "+-", error)
    assert error < 0.07 and abs(slope + 1) < 3 * error
