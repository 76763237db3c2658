"""`vms demo`: a throw-away site with six simulated cameras, recorded, shown and exported for real."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from vms.cli.output import note


class DemoStore(StrEnum):
    """Where the demo's footage is kept."""

    FOLDER = "folder"
    SEAWEEDFS = "seaweedfs"
    MINIO = "minio"


def register(app: typer.Typer) -> None:
    """Hang the command into the root."""
    app.command(epilog="Example: vms demo --store seaweedfs --seconds 60")(demo)


def demo(
    store: Annotated[DemoStore, typer.Option(help="A folder, or an S3 server started for it.")] = DemoStore.FOLDER,
    seconds: Annotated[
        float | None,
        typer.Option(
            min=5.0, envvar="DEMO_SECONDS", help="End so long after the first picture; without it, Ctrl-C does."
        ),
    ] = None,
    folder: Annotated[
        Path, typer.Option("--dir", metavar="DIR", help="Its data folder, emptied at every start.")
    ] = Path("demo-data"),
    small: Annotated[bool, typer.Option("--small", help="Small pictures, which are prepared in seconds.")] = False,
) -> None:
    """Show everything at work: six simulated cameras are recorded, kept, watched, and a clip of two is exported."""
    import uvloop

    from vms.cli.demo_footage import demo_footage
    from vms.cli.demo_site import Demo, check_folder
    from vms.cli.run import footage_progress

    check_folder(folder)
    with footage_progress() as progress:
        footage = demo_footage(small=small, progress=progress, tell=note)
    done = uvloop.run(Demo(folder, store, seconds, footage, interactive=sys.stdout.isatty()).run())
    if not done:
        raise typer.Exit(1)
