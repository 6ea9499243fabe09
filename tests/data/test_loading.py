"""Loading data: what comes out, and what is said about files that hold no matrix."""

import jax
import numpy as np
import pytest

from finitewidth.data import load_data


def test_digits_have_unit_mean_square():
    data = load_data("digits")
    assert data.x.shape == (1797, 64)
    np.testing.assert_allclose(np.mean(np.sum(data.x**2, axis=1) / 64), 1.0, rtol=1e-12)
    # Nothing is subtracted: blank pixels stay blank, so angles are those of the images.
    assert data.x.min() == 0.0


def test_scaling_does_not_depend_on_the_draw():
    everything = load_data("digits").x
    few = load_data("digits", samples=5, seed=3).x
    for row in few:
        assert (everything == row).all(axis=1).any()


def test_draw_is_without_replacement_and_follows_the_seed():
    first, same, other = (load_data("digits", samples=200, seed=s).x for s in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)
    assert len(np.unique(load_data("digits", samples=1797).x, axis=0)) == len(
        np.unique(load_data("digits").x, axis=0)
    )


@pytest.mark.parametrize("x64", [False, True])
def test_double_precision_whatever_jax_is_set_to(tmp_path, x64):
    values = np.array([[1.0 + 1e-12, 2.0], [3.0, 4.0]])
    np.save(tmp_path / "x.npy", values)
    with jax.enable_x64(x64):
        x = load_data(tmp_path / "x.npy").x
    assert x.dtype == np.float64
    np.testing.assert_array_equal(x, values)


def test_file_formats_agree(tmp_path):
    values = np.random.default_rng(0).normal(size=(5, 3))
    np.save(tmp_path / "a.npy", values)
    np.savez(tmp_path / "one.npz", inputs=values)
    np.savez(tmp_path / "named.npz", other=np.zeros(4), x=values)
    np.savetxt(tmp_path / "a.csv", values, delimiter=",", fmt="%.18e")
    np.savetxt(
        tmp_path / "head.csv", values, delimiter=",", fmt="%.18e", header="p,q,r", comments=""
    )
    for name in ("a.npy", "one.npz", "named.npz", "a.csv", "head.csv"):
        data = load_data(str(tmp_path / name))
        np.testing.assert_array_equal(data.x, values, err_msg=name)
        assert "taken as they are" in data.description


def test_labels_are_drawn_with_their_samples(tmp_path):
    everything = load_data("digits")
    assert everything.labels.shape == (1797,)
    assert set(everything.labels.tolist()) == set(range(10))
    few = load_data("digits", samples=40, seed=2)
    for row, label in zip(few.x, few.labels, strict=True):
        same = (everything.x == row).all(axis=1)
        assert set(everything.labels[same].tolist()) == {label}
    assert "10 classes" in repr(everything)

    x = np.arange(10.0)[:, None]
    np.savez(tmp_path / "two.npz", y=np.hstack([x**2, -x]), x=x)
    drawn = load_data(tmp_path / "two.npz", samples=6, seed=1)
    np.testing.assert_array_equal(drawn.labels, np.hstack([drawn.x**2, -drawn.x]))
    assert not np.array_equal(drawn.x, x[:6])


def test_what_labels_are_depends_on_their_type(tmp_path):
    x = np.eye(3)
    for y, shape in (([4, 0, 4], (3,)), ([4.0, 0.0, 4.0], (3, 1)), ([[1, 2]] * 3, (3, 2))):
        np.savez(tmp_path / "a.npz", x=x, y=np.array(y))
        labels = load_data(tmp_path / "a.npz").labels
        assert labels.shape == shape
        assert labels.dtype.kind == ("i" if len(shape) == 1 else "f")
    # Without a name there is nothing that says that one array labels another.
    np.savez(tmp_path / "one.npz", y=x)
    assert load_data(tmp_path / "one.npz").labels is None
    np.save(tmp_path / "a.npy", x)
    assert load_data(tmp_path / "a.npy").labels is None


def test_integers_are_numbers(tmp_path):
    np.save(tmp_path / "i.npy", np.arange(6).reshape(2, 3))
    assert load_data(tmp_path / "i.npy").x.dtype == np.float64


def _save(path, array, **kw):
    np.save(path, array, **kw)


