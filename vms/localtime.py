"""The site's local time, for people: times they type become UTC nanoseconds, and the other way round.

Owns the spelling of times in commands and their output. Everything behind it counts UTC nanoseconds; everything in
here is integer arithmetic, so what was typed to the nanosecond is kept to the nanosecond. A local time that the clocks
show twice, or never, is refused with both readings: nobody is to guess which hour of an October night was meant.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from vms.errors import UserError
from vms.timeline import SECOND_NS, TimeRange

LATEST_NS = 2**63 - 1  # what the catalogue can hold: the year 2262

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_CHARS = 64
_DAY = re.compile(r"(\d{4})-(\d{2})-(\d{2})", re.ASCII)
_TIME = re.compile(
    r"(?P<day>\d{4}-\d{2}-\d{2})[Tt ](?P<hour>\d{2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:\.(?P<fraction>\d{1,9}))?)?"
    r" ?(?P<offset>[Zz]|[+-]\d{2}:\d{2})?",
    re.ASCII,
)
_AGO = re.compile(r"-((?:\d{1,9}[smhd])+)", re.ASCII)
_AGO_PART = re.compile(r"(\d+)([smhd])", re.ASCII)
_AGO_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

ACCEPTED = (
    "2026-10-25 14:30, 2026-10-25 14:30:05.250, 2026-10-25T14:30:00+02:00, 2026-10-25T12:30:00Z, 2026-10-25, today, "
    "yesterday, now, -10m"
)


def load_zone(name: str) -> ZoneInfo:
    """The zone of the IANA database, or UserError."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise UserError(f'time zone "{name}" is not in the IANA database; write for example Europe/Warsaw') from error


def parse_instant(text: str, zone: ZoneInfo, now_ns: int, *, day_ends: bool = False) -> int:
    """UTC ns of what a person typed (see `ACCEPTED`); without an offset it is the local time of `zone`.

    A bare day, `today` and `yesterday` are where that day begins, or with `day_ends` where it ends, so that
    `--from DAY --to DAY` is the whole day. `-1h30m` is that long before `now_ns`; a `d` is always 24 hours.
    """
    typed = text.strip()
    if len(typed) > _MAX_CHARS:
        raise _not_a_time(typed[:_MAX_CHARS] + "…")
    word = typed.lower()
    if word == "now":
        return now_ns
    if ago := _AGO.fullmatch(word):
        seconds = sum(int(n) * _AGO_SECONDS[unit] for n, unit in _AGO_PART.findall(ago[1]))
        return _bounded(now_ns - seconds * SECOND_NS, typed)
    if word in ("today", "yesterday") or _DAY.fullmatch(word):
        day = parse_day(typed, zone, now_ns)
        return day.end_ns if day_ends else day.start_ns
    if match := _TIME.fullmatch(typed):
        return _parse_clock_time(match, zone, typed)
    raise _not_a_time(typed)


