"""Fuzz target: times and ranges that people type. First byte: the zone. What is understood is written and read back."""

from __future__ import annotations

from vms.errors import UserError
from vms.localtime import format_local, format_utc, load_zone, parse_instant, parse_range

_ZONES = [load_zone(n) for n in ("Europe/Warsaw", "UTC", "America/Sao_Paulo", "Pacific/Apia", "Africa/Monrovia")]
_NOW_NS = 1_793_000_000_123_456_789


def fuzz(data: bytes) -> None:
    if not data:
        return
    zone = _ZONES[data[0] % len(_ZONES)]
    start, _, end = data[1:].decode("utf-8", "surrogateescape").partition("|")
    for typed in (start, end):
        try:
            ns = parse_instant(typed, zone, _NOW_NS)
        except UserError:
            continue
        assert parse_instant(format_local(ns, zone), zone, _NOW_NS) == ns or zone.key == "Africa/Monrovia"
        assert parse_instant(format_utc(ns), zone, _NOW_NS) == ns
    try:
        within = parse_range(zone, _NOW_NS, start=start, end=end)
        assert within.start_ns < within.end_ns
    except UserError:
        pass
    try:
        parse_range(zone, _NOW_NS, day=start)
    except UserError:
        return


def seeds() -> list[bytes]:
    return [
        b"\0002026-10-25 02:30|2026-10-25 03:30:05.250",
        b"\0002027-03-28 02:30+02:00|now",
        b"\1-1h30m|today",
        b"\0022018-11-04 00:00|yesterday",
        b"\0032011-12-30|2011-12-31T00:00:00Z",
    ]
