"""`finitewidth posterior`: what it prints, writes and refuses."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from finitewidth.bayes import posterior
from finitewidth.cli.main import app
from finitewidth.network import MLP
from finitewidth.report.posterior import VERTEX_POINTS

runner = CliRunner()

X = np.array([[1.0, 0.3, -0.5], [-0.2, 1.1, 0.6], [0.7, -0.9, 0.4]])
SMALL = ("-a", "relu", "--width", 40, "--points", 3, "--networks", 400, "--train", 3)


def run(*words):
    return runner.invoke(app, ["posterior", *(str(word) for word in words)])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    np.savez(tmp_path / "classes.npz", x=X, y=np.array([4, 4, -1]))
    np.savez(tmp_path / "reals.npz", x=X, y=np.array([[0.5, 1.0], [-0.5, 1.0], [1.0, -1.0]]))
    np.savez(tmp_path / "equal.npz", x=X, y=np.array([4, 4, 4]))
    np.savez(tmp_path / "equal_reals.npz", x=X, y=np.array([0.5, 0.5, 0.5]))
    np.savez(tmp_path / "rows.npz", x=X, y=np.array([4, 4]))
    np.savez(tmp_path / "nan.npz", x=X, y=np.array([4, 4, np.nan]))
    np.save(tmp_path / "bare.npy", X)
    (tmp_path / "old.zarr").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_classes_json_figure_and_store_hold_the_numbers_of_the_package(folder):
    import xarray as xr

    words = (*SMALL, "--data", "classes.npz", "--noise", 0.4, "--json")
    result = run(*words, "--save", "numbers.zarr")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["widths"] == [3, 40, 40, 2]
    assert sorted(found["inputs"]) == ["class -1", "class 4", "class 4"]
    assert found["line"]["outputs"] == ["class -1", "class 4"]
    assert {tuple(row) for row in found["labels"]} == {(0.5, -0.5), (-0.5, 0.5)}
    # The samples are drawn in another order; u and v are of different classes.
    stored = xr.open_zarr("numbers.zarr", consolidated=False)
    x, y = stored.x.values, stored.y.values
    assert {tuple(row) for row in x} == {tuple(row) for row in X}
    np.testing.assert_array_equal(y, found["labels"])
    for sample, name, targets in zip(x, found["inputs"], y, strict=True):
        assert name == ("class -1" if sample[0] == 0.7 else "class 4")
        assert targets[found["line"]["outputs"].index(name)] == 0.5
    u, v = found["u"], found["v"]
    assert found["inputs"][u] != found["inputs"][v]
    net = MLP.critical((3, 40, 40, 2), "relu")
    t = np.linspace(-0.5, 1.5, 9)[:, None]
    want = posterior(net, x, y, (1 - t) * x[u] + t * x[v], 0.4, order=1, points=VERTEX_POINTS)
    for name in ("mean", "variance"):
        value = getattr(want, name)
        np.testing.assert_allclose(found["line"][f"first_order_{name}"], value[::4], atol=1e-12)
        np.testing.assert_allclose(stored[f"first_order_{name}"], value, atol=1e-12)
    assert found["log_evidence"]["first_order"] == pytest.approx(float(want.log_evidence))
    np.testing.assert_allclose(stored.networks_mean, found["line"]["networks_mean"])
    svg = (folder / "posterior.svg").read_text()
    assert "Posterior of relu networks of width 40" in svg
    assert "posterior.svg" in result.stderr and "numbers.zarr" in result.stderr

    again = run(*words, "--save", "numbers.zarr")
    assert again.exit_code == 2
    assert "save: numbers.zarr exists; wanted a new path, or --overwrite." in again.stderr


def test_table_of_real_labels(folder):
    words = (*SMALL, "--data", "reals.npz", "--C-b", 0.1, "--C-W", 1.5, "--out", "f.png")
    result = run(*words)
    assert result.exit_code == 0, result.output
    for text in ("infinite width", "first order", "400 networks", "M:W:M = ", "rms z", "± "):
        assert text in result.stdout
    assert "C_b=0.1, C_W=1.5" in result.stdout
    assert "given 3 labels with noise of variance 0.1" in result.stdout
    assert f"wrote {folder / 'f.png'}" in result.stdout.replace("\n", "")
    assert (folder / "f.png").read_bytes().startswith(b"\x89PNG")
    assert run(*words).stdout == result.stdout
    assert run(*words, "--seed", 1).stdout != result.stdout


def test_a_warning_is_a_sentence(folder):
    result = run(
        "-a", "relu", "--width", 4, "--points", 2, "--networks", 100, "--train", 3,
        "--data", "classes.npz", "--depth", 2, "--noise", 0.01,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "finitewidth: warning: M:W:M = " in result.stderr
    assert ".py:" not in result.stderr


BAD = {
    "unknown data": (["--data", "mnist"], "wanted digits or the path"),
    "missing data": (["--data", "none.npz"], "no such file: none.npz"),
    "no labels": (["--data", "bare.npy"], "data: bare.npy has no labels; wanted digits, or a .npz"),
    "rows of labels": (["--data", "rows.npz"], "one row for each of the 3 samples in x, got 2"),
    "NaN labels": (["--data", "nan.npz"], "1 NaN or infinite"),
    "one class": (["--data", "equal.npz", "--train", "3"], "all 3 labels drawn from equal.npz are"),
    "one value": (["--data", "equal_reals.npz", "--train", "3"], "are [0.5]; wanted different"),
    "one sample": (["--train", "1"], "train: wanted at least 2, got 1"),
    "too many samples": (["--data", "classes.npz"], "train: got 4, wanted at most the 3"),
    "too many inputs": (["--train", "40"], "got 40 and 9"),
    "negative noise": (["--noise", "-0.1"], "noise: wanted a variance"),
    "noise text": (["--noise", "loud"], "Invalid value for '--noise'"),
    "one point": (["--points", "1"], "points: wanted at least 2, got 1"),
    "networks": (["--networks", "10"], "networks: wanted at least 64, got 10"),
    "depth 1": (["--depth", "1"], "depth: wanted at least 2, got 1"),
    "zero width": (["--width", "0"], "width: wanted at least 1, got 0"),
    "seed": (["--seed", "-1"], "seed: wanted at least 0, got -1"),
    "unknown activation": (["-a", "frelu"], "got 'frelu', wanted one of"),
    "no critical point": (["-a", "quadratic"], "critical"),
    "half a tuning": (["--C-W", "1"], "both or neither"),
    "variance": (["--C-b", "-1", "--C-W", "1"], "C_b: wanted numbers >= 0"),
    "out": (["--out", "figure.gif"], "ends in .svg, .png, .pdf, got figure.gif"),
    "out in no folder": (["--out", "no/figure.svg"], "does not exist"),
    "save": (["--save", "numbers.nc"], "save: wanted a path that ends in .zarr"),
    "save over": (["--save", "old.zarr"], "save: old.zarr exists"),
    "noise 0": (["--noise", "0", "--width", "2"], "wanted noise > 0"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_exits_with_2_and_leaves_no_file(folder, case, monkeypatch):
    # Never reached, so that a case that is not refused fails at once.
    monkeypatch.setattr("finitewidth.report.posterior.posterior", None)
    words, message = BAD[case]
    before = sorted(folder.iterdir())
    result = run(*words)
    assert result.exit_code == 2, result.output
    text = " ".join(result.stderr.replace("│", " ").split())
    assert message in text
    assert result.stdout == ""
    assert "Traceback" not in result.output
    assert sorted(folder.iterdir()) == before
