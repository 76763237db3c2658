"""The status of a site as a table for the terminal. Shapes only: what is right or wrong was judged before.

Every state has a word and a sign besides its colour. What does not fit on the screen is left out from the good end:
streams that need a person come first then.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from vms.cli.output import printable
from vms.localtime import format_duration
from vms.model import StreamKind
from vms.status.site_judgement import (
    archiver_trouble,
    clock_trouble,
    live_trouble,
    named,
    spool_trouble,
    store_trouble,
    web_trouble,
)
from vms.status.site_status import CLOCK_OFF_NS, ArchiverLine, Level, SiteStatus, StreamLine
from vms.status.spool_disk import size
from vms.timeline import SECOND_NS

MOST_NOTES = 6
NARROW, WIDE = 70, 100
NONE = "-"
UNKNOWN = "?"
COLUMN_GAP = 2
STATE_WIDTH = 26  # "camera unreachable" with sign and minutes
_SIGNS = {Level.GOOD: "●", Level.STARTING: "◌", Level.BAD: "✖", Level.OFF: "-"}
_PLAIN_SIGNS = {Level.GOOD: "o", Level.STARTING: ".", Level.BAD: "!", Level.OFF: "-"}
_STYLES = {Level.GOOD: "green", Level.STARTING: "yellow", Level.BAD: "bold red", Level.OFF: "dim"}
_ORDER = (Level.BAD, Level.STARTING, Level.OFF, Level.GOOD)


def render(
    status: SiteStatus, *, width: int, height: int | None = None, all_streams: bool = False, plain: bool = False
) -> RenderableType:
    """The whole picture. `height` lines at most, if given; `plain` keeps to ASCII signs."""
    lines = shown_streams(status, all_streams=all_streams)
    feet = foot_lines(status, plain=plain)
    notes = note_lines(lines, width)
    chosen, left_out = lines, 0
    if height is not None:
        room = max(3, height - len(feet) - len(notes) - 6)
        chosen, left_out = fit(lines, room)
    parts: list[RenderableType] = [_table(chosen, status.at_ns, width, plain)]
    if left_out:
        parts.append(Text(f"and {left_out} more, which are better off", style="dim"))
    parts += notes
    parts += feet
    return Group(*parts)


def shown_streams(status: SiteStatus, *, all_streams: bool) -> list[StreamLine]:
    """Every camera's main stream; of the others all, or those in trouble while their main stream is not."""
    troubled = {s.number for s in status.recorded if s.level is not Level.GOOD}
    return [
        s
        for s in status.streams
        if all_streams or s.kind == StreamKind.MAIN or (s.level is Level.BAD and s.number not in troubled)
    ]


def fit(lines: Sequence[StreamLine], room: int) -> tuple[list[StreamLine], int]:
    """At most `room` lines, those that need a person first, in their old order otherwise; and how many are left out."""
    if len(lines) <= room:
        return list(lines), 0
    worst = sorted(range(len(lines)), key=lambda i: (_ORDER.index(lines[i].level), i))[:room]
    return [lines[i] for i in worst], len(lines) - room


