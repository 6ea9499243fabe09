"""Importance sampling against other roads to the same numbers: exact, brute force, other draws."""

import jax
import numpy as np
import pytest
from scipy import integrate, stats
from scipy.special import logsumexp

from finitewidth.bayes.sampling import importance, importance_sample
from finitewidth.ensemble import draw_by_chain
from finitewidth.network import MLP

X = np.array([[1.0, 0.3, -0.5], [-0.2, 1.1, 0.6], [0.4, -0.7, 0.9]])
Y = np.array([[1.6, 0.7], [-0.9, 1.5], [0.2, -1.1]])
TESTS = np.array([[1.0, -1.0, 1.0], [0.3, 0.2, -0.8]])
NET = MLP((3, 12, 9, 2), "tanh", C_b=[0.1, 0.3, 0.2], C_W=[1.8, 1.3, 1.6])
STATISTICS = (
    "mean",
    "covariance",
    "log_evidence",
    "effective_samples",
    "feature_kernels",
    "prior_feature_kernels",
    "feature_shift",
)


def by_hand(metric, net, y, noise):
    """Weight networks one at a time, with explicit inverses; returns sums that need no weights."""
    n, outputs = y.shape
    log_w, mean, second = [], [], []
    for G in metric[:, -1]:
        S = G[:n, :n] + noise * np.eye(n)
        if np.linalg.matrix_rank(S, tol=1e-13 * np.trace(S), hermitian=True) < n:
            log_w.append(-np.inf)
            S = np.eye(n)
        else:
            log_w.append(stats.multivariate_normal(cov=S).logpdf(y.T).sum())
        inverse = np.linalg.inv(S)
        m = G[n:, :n] @ inverse @ y
        K = G[n:, n:] - G[n:, :n] @ inverse @ G[:n, n:]
        mean.append(m)
        second.append(np.einsum("ai,bj->aibj", m, m) + np.einsum("ab,ij->aibj", K, np.eye(outputs)))
    C_b, C_W = (np.asarray(C)[1:, None, None] for C in (net.C_b, net.C_W))
    features = (metric[:, 1:] - C_b) / C_W
    return np.array(log_w), np.array(mean), np.array(second), features


def combined(log_w, mean, second, features):
    """Return the statistics made from weighted networks."""
    w = np.exp(log_w - np.max(log_w))
    w /= w.sum()
    mu = np.tensordot(w, mean, 1)
    posterior = np.tensordot(w, features, 1)
    return {
        "mean": mu,
        "covariance": np.tensordot(w, second, 1) - np.einsum("ai,bj->aibj", mu, mu),
        "log_evidence": logsumexp(log_w) - np.log(len(log_w)),
        "effective_samples": 1 / np.sum(w**2),
        "feature_kernels": posterior,
        "prior_feature_kernels": features.mean(axis=0),
        "feature_shift": posterior - features.mean(axis=0),
    }


@pytest.mark.parametrize(
    ("net", "n", "noise", "scale"),
    [
        (NET, 3, 0.2, 1.0),
        (NET, 2, 0.0, 1.0),
        # Log weights near -3000: their exponentials are zero in floating point.
        pytest.param(NET, 3, 0.01, 25.0, marks=pytest.mark.filterwarnings("ignore:only")),
        # Dead neurons: the kernel of about half of the networks is singular.
        (MLP((3, 3, 2), "relu", C_W=2.0), 2, 0.0, 0.3),
    ],
    ids=["noisy", "no noise", "far from the prior", "singular"],
)
def test_the_sums_are_those_of_networks_one_by_one(monkeypatch, net, n, noise, scale):
    size, samples = 150, 520  # three chunks and a part of one
    monkeypatch.setattr(importance, "_chunk_size", lambda *_: size)
    key = jax.random.key(5)
    found = importance_sample(net, X[:n], scale * Y[:n], TESTS, noise, samples, key)
    inputs = np.concatenate([X[:n], TESTS])
    metric = np.concatenate(
        [draw_by_chain(net, inputs, jax.random.fold_in(key, c), size).metric for c in range(4)]
    )[:samples]
    networks = by_hand(np.asarray(metric), net, scale * Y[:n], noise)
    wanted = combined(*networks)
    left_out = [
        combined(*(part[np.arange(samples) % 64 != j] for part in networks)) for j in range(64)
    ]
    if scale == 25.0:
        assert found.log_evidence < -1000
    if net is not NET:
        assert 20 < np.isinf(networks[0]).sum() < samples - 100
    # Log weights of size 3000 from matrices of condition 1e4 are known to 3e-9, by either road, and
    # so are the weights to a relative 3e-9; the largest of them decide.
    rtol = 1e-7 if scale == 25.0 else 1e-8
    for name in STATISTICS:
        value, error = getattr(found, name), getattr(found, f"{name}_error")
        np.testing.assert_allclose(value, wanted[name], rtol=rtol, atol=rtol / 10, err_msg=name)
        if scale == 1.0 and name != "effective_samples":
            spread = np.std([one[name] for one in left_out], axis=0) * np.sqrt(63)
            np.testing.assert_allclose(error, spread, rtol=1e-6, atol=1e-10, err_msg=name)


