"""`vms check`: do catalogue, store and spool agree, and what of that can be mended.

Parses, calls `storage.check` once and shapes the answer. The shaping is pure.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
from enum import StrEnum
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID
from zoneinfo import ZoneInfo

import typer

from vms.cli.output import JsonFlag, note, print_facts, print_json, printable, progress_told

if TYPE_CHECKING:
    from storage.check_findings import CheckReport, Finding
    from vms.model import Camera, StreamKind
    from vms.site import Site

    Streams = Mapping[UUID, tuple[Camera, StreamKind]]

EXIT_BROKEN, EXIT_INCOMPLETE = 3, 4


class DepthName(StrEnum):
    """`storage.check_findings.Depth` by name."""

    PRESENCE = "presence"
    SIZE = "size"
    DIGEST = "digest"
    DECODE = "decode"


def register(app: typer.Typer) -> None:
    """Hang the command into the root."""
    app.command(epilog="Example: vms check --depth digest --json")(check)


def check(
    ctx: typer.Context,
    depth: Annotated[
        DepthName, typer.Option(help="How closely: presence, size, digest (reads every byte), decode.")
    ] = DepthName.SIZE,
    repair: Annotated[
        bool, typer.Option("--repair", help="Mend what is safe to mend. No file or object is removed.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Check that catalogue, object store and spool agree, and say which invariant is broken where."""
    site = ctx.obj.open_site()
    began = time.monotonic()
    report, streams = asyncio.run(_check(site, depth, repair=repair))
    seconds = time.monotonic() - began
    if as_json:
        print_json(report_json(report, streams, seconds))
    else:
        _show(report, streams, seconds, site.zone)
    if not report.is_clean:
        raise typer.Exit(EXIT_BROKEN)
    if not report.is_complete:
        raise typer.Exit(EXIT_INCOMPLETE)


async def _check(site: Site, depth: DepthName, *, repair: bool) -> tuple[CheckReport, Streams]:
    from storage.camera_registry import refuse_emptied
    from storage.catalogue import Catalogue
    from storage.check import check_site
    from storage.check_findings import Depth
    from storage.check_looks import Places
    from storage.decoding import DecodingProcess
    from storage.objects import open_store
    from storage.spool import Spool
    from storage.stores import object_store_info, spool_info
    from vms.cli.identity import put_on_record
    from vms.cli.registry import refuse_absent
    from vms.settings import local_host_name

    await refuse_absent(site)
    host = site.settings.site.host or local_host_name()
    store, spool, decoder = open_store(site.settings.store), Spool(site.spool), DecodingProcess()
    async with contextlib.AsyncExitStack() as undo:
        for opened in (store, spool, decoder):
            undo.push_async_callback(opened.close)
        catalogue = await undo.enter_async_context(Catalogue(site.catalogue_url))
        await refuse_emptied(site, catalogue)
        if repair:
            await put_on_record(catalogue, "repair", "footage", depth=depth.value)
        cameras = {camera.id: camera for camera in await catalogue.cameras(include_retired=True)}
        streams = {s.stream_id: (cameras[s.camera_id], s.kind) for s in await catalogue.camera_streams()}
        places = Places(
            catalogue, spool, store, spool_name=spool_info(host).name,
            store_name=object_store_info(site.settings.store).name, host=host, decoder=decoder,
        )  # fmt: skip
        with progress_told("checking", "segments") as progress:
            report = await check_site(places, Depth[depth.name], repair=repair, on_progress=progress)
    return report, streams


# The answer


def report_json(report: CheckReport, streams: Streams, seconds: float) -> dict[str, Any]:
    """docs/reference/cli.md, "vms check"."""
    return {
        "depth": report.depth.name.lower(),
        "clean": report.is_clean,
        "complete": report.is_complete,
        "seconds": round(seconds, 3),
        "segments": report.segments,
        "copies": report.copies,
        "objects": report.objects,
        "bytes_read": report.read_bytes,
        "waiting": report.waiting,
        "stores": [
            {"name": s.name, "kind": s.kind, "error": s.error, "unknown_copies": s.unknown_copies}
            for s in report.stores
        ],
        "broken": dict(sorted(report.broken.items())),
        "repaired": report.repaired,
        "notes": report.notes,
        "findings": [_finding_json(finding, streams) for finding in report.findings],
        "left_out": report.left_out,
    }


