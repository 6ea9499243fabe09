"""Targets of classification: smoothed labels, and the end of the cross-entropy by squared error."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from finitewidth.learning import (
    max_learning_rate,
    smoothed_labels,
    squared_error_targets,
    train_duals,
)
from tests.learning.problem import N, kernels, network

CLASSES = [1, 0, 2, 1]


@given(st.integers(2, 9), st.floats(0, 0.99), st.data())
def test_labels_keep_what_is_not_given_away(count, smoothing, data):
    """Footnote 18: sum 1, 1 - s at the label, the rest shared out; y_i* - y_i = log(...)."""
    classes = np.array(data.draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=5)))
    p = np.asarray(smoothed_labels(classes, count, smoothing))
    rows = np.arange(len(classes))
    np.testing.assert_allclose(p.sum(1), 1, rtol=1e-14)
    np.testing.assert_allclose(p[rows, classes], 1 - smoothing, rtol=1e-14)
    others = p[rows, (classes + 1) % count]
    np.testing.assert_allclose(others * (count - 1), smoothing, rtol=1e-14, atol=1e-300)


def test_the_cross_entropy_ends_where_the_squared_error_does():
    """(10.36)-(10.38): the outputs themselves, at test inputs, three classes."""
    K, Theta = kernels(network())
    AA, BA = Theta[:N, :N], Theta[N:, :N]
    z = np.random.default_rng(2).multivariate_normal(np.zeros(len(K)), K, size=3).T
    p = smoothed_labels(CLASSES, 3, 0.3)
    eta = float(max_learning_rate(AA, "cross-entropy"))
    run = train_duals(AA, z[:N], p, "cross-entropy", eta=eta, steps=200_000)
    np.testing.assert_allclose(softmax(run.outputs, axis=1), p, atol=1e-10)
    y = np.asarray(squared_error_targets(p, z[:N]))
    leap = z[N:] - BA @ np.linalg.solve(AA, z[:N] - y)
    np.testing.assert_allclose(run.at(BA, z[N:]), leap, atol=1e-8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: smoothed_labels([0, 3], 3), "classes from 0 to 2, got 0..3"),
        (lambda: smoothed_labels([0.5], 3), "classes: wanted whole numbers"),
        (lambda: smoothed_labels([[0]], 3), "classes: wanted whole numbers"),
        (lambda: smoothed_labels([0], 1), "count"),
        (lambda: smoothed_labels([0], 3, 1.0), "smoothing: wanted a number from 0 to below 1"),
        (lambda: smoothed_labels([0], 3, float("nan")), "smoothing"),
        (lambda: squared_error_targets([[1.0, 0.0]], [[0.0, 0.0]]), "p: wanted positive"),
        (lambda: squared_error_targets([[0.6, 0.6]], [[0.0, 0.0]]), "p: wanted positive"),
        (lambda: squared_error_targets([[0.5, 0.5]], np.zeros((2, 2))), "initial: wanted shape"),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
