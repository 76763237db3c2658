"""How commands answer: tables and key-value lists for people, JSON for programs, progress on standard error."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from vms.timeline import SECOND_NS

JsonFlag = Annotated[bool, typer.Option("--json", help="Answer in JSON (docs/reference/cli.md).")]

TELL_SECONDS = 10.0
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
    if sys.stdout.isatty():
        Console(file=sys.stdout, highlight=False).print(table)
        return
    console = Console(file=sys.stdout, highlight=False, width=400)
    with console.capture() as drawn:
        console.print(table)
    for line in drawn.get().splitlines():
        typer.echo(line.rstrip())


def print_listed(header: Sequence[str], entries: Iterable[tuple[Sequence[object], str]]) -> None:
    """Rows in columns, each with what may be long in a line of its own below it. Nothing is cut, nor padded at the end."""
    shown = [
        ([printable("" if cell is None else str(cell)) for cell in row], printable(below)) for row, below in entries
    ]
    widths = [max(len(row[i]) for row in (list(header), *(row for row, _ in shown))) for i in range(len(header))]
    for row, below in ((list(header), ""), *shown):
        typer.echo("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
        if below:
            typer.echo(f"    {below}")


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


@contextmanager
def progress_told(what: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """`progress_bar` with its rate on a terminal, elsewhere a line every `TELL_SECONDS`."""
    if sys.stderr.isatty():
        with progress_bar(what, unit) as report:
            yield report
        return
    began = told = time.monotonic()

    def tell(done: int, total: int) -> None:
        nonlocal told
        now = time.monotonic()
        if now - told >= TELL_SECONDS:
            told = now
            note(progress_text(done, total, now - began, unit))

    yield tell


def progress_text(done: int, total: int, seconds: float, unit: str) -> str:
    """How far, how fast, how long still."""
    from vms.localtime import format_duration

    rate = done / seconds if seconds > 0 else 0.0
    left = f", {format_duration(round((total - done) / rate) * SECOND_NS)} left" if rate else ""
    return f"{done} of {total} {unit}, {rate:.{0 if rate >= 10 else 1}f} a second{left}"


def note(text: str) -> None:
    """One line for the person at the terminal; never mixed into answers."""
    typer.echo(printable(text), err=True)
