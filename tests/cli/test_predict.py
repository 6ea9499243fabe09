"""`finitewidth predict`: what it prints, writes and refuses."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from finitewidth.cli.main import app
from finitewidth.learning import expected_loss_history, predict
from finitewidth.learning_rates import equivalence
from finitewidth.network import MLP

runner = CliRunner()

X = np.array([[1.0, 0.3, -0.5], [-0.2, 1.1, 0.6], [0.7, -0.9, 0.4]])
SMALL = ("--width", 20, "--points", 3, "--networks", 20, "--train", 3, "--steps", 6)


def run(*words):
    return runner.invoke(app, ["predict", *(str(word) for word in words)])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    np.savez(tmp_path / "classes.npz", x=X, y=np.array([4, 4, -1]))
    np.savez(tmp_path / "reals.npz", x=X, y=np.array([[0.5, 1.0], [-0.5, 1.0], [1.0, -1.0]]))
    np.savez(tmp_path / "twice.npz", x=X[[0, 0, 1]], y=np.array([0.5, -0.5, 1.0]))
    np.savez(tmp_path / "equal.npz", x=X, y=np.array([4, 4, 4]))
    np.save(tmp_path / "bare.npy", X)
    (tmp_path / "old.zarr").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_classes_json_figure_and_store_hold_the_numbers_of_the_package(folder):
    import xarray as xr

    words = (*SMALL, "--data", "classes.npz", "--rates", "equivalence", "--json")
    result = run(*words, "--save", "numbers.zarr")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["widths"] == [3, 20, 20, 2] and found["networks"] == 20
    assert sorted(found["inputs"]) == ["class -1", "class 4", "class 4"]
    assert found["line"]["outputs"] == ["class -1", "class 4"]
    assert {tuple(row) for row in found["labels"]} == {(0.5, -0.5), (-0.5, 0.5)}
    stored = xr.open_zarr("numbers.zarr", consolidated=False)
    x, y = stored.x.values, stored.y.values
    np.testing.assert_array_equal(y, found["labels"])
    u, v = found["u"], found["v"]
    assert found["inputs"][u] != found["inputs"][v]
    net = MLP.critical((3, 20, 20, 2), "tanh")
    net = equivalence(net, x).apply(net)
    np.testing.assert_allclose(found["lambda_b"], net.lambda_b)
    assert found["lambda_b"] != [1.0, 1.0, 1.0]
    t = np.linspace(-0.5, 1.5, 9)[:, None]
    want = predict(net, x, y, (1 - t) * x[u] + t * x[v])
    np.testing.assert_allclose(found["line"]["infinite_width_mean"], want.mean[::4], atol=1e-12)
    np.testing.assert_allclose(stored.infinite_mean, want.mean, atol=1e-12)
    variance = np.asarray(want.standard_deviation)[:, None] ** 2 * np.ones(2)
    np.testing.assert_allclose(stored.infinite_variance, variance, atol=1e-12)
    history = expected_loss_history(net, x, y, found["common_eta"], 6)
    np.testing.assert_allclose(found["loss"]["infinite_width"], history.mean, rtol=1e-10)
    np.testing.assert_array_equal(stored.networks_loss, found["loss"]["networks"])
    assert "wrote" in result.stderr
    assert b"Trained tanh networks of width 20" in (folder / "prediction.svg").read_bytes()
    # A store is replaced only on demand, before anything is computed.
    assert run(*words, "--save", "numbers.zarr").exit_code == 2


def test_table_and_figure_of_real_labels_again_and_with_another_seed(folder):
    words = (*SMALL, "--data", "reals.npz", "--C-b", 0.1, "--C-W", 1.5, "--out", "f.png")
    result = run(*words)
    assert result.exit_code == 0, result.output
    for text in (
        "C_b=0.1, C_W=1.5", "trained on 3 labels until |z - y| <= 0.001: 20 networks", "rms z",
        "loss, infinite width", "loss, networks", "Loss by steps of eta = ", " ± ",
    ):  # fmt: skip
        assert text in result.stdout
    assert f"wrote {folder / 'f.png'}" in result.stdout.replace("\n", "")
    assert (folder / "f.png").read_bytes().startswith(b"\x89PNG")
    assert run(*words).stdout == result.stdout
    assert run(*words, "--seed", 1).stdout != result.stdout


BAD = {
    "unknown data": (["--data", "mnist"], "wanted digits or the path"),
    "missing data": (["--data", "none.npz"], "no such file: none.npz"),
    "no labels": (["--data", "bare.npy"], "data: bare.npy has no labels; wanted digits, or a .npz"),
    "one class": (["--data", "equal.npz", "--train", "3"], "all 3 labels drawn from equal.npz are"),
    "one sample": (["--train", "1"], "train: wanted at least 2, got 1"),
    "too many samples": (["--data", "classes.npz"], "train: got 4, wanted at most the 3"),
    "too many inputs": (["--train", "45"], "got 45 and 7"),
    "equal inputs": (["--data", "twice.npz", "--train", "3"], "equal"),
    "one point": (["--points", "1"], "points: wanted at least 2, got 1"),
    "networks": (["--networks", "10"], "networks: wanted at least 16, got 10"),
    "networks text": (["--networks", "many"], "Invalid value for '--networks'"),
    "steps": (["--steps", "0"], "steps: wanted at least 1, got 0"),
    "rates": (["--rates", "best"], "rates: wanted one of uniform, equivalence, layerwise"),
    "rates off criticality": (
        ["--rates", "equivalence", "--C-b", "0.5", "--C-W", "3"], "wanted a critical network"
    ),
    "depth 1": (["--depth", "1"], "depth: wanted at least 2, got 1"),
    "zero width": (["--width", "0"], "width: wanted at least 1, got 0"),
    "seed": (["--seed", "-1"], "seed: wanted at least 0, got -1"),
    "unknown activation": (["-a", "frelu"], "got 'frelu', wanted one of"),
    "half a tuning": (["--C-W", "1"], "both or neither"),
    "variance": (["--C-b", "-1", "--C-W", "1"], "C_b: wanted numbers >= 0"),
    "out": (["--out", "figure.gif"], "ends in .svg, .png, .pdf, got figure.gif"),
    "out in no folder": (["--out", "no/figure.svg"], "does not exist"),
    "save": (["--save", "numbers.nc"], "save: wanted a path that ends in .zarr"),
    "save over": (["--save", "old.zarr"], "save: old.zarr exists"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_exits_with_2_and_leaves_no_file(folder, case, monkeypatch):
    # Never reached, so that a case that is not refused fails at once.
    monkeypatch.setattr("finitewidth.report.prediction.train", None)
    words, message = BAD[case]
    before = sorted(folder.iterdir())
    result = run(*words)
    assert result.exit_code == 2, result.output
    text = " ".join(result.stderr.replace("│", " ").split())
    assert message in text
    assert result.stdout == ""
    assert "Traceback" not in result.output
    assert sorted(folder.iterdir()) == before
