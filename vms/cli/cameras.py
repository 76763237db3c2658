"""`vms camera …`: the registry of cameras from the command line.

CAMERA is a number, a name or an id. Passwords come from a file, from standard input or are asked for; never from the
command line, where every user of the machine could read them. After each change the recorder's sealed assignment is
written anew (`vms.cli.registry`).
"""

# ruff: noqa: PLR0917 - typer turns parameters into options, which are given by name

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import uuid4

import typer

from vms.cli.camera_options import (
    CameraArgument,
    PasswordFile,
    Pin,
    Transport,
    User,
    apply_wishes,
    check_audio,
    with_camera_options,
    with_profile,
)
from vms.cli.output import JsonFlag, note, print_facts, print_json, print_table, working
from vms.errors import UserError
from vms.model import Camera, LegalProfile, StreamKind

if TYPE_CHECKING:
    from vms.site import Site

COLUMNS = (  # of tables, as `vms.cameras.camera_csv` has them, which help need not load
    "numer, nazwa, ulica, lat, lon, azymut, kąt, adres, port, profil_main, profil_sub, login, hasło_ref, grupa, retencja, "
    "rola_prawna"
)
cameras_app = typer.Typer(help="Cameras: add, list, show, edit, remove, test, import, export.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Hang the group into the root command."""
    app.add_typer(cameras_app, name="camera")


@cameras_app.command(epilog="Example: vms camera add 'Rynek 1' rtsp://10.0.0.5/Streaming/Channels/101 --user stroz")
@with_camera_options
def add(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="Name, as people say it.", show_default=False)],
    url: Annotated[str, typer.Argument(help="Address of the main stream, without password.", show_default=False)],
    number: Annotated[int | None, typer.Option("--number", min=1, max=999_999, help="Default: the next free.")] = None,
    *,
    wishes: dict[str, Any],
    as_json: JsonFlag = False,
) -> None:
    """Add a camera. It is recorded as soon as the recorder reads its new assignment."""
    from vms.cameras.camera_edit import camera_json, likenesses
    from vms.cli.registry import changing

    site = ctx.obj.create_site()
    draft = apply_wishes(Camera(uuid4(), number or 1, name, uuid4(), ()), wishes | {"name": name, "url": url})

    async def work() -> tuple[Camera, list[LegalProfile], str]:
        async with changing(site) as registry:
            profiles, default = await registry.profiles()
            camera = replace(draft, profile_id=default.id, number=number or await registry.next_number())
            camera = with_profile(camera, profiles, wishes["profile"])
            check_audio(camera, profiles)
            alike = likenesses([*await registry.cameras(), camera]).get(camera.id, ())
            return await registry.add(camera), profiles, "; ".join(alike)

    camera, profiles, alike = asyncio.run(work())
    if alike:
        note(f"look again: {alike}")
    if as_json:
        print_json(camera_json(camera, profiles))
    else:
        used = next(p for p in profiles if p.id == camera.profile_id)
        note(f'added camera {camera.number} "{camera.name}"; legal profile "{used.name}", {used.days} days')