def z_scores(found, wanted, names=STATISTICS):
    return np.concatenate(
        [
            np.ravel((getattr(found, name) - wanted[name]) / getattr(found, f"{name}_error"))
            for name in names
        ]
    )


def test_one_linear_layer_is_an_exact_scale_mixture():
    """G is chi^2_n / n times its mean for one input and its multiples: one integral."""
    n, noise, C_W, c, samples = 6, 0.3, (1.4, 1.1), -0.7, 100_000
    x, y = np.array([[1.2, -0.4]]), np.array([[2.6, -1.1]])
    net = MLP((2, n, 2), "linear", C_W=C_W)
    found = importance_sample(net, x, y, c * x, noise, samples, key=3)
    K = C_W[0] * np.sum(x**2) / 2

    def average(f, power=1):
        def integrand(t):
            G = C_W[1] * K * t / n
            w = np.exp(-0.5 * np.sum(y**2) / (G + noise)) / (2 * np.pi * (G + noise))
            return w**power * f(G) * stats.chi2.pdf(t, n)

        return integrate.quad(integrand, 0, np.inf, epsabs=0, epsrel=1e-11)[0]

    p = average(lambda G: 1.0)
    gain = [average(lambda G, k=k: (c * G / (G + noise)) ** k) / p for k in (1, 2)]
    own = average(lambda G: c**2 * G * noise / (G + noise)) / p
    cross = (gain[1] - gain[0] ** 2) * y.T @ y + own * np.eye(2)
    kernel = np.array([[1, c], [c, c**2]])[None]
    posterior, prior = kernel * average(lambda G: G / C_W[1]) / p, kernel * K
    wanted = {
        "mean": gain[0] * y,
        "covariance": cross[None, :, None, :],
        "log_evidence": np.log(p),
        "effective_samples": samples * p**2 / average(lambda G: 1.0, 2),
        "feature_kernels": posterior,
        "prior_feature_kernels": prior,
        "feature_shift": posterior - prior,
    }
    z = z_scores(found, wanted)
    assert np.max(np.abs(z)) < 4
    assert np.abs(np.linalg.norm(found.feature_shift / found.feature_shift_error)) > 100
    # The errors are those of a few hundred, not of all, if the labels are far from the prior.
    assert found.effective_samples < 0.8 * samples


def test_error_bars_are_the_spread_over_runs():
    net = MLP((3, 8, 2), "tanh", C_b=0.1, C_W=1.8)
    runs = [importance_sample(net, X[:2], Y[:2], TESTS, 0.1, 3000, key=k) for k in range(60)]
    for name in STATISTICS:
        spread = np.std([getattr(run, name) for run in runs], axis=0, ddof=1)
        error = np.sqrt(np.mean([getattr(run, f"{name}_error") ** 2 for run in runs], axis=0))
        # 60 runs know their spread to 9 percent, and entries hang together.
        assert abs(np.sqrt(np.mean((spread / error) ** 2)) - 1) < 0.25, name


def test_both_ways_of_drawing_agree():
    runs = [
        importance_sample(NET, X, Y, TESTS, 0.1, 60_000, key=seed, method=method)
        for seed, method in ((1, "chain"), (2, "weights"))
    ]
    z = []
    for name in STATISTICS:
        (a, b), (da, db) = (
            [np.asarray(getattr(run, name + end)) for run in runs] for end in ("", "_error")
        )
        z.append(np.ravel((a - b) / np.hypot(da, db)))
    z = np.concatenate(z)
    assert 0.6 < np.sqrt(np.mean(z**2)) < 1.4
    assert np.max(np.abs(z)) < 4


