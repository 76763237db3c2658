"""Segmenter: cuts, fragments, holes and ends, on made-up and on really encoded streams."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recorder.holes import Hole, HoleFinder
from recorder.segmenter import Action, Begin, Finish, Fragment, Segmenter, SegmentPolicy, Skipped
from tests.support.encoded import RUN, WALL_NS, aac, made_up, mapping_at, small_config, video
from vms.errors import MalformedError
from vms.media.boxes import BytesSource
from vms.media.segment_head import ClockState
from vms.media.segment_reader import SegmentReader, scan_open, verify
from vms.model import AccessUnit, ClockMapping, Codec, CodecConfig

FRAME = 3600
SECOND = 1_000_000_000


def files_of(actions: list[Action]) -> list[bytes]:
    """The segments as files, checking that actions come in a sensible order."""
    files: list[bytes] = []
    is_open = False
    for action in actions:
        match action:
            case Begin():
                assert not is_open
                files.append(b"".join(action.buffers))
                is_open = True
            case Fragment():
                assert is_open
                assert action.offset == len(files[-1])
                files[-1] += b"".join(action.buffers)
                assert len(files[-1]) == action.offset + action.size_bytes
                assert len(action.buffers) <= 1024
            case Finish():
                assert is_open
                files[-1] += b"".join(action.buffers)
                assert action.facts.size_bytes == len(files[-1])
                is_open = False
    assert not is_open
    return files


def cut(
    units: list[AccessUnit], policy: SegmentPolicy | None = None, end_pts: int | None = None, turn: int = 0
) -> list[Action]:
    """Everything the segmenter says; after every `turn` units a turn of reading ends."""
    segmenter = Segmenter(RUN, mapping_at, policy=policy)
    actions: list[Action] = []
    for n, unit in enumerate(units, 1):
        actions += segmenter.push(unit)
        if turn and n % turn == 0:
            actions += segmenter.end_turn()
    return actions + segmenter.flush(end_pts)


def facts_of(actions: list[Action]) -> list:
    return [a.facts for a in actions if isinstance(a, Finish)]


def same(unit: AccessUnit) -> tuple:
    return unit.pts, unit.data, unit.key, unit.damaged


def steady(seconds: int, gop: int = 50, start: int = 0, config: CodecConfig | None = None) -> list[AccessUnit]:
    config = config or small_config()
    return [made_up(start + n * FRAME, key=n % gop == 0, config=config) for n in range(seconds * 25)]


def test_cuts_at_the_first_key_unit_after_the_target():
    actions = cut(steady(150, gop=75))
    facts = facts_of(actions)
    assert [f.duration_ticks for f in facts] == [60 * 90_000, 60 * 90_000, 30 * 90_000]
    assert [f.start_ns for f in facts] == [WALL_NS + n * 60 * SECOND for n in range(3)]
    assert [f.end_ns for f in facts[:-1]] == [f.start_ns for f in facts[1:]]
    assert all(f.independent for f in facts)
    assert [f.number for f in facts] == [0, 1, 2]


def test_fragments_come_at_each_key_unit_and_every_half_second():
    fragments = [a for a in cut(steady(8)) if isinstance(a, Fragment)]
    assert [f.units for f in fragments[:5]] == [12, 12, 12, 12, 2]
    assert [f.key for f in fragments[:6]] == [True, False, False, False, False, True]


def test_what_a_turn_brought_is_written_at_its_end_if_it_is_much():
    few = cut(steady(8), turn=6)
    assert files_of(few) == files_of(cut(steady(8)))
    much = cut(steady(8), SegmentPolicy(turn_bytes=1), turn=6)
    assert [a.units for a in much if isinstance(a, Fragment)][:4] == [5, 6, 6, 6]  # one unit is always held back
    assert verify(BytesSource(files_of(much)[0])).sound


def test_without_a_key_unit_the_stream_goes_on_as_a_continuation():
    facts = facts_of(cut(steady(700, gop=10**6)))
    assert [f.independent for f in facts] == [True, False, False]
    assert all(f.duration_ticks <= 300 * 90_000 for f in facts)
    assert [f.end_ns for f in facts[:-1]] == [f.start_ns for f in facts[1:]]
    assert sum(f.units for f in facts) == 700 * 25


def test_a_segment_never_exceeds_its_bytes():
    config = small_config()
    units = [made_up(n * FRAME, key=n == 0, config=config, size=20_000) for n in range(200)]
    actions = cut(units, SegmentPolicy(max_bytes=1_000_000))
    assert len(facts_of(actions)) > 3
    assert all(f.size_bytes <= 1_000_000 for f in facts_of(actions))


def test_nothing_before_the_first_key_unit_is_written_but_it_is_told():
    units = steady(4)[10:]
    actions = cut(units)
    assert actions[0] == Skipped(40, 10 * FRAME, 50 * FRAME)
    assert isinstance(actions[1], Begin)
    assert facts_of(actions)[0].units == len(units) - 40


def test_a_stream_without_any_key_unit():
    segmenter = Segmenter(RUN, mapping_at)
    units = steady(2, gop=10**6)[1:]
    assert [a for u in units for a in segmenter.push(u)] == []
    assert segmenter.waiting_for_key
    assert segmenter.skipped_units == 49
    assert segmenter.flush() == [Skipped(49, FRAME, 49 * FRAME)]


def test_a_changed_configuration_begins_a_segment_at_its_key_unit():
    first, second = small_config(), replace(small_config(), width=320)
    units = steady(10, config=first) + steady(10, start=10 * 90_000, config=second)
    facts = facts_of(cut(units))
    assert [f.width for f in facts] == [160, 320]
    assert facts[0].end_ns == facts[1].start_ns


def test_an_equal_configuration_is_no_change():
    units = steady(10) + steady(10, start=10 * 90_000, config=replace(small_config()))
    assert len(facts_of(cut(units))) == 1


@pytest.mark.parametrize("codec", [Codec.H264, Codec.H265])
def test_parameter_sets_that_change_all_the_time_go_in_band(codec):
    first = video(codec, 2)[0].config
    # Another quantiser in the PPS is another set.
    other = video(codec, 2, 0, 25, (("crf", "40"), ("cabac", "0")) if codec is Codec.H264 else (("ctu", "16"),))
    second = other[0].config
    assert first.parameter_sets != second.parameter_sets
    units = [u for n in range(80) for u in steady(2, start=n * 180_000, config=(first, second)[n % 2])]
    actions = cut(units)
    begins = [a for a in actions if isinstance(a, Begin)]
    assert begins[-1].in_band
    assert len(begins) < 12
    read = []
    for file in files_of(actions):
        assert verify(BytesSource(file)).sound
        read += list(SegmentReader(BytesSource(file)).units())
    assert [same(u) for u in read] == [same(u) for u in units]
    assert [u.config.parameter_sets for u in read] == [u.config.parameter_sets for u in units]


def test_another_reorder_depth_always_cuts():
    first, second = small_config(), replace(small_config(), reorder_depth=2)
    units = steady(10, config=first) + steady(10, start=10 * 90_000, config=second)
    facts = facts_of(cut(units))
    assert [f.units for f in facts] == [250, 250]
    assert facts[0].end_ns == facts[1].start_ns


def test_a_hole_is_reported_and_joined_within_a_second():
    units = [u for n, u in enumerate(steady(20)) if n not in {100, 101, 110, 300}]
    holes = [a for a in cut(units) if isinstance(a, Hole)]
    assert holes == [
        Hole(((100 * FRAME, 102 * FRAME), (110 * FRAME, 111 * FRAME))),
        Hole(((300 * FRAME, 301 * FRAME),)),
    ]
    joined = holes[0]
    assert (joined.start_pts, joined.end_pts) == (100 * FRAME, 111 * FRAME)
    assert (joined.missing_ticks, joined.longest_ticks) == (3 * FRAME, 2 * FRAME)


def test_no_hole_in_a_slow_or_unsteady_stream():
    config = small_config()
    times = [n * 9000 + (0, 1500, 300, 2900)[n % 4] for n in range(100)]
    assert not [
        a for a in cut([made_up(t, key=n == 0, config=config) for n, t in enumerate(times)]) if isinstance(a, Hole)
    ]


def test_a_hole_between_segments_stays_between_them():
    units = [u for n, u in enumerate(steady(130)) if not 1450 <= n < 1500]
    actions = cut(units)
    facts = facts_of(actions)
    assert facts[0].end_ns == WALL_NS + 58 * SECOND
    assert facts[1].start_ns == WALL_NS + 60 * SECOND
    assert [a for a in actions if isinstance(a, Hole)] == [Hole(((1450 * FRAME, 1500 * FRAME),))]


def test_a_hole_between_segments_is_joined_to_none_within_them():
    """One that reached over a segment's end would be shown neither within it nor beside it."""
    lost = {1430, 1440, *range(1450, 1500), 1510}
    holes = [a.spans for a in cut([u for n, u in enumerate(steady(130)) if n not in lost]) if isinstance(a, Hole)]
    assert holes == [
        ((1430 * FRAME, 1431 * FRAME), (1440 * FRAME, 1441 * FRAME)),
        ((1450 * FRAME, 1500 * FRAME),),
        ((1510 * FRAME, 1511 * FRAME),),
    ]


