"""The words follow the numbers."""

from dataclasses import replace

import equinox as eqx
import numpy as np
import pytest

from finitewidth.report.conclusions import conclude, verdict, width_for


@pytest.fixture(scope="module")
def relu(small):
    return small.analyses[0]


def test_verdict_at_its_limits():
    assert [verdict(r) for r in (0.0, 0.1, 0.11, 0.3, 0.31, 9.0)] == [
        "fine", "fine", "strained", "strained", "too deep", "too deep",
    ]  # fmt: skip


def test_relu_of_width_ten_is_too_shallow_for_three_layers(relu):
    # V/(nK^2) = 5 (L - 1)/n = 1: a spread of 100 %, and 0.3 needs a width of 34.
    words = conclude(relu)
    assert words.verdict == "too deep"
    assert "about 100 %" in words.headline
    assert width_for(relu, 0.3) == 34
    assert "at least 34" in words.headline


def test_width_that_would_do(small):
    sin = small.analyses[1]
    # V/(nK^2) falls like 1/n at fixed depth.
    assert 0 < sin.fluctuation < 0.5
    needed = width_for(sin, 0.01)
    assert sin.fluctuation * 10 / needed <= 0.01 < sin.fluctuation * 10 / (needed - 1)


def test_points_quote_the_tuning_and_the_kernel(relu):
    text = " ".join(conclude(relu).points)
    assert "C_W = 2" in text
    assert "this is critical" in text
    K = float(np.asarray(relu.flow.kernel)[0, relu.typical, relu.typical])
    assert f"{K:.3g} at layer 1" in text
    theta = float(np.mean(np.diagonal(np.asarray(relu.ntk.mean)[-1])))
    assert f"2/Θ_aa = {2 / theta:.2g}" in text
    assert "dividing them by" not in text


def test_large_inputs_get_a_remark(relu):
    text = " ".join(conclude(replace(relu, x=10 * relu.x)).points)
    size = np.sqrt(np.mean((10 * relu.x) ** 2))
    assert f"dividing them by {size:.3g}" in text


def test_disagreement_is_said(relu):
    assert "The networks agree" in conclude(relu).agreement
    off = eqx.tree_at(lambda c: c.z, relu.comparison, relu.comparison.z + 30.0)
    words = conclude(replace(relu, comparison=off)).agreement
    assert "further from the theory than chance allows" in words
    assert "agree with" not in words
