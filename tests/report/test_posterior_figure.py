"""The figure of a posterior: it draws the numbers, names what it draws, and is saved whole."""

import io

import numpy as np
import pytest
from matplotlib.image import imread

from finitewidth.network import MLP
from finitewidth.report.posterior import analyze_posterior
from finitewidth.report.posterior_figure import draw_posterior, save_figure

X = np.array([[1.0, 0.3, -0.5], [-0.2, 1.1, 0.6], [0.7, -0.9, 0.4]])
Y = np.array([[0.4, 1.1, 0.0], [0.3, -0.8, 2.0], [-1.0, 0.3, 0.5]])


@pytest.fixture(scope="module")
def found():
    net = MLP((3, 48, 40, 3), "relu", C_b=0.1, C_W=1.8)
    names = ("apples", "pears", "plums")
    return analyze_posterior(
        net, X, Y, 0.5, 3, 500, names=names, names_of_inputs=("red", "green", "blue")
    )


@pytest.fixture(scope="module")
def drawing(found):
    return draw_posterior(found)


def test_panels_hold_the_numbers(found, drawing):
    axes = np.reshape(drawing.figure.axes, (2, 2))
    for column, output in enumerate((1, 2)):
        above, below = axes[:, column]
        curves = {line.get_label(): line.get_ydata() for line in above.get_lines()}
        np.testing.assert_array_equal(curves["infinite width, ± σ"], found.limit.mean[:, output])
        np.testing.assert_array_equal(curves["first order, ± σ"], found.first_order.mean[:, output])
        np.testing.assert_array_equal(curves["label"], Y[:2, output])
        edge = found.first_order.mean[:, output] + found.first_order.variance[:, output] ** 0.5
        assert any(np.array_equal(line.get_ydata(), edge) for line in above.get_lines())
        # 40 is the width of the last hidden layer.
        curves = {line.get_label(): line.get_ydata() for line in below.get_lines()}
        shift = 40 * (found.first_order.mean - found.limit.mean)[:, output]
        np.testing.assert_allclose(curves["mean, first order"], shift)
        points = [c.lines[0].get_ydata() for c in below.containers]
        limit = found.limit.mean[found.at, output]
        np.testing.assert_allclose(points[0], 40 * (found.sampled.mean[:, output] - limit))
        sigma = 40 * (found.sampled.variance**0.5 - found.limit.variance[found.at] ** 0.5)
        np.testing.assert_allclose(points[1], sigma[:, output])


def test_error_bars_are_those_of_the_networks(found, drawing):
    above, _, below, _ = drawing.figure.axes
    half = [np.ptp(bar[:, 1]) / 2 for bar in above.containers[0].lines[2][0].get_segments()]
    np.testing.assert_allclose(half, found.sampled.variance[:, 1] ** 0.5)
    half = [np.ptp(bar[:, 1]) / 2 for bar in above.containers[1].lines[2][0].get_segments()]
    np.testing.assert_allclose(half, found.sampled.mean_error[:, 1])
    half = [np.ptp(bar[:, 1]) / 2 for bar in below.containers[1].lines[2][0].get_segments()]
    error = found.sampled.variance_error / (2 * found.sampled.variance**0.5)
    np.testing.assert_allclose(half, 40 * error[:, 1], rtol=1e-6)


def test_an_exact_label_has_no_error_bar_of_sigma():
    net = MLP((3, 40, 1), "relu", C_b=0.1, C_W=1.8)
    found = analyze_posterior(net, X[:2], Y[:2, 0], 0.0, 5, 200)
    below = draw_posterior(found).figure.axes[1]
    low, high = below.get_ylim()
    assert high - low < 100
    bars = below.containers[1].lines[2][0].get_segments()
    drawn = [len(bar) == 2 and bool(np.isfinite(bar).all()) for bar in bars]
    assert drawn == [True, False, True, False, True]


def test_everything_is_named(drawing):
    first, second, below, _ = drawing.figure.axes
    assert [a.get_title() for a in (first, second)] == ["pears", "plums"]
    assert below.get_xlabel() == "t, along (1 − t) u + t v, in units of |v − u|"
    ticks = [tick.get_text() for tick in below.get_xticklabels()]
    assert ticks == ["−0.5", "0\nu: red", "0.5", "1\nv: green", "1.5"]
    assert first.get_ylabel() and below.get_ylabel()
    above, under = (
        [text.get_text() for text in legend.get_texts()] for legend in drawing.figure.legends
    )
    assert "networks, $n$ = 40" in above and len(above) == 4
    assert "standard deviation, networks" in under and len(under) == 4
    assert "The third training input lies off the line." in drawing.caption


def test_saved_on_white_by_suffix_and_the_same_every_time(drawing, tmp_path):
    starts = {".svg": b"<?xml", ".png": b"\x89PNG", ".pdf": b"%PDF"}
    for suffix, start in starts.items():
        path = save_figure(drawing, tmp_path / f"figure{suffix}")
        content = path.read_bytes()
        assert content.startswith(start)
        save_figure(drawing, path)
        assert path.read_bytes() == content, suffix
    assert len(list(tmp_path.iterdir())) == 3
    assert b"Posterior of relu networks of width 40" in (tmp_path / "figure.svg").read_bytes()
    pixels = imread(io.BytesIO((tmp_path / "figure.png").read_bytes()))
    np.testing.assert_array_equal(pixels[0, 0], [1, 1, 1, 1])


def test_a_name_without_a_known_suffix(drawing, tmp_path):
    with pytest.raises(ValueError, match=r"ends in \.svg, \.png, \.pdf, got .*figure\.gif"):
        save_figure(drawing, tmp_path / "figure.gif")
    with pytest.raises(ValueError, match="does not exist"):
        save_figure(drawing, tmp_path / "no" / "figure.svg")
