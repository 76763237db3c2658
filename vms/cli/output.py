"""How commands answer: tables and key-value lists for people, JSON for programs, progress on standard error."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer

JsonFlag = Annotated[bool, typer.Option("--json", help="Answer in JSON (docs/reference/cli.md).")]

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def printable(text: str) -> str:
    """`text` without control characters: what a camera or a file said must not drive the terminal."""
    return _CONTROL.sub("�", text)


def print_json(answer: Any) -> None:
    typer.echo(json.dumps(answer, ensure_ascii=False, indent=2))


def print_facts(facts: Iterable[tuple[str, object]]) -> None:
    """`name  value` lines, names in one column; None is left out."""
    shown = [(name, printable(str(value))) for name, value in facts if value is not None]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        typer.echo(f"{name:<{width}}  {value}")


def print_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table; wrapped to the terminal, or one line a row when piped."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*header, box=box.SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(printable("" if cell is None else str(cell))) for cell in row))
    console = Console(file=sys.stdout, highlight=False, width=None if sys.stdout.isatty() else 400)
    console.print(table)


@contextmanager
def working(what: str) -> Iterator[None]:
    """Say `what` beside a turning wheel while it lasts, on a terminal only."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(what):
        yield


@contextmanager
def progress_bar(what: str, unit: str = "") -> Iterator[Callable[[int, int], None]]:
    """`report(done, total)` moves a bar on standard error, on a terminal only. With a `unit` the rate stands beside it."""
    from rich.console import Console
    from rich.progress import Progress, TextColumn

    console = Console(stderr=True)
    columns = [*Progress.get_default_columns(), *([TextColumn("{task.fields[rate]}")] if unit else [])]
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bars:
        task = bars.add_task(what, total=None, rate="")

        def report(done: int, total: int) -> None:
            speed = bars.tasks[0].speed
            bars.update(task, completed=done, total=total, rate=f"{speed:.0f} {unit}/s" if speed else "")

        yield report


def note(text: str) -> None:
    """One line for the person at the terminal; never mixed into answers."""
    typer.echo(printable(text), err=True)
