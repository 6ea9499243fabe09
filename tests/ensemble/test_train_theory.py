"""Trained networks against the predictions of chapter 10, written out from the frozen NTK.

With R = Theta_BA Theta_AA^-1: mean R y, PDLT (10.40), covariance P K P^T with P = [-R 1], (10.41).
"""

import jax
import numpy as np
import pytest
from scipy.stats import norm

import finitewidth as fw
from finitewidth.ensemble import (
    Estimate,
    fit_widths,
    scaled,
    train,
    train_extrapolated,
    trainer,
)

X = np.array([[1.2, 0.3, -0.5], [-0.4, 0.9, 0.6], [0.5, -1.1, 0.8]])
X_TEST = np.array([[0.3, 0.8, 0.2], [-0.9, 0.1, -0.7]])
Y = np.array([[0.8, -0.3], [-0.5, 0.9], [0.2, 0.6]])


def network(hidden, activation="tanh", **changes):
    numbers = {"C_b": 0.2, "C_W": 1.5, "lambda_b": 0.5, "lambda_W": 1.0} | changes
    return fw.MLP((3, *hidden, 2), activation, **numbers)


def prediction(net, x=X, x_test=X_TEST, y=Y):
    """Return frozen NTK, mean (10.40) and covariance (10.41)."""
    flow = fw.flow.ntk(net, np.concatenate([x, x_test]), order=0)
    theta, K = np.asarray(flow.mean[-1]), np.asarray(flow.kernel[-1])
    N = len(x)
    R = np.linalg.solve(theta[:N, :N], theta[:N, N:]).T
    P = np.concatenate([-R, np.eye(len(x_test))], axis=1)
    return theta, R @ y, P @ K @ P.T


def z_scores(estimate, theory):
    return (estimate.value - theory) / estimate.standard_error


def distinct(covariance):
    """Entries of [i1, i2, b1, b2] that are different numbers."""
    return np.concatenate(
        [
            covariance[0, 0][np.triu_indices(2)],
            covariance[1, 1][np.triu_indices(2)],
            covariance[0, 1].ravel(),
        ]
    )


def check_limit(limit, m, C):
    """Every mean and covariance of an extrapolated ensemble within its error bars."""
    wanted = np.einsum("ij,bc->ijbc", np.eye(2), C)
    scores = {
        "mean": z_scores(limit.mean, m).ravel(),
        "controlled": z_scores(limit.controlled_mean, m).ravel(),
        "covariance": distinct(z_scores(limit.covariance, wanted)),
    }
    print({name: np.round(values, 2).tolist() for name, values in scores.items()})
    for values in scores.values():
        assert np.abs(values).max() < 3.5
        assert (values**2).mean() < 2.5


def test_mean_and_covariance_of_trained_networks():
    net = network((40, 28))
    theta, m, C = prediction(net)
    limit = train_extrapolated(
        net,
        X,
        Y,
        X_TEST,
        (8000, 6000),
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


def sizes(widths, networks):
    """Root mean squares over networks of three differences, with errors of their logarithms."""
    found = {"frozen": [], "own": [], "momentum": []}
    for n in widths:
        net, key = network((n,)), jax.random.key(n)
        theta, _, _ = prediction(net)
        R = np.linalg.solve(theta[:3, :3], theta[:3, 3:]).T
        both = np.concatenate([X, X_TEST])
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
    for n, samples in zip(widths, networks, strict=True):
        net = relu(n)
        theta, m, _ = prediction(net, X_A, X_B, TARGET)
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
    measured = measured_half_power((256, 1024), (60_000, 60_000))
    assert abs(z_scores(measured, wanted).item()) < 3
    assert z_scores(measured, 0.0).item() > 10


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
def test_relu_networks_in_half_powers_of_width():
    """The basis matters: powers 1/2, 1 hit the theory, powers 1, 2 do not."""
    net = network((64,), "relu")
    theta, m, C = prediction(net)
    options = {"factors": (1, 3, 9, 27), "control_variate": theta, "history": 0}
    limit = train_extrapolated(net, X, Y, X_TEST, (40_000, 20_000, 10_000, 6000), 4, **options)
    assert limit.fits["mean"].powers == (0.5, 1)
    print(limit)
    check_limit(limit, m, C)
    means = [run.controlled_mean for run in limit.runs]
    smooth = fit_widths([run.widths[1] for run in limit.runs], means, (1, 2))
    assert smooth.chi_squared.max() > limit.fits["controlled_mean"].chi_squared.max()
    assert np.abs(z_scores(smooth.limit, m)).max() > 4


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
        powers=(1,),
        eta=eta,
        tolerance=0.0,
        most_steps=steps,
        history=0,
    )
    C = np.einsum("ij,bc->ijbc", np.eye(2), P @ kernel @ P.T)
    for scores in (z_scores(limit.mean, R @ Y), distinct(z_scores(limit.covariance, C))):
        print(np.round(scores, 2))
        assert np.abs(scores).max() < 3.5


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
