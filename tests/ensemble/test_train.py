"""What `train` reports is what its networks did, whatever chunks, interruptions and failures."""

import warnings

import jax
import numpy as np
import pytest

from finitewidth.ensemble import train, trainer
from finitewidth.network import MLP

X = np.array([[1.2, 0.3], [-0.4, 0.9], [0.5, -1.1]])
Y = np.array([[0.8, -0.3], [-0.5, 0.9], [0.2, 0.6]])
X_TEST = np.array([[0.3, 0.8], [-0.9, 0.1]])
KEY = 5


def network(**changes):
    arguments = {"C_b": 0.2, "C_W": 1.5, "lambda_b": [0.5, 0.3], "lambda_W": [1.0, 1.2]}
    return MLP((2, 7, 2), "tanh", **(arguments | changes))


def run(samples=22, **options):
    arguments = {"x": X, "y": Y, "x_test": X_TEST, "chunk_size": 8, "tolerance": 1e-3}
    arguments |= {"net": network(), "key": KEY, "history": 40, "most_steps": 5000} | options
    return train(samples=samples, **arguments)


def single(samples=22, **options):
    arguments = {"x": X, "y": Y, "x_test": X_TEST, "chunk_size": 8, "tolerance": 1e-3}
    arguments |= {"net": network(), "history": 40, "most_steps": 5000} | options
    one = trainer(**arguments)
    parts = [one.networks(jax.random.key(KEY), number) for number in range(-(-samples // 8))]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[:samples], *parts)


def same(a, b, **closeness):
    for name, estimate in a.estimates().items():
        other = b.estimates()[name]
        for field in ("value", "standard_error"):
            pair = (getattr(estimate, field), getattr(other, field))
            if closeness:
                np.testing.assert_allclose(*pair, **closeness, err_msg=name)
            else:
                np.testing.assert_array_equal(*pair, err_msg=name)
        assert estimate.samples == other.samples
    assert a.longest == b.longest


def test_statistics_are_those_of_the_networks():
    got, nets = run(control_variate="empirical"), single(control_variate="empirical")
    z, M = nets.outputs, 22
    assert nets.converged.all() and len(set(nets.steps.tolist())) > 10
    assert (np.abs(nets.training_outputs - Y).max((1, 2)) <= 1e-3).all()
    np.testing.assert_allclose(got.mean.value, z.mean(0), rtol=1e-12)
    np.testing.assert_allclose(got.mean.standard_error, z.std(0, ddof=1) / M**0.5, rtol=1e-12)
    for estimate, values in ((got.covariance, z), (got.initial_covariance, nets.initial)):
        c = values - values.mean(0)
        products = np.einsum("mbi,mcj->mijbc", c, c)
        np.testing.assert_allclose(estimate.value, products.sum(0) / (M - 1), rtol=1e-10)
        error = products.std(0) / (M - 1) ** 0.5
        np.testing.assert_allclose(estimate.standard_error, error, rtol=1e-9)
    np.testing.assert_allclose(got.initial_mean.value, nets.initial.mean(0), rtol=1e-12)
    assert got.loss.value.shape == (41,)
    np.testing.assert_allclose(got.loss.value, nets.losses.mean(0), rtol=1e-12)
    np.testing.assert_allclose(got.loss_spread.value, nets.losses.std(0, ddof=1), rtol=1e-10)
    assert float(got.steps.value) == pytest.approx(nets.steps.mean())
    assert float(got.steps_spread.value) == pytest.approx(nets.steps.std(ddof=1))
    assert got.longest == nets.steps.max() and got.samples == M
    assert float(got.eta.value) == pytest.approx(nets.eta.mean())
    apart = z - nets.linearized
    np.testing.assert_allclose(got.deviation.value, apart.mean(0), rtol=1e-11)
    np.testing.assert_allclose(got.deviation_size.value, (apart**2).mean(0) ** 0.5, rtol=1e-11)
    error = (apart**2).std(0, ddof=1) / M**0.5 / (2 * (apart**2).mean(0) ** 0.5)
    np.testing.assert_allclose(got.deviation_size.standard_error, error, rtol=1e-10)
    data = got.to_xarray()
    assert dict(data.mean_standard_error.sizes) == {"test": 2, "output": 2}
    assert float(data.covariance.sel(output_1=0, output_2=1, test_1=1, test_2=0)) == float(
        got.covariance.value[0, 1, 1, 0]
    )
    assert "22 networks of widths 2-7-2" in repr(got) and "not converged" in repr(got)


def test_the_numbers_do_not_depend_on_the_chunks_and_follow_the_key():
    base = run()
    same(base, run())
    same(base, run(chunk_size=22), rtol=1e-9, atol=1e-12)
    other = run(key=jax.random.key(6))
    assert np.abs(other.mean.value - base.mean.value).min() > 1e-6
    # More networks continue the stream of fewer: the first 16 are the same.
    part, longer = single(16), single(22)
    assert np.array_equal(part.outputs, longer.outputs[:16])


class Stop(Exception):
    """Stands for whatever ends a run."""


@pytest.mark.parametrize("stop_at", [8, 16])
def test_an_interrupted_run_goes_on_to_the_last_bit(tmp_path, stop_at):
    path = tmp_path / "run.npz"
    options = {"checkpoint": path, "checkpoint_seconds": 0.0, "optimizer": "sgd"}

    def stop(done, total):
        if done == stop_at:
            raise Stop

    with pytest.raises(Stop):
        run(progress=stop, **options)
    seen = []
    resumed = run(progress=lambda done, total: seen.append((done, total)), **options)
    assert seen[0] == (stop_at, 22) and seen[-1] == (22, 22)
    same(resumed, run(optimizer="sgd"))
    same(run(30, **options), run(30, optimizer="sgd"))
    with pytest.raises(ValueError, match="already holds 24 networks"):
        run(16, **options)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"y": Y + 1e-9}, "y"),
        ({"x_test": X_TEST[:1]}, "x_test"),
        ({"net": network(lambda_W=1.1)}, "lambda_W"),
        ({"optimizer": "momentum"}, "optimizer"),
        ({"eta": 0.1}, "eta"),
        ({"tolerance": 2e-3}, "tolerance"),
        ({"most_steps": 4000}, "most_steps"),
        ({"history": 30}, "history"),
        ({"loss": lambda z, y: ((z - y) ** 2).sum() / 4, "eta": 0.1}, "loss"),
        ({"control_variate": "empirical"}, "control_variate"),
        ({"key": 1}, "key"),
    ],
)
def test_the_checkpoint_of_another_run_is_refused(tmp_path, change, named):
    path = tmp_path / "run.npz"
    run(8, checkpoint=path)
    with pytest.raises(ValueError, match=f"another run, which differs in .*{named}"):
        run(8, checkpoint=path, **change)


