"""Exports: exact to the frame, bit for bit, every hole a border, all of it or nothing."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import itertools
import json
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import av
import pytest

from storage.catalogue.values import CopyState
from storage.export import Export, Unexportable, Wish, export
from storage.export_file import ExportWriting
from storage.objects import FolderStore
from storage.reader import Reader
from tests.support import footage
from tests.support.encoded import aac, video
from tests.support.footage import FIRST_PTS, FRAME, FRAME_NS, Part, played, record, span
from tests.support.sealed import OBJECT_STORE, SPOOL_STORE, Site, open_site
from vms.errors import DigestMismatch, StoreUnavailable, UserError
from vms.localtime import format_utc
from vms.model import AccessUnit, ClockMapping, Codec, Gap, GapReason, RunInfo
from vms.timeline import TimeRange

NOW = 1 << 61


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    opened = await open_site(tmp_path)
    yield opened
    await opened.close()


@pytest.fixture
def output(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "klip.mp4"


async def cut(site: Site, output: Path, within: TimeRange, reader: Reader | None = None, **wishes: Any) -> Export:
    wish = Wish(site.stream_id, within, **wishes)
    return await export(reader or footage.reader(site), wish, output, now_ns=NOW, about={"reason": "próba"})


def side(done: Export) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(done.side_file.read_text())
    return facts


def ns(text: str) -> int:
    """RFC 3339 with up to nine digits, as a reader of the side file would."""
    whole, fraction = text.rstrip("Z").split(".")
    seconds = int(datetime.fromisoformat(whole).replace(tzinfo=UTC).timestamp())
    return seconds * 1_000_000_000 + int(fraction.ljust(9, "0"))


def capture_times(facts: dict[str, Any], presented: Sequence[int]) -> list[int]:
    """From the side file alone: when the pictures shown at `presented` ticks of a file were captured."""
    found = []
    for ticks in (facts["start_ticks"] + at for at in presented):
        segment = [s for s in facts["segments"] if s["start_ticks"] <= ticks][-1]
        m = segment["clock_mapping"]
        found.append(m["ns"] + (ticks - m["ticks"]) * (10**9 + m["rate_ppb"]) // m["hz"])
    return found


def test_times_of_the_side_file_are_read_back() -> None:
    assert ns(format_utc(1_790_000_000_123_456_789)) == 1_790_000_000_123_456_789


@pytest.mark.parametrize(
    ("codec", "b_frames", "options"),
    [(Codec.H264, 0, ()), (Codec.H264, 2, ()), (Codec.H265, 3, (("open-gop", "1"),))],
)
@pytest.mark.parametrize(("first", "last"), [(30, 45), (7, 60), (44, 45), (22, 26), (26, 29)])
async def test_exactly_the_pictures_of_the_range(  # noqa: PLR0917
    site: Site, output: Path, codec: Codec, b_frames: int, options: tuple[tuple[str, str], ...], first: int, last: int
) -> None:
    units = video(codec, 75, b_frames, 27, options)
    keys = [n for n, u in enumerate(units) if u.key]
    run = await record(site, units, keys[1:2], (-40_000, 25_000))
    within = span(run, first, last)
    done = await cut(site, output, within)
    (one,) = done.files
    whole = footage.pictures(units)
    shown = played(one.path)
    facts = side(done)["files"][0]
    times = capture_times(facts, [at for at, _ in shown])
    expected = sorted(units, key=lambda u: u.pts)
    clocks = footage.split(units, run, keys[1:2], (-40_000, 25_000))
    captured = [
        next(p for p in reversed(clocks) if p.start <= u.pts or p is clocks[0]).mapping.capture_ns(u.pts)
        for u in expected
    ]
    wanted = [n for n, at in enumerate(captured) if within.contains(at)]
    assert [data for _, data in shown] == [whole[n] for n in wanted]
    assert times == [captured[n] for n in wanted]
    assert one.pictures == len(wanted) == facts["pictures"]
    assert [at for at, _ in shown] == [expected[n].pts - expected[wanted[0]].pts for n in wanted]
    assert (ns(facts["start"]), ns(facts["end"])) == (one.start_ns, one.end_ns)
    assert one.start_ns == times[0]
    assert abs(one.end_ns - times[-1] - FRAME_NS) < 10_000
    assert facts["sha256"] == hashlib.sha256(output.read_bytes()).hexdigest()
    inside = footage.samples(output)
    assert inside == [u.data for u in units][(at := [u.data for u in units].index(inside[0])) :][: len(inside)]
    assert units[at].key
    assert expected[wanted[0]].pts <= units[at + len(inside) - 1].pts <= expected[wanted[-1]].pts


async def test_decoding_begins_in_the_segments_before_a_continuation(site: Site, output: Path) -> None:
    units = video(Codec.H264, 75, 0, 75)
    run = await record(site, units, (20, 40))
    done = await cut(site, output, span(run, 45, 50))
    (one,) = done.files
    assert [data for _, data in played(output)] == footage.pictures(units)[45:50]
    assert [s["shown"] for s in side(done)["files"][0]["segments"]] == [False, False, True]
    assert one.begins_with_key
    assert footage.samples(output) == [u.data for u in units[: one.units]]


async def test_whole_groups_of_pictures(site: Site, output: Path) -> None:
    units = video(Codec.H264, 75, 0, 25)
    run = await record(site, units, (50,))
    await cut(site, output, span(run, 30, 60), whole_gops=True)
    assert [data for _, data in played(output)] == footage.pictures(units)[25:75]


async def test_whole_groups_reach_into_the_segment_before(site: Site, output: Path) -> None:
    units = video(Codec.H264, 75, 0, 75)
    run = await record(site, units, (40,))
    await cut(site, output, span(run, 45, 50), whole_gops=True)
    assert len(played(output)) == 75


@pytest.mark.parametrize(("first", "lost"), [(40, 10), (45, 30)])  # up to a key each
async def test_a_gap_is_stated_and_from_a_second_on_makes_two_files(
    site: Site, output: Path, first: int, lost: int
) -> None:
    everything = video(Codec.H264, 100, 0, 25)
    units = [u for u in everything if not first <= (u.pts - FIRST_PTS) // FRAME < first + lost]
    run = await record(site, units, (25,))
    # The gap's end is rounded; the picture there belongs behind it all the same.
    end_ns = span(run, first + lost - 1, first + lost).end_ns + 5000
    gap = Gap(uuid4(), site.stream_id, span(run, first, first + 1).start_ns, end_ns, GapReason.PACKET_LOSS)
    await site.catalogue.put_gap(gap)
    done = await cut(site, output, span(run, 10, 90))
    whole = footage.pictures(everything)
    before, after = whole[10:first], whole[first + lost : 90]
    shown = [[data for _, data in played(one.path)] for one in done.files]
    assert shown == ([before, after] if lost == 30 else [before + after])
    assert [one.path.name for one in done.files] == (["klip-1.mp4", "klip-2.mp4"] if lost == 30 else ["klip.mp4"])
    (stated,) = side(done)["gaps"]
    assert (ns(stated["start"]), ns(stated["end"]), stated["reason"]) == (gap.start_ns, gap.end_ns, "packet_loss")
    total = sum(one.end_ns - one.start_ns for one in done.files) + (gap.end_ns - gap.start_ns if lost == 30 else 0)
    assert abs(total - done.within.duration_ns) < FRAME_NS


async def test_another_size_is_another_file(site: Site, output: Path) -> None:
    first = list(video(Codec.H264, 25, 0, 25))
    config = replace(first[0].config, width=80, height=48)
    second = [u._replace(pts=u.pts + 25 * FRAME, config=config) for u in first]
    run = await record(site, first + second, (25,))
    done = await cut(site, output, span(run, 5, 45))
    assert [(one.pictures, one.config.width) for one in done.files] == [(20, 160), (20, 80)]
    assert [(f["width"], f["height"]) for f in side(done)["files"]] == [(160, 96), (80, 48)]


async def test_several_runs_are_several_files(site: Site, output: Path) -> None:
    units = video(Codec.H264, 50, 0, 25)
    first = await record(site, units)
    second = await record(site, units, start_ns=first.start_ns + 3_000_000_000)
    done = await cut(site, output, TimeRange(first.start_ns, second.start_ns + 10 * FRAME_NS))
    assert [one.pictures for one in done.files] == [50, 10]
    assert [f["run"] for f in side(done)["files"]] == [str(first.id), str(second.id)]


async def test_a_segment_still_being_written(site: Site, output: Path) -> None:
    units = video(Codec.H264, 75, 0, 25)
    run = site.run()
    parts = footage.split(units, run, (25,))
    await footage.write(site, run, [parts[0], replace(parts[1], trailer=False)])
    done = await cut(site, output, span(run, 10, 60))
    assert [data for _, data in played(output)] == footage.pictures(units)[10:60]
    assert [s["sha256"] is None for s in side(done)["files"][0]["segments"]] == [False, True]


async def test_leading_pictures_without_what_they_refer_to_are_kept_and_not_shown(site: Site, output: Path) -> None:
    units = video(Codec.H265, 75, 3, 27, (("open-gop", "1"),))
    key = [n for n, u in enumerate(units) if u.key][1]
    leading = sum(u.pts < units[key].pts for u in units[key:])
    assert leading
    run = await record(site, units[key:])
    done = await cut(site, output, span(run, 0, 75))
    (one,) = done.files
    assert one.undecodable == leading == side(done)["files"][0]["undecodable"]
    assert len(played(output)) == one.pictures
    assert footage.samples(output)[: leading + 1] == [u.data for u in units[key : key + leading + 1]]


async def test_nothing_recorded(site: Site, output: Path) -> None:
    with pytest.raises(UserError, match="nothing was recorded"):
        await cut(site, output, TimeRange(10, 20))
    assert not list(output.parent.iterdir())


async def test_a_range_between_two_pictures(site: Site, output: Path) -> None:
    run = await record(site, video(Codec.H264, 50))
    with pytest.raises(UserError, match="no picture"):
        await cut(site, output, span(run, 10.2, 10.8))
    assert not list(output.parent.iterdir())


@pytest.mark.parametrize("name", ["klip.mp4", "klip.json", "klip-2.mp4"])
async def test_what_is_in_the_way_stays_and_nothing_is_left(site: Site, output: Path, name: str) -> None:
    units = video(Codec.H264, 50, 0, 25)
    first = await record(site, units)
    second = await record(site, units, start_ns=first.start_ns + 3_000_000_000)
    (output.parent / name).write_text("cudze")
    with pytest.raises(UserError, match=r"is already there|is not overwritten"):
        await cut(site, output, TimeRange(first.start_ns, second.start_ns + 10 * FRAME_NS))
    assert [p.name for p in output.parent.iterdir()] == [name]
    assert (output.parent / name).read_text() == "cudze"


async def test_a_name_taken_while_publishing_takes_the_others_away_again(tmp_path: Path) -> None:
    writing = ExportWriting(tmp_path / "k.mp4")
    pairs = []
    for name in ("k-1.mp4", "k-2.mp4"):
        temporary = writing.temporary()
        temporary.write_text(name)
        pairs.append((temporary, tmp_path / name))
    (tmp_path / "k-2.mp4").write_text("cudze")
    with pytest.raises(UserError, match="already there"):
        writing.publish(pairs)
    writing.undo()
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("k-2.mp4", "cudze")]


async def test_where_there_are_no_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    writing = ExportWriting(tmp_path / "k.mp4")
    temporary = writing.temporary()
    temporary.write_text("x")
    writing.publish([(temporary, tmp_path / "k.mp4")])
    writing.undo()
    assert [p.name for p in tmp_path.iterdir()] == ["k.mp4"]


async def test_what_cannot_be_logged_never_appears(site: Site, output: Path) -> None:
    run = await record(site, video(Codec.H264, 50))
    seen: list[str] = []

    def refuse(done: Export) -> None:
        seen.extend(one.path.name for one in done.files)
        assert not any(p.suffix == ".mp4" for p in output.parent.iterdir())
        raise UserError("no log")

    with pytest.raises(UserError, match="no log"):
        await export(
            footage.reader(site), Wish(site.stream_id, span(run, 0, 10)), output, now_ns=NOW, about={}, admit=refuse
        )
    assert seen == ["klip.mp4"]
    assert not list(output.parent.iterdir())


async def test_a_cancelled_export_leaves_nothing(site: Site, output: Path) -> None:
    run = await record(site, video(Codec.H264, 75, 0, 5), range(5, 75, 5))
    task: asyncio.Task[Export]

    def stop(done_ns: int, _: int) -> None:
        assert [p.name[0] for p in output.parent.iterdir()] == ["."]
        if done_ns > 10**9:
            task.cancel()

    wish = Wish(site.stream_id, span(run, 0, 75))
    task = asyncio.create_task(export(footage.reader(site), wish, output, now_ns=NOW, about={}, progress=stop))
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not list(output.parent.iterdir())


async def test_a_spool_copy_with_other_bytes_is_refused(site: Site, output: Path) -> None:
    run = await record(site, video(Codec.H264, 50))
    await site.catalogue.put_store(SPOOL_STORE)
    (sealed,) = site.spool.sealed()
    with sealed.path.open("r+b") as file:
        file.seek(3000)
        file.write(b"\0\1\2\3")
    with pytest.raises(Unexportable, match="not the bytes that were recorded") as told:
        await cut(site, output, span(run, 0, 50))
    assert isinstance(told.value.__cause__, DigestMismatch)
    assert not list(output.parent.iterdir())


async def test_bad_footage_says_which_time_and_what_can_be_exported(site: Site, output: Path, tmp_path: Path) -> None:
    run = await record(site, video(Codec.H264, 125, 0, 25), (25, 50, 75, 100))
    store = FolderStore(tmp_path / "store")
    await footage.archive(site, store)
    reader = footage.reader(site, **{OBJECT_STORE.name: store})
    objects = sorted((tmp_path / "store" / "segments").rglob("*.mp4"))
    for lost in objects[1:3]:
        lost.unlink()
    within = span(run, 0, 125)
    with pytest.raises(Unexportable) as told:
        await cut(site, output, within, reader)
    assert told.value.bad == span(run, 25, 75)
    assert (told.value.before_ns, told.value.after_ns) == (told.value.bad.start_ns, told.value.bad.end_ns)
    assert not list(output.parent.iterdir())
    for part in (TimeRange(within.start_ns, told.value.before_ns), TimeRange(told.value.after_ns, within.end_ns)):
        name = output.with_stem(str(part.start_ns))
        await cut(site, name, part, reader)
        assert len(played(name)) == (25 if part.start_ns == within.start_ns else 50)

    with pytest.raises(Unexportable) as told:
        await cut(site, output, span(run, 30, 60), reader)
    assert not output.exists()
    for segment in (await reader.segments(site.stream_id, within))[1:3]:  # as `vms check --repair` notes it
        (copy,) = (c for c in segment.copies if c.state is CopyState.PRESENT)
        await site.catalogue.record_copy(segment.ref, replace(copy, state=CopyState.MISSING))
    done = await cut(site, output, within, reader)
    assert [len(played(one.path)) for one in done.files] == [25, 50]
    assert [gap.reason for gap in done.missing] == [GapReason.LOST]
    assert (told.value.bad, told.value.before_ns, told.value.after_ns) == (span(run, 30, 60), None, None)


async def test_a_store_that_is_away_is_no_bad_footage(site: Site, output: Path, tmp_path: Path) -> None:
    run = await record(site, video(Codec.H264, 50), (25,))
    store = FolderStore(tmp_path / "store")
    await footage.archive(site, store)
    (tmp_path / "store").rename(tmp_path / "elsewhere")
    with pytest.raises(StoreUnavailable, match="not mounted"):
        await cut(site, output, span(run, 0, 50), footage.reader(site, **{OBJECT_STORE.name: store}))


async def test_from_the_store(site: Site, output: Path, tmp_path: Path) -> None:
    units = video(Codec.H264, 75, 2, 25)
    run = await record(site, units, (25, 50))
    store = FolderStore(tmp_path / "store")
    await footage.archive(site, store)
    assert not site.files()
    reader = footage.reader(site, **{OBJECT_STORE.name: store})
    await cut(site, output, span(run, 20, 60), reader)
    assert [data for _, data in played(output)] == footage.pictures(units)[20:60]


async def test_a_full_disk(site: Site, output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = await record(site, video(Codec.H264, 50))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="No space left on device; choose another -o"):
        await cut(site, output, span(run, 0, 50))
    assert not list(output.parent.iterdir())


def sound_parts(run: RunInfo, units: Sequence[AccessUnit], at: Sequence[int] = ()) -> list[Part]:
    edges = [0, *at, len(units)]
    clock = ClockMapping(0, run.start_ns, 16_000)
    return [
        Part(units[low:high], units[low].pts, units[high - 1].pts + 1024, clock)
        for low, high in itertools.pairwise(edges)
    ]


async def test_sound_is_joined(site: Site, output: Path) -> None:
    units, sound = video(Codec.H264, 75, 2, 25), aac(60)
    run = await record(site, units, (25, 50))
    heard = site.run(stream_id=uuid4())
    await footage.write(site, heard, sound_parts(heard, sound, (20,)))
    done = await cut(site, output, span(run, 10, 60), sound_id=heard.stream_id)
    facts = side(done)["files"][0]["sound"]
    assert facts["joined"]
    assert [data for _, data in played(output)] == footage.pictures(units)[10:60]
    inside = footage.samples(output, "audio")
    first = [u.data for u in sound].index(inside[0])
    assert inside == [u.data for u in sound][first : first + len(inside)]
    assert sound[first].pts / 16_000 < 0.4 - 1024 / 16_000
    assert sound[first + len(inside)].pts / 16_000 >= 2.4
    assert ns(facts["start"]) == run.start_ns + 10 * FRAME_NS
    assert abs(ns(facts["end"]) - run.start_ns - 60 * FRAME_NS) < 100_000
    assert facts["start_ticks"] == 6400
    assert len(facts["segments"]) == 2


async def test_sound_that_begins_later_is_delayed(site: Site, output: Path) -> None:
    units, sound = video(Codec.H264, 75), aac(60)
    run = await record(site, units)
    heard = site.run(stream_id=uuid4())
    await footage.write(site, heard, sound_parts(heard, sound[30:]))
    done = await cut(site, output, span(run, 10, 70), sound_id=heard.stream_id)
    joined = done.files[0].sound
    assert joined is not None
    assert joined.start_ns == run.start_ns + 30 * 1024 * 10**9 // 16_000
    with av.open(str(output)) as container:
        frame = next(container.decode(audio=0))
        assert frame.time == pytest.approx(30 * 0.064 - 0.4, abs=0.065)


async def test_sound_in_pieces_is_not_joined(site: Site, output: Path) -> None:
    run = await record(site, video(Codec.H264, 75))
    stream = uuid4()
    for n in (0, 25):
        heard = site.run(stream_id=stream)
        await footage.write(site, heard, sound_parts(heard, aac(60)[n : n + 20]))
    done = await cut(site, output, span(run, 0, 75), sound_id=stream)
    assert side(done)["files"][0]["sound"] == {
        "joined": False, "why": "the sound is in 2 pieces; export it alone with --stream audio",
    }  # fmt: skip


async def test_sound_alone(site: Site, output: Path) -> None:
    sound = aac(60)
    run = site.run()
    await footage.write(site, run, sound_parts(run, sound))
    done = await cut(site, output, TimeRange(run.start_ns + 10**9, run.start_ns + 2 * 10**9))
    wanted = [u for u in sound if 16_000 <= u.pts < 32_000]
    assert done.files[0].pictures == len(wanted)
    assert {u.data for u in wanted} <= set(footage.samples(output, "audio"))


async def test_the_documented_side_file_has_the_form_of_a_real_one(site: Site, output: Path) -> None:
    page = (Path(__file__).parents[3] / "docs/reference/export.md").read_text(encoding="utf-8")
    example = json.loads(page.partition("```json\n")[2].partition("```")[0])
    run = await record(site, video(Codec.H264, 50))
    real = side(await cut(site, output, span(run, 0, 50)))
    assert set(example) - {"camera", "stream_kind", "exported_by", "exported_at", "software"} == set(real)
    (file,), (real_file,) = example["files"], real["files"]
    assert list(file) == list(real_file)
    assert list(file["segments"][0]) == list(real_file["segments"][0])
    assert capture_times(file, [0, file["end_ticks"] - file["start_ticks"]]) == [ns(file["start"]), ns(file["end"])]
    assert file["segments"][0]["clock_mapping"]["ns"] == ns(file["segments"][0]["start"])