def test_a_hole_at_the_end_of_a_reordered_stream_is_not_forgotten():
    finder = HoleFinder(2, 90_000)
    for n in range(10):
        finder.add(n * FRAME)
    finder.add(20 * FRAME)
    assert finder.ended() == []
    assert finder.flush() == [Hole(((10 * FRAME, 20 * FRAME),))]


@pytest.mark.parametrize("codec", [Codec.H264, Codec.H265])
@pytest.mark.parametrize("b_frames", [0, 2, 3])
def test_real_video_comes_back_bit_for_bit(codec, b_frames):
    units = list(video(codec, 100, b_frames))
    actions = cut(units, SegmentPolicy(target_ns=SECOND))
    files = files_of(actions)
    assert len(files) == 4
    read = [u for f in files for u in SegmentReader(BytesSource(f)).units()]
    assert [same(u) for u in read] == [same(u) for u in units]
    assert read[0].config == units[0].config
    facts = facts_of(actions)
    assert [f.end_ns for f in facts[:-1]] == [f.start_ns for f in facts[1:]]
    assert sum(f.duration_ticks for f in facts) == 100 * FRAME
    for file, stated in zip(files, facts, strict=True):
        assert verify(BytesSource(file)).facts == stated
        assert verify(BytesSource(file)).sound


