"""The estimators: conventions of scikit-learn, and numbers made without this package's kernels."""

import pickle
import warnings

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import DotProduct, WhiteKernel
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import finitewidth as fw
from finitewidth.integrations.sklearn import (
    FiniteWidthClassifier,
    FiniteWidthRegressor,
    InfiniteWidthClassifier,
    InfiniteWidthRegressor,
)

RNG = np.random.default_rng(5)
X = RNG.normal(size=(7, 3)) * [1.0, 0.4, 2.0]
Y = np.stack([np.sin(X[:, 0]) + X[:, 1], X[:, 2] * X[:, 0]], axis=1) + [3.0, -10.0]
X_TEST = RNG.normal(size=(4, 3))
GIVEN = {"C_b": [0.5, 0.1, 0.2], "C_W": [1.2, 1.8, 1.5], "noise": 0.2}


def arc_cosine_kernel(x, other, C_b, C_W):
    """The kernel of ReLU networks by angles, Cho and Saul (2009), nothing else."""
    n = x.shape[1]
    between = C_b[0] + C_W[0] * x @ other.T / n
    sizes = [C_b[0] + C_W[0] * (z**2).sum(axis=1) / n for z in (x, other)]
    for b, W in zip(C_b[1:], C_W[1:], strict=True):
        scale = np.sqrt(np.outer(*sizes))
        theta = np.arccos(np.clip(between / scale, -1, 1))
        between = b + W * scale / (2 * np.pi) * (np.sin(theta) + (np.pi - theta) * np.cos(theta))
        sizes = [b + W * size / 2 for size in sizes]
    return between


def by_hand(x, y, x_test, noise):
    """Gaussian regression of normalized data, by inverses."""
    unit, shift, spread = np.sqrt(np.mean(x**2)), y.mean(axis=0), y.std(axis=0)
    x, x_test, y = x / unit, x_test / unit, (y - shift) / spread
    parts = (GIVEN["C_b"], GIVEN["C_W"])
    inverse = np.linalg.inv(arc_cosine_kernel(x, x, *parts) + noise * np.eye(len(x)))
    rows = arc_cosine_kernel(x_test, x, *parts)
    covariance = arc_cosine_kernel(x_test, x_test, *parts) - rows @ inverse @ rows.T
    return shift + spread * (rows @ inverse @ y), covariance[..., None] * spread**2


def test_against_the_arc_cosine_kernel():
    model = InfiniteWidthRegressor("relu", **GIVEN).fit(X, Y)
    mean, covariance = by_hand(X, Y, X_TEST, GIVEN["noise"])
    found, std = model.predict(X_TEST, return_std=True)
    np.testing.assert_allclose(found, mean, rtol=1e-9)
    np.testing.assert_allclose(std**2, np.einsum("aai->ai", covariance), rtol=1e-9)
    np.testing.assert_allclose(model.predict(X_TEST, return_cov=True)[1], covariance, rtol=1e-8)
    np.testing.assert_allclose(model.predict(X_TEST), mean, rtol=1e-9)


def test_a_linear_network_is_the_process_of_scikit_learn():
    y = Y[:, 0]
    options = {"C_b": 0.7, "C_W": 3.0, "scale_x": False}
    model = InfiniteWidthRegressor("relu", depth=1, **options).fit(X, y)
    process = GaussianProcessRegressor(
        DotProduct(np.sqrt(0.7), "fixed") + WhiteKernel(0.1), normalize_y=True, random_state=0
    ).fit(X, y)
    # Both find the noise of the largest evidence, each in its own way.
    noise = process.kernel_.get_params()["k2__noise_level"]
    assert model.noise_ == pytest.approx(noise, rel=1e-3)
    assert model.log_evidence_ == pytest.approx(process.log_marginal_likelihood_value_, rel=1e-8)
    np.testing.assert_allclose(model.predict(X_TEST), process.predict(X_TEST), rtol=1e-3)


