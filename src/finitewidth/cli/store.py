"""Labelled results in a Zarr store: refuse a bad path before anything is computed, and write."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # slow to import, and needed only by what is saved
    from xarray import Dataset


def check_store(path: Path, overwrite: bool, option: str = "out") -> None:
    """Refuse a path that is not a Zarr store to be, before anything is computed."""
    if path.suffix != ".zarr":
        raise ValueError(f"{option}: wanted a path that ends in .zarr, got {path}.")
    if path.exists() and not overwrite:
        raise ValueError(f"{option}: {path} exists; wanted a new path, or --overwrite.")


def save(dataset: "Dataset", path: Path) -> None:
    """Write all arrays with their labels to a Zarr store."""
    dataset.to_zarr(path, mode="w", consolidated=False)
