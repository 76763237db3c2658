"""`vms retention`: what goes next, what went, and the brake that a person may let go.

Shows and confirms; what may go is decided by `storage.retention` and carried out by the archiver (`storage.deleter`).
"""

# ruff: noqa: PLR0917 - typer turns parameters into options, which are given by name

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Unpack
from uuid import UUID
from zoneinfo import ZoneInfo

import typer

from vms.cli.output import JsonFlag, note, print_facts, print_json, print_table
from vms.cli.rebuilding import state_json
from vms.errors import UserError

if TYPE_CHECKING:
    from storage.catalogue import BrakeState, Catalogue, DeletedSegment, Detail, Expired, Expiring, RebuildState
    from vms.model import Camera, StreamKind
    from vms.site import Site

HOUR_NS = 3_600_000_000_000
DAY_NS = 24 * HOUR_NS
SHOWN_DAYS = 7
MOST_STATUS_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Outlook:
    """What the catalogue and the archiver say of retention now."""

    streams: Mapping[UUID, tuple[Camera, StreamKind]]
    expiring: tuple[Expiring, ...]
    expired: tuple[Expired, ...]
    brake: BrakeState | None
    rebuild: RebuildState | None
    pending: int
    by_day: Mapping[int, int]
    last_run: Mapping[str, int] | None


def register(app: typer.Typer) -> None:
    """Hang the command into the root."""
    app.command(epilog="Example: vms retention --day yesterday --json")(retention)