def _table(lines: Sequence[StreamLine], now_ns: int, width: int, plain: bool) -> Table:
    """Figures keep their columns; name and state share what is left of the width."""
    digits = max((len(str(s.number)) for s in lines), default=0)
    figures = [("no", max(2, digits)), *((("fps", 4), ("Mbit/s", 6)) if width >= NARROW else ()), ("last", 6)]
    figures += [("gap today", 9)] if width >= NARROW else []
    figures += [("codec", 15), ("source", 6)] if width >= WIDE else []
    rest = max(20, width - sum(least for _, least in figures) - COLUMN_GAP * (len(figures) + 1))
    longest = max((len(_name(s)) for s in lines), default=0)
    name_width = min(max(6, longest), max(rest // 3, rest - STATE_WIDTH))
    table = Table(box=None, pad_edge=False, padding=(0, COLUMN_GAP, 0, 0), header_style="bold underline")
    table.add_column("no", justify="right", no_wrap=True)
    table.add_column("camera", no_wrap=True, overflow="ellipsis", max_width=name_width)
    table.add_column("state", no_wrap=True, overflow="ellipsis", max_width=rest - name_width)
    for name, least in figures[1:]:
        right = name not in ("codec", "source")
        table.add_column(name, justify="right" if right else "left", no_wrap=True, min_width=least if right else None)
    for line in lines:
        table.add_row(*_cells(line, now_ns, width, plain))
    return table


def _name(line: StreamLine) -> str:
    return printable(line.name) + ("" if line.kind == StreamKind.MAIN else f" ({line.kind})")


def _cells(line: StreamLine, now_ns: int, width: int, plain: bool) -> list[Text]:
    signs, style = _PLAIN_SIGNS if plain else _SIGNS, _STYLES[line.level]
    state = f"{signs[line.level]} {printable(line.word)}"
    if line.since_ns is not None and line.level in (Level.BAD, Level.STARTING):
        state += f" {short(now_ns - line.since_ns)}"
    cells = [Text(str(line.number)), Text(_name(line)), Text(state, style=style)]
    alive = line.level is Level.GOOD
    if width >= NARROW:
        cells.append(Text(f"{line.fps:.1f}" if line.fps else NONE))
        cells.append(Text(f"{line.bits_per_second / 1e6:.2f}" if line.bits_per_second else NONE))
    age = NONE if line.age_ns is None else f"{line.age_ns / 1e9:.1f} s" if line.age_ns < 6e10 else short(line.age_ns)
    cells.append(Text(age, style="" if alive or line.age_ns is None else style))
    if width >= NARROW:
        cells.append(Text(_gap_today(line)))
    if width >= WIDE:
        picture = f" {line.width}x{line.height}" if line.width else ""
        cells.append(Text(f"{line.codec}{picture}" if line.codec else NONE))
        cells.append(Text(line.source or NONE))
    return cells


def _gap_today(line: StreamLine) -> str:
    if line.gap_today_ns is None:
        return NONE if line.level is Level.OFF else UNKNOWN
    return short(line.gap_today_ns) if line.gap_today_ns >= 500_000_000 else NONE


def note_lines(lines: Sequence[StreamLine], width: int) -> list[RenderableType]:
    """One line for each thing that a cell has no room for, worst streams first."""
    found: list[str] = []
    for line in sorted(lines, key=lambda s: _ORDER.index(s.level)):
        who = f"{line.number} {_name(line)}"
        if line.level is Level.BAD and line.detail:
            found.append(f"{who}: {line.detail}")
        if line.source_why and line.level is not Level.OFF:
            found.append(f"{who}: received by {line.source}, because {line.source_why}")
        if line.clock_offset_ns is not None and abs(line.clock_offset_ns) > CLOCK_OFF_NS:
            way = "ahead" if line.clock_offset_ns > 0 else "behind"
            found.append(f"{who}: the camera's clock is {format_duration(abs(line.clock_offset_ns))} {way}")
    shown: list[RenderableType] = [_one_line(text, width, "") for text in found[:MOST_NOTES]]
    if len(found) > MOST_NOTES:
        shown.append(
            _one_line(f"and {len(found) - MOST_NOTES} more notes; all of them: vms status --json", width, "dim")
        )
    return shown


def foot_lines(status: SiteStatus, *, plain: bool = False) -> list[RenderableType]:
    """Totals, spool, store, retention and who answers: one short line each."""
    signs = _PLAIN_SIGNS if plain else _SIGNS
    main = [s for s in status.recorded if s.level is not Level.OFF]
    good = sum(s.level is Level.GOOD for s in main)
    rate = sum(s.bits_per_second for s in status.streams) / 1e6
    texts: list[tuple[str, str, Level]] = [
        (
            "cameras",
            f"{good} of {len(main)} recorded, {rate:.1f} Mbit/s" if main else "none yet; add one: vms camera add",
            Level.GOOD if good == len(main) else Level.BAD,
        )
    ]
    if status.problem:
        texts.append(("cameras", status.problem, Level.BAD))
    if clock := clock_trouble(status):
        texts.append(("clock", clock, Level.BAD))
    recorder = ("answers", Level.GOOD) if status.recorder_answers else ("does not answer", Level.BAD)
    texts.append(("recorder", *recorder))
    texts += _archiver_lines(status)
    texts += [(name, f"does not answer: {cost}", Level.BAD) for name, cost in _down(status)]
    texts += _given_up(status)
    width = max(len(name) for name, _, _ in texts)
    return [
        Text.assemble(f"{name:<{width}}  ", (f"{signs[level]} ", _STYLES[level]), printable(what), overflow="fold")
        for name, what, level in texts
    ]


def _down(status: SiteStatus) -> list[tuple[str, str]]:
    """The processes for people that should answer and do not, and what that costs; those that answer need no line."""
    costs = (
        ("web", web_trouble(status), "nobody can sign in"),
        ("live", live_trouble(status), "nobody sees live pictures"),
    )
    return [(name, cost) for name, trouble, cost in costs if trouble is not None]


def _archiver_lines(status: SiteStatus) -> list[tuple[str, str, Level]]:
    report = status.archiver
    if not status.archiver_answers:
        free = status.spool_free_bytes
        left = Level.GOOD if free else Level.BAD
        said = status.spool_too_small or f"{size(free or 0)} free on its disk beyond the reserve"
        disk = [] if free is None else [("spool", said, left)]
        return [("archiver", f"does not answer; {archiver_trouble(status)}", Level.BAD), *disk]
    assert report is not None
    spool = f"{size(report.spool_open_bytes)} open, {size(report.spool_sealed_bytes)} sealed, {_room(report)}"
    if status.spool_too_small:
        spool += f": {status.spool_too_small}"
    if report.spool_strays:
        spool += f", {report.spool_strays} files that are not ours"
    lines = [("archiver", "answers", Level.GOOD)]
    if report.catalogue_error:
        lines.append(("catalogue", report.catalogue_error, Level.BAD))
    lines.append(("spool", spool, Level.BAD if spool_trouble(status) else Level.GOOD))
    trouble = store_trouble(report) or report.lost_segments
    lines.append(("store", _store(status, report), Level.BAD if trouble else Level.GOOD))
    if report.retention_off:
        word = "off since the catalogue was rebuilt; nothing is deleted until a person confirms: vms rebuild --confirm"
        lines.append(("retention", word, Level.BAD))
    if report.retention_braked:
        lines.append(
            (
                "retention",
                "stopped by the clock brake; nothing is deleted until a person confirms: vms retention",
                Level.BAD,
            )
        )
    return lines


def _room(report: ArchiverLine) -> str:
    """How much more fits, in hours once the rate is known: a rate of the first seconds would promise too much."""
    room = report.spool_room_bytes
    if room == 0:
        return "no room left"
    if report.spool_hours is not None:
        return f"room for {_long(report.spool_hours)}"
    unknown = "for how long is known after a minute" if report.spool_bytes_per_second is None else "nothing comes in"
    return f"room for {size(room)}, {unknown}"


def _given_up(status: SiteStatus) -> list[tuple[str, str, Level]]:
    gone = status.given_up
    if not gone:
        return []
    since = "" if gone[0].since_ns is None else f", the first {short(status.at_ns - gone[0].since_ns)} ago"
    return [("given up", f"{len(gone)} streams for want of room{since}: {named(gone)}", Level.BAD)]


def _store(status: SiteStatus, report: ArchiverLine) -> str:
    text = f"{report.uploaded_segments} segments in ({size(report.uploaded_bytes)})"
    if report.running_ns is not None:
        text += f" since the archiver's start {short(report.running_ns)} ago"
    text += f", {report.backlog_segments} waiting"
    if report.backlog_segments:
        text += f" ({size(report.backlog_bytes)})"
    if report.backlog_segments and report.oldest_start_ns is not None:
        text += f", oldest {short(status.at_ns - report.oldest_start_ns)}"
    if report.lost_segments:
        text += f", {report.lost_segments} lost from the spool (see the log)"
    if report.journals_set_aside:
        text += f", {report.journals_set_aside} journals set aside (see the log)"
    if report.set_aside:
        text += f", {report.set_aside} set aside (see the log)"
    if report.store_error:
        text += f"; last error: {report.store_error}"
    return text


def _one_line(text: str, width: int, style: str) -> Text:
    shown = Text(printable(text), style=style, no_wrap=True, overflow="ellipsis")
    shown.truncate(max(20, width), overflow="ellipsis")
    return shown


def short(ns: int) -> str:
    """A duration in one or two units: `12 s`, `3 min 05 s`, `5 h 12 min`, `3 d 4 h`."""
    seconds = max(0, ns) // SECOND_NS
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    if seconds < 86_400:
        return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"
    return f"{seconds // 86_400} d {seconds % 86_400 // 3600} h"


def _long(hours: float) -> str:
    if hours >= 48:
        return f"{hours / 24:.0f} days"
    return f"{hours:.0f} h" if hours >= 2 else f"{hours * 60:.0f} min"
