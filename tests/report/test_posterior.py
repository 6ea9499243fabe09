"""The posterior along a line: theory against Gaussian regression and against sampled networks."""

import equinox as eqx
import numpy as np
import pytest

from finitewidth import flow
from finitewidth.bayes import ExpansionWarning
from finitewidth.network import MLP
from finitewidth.report.posterior import analyze_posterior

X = np.array([[1.0, 0.3, -0.5], [-0.2, 1.1, 0.6], [0.7, -0.9, 0.4]])
Y = np.array([[0.4, 1.1], [0.4, -0.8], [-1.0, 0.3]])
NET = MLP((3, 48, 40, 2), "relu", C_b=[0.1, 0.2, 0.05], C_W=[1.8, 1.9, 1.7])
NOISE = 0.3


def analyze(seed=3, networks=6000, noise=NOISE, **options):
    return analyze_posterior(NET, X, Y, noise, 3, networks, seed, **options)


@pytest.fixture(scope="module")
def found():
    return analyze()


def test_infinite_width_is_regression_on_the_kernel(found):
    # The point t = 3/4 between the inputs 0 and 1, whose labels differ most.
    assert found.ends == (0, 1)
    point = 0.25 * X[0] + 0.75 * X[1]
    K = np.asarray(flow.preactivations(NET, np.vstack([X, point]), order=0).kernel[-1])
    weights = np.linalg.solve(K[:3, :3] + NOISE * np.eye(3), K[:3, 3])
    where = found.t.tolist().index(0.75)
    np.testing.assert_allclose(found.limit.mean[where], weights @ Y, rtol=1e-10)
    np.testing.assert_allclose(
        found.limit.variance[where], [K[3, 3] - weights @ K[:3, 3]] * 2, rtol=1e-10
    )


def test_networks_agree_with_first_order_and_not_with_infinite_width(found):
    for statistic in ("mean", "variance"):
        assert 0.2 < found.rms_z(1, statistic) < 1.8
        assert found.rms_z(0, statistic) > 3.0
    assert abs(found.evidence_z(1)) < 3.0
    assert abs(found.evidence_z(0)) > 4.0


def test_z_is_the_distance_in_standard_errors(found):
    point, output = 2, 1
    z = (found.sampled.variance - found.first_order.variance[found.at])[point, output]
    z = z / found.sampled.variance_error[point, output]
    np.testing.assert_allclose(found.z(1, "variance")[2 * point + output], z)
    assert found.rms_z(0) == pytest.approx(np.sqrt(np.mean(found.z(0) ** 2)))
    with pytest.raises(ValueError, match="order: wanted 0 or 1, got 2"):
        found.z(2)
    with pytest.raises(ValueError, match="statistic: wanted 'mean' or 'variance', got 'median'"):
        found.z(1, "median")


def test_errors_that_are_not_known_make_no_z(found):
    error = found.sampled.mean_error.copy()
    error[1, 0] = np.inf
    partly = eqx.tree_at(lambda f: f.sampled.mean_error, found, error)
    np.testing.assert_array_equal(partly.z(1), np.delete(found.z(1), 2))
    nothing = eqx.tree_at(lambda f: f.sampled.mean_error, found, np.full_like(error, np.inf))
    assert np.isnan(nothing.rms_z(0)) and nothing.rms_z(0, "variance") == found.rms_z(0, "variance")


def test_the_seed_decides_the_networks_and_nothing_else(found):
    same, other = analyze(), analyze(seed=4)
    np.testing.assert_array_equal(same.sampled.mean, found.sampled.mean)
    assert (other.sampled.mean != found.sampled.mean).all()
    np.testing.assert_array_equal(other.first_order.mean, found.first_order.mean)


def test_exact_labels_have_no_z():
    x, y = X[:2], np.array([0.3, 0.1])
    net = MLP((3, 60, 1), "relu", C_b=0.1, C_W=1.8)
    found = analyze_posterior(net, x, y, 0.0, 5, 500)
    assert (found.t[found.at] == [-0.5, 0.0, 0.5, 1.0, 1.5]).all()
    np.testing.assert_allclose(found.sampled.mean[[1, 3], 0], y, atol=1e-9)
    # Of five points two are the training inputs.
    assert found.z(1, "mean").shape == found.z(0, "variance").shape == (3,)


