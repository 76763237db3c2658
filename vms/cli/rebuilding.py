"""`vms rebuild`: a lost catalogue back from store and spool, and the word of a person that deletion may go on after it.

Opens what the site's settings name and shapes the answer; the work is `storage.rebuild`. Takes the archiver's place
meanwhile: nobody else may write rows of footage. The recorder may run.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vms.cli.output import JsonFlag, note, print_facts, print_json, progress_told
from vms.errors import UserError

if TYPE_CHECKING:
    from uuid import UUID

    from storage.catalogue import RebuildState
    from storage.catalogue.rebuilding import OlderRegistry
    from storage.objects import ObjectStore
    from storage.rebuild_report import RebuildReport
    from vms.assignment import Assignment
    from vms.model import Camera
    from vms.site import Site

MOST_SHOWN = 20  # of a list, for people


def register(app: typer.Typer) -> None:
    """Hang the command into the root."""
    app.command(epilog="Example: vms rebuild, then look, then: vms rebuild --confirm")(rebuild)


def rebuild(
    ctx: typer.Context,
    confirm: Annotated[
        bool, typer.Option("--confirm", help="Allow deletion again, once you have seen that holds are back.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Fill a lost catalogue again from the object store and the spool. May be broken off and run again."""
    if confirm:
        _confirm(ctx.obj.open_site(), yes=yes, as_json=as_json)
        return
    from vms.cli.running import alone

    site = ctx.obj.create_site()
    with alone(site, "archiver"), progress_told("rebuilding", "objects") as tell:
        report, cameras = asyncio.run(_rebuild(site, tell))
    if as_json:
        print_json(report_json(report))
    else:
        _show(report, cameras)
    if report.unreadable_count or report.lost_count or report.doubles_count or report.spool_set_aside:
        raise typer.Exit(1)


async def _rebuild(site: Site, tell: Callable[[int, int], None]) -> tuple[RebuildReport, list[Camera]]:
    from storage.camera_registry import profile_of
    from storage.catalogue import Catalogue, migrate
    from storage.objects import open_store
    from storage.rebuild import RebuildSources
    from storage.rebuild import rebuild as rebuild_catalogue
    from storage.spool import Spool
    from storage.stores import object_store_info, spool_info
    from vms.cli.identity import put_on_record
    from vms.settings import local_host_name

    host = site.settings.site.host or local_host_name()
    store, spool = open_store(site.settings.store), Spool(site.spool)
    try:
        await asyncio.to_thread(_check_folder, store)
        await asyncio.to_thread(spool.prepare)
        await migrate(site.catalogue_url)
        async with Catalogue(site.catalogue_url, site.sealer) as catalogue:
            await put_on_record(catalogue, "rebuild", "catalogue", store=object_store_info(site.settings.store).name)
            sources = RebuildSources(
                catalogue, store, object_store_info(site.settings.store), spool, spool_info(host), host,
                profile_of(site.settings.legal), _assignment(site),
            )  # fmt: skip
            report = await rebuild_catalogue(sources, on_progress=tell)
            return report, await catalogue.cameras(include_retired=True)
    finally:
        await store.close()
        await spool.close()


def _check_folder(store: ObjectStore) -> None:
    """An empty mount point must not look like a store in which nothing is left."""
    from storage.objects import FolderStore
    from storage.objects.folder import INCOMING

    if isinstance(store, FolderStore) and not (Path(store.name) / INCOMING).is_dir():
        raise UserError(f"{store.name} is no object store, or its disk is not mounted; correct [store] in site.toml")


def _assignment(site: Site) -> Assignment:
    from vms.assignment import Assignment, read_assignment
    from vms.errors import MalformedError

    try:
        return read_assignment(site.assignment_file, site.sealer)
    except (MalformedError, OSError) as error:
        note(f"{site.assignment_file.name} cannot be read ({error}): passwords do not come back from it")
        return Assignment()


# Confirming


