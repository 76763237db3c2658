"""Fuzz target: alarms.json; what it holds is written and read back the same, and can be told in a mail and a webhook."""

from __future__ import annotations

import json

from vms.alarms.decision import Alarm, AlarmKind, AlarmState, Event, Message
from vms.alarms.memory import Memory, Outbox, decode, encode
from vms.alarms.words import body
from vms.errors import MalformedError
from vms.localtime import load_zone

_ZONE = load_zone("Europe/Warsaw")


def fuzz(data: bytes) -> None:
    try:
        memory = decode(data)
    except MalformedError:
        return
    assert decode(encode(memory)) == memory
    told = [*memory.state.active.values(), *memory.state.recent]
    messages = [m for box in memory.outboxes.values() for m in box.waiting] or [Message(Event.RAISED, a) for a in told]
    if messages:
        facts = body("Stróż", "r1", messages, _ZONE, 1)
        json.dumps(facts, ensure_ascii=False).encode()


def seeds() -> list[bytes]:
    ns = 1_793_000_000_000_000_000
    one = Alarm(
        3, AlarmKind.CAMERA, "c1", "camera 12 Rynek", "rtsp://jan:tajne@10.0.0.5/a gave up", ns, ns + 5, None, ""
    )
    gone = Alarm(2, AlarmKind.STORE, "", "", "away", ns, ns + 5, ns + 9, "somebody ended it")
    state = AlarmState({one.key: one}, (gone,), 4)
    waiting = (Message(Event.RAISED, one), Message(Event.CLEARED, gone))
    return [
        encode(Memory()),
        encode(Memory(state, {"webhook": Outbox(waiting, 2, ns, "refused", ns), "mail": Outbox()})),
    ]