def test_open_groups_keep_their_leading_pictures_and_borders():
    units = list(video(Codec.H265, 96, 3, 24, (("open-gop", "1"), ("min-keyint", "1"))))
    assert any(u.pts < key.pts for key in units[10:] if key.key for u in units[units.index(key) :])
    actions = cut(units, SegmentPolicy(target_ns=SECOND * 9 // 10))
    facts = facts_of(actions)
    assert len(facts) > 2
    assert [f.end_ns for f in facts[:-1]] == [f.start_ns for f in facts[1:]]
    read = [u for f in files_of(actions) for u in SegmentReader(BytesSource(f)).units()]
    assert [same(u) for u in read] == [same(u) for u in units]


def test_audio_is_cut_anywhere_and_in_half_second_fragments():
    config = aac()[0].config
    units = [AccessUnit(n * 1024, b"x%d" % n, True, config, 0) for n in range(2000)]
    segmenter = Segmenter(RUN, lambda pts: mapping_at(pts, 16_000))
    actions = [a for u in units for a in segmenter.push(u)] + segmenter.flush()
    facts = facts_of(actions)
    assert len(facts) == 3
    assert [f.end_ns for f in facts[:-1]] == [f.start_ns for f in facts[1:]]
    assert max(a.units for a in actions if isinstance(a, Fragment)) == 7
    assert all(verify(BytesSource(f)).sound for f in files_of(actions))


def test_damage_is_counted_and_stated():
    units = [u._replace(damaged=60 <= n < 100) for n, u in enumerate(steady(8))]
    actions = cut(units)
    reader = SegmentReader(BytesSource(files_of(actions)[0]))
    assert reader.trailer.damaged_ns == ((WALL_NS + 60 * SECOND // 25, WALL_NS + 4 * SECOND),)
    assert [u.damaged for u in reader.units()] == [u.damaged for u in units]
    assert facts_of(actions)[0].damaged_units == 40


def test_the_clocks_state_at_the_end_is_in_the_trailer():
    state = ClockState(True, "tempus1.gum.gov.pl", -1_500_000, 7_000_000_000, 3_000_000)
    segmenter = Segmenter(RUN, mapping_at, clock_state=lambda: state)
    actions = [a for u in steady(2) for a in segmenter.push(u)] + segmenter.flush()
    assert SegmentReader(BytesSource(files_of(actions)[0])).trailer.clock_state == state


def test_a_known_follower_ends_the_last_segment():
    assert facts_of(cut(steady(2), end_pts=50 * FRAME + 100))[0].duration_ticks == 50 * FRAME + 100
    assert facts_of(cut(steady(2), end_pts=90 * FRAME))[0].duration_ticks == 50 * FRAME


def test_one_unit_alone_lasts_a_nominal_frame():
    facts = facts_of(cut(steady(1)[:1]))
    assert facts[0].units == 1
    assert facts[0].duration_ticks == FRAME


def test_flush_of_nothing():
    assert Segmenter(RUN, mapping_at).flush() == []


def test_constant_timestamps_lose_nothing():
    config = small_config()
    units = [made_up(n, key=n == 0, config=config)._replace(pts=0) for n in range(1500)]
    read = [u for f in files_of(cut(units)) for u in SegmentReader(BytesSource(f)).units()]
    assert [same(u) for u in read] == [same(u) for u in units]


def test_a_jump_of_media_time_is_refused():
    segmenter = Segmenter(RUN, mapping_at)
    segmenter.push(steady(1)[0])
    with pytest.raises(MalformedError):
        segmenter.push(made_up(1 << 40, key=True, config=small_config()))


def test_a_mapping_of_another_clock_is_refused():
    segmenter = Segmenter(RUN, lambda pts: ClockMapping(pts, 0, 8000))
    with pytest.raises(ValueError, match="8000"):
        [segmenter.push(u) for u in steady(1)]


def test_a_file_cut_off_at_any_fragment_is_readable_to_there():
    segmenter = Segmenter(RUN, mapping_at)
    units = steady(4)
    data = b""
    count = 0
    for unit in units:
        for action in segmenter.push(unit):
            data += b"".join(action.buffers)
            count += action.units if isinstance(action, Fragment) else 0
            scan = scan_open(BytesSource(data + b"\0\0\1"))
            assert scan.whole_bytes == len(data)
            assert sum(f.units for f in scan.fragments) == count
    assert [same(u) for u in SegmentReader(BytesSource(data)).units()] == [same(u) for u in units[:count]]


@st.composite
def streams(draw) -> list[AccessUnit]:
    """Units in decoding order with lost ones, odd steps, key units here and there, reordering, changing sets."""
    depth = draw(st.sampled_from([0, 0, 1, 2]))
    configs = [replace(small_config(), reorder_depth=depth), replace(small_config(), reorder_depth=depth, width=320)]
    config = configs[0]
    pts = draw(st.integers(-(10**6), 10**12))
    units: list[AccessUnit] = []
    for _ in range(draw(st.integers(1, 40))):
        group = draw(st.integers(1, 12))
        step = draw(st.sampled_from([1, 1800, 3600, 3600, 9000, 90_000]))
        times = [pts + n * step for n in range(group)]
        if depth and group > depth + 1:
            times[1 : depth + 2] = [times[depth + 1], *times[1 : depth + 1]]
        if draw(st.booleans()):
            config = draw(st.sampled_from(configs))
        key = draw(st.integers(0, 3)) > 0
        size = draw(st.integers(0, 3000))
        lost = draw(st.integers(0, 20))
        damaged = False
        for n, t in enumerate(times):
            if n and n == lost:
                damaged = True
                continue
            units.append(made_up(t, key=key and n == 0, config=config, size=size, damaged=damaged))
        pts += group * step + draw(st.sampled_from([0, 0, 0, -step // 2, 40_000, 400_000]))
    return units


@settings(max_examples=100, deadline=None)
@given(
    streams(),
    st.builds(
        SegmentPolicy,
        target_ns=st.integers(0, 20 * SECOND),
        max_ns=st.integers(20 * SECOND, 60 * SECOND),
        max_bytes=st.integers(100_000, 200_000),
        fragment_ns=st.integers(SECOND // 100, SECOND),
        turn_bytes=st.integers(1, 6000),
    ),
    st.integers(0, 12),
)
def test_whatever_comes_nothing_is_lost_and_limits_hold(units, policy, turn):
    actions = cut(units, policy, turn=turn)
    keys = [n for n, u in enumerate(units) if u.key]
    expected = units[keys[0] :] if keys else []
    read: list[AccessUnit] = []
    facts = facts_of(actions)
    files = files_of(actions)
    for file, stated in zip(files, facts, strict=True):
        check = verify(BytesSource(file))
        assert check.sound, check.problems
        assert check.facts == stated
        reader = SegmentReader(BytesSource(file))
        decode_times = [f.decode_time for f in reader._fragments(reader.start.size_bytes)]
        assert decode_times[0] == 0
        assert decode_times == sorted(set(decode_times))
        assert all(row[0] > 0 for f in reader._fragments(reader.start.size_bytes) for row in f.rows)
        assert stated.duration_ticks * SECOND <= policy.max_ns * 90_000 or stated.units == 1
        assert len(file) <= policy.max_bytes or stated.units == 1
        part = list(reader.units())
        assert part[0].key == stated.independent
        read += part
    assert [same(u) for u in read] == [same(u) for u in expected]
    for before, after in pairwise(facts):
        assert before.end_ns <= after.start_ns
        assert after.number == before.number + 1
    skipped = sum(a.units for a in actions if isinstance(a, Skipped))
    assert skipped + len(read) == len(units)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2), st.integers(1, 40), st.integers(200, 900), st.integers(0, 10**15))
def test_a_stream_without_loss_is_covered_without_seams(depth, gop, count, start):
    config = replace(small_config(), reorder_depth=depth)
    pattern = list(range(count))
    if depth:
        for n in range(1, count - depth, gop + depth + 1):
            pattern[n : n + depth + 1] = [pattern[n + depth], *pattern[n : n + depth]]
    first_of_group = set(range(0, count, gop + depth + 1))
    units = [made_up(start + p * FRAME, key=n in first_of_group, config=config) for n, p in enumerate(pattern)]
    actions = cut(units, SegmentPolicy(target_ns=2 * SECOND))
    facts = facts_of(actions)
    assert sum(f.duration_ticks for f in facts) == count * FRAME
    assert [f.end_ns for f in facts[:-1]] == [f.start_ns for f in facts[1:]]
    assert not [a for a in actions if isinstance(a, Hole)]
