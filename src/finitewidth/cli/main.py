"""The command `finitewidth`.

Only Typer and Rich are imported at the start; everything that computes is imported inside the
command that needs it, so that help comes at once.
"""

import json
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from finitewidth.cli import options

if TYPE_CHECKING:
    from finitewidth.report.figures import Drawing
    from finitewidth.report.posterior import PosteriorAnalysis
    from finitewidth.report.prediction import PredictionAnalysis

app = typer.Typer(
    name="finitewidth",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

#: Exit code for input that makes no sense.
BAD_INPUT = 2


@contextmanager
def bad_input_exits() -> Iterator[None]:
    """Turn an error about the input into its message on stderr and exit code 2."""
    try:
        yield
    except (ValueError, TypeError, OSError) as error:
        typer.echo(f"finitewidth: {error}", err=True)
        raise typer.Exit(BAD_INPUT) from None


@contextmanager
def warnings_are_told() -> Iterator[None]:
    """Print warnings as sentences on stderr, without the code that they come from."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        yield
    for warning in caught:
        typer.echo(f"finitewidth: warning: {warning.message}", err=True)


def check_files(figure: Path, save: Path | None, overwrite: bool) -> None:
    """Say what is wrong with the files to write, before hours are spent on what is in them."""
    from finitewidth.cli.store import check_store
    from finitewidth.report.posterior_figure import check_figure_path

    check_figure_path(figure)
    if save is not None:
        check_store(save, overwrite, "save")


def write(
    drawing: "Drawing",
    figure: Path,
    found: "PosteriorAnalysis | PredictionAnalysis",
    save: Path | None,
    as_json: bool,
) -> None:
    """Write the figure and, if it is wanted, all the numbers, and say where they are."""
    from finitewidth.cli import store
    from finitewidth.report.posterior_figure import save_figure

    save_figure(drawing, figure)
    typer.echo(f"wrote {figure.resolve()}", err=as_json)
    if save is not None:
        store.save(found.to_xarray(), save)
        typer.echo(f"wrote {save.resolve()}", err=as_json)


def split_names(given: list[str]) -> list[str]:
    """Split lists of activations at commas, but not inside brackets.

    Args:
        given: what stood after each `--activation`.

    Returns:
        The names, without empty ones.

    Example:
        >>> split_names(["relu, leaky_relu(0.2)", "tanh"])
        ['relu', 'leaky_relu(0.2)', 'tanh']
    """
    names, depth, word = [], 0, ""
    for character in ",".join(given) + ",":
        depth += (character == "(") - (character == ")")
        if character == "," and depth <= 0:
            names.append(word.strip())
            word, depth = "", 0
        else:
            word += character
    names.append(word.rstrip(", "))
    return [name for name in names if name]


def print_version(wanted: bool) -> None:
    """Print the version and leave, if it was asked for."""
    if wanted:
        from importlib.metadata import version

        typer.echo(f"finitewidth {version('finitewidth')}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option("--version", callback=print_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Predict what deep networks of finite width do, and measure real ones next to it."""


@app.command()
def critical(
    activation: Annotated[
        str, typer.Argument(help="Name, with parameters in brackets: gelu, leaky_relu(0.2), ...")
    ],
    as_json: options.AsJson = False,
) -> None:
    """Find the critical initialization of an activation and its universality class."""
    with bad_input_exits():
        from finitewidth.criticality import analyze

        found = analyze(activation)
        if as_json:
            typer.echo(json.dumps(found.to_dict(), indent=2, allow_nan=False))
        else:
            from finitewidth.cli.tables import print_criticality

            print_criticality(found)


@app.command()
def flow(
    activation: options.Activation,
    widths: Annotated[
        str, typer.Option(help="Hidden and output widths: 100x10,10 is ten of 100, then 10.")
    ] = "64x7,10",
    data: options.Data = "digits",
    samples: Annotated[int, typer.Option(help="Samples to draw from the data.")] = 4,
    seed: Annotated[int, typer.Option(help="Seed of the choice of samples.")] = 0,
    order: Annotated[
        int, typer.Option(help="0 for infinite width, 1 for the first correction in 1/width.")
    ] = 1,
    rates: options.Rates = "uniform",
    c_b: options.BiasVariance = None,
    c_w: options.WeightVariance = None,
    out: Annotated[
        Path | None, typer.Option(help="Zarr store for kernels and tensors, all labelled.")
    ] = None,
    overwrite: options.Overwrite = False,
    as_json: options.AsJson = False,
) -> None:
    """Follow kernel, vertex and neural tangent kernel of a network through its layers."""
    with bad_input_exits():
        from finitewidth.cli.flow import flow_of, print_flow, to_json
        from finitewidth.cli.store import check_store, save

        if out is not None:
            check_store(out, overwrite)
        result = flow_of(activation, widths, data, samples, seed, order, rates, c_b, c_w)
        if as_json:
            typer.echo(to_json(result))
        else:
            print_flow(result)
        if out is not None:
            save(result.to_xarray(), out)
            typer.echo(f"wrote {out.resolve()}", err=as_json)


@app.command()
def posterior(
    data: options.LabelledData = "digits",
    activation: options.Activation = "tanh",
    depth: options.Depth = 3,
    width: options.Width = 128,
    train: options.LabelledSamples = 4,
    points: Annotated[int, typer.Option(help="Points of the line to sample networks at.")] = 9,
    noise: Annotated[float, typer.Option(help="Variance of the noise of the labels.")] = 0.1,
    networks: Annotated[int, typer.Option(help="Networks to sample.")] = 20_000,
    seed: options.Seed = 0,
    c_b: options.BiasVariance = None,
    c_w: options.WeightVariance = None,
    out: options.Figure = Path("posterior.svg"),
    save: options.Save = None,
    overwrite: options.Overwrite = False,
    as_json: options.AsJson = False,
) -> None:
    """Condition networks on a few labels and draw what they say between two of the samples."""
    with bad_input_exits():
        from finitewidth.cli.posterior import posterior_of, print_posterior, to_json
        from finitewidth.report.posterior_figure import draw_posterior

        check_files(out, save, overwrite)
        with warnings_are_told():
            found = posterior_of(
                activation, depth, width, data, train, points, noise, networks, seed, c_b, c_w,
                progress=sys.stderr.isatty(),
            )  # fmt: skip
        if as_json:
            typer.echo(to_json(found))
        else:
            print_posterior(found)
        write(draw_posterior(found), out, found, save, as_json)


@app.command()
def predict(
    data: options.LabelledData = "digits",
    activation: options.Activation = "tanh",
    depth: options.Depth = 3,
    width: options.Width = 128,
    train: options.LabelledSamples = 4,
    points: Annotated[int, typer.Option(help="Points of the line to look at networks at.")] = 7,
    networks: Annotated[int, typer.Option(help="Networks to train.")] = 1_000,
    rates: options.Rates = "uniform",
    steps: Annotated[int, typer.Option(help="Steps of which the loss is followed.")] = 100,
    seed: options.Seed = 0,
    c_b: options.BiasVariance = None,
    c_w: options.WeightVariance = None,
    out: options.Figure = Path("prediction.svg"),
    save: options.Save = None,
    overwrite: options.Overwrite = False,
    as_json: options.AsJson = False,
) -> None:
    """Train networks on a few labels and draw what they say, and how their loss falls."""
    with bad_input_exits():
        from finitewidth.cli.predict import prediction_of, print_prediction, to_json
        from finitewidth.report.prediction_figure import draw_prediction

        check_files(out, save, overwrite)
        with warnings_are_told():
            found = prediction_of(
                activation, depth, width, data, train, points, networks, rates, steps, seed, c_b,
                c_w, progress=sys.stderr.isatty(),
            )  # fmt: skip
        if as_json:
            typer.echo(to_json(found))
        else:
            print_prediction(found)
        write(draw_prediction(found), out, found, save, as_json)


@app.command()
def report(
    activation: Annotated[
        list[str],
        typer.Option("--activation", "-a", help="Activation, repeated or as a list with commas."),
    ],
    depth: options.Depth = 8,
    width: options.Width = 64,
    data: options.Data = "digits",
    samples: Annotated[
        int | None, typer.Option(help="Samples to draw from the data; 6 if there are as many.")
    ] = None,
    networks: Annotated[
        int, typer.Option(help="Networks to measure at each of the widths n and 2n.")
    ] = 20_000,
    ntk_networks: Annotated[
        int, typer.Option(help="Networks with all their weights, for the neural tangent kernel.")
    ] = 1_000,
    trained_networks: Annotated[
        int, typer.Option(help="Networks to train on labelled samples; 0 for none.")
    ] = 200,
    seed: options.Seed = 0,
    c_b: options.BiasVariance = None,
    c_w: options.WeightVariance = None,
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("report.html"),
    show: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Write a page on what the theory predicts for a network and what real networks do."""
    with bad_input_exits():
        names = split_names(activation)
        if not names:
            raise ValueError(f"activation: wanted at least one name, got {' '.join(activation)!r}.")
        from finitewidth.report import build_report

        page = build_report(
            names, depth, width, data, samples, networks, ntk_networks, seed, c_b, c_w, out,
            progress=sys.stderr.isatty(), trained_networks=trained_networks,
        )  # fmt: skip
    from finitewidth.cli.tables import print_conclusions

    print_conclusions(page)
    typer.echo(f"wrote {out.resolve()}")
    if show:
        import webbrowser

        webbrowser.open(out.resolve().as_uri())


if __name__ == "__main__":
    app()
