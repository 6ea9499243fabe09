"""The line through two labelled inputs and its points."""

import numpy as np
import pytest

from finitewidth.data import centred_one_hot
from finitewidth.report.line import line_points, unlike_ends


@pytest.mark.parametrize(("training", "points"), [(2, 2), (4, 9), (3, 7), (30, 10), (40, 8)])
def test_points_of_networks_are_points_of_the_theory_and_all_fit_into_a_dense_vertex(
    training, points
):
    t, at = line_points(training, points)
    np.testing.assert_allclose(t[at], np.linspace(-0.5, 1.5, points), atol=1e-15)
    assert training + len(t) <= 48
    # No finer grid of up to four points each would fit.
    finer = (len(t) - 1) // (points - 1)
    assert finer == 4 or training + (finer + 1) * (points - 1) + 1 > 48


def test_the_training_inputs_are_points_to_the_last_digit():
    assert {0.0, 1.0} <= set(line_points(4, 9)[0])
    assert {0.0, 1.0} <= set(line_points(4, 13)[0])


def test_too_many_points():
    line_points(8, 40)
    with pytest.raises(ValueError, match="line together, got 9 and 40"):
        line_points(9, 40)


def test_ends_differ_in_label_and_in_input():
    x = np.array([[1.0, 2.0], [3.0, 1.0], [1.0, 2.0], [0.0, 5.0]])
    assert unlike_ends(x, np.array([[1.0], [1.0], [2.0], [0.0]])) == (2, 3)
    assert unlike_ends(x, np.array([[1.0], [1.0], [0.0], [1.0]])) == (1, 2)
    # Classes: all are equally far apart, the first two count.
    targets = centred_one_hot([5, 5, 3, 8])
    assert unlike_ends(np.eye(4), targets) == (0, 2)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.eye(1), [[1.0]], "wanted at least two inputs"),
        (np.eye(3), [[1.0, 2.0]] * 3, "all 3 labels are equal"),
        (np.ones((2, 2)), [[1.0], [2.0]], "inputs with different labels are equal"),
    ],
)
def test_no_line(x, y, message):
    with pytest.raises(ValueError, match=message):
        unlike_ends(x, np.array(y))
