"""`vms status`: the judgement on streams, the table at every width, the archiver's file, and the command where nothing runs."""

from __future__ import annotations

import errno
import io
import json
import re
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from vms.assignment import Assignment, CameraAssignment
from vms.cli.demo_view import status_line
from vms.cli.status_table import fit, render, short
from vms.model import SourceKind, Stream, StreamKind
from vms.ntp import HostClock
from vms.site import Site
from vms.status.site_status import (
    ArchiverLine,
    Level,
    SiteStatus,
    StreamLine,
    judge,
    read_report,
    stream_lines,
)
from vms.status.spool_disk import SpoolDisk, ask_disk, size
from vms.status.status_json import status_json

NOW = 1_795_300_000_000_000_000
S = 1_000_000_000
WHO = StreamLine(12, "Łąkowa 7", "main", "s", Level.OFF, "switched off")
REPORT: dict[str, Any] = {
    "at_ns": NOW - S, "backlog_segments": 3, "backlog_bytes": 12_000_000, "oldest_start_ns": NOW - 90 * S,
    "uploaded_segments": 40, "uploaded_bytes": 1_200_000_000, "last_upload_s": 0.1, "lost_segments": 0,
    "set_aside": 0, "journals_waiting": 0, "journals_set_aside": 0, "spool_strays": 0, "catalogue_error": None, "store_error": None, "spool_open_bytes": 5_000_000,
    "spool_sealed_bytes": 12_000_000, "spool_room_bytes": 10**11, "spool_hours": 70.5, "retention_braked": False,
    "retention_off": False,
    "running_ns": None,
    "spool_bytes_per_second": 400_000,
    "clock_stepped_ns": 0,
}  # fmt: skip


def facts(**changes: Any) -> dict[str, Any]:
    """What the feed says of a stream that is recorded well."""
    return {
        "state": "recording", "reason": None, "detail": "", "source": "rtsp", "source_why": "", "codec": "h264",
        "width": 1920, "height": 1080, "fps": 25.0, "bits_per_second": 4_000_000, "last_unit_wall_ns": NOW - S // 25,
        "gap_since_ns": None, "gap_today_ns": 3 * S, "gaps_by_reason": {"stalled": 1}, "camera_offset_ns": None,
        "segments": 4, "bytes": 1000,
    } | changes  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "level", "word"),
    [
        ({}, Level.GOOD, "recording"),
        ({"state": "relaying"}, Level.GOOD, "relaying"),
        ({"last_unit_wall_ns": NOW - 5 * S}, Level.GOOD, "recording"),
        ({"last_unit_wall_ns": NOW - 5 * S - 1}, Level.BAD, "stale"),
        ({"last_unit_wall_ns": None}, Level.BAD, "stale"),
        ({"reason": "stalled", "gap_since_ns": NOW - 9 * S}, Level.BAD, "stalled"),
        ({"state": "waiting", "reason": "camera_unreachable"}, Level.BAD, "camera unreachable"),
        ({"state": "connecting", "reason": "recorder_restart"}, Level.STARTING, "connecting"),
        ({"state": "settling", "reason": "stalled"}, Level.STARTING, "settling"),
        ({"state": "connecting", "last_unit_wall_ns": None}, Level.STARTING, "connecting"),
        ({"state": "waiting", "last_unit_wall_ns": NOW - 60 * S}, Level.BAD, "no picture"),
        ({"state": "no_keyframe"}, Level.BAD, "no keyframe"),
        ({"state": "stopped"}, Level.OFF, "stopped"),
        ({"state": None}, Level.BAD, "unknown"),
    ],
)
def test_judgement(changes: dict[str, Any], level: Level, word: str) -> None:
    line = judge(WHO, facts(**changes), NOW)
    assert (line.level, line.word) == (level, word)


