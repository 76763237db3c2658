"""Every quirk of the simulator: what was recorded, with which time, and what the user is told.

All cameras are recorded at once, in one run that the tests share; each row below says what is special about a quirk.
docs/reference/cameras.md says the same to people and is compared with the quirks' names.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from recorder.sessions import SessionFolder
from tests.support.quirk_run import Seen, Taken, run_cameras
from tests.support.rtsp_watch import Collected
from tests.support.stack import MS, SECOND, Stack
from vms.model import GapReason
from vms.rtsp.client import RtspOptions, RtspSession
from vms.simulate import QUIRKS, CameraScript, Simulator, prepare_small
from vms.simulate.footage import read_clip

pytestmark = [pytest.mark.network, pytest.mark.slow, pytest.mark.xdist_group("quirks"), pytest.mark.timeout(240)]

SECONDS = 7.0
FRAME_NS = 40 * MS
SLEEPY_NS = 30 * MS
TAIL_UNITS = 7  # sent when the recorder had already stopped listening: a turn of reading, and one under way
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "cameras.md"
B_FRAMES = "B-frames add delay"
H265 = "H.265 does not play in every browser"

Check = Callable[[Seen], None]


@dataclass(frozen=True)
class Row:
    """What is special about a quirk. `advice` None: what is advised depends on where the test of the camera began."""

    recorded: Check
    timed: Check
    advice: tuple[str, ...] | None = ()
    told: Check = lambda _seen: None
    transport: str = "tcp"
    auth: str = ""
    records: bool = True


def planned_ns(seen: Seen) -> dict[int, int]:
    """Index → when the picture was due: media time laid through the moments of sending, from below."""
    least = min(r["utc_ns"] - r["pts"] * SECOND // 90_000 for r in seen.sent)
    return {r["index"]: least + r["pts"] * SECOND // 90_000 for r in seen.sent}


def matched(seen: Seen) -> list[dict[str, Any]]:
    """The journal's line of every recorded unit, in order; fails where one was never sent or comes out of order."""
    lines, at = [], 0
    for digest in seen.digests:
        while at < len(seen.sent) and seen.sent[at]["sha256"] != digest:
            at += 1
        assert at < len(seen.sent), f"unit {len(lines)} was not sent, or not in this order"
        lines.append(seen.sent[at])
        at += 1
    return lines


def slept_ns(seen: Seen) -> int:
    """How late even the promptest picture of the first seconds was, because this machine had no time for the test.

    The recorder then begins another run once it knows better, as it must; the time of the first is off by as much.
    """
    due = planned_ns(seen)
    return min(r["utc_ns"] - due[r["index"]] for r in seen.sent[:40])


# What was recorded


def whole(seen: Seen) -> None:
    """Every unit from the first key picture on, in one run, without gap or damage."""
    first = next(i for i, r in enumerate(seen.sent) if r["key"])
    assert seen.digests == [r["sha256"] for r in seen.sent[first:]][: len(seen.units)]
    assert len(seen.sent) - first - len(seen.units) <= TAIL_UNITS
    assert not any(u.damaged for u in seen.units)
    if slept_ns(seen) < SLEEPY_NS:
        assert len({u.segment.run_id for u in seen.units}) == 1
        undisturbed(seen)
        assert len(seen.timeline.spans) == 1


def undisturbed(seen: Seen) -> None:
    """Nothing is missing but the time before the start and after the stop."""
    assert {gap.reason for gap in seen.gaps} == {GapReason.RECORDER_RESTART}
    first = min(seen.units, key=lambda u: u.capture_ns)
    assert seen.gaps[0].end_ns == first.capture_ns, (seen.gaps, first.pts, first.segment, seen.state)


def whole_of_its_own(seen: Seen) -> None:
    """Whole, and under the parameter sets that are really in force."""
    whole(seen)
    clip = read_clip(SMALL()[seen.units[0].config.codec.value].main)
    assert {u.config.parameter_sets for u in seen.units} == {clip.config.parameter_sets}
    assert {(u.config.width, u.config.height) for u in seen.units} == {(320, 180)}


def in_two_sizes(seen: Seen) -> None:
    whole(seen)
    assert {(u.config.width, u.config.height) for u in seen.units} == {(320, 180), (160, 90)}
    for unit in seen.units:
        assert (unit.segment.width, unit.segment.height) == (unit.config.width, unit.config.height)


