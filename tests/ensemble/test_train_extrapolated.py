"""An extrapolated run is the fit of its runs, and refuses what cannot be extrapolated."""

import jax
import numpy as np
import pytest

from finitewidth.ensemble import fit_widths, scaled, train, train_extrapolated
from finitewidth.network import MLP

X, Y = np.array([[1.2, 0.3], [-0.4, 0.9]]), np.array([0.8, -0.5])
X_TEST = np.array([[0.3, 0.8], [-0.9, 0.1]])
OPTIONS = {"tolerance": 1e-3, "chunk_size": 12, "history": 5}


def network(activation="tanh", widths=(2, 5, 1)):
    return MLP(widths, activation, C_b=0.2, C_W=1.5, lambda_b=0.5)


def test_the_fits_are_those_of_the_runs():
    theta = np.cov(np.random.default_rng(0).normal(size=(4, 20)))
    options = OPTIONS | {"control_variate": theta}
    limit = train_extrapolated(
        network("relu"), X, Y, X_TEST, (12, 24), 3, factors=(2, 1), powers=(0.5,), **options
    )
    keys = jax.random.split(jax.random.key(3), 2)
    for run, factor, samples, key in zip(limit.runs, (2, 1), (12, 24), keys, strict=True):
        again = train(scaled(network("relu"), factor), X, Y, X_TEST, samples, key, **options)
        assert np.array_equal(run.mean.value, again.mean.value)
        assert run.samples == samples and run.widths == (2, 5 * factor, 1)
    for name, power in {
        "mean": 0.5,
        "covariance": 0.5,
        "controlled_mean": 0.5,
        "initial_mean": 1.0,
        "initial_covariance": 1.0,
    }.items():
        fit = fit_widths((10, 5), [getattr(run, name) for run in limit.runs], (power,))
        np.testing.assert_array_equal(limit.fits[name].limit.value, fit.limit.value)
        np.testing.assert_array_equal(
            limit.fits[name].limit.standard_error, fit.limit.standard_error
        )
    assert limit.mean is limit.fits["mean"].limit
    assert limit.covariance is limit.fits["covariance"].limit
    data = limit.to_xarray()
    assert dict(data.controlled_mean_standard_error.sizes) == {"test": 2, "output": 1}
    assert data.attrs["widths"] == [10.0, 5.0] and data.attrs["powers"] == [0.5]
    assert "TrainedLimit of 2 ensembles" in repr(limit) and "n^-0.5" in repr(limit)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"checkpoint": "run.npz"}, ValueError, "several runs"),
        ({"factors": (1, 2)}, ValueError, "more than 2 different ones"),
        ({"factors": (1, 2, 2)}, ValueError, "more than 2 different ones"),
        ({"factors": (1, 2, 2.5)}, TypeError, "factors"),
        ({"samples": (10, 10)}, ValueError, "one per factor"),
        ({"net": network(widths=(2, 1))}, ValueError, "hidden layer"),
    ],
)
def test_what_cannot_be_extrapolated_is_refused(change, error, message):
    arguments = {"net": network(), "x": X, "y": Y, "x_test": X_TEST, "samples": 10}
    with pytest.raises(error, match=message):
        train_extrapolated(**(arguments | change))
