"""What becomes of a site's alarms: state before, one observation → state after, and what is to be told.

Owns the rules and nothing else; no I/O, no clock. Invariants, whatever comes in whatever order:

- each alarm is raised once and then cleared once; of one kind and subject one is active at most;
- raised only what has been wrong for its patience, cleared only what has been right for `clear_ns` without a break; right
  for less than that is no break of a wrong either, so that what comes and goes all the time is told, and told once;
- between the two (`Trouble.begins` False) an alarm neither begins nor ends;
- what nobody can tell now (`Observation.unknown`) changes nothing: neither raises, clears nor counts as a break, and the time
  until somebody can tell again counts neither as wrong nor as right;
- numbers grow and are never used twice; `since_ns` ≤ `raised_ns` ≤ `cleared_ns`, although the wall clock may step:
  patience is measured on the monotonic clock.

What waits for its patience is not kept over a restart of the process: it waits anew. Active alarms are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

MOST_RECENT = 200  # ended alarms that are remembered


class AlarmKind(StrEnum):
    """What is told. docs/faults.md says of each what to do."""

    CAMERA = "camera_not_recording"
    RECORDER = "recorder_down"
    SPOOL = "spool_over_budget"
    STORE = "store_away"
    CATALOGUE = "catalogue_away"
    ARCHIVER = "archiver_down"
    WEB = "web_down"
    LIVE = "live_down"
    CLOCK = "clock_wrong"
    BRAKE = "deletion_braked"


class Event(StrEnum):
    RAISED = "raised"
    CLEARED = "cleared"
    TEST = "test"


Key = tuple[AlarmKind, str]


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that is wrong now. `subject`: a camera's id, or empty for the site; `name`: how people know it."""

    kind: AlarmKind
    subject: str = ""
    name: str = ""
    detail: str = ""
    since_ns: int | None = None  # UTC, where it is known better than by when it was first seen
    begins: bool = True  # False: too little to raise an alarm, too much to end one

    @property
    def key(self) -> Key:
        return self.kind, self.subject


