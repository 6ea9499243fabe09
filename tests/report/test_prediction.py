"""Trained ensembles along a line: theory against matrices and against trained networks."""

import equinox as eqx
import numpy as np
import pytest

from finitewidth import flow, learning
from finitewidth.network import MLP
from finitewidth.report.prediction import analyze_prediction
from finitewidth.report.prediction_figure import draw_prediction

X = np.array([[1.0, 0.3, -0.5], [-0.2, 1.1, 0.6], [0.7, -0.9, 0.4]])
Y = np.array([[0.4, 1.1], [0.4, -0.8], [-1.0, 0.3]])
NET = MLP(
    (3, 80, 100, 2), "tanh", C_b=[0.1, 0.2, 0.05], C_W=[1.8, 1.5, 1.7],
    lambda_b=[0.5, 1.0, 0.7], lambda_W=[1.0, 0.6, 1.3],
)  # fmt: skip
#: The same networks at initialization, that learn by other layers.
BY_BIASES = eqx.tree_at(
    lambda net: (net.lambda_b, net.lambda_W),
    NET,
    (np.array([2.0, 1.0, 0.7]), np.array([0.2, 0.6, 1.3])),
)
BY_WEIGHTS = eqx.tree_at(lambda net: net.lambda_b, NET, np.array([0.1, 0.1, 0.1]))


def analyze(seed=3, **options):
    return analyze_prediction(NET, X, Y, 5, 200, seed, steps=12, **options)


@pytest.fixture(scope="module")
def found():
    return analyze(names=("apples", "pears"), names_of_inputs=("red", "green", "blue"))


def test_infinite_width_is_regression_on_the_ntk(found):
    # The point t = 3/4 between the inputs 0 and 1, whose labels differ most.
    assert found.ends == (0, 1)
    where = found.t.tolist().index(0.75)
    points = (1 - found.t)[:, None] * X[0] + found.t[:, None] * X[1]
    np.testing.assert_allclose(points[where], 0.25 * X[0] + 0.75 * X[1])
    kernels = flow.ntk(NET, np.vstack([X, points]), order=0)
    rows = np.ix_([0, 1, 2, 3 + where], [0, 1, 2, 3 + where])
    K, Theta = np.asarray(kernels.kernel[-1])[rows], np.asarray(kernels.mean[-1])[rows]
    R = np.linalg.solve(Theta[:3, :3], Theta[:3, 3])
    P = np.append(-R, 1.0)
    np.testing.assert_allclose(found.theory("mean")[where], R @ Y, rtol=1e-9)
    np.testing.assert_allclose(found.theory("variance")[where], [P @ K @ P] * 2, rtol=1e-8)


def test_trained_networks_agree_with_it(found):
    # 200 networks, so that the shift of order 1/n is below the errors.
    for statistic in ("mean", "variance"):
        assert len(found.z(statistic)) == 6  # of five points two are training inputs
        assert 0.2 < found.rms_z(statistic) < 1.9
    # The rates of the layers decide where training ends.
    wrong = learning.predict(
        BY_BIASES, X, Y, (1 - found.t)[:, None] * X[0] + found.t[:, None] * X[1]
    )
    elsewhere = eqx.tree_at(lambda f: f.limit, found, wrong)
    assert elsewhere.rms_z("mean") > 3.0
    assert found.trained.unconverged.value == 0.0


def test_networks_have_learned_their_labels(found):
    mean, error = found.networks("mean")
    np.testing.assert_allclose(mean[[1, 3]], Y[:2], atol=1e-3)
    assert (error[[1, 3]] < 1e-3).all()


def test_loss_starts_and_falls_as_predicted(found):
    assert np.sqrt(np.mean(found.loss_z()[:4] ** 2)) < 2.0
    K = np.asarray(flow.preactivations(NET, X, order=0).kernel[-1])
    np.testing.assert_allclose(found.history.mean[0], 0.5 * np.sum(Y**2) + np.trace(K))
    spread = found.descended.loss_spread
    z = (spread.value - found.history.standard_deviation) / spread.standard_error
    assert (abs(z[:4]) < 3.5).all()
    # With the rates of another network the loss falls at another pace.
    wrong = learning.expected_loss_history(BY_WEIGHTS, X, Y, found.history.eta, 12)
    assert abs(eqx.tree_at(lambda f: f.history, found, wrong).loss_z()[3]) > 6.0


def test_the_common_rate_is_below_one_over_the_largest_eigenvalue(found):
    largest = np.linalg.eigvalsh(np.asarray(flow.ntk(NET, X, order=0).mean[-1]))[-1]
    np.testing.assert_allclose(found.history.eta, 0.8 / largest)
    np.testing.assert_allclose(found.descended.eta.value, 0.8 / largest)
    assert found.descended.eta.standard_error == 0.0
    assert found.trained.eta.standard_error > 0.0


def test_the_seed_decides_the_networks_and_nothing_else(found):
    same, other = analyze(), analyze(seed=4)
    np.testing.assert_array_equal(same.networks("mean")[0], found.networks("mean")[0])
    np.testing.assert_array_equal(same.descended.loss.value, found.descended.loss.value)
    assert (other.networks("mean")[0] != found.networks("mean")[0]).all()
    np.testing.assert_array_equal(other.limit.mean, found.limit.mean)


