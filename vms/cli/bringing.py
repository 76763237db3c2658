"""`vms import`: segments of another spool, file by file with a verdict, and into this site when asked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vms.cli.output import JsonFlag, note, print_json, print_table, progress_bar
from vms.errors import UserError

if TYPE_CHECKING:
    from storage.importing import FileVerdict, ImportReport
    from vms.site import Site


def register(app: typer.Typer) -> None:
    """Hang the command into the root."""
    app.command("import", epilog="Example: vms import /mnt/spool, then: vms import /mnt/spool --commit")(bring_in)


def bring_in(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A spool, or a folder with segments.")],
    commit: Annotated[
        bool, typer.Option("--commit", help="Bring them in. Without it only the verdicts are shown.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Bring footage of another spool into this site: late, doubled or of a recorder that is gone. A dry run unless --commit."""
    site = ctx.obj.open_site()
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder")
    for own in (site.spool, site.settings.store.path if site.settings.store.kind.value == "folder" else site.spool):
        if own.exists() and (folder.resolve() == own.resolve() or own.resolve() in folder.resolve().parents):
            raise UserError(f"{folder} is this site's own; its archiver takes care of it")
    with site.hold("import") as try_to_take:
        if not try_to_take():
            raise UserError("another import is under way; wait for it")
        with progress_bar("looking at") as tell:
            report = asyncio.run(_import(site, folder.resolve(), tell, commit=commit))
    if as_json:
        print_json(report_json(report, commit=commit))
    else:
        _show(report, commit=commit)
    counts = report.counts
    if report.stopped or any(counts[word] for word in ("unsound", "conflict", "open", "gone")):
        raise typer.Exit(1)


async def _import(site: Site, folder: Path, tell: Callable[[int, int], None], *, commit: bool) -> ImportReport:
    from storage.camera_registry import profile_of, refuse_lost
    from storage.importing import Importing
    from storage.spool import Spool
    from storage.stores import spool_info
    from vms.cli.identity import put_on_record
    from vms.cli.retention import opened
    from vms.settings import local_host_name

    spool = Spool(site.spool)
    await asyncio.to_thread(spool.prepare)
    try:
        async with await opened(site) as catalogue:
            await refuse_lost(site, catalogue)
            if commit:
                await put_on_record(catalogue, "import_footage", "footage", folder=str(folder))
            legal = profile_of(site.settings.legal)
            profile = next((p for p in await catalogue.profiles() if p.name == legal.name), legal)
            importing = Importing(
                catalogue, spool, spool_store=spool_info(site.settings.site.host or local_host_name()),
                section=site.settings.spool, profile=profile,
            )  # fmt: skip
            return await importing.run(folder, commit=commit, on_progress=tell)
    finally:
        await spool.close()


def _show(report: ImportReport, *, commit: bool) -> None:
    from vms.localtime import format_utc

    rows = [
        (
            file.path.name if file.facts is None else str(file.facts.stream_id),
            "" if file.facts is None else format_utc(file.facts.start_ns),
            "" if file.facts is None else f"{(file.facts.end_ns - file.facts.start_ns) / 1e9:.1f} s",
            file.verdict.value,
            file.detail,
        )
        for file in report.files
    ]
    print_table(("stream", "from (UTC)", "length", "verdict", "detail"), rows)
    counts = ", ".join(f"{count} {word}" for word, count in sorted(report.counts.items())) or "nothing was found"
    note(counts)
    for stream_id in report.new_streams:
        note(f"stream {stream_id} is new: it is under a retired camera named Recovered {stream_id.hex[:8]}")
    if report.stopped:
        note(report.stopped)
    if commit:
        note(
            f"{report.brought_in} segments ({report.brought_bytes / 1e6:.1f} MB) came in; the archiver takes them from here"
        )
    if report.counts["open"] or report.counts["gone"]:
        note("some are being written, or went just now; run it again when they are sealed")
    if not commit and report.counts["new"]:
        note("nothing was brought in; to do that, add --commit")


def report_json(report: ImportReport, *, commit: bool) -> dict[str, Any]:
    """docs/reference/cli.md, "vms import"."""
    from vms.localtime import format_utc

    return {
        "at": format_utc(time.time_ns()),
        "committed": commit,
        "brought_in": report.brought_in,
        "brought_bytes": report.brought_bytes,
        "gaps": report.gaps,
        "counts": dict(sorted(report.counts.items())),
        "new_streams": [str(stream_id) for stream_id in report.new_streams],
        "stopped": report.stopped or None,
        "files": [_file_json(file) for file in report.files],
    }


def _file_json(file: FileVerdict) -> dict[str, Any]:
    from vms.localtime import format_utc

    plain: dict[str, Any] = {"file": str(file.path), "verdict": file.verdict.value, "detail": file.detail or None}
    facts = file.facts
    if facts is None:
        return plain
    return plain | {
        "stream_id": str(facts.stream_id),
        "run": str(facts.run_id),
        "number": facts.number,
        "start": format_utc(facts.start_ns),
        "end": format_utc(facts.end_ns),
        "bytes": facts.size_bytes,
        "sha256": facts.digest.hex(),
    }