def _finding_json(finding: Finding, streams: Streams) -> dict[str, Any]:
    from vms.localtime import format_utc

    camera, kind = streams.get(finding.stream_id, (None, None)) if finding.stream_id else (None, None)
    return {
        "kind": finding.kind.value,
        "invariant": finding.invariant,
        "camera": camera and {"number": camera.number, "name": camera.name},
        "stream": kind and kind.value,
        "stream_id": str(finding.stream_id) if finding.stream_id else None,
        "run": str(finding.ref.run_id) if finding.ref else None,
        "number": finding.ref.number if finding.ref else None,
        "start": None if finding.start_ns is None else format_utc(finding.start_ns),
        "end": None if finding.end_ns is None else format_utc(finding.end_ns),
        "store": finding.store or None,
        "key": finding.key or None,
        "detail": finding.detail,
        "repaired": finding.repaired,
        "repair": finding.repair or None,
    }


def finding_lines(findings: Sequence[Finding], streams: Streams, zone: ZoneInfo) -> list[str]:
    """A line for each segment or thing that something is wrong with, and one below it for each place. Pure."""
    lines: list[str] = []
    for _, same in groupby(findings, key=lambda f: (f.ref or id(f), f.stream_id)):
        told = list(same)
        kinds = ", ".join(f"{f.invariant or 'note'} {f.kind.value}" for f in told)
        camera, kind = streams.get(told[0].stream_id, (None, None)) if told[0].stream_id else (None, None)
        about = f"{camera.number} {camera.name}, {kind}" if camera else str(told[0].stream_id or "")
        lines.append("  ".join(part for part in (kinds, about, _when(told[0], zone)) if part))
        for finding in told:
            where = f"{finding.store} {finding.key}".strip()
            said = f"{finding.detail}; {finding.repair}" if finding.repair else finding.detail
            lines.append(f"    {where}: {said}" if where else f"    {said}")
    return [printable(line) for line in lines]


def _when(finding: Finding, zone: ZoneInfo) -> str:
    """From when to when, in local time: whole seconds that hold all of it."""
    from vms.localtime import format_local
    from vms.timeline import SECOND_NS

    if finding.start_ns is None:
        return ""
    start = format_local(finding.start_ns, zone, digits=0)
    if finding.end_ns is None:
        return f"from {start}"
    return f"{start} to {format_local(-(-finding.end_ns // SECOND_NS) * SECOND_NS, zone, digits=0)}"


def _show(report: CheckReport, streams: Streams, seconds: float, zone: ZoneInfo) -> None:
    for line in finding_lines(report.findings, streams, zone):
        typer.echo(line)
    if report.left_out:
        note(f"{report.left_out} more findings are counted below and not shown")
    read = f", {report.read_bytes / 1e9:.2f} GB read" if report.read_bytes else ""
    print_facts([
        ("looked at", f"{report.segments} segments, {report.copies} copies, {report.objects} objects{read}"),
        ("in", f"{seconds:.1f} s, depth {report.depth.name.lower()}"),
        ("on their way", f"{report.waiting} sealed files that the archiver will take" if report.waiting else None),
        *((s.name, f"NOT LOOKED AT, {s.unknown_copies} copies unknown: {s.error}") for s in report.stores if s.error),
        ("repaired", report.repaired or None),
        ("notes", report.notes or None),
        ("verdict", verdict(report)),
    ])  # fmt: skip


def verdict(report: CheckReport) -> str:
    """One line for people."""
    broken = ", ".join(f"{name} ({count})" for name, count in sorted(report.broken.items()))
    if broken:
        return f"BROKEN: {broken}; what each means is in docs/reference/cli.md under vms check"
    if not report.is_complete:
        return "nothing is broken in what could be looked at; a store is out of reach, so this is not the whole"
    return "clean: every invariant holds"