def _confirm(site: Site, *, yes: bool, as_json: bool) -> None:
    state, cameras, held = asyncio.run(_look(site))
    in_service = sum(camera.retired_ns is None for camera in cameras)
    if state is None or not state.keeps_deletion_off:
        raise UserError("deletion is not off because of a rebuild; there is nothing to confirm")
    if state.finished_ns is None:
        raise UserError("the rebuild was broken off; run it to its end first: vms rebuild")
    note(
        f"the catalogue was rebuilt from {state.store}; {in_service} cameras in service and {held} holds in force came back"
    )
    note("what has expired and no hold covers is deleted from now on; a hold that is missing here protects nothing")
    for line in older_lines(state.older, cameras):
        note(line)
    if not yes:
        if not sys.stdin.isatty():
            raise UserError(
                "to confirm without being asked, compare cameras and holds with your records, then add --yes"
            )
        if not typer.confirm("Are all holds back, and may deletion go on?", err=True):
            raise UserError("nothing was changed")
    confirmed = asyncio.run(_write_confirmation(site, state))
    if as_json:
        print_json(state_json(confirmed))
    note(f"confirmed by {confirmed.confirmed_by}; the archiver deletes again within ten minutes")


async def _look(site: Site) -> tuple[RebuildState | None, list[Camera], int]:
    from vms.cli.retention import opened

    async with await opened(site) as catalogue:
        cameras = await catalogue.cameras(include_retired=True)
        return await catalogue.rebuild_state(), cameras, len(await catalogue.holds())


def older_lines(older: Sequence[OlderRegistry], cameras: Sequence[Camera]) -> Iterator[str]:
    """For people: of which streams holds may have been placed that did not come back."""
    from vms.localtime import format_utc

    names = {s.id: f"camera {c.number} {c.name}, {s.kind.value}" for c in cameras for s in c.streams}
    for one in older:
        since = (
            "no hold came back" if one.stated_ns is None else f"holds are those of {format_utc(one.stated_ns)[:16]}Z"
        )
        yield f"{names.get(one.stream_id, f'stream {one.stream_id}')}: its newest journal cannot be read, {since}"
    if older:
        yield "compare the holds of these with your records: one that was placed later protects nothing now"


def older_json(older: Sequence[OlderRegistry]) -> list[dict[str, Any]]:
    from vms.localtime import format_utc

    return [
        {
            "stream_id": str(one.stream_id), "unreadable": one.unreadable,
            "stated": None if one.stated_ns is None else format_utc(one.stated_ns),
        }
        for one in older
    ]  # fmt: skip


async def _write_confirmation(site: Site, state: RebuildState) -> RebuildState:
    """Put it on record first, then let deletion go on."""
    from vms.cli.identity import put_on_record
    from vms.cli.retention import opened
    from vms.site import AccessEntry, operating_system_user
    from vms.timeline import TimeRange

    now_ns = time.time_ns()
    within = TimeRange(state.started_ns, max(now_ns, state.started_ns + 1))
    site.access_log(AccessEntry(now_ns, "confirm rebuild", "", 0, "", within, f"rebuilt from {state.store}"))
    async with await opened(site) as catalogue:
        await put_on_record(catalogue, "confirm_rebuild", "catalogue", store=state.store)
        return await catalogue.confirm_rebuild(at_ns=time.time_ns(), by=operating_system_user())


def state_json(state: RebuildState | None) -> dict[str, Any] | None:
    """docs/reference/cli.md, "vms rebuild" and "vms retention"."""
    from vms.localtime import format_utc

    if state is None:
        return None

    def instant(ns: int | None) -> str | None:
        return None if ns is None else format_utc(ns)

    return {
        "store": state.store,
        "deletion_off": state.keeps_deletion_off,
        "started": format_utc(state.started_ns),
        "finished": instant(state.finished_ns),
        "confirmed_at": instant(state.confirmed_ns),
        "confirmed_by": state.confirmed_by,
        "older": older_json(state.older),
    }


# For people and programs


