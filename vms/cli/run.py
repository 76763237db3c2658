"""`vms simulate`: cameras that do not exist, for trying things out."""

# ruff: noqa: PLR0917 - typer turns parameters into options, which are given by name

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vms.cli.output import note, print_table
from vms.errors import UserError

if TYPE_CHECKING:
    from vms.simulate import Footage, Simulator


def register(app: typer.Typer) -> None:
    """Hang the commands into the root."""
    app.command(epilog="Example: vms simulate film.mp4 --cameras 6 --port 8554 --loss 0.01 --quirk marker_never@cam2")(
        simulate
    )


def simulate(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FILE]...", help="Video files to loop; none: footage made on first use.", show_default=False
        ),
    ] = None,
    cameras: Annotated[int, typer.Option(min=1, max=1000, help="How many cameras: /cam0, /cam0/sub, /cam1, …")] = 1,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port; 0 takes a free one.")] = 8554,
    own_ports: Annotated[bool, typer.Option("--own-ports", help="Camera i listens on port + i.")] = False,
    sub: Annotated[bool, typer.Option("--sub/--no-sub", help="Make a sub-stream of each file (once, cached).")] = True,
    loss: Annotated[float, typer.Option(help="Fraction of packets to lose, 0 to 1.")] = 0.0,
    jitter: Annotated[float, typer.Option(metavar="MS", help="Up to so many ms of random delay.")] = 0.0,
    stall_every: Annotated[float, typer.Option(metavar="S", help="Fall silent every S seconds.")] = 0.0,
    stall_seconds: Annotated[float, typer.Option(metavar="S", help="For so long.")] = 8.0,
    disconnect_every: Annotated[float, typer.Option(metavar="S", help="Hang up every S seconds.")] = 0.0,
    disconnect_seconds: Annotated[float, typer.Option(metavar="S", help="Stay away for so long.")] = 5.0,
    clock_offset: Annotated[float, typer.Option(metavar="S", help="The cameras' clocks are off by so much.")] = 0.0,
    auth: Annotated[
        str, typer.Option(metavar="USER:PASSWORD", help="Ask for this, a password made up for trials.")
    ] = "",
    auth_scheme: Annotated[str, typer.Option(help="basic, digest, digest-md5 or digest-sha256.")] = "digest",
    transport: Annotated[str, typer.Option(help="tcp or udp answers the other with 461; both takes either.")] = "both",
    quirk: Annotated[
        list[str] | None, typer.Option(metavar="NAME[@camN]", help="An oddity of real cameras; --list-quirks.")
    ] = None,
    list_quirks: Annotated[bool, typer.Option("--list-quirks", help="Say which quirks there are, and end.")] = False,
    log: Annotated[Path | None, typer.Option(help="Write down here what was sent and when, as JSON lines.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed makes the same faults.")] = 0,
) -> None:
    """Be cameras: serve files over RTSP in real time, with faults when asked. Ctrl-C ends it."""
    from vms.simulate import QUIRKS, CameraScript, SimulatorOptions

    if list_quirks:
        print_table(("quirk", "about", "what the camera does"), [(q.name, q.group, q.summary) for q in QUIRKS.values()])
        return
    options = SimulatorOptions(
        footage=tuple(_footage(files or [], sub=sub)),
        cameras=cameras,
        host=host,
        port=port,
        own_ports=own_ports,
        default=CameraScript(
            loss=loss,
            jitter_ms=jitter,
            stall_every=stall_every,
            stall_seconds=stall_seconds,
            disconnect_every=disconnect_every,
            disconnect_seconds=disconnect_seconds,
            clock_offset=clock_offset,
            auth=auth,
            auth_scheme=auth_scheme,
            transport=transport,
        ),
        quirks=tuple(quirk or ()),
        log=log,
        seed=seed,
    )
    _run(options, cameras)


def _run(options: object, cameras: int) -> None:
    from vms.simulate import SimulatorOptions, simulate

    assert isinstance(options, SimulatorOptions)

    def on_start(simulator: Simulator) -> None:
        for i in range(cameras):
            typer.echo(simulator.url(f"cam{i}"))
        note(f"{cameras} cameras; Ctrl-C ends them")

    asyncio.run(simulate(options, on_start))


def _footage(files: list[Path], *, sub: bool) -> list[Footage]:
    """What the cameras show; encoded on first use, which is shown."""
    from vms.simulate import Footage, prepare, with_sub

    for file in files:
        if not file.is_file():
            raise UserError(f"{file} is no file; name a video file")
    with footage_progress() as progress:
        if not files:
            return prepare(progress=progress)
        return [with_sub(file, progress=progress) if sub else Footage(file) for file in files]


@contextmanager
def footage_progress() -> Iterator[Callable[[str, int, int], None]]:
    """A bar for each name that reports, on standard error; a line for each where that is no terminal."""
    from rich.console import Console
    from rich.progress import Progress, TaskID

    console = Console(stderr=True)
    tasks: dict[str, TaskID] = {}
    with Progress(console=console, disable=not console.is_terminal, transient=True) as bars:

        def report(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=total)
                if not console.is_terminal:
                    note(f"preparing footage, once: {name}")
            bars.update(tasks[name], completed=done)

        yield report
