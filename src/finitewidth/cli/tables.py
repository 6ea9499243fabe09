"""What the commands print for people."""

from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:  # imported only for its name: this module must not load JAX
    from finitewidth.criticality import Criticality
    from finitewidth.report import Report

STYLES = {"fine": "green", "strained": "yellow", "too deep": "red"}


def print_criticality(found: "Criticality", console: Console | None = None) -> None:
    """Print a criticality analysis as tables and advice."""
    console = console or Console()
    kind = found.universality_class + (f" ({found.subclass})" if found.subclass else "")
    console.print(f"[bold]{escape(found.activation)}[/]: universality class [bold]{kind}[/]")
    if found.C_W is not None:
        K_star = "any" if found.K_star is None else _text(found.K_star)
        C_b, C_W = _text(found.C_b), _text(found.C_W)
        console.print(f"critical at C_b = {C_b}, C_W = {C_W}, K* = {K_star}")
    if found.asymptotics:
        laws = Table(title="with depth l", title_justify="left")
        for name in ("exponent", "value", "law", "reference"):
            laws.add_column(name)
        for entry in found.asymptotics:
            laws.add_row(entry.name, _text(entry.exponent), entry.law, entry.reference)
        console.print(laws)
    if found.fixed_points:
        table = Table(title="fixed points", title_justify="left")
        for name in ("K*", "C_b", "C_W", "chi_parallel", "chi_perp", "stability", "kind"):
            table.add_column(name)
        for point in found.fixed_points:
            table.add_row(
                "any" if point.K_star is None else f"{point.K_star:.6g}",
                f"{point.C_b:.6g}",
                f"{point.C_W:.6g}",
                f"{point.chi_parallel:.6g}",
                f"{point.chi_perp:.6g}",
                point.stability,
                point.kind,
            )
        console.print(table)
    for note in found.notes:
        console.print(f"- {note}", highlight=False, markup=False)
    if found.C_W is not None and found.C_b is not None:
        from finitewidth.report.reproduce import torch_snippet

        console.print("In PyTorch:")
        console.print(
            torch_snippet(found.C_b, found.C_W), highlight=False, markup=False, soft_wrap=True
        )


def print_conclusions(page: "Report", console: Console | None = None) -> None:
    """Print the verdicts of a report."""
    from finitewidth.report import conclude

    console = console or Console()
    for run in page.analyses:
        conclusions = conclude(run)
        style = STYLES[conclusions.verdict]
        title = Text.assemble((run.name, "bold"), " ", (conclusions.verdict, style), ": ")
        console.print(title + Text(conclusions.headline))
        console.print(f"  {conclusions.agreement}", highlight=False, markup=False)


def _text(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.9g}" if isinstance(value, float) else str(value)