def test_drawing_the_last_layer_too_gives_the_same_posterior():
    """Nothing integrated out: networks weighted by the density of the noise, in batches."""
    net, noise, batches, size = MLP((3, 5, 2), "tanh", C_b=0.1, C_W=1.8), 0.5, 64, 8000
    x = np.concatenate([X[:2], TESTS])

    def one(key):
        z = net.apply(net.init(key), x)
        log_w = jax.numpy.sum(jax.scipy.stats.norm.logpdf(Y[:2], z[:2], np.sqrt(noise)))
        return jax.numpy.exp(log_w), z[2:].ravel()

    @jax.jit
    def batch(key):
        w, z = jax.vmap(one)(jax.random.split(key, size))
        return w.sum(), w @ z, (w[:, None] * z).T @ z

    parts = [batch(key) for key in jax.random.split(jax.random.key(8), batches)]
    w, wz, wzz = (np.array(part) for part in zip(*parts, strict=True))

    def statistics(keep):
        total = w[keep].sum()
        mean = wz[keep].sum(0) / total
        cov = wzz[keep].sum(0) / total - np.outer(mean, mean)
        return np.concatenate([mean, cov.ravel(), [np.log(total / (keep.sum() * size))]])

    value = statistics(np.ones(batches, bool))
    left = [statistics(np.arange(batches) != j) for j in range(batches)]
    error = np.std(left, axis=0) * np.sqrt(batches - 1)
    found = importance_sample(net, X[:2], Y[:2], TESTS, noise, 100_000, key=9)
    ours, our_error = (
        np.concatenate(
            [
                np.ravel(getattr(found, name + end))
                for name in ("mean", "covariance", "log_evidence")
            ]
        )
        for end in ("", "_error")
    )
    z = (ours - value) / np.hypot(our_error, error)
    assert 0.5 < np.sqrt(np.mean(z**2)) < 1.5
    assert np.max(np.abs(z)) < 4


def test_without_hidden_layers_it_is_bayesian_linear_regression():
    net, noise = MLP((3, 2), "tanh", C_b=0.2, C_W=1.5), 0.3
    found = importance_sample(net, X, Y, TESTS, noise, 64)
    design, tests = (np.column_stack([np.ones(len(x)), x]) for x in (X, TESTS))
    precision = np.diag([1 / 0.2, 2, 2, 2]) + design.T @ design / noise
    parameters = np.linalg.solve(precision, design.T @ Y / noise)
    np.testing.assert_allclose(found.mean, tests @ parameters, rtol=1e-10)
    covariance = tests @ np.linalg.inv(precision) @ tests.T
    wanted = np.einsum("ab,ij->aibj", covariance, np.eye(2))
    np.testing.assert_allclose(found.covariance, wanted, atol=1e-12)
    assert found.effective_samples == pytest.approx(64)
    assert found.feature_kernels.shape == (0, 5, 5)


def test_an_observed_input_without_noise_is_known():
    found = importance_sample(NET, X[:2], Y[:2], np.stack([X[1], TESTS[0]]), 0.0, 1000)
    np.testing.assert_allclose(found.mean[0], Y[1], rtol=1e-9)
    np.testing.assert_allclose(found.variance[0], 0, atol=1e-9)
    assert (found.variance[1] > 0.1).all()


def test_the_same_key_gives_the_same_numbers():
    a, b, c = (importance_sample(NET, X, Y, TESTS, 0.1, 500, key=key) for key in (4, 4, 5))
    for name in STATISTICS:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert a.log_evidence != c.log_evidence


def test_without_test_inputs_there_are_evidence_and_kernels():
    found = importance_sample(NET, X, Y, None, 0.1, 500, progress=True)
    assert found.mean.shape == (0, 2)
    assert found.variance.shape == (0, 2)
    assert found.feature_kernels.shape == (2, 3, 3)
    assert np.isfinite(found.log_evidence)


def test_progress_is_told_to_a_function():
    heard = []
    importance_sample(
        NET, X, Y, TESTS, 0.1, 500, progress=lambda done, total: heard.append((done, total))
    )
    assert heard[-1] == (500, 500)
    assert heard == sorted(set(heard))


def test_one_output_takes_a_vector_of_labels():
    net = MLP((3, 6, 1), "tanh", C_b=0.1)
    a, b = (importance_sample(net, X, y, TESTS, 0.5, 256) for y in (Y[:, 0], Y[:, :1]))
    np.testing.assert_array_equal(a.mean, b.mean)