BAD = {
    "missing.npy": (None, FileNotFoundError, "no such file"),
    "empty_file.npy": (lambda p: p.write_bytes(b""), ValueError, "is empty"),
    "folder.npy": (lambda p: p.mkdir(), ValueError, "wanted a file"),
    "text.npy": (lambda p: p.write_text("not an array at all"), ValueError, "not an array"),
    "text.npz": (lambda p: p.write_text("not an archive"), ValueError, "not an array"),
    "object.npy": (
        lambda p: _save(p, np.array([[1, "a"]], dtype=object), allow_pickle=True),
        TypeError,
        "Python objects",
    ),
    "strings.npy": (lambda p: _save(p, np.array([["a", "b"]])), TypeError, "real numbers"),
    "complex.npy": (lambda p: _save(p, np.array([[1j]])), TypeError, "real numbers"),
    "vector.npy": (lambda p: _save(p, np.ones(4)), ValueError, "shape (4,)"),
    "images.npy": (lambda p: _save(p, np.ones((2, 3, 4))), ValueError, "shape (2, 3, 4)"),
    "no_rows.npy": (lambda p: _save(p, np.ones((0, 4))), ValueError, "at least one sample"),
    "no_columns.npy": (lambda p: _save(p, np.ones((4, 0))), ValueError, "at least one sample"),
    "nan.npy": (lambda p: _save(p, np.array([[1.0, np.nan]])), ValueError, "1 NaN or infinite"),
    "inf.npy": (lambda p: _save(p, np.array([[np.inf, 1.0]])), ValueError, "1 NaN or infinite"),
    "two.npz": (lambda p: np.savez(p, a=np.ones(1), b=np.ones(1)), ValueError, "2 arrays (a, b)"),
    "none.npz": (lambda p: np.savez(p), ValueError, "no array"),
    "object.npz": (
        lambda p: np.savez(p, x=np.array([[None]], dtype=object)),
        TypeError,
        "Python objects",
    ),
    "rows_of_y.npz": (
        lambda p: np.savez(p, x=np.eye(5), y=np.zeros(4)),
        ValueError,
        "y: wanted one row for each of the 5 samples in x, got 4",
    ),
    "nan_in_y.npz": (
        lambda p: np.savez(p, x=np.eye(2), y=np.array([[1.0], [np.nan]])),
        ValueError,
        "y: wanted finite numbers, got 1 NaN or infinite",
    ),
    "words_in_y.npz": (
        lambda p: np.savez(p, x=np.eye(2), y=np.array(["cat", "dog"])),
        TypeError,
        "wanted whole numbers for classes",
    ),
    "cube_of_y.npz": (
        lambda p: np.savez(p, x=np.eye(2), y=np.zeros((2, 1, 1))),
        ValueError,
        "shape (2, 1, 1)",
    ),
    "objects_in_y.npz": (
        lambda p: np.savez(p, x=np.eye(2), y=np.array([1, None], dtype=object)),
        TypeError,
        "Python objects",
    ),
    "text.csv": (lambda p: p.write_text("1,2\n3,cat\n"), TypeError, "line 2 column 2 holds 'cat'"),
    "ragged.csv": (lambda p: p.write_text("1,2\n3\n"), ValueError, "line 2 has 1 columns"),
    "header_only.csv": (lambda p: p.write_text("a,b\n"), ValueError, "no rows"),
    "blank.csv": (lambda p: p.write_text("\n\n"), ValueError, "no rows"),
    "nan.csv": (lambda p: p.write_text("1,nan\n"), ValueError, "NaN"),
    "hole.csv": (lambda p: p.write_text("1,2\n3,\n"), TypeError, "holds ''"),
    "binary.csv": (lambda p: p.write_bytes(b"\xff\xfe\x00\x81"), ValueError, "not a table"),
    "data.parquet": (lambda p: p.write_text("x"), ValueError, "wanted digits or the path"),
    "mnist": (None, ValueError, "wanted digits or the path"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_data_says_what_is_wrong(tmp_path, name):
    make, error, message = BAD[name]
    if make is not None:
        make(tmp_path / name)
    with pytest.raises(error) as caught:
        load_data(tmp_path / name)
    assert message in str(caught.value)
    assert name in str(caught.value)


@pytest.mark.parametrize(
    ("samples", "seed", "error", "message"),
    [
        (0, 0, ValueError, "samples: wanted at least 1, got 0"),
        (-3, 0, ValueError, "samples: wanted at least 1, got -3"),
        (2.5, 0, TypeError, "samples: wanted a whole number, got 2.5"),
        (1798, 0, ValueError, "got 1798, wanted at most the 1797"),
        (5, -1, ValueError, "seed: wanted at least 0, got -1"),
    ],
)
def test_bad_draw(samples, seed, error, message):
    with pytest.raises(error, match=message):
        load_data("digits", samples=samples, seed=seed)