def in_two_sets(seen: Seen) -> None:
    whole(seen)
    assert len({u.config.parameter_sets for u in seen.units}) >= 2


def in_one_group(seen: Seen) -> None:
    whole(seen)
    assert [u.key for u in seen.units].count(True) == 1


def without_first_leading(seen: Seen) -> None:
    """The pictures that refer to what came before the first one cannot be decoded and are left out."""
    lines = matched(seen)
    left_out = lines[1]["index"] - lines[0]["index"] - 1
    assert 0 <= left_out <= 4
    rest = seen.sent[1 + left_out :]
    assert seen.digests[1:] == [r["sha256"] for r in rest][: len(seen.units) - 1]
    assert not any(u.damaged for u in seen.units)
    undisturbed(seen)


def but_half_a_second_at_each_change(seen: Seen) -> None:
    lines = matched(seen)
    lost = [b["index"] - a["index"] - 1 for a, b in pairwise(lines) if b["index"] - a["index"] > 1]
    assert 1 <= len(lost) <= 3
    assert all(10 <= n <= 25 for n in lost)
    gaps = [gap for gap in seen.gaps if gap.reason is GapReason.PACKET_LOSS]
    assert len(gaps) == len(lost)
    for gap, units in zip(gaps, lost, strict=True):
        assert gap.end_ns is not None
        assert abs(gap.end_ns - gap.start_ns - units * FRAME_NS) <= 150 * MS  # joined by arrival
        assert "ms of pictures lost" in gap.detail
    assert [m.range for m in seen.timeline.missing if m.reason is GapReason.PACKET_LOSS] != []
    assert any(u.damaged for u in seen.units)
    assert not any(u.damaged for u in seen.units if u.key)


def but_a_picture_at_each_reset(seen: Seen) -> None:
    lines = matched(seen)
    lost = [b["index"] - a["index"] - 1 for a, b in pairwise(lines)]
    assert max(lost) <= 2
    assert 1 <= sum(lost) <= 6
    assert {gap.reason for gap in seen.gaps} <= {GapReason.RECORDER_RESTART, GapReason.PACKET_LOSS}
    damaged = [u.damaged for u in seen.units]
    assert any(damaged)
    assert not any(u.damaged for u in seen.units if u.key)


def nothing(reason: GapReason, words: str) -> Check:
    """No unit; one gap with this reason and these words from the first attempt to the stop."""

    def check(seen: Seen) -> None:
        assert seen.units == []
        assert seen.timeline.spans == ()
        before, gap, after = seen.gaps
        assert (before.reason, after.reason) == (GapReason.RECORDER_RESTART, GapReason.RECORDER_RESTART)
        assert gap.reason is reason
        assert re.search(words, gap.detail)
        assert (before.end_ns, gap.end_ns) == (gap.start_ns, after.start_ns)
        assert (seen.state["reason"], seen.state["detail"]) == (reason, gap.detail)
        assert seen.state["attempts"] >= 2

    return check


# With which time


