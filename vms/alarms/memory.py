"""What is remembered of alarms on disk: DATA/alarms.json, replaced as a whole.

Owns the file's format and the outbox of each destination. A message is in the file before it is sent and goes from it
only once it was accepted, so that none is forgotten; killed in between, it is sent again under the same id.
Outboxes are bounded: the oldest messages go, are counted, and the next message says how many.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from vms.alarms.decision import MOST_RECENT, Alarm, AlarmKind, AlarmState, Event, Message
from vms.durable import write_atomically
from vms.errors import MalformedError
from vms.localtime import LATEST_NS

FORMAT = 1
MOST_WAITING = 500  # messages of one destination: every camera of a large site going and coming back
MOST_ACTIVE = 10_000
MOST_BYTES = 16 << 20
FILE = "alarms.json"


@dataclass(frozen=True, slots=True)
class Outbox:
    """What one destination has not accepted yet, and how the last try went."""

    waiting: tuple[Message, ...] = ()
    dropped: int = 0
    last_ok_ns: int | None = None
    last_error: str = ""
    last_error_ns: int | None = None

    def put(self, messages: Iterable[Message]) -> Outbox:
        """With `messages` at the end; the oldest go when there are too many."""
        both = (*self.waiting, *messages)
        over = max(0, len(both) - MOST_WAITING)
        return replace(self, waiting=both[over:], dropped=self.dropped + over)

    def accepted(self, sent: Iterable[Message], dropped: int, at_ns: int) -> Outbox:
        """Without what was `sent` and the count that was told with it.

        What had to go from the box while it was on its way has arrived all the same: it is not counted as lost.
        """
        ids = {m.id for m in sent}
        waiting = tuple(m for m in self.waiting if m.id not in ids)
        arrived = len(ids) - (len(self.waiting) - len(waiting))
        lost = max(0, self.dropped - dropped - arrived)
        return replace(self, waiting=waiting, dropped=lost, last_ok_ns=at_ns, last_error="")


@dataclass(frozen=True, slots=True)
class Memory:
    """The whole file."""

    state: AlarmState = field(default_factory=AlarmState)
    outboxes: Mapping[str, Outbox] = field(default_factory=dict)

    def for_destinations(self, names: Iterable[str]) -> Memory:
        """With an outbox for exactly these destinations; a new one is told what is active."""
        active = sorted(self.state.active.values(), key=lambda a: a.number)
        fresh = Outbox().put(Message(Event.RAISED, alarm) for alarm in active)
        return replace(self, outboxes={name: self.outboxes.get(name, fresh) for name in names})

    def with_box(self, name: str, box: Outbox) -> Memory:
        """With another outbox of one destination."""
        return replace(self, outboxes={**self.outboxes, name: box})

    def tell(self, state: AlarmState, messages: tuple[Message, ...]) -> Memory:
        """With the new `state`, and `messages` in every outbox."""
        if not messages:
            return replace(self, state=state)
        return Memory(state, {name: box.put(messages) for name, box in self.outboxes.items()})


def read_memory(file: Path) -> Memory:
    """What the file says; an empty memory when there is none. MalformedError, OSError when it cannot be read."""
    try:
        with file.open("rb") as stream:
            content = stream.read(MOST_BYTES + 1)
    except FileNotFoundError:
        return Memory()
    return decode(content)


def write_memory(file: Path, memory: Memory) -> None:
    """Replace the file; on disk when this returns. OSError when that fails, and then the old one is there."""
    write_atomically(file, encode(memory))


def encode(memory: Memory) -> bytes:
    """The file's content."""
    state = memory.state
    facts = {
        "format": FORMAT,
        "next_number": state.next_number,
        "active": [asdict(a) for a in state.active.values()],
        "recent": [asdict(a) for a in state.recent],
        "outboxes": {name: asdict(box) for name, box in memory.outboxes.items()},
    }
    return json.dumps(facts, ensure_ascii=False).encode("utf-8", "surrogatepass")  # as `json.loads` reads


def decode(content: bytes) -> Memory:
    """The memory that `content` states. Raises MalformedError."""
    if len(content) > MOST_BYTES:
        raise MalformedError("alarms file", f"longer than {MOST_BYTES} bytes")
    try:
        facts = json.loads(content)
        if facts["format"] != FORMAT:
            raise MalformedError("alarms file", f"format {facts['format']!r} is not {FORMAT}")
        active = [_alarm(a) for a in facts["active"][:MOST_ACTIVE]]
        recent = tuple(_alarm(a) for a in facts["recent"][:MOST_RECENT])
        highest = max((a.number for a in (*active, *recent)), default=0)
        state = AlarmState(
            active={a.key: a for a in active},
            recent=recent,
            next_number=max(int(facts["next_number"]), highest + 1),
        )
        return Memory(state, {str(name): _outbox(box) for name, box in facts["outboxes"].items()})
    except (*(ValueError, OverflowError, RecursionError), *(KeyError, TypeError, AttributeError)) as error:
        raise MalformedError("alarms file", str(error)[:200]) from error


def _outbox(facts: dict[str, Any]) -> Outbox:
    return Outbox(
        waiting=tuple(Message(Event(m["event"]), _alarm(m["alarm"])) for m in facts["waiting"][-MOST_WAITING:]),
        dropped=int(facts["dropped"]),
        last_ok_ns=_instant_or_none(facts["last_ok_ns"]),
        last_error=str(facts["last_error"]),
        last_error_ns=_instant_or_none(facts["last_error_ns"]),
    )


def _alarm(facts: dict[str, Any]) -> Alarm:
    return Alarm(
        number=int(facts["number"]),
        kind=AlarmKind(facts["kind"]),
        subject=str(facts["subject"]),
        name=str(facts["name"]),
        detail=str(facts["detail"]),
        since_ns=_instant(facts["since_ns"]),
        raised_ns=_instant(facts["raised_ns"]),
        cleared_ns=_instant_or_none(facts["cleared_ns"]),
        end=str(facts["end"]),
    )


def _instant(value: Any) -> int:
    """UTC in ns that can be told in a mail."""
    ns = int(value)
    if not 0 <= ns <= LATEST_NS:
        raise ValueError(f"{ns} is no time")
    return ns


def _instant_or_none(value: Any) -> int | None:
    return None if value is None else _instant(value)
