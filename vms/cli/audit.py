"""`vms audit …`: the log of who did what: read it for a reason, sign its head, verify it, take it elsewhere."""

# ruff: noqa: PLR0917 - typer turns parameters into options, which are given by name

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vms.cli.identity import people_of, put_on_record, whoever_runs_this
from vms.cli.output import JsonFlag, note, print_json, print_table
from vms.errors import UserError

if TYPE_CHECKING:
    from storage.catalogue import Asked, AuditEntry, Happening, StoredCheckpoint, Verified

audit_app = typer.Typer(help="The audit log: list, verify, checkpoint, export.", no_args_is_help=True)
Reason = Annotated[str, typer.Option("--reason", help="Why it is read; the reading is an entry itself.")]
MOST_NOTE_BYTES = 64 * 1024


def register(app: typer.Typer) -> None:
    """Hang the group into the root command."""
    app.add_typer(audit_app, name="audit")


@audit_app.command("list", epilog="Example: vms audit list --reason 'wniosek IOD 12/2026' --camera 12 --act view_live")
def list_entries(
    ctx: typer.Context,
    reason: Reason,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="How many, from the newest.")] = 50,
    user: Annotated[str, typer.Option("--user", help="Of this user only.")] = "",
    act: Annotated[str, typer.Option("--act", help="This act only.")] = "",
    camera: Annotated[str | None, typer.Option("--camera", help="About this camera only.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show entries, the newest first."""
    from vms.localtime import format_local

    site = ctx.obj.open_site()

    async def work() -> list[AuditEntry]:
        async with people_of(site) as catalogue:
            found = None if camera is None else await catalogue.find(camera, include_retired=True)
            await catalogue.audit(_reading(reason, {"user": user, "act": act, "camera": camera or ""}))
            return await catalogue.audit_entries(
                limit=limit, user=user, act=act, camera_id=None if found is None else found.id
            )

    entries = asyncio.run(work())
    if as_json:
        print_json([_entry_json(e) for e in entries])
        return
    rows = [
        (e.number, format_local(e.at_ns, site.zone, digits=0), e.user_name, e.ip, e.act, e.object, e.purpose)
        for e in entries
    ]
    print_table(("number", "when", "who", "from", "act", "object", "purpose"), rows)


@audit_app.command(epilog="Example: vms audit verify --against /mnt/iod/checkpoint.txt")
def verify(
    ctx: typer.Context,
    against: Annotated[
        list[Path] | None, typer.Option("--against", help="A checkpoint that was kept elsewhere; more than once.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Read the whole log and say whether anything was changed, removed, put in between or cut off. Exit code 1 if so.

    Whoever owns the database could write all of it anew; a checkpoint that was kept elsewhere shows that too.
    """
    from web.identity.checkpoints import AuditKey

    site = ctx.obj.open_site()
    key = AuditKey.open(site.path, site.sealer)
    witnessed = [_read_note(file, key.public) for file in against or ()]

    async def work() -> Verified:
        async with people_of(site) as catalogue:
            return await catalogue.verify_audit(key.is_signed, witnessed)

    found = asyncio.run(work())
    if as_json:
        print_json(
            {
                "ok": not found.problem, "problem": found.problem or None, "entries": found.size,
                "root": found.root.hex(), "checkpoints": found.checkpoints,
            }
        )  # fmt: skip
    else:
        note(f"{found.size} entries, {found.checkpoints} signed heads" + ("" if found.problem else ": all as written"))
    if found.problem:
        note(f"vms: {found.problem}")
        raise typer.Exit(1)


@audit_app.command(epilog="Example: vms audit checkpoint -o /mnt/iod/checkpoint.txt")
def checkpoint(
    ctx: typer.Context,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="File; default: standard output.")] = None,
) -> None:
    """Sign the head of the log and write the note, to be kept where the server's administrator cannot change it."""
    from vms.durable import write_atomically
    from web.identity.checkpoints import AuditKey, sign_head

    site = ctx.obj.open_site()
    key = AuditKey.open(site.path, site.sealer)

    async def work() -> StoredCheckpoint | None:
        async with people_of(site) as catalogue:
            if (await catalogue.audit_head()).size:
                await put_on_record(catalogue, "sign_audit", "audit log")
            signed = await sign_head(catalogue, key, time.time_ns())
            return signed or next(iter(await catalogue.checkpoints(last=1)), None)

    found = asyncio.run(work())
    if found is None:
        raise UserError("the audit log is empty; there is nothing to sign")
    if output is None:
        typer.echo(found.note, nl=False)
        return
    try:
        write_atomically(output, found.note.encode(), 0o644)
    except OSError as error:
        raise UserError(f"{output} cannot be written: {error.strerror}") from error
    note(f"the head of {found.size} entries in {output}")


@audit_app.command(epilog="Example: vms audit export --reason 'kopia dla IOD' -o audyt.jsonl")
def export(
    ctx: typer.Context,
    reason: Reason,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="File; default: standard output.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write every entry as one JSON line, in order, and at the end the signed head of them all."""
    from vms.durable import write_atomically
    from web.identity.checkpoints import AuditKey, sign_head

    if output is not None and output.exists() and not force:
        raise UserError(f"{output} is there already; name another file, or add --force to replace it")
    site = ctx.obj.open_site()
    key = AuditKey.open(site.path, site.sealer)

    async def work() -> list[str]:
        async with people_of(site) as catalogue:
            await catalogue.audit(_reading(reason, {}))
            signed = await sign_head(catalogue, key, time.time_ns())
            assert signed is not None
            lines: list[str] = []
            while len(lines) < signed.size and (page := await catalogue.audit_from(len(lines))):
                lines += [_line(_entry_json(e)) for e in page[: signed.size - len(lines)]]
            head = {"size": signed.size, "root": signed.root.hex(), "note": signed.note}
            return [*lines, _line({"checkpoint": head, "public_key": key.public.hex()})]

    lines = asyncio.run(work())
    content = ("\n".join(lines) + "\n").encode()
    if output is None:
        sys.stdout.buffer.write(content)
        return
    try:
        write_atomically(output, content)
    except OSError as error:
        raise UserError(f"{output} cannot be written: {error.strerror}") from error
    note(f"{len(lines) - 1} entries and their signed head in {output}")


def _reading(reason: str, asked: Asked) -> Happening:
    if not 3 <= len(reason.strip()) <= 300:
        raise UserError("--reason is one line of 3 to 300 characters")
    return whoever_runs_this().does("read_audit", time.time_ns(), "audit log", purpose=reason.strip(), asked=asked)


def _read_note(file: Path, public_key: bytes) -> StoredCheckpoint:
    from storage.catalogue import StoredCheckpoint
    from web.identity.checkpoints import check_note

    try:
        with file.open("rb") as stream:
            text = stream.read(MOST_NOTE_BYTES).decode()
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is no checkpoint") from error
    found = check_note(text, public_key)
    if found is None:
        raise UserError(f"{file} is no checkpoint of this site's audit log, or was changed")
    return StoredCheckpoint(found[0], 0, found[1], text)


def _entry_json(e: AuditEntry) -> dict[str, Any]:
    from vms.localtime import format_utc

    return {
        "number": e.number, "at": format_utc(e.at_ns), "at_ns": str(e.at_ns), "user": e.user_name,
        "user_id": e.user_id and str(e.user_id), "ip": e.ip, "act": e.act, "object": e.object,
        "camera_id": e.camera_id and str(e.camera_id), "detail": json.loads(e.detail), "purpose": e.purpose,
        "leaf": e.leaf.hex(),
    }  # fmt: skip


def _line(facts: dict[str, Any]) -> str:
    return json.dumps(facts, ensure_ascii=False, separators=(",", ":"))
