"""What alarms are decided by: the judgement of `vms status`, kind by kind, and nothing that nobody can know."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from vms.alarms.decision import AlarmKind, Observation
from vms.alarms.words import WORDS
from vms.cli.alarm_findings import observe, patience_of
from vms.cli.status_table import render
from vms.ntp import HostClock
from vms.settings import AlarmsSection
from vms.status.site_judgement import spool_trouble
from vms.status.site_status import ArchiverLine, Level, SiteStatus, StreamLine

NOW = 1_795_300_000_000_000_000
S = 1_000_000_000
GOOD = StreamLine(12, "Rynek", "main", "a", Level.GOOD, "recording", camera_id="k12")
SUB = replace(GOOD, kind="sub", stream_id="b")
GONE = replace(GOOD, level=Level.BAD, word="spool full", reason="spool_full", detail="no room", since_ns=NOW - S)
REPORT = ArchiverLine(
    at_ns=NOW, backlog_segments=1, backlog_bytes=1000, oldest_start_ns=NOW - 60 * S, uploaded_segments=3,
    uploaded_bytes=3000, lost_segments=0, set_aside=0, journals_set_aside=0, catalogue_error=None, store_error=None,
    spool_open_bytes=100, spool_sealed_bytes=100, spool_room_bytes=10**9, spool_strays=0, spool_hours=0.1,
    retention_braked=False, spool_bytes_per_second=2_700_000,
)  # fmt: skip
WELL = SiteStatus(
    at_ns=NOW, name="Stróż", data="d", store="s", running_process="1", recorder_answers=True, archiver_answers=True,
    archiver=REPORT, streams=(GOOD, SUB), clock=HostClock(synchronised=True), spool_free_bytes=10**9,
)  # fmt: skip


def report(**changes: Any) -> SiteStatus:
    return replace(WELL, archiver=replace(REPORT, **changes))


def kinds(seen: Observation) -> set[str]:
    return {t.kind.value for t in seen.troubles if t.begins}


def test_what_answers_or_is_not_to_run_is_no_trouble() -> None:
    for answers in (True, None):
        assert kinds(observe(replace(WELL, web_answers=answers, live_answers=answers), 5)) == set()
    assert not replace(
        WELL, running_process=None, recorder_answers=False, archiver_answers=False, web_answers=True
    ).nothing_runs


def test_a_site_that_is_well_has_no_trouble_and_may_have_a_small_spool() -> None:
    seen = observe(WELL, 5)
    assert (seen.troubles, seen.unknown, seen.expected) == ((), frozenset(), {"k12"})
    assert (seen.wall_ns, seen.mono_ns) == (NOW, 5)


@pytest.mark.parametrize(
    ("status", "kind", "detail"),
    [
        (replace(WELL, streams=(GONE, SUB)), "camera_not_recording", "spool full: no room"),
        (
            replace(WELL, streams=(GOOD, replace(SUB, level=Level.BAD, word="refused"))),
            "camera_not_recording",
            "sub stream: refused",
        ),
        (
            replace(WELL, streams=(replace(GOOD, level=Level.STARTING, word="settling"),)),
            "camera_not_recording",
            "settling",
        ),
        (replace(WELL, recorder_answers=False), "recorder_down", "does not answer"),
        (replace(WELL, problem="the cameras to record cannot be read: wrong key"), "recorder_down", "wrong key"),
        (replace(WELL, web_answers=False), "web_down", "does not answer"),
        (replace(WELL, live_answers=False), "live_down", "does not answer"),
        (replace(WELL, archiver_answers=False, at_ns=NOW + 12 * S), "archiver_down", "last heard of 12.0 s ago"),
        (replace(WELL, archiver_answers=False, archiver=None), "archiver_down", "has not reported yet"),
        (replace(WELL, archiver_answers=False, archiver_waits="lost: vms rebuild"), "archiver_down", "it waits: lost:"),
        (replace(WELL, streams=(GONE, replace(SUB, reason="spool_full"))), "spool_over_budget", "12 sub, 12 main"),
        (report(spool_room_bytes=0), "spool_over_budget", "no room left"),
        (replace(WELL, spool_too_small="64 MB", streams=(GONE,)), "spool_over_budget", "64 MB; given up: 12 main"),
        (report(store_error="503"), "spool_over_budget", "room for 6 min"),
        (report(oldest_start_ns=NOW - 601 * S), "spool_over_budget", "does not leave"),
        (replace(WELL, archiver_answers=False, archiver=None, spool_free_bytes=0), "spool_over_budget", "no room"),
        (report(store_error="503 from the store"), "store_away", "503 from the store; 1 segments wait"),
        (report(set_aside=2), "store_away", "2 objects are set aside"),
        (report(journals_set_aside=1), "store_away", "1 objects are set aside"),
        (report(catalogue_error="no answer"), "catalogue_away", "no answer"),
        (replace(WELL, clock=HostClock(synchronised=False)), "clock_wrong", "not synchronised"),
        (replace(WELL, clock=HostClock(synchronised=True, offset_ns=3 * S)), "clock_wrong", "behind"),
        (replace(WELL, archiver=replace(REPORT, clock_stepped_ns=3600 * S)), "clock_wrong", "set forward by 1 h"),
        (replace(WELL, archiver=replace(REPORT, clock_stepped_ns=-3600 * S)), "clock_wrong", "set back by 1 h"),
        (report(retention_braked=True), "deletion_braked", ""),
    ],
)
def test_each_trouble_is_seen(status: SiteStatus, kind: str, detail: str) -> None:
    seen = observe(status, 0)
    found = [t for t in seen.troubles if t.kind == kind]
    assert len(found) == 1
    assert detail in found[0].detail
    assert found[0].subject == ("k12" if kind == "camera_not_recording" else "")
    assert found[0].kind not in seen.unknown


def test_a_camera_is_named_as_people_know_it_and_its_trouble_began_with_the_gap() -> None:
    (trouble,) = (t for t in observe(replace(WELL, streams=(GONE,)), 0).troubles if t.kind is AlarmKind.CAMERA)
    assert (trouble.name, trouble.since_ns) == ("camera 12 Rynek", NOW - S)


def test_who_does_not_answer_leaves_unknown_what_only_it_knows() -> None:
    silent = observe(
        replace(WELL, recorder_answers=False, streams=(replace(GONE, word="recorder down", reason=None),)), 0
    )
    assert kinds(silent) == {"recorder_down"}  # one trouble, not one of each camera
    assert silent.unknown == {AlarmKind.CAMERA, AlarmKind.SPOOL}
    silent = observe(replace(WELL, archiver_answers=False, archiver=replace(REPORT, store_error="503")), 0)
    assert kinds(silent) == {"archiver_down"}
    assert silent.unknown == {AlarmKind.STORE, AlarmKind.CATALOGUE, AlarmKind.BRAKE, AlarmKind.SPOOL}
    assert observe(replace(WELL, clock=HostClock()), 0).unknown == {AlarmKind.CLOCK}


def test_a_spool_alarm_ends_only_once_there_is_room_for_two_hours_or_footage_leaves() -> None:
    hardly = observe(report(store_error="503", spool_hours=1.5), 0)
    assert [(t.kind, t.begins) for t in hardly.troubles if t.kind is AlarmKind.SPOOL] == [(AlarmKind.SPOOL, False)]
    for well in (report(store_error="503", spool_hours=2.0), report(spool_hours=0.1)):
        assert AlarmKind.SPOOL not in {t.kind for t in observe(well, 0).troubles}


def test_streams_that_are_only_relayed_switched_off_or_sound_are_no_camera_that_does_not_record() -> None:
    bad = replace(GONE, reason=None, word="stalled")
    others = (
        GOOD,
        replace(bad, kind="sub", record=False),
        replace(bad, kind="audio"),
        replace(bad, camera_id="k13", level=Level.OFF, word="switched off"),
    )
    seen = observe(replace(WELL, streams=others), 0)
    assert (seen.troubles, seen.expected) == ((), {"k12"})


def test_the_table_is_red_where_the_alarm_is_raised() -> None:
    for status in (report(store_error="503"), report(spool_room_bytes=0), WELL):
        shown = io.StringIO()
        Console(width=160, file=shown).print(render(status, width=160, plain=True))
        (spool,) = (line for line in shown.getvalue().splitlines() if line.startswith("spool"))
        assert spool.split()[1] == ("o" if spool_trouble(status) is None else "!")


def test_every_kind_has_words_a_patience_and_a_place_in_the_reference() -> None:
    page = (Path(__file__).parents[3] / "docs" / "reference" / "alarms.md").read_text(encoding="utf-8")
    assert WORDS.keys() == set(AlarmKind)
    assert patience_of(AlarmsSection()).by_kind.keys() == set(AlarmKind)
    for kind in AlarmKind:
        assert f"| `{kind}` |" in page


def test_a_clock_alarm_ends_where_only_its_steps_can_be_known() -> None:
    """The kernel cannot be asked; that the clock was set, and set right again, the archiver knows."""
    unasked = replace(WELL, clock=HostClock())
    stepped = observe(replace(unasked, archiver=replace(REPORT, clock_stepped_ns=3600 * S)), 5)
    assert "clock_wrong" in kinds(stepped)
    over = observe(replace(unasked, archiver=replace(REPORT, clock_stepped_ns=0)), 5)
    assert (kinds(over), over.unknown) == (set(), frozenset())
    for silent in (replace(unasked, archiver=None, archiver_answers=False), unasked):
        assert AlarmKind.CLOCK in observe(silent, 5).unknown
