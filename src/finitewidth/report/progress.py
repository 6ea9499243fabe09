"""A progress bar on stderr, so that standard output stays free for results."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from finitewidth.report.analysis import Progress as Report


@contextmanager
def progress_bar(enabled: bool) -> Iterator[Report]:
    """Yield a function that is told what is being done and how many of how many parts are done.

    Args:
        enabled: whether to show anything.
    """
    if not enabled:
        yield lambda what, done, total: None
        return
    columns = (TextColumn("{task.description:<48}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(file=sys.stderr), transient=True) as bar:
        tasks: dict[str, int] = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what)
            bar.update(tasks[what], completed=done, total=total)  # type: ignore[arg-type]

        yield report
