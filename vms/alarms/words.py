"""Alarms in words, for a tired person, and as JSON for a program. Pure.

Owns titles, what to do, the mail's subject and text and the webhook's body (docs/faults.md). Whatever a camera or a
server said is made one line without control characters, bounded, and without credentials.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from vms.alarms.decision import Alarm, AlarmKind, Event, Message
from vms.localtime import format_duration, format_local, format_utc
from vms.observe import redact

LONGEST_DETAIL = 500
TEST_ALARM = Alarm(0, AlarmKind.CAMERA, "", "", "", 0, 0)


@dataclass(frozen=True, slots=True)
class Words:
    """`begins` and `ends` go after the subject's name, if it has one; `lost`: what this costs; `do`: what to do next."""

    begins: str
    ends: str
    lost: str
    do: str


WORDS = {
    AlarmKind.CAMERA: Words(
        "does not record",
        "records again",
        "nothing of this camera is recorded until it is back; other cameras are not touched",
        "vms camera test NUMBER says what is wrong; then the camera's power, cable and password",
    ),
    AlarmKind.RECORDER: Words(
        "the recorder is down, or does not know its cameras: perhaps nothing is recorded",
        "the recorder is back",
        "perhaps every camera; it is started again by itself",
        "vms status; if it stays down: journalctl -u stroz -n 200, then systemctl restart stroz",
    ),
    AlarmKind.SPOOL: Words(
        "the spool has used up its room",
        "the spool has room again",
        "the streams for which there is no room, one after another, with gaps spool_full; what is recorded already is kept",
        "bring the object store back, or give the spool's disk more room; never delete files of the spool by hand",
    ),
    AlarmKind.STORE: Words(
        "the object store is away or refuses what is sent",
        "the object store takes footage again",
        "nothing: footage waits in the spool and is sent later by itself",
        "bring the store back before the spool is full; vms status says how long that is",
    ),
    AlarmKind.CATALOGUE: Words(
        "the catalogue (database) fails",
        "the catalogue works again",
        "nothing: recording goes on, but nothing is archived, and timeline and export do not work",
        "bring the database back; a file that is damaged or gone: stop, restore it from your backup, start; without a "
        "backup: vms rebuild",
    ),
    AlarmKind.ARCHIVER: Words(
        "the archiver does not answer: footage stays in the spool",
        "the archiver answers again",
        "nothing: recording goes on into the spool, and all of it is archived later",
        "do what is said above, if anything is; vms status; otherwise journalctl -u stroz -n 200",
    ),
    AlarmKind.WEB: Words(
        "the web process does not answer: nobody can sign in",
        "the web process answers again",
        "nothing is lost: recording goes on, and so do pictures that are being watched",
        "it is started again by itself; if it stays down: vms status, journalctl -u stroz -n 200; a full disk? another "
        "program at web.listen?",
    ),
    AlarmKind.LIVE: Words(
        "the live gateway does not answer: nobody sees live pictures",
        "the live gateway answers again",
        "nothing is lost: recording goes on",
        "it is started again by itself; if it stays down: vms status, journalctl -u stroz -n 200",
    ),
    AlarmKind.CLOCK: Words(
        "this machine's clock is not right",
        "this machine's clock is right again",
        "no picture, but recorded times drift away from true time",
        "chronyc tracking, or timedatectl; is the time server reachable?",
    ),
    AlarmKind.BRAKE: Words(
        "deletion is stopped: far more would go than on the last days",
        "deletion goes on",
        "nothing: expired footage stays until a person has looked",
        "check the date of this machine first, then legal.days; vms retention says what was stopped and how to allow it",
    ),
}


def title(message: Message) -> str:
    """One line: what happened to whom."""
    if message.event is Event.TEST:
        return "this is a test: alarms from this machine arrive"
    alarm = message.alarm
    if message.event is Event.RAISED:
        return title_of(alarm)
    ends = "is not expected to record any more" if alarm.end else WORDS[alarm.kind].ends
    return f"{_line(alarm.name, 200)} {ends}".strip()


def title_of(alarm: Alarm) -> str:
    """What is wrong, whether it has ended or not."""
    return f"{_line(alarm.name, 200)} {WORDS[alarm.kind].begins}".strip()


def what_to_do(alarm: Alarm) -> str:
    """The next step of who reads it."""
    number = alarm.name.removeprefix("camera ").split(" ", 1)[0]
    return WORDS[alarm.kind].do.replace("NUMBER", number if number.isdigit() else "NUMBER")


