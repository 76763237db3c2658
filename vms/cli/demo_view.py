"""What the demo shows: the status table on a terminal, a line every few seconds anywhere else; and its last sums."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import typer
from rich.console import Console
from rich.live import Live

from storage.catalogue import Missing, RecordedSegment
from vms.cli.output import printable
from vms.cli.status import is_plain
from vms.cli.status_table import render, short
from vms.localtime import format_duration
from vms.model import Gap, GapReason
from vms.status.site_status import Level, SiteStatus
from vms.status.spool_disk import size

LINE_SECONDS = 5.0
STARTING_SECONDS = 15.0  # a recorder that does not answer until then is starting; later it is down


class View:
    """`say` lines at any time; `show` the status while the `with` block lasts."""

    def __init__(self, *, interactive: bool) -> None:
        self._console = Console(file=sys.stdout, highlight=False)
        self._live = Live(console=self._console, auto_refresh=False, vertical_overflow="crop") if interactive else None
        self._next_line_s = 0.0

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, text: str) -> None:
        """One line that stays; on a terminal it scrolls by above the table."""
        if self._live is not None and self._live.is_started:
            self._console.print(printable(text), markup=False, soft_wrap=True)
        else:
            typer.echo(printable(text))

    def show(self, status: SiteStatus, seconds: float) -> None:
        """The table, or every few seconds a line."""
        if self._live is not None:
            console = self._console
            plain = is_plain(console.encoding)
            self._live.update(render(status, width=console.width, height=console.height, plain=plain), refresh=True)
        elif seconds >= self._next_line_s:
            self._next_line_s = seconds - seconds % LINE_SECONDS + LINE_SECONDS
            self.say(status_line(status, seconds))


def status_line(status: SiteStatus, seconds: float) -> str:
    """The status in one line: how many cameras are well, which are not and why, and how the store is."""
    if not status.recorder_answers and seconds < STARTING_SECONDS:
        return f"{seconds:3.0f} s: recorder and archiver are starting"
    main = status.recorded
    good = [s for s in main if s.level is Level.GOOD]
    text = f"{seconds:3.0f} s: {len(good)} of {len(main)} cameras recording"
    text += f", {sum(s.bits_per_second for s in good) / 1e6:.1f} Mbit/s"
    for line in main:
        if line.level is not Level.GOOD:
            since = "" if line.since_ns is None else f" for {short(status.at_ns - line.since_ns)}"
            text += f"; camera {line.number}: {line.word}{since}"
    if not status.recorder_answers:
        text += "; the recorder does not answer"
    if status.archiver is None or not status.archiver_answers:
        return text + "; the archiver does not answer"
    text += f"; store: {status.archiver.uploaded_segments} segments in, {status.archiver.backlog_segments} waiting"
    return text + (f", {status.archiver.store_error}" if status.archiver.store_error else "")


def summary_line(
    segments: Sequence[RecordedSegment], gaps: Sequence[Gap], missing: Sequence[Missing], cameras: int
) -> str:
    """What a run recorded and missed: how often by the gaps' rows, how long by what no segment covers.

    The open gap with which every recording ends is not counted. Lost packets often leave a gap inside of a segment.
    """
    told = [g for g in gaps if not (g.end_ns is None and g.reason is GapReason.RECORDER_RESTART)]
    counts = Counter(gap.reason for gap in told)
    lengths: Counter[GapReason] = Counter()
    for one in missing:
        lengths[one.reason] += one.range.duration_ns
    listed = ", ".join(
        f"{reason} {counts[reason]} ({format_duration(lengths[reason]) if lengths[reason] else 'within segments'})"
        for reason in sorted(counts)
    )
    stored = sum(s.location == "store" for s in segments)
    footage = format_duration(sum(s.end_ns - s.start_ns for s in segments))
    return (
        f"recorded {footage} of {cameras} cameras in {len(segments)} segments, {size(sum(s.size_bytes for s in segments))}, "
        f"{stored} of them in the store; gaps: {listed or 'none'}"
    )
