"""Options that several commands share, each said once."""

from pathlib import Path
from typing import Annotated

import typer

Activation = Annotated[str, typer.Option("--activation", "-a", help="Name of the activation.")]
Depth = Annotated[int, typer.Option(help="Number of layers, the output included.")]
Width = Annotated[int, typer.Option(help="Width of the hidden layers.")]
BiasVariance = Annotated[
    float | None, typer.Option("--C-b", help="Bias variance; critical if not given.")
]
WeightVariance = Annotated[
    float | None, typer.Option("--C-W", help="Weight variance; critical if not given.")
]
Rates = Annotated[
    str, typer.Option(help="Learning rates of the layers: uniform, equivalence or layerwise.")
]
Data = Annotated[
    str, typer.Option(help="digits, or a .npy, .npz or .csv file with one sample a row.")
]
LabelledData = Annotated[
    str, typer.Option(help="digits, or a .npz file with inputs x and labels y.")
]
LabelledSamples = Annotated[
    int, typer.Option("--train", help="Labelled samples, of different classes as far as possible.")
]
Seed = Annotated[int, typer.Option(help="Seed of the samples and of the networks.")]
Figure = Annotated[Path, typer.Option("--out", help="The figure to write: .svg, .png or .pdf.")]
Save = Annotated[Path | None, typer.Option(help="Zarr store for all the numbers, labelled.")]
Overwrite = Annotated[bool, typer.Option(help="Replace an existing store.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
