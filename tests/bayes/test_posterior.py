"""Finite-width posteriors against known coefficients, a second-order expansion, and limits."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import finitewidth as fw
from finitewidth.bayes.regression import regression
from tests.bayes.problem import X_TEST, X, Y, wide

N = 10**6
#: noise, hidden widths, coefficients of 1/n: mean_0, mean_1, var_0, cov_01, log-evidence.
COEFFICIENTS = {
    "one hidden layer": (0.0, (N,), (0.1095, 0.3725, 2.273, -0.4945, -2.960)),
    "with noise": (0.1, (N,), (0.0588, 0.2724, 1.5719, -0.3644, -2.1369)),
    "two hidden layers": (0.05, (N, N), (0.2996, 0.7231, 3.4653, -1.0286, -3.9795)),
    "unequal widths": (
        0.3, (2 * N, N, 3 * N // 2), (0.0696, 0.2615, 1.3101, -0.4802, -1.7583),
    ),
}  # fmt: skip


def numbers(result):
    wired = result.component_covariance[0]
    return np.array(
        [result.mean[0, 0], result.mean[0, 1], wired[0, 0], wired[0, 1], result.log_evidence]
    )


@pytest.mark.parametrize("case", COEFFICIENTS)
def test_known_coefficients(case):
    noise, hidden, want = COEFFICIENTS[case]
    first, limit = (
        numbers(fw.bayes.posterior(wide(hidden), X, Y, X_TEST, noise, order=k)) for k in (1, 0)
    )
    # Three inputs rest on quasi-random points, a few 1e-4 of the largest entry of the vertex.
    np.testing.assert_allclose(N * (first - limit), want, rtol=5e-4, atol=8e-4)


def test_known_limit_and_expansion_parameter():
    result = fw.bayes.posterior(wide((32,)), X, Y, X_TEST, order=0)
    np.testing.assert_allclose(numbers(result), [0.585, 0.034, 0.945, 0, -7.146], atol=6e-4)
    found = float(fw.bayes.expansion_parameter(wide((N,)), X, Y))
    assert N * found == pytest.approx(2.202, abs=5e-4)


def asymmetric():
    """Five training and two test inputs, three outputs, unequal widths, rates by layer."""
    rng = np.random.default_rng(3)
    net = fw.MLP((3, 90, 70, 110, 3), "sin", C_b=[0.1, 0.0, 0.3, 0.2], C_W=[1.0, 1.4, 0.8, 1.1])
    x, y, x_test = rng.normal(size=(5, 3)), 0.5 * rng.normal(size=(5, 3)), rng.normal(size=(2, 3))
    return net, x, y, x_test, 0.2


@pytest.fixture(scope="module")
def expanded():
    """The same by automatic derivatives: [1 + W : d d / 2] on evidence, moments times evidence."""
    with fw.double_precision():
        return second_order_expansion(*asymmetric())


def second_order_expansion(net, x, y, x_test, noise):
    pre = fw.flow.preactivations(net, np.concatenate([x, x_test]))
    W = pre.vertex[-1].dense() / net.widths[-2]
    G = pre.metric[-1]

    def moments(dG):
        found = regression(G + dG, jnp.asarray(y), noise)
        mean = found.mean
        second = jnp.einsum("bi,cj->bicj", mean, mean)
        second += jnp.einsum("bc,ij->bicj", found.covariance, jnp.eye(3))
        weight = jnp.exp(found.log_evidence - regression(G, jnp.asarray(y), noise).log_evidence)
        return weight, weight * mean, weight * second

    def shifts(f):
        hessian = jax.jacfwd(jax.jacfwd(f))(jnp.zeros_like(G))
        return 0.5 * jnp.einsum("...abcd,abcd->...", hessian, W)

    at = moments(jnp.zeros_like(G))
    change = [shifts(lambda dG, k=k: moments(dG)[k]) for k in range(3)]
    mean = at[1] + change[1] - at[1] * change[0]
    second = change[2] - at[2] * change[0]
    shift = change[1] - at[1] * change[0]
    covariance = at[2] - jnp.einsum("bi,cj->bicj", at[1], at[1]) + second
    covariance -= jnp.einsum("bi,cj->bicj", at[1], shift) + jnp.einsum("bi,cj->bicj", shift, at[1])
    return mean, covariance, regression(G, jnp.asarray(y), noise).log_evidence + change[0]


def test_is_the_second_order_expansion(expanded):
    net, x, y, x_test, noise = asymmetric()
    result = fw.bayes.posterior(net, x, y, x_test, noise)
    mean, covariance, log_evidence = expanded
    np.testing.assert_allclose(result.mean, mean, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(result.full_covariance(), covariance, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(result.log_evidence, log_evidence, rtol=1e-11)
    wired = np.einsum("bibj->bij", covariance)
    np.testing.assert_allclose(result.component_covariance, wired, rtol=1e-9, atol=1e-11)
    assert np.abs(wired[:, 0, 1]).min() > 1e-5  # outputs are wired together


def test_large_data_sets_within_their_error_bars():
    net, x, y, x_test, noise = asymmetric()
    exact = fw.bayes.posterior(net, x, y, x_test, noise)
    drawn = fw.bayes.posterior(net, x, y, x_test, noise, method="matrix_free")
    z = (np.asarray(drawn.mean) - exact.mean) / drawn.mean_error
    # Errors come from four batches: Student's t with three degrees of freedom.
    assert np.abs(z).max() < 12
    assert float(drawn.mean_error.max()) < 0.1 * float(np.abs(exact.mean - wide_limit()).max())
    difference = float(drawn.log_evidence - exact.log_evidence)
    assert abs(difference) < 12 * float(drawn.log_evidence_error)
    np.testing.assert_allclose(
        drawn.component_covariance, exact.component_covariance, rtol=0.05, atol=1e-3
    )


def wide_limit():
    net, x, y, x_test, noise = asymmetric()
    return np.asarray(fw.bayes.posterior(net, x, y, x_test, noise, order=0).mean)


@pytest.mark.parametrize("order", [0, 1])
def test_an_observed_input_is_certain(order):
    x_test = np.concatenate([X_TEST, X[1:]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fw.bayes.ExpansionWarning)
        result = fw.bayes.posterior(wide((32, 24)), X, Y, x_test, order=order)
    np.testing.assert_allclose(result.mean[1], Y[1], rtol=1e-10)
    np.testing.assert_allclose(result.component_covariance[1], 0.0, atol=1e-10)


def test_infinite_width_is_what_scikit_learn_does():
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import DotProduct

    # A network of one layer is a linear model: K = C_b + (C_W/n_0) x.x
    net = fw.MLP((3, 1), "relu", C_b=0.7, C_W=3.0)
    rng = np.random.default_rng(0)
    x, y, x_test = rng.normal(size=(6, 3)), rng.normal(size=6), rng.normal(size=(4, 3))
    other = GaussianProcessRegressor(DotProduct(np.sqrt(0.7), "fixed"), alpha=0.3, optimizer=None)
    other.fit(x, y)
    mean, covariance = other.predict(x_test, return_cov=True)
    result = fw.bayes.posterior(net, x, y, x_test, noise=0.3, order=0)
    np.testing.assert_allclose(result.mean[:, 0], mean, rtol=1e-10)
    np.testing.assert_allclose(result.covariance, covariance, rtol=1e-8, atol=1e-12)
    evidence = other.log_marginal_likelihood()
    assert float(result.log_evidence) == pytest.approx(evidence, rel=1e-12)


def test_a_warning_beyond_the_range_of_the_expansion():
    with pytest.warns(fw.bayes.ExpansionWarning, match="M:W:M"):
        result = fw.bayes.posterior(wide((4,)), X, 3 * Y, X_TEST)
    assert result.expansion_parameter > 0.3


TWICE = np.array([X[0], X[1], X[0]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"noise": -0.1}, "noise: wanted a variance, finite and >= 0"),
        ({"y": Y[:1]}, r"y: wanted shape \(2, 2\).*got shape \(1, 2\)"),
        ({"y": Y[:, :1]}, r"y: wanted shape \(2, 2\).*got shape \(2, 1\)"),
        ({"x_test": X_TEST[:, :2]}, "x_test: wanted 3 features"),
        ({"order": 2}, "order: wanted 0"),
        ({"method": "magic", "order": 1}, "method: wanted"),
        ({"y": np.array([[1.0, np.nan], [0.0, 1.0]])}, "y: wanted finite"),
        ({"x": TWICE, "y": Y[[0, 1, 1]]}, "inputs 0 and 2 are equal and have different labels"),
        ({"x": TWICE, "y": Y[[0, 1, 0]]}, "inputs 0 and 2 are equal and have the same labels"),
    ],
)
def test_bad_input(change, message):
    arguments = dict(x=X, y=Y, x_test=X_TEST, noise=0.0, order=0) | change
    with pytest.raises(ValueError, match=message):
        fw.bayes.posterior(wide((8,)), **arguments)


def test_singular_kernels():
    net = fw.MLP((3, 8, 2), "relu", C_W=2.0)
    with pytest.raises(ValueError, match="singular to rounding"):
        fw.bayes.posterior(net, [X[0], 2 * X[0]], Y, X_TEST, order=0)
    regular = fw.bayes.posterior(net, [X[0], 2 * X[0]], Y, X_TEST, noise=0.1, order=0)
    assert np.all(np.isfinite(regular.mean))


def test_labelled_results():
    result = fw.bayes.posterior(wide((50,)), X, Y, X_TEST, 0.1)
    assert result.to_xarray()["component_covariance"].shape == (1, 2, 2)
    assert "order 1" in repr(result)


def test_more_quasi_random_points_make_the_first_order_more_accurate():
    # Without noise, inputs at 45 degrees and less: most of the variance cancels.
    net = fw.MLP((3, 1000, 1), "relu", C_W=2.0)
    x = np.array([[1.0, 0.5, 0.2], [0.6, 1.0, 0.4], [0.5, 0.7, 1.1]])
    found = [
        fw.bayes.posterior(net, x, [1.0, -0.5, 0.3], [[0.8, 0.8, 0.5]], points=2**k).variance[0, 0]
        for k in (8, 13, 17)
    ]
    assert abs(found[1] - found[2]) < 0.2 * abs(found[0] - found[2])
    limit = fw.bayes.posterior(net, x, [1.0, -0.5, 0.3], [[0.8, 0.8, 0.5]], order=0)
    assert found[2] != pytest.approx(float(limit.variance[0, 0]), rel=1e-4)