@given(
    st.sampled_from(["recording", "relaying", "connecting", "waiting", "settling", "no_keyframe", "stopped", "?"]),
    st.none() | st.integers(min_value=NOW - 10**15, max_value=NOW + 10**12),
    st.none() | st.sampled_from(["stalled", "recorder_restart", "refused"]),
)
def test_nothing_is_called_well_whose_last_picture_is_old(state: str, last_ns: int | None, reason: str | None) -> None:
    line = judge(WHO, facts(state=state, last_unit_wall_ns=last_ns, reason=reason), NOW)
    if line.level is Level.GOOD or line.word == "recording":
        assert last_ns is not None
        assert NOW - last_ns <= 5 * S
        assert reason is None
    if line.age_ns is None or line.age_ns > 5 * S:
        assert (line.fps, line.bits_per_second) == (0.0, 0)


@given(st.dictionaries(st.sampled_from(list(facts())), st.none() | st.text() | st.floats() | st.lists(st.integers())))
def test_any_answer_of_a_recorder_becomes_a_line_that_can_be_shown(changes: dict[str, Any]) -> None:
    line = judge(WHO, facts(**changes), NOW)
    shown(site(line), 80)
    json.dumps(status_json(site(line)), allow_nan=False)


def camera(number: int, *, enabled: bool = True) -> CameraAssignment:
    camera_id = UUID(int=number)
    streams = tuple(
        Stream(UUID(int=number * 10 + i), camera_id, kind, "rtsp://127.0.0.1/x", record=i == 0)
        for i, kind in enumerate((StreamKind.MAIN, StreamKind.SUB))
    )
    return CameraAssignment(
        camera_id, number, f"Rynek {number}", enabled, SourceKind.AUTO, "tcp", "", False, False, streams
    )


def test_every_assigned_stream_has_a_line_whatever_is_reported() -> None:
    assignment = Assignment((camera(1), camera(2), camera(3, enabled=False)))
    states = [facts(stream_id=str(UUID(int=10)))]
    words = {(s.number, s.kind): s.word for s in stream_lines(assignment, states, NOW)}
    assert words == {
        (1, "main"): "recording", (1, "sub"): "no answer", (2, "main"): "no answer", (2, "sub"): "no answer",
        (3, "main"): "switched off", (3, "sub"): "switched off",
    }  # fmt: skip
    down = stream_lines(assignment, None, NOW)
    assert [s.word for s in down] == ["recorder down"] * 4 + ["switched off"] * 2
    assert {s.level for s in down} == {Level.BAD, Level.OFF}


def site(*lines: StreamLine, report: dict[str, Any] | None = None, answers: bool = True) -> SiteStatus:
    found = None if report is None else archiver_line(report)
    return SiteStatus(
        NOW, "Konin", "/srv/stroz", "/srv/stroz/store", "4711", True, answers and found is not None, found, lines
    )


def archiver_line(report: dict[str, Any]) -> ArchiverLine:
    return ArchiverLine(**{name: report[name] for name in ArchiverLine.__dataclass_fields__})


def shown(status: SiteStatus, width: int, **options: Any) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(render(status, width=width, **options))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [40, 60, 80, 100, 140, 200])
def test_the_table_fits_every_width_and_keeps_the_state_readable(width: int) -> None:
    gone = judge(WHO, facts(state="waiting", reason="stalled", gap_since_ns=NOW - 125 * S), NOW)
    text = shown(site(judge(WHO, facts(), NOW), gone, report=REPORT), width)
    assert all(len(line.rstrip()) <= width for line in text.splitlines())
    assert "● recording" in text
    assert "✖ stalled" in text
    if width >= 80:
        assert "✖ stalled 2 min 05 s" in text
        assert "25.0" in text
        assert "4.00" in text


def test_what_does_not_fit_in_a_cell_is_a_note() -> None:
    line = judge(
        WHO,
        facts(
            state="waiting", reason="refused", detail="answered 453", source="libav", source_why="H.266",
            camera_offset_ns=-12_300_000_000,
        ),
        NOW,
    )  # fmt: skip
    text = shown(site(line, report=REPORT), 120)
    assert "12 Łąkowa 7: answered 453" in text
    assert "received by libav, because H.266" in text
    assert "the camera's clock is 12.3 s behind" in text


