"""Labels: targets from classes, and draws that hold as many classes as they can."""

import numpy as np
import pytest

from finitewidth.data import centred_one_hot, check_labels, draw_unlike


def test_targets_of_classes():
    # Written out: 1 - 1/3 and -1/3, outputs in the order of the classes.
    targets = centred_one_hot([5, -1, 5, 2])
    third = 1 / 3
    want = [[-third, -third, 2 * third], [2 * third, -third, -third], [-third, -third, 2 * third]]
    np.testing.assert_allclose(targets, [*want, [-third, 2 * third, -third]], atol=1e-15)


def test_classes_that_do_not_occur_have_an_output_too():
    targets = centred_one_hot([7], among=(9, 7, 0, 1))
    np.testing.assert_allclose(targets, [[-0.25, 0.75, -0.25, -0.25]])
    with pytest.raises(ValueError, match="got 3, wanted one of 9, 7"):
        centred_one_hot([7, 3], among=(9, 7))


@pytest.mark.parametrize(
    ("classes", "error", "message"),
    [
        ([0.0, 1.0], TypeError, "whole numbers"),
        ([[0, 1]], ValueError, r"shape \(1, 2\)"),
        (np.zeros(0, int), ValueError, r"shape \(0,\)"),
    ],
)
def test_targets_of_something_else(classes, error, message):
    with pytest.raises(error, match=message):
        centred_one_hot(classes)


def test_a_draw_holds_every_class_before_it_repeats_one():
    classes = np.array([0] * 50 + [1] * 3 + [2] * 20)
    for seed in range(5):
        rows = draw_unlike(classes, 12, seed)
        assert len(set(rows.tolist())) == 12
        counts = [np.bincount(classes[rows[:n]], minlength=3).tolist() for n in (3, 6, 9, 12)]
        # The class of three is used up in the third round.
        assert counts[:3] == [[1, 1, 1], [2, 2, 2], [3, 3, 3]]
        assert counts[3][1] == 3 and sum(counts[3]) == 12
        np.testing.assert_array_equal(draw_unlike(classes, 5, seed), rows[:5])
    assert draw_unlike(classes, 5, 0).tolist() != draw_unlike(classes, 5, 1).tolist()


def test_a_draw_of_real_labels_is_without_replacement():
    labels = check_labels(np.array([0.5, 0.5, 1.0, 2.0]), 4)
    assert sorted(draw_unlike(labels, 4, 3).tolist()) == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="samples: got 5, wanted at most the 4 with labels"):
        draw_unlike(labels, 5)
    with pytest.raises(ValueError, match="seed: wanted at least 0, got -1"):
        draw_unlike(labels, 2, -1)
