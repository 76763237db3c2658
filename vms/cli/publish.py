"""`vms publish`: live streams over RTSP for other systems, in the foreground."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vms.cli.output import printable
from vms.errors import UserError

if TYPE_CHECKING:
    from recorder.publish import Publisher
    from vms.settings import Consumer, Listen

LONGEST_PASSWORD_BYTES = 1024


def register(app: typer.Typer) -> None:
    """Hang the command into the root."""
    app.command(
        epilog="Example: vms publish --listen 0.0.0.0:8554 --consumer dyspozytor --password-file /etc/stroz/dyspozytor"
    )(publish)


def publish(
    ctx: typer.Context,
    listen: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where to listen; default: publishing.listen of the settings.")
    ] = "",
    consumer: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Who may watch, beside those in the settings. May be repeated."),
    ] = None,
    password_file: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="File with that consumer's password in one line; one for each, in order."),
    ] = None,
) -> None:
    """Publish live streams over RTSP until Ctrl-C. Only on this machine, unless consumers with passwords are named."""
    from dataclasses import replace

    from recorder.publish import run_publish
    from vms.observe import configure_logging
    from vms.processes import run_process
    from vms.settings import Listen

    site = ctx.obj.open_site()
    section = site.settings.publishing
    added = _consumers(consumer or [], password_file or [])
    known = {c.name: c for c in (*section.consumers, *added)}
    section = replace(section, consumers=tuple(known.values()))
    if listen:
        try:
            section = replace(section, listen=Listen.parse(listen))
        except UserError as error:
            raise UserError(f"--listen {error}") from error
    configure_logging(site.settings.log, site.zone)
    run_process(lambda: run_publish(site, section, _introduce))


def _introduce(publisher: Publisher, listen: Listen) -> None:
    from recorder.publish import addresses

    found = addresses(publisher.paths, listen)
    for url, stream in found:
        typer.echo(printable(f"{url}  {stream.camera_name}"))
    if not found:
        typer.echo("no enabled camera to publish yet; add one with: vms camera add NAME URL")
    who = "with a consumer's name and password" if publisher.gate("") else "by anybody on this machine"
    typer.echo(f"{len(found)} streams, to be watched {who}; Ctrl-C ends it", err=True)


def _consumers(names: list[str], files: list[Path]) -> list[Consumer]:
    """The consumers of the command line. UserError for a name or file that cannot be."""
    import re

    from vms.settings import Consumer, Secret

    if len(names) != len(files):
        raise UserError("give one --password-file for each --consumer, in the same order")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f'--consumer "{twice[0]}" is there twice')
    made = []
    for name, file in zip(names, files, strict=True):
        if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", name):
            raise UserError(f'--consumer "{name[:80]}" must be 1 to 63 letters, digits, dots and hyphens')
        try:
            with file.open("rb") as stream:
                text = stream.read(LONGEST_PASSWORD_BYTES + 1).decode().removesuffix("\n").removesuffix("\r")
        except OSError as error:
            raise UserError(f"{file} cannot be read: {error.strerror}; put the password of {name} there") from error
        except ValueError as error:
            raise UserError(f"{file} is not UTF-8 text; put the password of {name} there") from error
        if not text or len(text.encode()) > LONGEST_PASSWORD_BYTES or not text.isprintable():
            raise UserError(f"{file} must hold one line of at most {LONGEST_PASSWORD_BYTES} bytes: the password")
        made.append(Consumer(name, Secret(text)))
    return made