def test_dataset_and_summary_hold_the_numbers(found):
    data = found.to_xarray()
    for name, theory in (("infinite", found.limit), ("first_order", found.first_order)):
        np.testing.assert_array_equal(data[f"{name}_mean"], theory.mean)
        np.testing.assert_array_equal(data[f"{name}_variance"], theory.variance)
    np.testing.assert_array_equal(data.networks_mean_error, found.sampled.mean_error)
    assert data.t_sampled.values.tolist() == [-0.5, 0.5, 1.5]
    assert data.first_order_mean.sel(t=0.75, output=2) == found.first_order.mean[5, 1]
    np.testing.assert_array_equal(data.y, Y)
    assert data.attrs["outputs"] == ["output 1", "output 2"]
    summary = found.summary()
    assert summary["log_evidence"]["networks"] == data.attrs["log_evidence_networks"]
    assert summary["expansion_parameter"] == float(found.first_order.expansion_parameter)
    assert summary["first_order"]["mean_rms_z"] == found.rms_z(1)
    for words in ("3 labels", "noise 0.3", "of 6000 networks", "M:W:M", "to first order"):
        assert words in repr(found)


def test_outputs_that_tell_the_ends_apart_are_shown():
    x, y = X[:2], np.array([[1.0, 0.0, 0.5, -1.0], [1.1, 0.9, 0.4, 1.0]])
    net = MLP((3, 64, 4), "relu", C_W=2.0)
    found = analyze_posterior(net, x, y, 1.0, 2, 200, names=list("abcd"))
    assert found.shown == (1, 3)
    assert found.names == ("a", "b", "c", "d")
    assert found.names_of_inputs == ("input 1", "input 2")


def test_progress_is_told():
    heard = []
    analyze(networks=200, progress=lambda *what: heard.append(what))
    assert ("theory", 2, 2) in heard
    assert heard[-1] == ("networks", 200, 200)


def test_a_network_too_narrow_for_its_labels_warns():
    with pytest.warns(ExpansionWarning), pytest.warns(UserWarning, match="effective networks"):
        analyze_posterior(MLP((3, 3, 2), "relu", C_b=0.1, C_W=2.0), X, 3 * Y, 0.3, 2, 500)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"noise": -1.0}, ValueError, "noise: wanted a variance"),
        ({"noise": float("nan")}, ValueError, "noise: wanted a variance"),
        ({"networks": 10}, ValueError, "networks: wanted at least 64, got 10"),
        ({"points": 1}, ValueError, "points: wanted at least 2, got 1"),
        ({"points": 2.5}, TypeError, "points: wanted a whole number"),
        ({"points": 46}, ValueError, "got 3 and 46"),
        ({"seed": -1}, ValueError, "seed: wanted at least 0"),
        ({"y": Y[:2]}, ValueError, r"y: wanted shape \(3, 2\).*got shape \(2, 2\)"),
        ({"y": Y[:, :1]}, ValueError, r"y: wanted shape \(\d, 2\).*got shape"),
        ({"y": 0 * Y}, ValueError, "all 3 labels are equal"),
        ({"x": X[:1], "y": Y[:1]}, ValueError, "at least two inputs"),
        ({"x": X[:, :2]}, ValueError, "wanted 3 features"),
        ({"names": ["one"]}, ValueError, "names: wanted one for each output, 2, got 1"),
        ({"net": MLP((3, 9, 2), "relu", C_W=2.0, law="uniform")}, ValueError, "law"),
        ({"net": MLP((3, 2, 2), "relu", C_W=2.0), "noise": 0.0}, ValueError, "noise > 0"),
    ],
)
def test_arguments_that_make_no_sense(change, error, message, monkeypatch):
    # Nothing is sampled before the arguments are known to make sense.
    monkeypatch.setattr("finitewidth.report.posterior.importance_sample", None)
    with pytest.raises(error, match=message):
        analyze_posterior(**{"net": NET, "x": X, "y": Y, "noise": NOISE, **change})
