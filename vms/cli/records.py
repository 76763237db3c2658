"""`vms timeline` and `vms export`: what was recorded, and a piece of it as a plain MP4."""

# ruff: noqa: PLR0917 - typer turns parameters into options, which are given by name

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vms.cli.camera_options import CameraArgument
from vms.cli.output import JsonFlag, note, print_json, print_table, progress_bar
from vms.errors import StoreError, UserError
from vms.model import StreamKind

if TYPE_CHECKING:
    from uuid import UUID

    from storage.export import Export
    from vms.model import Camera
    from vms.site import Site

Day = Annotated[str | None, typer.Option("--day", metavar="DAY", help="YYYY-MM-DD, today or yesterday.")]
From = Annotated[
    str | None,
    typer.Option("--from", metavar="TIME", help="Local time, or with offset; now, -10m; a day means its start."),
]
To = Annotated[str | None, typer.Option("--to", metavar="TIME", help="The same; a day means its end.")]
Kind = Annotated[StreamKind, typer.Option("--stream", help="Which stream of the camera.")]


def register(app: typer.Typer) -> None:
    """Hang the commands into the root."""
    app.command(epilog="Example: vms timeline 12 --day yesterday --json")(timeline)
    app.command(
        epilog="Example: vms export 12 --from '2026-11-20 14:00' --to '2026-11-20 14:10' -o klip.mp4 --reason 'KMP 7/26'"
    )(export)


def timeline(
    ctx: typer.Context,
    camera: CameraArgument,
    day: Day = None,
    start: From = None,
    end: To = None,
    stream: Kind = StreamKind.MAIN,
    as_json: JsonFlag = False,
) -> None:
    """Show what was recorded of a camera, and why not where it was not."""
    from vms.cli.footage import open_footage, timeline_json, timeline_rows, total, with_what_came_after
    from vms.localtime import format_duration, parse_range

    site = ctx.obj.open_site()
    now_ns = time.time_ns()
    within = parse_range(site.zone, now_ns, day=day, start=start, end=end)

    async def work() -> tuple[Camera, Any, Any]:
        async with open_footage(site, camera, stream) as (reader, found, of):
            segments = await reader.segments(of.id, with_what_came_after(within))
            return found, segments, await reader.timeline(of.id, within, now_ns)

    found, segments, covered = asyncio.run(work())
    if as_json:
        print_json(timeline_json(found, within, segments, covered))
        return
    print_table(("from", "to", "length", "what"), timeline_rows(covered, site.zone))
    recorded, missing = total([s.range for s in covered.spans]), total([m.range for m in covered.missing])
    note(
        f'camera {found.number} "{found.name}": {format_duration(recorded)} recorded, {format_duration(missing)} missing'
    )


def export(
    ctx: typer.Context,
    camera: CameraArgument,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE.mp4", help="File to write.")],
    start: From = None,
    end: To = None,
    day: Day = None,
    reason: Annotated[
        str | None, typer.Option("--reason", help="Why, in 3 to 500 characters; goes into the access log. Asked for.")
    ] = None,
    whole_gops: Annotated[
        bool, typer.Option("--whole-gops", help="Show whole picture groups instead of cutting to the frame.")
    ] = False,
    no_audio: Annotated[bool, typer.Option("--no-audio", help="Leave the sound out.")] = False,
    stream: Kind = StreamKind.MAIN,
    as_json: JsonFlag = False,
) -> None:
    """Copy a range out as plain MP4, bit for bit: one file per unbroken stretch, and a side file that tells the facts."""
    from vms.localtime import format_local, parse_range

    site = ctx.obj.open_site()
    now_ns = time.time_ns()
    within = parse_range(site.zone, now_ns, day=day, start=start, end=end)
    _check_output(output)
    reason = _check_reason(reason)
    found, done = asyncio.run(
        _export(
            site, camera, stream, output, reason, now_ns,
            within=within, whole_gops=whole_gops, with_sound=not no_audio,
        )
    )  # fmt: skip
    if as_json:
        print_json(export_json(found, done))
        return
    for one in done.files:
        begins, ends = format_local(one.start_ns, site.zone), format_local(one.end_ns, site.zone)
        typer.echo(f"{one.path}  {begins} to {ends}  {one.pictures} pictures  sha256 {one.sha256.hex()}")
        if one.sound_left_out:
            note(f"{one.path} has no sound: {one.sound_left_out}")
    note(f"facts in {done.side_file}; {len(done.missing)} gaps; the access log names you and the reason")


