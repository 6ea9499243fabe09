"""Means and covariances of trained networks against chapter 10, extrapolated in width."""

import numpy as np
import pytest

import finitewidth as fw
from finitewidth.ensemble import train_extrapolated
from tests.ensemble.chapter10 import (
    X_TEST,
    X,
    Y,
    check_limit,
    distinct,
    network,
    prediction,
    z_scores,
)


def test_mean_and_covariance_of_trained_networks():
    net = network((40, 28))
    theta, m, C = prediction(net)
    limit = train_extrapolated(
        net,
        X,
        Y,
        X_TEST,
        (6000, 4000),
        1,
        factors=(1, 2),
        powers=(1,),
        tolerance=1e-4,
        control_variate=theta,
        history=0,
    )
    check_limit(limit, m, C)
    # The plain mean is noisier, and the narrow networks alone are far from infinite width.
    noise = limit.mean.standard_error / limit.controlled_mean.standard_error
    assert noise.min() > 2
    assert np.abs(z_scores(limit.runs[0].controlled_mean, m)).max() > 5


@pytest.mark.slow
def test_mean_and_covariance_in_two_powers_of_width():
    net = network((32, 24))
    theta, m, C = prediction(net)
    numbers = (40_000, 20_000, 10_000, 6000)
    limit = train_extrapolated(
        net, X, Y, X_TEST, numbers, 2, factors=(1, 2, 4, 6), control_variate=theta, history=0
    )
    assert limit.fits["mean"].powers == (1, 2)
    print(limit)
    check_limit(limit, m, C)


@pytest.mark.slow
def test_outputs_after_a_few_steps():
    """R_T = Theta_BA Theta_AA^-1 [1 - (1 - eta Theta_AA)^T] after T steps."""
    net, eta, steps = network((32, 24)), 0.15, 5
    theta, _, _ = prediction(net)
    kernel = np.asarray(fw.flow.ntk(net, np.concatenate([X, X_TEST]), order=0).kernel[-1])
    AA, BA = theta[:3, :3], theta[3:, :3]
    R = BA @ np.linalg.solve(AA, np.eye(3) - np.linalg.matrix_power(np.eye(3) - eta * AA, steps))
    P = np.concatenate([-R, np.eye(2)], axis=1)
    limit = train_extrapolated(
        net,
        X,
        Y,
        X_TEST,
        (40_000, 20_000, 10_000),
        3,
        factors=(1, 2, 4),
        eta=eta,
        tolerance=0.0,
        most_steps=steps,
        history=0,
    )
    C = np.einsum("ij,bc->ijbc", np.eye(2), P @ kernel @ P.T)
    for scores in (z_scores(limit.mean, R @ Y), distinct(z_scores(limit.covariance, C))):
        print(np.round(scores, 2))
        assert np.abs(scores).max() < 3.5
