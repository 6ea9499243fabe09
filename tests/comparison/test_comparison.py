"""z-scores, and a check that fails when it should."""

import json
from dataclasses import dataclass
from io import StringIO

import jax
import numpy as np
import pytest
from rich.console import Console
from scipy.stats import norm

from finitewidth import flow
from finitewidth.comparison import Disagreement, compare, predictions
from finitewidth.ensemble import measure
from finitewidth.network import MLP


@dataclass
class Numbers:
    """Any object with value and standard error will do."""

    value: object
    standard_error: object


def _honest(rng, shape=(3, 4, 4), off=0.0, error_factor=1.0):
    """Symmetric theory and a measurement that differs by honest noise of varying size."""
    theory = rng.normal(size=shape)
    theory = theory + theory.transpose(0, 2, 1)
    error = rng.uniform(0.01, 10.0, size=shape)
    error = error + error.transpose(0, 2, 1)
    noise = np.triu(rng.normal(size=shape))
    noise = noise + np.triu(noise, 1).transpose(0, 2, 1)
    return theory, Numbers(theory + error * (noise + off), error * error_factor)


def test_numbers_of_a_row():
    comparison = compare(
        {"metric": [[[1.0, 2.0], [2.0, 3.0]]]},
        {"metric": Numbers([[[1.5, 2.0], [2.0, 1.0]]], [[[0.25, 1.0], [1.0, 0.5]]])},
    )
    rows = comparison.rows
    assert [row.entry for row in rows] == ["(0 0)", "(0 1)", "(1 1)"]
    assert [row.z for row in rows] == [2.0, 0.0, -4.0]
    assert comparison.rms_z == pytest.approx(np.sqrt(20 / 3))
    assert comparison.worst(1)[0].entry == "(1 1)"
    assert rows[2]._asdict() == {
        "observable": "metric", "layer": 1, "entry": "(1 1)", "theory": 3.0,
        "measured": 1.0, "standard_error": 0.5, "z": -4.0,
    }  # fmt: skip


def test_layers_and_observables_keep_their_names():
    rng = np.random.default_rng(0)
    t1, m1 = _honest(rng, (3, 2, 2))
    t2, m2 = _honest(rng, (2, 3, 3))
    comparison = compare({"a": t1, "b": t2, "unmeasured": t1}, {"a": m1, "b": m2})
    assert comparison.observables == ("a", "b")
    assert len(comparison) == 3 * 3 + 2 * 6
    row = comparison.of("b", layer=2).rows[1]
    assert (row.entry, row.theory, row.measured) == ("(0 1)", t2[1, 0, 1], m2.value[1, 0, 1])
    assert set(comparison.rms_z_by_observable) == {"a", "b"}


def test_honest_noise_passes_and_has_rms_near_one():
    scores = []
    for seed in range(30):
        theory, measured = _honest(np.random.default_rng(seed), (5, 5, 5))
        scores.append(compare({"x": theory}, {"x": measured}).check((0.7, 1.4)).rms_z)
    # 30 x 75 independent z-scores: the mean of z^2 is 1 within 0.03.
    assert np.mean(np.square(scores)) == pytest.approx(1.0, abs=0.12)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"off": 1.2}, "rms z is"),
        ({"error_factor": 0.6}, "rms z is"),
        ({"error_factor": 2.0}, "rms z is"),
    ],
)
def test_check_is_loud(changes, message):
    theory, measured = _honest(np.random.default_rng(7), (6, 6, 6), **changes)
    with pytest.raises(Disagreement, match=message) as caught:
        compare({"metric": theory}, {"metric": measured}).check()
    assert "worst rows" in str(caught.value)
    assert "metric layer" in str(caught.value)


def test_one_wrong_entry_in_many_is_found():
    theory, measured = _honest(np.random.default_rng(3), (10, 8, 8))
    theory[4, 1, 2] = theory[4, 2, 1] = theory[4, 1, 2] + 6.5 * measured.standard_error[4, 1, 2]
    comparison = compare({"metric": theory}, {"metric": measured})
    assert 0.8 < comparison.rms_z < 1.25
    assert [(row.layer, row.entry) for row in comparison.systematic] == [(5, "(1 2)")]
    with pytest.raises(Disagreement, match="beyond chance"):
        comparison.check()
    with pytest.raises(Disagreement):
        comparison.check(rms=None)


def test_threshold_is_that_of_the_largest_of_many():
    theory, measured = _honest(np.random.default_rng(3), (10, 8, 8))
    comparison = compare({"metric": theory}, {"metric": measured})
    chance = 1 - (1 - 2 * norm.sf(comparison.threshold)) ** len(comparison)
    assert chance == pytest.approx(1e-3, rel=1e-2)


