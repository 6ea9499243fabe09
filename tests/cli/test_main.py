"""The command line: output, exit codes, and nothing slow at the start."""

import json
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from finitewidth.cli.main import app, split_names

runner = CliRunner()


def run(*words):
    return runner.invoke(app, [str(word) for word in words])


def test_start_imports_nothing_that_computes():
    code = (
        "import sys, finitewidth.cli.main\n"
        "heavy = {'jax', 'numpy', 'scipy', 'equinox', 'matplotlib', 'sklearn', 'jinja2'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_names_the_commands():
    result = run("--help")
    assert result.exit_code == 0
    for command in ("critical", "flow", "posterior", "report"):
        assert command in result.output


def test_version():
    from importlib.metadata import version

    assert run("--version").output.strip() == f"finitewidth {version('finitewidth')}"


def test_critical_json_has_the_keys_and_the_numbers():
    result = run("critical", "gelu", "--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert set(found) >= {
        "activation", "universality_class", "C_b", "C_W", "K_star", "chi_parallel", "chi_perp",
        "exponents", "fixed_points",
    }  # fmt: skip
    assert found["universality_class"] == "half-stable"
    assert found["K_star"] == pytest.approx((3 + 17**0.5) / 2, rel=1e-8)
    assert found["C_b"] == pytest.approx(0.17292239, abs=1e-8)
    assert found["C_W"] == pytest.approx(1.98305826, abs=1e-8)


def test_critical_json_of_an_activation_without_critical_point():
    found = json.loads(run("critical", "quadratic", "--json").stdout)
    assert found["universality_class"] == "none"
    assert found["C_W"] is None


def test_critical_for_people():
    text = run("critical", "leaky_relu(0.2)").output
    assert "leaky_relu(0.2): universality class scale-invariant" in text
    assert "C_W = 1.92307692, K* = any" in text
    assert "std=math.sqrt(1.923076923 / layer.in_features)" in text
    assert "universality class none" in run("critical", "quadratic").output


def test_report_writes_the_page_and_says_where(tmp_path):
    out = tmp_path / "page.html"
    np.save(tmp_path / "x.npy", np.eye(3))
    result = run(
        "report", "--activation", "relu,linear", "--activation", "leaky_relu(0.5)", "--depth", 2,
        "--width", 6, "--data", tmp_path / "x.npy", "--samples", 2, "--networks", 20,
        "--ntk-networks", 2, "--out", out,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert f"wrote {out}" in result.stdout.replace("\n", "")
    page = out.read_text()
    for name in ("relu", "linear", "leaky_relu(0.5)"):
        assert f">{name}</h2>" in page
    assert list(tmp_path.glob(".page*")) == []


def test_open_shows_the_page(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr("webbrowser.open", shown.append)
    np.save(tmp_path / "x.npy", np.eye(2))
    result = run(
        "report", "-a", "relu", "--depth", 2, "--width", 6, "--data", tmp_path / "x.npy",
        "--networks", 20, "--ntk-networks", 2, "--out", tmp_path / "p.html", "--open",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert shown == [(tmp_path / "p.html").as_uri()]


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (["relu,tanh", "gelu"], ["relu", "tanh", "gelu"]),
        (["elu(0.5), swish(1.5)"], ["elu(0.5)", "swish(1.5)"]),
        (["leaky_relu(0.2"], ["leaky_relu(0.2"]),
        ([" , ,"], []),
        (["a),b"], ["a)", "b"]),
        (["f(1,2),g"], ["f(1,2)", "g"]),
    ],
)
def test_lists_of_activations(given, names):
    assert split_names(given) == names


BAD = {
    "unknown activation": (["--activation", "frelu"], "got 'frelu', wanted one of"),
    "bad parameter": (["--activation", "leaky_relu(x)"], "leaky_relu(x)"),
    "open bracket": (["--activation", "leaky_relu(0.2"], "leaky_relu(0.2"),
    "no activation": (["--activation", ","], "at least one name"),
    "none at all": ([], "Missing option"),
    "one unknown of two": (["--activation", "relu,frelu"], "got 'frelu'"),
    "no critical point": (["--activation", "quadratic"], "critical"),
    "zero width": (["--activation", "relu", "--width", "0"], "width: wanted at least 1, got 0"),
    "depth 1": (["--activation", "relu", "--depth", "1"], "depth: wanted at least 2, got 1"),
    "depth text": (["--activation", "relu", "--depth", "deep"], "Invalid value for '--depth'"),
    "variance": (["-a", "relu", "--C-b", "-1", "--C-W", "1"], "C_b: wanted numbers >= 0"),
    "half a tuning": (["-a", "relu", "--C-b", "1"], "both or neither"),
    "networks": (["-a", "relu", "--networks", "0"], "networks: wanted at least"),
    "samples": (["-a", "relu", "--samples", "0"], "samples: wanted at least 1, got 0"),
    "too few samples": (["-a", "relu", "--samples", "1800"], "wanted at most the 1797"),
    "many samples": (["-a", "relu", "--samples", "1000"], "wanted at most 12"),
    "seed": (["-a", "relu", "--seed", "-1"], "seed: wanted at least 0, got -1"),
    "unknown data": (["-a", "relu", "--data", "mnist"], "wanted digits or the path"),
    "missing data": (["-a", "relu", "--data", "none.npy"], "no such file: none.npy"),
    "empty data": (["-a", "relu", "--data", "empty.npy"], "at least one sample"),
    "NaN data": (["-a", "relu", "--data", "nan.csv"], "NaN"),
    "text data": (["-a", "relu", "--data", "text.csv"], "wanted a number"),
    "not an array": (["-a", "relu", "--data", "junk.npy"], "not an array"),
    "vector data": (["-a", "relu", "--data", "vector.npy"], "shape (4,)"),
    "out is a folder": (["-a", "relu", "--out", "."], "got the folder"),
    "out in no folder": (["-a", "relu", "--out", "no/page.html"], "does not exist"),
    "unknown option": (["-a", "relu", "--dept", "3"], "No such option"),
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    np.save(tmp_path / "empty.npy", np.ones((0, 3)))
    np.save(tmp_path / "vector.npy", np.ones(4))
    (tmp_path / "nan.csv").write_text("1,2\nnan,3\n")
    (tmp_path / "text.csv").write_text("1,2\ncat,3\n")
    (tmp_path / "junk.npy").write_text("not an array")
    monkeypatch.chdir(tmp_path)
    # Never reached, so that a case that is not refused fails at once.
    monkeypatch.setattr("finitewidth.report.page.analyze_network", None)
    return tmp_path


@pytest.mark.parametrize("case", BAD)
def test_bad_input_exits_with_2_and_leaves_no_file(folder, case):
    words, message = BAD[case]
    before = sorted(folder.iterdir())
    result = run("report", *words)
    assert result.exit_code == 2, result.output
    text = " ".join(result.stderr.replace("│", " ").split())
    assert message in text
    assert result.stdout == ""
    assert "Traceback" not in result.output
    assert isinstance(result.exception, SystemExit)
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize("words", [["frelu"], ["monomial(-1)"], ["leaky_relu(1,2,3)"], [""]])
def test_critical_of_nonsense(words):
    result = run("critical", *words, "--json")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "activation:" in result.stderr
    assert "Traceback" not in result.output


def test_a_failed_run_keeps_the_old_page(tmp_path, monkeypatch):
    out = tmp_path / "page.html"
    out.write_text("old")
    monkeypatch.setattr(
        "finitewidth.report.page.analyze_network", lambda *_: (_ for _ in ()).throw(ValueError("x"))
    )
    assert run("report", "-a", "relu", "--out", out).exit_code == 2
    assert out.read_text() == "old"
    assert list(tmp_path.iterdir()) == [out]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "x.npy"
    np.save(path, np.array([[1.0, 0.5, -0.3], [0.2, -0.8, 0.6]]))
    return path


def test_flow_json_table_and_store_hold_the_numbers_of_the_package(inputs, tmp_path):
    import xarray as xr

    import finitewidth as fw

    store = tmp_path / "out.zarr"
    words = ("flow", "-a", "relu", "--widths", "9,7,2", "--data", inputs, "--samples", 2)
    words += ("--rates", "equivalence")
    result = run(*words, "--json", "--out", store)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["widths"] == [3, 9, 7, 2]
    assert found["lambda_b"] == pytest.approx([1 / 3] * 3)

    x = np.load(inputs)
    net = fw.MLP.critical((3, 9, 7, 2), "relu", lambda_b=1 / 3, lambda_W=1 / 3)
    want = fw.flow.ntk(net, x, order=1)
    assert found["layers"][2]["Theta"] == pytest.approx(np.trace(want.mean[2]) / 2)
    stored = xr.open_zarr(store, consolidated=False)
    np.testing.assert_allclose(np.sort(stored.A.values.ravel()), np.sort(want.A.dense().ravel()))
    assert stored.F.dims == ("layer", "sample_1", "sample_3", "sample_2", "sample_4")
    assert stored.fan_in.values.tolist() == [3, 9, 7]

    again = run(*words, "--out", store)
    assert again.exit_code == 2
    assert "--overwrite" in again.stderr
    table = run(*words, "--out", store, "--overwrite")
    assert table.exit_code == 0
    assert "lambda" not in table.stdout and "λ_W" in table.stdout
    assert "wrote" in table.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--widths", "9,x2"), "widths: wanted hidden and output widths"),
        (("--widths", "0x3"), "widths: wanted hidden and output widths"),
        (("--rates", "best"), "rates: wanted one of uniform, equivalence, layerwise, got 'best'"),
        (("--C-b", "0.1"), "wanted both or neither"),
        (("--out", "table.csv"), "out: wanted a path that ends in .zarr"),
        (("--order", "2"), "order: wanted 0"),
    ],
)
def test_flow_refuses_what_makes_no_sense(inputs, words, message):
    result = run("flow", "-a", "relu", "--data", inputs, "--samples", 2, *words)
    assert result.exit_code == 2
    assert message in result.stderr
