"""The page: self-contained, complete, reproducible, and written as a whole or not at all."""

import os
import re
import shlex
from html.parser import HTMLParser

import jax
import numpy as np
import pytest

from finitewidth.cli.main import app
from finitewidth.report import build_report
from finitewidth.report.figures import ALL, draw
from finitewidth.report.overview import draw_overview
from finitewidth.report.progress import progress_bar
from finitewidth.report.style import INK, to_svg
from finitewidth.report.writing import write_whole

VOID = {"meta", "br", "img", "link", "hr", "input"}


class Page(HTMLParser):
    """Collects elements and checks that tags nest."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.code, self.wrong = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "code":
            self.code.append("")

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        while self.open and self.open[-1] != tag and self.open[-1] in ("td", "p", "li"):
            self.open.pop()  # their end tags may be left out
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data):
        if self.open and self.open[-1] == "code":
            self.code[-1] += data


@pytest.fixture(scope="module")
def page(small):
    return Page(small.html)


def test_tags_nest(page):
    assert page.wrong == []
    assert page.open == []


def test_no_reference_to_anything_outside(page, small):
    names = [tag for tag, _ in page.elements]
    for tag in ("script", "link", "img", "iframe", "object", "base", "form"):
        assert tag not in names
    for tag, attributes in page.elements:
        for name, value in attributes.items():
            if name in ("href", "src", "xlink:href", "data", "srcset", "action"):
                assert value.startswith("#"), (tag, name, value)
            elif not name.startswith("xmlns"):
                assert "//" not in (value or ""), (tag, name, value)
    assert "@import" not in small.html
    assert not re.search(r"url\((?!#)", small.html)


def test_every_internal_link_has_a_target(page):
    targets = {attributes.get("id") for _, attributes in page.elements}
    links = [a["href"][1:] for tag, a in page.elements if tag == "a"]
    assert links
    assert set(links) <= targets


def test_all_figures_are_there_with_a_title(page, small):
    figures = [a for tag, a in page.elements if tag == "svg"]
    assert len(figures) == 2 * len(ALL) + 2
    titles = [a["aria-label"] for a in figures]
    assert len(set(titles)) == len(titles)
    # Figures follow the colour of the text of the page: the stand-in colour is gone.
    assert INK not in small.html
    assert "currentColor" in small.html


def test_every_axis_has_a_label(small):
    drawings = [*draw_overview(small.analyses)]
    for run in small.analyses:
        drawings += draw(run)
    for drawing in drawings:
        assert drawing.figure.axes
        for axes in drawing.figure.axes:
            assert axes.get_xlabel(), drawing.title
            assert axes.get_ylabel(), drawing.title
            assert axes.has_data(), drawing.title
        assert drawing.caption.endswith(".")


def test_measured_points_have_error_bars_beside_the_theory(small):
    for drawing in draw(small.analyses[0]):
        (axes,) = drawing.figure.axes
        if "kernel flow" in drawing.title or "vertex" in drawing.title:
            assert len(axes.containers) >= 3  # error bars of three inputs
            assert len(axes.lines) > 3


def test_figures_are_the_same_twice(small):
    a, b = (to_svg(draw(small.analyses[0])[0].figure, "t") for _ in range(2))
    assert a == b


def test_all_rows_are_on_the_page(small):
    for run in small.analyses:
        assert f"All {len(run.comparison)} entries" in small.html
    rows = re.search(r'<table class="rows">(.*?)</table>', small.html, re.S)[1]
    assert rows.count("<tr>") + rows.count('<tr class="off">') == 1 + len(
        small.analyses[0].comparison
    )


def test_settings_and_versions_are_on_the_page(small):
    from importlib.metadata import version

    for name in ("jax", "numpy", "finitewidth"):
        assert f">{name}</th><td>{version(name)}<" in small.html
    for text in ("800 at each of the widths 10 and 20", "200 at each", ">seed</th><td>2<"):
        assert text in small.html


def test_conclusions_give_the_initialization(page):
    text = "\n".join(page.code)
    assert "std=math.sqrt(2 / layer.in_features)" in text  # ReLU
    assert "std=math.sqrt(1 / layer.in_features)" in text  # sin


def _code(page, start):
    (found,) = [code for code in page.code if code.startswith(start)]
    return found


@pytest.mark.slow
def test_command_and_snippet_make_the_page_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("some data.npy", np.random.default_rng(0).normal(size=(4, 3)))
    first = build_report(
        ["relu", "leaky_relu(0.2)"], 2, 6, "some data.npy", samples=2, networks=40, ntk_networks=4,
        seed=7, out="page.html",
    ).html  # fmt: skip
    assert (tmp_path / "page.html").read_text() == first
    found = Page(first)

    os.unlink("page.html")
    exec(_code(found, "from finitewidth.report import build_report"), {})
    assert (tmp_path / "page.html").read_text() == first

    os.unlink("page.html")
    from typer.testing import CliRunner

    words = shlex.split(_code(found, "finitewidth report"))
    result = CliRunner().invoke(app, words[1:])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "page.html").read_text() == first


def test_torch_snippet_is_python(page):
    for code in page.code:
        if "nn.init" in code:
            compile(code, "snippet", "exec")


def test_page_does_not_depend_on_the_precision_of_the_caller(x):
    def html():
        return build_report("relu", 2, 6, x[:2, :2], networks=20, ntk_networks=2).html

    with jax.enable_x64(False):
        single = html()
        assert jax.numpy.ones(1).dtype == np.float32
    assert single == html()


def test_names_in_data_are_escaped(tmp_path):
    path = tmp_path / "<b>&.npy"
    np.save(path, np.eye(2))
    html = build_report("relu", 2, 6, path, networks=20, ntk_networks=2).html
    assert "<b>" not in html
    assert "&lt;b&gt;&amp;.npy" in html


def test_one_sample_and_a_zero_sample():
    html = build_report("relu", 2, 6, [[1.0, 2.0]], networks=20, ntk_networks=2).html
    assert "angle between" not in html
    with np.errstate(divide="raise", invalid="raise", over="raise"):
        build_report("relu", 2, 6, [[0.0, 0.0], [1.0, 2.0]], networks=20, ntk_networks=2)


def test_off_critical_and_no_critical_point():
    x = [[1.0, 2.0]]
    page = build_report("relu", 2, 6, x, networks=20, ntk_networks=2, C_b=0.1, C_W=1.5)
    assert "not critical: it has" in page.html
    page = build_report("quadratic", 2, 6, x, networks=20, ntk_networks=2, C_b=0.1, C_W=1.5)
    assert "no critical initialization" in page.html


BAD = {
    "unknown activation": ({"activations": "frelu"}, ValueError, "wanted one of"),
    "no activation": ({"activations": []}, ValueError, "at least one"),
    "not an activation": ({"activations": [3]}, TypeError, "wanted a name"),
    "no critical point": ({"activations": "softplus"}, ValueError, "critical"),
    "depth 1": ({"depth": 1}, ValueError, "depth: wanted at least 2"),
    "depth 2.5": ({"depth": 2.5}, TypeError, "whole number"),
    "zero width": ({"width": 0}, ValueError, "width: wanted at least 1"),
    "negative variance": ({"C_b": -0.1, "C_W": 1.0}, ValueError, "C_b: wanted numbers >= 0"),
    "NaN variance": ({"C_b": 0.0, "C_W": float("nan")}, ValueError, "finite"),
    "half a tuning": ({"C_W": 1.0}, ValueError, "both or neither"),
    "NaN data": ({"data": [[np.nan, 1.0]]}, ValueError, "NaN or infinite"),
    "vector data": ({"data": [1.0, 2.0]}, ValueError, "shape"),
    "empty data": ({"data": np.ones((0, 3))}, ValueError, "at least one sample"),
    "text data": ({"data": [["a", "b"]]}, TypeError, "real numbers"),
    "zero data": ({"data": np.zeros((2, 2))}, ValueError, "all samples are zero"),
    "missing data": ({"data": "no.npy"}, FileNotFoundError, "no such file"),
    "too few samples": ({"samples": 9}, ValueError, "wanted at most the 3"),
    "too many samples": (
        {"data": np.eye(20), "samples": 20}, ValueError, "wanted at most 12",
    ),
    "too few networks": ({"networks": 1}, ValueError, "networks: wanted at least"),
    "too few ntk networks": ({"ntk_networks": 1}, ValueError, "ntk_networks: wanted at least"),
    "negative seed": ({"seed": -1}, ValueError, "seed"),
    "overflow": ({"C_b": 0.0, "C_W": 1e200, "depth": 4}, ValueError, "overflow|finite"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_says_what_is_wrong_and_leaves_no_file(tmp_path, x, case):
    changes, error, message = BAD[case]
    arguments = {"activations": "relu", "depth": 2, "width": 6, "data": x, "networks": 20,
                 "ntk_networks": 2, "out": tmp_path / "page.html"} | changes  # fmt: skip
    with pytest.raises(error, match=message):
        build_report(**arguments)
    assert list(tmp_path.iterdir()) == []


def test_bad_destination_is_noticed_before_the_work(tmp_path, x, monkeypatch):
    monkeypatch.setattr("finitewidth.report.page.analyze_network", None)  # must not be reached
    for out, message in ((tmp_path, "got the folder"), (tmp_path / "no" / "a.html", "not exist")):
        with pytest.raises(ValueError, match=message):
            build_report("relu", 2, 6, x, out=out)


def test_writing_replaces_as_a_whole(tmp_path, monkeypatch):
    path = tmp_path / "page.html"
    write_whole(path, "old")
    assert path.stat().st_mode & 0o444 == 0o444 & ~_umask()

    def fails(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(OSError, match="disk full"):
        write_whole(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_interrupted_writing_leaves_the_old_page(tmp_path, monkeypatch):
    path = tmp_path / "page.html"
    path.write_text("old")

    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_whole(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_progress_goes_to_stderr(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # as on a terminal
    with progress_bar(True) as report:
        report("relu: theory", 0, 1)
        report("relu: theory", 1, 1)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "relu: theory" in shown.err
    with progress_bar(False) as report:
        report("relu: theory", 0, 1)
    assert capsys.readouterr() == ("", "")


def test_data_with_labels_are_trained_on(tmp_path):
    options = {"data": "digits", "samples": 2, "networks": 20, "ntk_networks": 2}
    page = build_report("sin", 2, 32, trained_networks=20, **options)
    (trained,) = page.trained
    assert trained is not None and trained.trained.samples == 20
    assert trained.net.widths == (64, 32, 2)
    assert "After training" in page.html
    assert "--trained-networks 20" in page.html
    without = build_report("sin", 2, 32, trained_networks=0, **options)
    assert without.trained == (None,) and "After training" not in without.html
