"""What becomes of alarms: each once, with its end, whatever is seen in whatever order, and over restarts."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vms.alarms.decision import (
    MOST_RECENT,
    Alarm,
    AlarmKind,
    AlarmState,
    Event,
    Key,
    Message,
    Observation,
    Patience,
    Trouble,
    step,
)
from vms.alarms.memory import MOST_WAITING, Memory, Outbox, decode, encode
from vms.errors import MalformedError

S = 1_000_000_000
NOW = 1_795_300_000 * S
PATIENCE = Patience({AlarmKind.CAMERA: 60 * S, AlarmKind.STORE: 20 * S}, clear_ns=30 * S)
CAMERA = Trouble(AlarmKind.CAMERA, "kamera-1", "camera 1 Rynek", "camera unreachable")
STORE = Trouble(AlarmKind.STORE, detail="503")


def run(*looks: tuple[int, list[Trouble]], patience: Patience = PATIENCE) -> list[tuple[int, str, AlarmKind]]:
    """(second, troubles) …: what is told, and at which second."""
    state, told = AlarmState(), []
    for second, troubles in looks:
        seen = Observation(NOW + second * S, second * S, tuple(troubles), expected=frozenset({"kamera-1"}))
        state, messages = step(state, seen, patience)
        told += [(second, m.event.value, m.alarm.kind) for m in messages]
    return told


def test_a_reconnect_of_some_seconds_alarms_nobody() -> None:
    looks = [(second, [CAMERA] if second % 60 in (5, 10, 15) else []) for second in range(0, 900, 5)]
    assert run(*looks) == []


def test_one_that_lasts_is_told_once_and_its_end_once() -> None:
    looks = [(second, [CAMERA] if 10 <= second < 600 else []) for second in range(0, 900, 5)]
    assert run(*looks) == [(70, "raised", AlarmKind.CAMERA), (630, "cleared", AlarmKind.CAMERA)]


def test_one_that_comes_and_goes_all_the_time_is_one_alarm() -> None:
    looks = [(second, [CAMERA] if second < 70 or second % 20 else []) for second in range(0, 900, 5)]
    assert run(*looks) == [(60, "raised", AlarmKind.CAMERA)]


def test_one_that_never_works_for_long_is_told_although_it_never_fails_for_long() -> None:
    looks = [(second, [CAMERA] if second % 30 >= 10 else []) for second in range(0, 900, 5)]
    assert run(*looks) == [(70, "raised", AlarmKind.CAMERA)]


def test_the_alarm_says_since_when_as_the_timeline_does_and_how_long() -> None:
    since = replace(CAMERA, since_ns=NOW - 7 * S)
    state, _ = step(AlarmState(), Observation(NOW, 0, (since,)), PATIENCE)
    state, (raised,) = step(state, Observation(NOW + 60 * S, 60 * S, (since,)), PATIENCE)
    assert (raised.alarm.since_ns, raised.alarm.raised_ns) == (NOW - 7 * S, NOW + 60 * S)
    state, _ = step(state, Observation(NOW + 90 * S, 90 * S), PATIENCE)
    state, (cleared,) = step(state, Observation(NOW + 120 * S, 120 * S), PATIENCE)
    assert cleared.alarm.cleared_ns == NOW + 90 * S  # when it was well, not when that was believed
    assert cleared.id.removesuffix("cleared") == raised.id.removesuffix("raised")
    assert state.recent == (cleared.alarm,)


def test_a_camera_taken_out_of_service_ends_its_alarm_for_that_reason() -> None:
    state, _ = step(AlarmState(), Observation(NOW, 0, (CAMERA,)), Patience())
    state, (gone,) = step(state, Observation(NOW + S, S), Patience())
    assert "out of service" in gone.alarm.end
    state, _ = step(state, Observation(NOW, 0, (CAMERA,)), Patience())
    _, (back,) = step(state, Observation(NOW + S, S, expected=frozenset({"kamera-1"})), Patience())
    assert (back.alarm.end, back.alarm.number) == ("", 2)


def test_between_begin_and_end_nothing_is_told() -> None:
    """A spool with room for 80 minutes: too much to raise an alarm, too little to end one."""
    hardly = replace(STORE, begins=False)
    assert run((0, [hardly]), (500, [hardly])) == []
    assert run((0, [STORE]), (20, [STORE]), (30, [hardly]), (500, [hardly])) == [(20, "raised", AlarmKind.STORE)]


def test_what_nobody_could_tell_is_no_evidence() -> None:
    """The archiver is down between a look that saw the store well, or away, and the next one that can tell."""

    def at(second: int, *troubles: Trouble, unknown: bool = False) -> Observation:
        return Observation(NOW + second * S, second * S, troubles, frozenset({AlarmKind.STORE} if unknown else ()))

    def events(*seen: Observation) -> list[tuple[int, str]]:
        state, told = AlarmState(), []
        for one in seen:
            state, messages = step(state, one, PATIENCE)
            told += [(one.mono_ns // S, m.event.value) for m in messages]
        return told

    blind = [at(second, unknown=True) for second in range(25, 1000, 5)]
    active = (at(0, STORE), at(20, STORE))
    right = [at(second) for second in range(1000, 1100, 5)]
    assert events(*active, at(22), *blind, *right) == [(20, "raised"), (1030, "cleared")]
    assert events(*active, at(22), at(28), *blind[1:], *right) == [(20, "raised"), (1025, "cleared")]  # 6 s from before
    assert events(at(20, STORE), *blind, at(1000, STORE), at(1019, STORE), at(1020, STORE)) == [(1020, "raised")]
    assert events(at(10, STORE), at(20, STORE), *blind, at(1000, STORE), at(1010, STORE)) == [(1010, "raised")]
    paused = (at(0, STORE), at(15, STORE), at(20))  # well for a moment, and then nobody can tell for how long
    assert events(*paused, *blind, at(1000), at(1001, STORE)) == [(1001, "raised")]


def test_a_clock_that_is_stepped_back_neither_repeats_nor_delays() -> None:
    state, _ = step(AlarmState(), Observation(NOW, 0, (STORE,)), PATIENCE)
    state, (raised,) = step(state, Observation(NOW - 3600 * S, 20 * S, (STORE,)), PATIENCE)
    assert raised.alarm.since_ns <= raised.alarm.raised_ns == NOW - 3600 * S
    state, _ = step(state, Observation(NOW - 7200 * S, 21 * S), PATIENCE)
    _, (cleared,) = step(state, Observation(NOW - 7100 * S, 51 * S), PATIENCE)
    assert cleared.alarm.cleared_ns == raised.alarm.raised_ns


@dataclass(frozen=True)
class Look:
    """One look of a history: how much later on each clock, what is wrong, and whether the process was started anew."""

    mono_s: int
    wall_step_s: int
    wrong: frozenset[tuple[AlarmKind, str]]
    hardly: frozenset[tuple[AlarmKind, str]]
    unknown: frozenset[AlarmKind]
    restart: bool


KEYS = [(AlarmKind.CAMERA, "a"), (AlarmKind.CAMERA, "b"), (AlarmKind.STORE, ""), (AlarmKind.SPOOL, "")]
sets = st.frozensets(st.sampled_from(KEYS))
looks = st.builds(
    Look,
    st.sampled_from([0, 1, 5, 10, 15, 20, 30, 60]),  # so that borders are met
    st.sampled_from([0, 0, 0, 0, -7200, 3600]),
    sets,
    sets,
    st.frozensets(st.sampled_from([AlarmKind.CAMERA, AlarmKind.STORE])) | st.just(frozenset()),
    st.sampled_from([False, False, False, True]),
)


def lasts(looks: list[tuple[int, bool]], least_ns: int, *, break_ns: int) -> bool:
    """Whether the last look is true and some other so long ago was, with no run of false ones between them that long."""
    if not looks or not looks[-1][1]:
        return False
    run: list[int] = []
    since = now = looks[-1][0]
    for mono, true in reversed(looks):
        if true:
            since, run = mono, []
            continue
        run.append(mono)
        if run[0] - run[-1] >= break_ns:
            break
    return now - since >= least_ns


@given(st.lists(looks, max_size=60))
def test_each_alarm_once_with_its_end_whatever_the_order(history: list[Look]) -> None:
    state, mono, wall = AlarmState(), 0, NOW
    told: list[Message] = []
    seen_wrong: dict[Key, list[tuple[int, bool]]] = {key: [] for key in KEYS}  # since the process began, if known
    seen_right: dict[Key, list[tuple[int, bool]]] = {key: [] for key in KEYS}
    evidence = dict.fromkeys(AlarmKind, 0)  # how long it could be told, by looks one after another
    blind: frozenset[AlarmKind] = frozenset()
    for look in history:
        for kind in AlarmKind:
            evidence[kind] += 0 if kind in look.unknown | blind else look.mono_s * S
        blind = look.unknown
        mono, wall = mono + look.mono_s * S, wall + (look.mono_s + look.wall_step_s) * S
        if look.restart:
            state = decode(encode(Memory(state))).state
            seen_wrong, seen_right = {key: [] for key in KEYS}, {key: [] for key in KEYS}
        troubles = [Trouble(*key) for key in look.wrong]
        troubles += [Trouble(*key, begins=False) for key in look.hardly - look.wrong]
        for key in KEYS:
            if key[0] not in look.unknown:
                seen_wrong[key].append((evidence[key[0]], key in look.wrong))
                seen_right[key].append((evidence[key[0]], key not in look.wrong | look.hardly))
        seen = Observation(wall, mono, tuple(troubles), look.unknown)
        before = state
        state, messages = step(state, seen, PATIENCE)
        told += messages
        for m in messages:
            assert m.alarm.kind not in look.unknown
            assert (m.alarm.key in before.active) == (m.event is Event.CLEARED)
        for key in KEYS:
            if key[0] not in look.unknown:
                must_be = lasts(seen_wrong[key], PATIENCE.by_kind.get(key[0], 0), break_ns=PATIENCE.clear_ns)
                must_not_be = lasts(seen_right[key], PATIENCE.clear_ns, break_ns=0)
                was = key in before.active
                assert (key in state.active) == (must_be or (was and not must_not_be))
    assert len({m.id for m in told}) == len(told)
    for number in {m.alarm.number for m in told}:
        events = [m.event for m in told if m.alarm.number == number]
        assert events in ([Event.RAISED], [Event.RAISED, Event.CLEARED])
    raised = [m.alarm.number for m in told if m.event is Event.RAISED]
    assert raised == sorted(raised)
    for m in told:
        assert m.alarm.since_ns <= m.alarm.raised_ns <= (m.alarm.cleared_ns or m.alarm.raised_ns)
    ended = {m.alarm.number for m in told if m.event is Event.CLEARED}
    assert {a.number for a in state.active.values()} == set(raised) - ended
    assert len(state.recent) <= MOST_RECENT


def alarm(number: int) -> Alarm:
    return Alarm(number, AlarmKind.STORE, "", "", "503", NOW, NOW)


def test_an_outbox_is_bounded_and_counts_what_it_loses() -> None:
    box = Outbox().put(Message(Event.RAISED, alarm(n)) for n in range(MOST_WAITING + 7))
    assert (len(box.waiting), box.dropped, box.waiting[0].alarm.number) == (MOST_WAITING, 7, 7)
    sent = box.waiting[:50]
    box = box.put([Message(Event.CLEARED, alarm(9))])  # comes while the others are on their way
    box = box.accepted(sent, 7, NOW)
    # The oldest had to go while it was on its way, and arrived.
    assert (len(box.waiting), box.dropped, box.last_ok_ns) == (MOST_WAITING - 49, 0, NOW)
    assert sent[1] not in box.waiting
    sent = box.waiting[:10]
    box = box.put(Message(Event.RAISED, alarm(1000 + n)) for n in range(60)).accepted(sent, 0, NOW)
    assert (len(box.waiting), box.dropped) == (MOST_WAITING, 1)  # 451 and 60 are 11 too many, and 10 of these arrived


def test_a_new_destination_hears_what_is_active_and_one_that_is_gone_is_forgotten() -> None:
    memory = Memory(AlarmState(active={alarm(3).key: alarm(3)}), {"webhook": Outbox()})
    memory = memory.for_destinations(["email"])
    assert list(memory.outboxes) == ["email"]
    assert [(m.event, m.alarm.number) for m in memory.outboxes["email"].waiting] == [(Event.RAISED, 3)]
    assert memory.for_destinations(["email"]) == memory


@pytest.mark.parametrize("field", ["since_ns", "raised_ns", "cleared_ns"])
@pytest.mark.parametrize("value", [-1, 2**63, 10**40, 1e300])
def test_a_time_that_no_mail_can_tell_makes_the_file_unreadable(field: str, value: float) -> None:
    state, _ = step(AlarmState(), Observation(NOW, S, (STORE,)), Patience({}, 0))
    facts = json.loads(encode(Memory(state)))
    assert facts["active"]
    facts["active"][0][field] = value
    with pytest.raises(MalformedError):
        decode(json.dumps(facts).encode())