def test_finite_width_is_the_posterior_in_units_of_the_data():
    model = FiniteWidthRegressor(60, "relu", **GIVEN).fit(X, Y)
    unit, shift, spread = np.sqrt(np.mean(X**2)), Y.mean(axis=0), Y.std(axis=0)
    net = fw.MLP((3, 60, 60, 2), "relu", GIVEN["C_b"], GIVEN["C_W"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fw.bayes.ExpansionWarning)
        want = fw.bayes.posterior(net, X / unit, (Y - shift) / spread, X_TEST / unit, 0.2)
        mean, std = model.predict(X_TEST, return_std=True)
    np.testing.assert_allclose(mean, shift + spread * want.mean, rtol=1e-12)
    np.testing.assert_allclose(std, spread * np.sqrt(want.variance), rtol=1e-12)


def test_infinite_width_is_the_limit():
    limit = InfiniteWidthRegressor("sin", **GIVEN).fit(X, Y)
    inf = FiniteWidthRegressor(np.inf, "sin", **GIVEN).fit(X, Y)
    for found, want in zip(
        inf.predict(X_TEST, return_std=True), limit.predict(X_TEST, return_std=True), strict=True
    ):
        np.testing.assert_array_equal(found, want)
    shifts = [
        FiniteWidthRegressor(n, "sin", **GIVEN).fit(X, Y).predict(X_TEST) - limit.predict(X_TEST)
        for n in (10**5, 10**6)
    ]
    assert np.abs(shifts[0]).min() > 1e-7
    # Beyond 1/n there is what the mean metric does to the inverse of the kernel.
    np.testing.assert_allclose(shifts[0], 10 * shifts[1], rtol=1e-3)


def test_an_input_that_was_learned_does_not_depend_on_its_company():
    model = FiniteWidthRegressor(500, "relu", **GIVEN).fit(X, Y)
    together = model.predict(np.concatenate([X_TEST, X]))[len(X_TEST) :]
    alone = np.concatenate([model.predict(X[k : k + 1]) for k in (2, 5)])
    np.testing.assert_allclose(together[[2, 5]], alone, rtol=1e-12)


@pytest.mark.parametrize("model", [InfiniteWidthRegressor(**GIVEN),
                                   FiniteWidthRegressor(30, "sin", **GIVEN)])  # fmt: skip
def test_drawn_functions(model):
    model.fit(X, Y)
    count = 40_000
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fw.bayes.ExpansionWarning)
        drawn = model.sample_y(X_TEST, count, random_state=1)
        mean, covariance = model.predict(X_TEST, return_cov=True)
        again = model.sample_y(X_TEST, 3, random_state=1)
        std = model.predict(X_TEST, return_std=True)[1]
    assert drawn.shape == (4, 2, count)
    assert again.shape == (4, 2, 3)
    z = (drawn.mean(axis=-1) - mean) / (std / np.sqrt(count))
    assert np.abs(z).max() < 4
    centred = drawn - mean[..., None]
    own = np.einsum("ais,bis->abi", centred, centred) / count
    size = np.sqrt(np.einsum("aai,bbi->abi", covariance, covariance) + covariance**2)
    assert np.abs((own - covariance) / size).max() < 4 / np.sqrt(count)
    wired = np.einsum("as,as->a", centred[:, 0], centred[:, 1]) / count
    z = wired / (std[:, 0] * std[:, 1] / np.sqrt(count))
    if isinstance(model, FiniteWidthRegressor):
        assert np.abs(z).max() > 6  # outputs share hidden layers
    else:
        assert np.abs(z).max() < 4


def test_pipeline_and_grid_search():
    x, y = RNG.normal(size=(30, 2)) * [1.0, 100.0], RNG.normal(size=30)
    y = y * 0.1 + np.sin(x[:, 0]) * x[:, 1] / 100
    pipeline = make_pipeline(StandardScaler(), InfiniteWidthRegressor())
    grid = {"infinitewidthregressor__depth": [1, 3]}
    found = GridSearchCV(pipeline, grid, cv=3).fit(x, y)
    assert found.best_params_ == {"infinitewidthregressor__depth": 3}
    assert found.best_score_ > 0.3


def test_digits():
    x, digit = load_digits(return_X_y=True)
    x, x_test, digit, digit_test = train_test_split(x, digit, train_size=300, random_state=0)
    model = InfiniteWidthClassifier(depth=4).fit(x, digit)
    assert model.score(x_test, digit_test) > 0.95
    assert model.decision_function(x[:5]).shape == (5, 10)


def test_finite_classifier():
    labels = np.array(["a", "b", "c"])[np.array([0, 1, 2, 0, 1, 2, 2])]
    limit = InfiniteWidthClassifier("sin", **GIVEN).fit(X, labels)
    finite = FiniteWidthClassifier(10**6, "sin", **GIVEN).fit(X, labels)
    near = finite.decision_function(X_TEST)
    np.testing.assert_allclose(near, limit.decision_function(X_TEST), atol=1e-4)
    assert set(finite.predict(X_TEST)) <= {"a", "b", "c"}


def test_a_pickle_keeps_every_digit():
    model = InfiniteWidthRegressor().fit(X, Y)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X_TEST), model.predict(X_TEST))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"noise": -1.0}, "noise: wanted 'evidence' or a variance"),
        ({"noise": "much"}, "noise: wanted 'evidence' or a variance"),
        ({"depth": 0}, "depth: wanted at least 1"),
        ({"C_b": 0.1}, "C_b, C_W: wanted both"),
        ({"n": 0}, "n: wanted at least 1"),
        ({"activation": "rely"}, "rely"),
    ],
)
def test_bad_parameters(options, words):
    with pytest.raises(ValueError, match=words):
        FiniteWidthRegressor(**options).fit(X, Y)


def test_bad_use():
    with pytest.raises(NotFittedError):
        InfiniteWidthRegressor().predict(X)
    with pytest.raises(ValueError, match="wanted one of them"):
        InfiniteWidthRegressor(**GIVEN).fit(X, Y).predict(X, return_std=True, return_cov=True)
    with pytest.raises(ValueError, match="at least two classes"):
        InfiniteWidthClassifier().fit(X, np.zeros(7))
    twice = np.concatenate([X, X[:1]])
    with pytest.raises(ValueError, match="equal and have different labels"):
        InfiniteWidthRegressor(noise=0.0).fit(twice, np.arange(8.0))


@pytest.mark.parametrize("model", [InfiniteWidthRegressor(), InfiniteWidthClassifier()])
def test_conventions(model):
    check_estimator(model, on_skip=None)


@pytest.mark.slow
@pytest.mark.parametrize("model", [FiniteWidthRegressor(), FiniteWidthClassifier()])
def test_conventions_at_finite_width(model):
    check_estimator(model, on_skip=None)