def on_time(seen: Seen) -> None:
    """Within 100 ms of when each picture was due, and evenly spaced."""
    due = planned_ns(seen)
    lines = matched(seen)
    worst = max((u.capture_ns - due[r["index"]] for u, r in zip(seen.units, lines, strict=True)), key=abs)
    assert abs(worst) <= 100 * MS + slept_ns(seen)
    if slept_ns(seen) >= SLEEPY_NS:
        return
    shown = sorted((u.capture_ns, r["pts"]) for u, r in zip(seen.units, lines, strict=True))
    for (earlier, from_pts), (later, to_pts) in pairwise(shown):
        assert abs(later - earlier - (to_pts - from_pts) * SECOND // 90_000) <= 2 * MS


def by_arrival(seen: Seen) -> None:
    """Within 100 ms of when each picture was sent, always rising."""
    for unit, line in zip(seen.units, matched(seen), strict=True):
        assert abs(unit.capture_ns - line["utc_ns"]) <= 100 * MS
    assert all(b.capture_ns > a.capture_ns for a, b in pairwise(seen.units))


def on_time_but_after_changes(seen: Seen) -> None:
    """Within 100 ms, and what the picture that the new numbering was joined at came late."""
    due = planned_ns(seen)
    late = max(r["utc_ns"] - due[r["index"]] for r in seen.sent)
    for unit, line in zip(seen.units, matched(seen), strict=True):
        assert abs(unit.capture_ns - due[line["index"]]) <= 100 * MS + late


def never(_seen: Seen) -> None:
    """Nothing was recorded."""


# What the user is told besides


def seven_hours_ahead(seen: Seen) -> None:
    assert abs(seen.state["camera_offset_ns"] - 7 * 3600 * SECOND) < SECOND


def no_false_clock(seen: Seen) -> None:
    assert abs(seen.state["camera_offset_ns"]) < SECOND


def twenty_one_a_second(seen: Seen) -> None:
    assert 20 <= seen.state["fps"] <= 22.5


def refused_alike(words: str) -> Check:
    """`vms camera test` says the same as the gap."""

    def check(seen: Seen) -> None:
        assert seen.refusal is not None
        assert seen.refusal[0] is seen.gaps[1].reason
        assert re.search(words, seen.refusal[1])

    return check


def first_attempt(seen: Seen) -> None:
    assert seen.state["attempts"] == 1


PLAIN = Row(whole_of_its_own, on_time)
RECODED = Row(whole, on_time)

ROWS: dict[str, Row] = {
    "marker_everywhere": PLAIN,
    "marker_never": PLAIN,
    "marker_on_sets": PLAIN,
    "pictureless_units": PLAIN,
    "several_slices": RECODED,
    "annexb_in_fu": PLAIN,
    "aud": PLAIN,
    "sets_only_in_sdp": PLAIN,
    "sets_absent_from_sdp": PLAIN,
    "sets_wrong_in_sdp": PLAIN,
    "sprop_garbage": PLAIN,
    "two_sets_in_turn": replace(RECODED, recorded=in_two_sets),
    "size_change": replace(RECODED, recorded=in_two_sizes),
    "cra_rasl": Row(without_first_leading, on_time, (B_FRAMES, H265)),
    "recovery_point": replace(RECODED, advice=(B_FRAMES,)),
    "intra_refresh": replace(RECODED, advice=None),  # whether another way in came within the seconds of the test
    "long_gop": Row(in_one_group, on_time, ("switch off the smart codec",)),
    "mid_gop_start": PLAIN,
    "rtptime_zero": PLAIN,
    "constant_timestamps": Row(whole, by_arrival, None),
    "timestamp_per_nal": PLAIN,
    "backward_timestamps": Row(whole, on_time, None),
    "slow_delivery": Row(whole, on_time, ("25 frames a second announced, 21 delivered",), told=twenty_one_a_second),
    "reports_jump": replace(PLAIN, told=no_false_clock),
    "clock_hours_off": replace(
        PLAIN, advice=("25200.0 s ahead of ours: set an NTP server",), told=seven_hours_ahead
    ),
    "b_frames": replace(RECODED, advice=(B_FRAMES,)),
    "near_wrap": PLAIN,
    "ssrc_change": Row(but_half_a_second_at_each_change, on_time_but_after_changes, None),
    "sequence_reset": Row(but_a_picture_at_each_reset, on_time_but_after_changes, None),
    "foreign_packets": PLAIN,
    "wrong_channels": PLAIN,
    "ssrc_first": PLAIN,
    "keepalive_refused": replace(PLAIN, told=first_attempt),
    "lingering_sessions": replace(PLAIN, advice=None, told=first_attempt),
    "udp_reorder": replace(PLAIN, transport="udp"),
    "rtp_padding": PLAIN,
    "rtp_extension": PLAIN,
    "stray_bytes": PLAIN,
    "absolute_control": PLAIN,
    "no_content_base": PLAIN,
    "redirect": PLAIN,
    "redirect_away": Row(
        nothing(GapReason.REFUSED, "leads to another host, 192.0.2.1"), never, None, refused_alike("another host"),
        records=False,
    ),
    "stale_nonce": replace(PLAIN, auth="straz:haslo", told=first_attempt),
    "garbage_sdp": Row(
        nothing(GapReason.REFUSED, r"DESCRIBE does not parse \(SDP"), never, None, refused_alike("does not parse"),
        records=False,
    ),
    "unsupported_codec": Row(
        nothing(GapReason.UNSUPPORTED_CODEC, "MPEG-4 Part 2.*set it to H.264 or H.265"), never,
        ("MP4V-ES is not recorded by the rtsp source",), records=False,
    ),
    "sends_nothing": Row(
        nothing(GapReason.STALLED, "sent no video at all within 4"), never, None, refused_alike("no video at all"),
        records=False,
    ),
}  # fmt: skip

H265_TOO = [n for n, q in QUIRKS.items() if q.group in ("access units", "parameter sets")]


def SMALL() -> dict[str, Any]:
    h264, h265, _ = prepare_small()
    return {"h264": h264, "hevc": h265}


async def leave_a_session(stack: Stack, _simulator: Simulator) -> None:
    """An earlier life of ours: a session that was never torn down, its id on disk."""
    stream = stack.cameras["lingering_sessions h264"].streams[0]
    kept = SessionFolder(stack.site.run / "sessions", str(stream.id))
    session = RtspSession.open(stream.url, options=RtspOptions(session_store=kept))
    await session.__aenter__()
    await session.setup(session.description.media[0], Collected())
    await session.play()
    transport = session._connection.wire.transport
    assert transport is not None
    transport.abort()
    await session._connection.ended.wait()


@pytest.fixture(scope="module")
def run(measured_once: Callable[[str, Callable[[], Any]], Any]) -> dict[str, Seen]:
    """Every quirk in H.264, and those of pictures and parameter sets in H.265 too: recorded once for all tests."""
    found: dict[str, Seen] = measured_once("quirks", measure)
    return found


def measure() -> dict[str, Seen]:
    footage = SMALL()
    taken = []
    for name, row in ROWS.items():
        for codec in ("h264", "hevc") if name in H265_TOO else ("h264",):
            username, _, password = row.auth.partition(":")
            taken.append(
                Taken(
                    f"{name} {codec}",
                    footage[codec],
                    CameraScript(quirks=frozenset({name}), auth=row.auth),
                    transport=row.transport,
                    username=username,
                    password=password,
                    probed=codec == "h264" and name != "lingering_sessions",
                    records=row.records,
                )
            )
    return asyncio.run(run_cameras(taken, seconds=SECONDS, before=leave_a_session))


def cases() -> list[str]:
    return [f"{name} {codec}" for name in QUIRKS for codec in (("h264", "hevc") if name in H265_TOO else ("h264",))]


def test_every_quirk_has_a_row() -> None:
    assert list(ROWS) == list(QUIRKS)


@pytest.mark.parametrize("case", cases())
def test_what_is_recorded(case: str, run: dict[str, Seen]) -> None:
    ROWS[case.split(maxsplit=1)[0]].recorded(run[case])


@pytest.mark.parametrize("case", cases())
def test_with_which_time(case: str, run: dict[str, Seen]) -> None:
    ROWS[case.split(maxsplit=1)[0]].timed(run[case])


@pytest.mark.parametrize("name", QUIRKS)
def test_what_the_user_is_told(name: str, run: dict[str, Seen]) -> None:
    row, seen = ROWS[name], run[f"{name} h264"]
    row.told(seen)
    if row.records:
        assert seen.states[-1]["state"] == "recording"
        assert (seen.state["reason"], seen.state["detail"]) == (None, "")
    if row.advice is not None:
        assert seen.report is not None
        assert len(seen.report.advice) == len(row.advice)
        for told, expected in zip(seen.report.advice, row.advice, strict=True):
            assert expected in told


def test_the_page_names_every_quirk_as_the_simulator_does() -> None:
    rows = re.findall(
        r"^\| `([a-z0-9_]+)` \| ([^|]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", PAGE.read_text(), re.MULTILINE
    )
    assert {name: does.strip() for name, does, *_ in rows} == {name: q.summary for name, q in QUIRKS.items()}
    assert len(rows) == len(QUIRKS)


def test_the_journal_names_the_bytes_that_are_compared() -> None:
    """The comparison is worth something: the journal's digests are of the files' samples, not of what was received."""
    clip = read_clip(SMALL()["h264"].main)
    assert [hashlib.sha256(u.data).hexdigest() for u in clip.units] == [u.sha256 for u in clip.units]