def retention(
    ctx: typer.Context,
    day: Annotated[
        str | None, typer.Option("--day", metavar="DAY", help="Deletion report of a UTC day: YYYY-MM-DD, yesterday.")
    ] = None,
    confirm_brake: Annotated[
        bool, typer.Option("--confirm-brake", help="Allow the deletion that the brake has stopped.")
    ] = False,
    clock_is_right: Annotated[
        bool,
        typer.Option("--clock-is-right", help="This machine's clock was set, and is right now: reckon by it again."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Show what expires next, the last deletion, and the clock brake; or a day's deletion report."""
    site = ctx.obj.open_site()
    now_ns = time.time_ns()
    if confirm_brake and day is not None:
        raise UserError("--day looks at a report; give it without --confirm-brake")
    if clock_is_right:
        _believe_clock(site)
        return
    if day is not None:
        _show_report(site, day, now_ns, as_json=as_json)
        return
    outlook = asyncio.run(_look(site, now_ns))
    if confirm_brake:
        _confirm(site, outlook, now_ns, yes=yes, as_json=as_json)
    elif as_json:
        print_json(outlook_json(outlook, now_ns))
    else:
        _show(outlook, now_ns, site.zone)


def _believe_clock(site: Site) -> None:
    """Put it on record first, then let retention reckon by the clock as it is."""
    from storage.believed_clock import FILE, believed
    from vms.clock import SystemClock
    from vms.localtime import format_local
    from vms.site import AccessEntry
    from vms.timeline import TimeRange

    clock, file = SystemClock(), site.run / FILE
    now_ns = clock.wall_ns()
    step_ns = believed(file, clock).stepped_ns(now_ns, clock.mono_ns())
    within = TimeRange(now_ns - max(step_ns, 0), now_ns + max(-step_ns, 1))
    reason = f"retention had reckoned by a clock that is {step_ns / 1e9:+.0f} s from this one"
    site.access_log(AccessEntry(now_ns, "believe clock", "", 0, "", within, reason))
    asyncio.run(_put_on_record(site, "believe_clock", "clock", stepped_seconds=round(step_ns / 1e9)))
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{file} cannot be removed ({error.strerror}); nothing was changed") from error
    note(f"from the next minute on retention reckons by this machine's clock: {format_local(now_ns, site.zone)}")


async def opened(site: Site) -> Catalogue:
    """The site's catalogue; UserError when it is not there or of another schema."""
    from storage.catalogue import Catalogue
    from vms.cli.registry import refuse_absent

    await refuse_absent(site)
    return Catalogue(site.catalogue_url)


async def _put_on_record(site: Site, act: str, about: str, **detail: Unpack[Detail]) -> None:
    from vms.cli.identity import put_on_record

    async with await opened(site) as catalogue:
        await put_on_record(catalogue, act, about, **detail)


async def _streams(catalogue: Catalogue) -> dict[UUID, tuple[Camera, StreamKind]]:
    cameras = {c.id: c for c in await catalogue.cameras(include_retired=True)}
    return {s.stream_id: (cameras[s.camera_id], s.kind) for s in await catalogue.camera_streams()}


async def _look(site: Site, now_ns: int) -> Outlook:
    today = now_ns // DAY_NS
    async with await opened(site) as catalogue:
        return Outlook(
            streams=await _streams(catalogue),
            expiring=tuple(await catalogue.next_to_expire()),
            expired=tuple(await catalogue.expired(now_ns)),
            brake=await catalogue.brake_state(),
            rebuild=await catalogue.rebuild_state(),
            pending=await catalogue.pending_deletions(),
            by_day=await catalogue.condemned_by_day(today - SHOWN_DAYS, today),
            last_run=await asyncio.to_thread(_last_run, site),
        )


def _last_run(site: Site) -> dict[str, int] | None:
    """What the archiver wrote down of its last deletion run; None when none runs, or none was yet."""
    from storage.archive_process import LAST_DELETION, STATUS_FILE
    from vms.status.site_status import count_of

    try:
        with (site.run / STATUS_FILE).open("rb") as file:
            facts = json.loads(file.read(MOST_STATUS_BYTES))["deletion"]
        return {name: count_of(facts[name]) for name in LAST_DELETION}
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


# The brake


def brake_word(state: BrakeState | None, now_ns: int) -> str:
    """`off`, `engaged`, or `confirmed` while a confirmation holds."""
    if state is None:
        return "off"
    fresh = state.confirmed_ns is not None and 0 <= now_ns - state.confirmed_ns < DAY_NS
    return "confirmed" if fresh else "engaged"


def _confirm(site: Site, outlook: Outlook, now_ns: int, *, yes: bool, as_json: bool) -> None:
    state = outlook.brake
    if state is None:
        raise UserError("nothing stops deletion; there is nothing to confirm")
    if brake_word(state, now_ns) == "confirmed":
        raise UserError(f"{state.confirmed_by} has confirmed it already; the archiver deletes within ten minutes")
    if not as_json:
        print_table(("camera", "stream", "hours", "size"), _expired_rows(outlook))
    hours, size = _totals(outlook.expired)
    note(f"{hours:.1f} h of footage, {size}, have expired by this machine's clock and would be deleted for good;")
    note(f"the brake stopped {state.footage_ns / HOUR_NS:.1f} h in one day, {state.limit_ns / HOUR_NS:.1f} h are usual")
    if not yes:
        if not sys.stdin.isatty():
            raise UserError("to confirm without being asked, look at the figures, then add --yes")
        if not typer.confirm("Is this machine's date right, and shall this be deleted?", err=True):
            raise UserError("nothing was changed")
    confirmed = asyncio.run(_write_confirmation(site, outlook, now_ns, state))
    if as_json:
        print_json(brake_json(confirmed, now_ns))
    note(f"confirmed by {confirmed.confirmed_by}, for a day; the archiver deletes within ten minutes")


async def _write_confirmation(site: Site, outlook: Outlook, now_ns: int, shown: BrakeState) -> BrakeState:
    """Put it on record, for every stream concerned, then let the brake go for what was shown."""
    from vms.site import AccessEntry, operating_system_user
    from vms.timeline import TimeRange

    oldest = {one.stream_id: one for one in outlook.expiring}
    for item in outlook.expired:
        camera, kind = outlook.streams[item.stream_id]
        first = oldest.get(item.stream_id)
        if first is None:
            continue
        within = TimeRange(first.start_ns, max(first.start_ns + 1, now_ns - first.days * DAY_NS))
        reason = f"{kind}: {item.footage_ns / HOUR_NS:.1f} h that the brake stopped"
        about = (str(camera.id), camera.number, camera.name)
        site.access_log(AccessEntry(now_ns, "confirm deletion", *about, within, reason))
    await _put_on_record(site, "confirm_deletion", "retention", hours=round(shown.footage_ns / HOUR_NS, 1))
    async with await opened(site) as catalogue:
        return await catalogue.confirm_brake(
            at_ns=time.time_ns(), by=operating_system_user(), footage_ns=shown.footage_ns
        )


# For people


def _show(outlook: Outlook, now_ns: int, zone: ZoneInfo) -> None:
    from vms.localtime import format_local

    rows = []
    for one in sorted(outlook.expiring, key=lambda e: e.expires_ns):
        camera, kind = outlook.streams[one.stream_id]
        when = "due" if one.expires_ns <= now_ns else format_local(one.expires_ns, zone, digits=0)
        begins = format_local(one.start_ns, zone, digits=0)
        rows.append((f"{camera.number} {camera.name}", kind.value, f"{one.days} days", begins, when))
    print_table(("camera", "stream", "kept", "oldest footage", "goes"), rows)
    hours, size = _totals(outlook.expired)
    run = outlook.last_run
    days = [f"{_day(day)}: {ns / HOUR_NS:.1f} h" for day, ns in sorted(outlook.by_day.items())]
    print_facts(
        [
            ("deletion", _off_text(outlook.rebuild, zone)),
            ("brake", _brake_text(outlook.brake, now_ns, zone)),
            ("expired now", f"{hours:.1f} h, {size}" if outlook.expired else "nothing"),
            ("deleted (UTC)", ", ".join(days) or f"nothing in the last {SHOWN_DAYS} days"),
            (
                "on their way out",
                f"{outlook.pending} segments whose bytes a store still has" if outlook.pending else None,
            ),
            ("last run", _run_text(run, zone) if run else "not known: no archiver has reported one"),
        ]
    )


def _off_text(state: RebuildState | None, zone: ZoneInfo) -> str | None:
    from vms.localtime import format_local

    if state is None or not state.keeps_deletion_off:
        return None
    since = format_local(state.started_ns, zone, digits=0)
    if state.finished_ns is None:
        return f"OFF since {since}: the rebuild of the catalogue was broken off. Run it to its end: vms rebuild"
    return f"OFF since {since}: the catalogue was rebuilt. Are all cameras and holds back? Then: vms rebuild --confirm"


def _brake_text(state: BrakeState | None, now_ns: int, zone: ZoneInfo) -> str:
    from vms.localtime import format_local

    if state is None:
        return "off"
    why = (
        f"{state.footage_ns / HOUR_NS:.1f} h of footage would go in one day, "
        f"by the last days {state.limit_ns / HOUR_NS:.1f} h may"
    )
    if brake_word(state, now_ns) == "confirmed" and state.confirmed_ns is not None:
        return f"confirmed by {state.confirmed_by} at {format_local(state.confirmed_ns, zone, digits=0)}: {why}"
    since = format_local(state.engaged_ns, zone, digits=0)
    return f"ENGAGED since {since}: {why}. Check the date (timedatectl) and legal.days, then: vms retention --confirm-brake"


def _run_text(run: Mapping[str, int], zone: ZoneInfo) -> str:
    from vms.localtime import format_local

    failed = f", {run['failed_objects']} that a store kept" if run["failed_objects"] else ""
    return (
        f"{format_local(run['at_ns'], zone, digits=0)}: {run['condemned_segments']} segments "
        f"({run['condemned_bytes'] / 1e9:.2f} GB) condemned, {run['removed_objects']} objects removed{failed}"
    )


def _expired_rows(outlook: Outlook) -> list[tuple[str, str, str, str]]:
    rows = []
    for item in outlook.expired:
        camera, kind = outlook.streams[item.stream_id]
        hours = f"{item.footage_ns / HOUR_NS:.1f}"
        rows.append((f"{camera.number} {camera.name}", kind.value, hours, f"{item.size_bytes / 1e9:.2f} GB"))
    return rows


def _totals(expired: Iterable[Expired]) -> tuple[float, str]:
    items = list(expired)
    return sum(e.footage_ns for e in items) / HOUR_NS, f"{sum(e.size_bytes for e in items) / 1e9:.2f} GB"


# A day's report


def _show_report(site: Site, text: str, now_ns: int, *, as_json: bool) -> None:
    from vms.localtime import format_local, parse_day

    day = parse_day(text, ZoneInfo("UTC"), now_ns).start_ns // DAY_NS

    async def work() -> tuple[list[DeletedSegment], dict[UUID, tuple[Camera, StreamKind]]]:
        async with await opened(site) as catalogue:
            return await catalogue.deletion_report(day), await _streams(catalogue)

    lines, streams = asyncio.run(work())
    if as_json:
        print_json({"day": _day(day), "segments": [_line_json(line, streams) for line in lines]})
        return
    by_stream: dict[UUID, list[DeletedSegment]] = {}
    for line in lines:
        by_stream.setdefault(line.stream_id, []).append(line)
    rows = []
    for stream_id, of in by_stream.items():
        camera, kind = streams[stream_id]
        begins, ends = min(s.start_ns for s in of), max(s.end_ns for s in of)
        hours, size = sum(s.end_ns - s.start_ns for s in of) / HOUR_NS, sum(s.size_bytes for s in of) / 1e9
        rows.append(
            (
                f"{camera.number} {camera.name}", kind.value, format_local(begins, site.zone, digits=0),
                format_local(ends, site.zone, digits=0), len(of), f"{hours:.1f}", f"{size:.2f} GB",
                ", ".join(sorted({s.basis for s in of})),
            )
        )  # fmt: skip
    print_table(("camera", "stream", "from", "to", "segments", "hours", "size", "why"), rows)
    note(f"{len(lines)} segments deleted on {_day(day)} (UTC); digests and seals: --json")


# JSON, docs/reference/cli.md, "vms retention"


def brake_json(state: BrakeState | None, now_ns: int) -> dict[str, Any]:
    from vms.localtime import format_utc

    if state is None:
        return {"state": "off"}
    return {
        "state": brake_word(state, now_ns),
        "since": format_utc(state.engaged_ns),
        "footage_hours": round(state.footage_ns / HOUR_NS, 3),
        "limit_hours": round(state.limit_ns / HOUR_NS, 3),
        "confirmed_at": None if state.confirmed_ns is None else format_utc(state.confirmed_ns),
        "confirmed_by": state.confirmed_by,
    }


def outlook_json(outlook: Outlook, now_ns: int) -> dict[str, Any]:
    from vms.localtime import format_utc

    run = outlook.last_run
    expired = {item.stream_id: item for item in outlook.expired}
    streams = []
    for one in outlook.expiring:
        camera, kind = outlook.streams[one.stream_id]
        due = expired.get(one.stream_id)
        streams.append(
            {
                "camera": {"number": camera.number, "name": camera.name}, "stream": kind.value,
                "stream_id": str(one.stream_id), "days": one.days, "oldest": format_utc(one.start_ns),
                "expires": format_utc(one.expires_ns), "expired_segments": due.segments if due else 0,
                "expired_hours": round(due.footage_ns / HOUR_NS, 3) if due else 0.0,
                "expired_bytes": due.size_bytes if due else 0,
            }
        )  # fmt: skip
    return {
        "at": format_utc(now_ns),
        "brake": brake_json(outlook.brake, now_ns),
        "rebuild": state_json(outlook.rebuild),
        "streams": streams,
        "deleted_hours_by_day": {_day(d): round(ns / HOUR_NS, 3) for d, ns in sorted(outlook.by_day.items())},
        "pending_segments": outlook.pending,
        "last_run": run and {"at": format_utc(run["at_ns"])} | {k: v for k, v in run.items() if k != "at_ns"},
    }


def _line_json(line: DeletedSegment, streams: Mapping[UUID, tuple[Camera, StreamKind]]) -> dict[str, Any]:
    from vms.localtime import format_utc

    camera, kind = streams[line.stream_id]
    return {
        "camera": {"number": camera.number, "name": camera.name},
        "stream": kind.value,
        "run": str(line.run_id),
        "number": line.number,
        "start": format_utc(line.start_ns),
        "end": format_utc(line.end_ns),
        "bytes": line.size_bytes,
        "sha256": line.digest.hex(),
        "seal": line.seal.hex(),
        "basis": line.basis,
        "condemned": format_utc(line.condemned_ns),
        "deleted": format_utc(line.deleted_ns),
    }


def _day(day: int) -> str:
    from vms.localtime import format_utc

    return format_utc(day * DAY_NS)[:10]