def parse_day(text: str, zone: ZoneInfo, now_ns: int) -> TimeRange:
    """The local day `YYYY-MM-DD`, `today` or `yesterday` from midnight to midnight: 23, 24 or 25 hours."""
    typed = text.strip()
    word = typed.lower()
    if word in ("today", "yesterday"):
        here = _utc(now_ns // SECOND_NS).astimezone(zone).date()
        return day_range(here - timedelta(days=1) if word == "yesterday" else here, zone)
    if len(typed) > _MAX_CHARS or not _DAY.fullmatch(typed):
        raise UserError(f'"{typed[:_MAX_CHARS]}" is not a day; write YYYY-MM-DD, today or yesterday')
    return day_range(_parse_date(typed, typed), zone)


def day_range(day: date, zone: ZoneInfo) -> TimeRange:
    """From the first instant of the local `day` to the first of the next."""
    if not 1970 <= day.year <= 2261:
        raise UserError(f"{day} is outside of the years 1970 to 2261")
    start, end = _day_start(day, zone), _day_start(day + timedelta(days=1), zone)
    if end <= start:
        raise UserError(f"the day {day} does not exist in {zone.key}: the calendar skipped it")
    return TimeRange(max(start, 0) * SECOND_NS, end * SECOND_NS)


def parse_range(
    zone: ZoneInfo, now_ns: int, *, day: str | None = None, start: str | None = None, end: str | None = None
) -> TimeRange:
    """The range of `--day`, or of `--from` and `--to`; UserError when it is missing, doubled, empty or backward."""
    if day is not None:
        if start is not None or end is not None:
            raise UserError("give either --day, or --from and --to, not both")
        return parse_day(day, zone, now_ns)
    if start is None or end is None:
        raise UserError("say which time: --day YYYY-MM-DD, or both --from and --to")
    start_ns, end_ns = parse_instant(start, zone, now_ns), parse_instant(end, zone, now_ns, day_ends=True)
    if end_ns <= start_ns:
        raise UserError(
            f"the end ({format_local(end_ns, zone)}) must come after the start ({format_local(start_ns, zone)})"
        )
    return TimeRange(start_ns, end_ns)


def format_utc(ns: int) -> str:
    """RFC 3339 in UTC with microseconds, or nanoseconds where they matter: `2026-10-25T00:30:00.000000Z`."""
    seconds, fraction = divmod(ns, SECOND_NS)
    digits = f"{fraction:09d}" if fraction % 1000 else f"{fraction // 1000:06d}"
    return f"{_utc(seconds):%Y-%m-%dT%H:%M:%S}.{digits}Z"


def format_local(ns: int, zone: ZoneInfo, *, digits: int | None = None) -> str:
    """Local time with its offset, `2026-10-25 02:30:00+02:00`, which `parse_instant` reads back.

    As many digits of a second (0, 3, 6, 9) as it has, or exactly `digits` of them, the rest cut off.
    """
    seconds, fraction = divmod(ns, SECOND_NS)
    if digits is None:
        digits = 0 if not fraction else 3 if not fraction % 1_000_000 else 6 if not fraction % 1000 else 9
    local = _utc(seconds).astimezone(zone)
    point = f".{f'{fraction:09d}'[:digits]}" if digits else ""
    return f"{local:%Y-%m-%d %H:%M:%S}{point}{_offset(local)}"


def format_duration(ns: int) -> str:
    """`1 h 02 min 03 s`, `2 min 05 s`, `12.3 s`: for people, cut to what they need."""
    tenths = ns // 100_000_000
    if tenths < 600:
        return f"{tenths // 10}.{tenths % 10} s"
    minutes, seconds = divmod(tenths // 10, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min {seconds:02d} s" if hours else f"{minutes} min {seconds:02d} s"


def _parse_clock_time(match: re.Match[str], zone: ZoneInfo, typed: str) -> int:
    day = _parse_date(match["day"], typed)
    second = int(match["second"] or 0)
    if second == 60:
        raise UserError(f'"{typed}": leap seconds cannot be told apart; write second 59 or the next minute')
    try:
        wall = datetime(day.year, day.month, day.day, int(match["hour"]), int(match["minute"]), second)  # noqa: DTZ001
    except ValueError as error:
        raise UserError(f'"{typed}" is not a time of day: hours go to 23, minutes and seconds to 59') from error
    fraction = int((match["fraction"] or "0").ljust(9, "0"))
    offset = match["offset"]
    if offset is None:
        seconds = _resolve_local(wall, zone, typed)
    else:
        seconds = (wall.replace(tzinfo=UTC) - _EPOCH) // timedelta(seconds=1) - _parse_offset(offset, typed)
    return _bounded(seconds * SECOND_NS + fraction, typed)


def _parse_date(text: str, typed: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise UserError(f'"{typed}": there is no such day in the calendar') from error


def _parse_offset(text: str, typed: str) -> int:
    if text in "Zz":
        return 0
    hours, minutes = int(text[1:3]), int(text[4:6])
    if hours > 23 or minutes > 59:
        raise UserError(f'"{typed}": an offset from UTC is between -23:59 and +23:59')
    seconds = hours * 3600 + minutes * 60
    return -seconds if text[0] == "-" else seconds


def _resolve_local(wall: datetime, zone: ZoneInfo, typed: str) -> int:
    """UTC seconds of a naive local time that exists exactly once; UserError with both readings otherwise."""
    first, second = wall.replace(tzinfo=zone), wall.replace(tzinfo=zone, fold=1)
    first_s, second_s = _seconds(first), _seconds(second)
    if first_s == second_s:
        return first_s
    if first_s < second_s:
        readings = " or ".join(f"{wall:%Y-%m-%d %H:%M:%S}{_offset(t)} ({t:%Z})" for t in (first, second))
        raise UserError(f'"{typed}" happened twice when the clocks went back in {zone.key}; write {readings}')
    # In the gap, fold=0 reckons with the offset before the change and so lands after it, fold=1 the reverse.
    readings = " or ".join(
        f"{t:%Y-%m-%d %H:%M:%S}{_offset(t)} ({t:%Z})" for t in (_utc(s).astimezone(zone) for s in (second_s, first_s))
    )
    raise UserError(f'"{typed}" never happened: the clocks went forward over it in {zone.key}; write {readings}')


def _day_start(day: date, zone: ZoneInfo) -> int:
    """UTC seconds of the first instant of a local day, also where the clocks go forward over midnight."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
    late, early = _seconds(midnight), _seconds(midnight.replace(fold=1))
    if early >= late:
        return late
    while early < late:  # midnight lies in a gap; the day begins at the change itself, which is between the readings
        middle = (early + late) // 2
        if _utc(middle).astimezone(zone).date() >= day:
            late = middle
        else:
            early = middle + 1
    return late


def _seconds(moment: datetime) -> int:
    return (moment.astimezone(UTC) - _EPOCH) // timedelta(seconds=1)


def _utc(seconds: int) -> datetime:
    return _EPOCH + timedelta(seconds=seconds)


def _offset(moment: datetime) -> str:
    """`+02:00`; seconds of an offset (local mean time, before 1916) are dropped as RFC 3339 §4.1 has no room for them."""
    seconds = (moment.utcoffset() or timedelta()) // timedelta(seconds=1)
    sign, seconds = ("-", -seconds) if seconds < 0 else ("+", seconds)
    return f"{sign}{seconds // 3600:02d}:{seconds // 60 % 60:02d}"


def _bounded(ns: int, typed: str) -> int:
    if not 0 <= ns <= LATEST_NS:
        raise UserError(f'"{typed}" is outside of the years 1970 to 2261')
    return ns


def _not_a_time(typed: str) -> UserError:
    return UserError(f'"{typed}" is not a time; write for example {ACCEPTED}')