def test_dataset_and_summary_hold_the_numbers(found):
    data = found.to_xarray()
    np.testing.assert_array_equal(data.infinite_mean, found.limit.mean)
    point, output = 2, 1
    covariance = found.trained.covariance
    assert data.networks_variance[point, output] == covariance.value[1, 1, 2, 2]
    assert data.networks_variance_error[point, output] == covariance.standard_error[1, 1, 2, 2]
    assert data.t_sampled.values.tolist() == [-0.5, 0.0, 0.5, 1.0, 1.5]
    np.testing.assert_array_equal(data.infinite_loss, found.history.mean)
    assert data.networks_loss.sel(step=12) == found.descended.loss.value[12]
    np.testing.assert_array_equal(data.y, Y)
    assert data.attrs["outputs"] == ["apples", "pears"]
    assert data.attrs["lambda_W"] == [1.0, 0.6, 1.3]
    summary = found.summary()
    assert summary["mean_rms_z"] == found.rms_z() == pytest.approx(np.mean(found.z() ** 2) ** 0.5)
    assert summary["loss"]["last"]["z"] == found.loss_z()[12]
    for words in ("3 labels", "200 networks", "rms z", "after 12 steps of eta"):
        assert words in repr(found)
    with pytest.raises(ValueError, match="statistic: wanted 'mean' or 'variance', got 'median'"):
        found.z("median")


def test_figure_holds_the_numbers_and_names_them(found):
    drawing = draw_prediction(found)
    *above, below = drawing.figure.axes
    assert [axes.get_title() for axes in above] == ["apples", "pears"]
    for output, axes in enumerate(above):
        curves = {line.get_label(): line.get_ydata() for line in axes.get_lines()}
        np.testing.assert_array_equal(curves["infinite width, ± σ"], found.limit.mean[:, output])
        np.testing.assert_array_equal(curves["label"], Y[:2, output])
        halves = [np.ptp(bar[:, 1]) / 2 for bar in axes.containers[0].lines[2][0].get_segments()]
        np.testing.assert_allclose(halves, found.networks("variance")[0][:, output] ** 0.5)
        assert axes.get_xlabel() == "t, along (1 − t) u + t v, in units of |v − u|"
        assert "0\nu: red" in [tick.get_text() for tick in axes.get_xticklabels()]
    curves = {line.get_label(): line.get_ydata() for line in below.get_lines()}
    np.testing.assert_array_equal(curves["infinite width, ± σ"], found.history.mean)
    np.testing.assert_array_equal(curves["networks, $n$ = 100, ± σ"], found.descended.loss.value)
    assert below.get_yscale() == "log" and below.get_ylim()[0] > 0
    assert below.get_xlabel().startswith("step of gradient descent, η = 0.1")
    assert below.get_ylabel() and above[0].get_ylabel()
    assert "The third training input lies off the line." in drawing.caption


def test_progress_is_told():
    heard = []
    found = analyze_prediction(
        NET, X, Y, 5, 20, steps=12, progress=lambda *what: heard.append(what)
    )
    assert heard[1] == ("theory", 1, 1)
    assert ("networks", 20, 20) in heard and heard[-1] == ("loss by step", 20, 20)
    assert found.names == ("output 1", "output 2")
    assert found.names_of_inputs == ("input 1", "input 2", "input 3")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"networks": 10}, ValueError, "networks: wanted at least 16, got 10"),
        ({"points": 1}, ValueError, "points: wanted at least 2, got 1"),
        ({"points": 46}, ValueError, "got 3 and 46"),
        ({"seed": -1}, ValueError, "seed: wanted at least 0"),
        ({"steps": 0}, ValueError, "steps: wanted at least 1, got 0"),
        ({"tolerance": 0.0}, ValueError, "tolerance: wanted a positive number, got 0"),
        ({"most_steps": 0}, ValueError, "most_steps: wanted at least 1"),
        ({"eta": 3.0}, ValueError, "eta: gradient descent diverges above"),
        ({"eta": -1.0}, ValueError, "eta"),
        ({"y": Y[:2]}, ValueError, r"y: wanted shape \(3, 2\).*got shape \(2, 2\)"),
        ({"y": 0 * Y}, ValueError, "all 3 labels are equal"),
        ({"x": X[:1], "y": Y[:1]}, ValueError, "at least two inputs"),
        ({"x": X[[0, 1, 0]]}, ValueError, "equal"),
        ({"x": X[:, :2]}, ValueError, "wanted 3 features"),
        ({"names": ["one"]}, ValueError, "names: wanted one for each output, 2, got 1"),
    ],
)
def test_arguments_that_make_no_sense(change, error, message, monkeypatch):
    # Nothing is trained before the arguments are known to make sense.
    monkeypatch.setattr("finitewidth.report.prediction.train", None)
    with pytest.raises(error, match=message):
        analyze_prediction(**{"net": NET, "x": X, "y": Y, "points": 5, **change})
