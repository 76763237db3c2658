"""`vms status`: what every camera does now, on a screen that refreshes itself, once, or as JSON."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from vms.cli.output import JsonFlag, note, print_json

if TYPE_CHECKING:
    from vms.site import Site
    from vms.status.site_status import SiteStatus

REFRESH_SECONDS = 1.0
PIPE_WIDTH = 160


def register(app: typer.Typer) -> None:
    """Hang the command into the root."""
    app.command(epilog="Example: vms status --once")(status)


def status(
    ctx: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="Show it once and end; so does a pipe.")] = False,
    streams: Annotated[bool, typer.Option("--streams", help="Every stream, not only main ones and troubles.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Show what every camera does now: state, pictures, gaps, and how spool and store are. Ctrl-C ends it."""
    from vms.status.site_status import gather_status
    from vms.status.status_json import status_json

    site = ctx.obj.open_site()
    now = asyncio.run(gather_status(site))
    if as_json:
        print_json(status_json(now))
    elif now.nothing_runs:
        note(f"nothing runs on {site.path}; start it with: vms --data {site.path} up")
    elif once or not sys.stdout.isatty():
        _print(now, streams)
    else:
        asyncio.run(_watch(site, streams))
    if not now.recorder_answers:
        raise typer.Exit(1)


def _print(now: SiteStatus, streams: bool) -> None:
    from rich.console import Console

    from vms.cli.status_table import render

    console = Console(file=sys.stdout, highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)
    console.print(render(now, width=console.width, all_streams=streams, plain=is_plain(console.encoding)))


async def _watch(site: Site, streams: bool) -> None:
    from rich.console import Console
    from rich.live import Live

    from vms.cli.status_table import render
    from vms.status.site_status import gather_status

    console = Console(file=sys.stdout, highlight=False)
    with Live(console=console, auto_refresh=False, screen=False, vertical_overflow="crop") as live:
        while True:
            began = time.monotonic()
            now = await gather_status(site)
            live.update(
                render(
                    now,
                    width=console.width,
                    height=console.height,
                    all_streams=streams,
                    plain=is_plain(console.encoding),
                ),
                refresh=True,
            )
            await asyncio.sleep(max(0.1, REFRESH_SECONDS - (time.monotonic() - began)))


def is_plain(encoding: str) -> bool:
    """Whether the terminal's encoding lacks the signs of the table."""
    return not encoding.lower().startswith("utf")