@dataclass(frozen=True, slots=True)
class Observation:
    """A site at one moment: all that is wrong, and of which kinds nothing can be said.

    `expected`: ids of the cameras that should record; an alarm of another camera ends because nobody expects it to.
    """

    wall_ns: int
    mono_ns: int
    troubles: tuple[Trouble, ...] = ()
    unknown: frozenset[AlarmKind] = frozenset()
    expected: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Patience:
    """How long something must be wrong before it is told, and right before its end is. All of it in ns."""

    by_kind: Mapping[AlarmKind, int] = field(default_factory=dict)  # 0 for those not named
    clear_ns: int = 0


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alarm, active while `cleared_ns` is None."""

    number: int
    kind: AlarmKind
    subject: str
    name: str
    detail: str
    since_ns: int
    raised_ns: int
    cleared_ns: int | None = None
    end: str = ""  # why it ended, where it is not that all is well again

    @property
    def key(self) -> Key:
        return self.kind, self.subject


@dataclass(frozen=True, slots=True)
class Message:
    """What is to be told, once to each destination."""

    event: Event
    alarm: Alarm

    @property
    def id(self) -> str:
        """The same whenever it is sent, so that a receiver can tell a repetition; of no other message of this site."""
        return f"{self.alarm.number}-{self.alarm.raised_ns // 1_000_000}-{self.event}"


@dataclass(frozen=True, slots=True)
class Waiting:
    """Since when something has been otherwise than it was told, on both clocks."""

    mono_ns: int
    wall_ns: int
    seen_ns: int  # monotonic: the last look that could tell
    paused_ns: int | None = None  # monotonic: since when it has not been, for too short a time to count
    blind: bool = False  # a look since then could not tell

    def told(self, mono_ns: int) -> Waiting:
        """At a look that can tell: later by as long as nobody could."""
        blind_ns = mono_ns - self.seen_ns if self.blind else 0
        paused_ns = None if self.paused_ns is None else self.paused_ns + blind_ns
        return Waiting(self.mono_ns + blind_ns, self.wall_ns, mono_ns, paused_ns)


@dataclass(frozen=True, slots=True)
class AlarmState:
    """Everything remembered. `rising` and `falling` live as long as the process."""

    active: Mapping[Key, Alarm] = field(default_factory=dict)
    recent: tuple[Alarm, ...] = ()  # ended ones, newest first
    next_number: int = 1
    rising: Mapping[Key, Waiting] = field(default_factory=dict)
    falling: Mapping[Key, Waiting] = field(default_factory=dict)


def step(state: AlarmState, seen: Observation, patience: Patience) -> tuple[AlarmState, tuple[Message, ...]]:
    """The state after `seen`, and the messages it calls for: ends first, then what is new. Pure."""
    wrong = {t.key: t for t in seen.troubles if t.kind not in seen.unknown}
    state, ended = _clear(state, wrong, seen, patience.clear_ns)
    state, begun = _raise(state, wrong, seen, patience)
    return state, (*ended, *begun)


def _clear(
    state: AlarmState, wrong: Mapping[Key, Trouble], seen: Observation, clear_ns: int
) -> tuple[AlarmState, list[Message]]:
    active, falling, told = dict(state.active), dict(state.falling), []
    for key, alarm in state.active.items():
        if alarm.kind in seen.unknown:
            if key in falling:
                falling[key] = replace(falling[key], blind=True)
            continue
        if key in wrong:
            falling.pop(key, None)
            active[key] = replace(alarm, detail=wrong[key].detail or alarm.detail)
            continue
        right = falling.get(key, _begun(seen)).told(seen.mono_ns)
        falling[key] = right
        if seen.mono_ns - right.mono_ns >= clear_ns:
            del active[key], falling[key]
            unexpected = alarm.kind is AlarmKind.CAMERA and alarm.subject not in seen.expected
            done = replace(
                alarm,
                cleared_ns=max(alarm.raised_ns, right.wall_ns),
                end="it is switched off, or was taken out of service" if unexpected else "",
            )
            told.append(Message(Event.CLEARED, done))
    recent = (*(m.alarm for m in reversed(told)), *state.recent)[:MOST_RECENT]
    return replace(state, active=active, falling=falling, recent=recent), told


def _raise(
    state: AlarmState, wrong: Mapping[Key, Trouble], seen: Observation, patience: Patience
) -> tuple[AlarmState, list[Message]]:
    active, number, told = dict(state.active), state.next_number, []
    begun = {key: trouble for key, trouble in wrong.items() if trouble.begins and key not in active}
    rising = _still_rising(state.rising, begun, seen, patience.clear_ns)
    for key, trouble in begun.items():
        first = rising.setdefault(key, _begun(seen))
        if seen.mono_ns - first.mono_ns < patience.by_kind.get(trouble.kind, 0):
            continue
        del rising[key]
        since_ns = first.wall_ns if trouble.since_ns is None else trouble.since_ns
        active[key] = Alarm(
            number, trouble.kind, trouble.subject, trouble.name, trouble.detail,
            since_ns=min(since_ns, seen.wall_ns), raised_ns=seen.wall_ns,
        )  # fmt: skip
        told.append(Message(Event.RAISED, active[key]))
        number += 1
    return replace(state, active=active, rising=rising, next_number=number), told


def _begun(seen: Observation) -> Waiting:
    return Waiting(seen.mono_ns, seen.wall_ns, seen.mono_ns)


def _still_rising(
    rising: Mapping[Key, Waiting], begun: Mapping[Key, Trouble], seen: Observation, clear_ns: int
) -> dict[Key, Waiting]:
    """Without what has been right for `clear_ns`."""
    kept = {}
    for key, before in rising.items():
        if key[0] in seen.unknown:
            kept[key] = replace(before, blind=True)
            continue
        since = before.told(seen.mono_ns)
        if key in begun:
            kept[key] = replace(since, paused_ns=None)
        else:
            paused_ns = seen.mono_ns if since.paused_ns is None else since.paused_ns
            if seen.mono_ns - paused_ns < clear_ns:
                kept[key] = replace(since, paused_ns=paused_ns)
    return kept