def _show(report: RebuildReport, cameras: list[Camera]) -> None:
    bare = sum(not c.password for c in cameras if c.retired_ns is None)
    print_facts(
        [
            ("store", report.store),
            ("read", f"{report.objects} objects in {report.seconds:.0f} s, {report.rate:.0f} a second"),
            ("segments", ", ".join(f"{n} {what}" for what, n in sorted(report.segments.items()) if n) or "none"),
            ("journals", report.journals),
            ("deletion report", f"{report.deletions} lines" if report.deletions else None),
            ("cameras", f"{report.cameras} brought back" if report.cameras else None),
            ("runs ended", report.runs_ended or None),
            ("cannot be read", report.unreadable_count or None),
            (
                "double",
                f"{report.doubles_count} objects of segments that have another" if report.doubles_count else None,
            ),
            (
                "lost",
                f"{report.lost_count} segments that journals state and nobody holds" if report.lost_count else None,
            ),
            ("gone before", f"{report.expired_count} segments past their time" if report.expired_count else None),
            ("spool", f"{report.spool_set_aside} files set aside (see the log)" if report.spool_set_aside else None),
        ]
    )
    for item in report.unreadable[:MOST_SHOWN]:
        note(f"cannot be read: {item.key}: {item.why}")
    if report.unreadable_count > MOST_SHOWN:
        note(f"and {report.unreadable_count - MOST_SHOWN} more; all of them: --json")
    for double in report.doubles[:MOST_SHOWN]:
        note(f"{double.key} has the run and number of {double.chosen}, which was taken; both stay in the store")
    if report.doubles_count > MOST_SHOWN:
        note(f"and {report.doubles_count - MOST_SHOWN} more; all of them: --json")
    for line in older_lines(report.older, cameras):
        note(line)
    for before, after in report.renumbered.values():
        note(f"camera {before} is number {after} now: another camera has {before}")
    for stream_id in report.recovered_streams:
        note(
            f"of stream {stream_id} only footage is left: it is under a retired camera named Recovered {stream_id.hex[:8]}"
        )
    if bare:
        note(f"{bare} cameras have no password: vms camera edit NUMBER --ask-password")
    note("deletion is off until you have seen that cameras and holds are back: vms rebuild --confirm")


def report_json(report: RebuildReport) -> dict[str, Any]:
    """docs/reference/cli.md, "vms rebuild"."""
    from vms.localtime import format_utc

    return {
        "store": report.store,
        "started": format_utc(report.started_ns),
        "resumed": report.resumed,
        "seconds": round(report.seconds, 3),
        "objects": report.objects,
        "objects_per_second": round(report.rate, 1),
        "journals": report.journals,
        "segments": {name: report.segments[name] for name in ("new", "known", "deleted")},
        "deletion_lines": report.deletions,
        "cameras": report.cameras,
        "passwords": report.passwords,
        "renumbered": [
            {"camera_id": str(camera_id), "before": before, "now": now}
            for camera_id, (before, now) in report.renumbered.items()
        ],
        "recovered_streams": [str(stream_id) for stream_id in report.recovered_streams],
        "runs_ended": report.runs_ended,
        "unreadable_count": report.unreadable_count,
        "unreadable": [{"key": item.key, "why": item.why} for item in report.unreadable],
        "doubles_count": report.doubles_count,
        "doubles": [{"key": item.key, "chosen": item.chosen} for item in report.doubles],
        "older": older_json(report.older),
        "lost_count": report.lost_count,
        "lost": [
            {
                "stream_id": _text(item.stream_id), "run": str(item.run_id), "number": item.number,
                "start": format_utc(item.start_ns), "end": format_utc(item.end_ns),
            }
            for item in report.lost
        ],
        "expired_count": report.expired_count,
        "spool_set_aside": report.spool_set_aside,
        "deletion_off": True,
    }  # fmt: skip


def _text(stream_id: UUID | None) -> str | None:
    return None if stream_id is None else str(stream_id)
