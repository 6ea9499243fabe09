"""One training input: exact statements, their expansion, and deep limits from recursions."""

import jax.numpy as jnp
import numpy as np
import pytest

import finitewidth as fw
from finitewidth.activations import activation as as_activation
from finitewidth.flow import fit_power_law, nearby_ntk_flow
from finitewidth.learning import predict
from finitewidth.learning.generalization import (
    half_stable_ntk,
    robustness,
    robustness_exponent,
)
from tests.flow.test_nearby_ntk import ACROSS, ALONG, MIDDLE, network


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_exact_is_the_prediction_from_one_label(activation):
    net = network(activation)
    plus, minus = MIDDLE, MIDDLE + 0.7 * ALONG
    found = robustness(net, plus, minus)
    whole = predict(net, plus[None], [[2.0, -3.0]], minus[None])
    np.testing.assert_allclose(whole.mean[0], (1 + found.shift[-1]) * np.array([2.0, -3.0]))
    np.testing.assert_allclose(whole.covariance[0, 0], found.variance[-1], rtol=1e-10)
    # The first layers are networks of their own.
    short = fw.MLP(
        (3, 9, 2), activation, net.C_b[:2], net.C_W[:2], net.lambda_b[:2], net.lambda_W[:2]
    )
    np.testing.assert_allclose(robustness(short, plus, minus).shift, found.shift[:2], rtol=1e-12)


@pytest.mark.parametrize("dx", [ALONG, ACROSS], ids=["unequal norms", "equal norms"])
@pytest.mark.parametrize("activation", ["sin", "gelu"])
def test_expansion(activation, dx):
    """(10.64), (10.65), with equal norms (10.62), (10.63): what is left is of third order."""
    net = network(activation)
    left = []
    for h in (2e-2, 1e-2):
        pair = MIDDLE + h * dx / 2, MIDDLE - h * dx / 2
        exact, near = robustness(net, *pair), robustness(net, *pair, method="expansion")
        differences = (exact.shift - near.shift, exact.variance - near.variance)
        # Layer 1 is linear: its variance has no more orders.
        left.append([np.abs(d[1:]).max() / h**2 for d in differences])
    assert np.max(left) < 1e-2 * float(near.variance.max()) / h**2
    assert (np.array(left[1]) < 0.6 * np.array(left[0])).all()
    if dx is ACROSS:
        assert (near.shift < 0).all()


def shifted(s):
    return as_activation(lambda z: jnp.tanh(z + s) - jnp.tanh(s))


SHIFTS = {t: shifted(float(np.arctanh(t))) for t in (0.25, 0.4)}
SIGMAS = {"tanh": "tanh", "sin": "sin", "shift 0.25": SHIFTS[0.25], "shift 0.4": SHIFTS[0.4]}
EXPONENTS = {"tanh": 1, "sin": 1, "shift 0.25": 0.956522, "shift 0.4": 0.714286}
#: Robustness over delta^2, equivalence rates times L^(p-1); constant rates times L or L^(p-1).
EQUIVALENCE = {"tanh": -1.76, "sin": -1.222222, "shift 0.25": -1.829224, "shift 0.4": -1.574348}
CONSTANT = {"tanh": -10.2857, "sin": -8.2857, "shift 0.25": -0.25, "shift 0.4": -0.64}
CONSTANT_SPREAD = {"tanh": 1.8, "sin": 1.45}


@pytest.mark.parametrize("name", SIGMAS)
def test_closed_forms_of_the_class(name):
    for rates, want in (("equivalence", EQUIVALENCE), ("constant", CONSTANT)):
        found = robustness_exponent(SIGMAS[name], rates, 0.7, 1.1)
        assert found.coefficient == pytest.approx(want[name], abs=5e-5)
        assert found.p_perp == pytest.approx(EXPONENTS[name], abs=1e-6)
    assert found.ntk == pytest.approx(0.7 / (1 + found.p_perp))  # Theta_00/l, constant rates
    if name in CONSTANT_SPREAD:
        assert found.spread == pytest.approx(CONSTANT_SPREAD[name])


def deep(name, rates, depth):
    """Component recursions at criticality, equal norms."""
    sigma = as_activation(SIGMAS[name])
    slope = sigma.taylor(1)[1]
    ell, p = np.arange(1.0, depth + 1), robustness_exponent(sigma).p_perp
    bias, weight = (ell**-p, ell ** (1 - p)) if rates == "equivalence" else (1.0, 1.0)
    with fw.double_precision():
        ones = jnp.ones(depth)
        products = jnp.array([0.5, 0.0, 1e-3])
        near = nearby_ntk_flow(
            sigma, products, 0 * ones, ones / slope**2, 0.7 * bias * ones, 1.1 * weight * ones
        )
    return p, near