@cameras_app.command("list", epilog="Example: vms camera list --json")
def list_cameras(
    ctx: typer.Context,
    retired: Annotated[bool, typer.Option("--retired", help="Also cameras taken out of service.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """List the cameras by number."""
    from vms.cameras.camera_edit import camera_json, main_url

    cameras, profiles = _load(ctx.obj.open_site(), retired=retired)
    if as_json:
        print_json([camera_json(c, profiles) for c in cameras])
        return
    rows = [
        (c.number, c.name, c.street, main_url(c), ", ".join(s.kind for s in c.streams if s.record) or "-", _state(c))
        for c in cameras
    ]
    print_table(("number", "name", "street", "address", "recorded", "state"), rows)


@cameras_app.command(epilog="Example: vms camera show 12")
def show(ctx: typer.Context, camera: CameraArgument, as_json: JsonFlag = False) -> None:
    """Show everything about one camera, its history included."""
    from storage.catalogue import find_camera
    from vms.cameras.camera_edit import camera_json
    from vms.cli.registry import reading
    from vms.localtime import format_local, format_utc

    site = ctx.obj.open_site()

    async def work() -> tuple[Camera, list[LegalProfile], list[Any]]:
        async with reading(site) as registry:
            found = find_camera(await registry.cameras(include_retired=True), camera)
            profiles, _ = await registry.profiles()
            return found, profiles, await registry.history(found)

    found, profiles, history = asyncio.run(work())
    facts = camera_json(found, profiles)
    if as_json:
        facts["history"] = [
            {"at": format_utc(h.at_ns), "kind": h.kind.value, "by": h.by, "changes": h.changes} for h in history
        ]
        print_json(facts)
        return
    streams = facts.pop("streams")
    facts["password"] = "set" if facts.pop("has_password") else "not set"
    facts["state"] = _state(found)
    print_facts(
        (k.replace("_", " "), v) for k, v in facts.items() if v not in ("", None) and k not in ("enabled", "retired")
    )
    for s in streams:
        typer.echo(f"{s['kind']} stream: {s['url']} ({'recorded' if s['record'] else 'relayed only'}) {s['id']}")
    for h in history:
        changes = "; ".join(f"{field}: {old} → {new}" for field, (old, new) in h.changes.items())
        typer.echo(f"{format_local(h.at_ns, site.zone, digits=0)} {h.kind} by {h.by or 'unknown'}  {changes}")


@cameras_app.command(epilog="Example: vms camera edit 12 --name 'Rynek 1 (północ)' --record-sub")
@with_camera_options
def edit(
    ctx: typer.Context,
    camera: CameraArgument,
    name: Annotated[str | None, typer.Option("--name")] = None,
    url: Annotated[str | None, typer.Option("--url", help="Address of the main stream, without password.")] = None,
    number: Annotated[int | None, typer.Option("--number", min=1, max=999_999)] = None,
    no_sub: Annotated[bool, typer.Option("--no-sub", help="Take the sub-stream away.")] = False,
    ask_password: Annotated[bool, typer.Option("--ask-password", help="Ask for a new password.")] = False,
    replaced: Annotated[bool, typer.Option("--replaced", help="Note that it is another device from now on.")] = False,
    *,
    wishes: dict[str, Any],
    as_json: JsonFlag = False,
) -> None:
    """Change a camera. What is not named stays; footage stays with the camera."""
    from storage.catalogue import find_camera
    from vms.cameras.camera_edit import (
        camera_json,
        changes_between,
        likenesses,
        takes_password_along,
        with_stream_url,
    )
    from vms.cli.registry import changing
    from vms.sentences import say

    if wishes["sub"] is not None and no_sub:
        raise UserError("give either --sub or --no-sub, not both")
    wishes |= {"name": name, "url": url, "number": number, "ask_password": ask_password}
    site = ctx.obj.open_site()

    async def work() -> tuple[Camera, Camera, list[LegalProfile], str]:
        async with changing(site) as registry:
            cameras = await registry.cameras()
            before = find_camera(cameras, camera)
            profiles, _ = await registry.profiles()
            after = with_profile(apply_wishes(before, wishes), profiles, wishes["profile"])
            after = with_stream_url(after, StreamKind.SUB, None) if no_sub else after
            check_audio(after, profiles)
            if wishes["password_file"] is None and not ask_password and takes_password_along(before, after):
                raise UserError(
                    "the camera's password is not taken along to another host; give --password-file or --ask-password"
                )
            if after != before or replaced:
                await registry.update(after, replaced=replaced)
            others = [c for c in cameras if c.id != before.id]
            known, alike = (likenesses([*others, c]).get(c.id, ()) for c in (before, after))
            return before, after, profiles, "" if alike == known else "; ".join(alike)

    before, after, profiles, alike = asyncio.run(work())
    if alike:
        note(f"look again: {alike}")
    if as_json:
        print_json(camera_json(after, profiles))
        return
    changes = [*changes_between(before, after), *([say("device_replaced")] if replaced else [])]
    note(f'camera {after.number} "{after.name}": ' + ("; ".join(changes) or "nothing to change"))


@cameras_app.command(epilog="Example: vms camera remove 12 --yes")
def remove(
    ctx: typer.Context,
    camera: CameraArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Take a camera out of service. Its footage and history stay; its number is free again."""
    from storage.catalogue import find_camera
    from vms.cli.registry import changing

    site = ctx.obj.open_site()
    cameras, _ = _load(site)
    found = find_camera(cameras, camera)
    if not yes:
        if not sys.stdin.isatty():
            raise UserError(f'to remove camera {found.number} "{found.name}" without being asked, add --yes')
        if not typer.confirm(f'Take camera {found.number} "{found.name}" out of service?'):
            raise UserError("nothing was changed")

    async def work() -> None:
        async with changing(site) as registry:
            await registry.retire(found)

    asyncio.run(work())
    note(f'camera {found.number} "{found.name}" is out of service; its footage stays')


@cameras_app.command("test", epilog="Example: vms camera test 12")
def measure(
    ctx: typer.Context,
    camera: Annotated[
        str,
        typer.Argument(metavar="CAMERA", help="Number, name or id; or the address of any camera.", show_default=False),
    ],
    seconds: Annotated[float, typer.Option("--seconds", min=1, max=120, help="How long to watch each stream.")] = 6.0,
    user: User = None,
    password_file: PasswordFile = None,
    transport: Transport = None,
    pin: Pin = None,
    as_json: JsonFlag = False,
) -> None:
    """Receive a camera for some seconds: codec, size, frame rate, bitrate, keyframes, clock, and what to change on it."""
    from storage.catalogue import find_camera
    from vms.cameras.probing import failure_of, is_rtsp, measure_camera, stream_test_facts, stream_test_json

    wishes: dict[str, Any] = {"user": user, "password_file": password_file, "transport": transport, "pin": pin}
    if "://" in camera:
        found = apply_wishes(Camera(uuid4(), 1, camera, uuid4(), ()), wishes | {"url": camera, "name": "a camera"})
    else:
        site = ctx.obj.open_site()
        cameras, _ = _load(site, act="test_camera", about=lambda cameras: find_camera(cameras, camera).name)
        found = apply_wishes(find_camera(cameras, camera), wishes)
    if not all(is_rtsp(s.url) for s in found.streams):
        raise UserError("only rtsp and rtsps addresses can be tested; others show their state once recorded")
    if "://" in camera:
        _put_address_on_record(ctx.obj, found)
    with working("receiving"):
        tests = asyncio.run(measure_camera(found, seconds))
    if as_json:
        number = None if "://" in camera else found.number
        print_json({"camera": number, "streams": [stream_test_json(t) for t in tests]})
    else:
        for t in tests:
            typer.echo(f"{t.kind} stream")
            print_facts((f"  {name}", value) for name, value in stream_test_facts(t))
    failures = [(t.kind, failure) for t in tests if (failure := failure_of(t)) is not None]
    for kind, failure in failures:
        note(f"vms: {kind} stream: {failure}")
    if failures:
        raise typer.Exit(1)


@cameras_app.command(
    "import", epilog="Example: vms camera import kamery.csv, then: vms camera import kamery.csv --commit"
)
def import_cameras(
    ctx: typer.Context,
    file: Annotated[
        Path, typer.Argument(help=f"CSV table; its first line names the columns: {COLUMNS}.", show_default=False)
    ],
    commit: Annotated[bool, typer.Option("--commit", help="Write. Without it only the verdicts are shown.")] = False,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="With --commit: write the good rows only.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Add and change cameras by a table. A dry run unless --commit; a bad row stops all of it unless --skip-bad."""
    from vms.cameras.camera_csv import Verdict
    from vms.cli.camera_import import import_table, verdict_json

    site = ctx.obj.create_site() if commit else ctx.obj.open_site()
    with working("importing"):
        verdicts, written = asyncio.run(import_table(site, file, commit=commit, skip_bad=skip_bad))
    bad = [v for v in verdicts if v.verdict is Verdict.ERROR]
    if as_json:
        print_json(
            {"committed": written is not None, "written": written or 0, "rows": [verdict_json(v) for v in verdicts]}
        )
    else:
        rows = [
            (v.line, v.number, v.name, v.verdict, v.column, "; ".join(filter(None, (v.detail, v.warning))))
            for v in verdicts
        ]
        print_table(("line", "numer", "nazwa", "verdict", "column", "what"), rows)
    counts = ", ".join(f"{sum(v.verdict is kind for v in verdicts)} {kind}" for kind in Verdict)
    alike = sum(bool(v.warning) for v in verdicts)
    note(f"{len(verdicts)} rows: {counts}" + (f"; look at {alike} that are like another camera" if alike else ""))
    if written is not None:
        note(f"{written} cameras written" + (f", {len(bad)} bad rows left out" if bad else ""))
    elif bad:
        note("nothing was written; mend the rows above" + (", or add --skip-bad" if commit else ""))
        raise typer.Exit(2)
    else:
        note("nothing was written: this was a dry run; add --commit")


@cameras_app.command("export", epilog="Example: vms camera export -o kamery.csv")
def export_table(
    ctx: typer.Context,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="File to write; default: standard output.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write the cameras as the table that `camera import` reads. Passwords are left out."""
    from vms.cameras.camera_csv import export_cameras
    from vms.durable import write_atomically

    if output is not None and output.exists() and not force:
        raise UserError(f"{output} is there already; name another file, or add --force to replace it")

    cameras, profiles = _load(ctx.obj.open_site(), act="export_cameras")
    table = export_cameras(cameras, profiles)
    if output is None:
        sys.stdout.buffer.write(table)
        return
    try:
        write_atomically(output, table, 0o644)
    except OSError as error:
        raise UserError(f"{output} cannot be written: {error.strerror}") from error
    note(f"{len(cameras)} cameras in {output}")


def _load(
    site: Site, *, retired: bool = False, act: str = "", about: Callable[[list[Camera]], str] = lambda _: "cameras"
) -> tuple[list[Camera], list[LegalProfile]]:
    """Cameras and profiles, put on record under `act` where they are used for more than looking."""
    from vms.cli.registry import reading

    async def work() -> tuple[list[Camera], list[LegalProfile]]:
        async with reading(site) as registry:
            cameras = await registry.cameras(include_retired=retired)
            if act:
                await registry.put_on_record(act, about(cameras))
            return cameras, (await registry.profiles())[0]

    return asyncio.run(work())


def _put_address_on_record(options: Any, tested: Camera) -> None:
    """Where there is a site with a catalogue; an address can be tested before either is made."""
    from vms.cli.registry import is_there, reading

    try:
        site = options.open_site()
    except UserError:
        return

    async def work() -> None:
        async with reading(site) as registry:
            await registry.put_on_record("test_camera", tested.name, streams=[s.url for s in tested.streams])

    if is_there(site):
        asyncio.run(work())


def _state(camera: Camera) -> str:
    if camera.retired_ns is not None:
        return "retired"
    return "in service" if camera.enabled else "disabled"