def test_exact_entries_are_counted_and_not_listed():
    theory = np.array([[[1.0]], [[2.0]]])
    measured = Numbers(np.array([[[1.0 + 1e-13]], [[2.3]]]), np.array([[[1e-16]], [[0.3]]]))
    comparison = compare({"metric": theory}, {"metric": measured})
    assert comparison.exact == 1
    assert [row.layer for row in comparison.rows] == [2]


def test_an_exact_entry_that_is_wrong_is_infinitely_wrong():
    theory = np.array([[[1.0]], [[2.0]]])
    measured = Numbers(np.array([[[1.001]], [[2.1]]]), np.array([[[0.0]], [[0.1]]]))
    comparison = compare({"metric": theory}, {"metric": measured})
    assert comparison.rows[0].z == np.inf
    assert comparison.exact == 0
    with pytest.raises(Disagreement, match="beyond chance"):
        comparison.check(rms=None)
    json.dumps(comparison.to_dict(), allow_nan=False)


def test_nothing_to_check_is_an_error():
    comparison = compare({"m": [[1.0]]}, {"m": Numbers([[1.0]], [[0.0]])})
    with pytest.raises(Disagreement, match="no row with an error bar"):
        comparison.check()


def test_table_and_dict():
    theory, measured = _honest(np.random.default_rng(5), (2, 2, 2))
    comparison = compare({"metric": theory}, {"metric": measured})
    console = Console(width=140, record=True, file=StringIO())
    console.print(comparison.table(rows=None))
    text = console.export_text()
    for row in comparison.rows:
        assert f"{row.measured:.6g}" in text
        assert f"{row.z:+.2f}" in text
    found = comparison.to_dict()
    assert json.loads(json.dumps(found)) == found
    assert len(found["rows"]) == len(comparison)
    assert "rms z" in repr(comparison)


BAD = {
    "no common name": (
        {"a": [1.0]},
        {"b": Numbers([1.0], [1.0])},
        ValueError,
        "nothing to compare",
    ),
    "shapes": ({"a": [1.0]}, {"a": Numbers([1.0, 2.0], [1.0, 1.0])}, ValueError, "one shape"),
    "no layers": ({"a": 1.0}, {"a": Numbers(1.0, 1.0)}, ValueError, "leading axis"),
    "NaN": ({"a": [np.nan]}, {"a": Numbers([1.0], [1.0])}, ValueError, "NaN or infinity in theory"),
    "NaN error": ({"a": [1.0]}, {"a": Numbers([1.0], [np.nan])}, ValueError, "in standard error"),
    "negative": ({"a": [1.0]}, {"a": Numbers([1.0], [-1.0])}, ValueError, "standard errors >= 0"),
    "array": ({"a": [1.0]}, {"a": np.ones(1)}, TypeError, "with .value and .standard_error"),
    "measured kind": ({"a": [1.0]}, [1.0], TypeError, "estimates by name"),
    "theory kind": ([1.0], {"a": Numbers([1.0], [1.0])}, TypeError, "theory: wanted"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case):
    theory, measured, error, message = BAD[case]
    with pytest.raises(error, match=message):
        compare(theory, measured)


def test_predictions_of_the_flow():
    net = MLP((2, 8, 16, 1), "relu", C_W=2.0)
    x = [[1.0, 0.2], [-0.3, 0.9]]
    pre = flow.preactivations(net, x, order=1)
    found = predictions(pre, flow.ntk(net, x))
    assert set(found) == {"metric", "kernel", "nlo_metric", "vertex", "ntk", "frozen_ntk"}
    with_fluctuations = predictions(flow.ntk(net, x, order=1))
    assert set(with_fluctuations) == {*found, "nlo_ntk", "A", "B", "D", "F"}
    np.testing.assert_allclose(with_fluctuations["metric"], found["metric"])
    fan_in = np.array([2, 8, 16])[:, None, None]
    np.testing.assert_allclose(found["metric"], found["kernel"] + found["nlo_metric"] / fan_in)
    # ReLU, one input: V = (l - 1) 5 K^2 for equal widths, PDLT (5.120); here n_2/n_1 = 2.
    V = found["vertex"][:, 0, 0, 0, 0] / found["kernel"][:, 0, 0] ** 2
    np.testing.assert_allclose(V, [0.0, 5.0, 15.0], rtol=1e-6)
    assert "vertex" not in predictions(flow.preactivations(net, x, order=0))


def test_flow_against_measured_networks_and_a_wrong_flow():
    net = MLP((3, 48, 96, 2), "tanh", C_b=0.1, C_W=1.3)
    x = jax.random.normal(jax.random.key(1), (2, 3))
    measured = measure(net, x, ("metric",), samples=4000, key=11, method="chain")
    theory = flow.preactivations(net, x)
    compare(theory, measured).check((0.3, 1.9))  # 9 entries, 6 of them with error bars
    wrong = flow.preactivations(MLP((3, 48, 96, 2), "tanh", C_b=0.1, C_W=1.33), x)
    with pytest.raises(Disagreement):
        compare(wrong, measured).check((0.3, 1.9))
