"""Read inputs and labels from a .npy, .npz or .csv file, or say what is wrong with the file."""

import csv
import zipfile
from pathlib import Path
from typing import Any

import numpy as np


def read_arrays(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Read the inputs that a file holds, and their labels if it has any; the suffix decides how.

    Args:
        path: a .npy, .npz or .csv file.

    Returns:
        The array of inputs, and the array `y` of a .npz file that holds both `x` and `y`, else
        None; of any shape and any type of numbers.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file cannot be read as what its suffix says, or holds no array or
            several without one named `x`.
        TypeError: if the array holds Python objects or the table text.
    """
    if not path.exists():
        raise FileNotFoundError(f"data: no such file: {path}")
    if path.is_dir():
        raise ValueError(f"data: wanted a file, got the folder {path}")
    if path.stat().st_size == 0:
        raise ValueError(f"data: {path} is empty, wanted a matrix with one sample a row.")
    return (_read_csv(path), None) if path.suffix.lower() == ".csv" else _read_numpy(path)


def _read_numpy(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    # Besides ValueError, numpy lets through what zipfile, pickle and the operating system raise
    # for a damaged file; all of it means that the file is not an array.
    try:
        content: Any = np.load(path, allow_pickle=False)
        if isinstance(content, np.ndarray):
            return content, None
        with content:
            labelled = {"x", "y"} <= set(content.files)
            return _the_array(path, content), content["y"] if labelled else None
    except (TypeError, FileNotFoundError):
        raise
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
        if "Object arrays" in str(error):
            raise TypeError(f"data: {path} holds Python objects, wanted real numbers.") from error
        if str(error).startswith("data:"):
            raise
        raise ValueError(f"data: {path} is not an array that numpy can read: {error}") from error


def _the_array(path: Path, content: Any) -> np.ndarray:
    names = list(content.files)
    if len(names) == 1:
        return content[names[0]]
    if "x" in names:
        return content["x"]
    held = f"{len(names)} arrays ({', '.join(names)})" if names else "no array"
    raise ValueError(f"data: {path} holds {held}, wanted one array or one named x.")


def _read_csv(path: Path) -> np.ndarray:
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            table = enumerate(csv.reader(lines), 1)
            rows = [(line, row) for line, row in table if any(map(str.strip, row))]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"data: {path} is not a table of text lines: {error}") from error
    if rows and not any(_is_number(cell) for cell in rows[0][1]):
        rows = rows[1:]  # a header
    if not rows:
        raise ValueError(f"data: {path} has no rows, wanted a matrix with one sample a row.")
    columns = len(rows[0][1])
    matrix = np.empty((len(rows), columns))
    for r, (line, row) in enumerate(rows):
        if len(row) != columns:
            raise ValueError(
                f"data: {path} line {line} has {len(row)} columns, wanted {columns} as above."
            )
        for c, cell in enumerate(row):
            if not _is_number(cell):
                raise TypeError(
                    f"data: {path} line {line} column {c + 1} holds {cell!r}, wanted a number."
                )
            matrix[r, c] = float(cell)
    return matrix


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