@pytest.mark.parametrize("rates", ["equivalence", "constant"])
@pytest.mark.parametrize("name", SIGMAS)
def test_deep_limits_from_recursions(name, rates):
    """(10.71)-(10.81) with their corrections: amplitudes fitted at known powers of the depth.

    Up to a factor L^(p-1) of all rates, which cancels in the robustness.
    """
    p, near = deep(name, rates, 20_000)
    k_2, Theta, t_2 = near.ddK_2, near.midpoint_ntk, near.ddTheta_2
    want = robustness_exponent(SIGMAS[name], rates, 0.7, 1.1)
    delta = fit_power_law(k_2, exponent=p).amplitude
    slow = 3e-4 if rates == "constant" and p < 1 else 1e-5
    found = fit_power_law(-2 * t_2 / Theta, exponent=-want.power).amplitude / delta
    if rates == "equivalence":  # without the factor L^(p-1)
        found = fit_power_law(-2 * t_2 / Theta, exponent=p - 1).amplitude / delta
        np.testing.assert_allclose(
            fit_power_law(Theta, exponent=p - 1).amplitude, want.ntk, rtol=1e-5
        )
        power = 2 * p - 2
    else:
        np.testing.assert_allclose(fit_power_law(Theta, exponent=-1).amplitude, want.ntk, rtol=1e-5)
        power = -want.spread_power
    np.testing.assert_allclose(found, want.coefficient, rtol=slow)
    spread = fit_power_law(t_2, exponent=power).amplitude / delta
    np.testing.assert_allclose(spread, want.spread, rtol=slow)


def test_exponent_is_at_most_one():
    """Footnote 33: p_perp <= 1, and 1 only for sigma_2 = 0."""
    for t in (0.0, 0.1, 0.2, 0.3, 0.43):
        p = robustness_exponent(shifted(float(np.arctanh(t)))).p_perp if t else 1.0
        assert p == pytest.approx((-2 + 10 * t**2) / (-2 + 9 * t**2))
        assert p < 1 or t == 0


@pytest.mark.parametrize("activation", ["gelu", "swish"])
def test_half_stable(activation):
    """On K* the closed form is the recursion; the numbers of GELU at twelve layers."""
    tuned = fw.criticality.classify(activation).tuning.points[0]
    depth = 12
    with fw.double_precision():
        ones = jnp.ones(depth)
        square = (tuned.K_star - tuned.C_b) / tuned.C_W
        near = nearby_ntk_flow(
            as_activation(activation),
            jnp.array([square, 0.0, 1 / tuned.C_W]),
            tuned.C_b * ones, tuned.C_W * ones, 0.7 * ones, 1.1 * ones,
        )  # fmt: skip
    found = half_stable_ntk(activation, depth, 0.7, 1.1)
    for name in ("midpoint", "ddK_2", "midpoint_ntk", "ddTheta_2", "ddTheta_0"):
        np.testing.assert_allclose(
            getattr(near, name), getattr(found, name), rtol=1e-7, atol=1e-7, err_msg=name
        )
    if activation == "gelu":
        assert tuned.K_star == pytest.approx((3 + np.sqrt(17)) / 2, rel=1e-9)
        assert (tuned.C_W, tuned.C_b) == pytest.approx((1.98305826, 0.17292239), abs=1e-8)
        assert float(found.ddTheta_2[-1]) == pytest.approx(59.8796, abs=1e-4)
        assert float(found.midpoint_ntk[-1]) == pytest.approx(30.9560, abs=1e-4)


@pytest.mark.parametrize(("activation", "p"), [("gelu", -64.98), ("swish", 608.1)])
def test_half_stable_exponents_are_useless_at_practical_depth(activation, p):
    """p_perp = b_1/a_1 off the fixed point, a_1 = C_W g''/2, b_1 = C_W d<s'^2>/dK at K*."""
    tuned = fw.criticality.classify(activation).tuning.points[0]
    chi = fw.criticality.susceptibilities(activation, tuned.C_b, tuned.C_W)
    a_1 = float(chi.j(tuned.K_star)) / (8 * tuned.K_star**2)
    assert 2 * float(chi.h(tuned.K_star)) / a_1 == pytest.approx(p, rel=1e-3)
    assert 1 / abs(a_1) > 5000


def test_half_stable_against_two_inputs():
    """GELU, L = 12, from the NTK of two inputs: 59.8796 delta^2 by Richardson extrapolation."""
    tuned = fw.criticality.classify("gelu").tuning.points[0]
    net = fw.MLP.critical((2, *[9] * 11, 1), "gelu", lambda_b=0.7, lambda_W=1.1)
    radius = np.sqrt(2 * (tuned.K_star - tuned.C_b) / tuned.C_W)
    values = []
    for psi in (0.02, 0.01):  # half the angle between two inputs on the circle
        pair = radius * np.array([[np.cos(psi), np.sin(psi)], [np.cos(psi), -np.sin(psi)]])
        spread = fw.flow.gamma_components(fw.flow.ntk(net, pair).mean[-1])[2]
        values.append(float(spread) / (tuned.C_W * (2 * radius * np.sin(psi)) ** 2 / 8))
    assert (4 * values[1] - values[0]) / 3 == pytest.approx(59.8796, rel=1e-3)


def test_other_classes_are_sent_away():
    with pytest.raises(ValueError, match="class K"):
        robustness_exponent("relu")
    with pytest.raises(ValueError, match="half-stable class, got tanh"):
        half_stable_ntk("tanh", 3)
    with pytest.raises(ValueError, match="lambda_b: wanted a positive rate"):
        robustness_exponent("tanh", "constant", 0.0)