def test_spool_store_and_retention_are_told() -> None:
    troubled = REPORT | {
        "store_error": "no answer in time",
        "set_aside": 2,
        "retention_braked": True,
        "spool_hours": 0.5,
    }
    text = shown(site(report=troubled), 160)
    assert "room for 30 min" in text
    assert "40 segments in (1.2 GB), 3 waiting (12.0 MB), oldest 1 min 30 s, 2 set aside" in text
    assert "last error: no answer in time" in text
    assert "clock brake" in text
    assert "archiver   ● answers" in text


def test_a_clock_that_is_not_synchronised_is_told_and_an_unknown_one_is_not() -> None:
    for clock, told in ((HostClock(False, "kernel"), True), (HostClock(True, "kernel"), False), (HostClock(), False)):
        status = replace(site(report=REPORT), clock=clock)
        assert ("clock     ✖ not synchronised" in shown(status, 120)) is told
        assert status_json(status)["clock"]["synchronised"] is clock.synchronised


def test_what_needs_a_person_is_counted() -> None:
    counted = {"lost_segments": 3, "journals_set_aside": 2, "spool_strays": 4}
    text = shown(site(report=REPORT | counted), 200)
    assert "sealed, room for" in text
    assert ", 4 files that are not ours" in text
    assert ", 3 lost from the spool (see the log), 2 journals set aside (see the log)" in text
    told = status_json(site(report=REPORT | counted))
    assert (told["store"]["lost"], told["store"]["journals_set_aside"], told["spool"]["strays"]) == (3, 2, 4)
    for name in ("lost_segments", "journals_set_aside"):
        assert "store     ✖" in shown(site(report=REPORT | {name: 1}), 100)


def test_an_archiver_that_is_silent_is_not_believed() -> None:
    text = shown(site(report=REPORT | {"at_ns": NOW - 90 * S}, answers=False), 100)
    assert "archiver  ✖ does not answer; last heard of 1 min 30 s ago" in text
    assert "waiting" not in text


def test_a_camera_cannot_drive_the_terminal() -> None:
    line = judge(
        StreamLine(1, "a\x1b[2Jb", "main", "s", Level.OFF, ""), facts(reason="x\x1b]0;y\x07", detail="\x9b1m"), NOW
    )
    text = shown(site(line), 100)
    assert not {"\x1b", "\x07", "\x9b"} & set(text)


def test_streams_in_trouble_come_first_where_not_all_fit() -> None:
    lines = [judge(WHO, facts(), NOW) for _ in range(50)]
    bad = judge(WHO, facts(reason="stalled"), NOW)
    chosen, left_out = fit([*lines, bad], 10)
    assert chosen[0] == bad
    assert (len(chosen), left_out) == (10, 41)
    text = shown(site(*lines, bad, report=REPORT), 100, height=20)
    assert len(text.splitlines()) <= 20
    assert "more, which are better off" in text


def test_signs_without_unicode() -> None:
    line = judge(WHO, facts(reason="stalled"), NOW)
    assert "! stalled" in shown(site(line), 100, plain=True)


def test_durations_and_sizes() -> None:
    assert [short(s * S) for s in (-1, 59, 60, 3661, 90_000)] == ["0 s", "59 s", "1 min 00 s", "1 h 01 min", "1 d 1 h"]
    assert [size(n) for n in (0, 999, 12_300_000, 10**15)] == ["0 B", "999 B", "12.3 MB", "1000.0 TB"]


def test_the_archivers_file(tmp_path: Path) -> None:
    file = tmp_path / "archiver.json"
    assert read_report(file) is None
    file.write_text(json.dumps(REPORT))
    report = read_report(file)
    assert report is not None
    assert report.backlog_segments == 3
    for absurd in ({"at_ns": 10**30}, {"backlog_bytes": 10**400}, {"spool_strays": -1}):
        file.write_text(json.dumps(REPORT | absurd))
        assert read_report(file) is None