def test_what_has_not_converged_is_said():
    steps = single().steps
    limit = int(np.median(steps))
    late = int((steps > limit).sum())
    with pytest.warns(RuntimeWarning, match=f"{late} of 22 networks had not converged after"):
        got = run(most_steps=limit)
    assert float(got.unconverged.value) == pytest.approx(late / 22)
    assert float(got.diverged.value) == 0 and got.longest == limit
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fixed = run(tolerance=0.0, most_steps=3)
    assert float(fixed.steps.value) == 3 and float(fixed.unconverged.value) == 1
    np.testing.assert_allclose(
        fixed.loss.value, single(tolerance=0.0, most_steps=3).losses.mean(0), rtol=1e-12
    )


def test_networks_that_diverge_are_left_out_and_said():
    # A step at which some networks break.
    nets = single(eta=1.2, most_steps=3000)
    lost = nets.diverged | ~np.isfinite(nets.outputs).all((1, 2))
    assert 0 < lost.sum() < 20
    with pytest.warns(RuntimeWarning) as said:
        got = run(eta=1.2, most_steps=3000)
    assert any(f"{lost.sum()} of 22 networks diverged" in str(w.message) for w in said)
    assert float(got.diverged.value) == pytest.approx(lost.mean())
    assert got.mean.samples == 22 - lost.sum() and got.initial_mean.samples == 22
    np.testing.assert_allclose(got.mean.value, nets.outputs[~lost].mean(0), rtol=1e-10)
    with pytest.raises(ValueError, match="22 of 22 networks diverged"):
        run(eta=50.0, most_steps=3000)


def test_cross_entropy_ends_at_the_wanted_probabilities():
    P = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    got = single(8, loss="cross-entropy", y=P, tolerance=1e-4)
    assert got.converged.all()
    q = np.exp(got.training_outputs)
    q /= q.sum(-1, keepdims=True)
    assert np.abs(q - P).max() <= 1e-4


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"samples": 1}, ValueError, "samples"),
        ({"x": X[:, :1]}, ValueError, "x: wanted 2 features"),
        ({"x_test": X_TEST[0]}, ValueError, "x_test"),
        ({"y": Y[:2]}, ValueError, "y: wanted 3 targets"),
        ({"y": Y * np.nan}, ValueError, "y: wanted finite numbers"),
        ({"loss": "huber"}, ValueError, "loss"),
        ({"optimizer": "newton"}, ValueError, "optimizer: wanted one of gradient_descent"),
        ({"optimizer": "adam"}, ValueError, "eta: wanted a learning rate"),
        ({"loss": lambda z, y: (z - y).sum()}, ValueError, "eta: wanted a learning rate"),
        ({"eta": -1.0}, ValueError, "eta"),
        ({"momentum": 1.0}, ValueError, "momentum"),
        ({"tolerance": -1e-3}, ValueError, "tolerance"),
        ({"tolerance": float("nan")}, ValueError, "tolerance"),
        ({"most_steps": 1.5}, TypeError, "most_steps"),
        ({"optimizer": "sgd", "batch_size": 4}, ValueError, "batch_size: wanted at most 3"),
        ({"chunk_size": 10**12}, ValueError, "chunk_size: wanted at most"),
        ({"control_variate": "own"}, ValueError, "wanted 'empirical' or an NTK"),
        ({"control_variate": np.eye(4)}, ValueError, r"shape \(5, 5\), got \(4, 4\)"),
        ({"control_variate": np.ones((5, 5))}, ValueError, "positive definite"),
        ({"control_variate": np.triu(np.ones((5, 5)))}, ValueError, "symmetric"),
        (
            {"control_variate": "empirical", "loss": "cross-entropy", "y": [0, 1, 1]},
            ValueError,
            "is for 'mse'",
        ),
        ({"key": -1}, ValueError, "key"),
    ],
)
def test_bad_arguments_are_refused(change, error, message):
    with pytest.raises(error, match=message):
        run(**change)