def lasted_ns(alarm: Alarm) -> int:
    """How long an ended alarm's trouble lasted."""
    return max(0, (alarm.raised_ns if alarm.cleared_ns is None else alarm.cleared_ns) - alarm.since_ns)


def subject_line(site: str, messages: Sequence[Message]) -> str:
    """The subject of a mail that tells `messages`."""
    begun = [m for m in messages if m.event is Event.RAISED]
    ended = [m for m in messages if m.event is Event.CLEARED]
    if len(messages) == 1:
        sign = {Event.RAISED: "ALARM: ", Event.CLEARED: "ended: ", Event.TEST: ""}[messages[0].event]
        return f"[{_line(site, 200)}] {sign}{title(messages[0])}"
    parts = [f"{len(begun)} ALARMS" if len(begun) > 1 else "1 ALARM"] if begun else []
    parts += [f"{len(ended)} ended"] if ended else []
    return f"[{_line(site, 200)}] {', '.join(parts)}: {title((begun or list(messages))[0])} …"


def text(messages: Sequence[Message], zone: ZoneInfo, dropped: int = 0) -> str:
    """The messages for people, one paragraph each."""
    paragraphs = [_paragraph(m, zone) for m in messages]
    if dropped:
        paragraphs.append(
            f"{dropped} older messages could not be kept while nobody could be told; what is wrong now: vms alarm list"
        )
    return "\n\n".join(paragraphs) + "\n"


def _paragraph(message: Message, zone: ZoneInfo) -> str:
    alarm = message.alarm
    if message.event is Event.TEST:
        return f"{title(message)}\n  sent      {format_local(alarm.raised_ns, zone, digits=0)}\n  do        nothing"
    lines = [f"{'ALARM' if message.event is Event.RAISED else 'ENDED'} {alarm.number}: {title(message)}"]
    lines.append(f"  since     {format_local(alarm.since_ns, zone, digits=0)}")
    if alarm.cleared_ns is not None:
        lines.append(
            f"  until     {format_local(alarm.cleared_ns, zone, digits=0)} ({format_duration(lasted_ns(alarm))})"
        )
    if alarm.end:
        lines.append(f"  why       {alarm.end}")
    if alarm.detail:
        lines.append(f"  {'was' if alarm.cleared_ns else 'why':<8}  {_line(alarm.detail, LONGEST_DETAIL)}")
    if message.event is Event.RAISED:
        lines += [f"  lost      {WORDS[alarm.kind].lost}", f"  do        {what_to_do(alarm)}"]
    return "\n".join(lines)


def alarm_json(alarm: Alarm) -> dict[str, Any]:
    """An alarm as `vms alarm list --json` and the webhook have it."""
    active = alarm.cleared_ns is None
    return {
        "alarm": alarm.number,
        "kind": alarm.kind.value,
        "camera_id": alarm.subject or None,
        "about": _line(alarm.name, 200) or None,
        "title": title(Message(Event.RAISED if active else Event.CLEARED, alarm)),
        "detail": _line(alarm.detail, LONGEST_DETAIL),
        "since": format_utc(alarm.since_ns),
        "raised": format_utc(alarm.raised_ns),
        "cleared": None if alarm.cleared_ns is None else format_utc(alarm.cleared_ns),
        "seconds": None if active else round(lasted_ns(alarm) / 1e9, 3),
        "lost": WORDS[alarm.kind].lost,
        "do": what_to_do(alarm),
    }


def body(site: str, host: str, messages: Sequence[Message], zone: ZoneInfo, dropped: int = 0) -> dict[str, Any]:
    """The webhook's JSON. `text` alone is enough for a chat."""
    return {
        "site": _line(site, 200),
        "host": host,
        "text": f"{subject_line(site, messages)}\n\n{text(messages, zone, dropped)}",
        "dropped": dropped,
        "messages": [
            {"id": m.id, "event": m.event.value} | (_test_json(m) if m.event is Event.TEST else alarm_json(m.alarm))
            for m in messages
        ],
    }


def _test_json(message: Message) -> dict[str, Any]:
    """The fields of an alarm, null where a test has nothing to say: what takes them all takes an alarm."""
    nothing: dict[str, Any] = dict.fromkeys(alarm_json(message.alarm))
    return nothing | {"title": title(message), "raised": format_utc(message.alarm.raised_ns)}


def _line(said: str, longest: int) -> str:
    """What somebody else said, as one harmless line."""
    clean = "".join(c if c.isprintable() else " " for c in redact(said[: 4 * longest]))
    return clean if len(clean) <= longest else clean[: longest - 1] + "…"