@given(
    st.binary(max_size=200)
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(lambda v: json.dumps(v).encode())
)
def test_an_archivers_file_of_any_content_is_read_or_refused(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "archiver.json"
        file.write_bytes(content)
        assert read_report(file) is None


def test_where_nothing_runs_the_command_says_how_to_start(vms: Any, data: Path) -> None:
    for arguments in (("status",), ("status", "--once")):
        result = vms(*arguments)
        assert result.exit_code == 1
        assert "nothing runs" in result.stderr
        assert f"vms --data {data} up" in result.stderr
    result = vms("status", "--json")
    assert result.exit_code == 1
    answer = json.loads(result.stdout)
    assert answer["process"] is None
    assert answer["recorder"] == {"answers": False}
    assert answer["archiver"] == {"answers": False, "at": None, "catalogue_error": None, "waits": None}
    assert answer["streams"] == []


def test_cameras_are_listed_even_when_the_recorder_is_down(vms: Any) -> None:
    assert vms("camera", "add", "Rynek", "rtsp://127.0.0.1:1/x").exit_code == 0
    answer = json.loads(vms("status", "--json").stdout)
    assert [(s["camera"]["name"], s["state"]) for s in answer["streams"]] == [("Rynek", "recorder down")]


def test_without_a_data_folder(vms: Any, tmp_path: Path) -> None:
    result = vms("--data", tmp_path / "none", "status")
    assert result.exit_code == 2


def test_a_stream_whose_worker_is_dead_has_an_unknown_gap_today_and_not_none() -> None:
    dead = replace(WHO, level=Level.BAD, word="no answer", gap_today_ns=None)
    assert "?" in shown(site(dead), 160).splitlines()[1]
    assert status_json(site(dead))["streams"][0]["gap_today_seconds"] is None


def test_without_an_archivers_report_the_spools_disk_is_told_all_the_same() -> None:
    silent = replace(site(WHO), archiver=None, archiver_answers=False, spool_free_bytes=0)
    assert re.search(r"spool +! 0 B free on its disk beyond the reserve", shown(silent, 160, plain=True))
    assert status_json(silent)["spool"] == {"disk_free_bytes": 0}


def test_a_spools_disk_smaller_than_the_reserve_is_told_with_both_sizes(data: Path) -> None:
    assert SpoolDisk(60_000_000, 64_000_000, 2 << 30).room_bytes == 0
    assert SpoolDisk(1 << 30, 4 << 30, 2 << 30).too_small is None
    small = SpoolDisk(60_000_000, 64_000_000, 2 << 30).too_small
    assert small is not None
    assert "its disk has 64.0 MB and spool.reserve_bytes is 2.1 GB" in small
    for status in (site(report=REPORT | {"spool_room_bytes": 0}), site(report=None, answers=False)):
        assert "64.0 MB" in shown(replace(status, spool_too_small=small, spool_free_bytes=0), 300)
    asked = ask_disk(Site.open(data))  # its spool is not made yet
    assert asked is not None
    assert asked.disk_bytes > 0


def test_what_the_archiver_counts_is_told_with_since_when() -> None:
    text = shown(site(report=REPORT | {"running_ns": 185 * S}), 200)
    assert "40 segments in (1.2 GB) since the archiver's start 3 min 05 s ago, 3 waiting" in text


def test_cameras_that_are_received_and_not_recorded_are_not_called_received() -> None:
    gone = judge(WHO, facts(reason="spool_full", detail="no room"), NOW)
    assert "0 of 1 recorded" in shown(site(gone), 100)


def test_a_demo_that_has_just_begun_is_starting_and_not_down() -> None:
    silent = replace(site(answers=False), recorder_answers=False)
    assert status_line(silent, 0.2) == "  0 s: recorder and archiver are starting"
    assert "the recorder does not answer" in status_line(silent, 20.0)


def test_a_report_is_overwritten_in_place_where_the_disk_has_no_room_for_a_second_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from storage.archive_process import replace_report

    file = tmp_path / "archiver.json"
    replace_report(file, json.dumps(REPORT).encode())

    def full(_self: Path, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    for backlog in (123_456_789, 4):  # longer than the one before, and shorter
        replace_report(file, json.dumps(REPORT | {"backlog_bytes": backlog}).encode())
        found = read_report(file)
        assert found is not None
        assert found.backlog_bytes == backlog
    assert [p.name for p in tmp_path.iterdir()] == ["archiver.json"]
    with pytest.raises(OSError, match="No space"):
        replace_report(tmp_path / "none.json", b"{}")
