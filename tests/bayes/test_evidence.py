"""Evidence: closed forms, where it is largest, and what it says of hypotheses."""

import jax
import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

import finitewidth as fw
from finitewidth.bayes import two_input_log_evidence
from tests.bayes.problem import X, Y, wide


def test_infinite_width_is_the_gaussian_density():
    K = fw.flow.preactivations(wide((9,)), X, order=0).kernel[-1] + 0.1 * np.eye(2)
    want = sum(multivariate_normal([0, 0], K).logpdf(y) for y in Y.T)
    found = fw.bayes.log_evidence(wide((9,)), X, Y, 0.1, order=0)
    assert float(found) == pytest.approx(want, rel=1e-12)


def test_two_inputs_in_the_basis_of_sum_and_difference():
    K0, K1, K2 = 0.9, 0.2, 0.25
    K = [[K0 + K1 + K2, K0 - K2], [K0 - K2, K0 - K1 + K2]]
    want = sum(multivariate_normal([0, 0], K).logpdf(y) for y in Y.T)
    assert float(two_input_log_evidence([K0, K1, K2], *Y)) == pytest.approx(want, abs=1e-12)
    # (6.45) is largest at K_a = Y_a / n_L.
    Y0, Y2 = (((Y[0] + s * Y[1]) / 2) ** 2 @ np.ones(2) / 2 for s in (1, -1))
    gradient = jax.grad(lambda K: two_input_log_evidence(K, *Y))(np.array([Y0, 0.0, Y2]))
    np.testing.assert_allclose(gradient[np.array([0, 2])], 0.0, atol=1e-12)
    with pytest.raises(ValueError, match="4 K_0 K_2"):
        two_input_log_evidence([0.1, 3.0, 0.2], *Y)


@pytest.mark.parametrize(("depth", "want"), [(5, 1.698672), (20, 1.919994), (200, 1.991852)])
def test_relu_evidence_drives_to_criticality(depth, want):
    x = np.sqrt(np.array([[2.7, 0.0, 0.0, 0.0]]))
    net = fw.MLP((4,) + (9,) * (depth - 1) + (1,), "relu", C_W=1.9)
    found = fw.bayes.optimize_evidence(net, x, [np.sqrt(0.59667)], over=("C_W",))
    closed_form = 2 * (0.5 * 4 * 0.59667 / 2.7) ** (1 / depth)
    assert closed_form == pytest.approx(want, abs=3e-6)
    assert float(found.net.C_W[0]) == pytest.approx(closed_form, rel=1e-7)
    assert float(found.distance) == pytest.approx(closed_form - 2, abs=1e-6)


def test_one_label_asks_for_a_kernel_of_its_size():
    net = fw.MLP((1, 9, 9, 2), "tanh", C_b=0.1, C_W=1.2)
    y = np.array([[0.8, 0.3]])
    found = fw.bayes.optimize_evidence(net, [[1.0]], y, over=("C_b",))
    K = fw.flow.preactivations(found.net, [[1.0]], order=0).kernel[-1, 0, 0]
    assert float(K) == pytest.approx((y**2).sum() / 2, rel=1e-5)


def test_tanh_evidence_by_depth():
    # At C_W = 1 it falls like sum y^2 per layer once (n_L/2) log L is taken off; at C_W = 0.95
    # log |log p| grows by -log C_W per layer; at C_W = 1.3 it converges.
    def log_evidence(C_W, depth):
        net = fw.MLP((1,) + (5,) * (depth - 1) + (2,), "tanh", C_W=C_W)
        return float(fw.bayes.log_evidence(net, [[1.0]], [[0.4, 0.3]], order=0))

    slope = (log_evidence(1.0, 800) - log_evidence(1.0, 400) - np.log(2)) / 400
    assert slope == pytest.approx(-0.25, rel=1e-2)
    growth = np.log(log_evidence(0.95, 401) / log_evidence(0.95, 400))
    assert growth == pytest.approx(-np.log(0.95), rel=1e-2)
    assert log_evidence(1.3, 401) == pytest.approx(log_evidence(1.3, 400), abs=1e-9)
    assert log_evidence(1.3, 100) > log_evidence(1.0, 100)  # no maximum at criticality


def test_one_input_to_first_order():
    net, y = fw.MLP((1, 400, 300, 2), "relu", C_W=2.0), np.array([1.1, -0.4])
    K = 2.0
    x, s, n = 5 / 400 + 5 / 300, (y @ y) / K, 2
    want = norm(0, np.sqrt(K)).logpdf(y).sum() + x / 8 * (s**2 - 2 * (n + 2) * s + n * (n + 2))
    assert float(fw.bayes.log_evidence(net, [[1.0]], [y])) == pytest.approx(want, rel=1e-9)


def test_hypotheses():
    nets = [wide((50,)), wide((50, 50)), fw.MLP((3, 50, 2), "relu", C_W=2.0)]
    found = fw.bayes.compare(nets, X, Y, 0.1, order=1, log_prior=[0.0, 1.0, 0.0])
    odds = np.log(found.probability[1] / found.probability[0])
    assert float(odds) == pytest.approx(float(found.log_bayes_factor(1, 0)) + 1, rel=1e-9)
    assert float(found.probability.sum()) == pytest.approx(1)
    assert f"{found.best}: log-evidence" in repr(found)
    with pytest.raises(ValueError, match="at least one network"):
        fw.bayes.compare([], X, Y)
    with pytest.raises(ValueError, match="log_prior"):
        fw.bayes.compare(nets, X, Y, 0.1, log_prior=[0.0])


def test_what_is_searched():
    with pytest.raises(ValueError, match="over: wanted some of"):
        fw.bayes.optimize_evidence(wide((9,)), X, Y, over=("depth",))
    found = fw.bayes.optimize_evidence(
        wide((9,)), X, Y, 0.1, over=("C_b", "C_W", "noise"), depths=(1, 2, 3)
    )
    assert set(found.by_depth) == {1, 2, 3}
    assert float(found.log_evidence) == pytest.approx(max(found.by_depth.values()))
    assert float(found.log_evidence) > float(fw.bayes.log_evidence(wide((9,)), X, Y, 0.1, order=0))
    assert "from criticality" in repr(found)


def test_evidence_is_differentiable():
    def evidence(C_W, noise):
        net = fw.MLP((3, 9, 9, 2), "tanh", C_b=0.1, C_W=C_W)
        return fw.bayes.log_evidence(net, X, Y, noise, order=0)

    at, step = (1.3, 0.1), 1e-5
    gradient = jax.grad(evidence, argnums=(0, 1))(*at)
    for k, slope in enumerate(gradient):
        up, down = ([a + s * step * (i == k) for i, a in enumerate(at)] for s in (1, -1))
        assert float(slope) == pytest.approx(
            float(evidence(*up) - evidence(*down)) / (2 * step), rel=1e-6
        )
