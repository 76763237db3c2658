"""`vms simulate`: the processes that a person starts by hand."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Hang the commands into the root."""
