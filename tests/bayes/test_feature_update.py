"""What labels do to hidden layers: known coefficients, limits, signs."""

import numpy as np
import pytest

import finitewidth as fw
from tests.bayes.problem import X_TEST, X, Y, wide

N = 10**6


@pytest.mark.parametrize(
    ("hidden", "want"),
    [
        ((N,), [(0.02109, -0.35254)]),
        # Layer 1 as much as layer 2, at the same order in 1/width.
        ((N, N), [(0.02372, -0.52324), (0.03282, -0.89595)]),
    ],
)
def test_known_coefficients(hidden, want):
    found = fw.bayes.feature_update(wide(hidden), X, Y, X_TEST, noise=0.05)
    for change, (test, training) in zip(found.feature_kernel, want, strict=True):
        # The entry that joins three inputs rests on quasi-random points.
        assert N * float(change[0, 1]) == pytest.approx(training, abs=2e-5)
        assert N * float(change[2, 2]) == pytest.approx(test, abs=2e-4)


def test_single_neurons_of_the_last_hidden_layer():
    found = fw.bayes.feature_update(wide((N,)), X, Y, X_TEST, noise=0.05)
    assert N * float(found.preactivation[0, 1]) == pytest.approx(-0.82583, abs=2e-5)
    assert N * float(found.preactivation[2, 2]) == pytest.approx(0.22138, abs=2e-5)


def test_one_input_moves_towards_its_label():
    net = fw.MLP((1, 60, 40, 2), "relu", C_W=2.0)  # K = 2
    for size, sign in ((1.6, 1), (0.9, -1)):
        found = fw.bayes.feature_update(net, [[1.0]], [[size, size]])
        assert np.all(sign * np.asarray(found.metric[1:]) > 0)
    assert np.all(np.asarray(found.metric[0]) == 0)


def test_large_data_sets():
    rng = np.random.default_rng(0)
    net = fw.MLP((3, 60, 40, 50, 2), "sin", C_b=0.1, C_W=1.2)
    x, y = rng.normal(size=(6, 3)), rng.normal(size=(6, 2))
    dense, drawn = (
        fw.bayes.feature_update(net, x, y, noise=0.3, method=m) for m in ("dense", "matrix_free")
    )
    scale = np.abs(dense.feature_kernel).max(axis=(1, 2), keepdims=True)
    assert np.abs((drawn.feature_kernel - dense.feature_kernel) / scale).max() < 0.05


def test_bad_input_and_labels():
    with pytest.raises(ValueError, match="at least one hidden layer"):
        fw.bayes.feature_update(fw.MLP((3, 2), "tanh"), X, Y)
    with pytest.raises(ValueError, match="method: wanted"):
        fw.bayes.feature_update(wide((9,)), X, Y, method="magic")
    found = fw.bayes.feature_update(wide((9, 8)), X, Y, X_TEST, 0.1)
    assert found.to_xarray()["feature_kernel"].shape == (2, 3, 3)
    assert repr(found).startswith("FeatureUpdate")