async def _export(
    site: Site, camera: str, kind: StreamKind, output: Path, reason: str, now_ns: int, **wishes: Any
) -> tuple[Camera, Export]:
    """Export; the audit log is written before anything is read, the access log before a file gets its name: there is no
    file of which neither tells."""
    from importlib import metadata

    from storage.catalogue import Catalogue
    from storage.export import Unexportable, Wish, export
    from vms.cli.footage import open_footage, unexportable
    from vms.cli.identity import put_on_record
    from vms.localtime import format_utc
    from vms.site import AccessEntry, operating_system_user

    with_sound = wishes.pop("with_sound")
    async with open_footage(site, camera, kind) as (reader, found, of):
        sound_id = await _sound_of(site, found, kind)
        wish = Wish(of.id, **wishes, sound_id=sound_id if with_sound else None)

        async with Catalogue(site.catalogue_url) as catalogue:
            await put_on_record(
                catalogue, "export_footage", camera=found, purpose=reason, stream=kind.value,
                begins=format_utc(wish.within.start_ns), ends=format_utc(wish.within.end_ns),
            )  # fmt: skip

        def admit(done: Export) -> None:
            try:
                site.access_log(
                    AccessEntry(
                        at_ns=now_ns,
                        what="export",
                        camera_id=str(found.id),
                        camera_number=found.number,
                        camera_name=found.name,
                        range=wish.within,
                        reason=reason,
                        files=tuple((str(one.path.absolute()), one.sha256.hex()) for one in done.files),
                    )
                )
            except OSError as error:
                raise UserError(f"the access log cannot be written ({error.strerror}); nothing was exported") from error

        about = {
            "camera": {"id": str(found.id), "number": found.number, "name": found.name},
            "stream_kind": kind.value,
            "exported_by": operating_system_user(),
            "exported_at": format_utc(now_ns),
            "reason": reason,
            "software": f"stroz {metadata.version('stroz')}",
        }
        with progress_bar("exporting") as progress:
            try:
                done = await export(reader, wish, output, now_ns=now_ns, about=about, admit=admit, progress=progress)
            except Unexportable as error:
                raise StoreError(unexportable(error, found, site.zone)) from error
    return found, done


async def _sound_of(site: Site, camera: Camera, kind: StreamKind) -> UUID | None:
    """The stream of the camera's sound, to be joined to its pictures, where the legal profile allows sound.

    Raises UserError when sound alone was asked for and is not allowed.
    """
    from storage.catalogue import Catalogue

    sound = next((s for s in camera.streams if s.kind is StreamKind.AUDIO), None)
    if sound is None:
        return None
    async with Catalogue(site.catalogue_url) as catalogue:
        profile = next(p for p in await catalogue.profiles() if p.id == camera.profile_id)
    if kind is StreamKind.AUDIO:
        if not profile.audio:
            raise UserError(f'the legal profile "{profile.name}" does not allow sound; it is not exported')
        return None
    return sound.id if profile.audio else None


def export_json(camera: Camera, done: Export) -> dict[str, Any]:
    """docs/reference/cli.md, "vms export"."""
    from vms.localtime import format_utc

    return {
        "camera": {"id": str(camera.id), "number": camera.number, "name": camera.name},
        "from": format_utc(done.within.start_ns),
        "to": format_utc(done.within.end_ns),
        "side_file": str(done.side_file),
        "files": [
            {
                "file": str(one.path),
                "start": format_utc(one.start_ns),
                "end": format_utc(one.end_ns),
                "pictures": one.pictures,
                "bytes": one.size_bytes,
                "sha256": one.sha256.hex(),
                "sound": one.sound is not None,
            }
            for one in done.files
        ],
        "gaps": [
            {"start": format_utc(m.range.start_ns), "end": format_utc(m.range.end_ns), "reason": m.reason.value}
            for m in done.missing
        ],
    }


def _check_output(output: Path) -> None:
    if output.suffix.lower() != ".mp4":
        raise UserError(f"{output} must end in .mp4")
    if not output.parent.is_dir():
        raise UserError(f"the folder {output.parent} does not exist; make it first")
    if output.exists():
        raise UserError(f"{output} is already there; name another file")


def _check_reason(reason: str | None) -> str:
    if reason is None and sys.stdin.isatty():
        reason = typer.prompt("Why is this footage exported? (goes into the access log)", err=True)
    text = (reason or "").strip()
    if not 3 <= len(text) <= 500 or not text.isprintable():
        raise UserError("say why the footage is exported: --reason, one line of 3 to 500 characters; it is logged")
    return text
