"""Networks with a kink approach infinite width like n^(-1/2)."""

import numpy as np
import pytest
from scipy.stats import norm

import finitewidth as fw
from finitewidth.ensemble import Estimate, fit_widths, train, train_extrapolated
from tests.ensemble.chapter10 import (
    X_TEST,
    X,
    Y,
    check_limit,
    network,
    prediction,
    z_scores,
)

# One hidden layer of ReLU without biases, one training input.
X_A, X_B, TARGET = np.array([[1.2, 0.3]]), np.array([[0.2, 1.1]]), np.array([[2.0]])


def relu(n):
    return fw.MLP((2, n, 1), "relu", C_b=0.0, C_W=2.0, lambda_b=0.0, lambda_W=1.0)


def half_power(slowly):
    """Return the coefficient of n^(-1/2) in E[z(T)] - m.

    A neuron whose preactivation starts within its own step of the kink gives less to the training
    output than its linearization, and all others make up for that. Descended in one step, eta =
    1/Theta, it moves through the kink and on; slowly, it stops there, and what it would have given
    to the test output is missing as well.
    """
    flow = fw.flow.ntk(relu(10), np.concatenate([X_A, X_B]), order=0)
    theta1, theta2 = np.asarray(flow.mean)
    K1, K2 = np.asarray(flow.kernel)[:, 0, 0]
    share = theta1[0, 0] / theta2[0, 0]
    mu, s = -share * TARGET.item(), share * K2**0.5
    # E[c|c|] of c = share (z - y) ~ N(mu, s^2)
    moment = (mu**2 + s**2) * (1 - 2 * norm.cdf(-mu / s)) + 2 * mu * s * norm.pdf(mu / s)
    missing = 2.0**1.5 / (2 * np.pi * K1**0.5) * moment
    made_up = -theta2[1, 0] / theta2[0, 0] * missing
    # Given z_a = 0, the test preactivation is positive in half of the neurons.
    return made_up + (theta1[1, 0] / theta1[0, 0] / 2 * missing if slowly else 0.0)


def measured_half_power(widths, networks, eta=None):
    """Return the coefficient from a fit of n^(1/2) (E[z(T)] - m) in 1, n^(-1/2)."""
    points = []
    theta, m, _ = prediction(relu(10), X_A, X_B, TARGET)  # of any width
    for n, samples in zip(widths, networks, strict=True):
        net = relu(n)
        run = train(net, X_A, TARGET, X_B, samples, n, eta=eta, control_variate=theta, history=0)
        assert float(run.unconverged.value) == 0
        np.testing.assert_allclose(run.limit, m, rtol=1e-12)
        shift = run.deviation
        scaled_up = [n**0.5 * v for v in (shift.value, shift.standard_error)]
        points.append(Estimate(*scaled_up, samples))
    print([(float(p.value.item()), float(p.standard_error.item())) for p in points])
    return fit_widths(widths, points, (0.5,)).limit


def test_kinked_networks_are_half_a_power_away():
    """ReLU: n^(1/2) (E z - m) -> 0.1833; a smooth activation has nothing at this order."""
    wanted = half_power(slowly=False)
    assert wanted == pytest.approx(0.1833, abs=2e-4)
    measured = measured_half_power((256, 1024), (25_000, 25_000))
    assert abs(z_scores(measured, wanted).item()) < 3
    assert z_scores(measured, 0.0).item() > 7


@pytest.mark.slow
def test_half_a_power_depends_on_the_learning_rate():
    """Slow descent of ReLU networks ends elsewhere: 0.0904 instead of 0.1833."""
    wanted = half_power(slowly=True)
    assert wanted == pytest.approx(0.0904, abs=2e-4)
    measured = measured_half_power((256, 1024), (40_000, 40_000), eta=0.01)
    print("slow descent", float(measured.value.item()), "+-", measured.standard_error.item())
    assert abs(z_scores(measured, wanted).item()) < 3
    assert z_scores(measured, half_power(slowly=False)).item() < -3


@pytest.mark.slow
def test_relu_networks_in_half_powers_of_width():
    net = network((64,), "relu")
    theta, m, C = prediction(net)
    options = {"factors": (1, 3, 9, 27), "control_variate": theta, "history": 0}
    limit = train_extrapolated(net, X, Y, X_TEST, (40_000, 20_000, 10_000, 6000), 4, **options)
    assert limit.fits["mean"].powers == (0.5, 1)
    assert limit.fits["initial_mean"].powers == (1, 2)
    print(limit)
    check_limit(limit, m, C)


@pytest.mark.slow
def test_the_powers_of_width_matter():
    """Powers 1/2, 1 hit the theory; powers 1, 2 miss it and fit badly."""
    net = relu(64)
    theta, m, _ = prediction(net, X_A, X_B, TARGET)
    options = {"factors": (1, 4, 16, 64), "control_variate": theta, "history": 0}
    limit = train_extrapolated(
        net, X_A, TARGET, X_B, (40_000, 40_000, 40_000, 20_000), 6, **options
    )
    runs = limit.runs
    smooth = fit_widths([r.widths[1] for r in runs], [r.controlled_mean for r in runs], (1, 2))
    right = limit.fits["controlled_mean"]
    for fit in (right, smooth):
        print(fit, z_scores(fit.limit, m))
    assert abs(z_scores(right.limit, m).item()) < 3 and right.chi_squared.item() < 9
    assert abs(z_scores(smooth.limit, m).item()) > 4 and smooth.chi_squared.item() > 9
