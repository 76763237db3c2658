"""`vms timeline` and `vms export` over real segments in a spool."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from storage.catalogue import Missing, Span, StreamTimeline
from storage.spool import Spool
from tests.support.encoded import made_up, small_config
from tests.support.sealed import segment_of
from tests.unit.cli.conftest import Vms
from vms.cli.footage import timeline_rows
from vms.localtime import format_local, format_utc, load_zone
from vms.media.segment_head import SegmentHead
from vms.media.segment_writer import SegmentWriter
from vms.model import ClockMapping, GapReason, Origin, RunClock, RunInfo, SegmentFacts
from vms.timeline import TimeRange

S = 1_000_000_000


def record(data: Path, stream: UUID, start_ns: int, *, still_open: bool = False) -> list[SegmentFacts]:
    """Two sealed segments of 10 s from `start_ns`, and the beginning of a third if asked for."""
    run = RunInfo(uuid4(), stream, Origin.LIVE, "rej-1", 0, RunClock.ARRIVAL, start_ns)

    async def work() -> list[SegmentFacts]:
        spool = Spool(data / "spool")
        spool.prepare()
        made = []
        for number in (0, 1):
            content, facts = segment_of(run, number, seconds=10)
            opened = spool.open_segment(stream, run.id, number)
            spool.write(opened, [content])
            await spool.seal(opened, facts)
            made.append(facts)
        if still_open:
            mapping = ClockMapping(0, start_ns, 90_000)
            begin = 20 * 90_000
            head = SegmentHead(stream, run.id, 2, Origin.LIVE, "rej-1", 0, RunClock.ARRIVAL, mapping, 0, begin, begin, True, bytes(32))  # fmt: skip
            writer = SegmentWriter(head, small_config())
            unit = made_up(begin, key=True, config=small_config())
            spool.write(
                spool.open_segment(stream, run.id, 2), [*writer.begin(), *writer.fragment([(unit, unit.pts, 90_000)])]
            )
        await spool.close()
        return made

    return asyncio.run(work())


@pytest.fixture
def recorded(vms: Vms, data: Path) -> tuple[int, list[SegmentFacts]]:
    """A camera "Rynek" with 20 s of footage and an open segment; when it began."""
    assert vms("camera", "add", "Rynek", "rtsp://10.0.0.5/x").exit_code == 0
    (camera,) = json.loads(vms("camera", "list", "--json").stdout)
    start_ns = (time.time_ns() // S - 600) * S
    return start_ns, record(data, UUID(camera["streams"][0]["id"]), start_ns, still_open=True)


def answer(result: Any) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    facts: dict[str, Any] = json.loads(result.stdout)
    return facts


def test_a_timeline_names_whole_segments_and_where_they_are(vms: Vms, recorded: tuple[int, list[SegmentFacts]]) -> None:
    start_ns, made = recorded
    facts = answer(vms("timeline", "rynek", "--from", format_utc(start_ns + 15 * S), "--to", "now", "--json"))
    assert facts["camera"]["number"] == 1
    assert facts["from"] == format_utc(start_ns + 15 * S)
    assert facts["segments"][0] == {
        "start": format_utc(start_ns + 10 * S),
        "end": format_utc(start_ns + 20 * S),
        "bytes": made[1].size_bytes,
        "sha256": made[1].digest.hex(),
        "location": "spool",
        "origin": "live",
        "late": False,
    }
    (being_written,) = facts["segments"][1:]
    assert (being_written["location"], being_written["sha256"]) == ("open", None)
    assert set(facts) == {"camera", "from", "to", "segments", "recorded", "gaps"}
    assert [(s["origin"], s["late"], s["damaged"]) for s in facts["recorded"]] == [("live", False, False)]


def test_a_timeline_for_people(vms: Vms, recorded: tuple[int, list[SegmentFacts]]) -> None:
    shown = vms("timeline", "1", "--from", "-1h", "--to", "now")
    assert shown.exit_code == 0, shown.output
    assert "recorded" in shown.stdout
    assert "Rynek" in shown.stderr


def test_rows_tell_spans_and_gaps_in_order() -> None:
    ranges = [TimeRange(0, 60 * S), TimeRange(60 * S, 67 * S), TimeRange(67 * S, 100 * S)]
    covered = StreamTimeline(
        uuid4(), (Span(ranges[0]), Span(ranges[2], damaged=True)), (Missing(ranges[1], GapReason.STALLED),)
    )
    assert [row[2:] for row in timeline_rows(covered, load_zone("Europe/Warsaw"))] == [
        ("1 min 00 s", "recorded"),
        ("7.0 s", "gap: stalled"),
        ("33.0 s", "recorded, damaged"),
    ]


def test_an_export_is_named_in_the_access_log(
    vms: Vms, data: Path, tmp_path: Path, recorded: tuple[int, list[SegmentFacts]]
) -> None:
    start_ns, _ = recorded
    file = tmp_path / "klip.mp4"
    facts = answer(
        vms(
            "export", "1", "--from", format_utc(start_ns + 5 * S), "--to", format_utc(start_ns + 15 * S), "-o", file,
            "--reason", "sprawa 7/2026", "--json",
        )
    )  # fmt: skip
    (one,) = facts["files"]
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert (one["sha256"], one["bytes"]) == (digest, file.stat().st_size)
    side = json.loads((tmp_path / "klip.json").read_text())
    assert side["reason"] == "sprawa 7/2026"
    (line,) = (data / "access.log").read_text(encoding="utf-8").splitlines()
    entry = json.loads(line)
    assert (entry["what"], entry["reason"], entry["camera_name"]) == ("export", "sprawa 7/2026", "Rynek")
    assert entry["files"] == [{"file": str(file), "sha256": digest}]


def test_an_export_of_bad_footage_says_what_can_be_exported(
    vms: Vms, data: Path, tmp_path: Path, recorded: tuple[int, list[SegmentFacts]]
) -> None:
    start_ns, _ = recorded
    with sorted((data / "spool" / "sealed").iterdir())[1].open("r+b") as file:
        file.seek(400)
        file.write(b"!")
    wish = ["export", "1", "--from", format_utc(start_ns), "-o", tmp_path / "k.mp4", "--reason", "sprawa 7/2026"]
    result = vms(*wish, "--to", "now")
    assert result.exit_code == 1
    zone = load_zone("Europe/Warsaw")
    bad, after = (format_local(start_ns + seconds * S, zone) for seconds in (10, 20))
    assert f'the footage of camera 1 "Rynek" from {bad} to {after} cannot be exported' in result.stderr
    assert f"--to '{bad}'" in result.stderr
    assert f"--from '{after}'" in result.stderr
    assert "vms check" in result.stderr
    assert not list(tmp_path.glob("k*"))
    assert vms(*wish, "--to", bad).exit_code == 0


def test_an_export_that_cannot_be_logged_is_taken_away(
    vms: Vms, data: Path, tmp_path: Path, recorded: tuple[int, list[SegmentFacts]]
) -> None:
    (data / "access.log").mkdir()
    result = vms("export", "1", "--from", "-1h", "--to", "now", "-o", tmp_path / "k.mp4", "--reason", "sprawa")
    assert result.exit_code == 2
    assert not list(tmp_path.glob("k*"))


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["timeline", "1"], "--day"),
        (["timeline", "1", "--day", "today", "--from", "now"], "not both"),
        (["timeline", "1", "--from", "now", "--to", "-1h"], "must come after"),
        (["timeline", "1", "--from", "2026-10-25 02:30", "--to", "now"], "twice"),
        (["timeline", "1", "--from", "2027-03-28 02:30", "--to", "2027-03-29"], "never happened"),
        (["timeline", "7", "--day", "today"], "7"),
        (["timeline", "1", "--day", "today", "--stream", "sub"], "it has: main"),
        (["export", "1", "--day", "today", "-o", "k.mp4"], "--reason"),
        (["export", "1", "--day", "today", "-o", "k.mp4", "--reason", "a\nb"], "--reason"),
        (["export", "1", "--day", "today", "-o", "k.avi", "--reason", "sprawa"], ".mp4"),
        (["export", "1", "--day", "today", "-o", "nie/ma/k.mp4", "--reason", "sprawa"], "does not exist"),
        (["export", "1", "--day", "today", "-o", "jest.mp4", "--reason", "sprawa"], "already there"),
        (["export", "1", "--day", "2026-01-01", "-o", "k.mp4", "--reason", "sprawa"], "nothing was recorded"),
    ],
)
def test_what_cannot_be_carried_out(vms: Vms, tmp_path: Path, args: list[str], words: str) -> None:
    assert vms("camera", "add", "Rynek", "rtsp://10.0.0.5/x").exit_code == 0
    (tmp_path / "jest.mp4").write_bytes(b"")
    before = sorted(p.name for p in tmp_path.iterdir())
    result = vms(*args)
    assert result.exit_code == 2, result.output
    assert words in result.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_no_catalogue_yet(vms: Vms, data: Path) -> None:
    (data / "catalogue.db").unlink()
    result = vms("timeline", "1", "--day", "today")
    assert result.exit_code == 2
    assert "vms migrate" in result.stderr
    assert not (data / "catalogue.db").exists()