def test_it_prints_and_labels_itself():
    found = importance_sample(NET, X, Y, TESTS, 0.1, 500)
    assert "2 test inputs, 2 outputs" in repr(found)
    assert "of 500 networks by chain" in repr(found)
    table = found.to_xarray()
    assert table.covariance.dims == ("test", "output", "test_2", "output_2")
    assert float(table.variance[1, 0]) == found.covariance[1, 0, 1, 0]
    assert table.feature_shift_error.sizes == {"layer": 2, "sample_1": 5, "sample_2": 5}


def test_labels_far_from_the_prior_warn():
    with pytest.warns(UserWarning, match=r"only \d+\.\d effective networks out of 500"):
        importance_sample(NET, X, 30 * Y, TESTS, 0.01, 500)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"noise": -0.1}, "noise: wanted a variance"),
        ({"noise": np.nan}, "noise: wanted a variance"),
        ({"noise": [0.1, 0.2]}, "noise: wanted one number"),
        ({"y": Y[:2]}, r"y: wanted shape \(3, 2\)"),
        ({"y": Y[:, 0]}, r"y: wanted shape \(3, 2\).*got shape \(3,\)"),
        ({"y": Y.T}, r"y: wanted shape \(3, 2\)"),
        ({"y": np.where(Y > 1, np.inf, Y)}, "y: wanted finite numbers, got 2"),
        ({"x": X[:, :2]}, "x: wanted 3 features"),
        ({"x_test": TESTS[0]}, "x_test: wanted a matrix"),
        ({"samples": 63}, "samples: wanted at least 64"),
        ({"method": "nuts"}, "method: wanted one of weights, chain"),
        ({"net": MLP((3, 4, 2), "tanh", law="uniform")}, "law: the last layer"),
        ({"net": MLP((3, 4, 2), "tanh", C_W=[1, 0])}, "C_W: wanted C_W > 0"),
        ({"net": MLP((3, 2, 2), "tanh"), "noise": 0}, "at most 2 observed inputs, got 0 and 3"),
        ({"net": MLP((3, 1, 2), "tanh", C_b=1), "noise": 0}, "at most 2 observed inputs"),
        ({"x": X[[0, 1, 0]], "noise": 0}, "noise > 0 for inputs that repeat"),
        (
            {"x": X[[0, 1, 0]] * [[1], [1], [-1]], "net": MLP((3, 9, 2), "tanh"), "noise": 0},
            "every",
        ),
        ({"net": MLP((3, 8, 8, 2), "linear", C_W=1e200)}, "signals overflow"),
    ],
)
def test_bad_input_is_named(change, message):
    arguments = {"net": NET, "x": X, "y": Y, "x_test": TESTS, "noise": 0.1, "samples": 64} | change
    with pytest.raises(ValueError, match=message):
        importance_sample(**arguments)


def test_labels_must_be_numbers():
    with pytest.raises(TypeError, match="y: wanted real numbers"):
        importance_sample(NET, X, np.array([["a", "b"]] * 3), TESTS)


def test_an_interrupted_run_goes_on_to_the_same_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr(importance, "_chunk_size", lambda *_: 100)
    net = MLP((2, 6, 1), "tanh", C_b=0.2, C_W=1.5)
    problem = (net, [[1.0, 0.4], [-0.3, 0.8]], [0.6, -0.2], [[0.5, 0.5]], 0.1)
    whole = importance_sample(*problem, samples=450, key=3)
    path = tmp_path / "run.npz"
    told = []

    def interrupt(done, samples):
        told.append((done, samples))
        if done == 200:
            raise KeyboardInterrupt

    options = {"key": 3, "checkpoint": path, "checkpoint_seconds": 0.0}
    with pytest.raises(KeyboardInterrupt):
        importance_sample(*problem, samples=450, progress=interrupt, **options)
    again = importance_sample(
        *problem, samples=450, progress=lambda *now: told.append(now), **options
    )
    assert told == [(n, 450) for n in (0, 100, 200, 200, 300, 400, 450)]
    assert again.log_evidence == whole.log_evidence
    np.testing.assert_array_equal(again.covariance, whole.covariance)
    np.testing.assert_array_equal(again.feature_shift_error, whole.feature_shift_error)
    with pytest.raises(ValueError, match="belongs to another run, which differs in noise"):
        importance_sample(*problem[:-1], 0.2, samples=450, **options)
