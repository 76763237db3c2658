"""Times as people type them, against an independent reckoning by the standard library."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vms.errors import UserError
from vms.localtime import (
    LATEST_NS,
    day_range,
    format_duration,
    format_local,
    format_utc,
    load_zone,
    parse_day,
    parse_instant,
    parse_range,
)
from vms.timeline import SECOND_NS

WARSAW = ZoneInfo("Europe/Warsaw")
NOW = 1_793_000_000 * SECOND_NS  # 2026-10-26 07:33:20 UTC

instants = st.integers(0, LATEST_NS)
zones = st.sampled_from(
    [ZoneInfo(z) for z in ("Europe/Warsaw", "UTC", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe")]
)


def utc_ns(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) * SECOND_NS


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("2026-10-25T12:30:00Z", utc_ns("2026-10-25T12:30:00+00:00")),
        ("2026-10-25t12:30:00z", utc_ns("2026-10-25T12:30:00+00:00")),
        ("2026-10-25T14:30:00.25+01:00", utc_ns("2026-10-25T13:30:00+00:00") + SECOND_NS // 4),
        ("2026-10-25 14:30", utc_ns("2026-10-25T13:30:00+00:00")),
        ("2026-07-01 14:30", utc_ns("2026-07-01T12:30:00+00:00")),
        ("2026-07-01 14:30:05.123456789", utc_ns("2026-07-01T12:30:05+00:00") + 123_456_789),
        ("2026-10-25 02:30+02:00", utc_ns("2026-10-25T00:30:00+00:00")),
        ("2026-10-25 02:30 +01:00", utc_ns("2026-10-25T01:30:00+00:00")),
        ("2026-10-25 02:30-00:00", utc_ns("2026-10-25T02:30:00+00:00")),
        ("2026-10-25", utc_ns("2026-10-24T22:00:00+00:00")),
        ("today", utc_ns("2026-10-25T23:00:00+00:00")),
        ("Yesterday", utc_ns("2026-10-24T22:00:00+00:00")),
        (" now ", NOW),
        ("-10m", NOW - 600 * SECOND_NS),
        ("-1h30m", NOW - 5400 * SECOND_NS),
        ("-2d", NOW - 172_800 * SECOND_NS),
    ],
)
def test_typed_times_mean_one_instant(typed: str, expected: int) -> None:
    assert parse_instant(typed, WARSAW, NOW) == expected


@pytest.mark.parametrize(
    "typed",
    [
        "", "soon", "2026-10-25T", "2026-02-29", "2026-13-01 10:00", "2026-10-25 24:00", "2026-10-25 10:60",
        "2026-10-25 10:00:60", "2026-10-25 10:00:00.1234567890", "2026-10-25 10:00+24:00", "2026-10-25 10:00+01:60",
        "2026-10-25 10:00 CEST", "1969-12-31T23:59:59Z", "1970-01-01 00:30", "2270-01-01", "9999-12-31T23:59:59Z",
        "-999999999d", "10m", "-10", "-m", "٢٠٢٦-10-25", "2026-10-25 10:00\n2026", "2" * 10_000, "0000-00-00",
    ],
)  # fmt: skip
def test_what_is_no_time_is_refused_in_plain_words(typed: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_instant(typed, WARSAW, NOW)
    assert len(str(caught.value)) < 400


def test_a_repeated_local_time_is_refused_with_both_readings() -> None:
    with pytest.raises(UserError, match=r"twice") as caught:
        parse_instant("2026-10-25 02:30", WARSAW, NOW)
    message = str(caught.value)
    assert "2026-10-25 02:30:00+02:00 (CEST)" in message
    assert "2026-10-25 02:30:00+01:00 (CET)" in message


def test_a_local_time_that_never_was_is_refused_with_both_readings() -> None:
    with pytest.raises(UserError, match=r"never happened") as caught:
        parse_instant("2027-03-28 02:30:00.5", WARSAW, NOW)
    message = str(caught.value)
    assert "2027-03-28 01:30:00+01:00 (CET)" in message
    assert "2027-03-28 03:30:00+02:00 (CEST)" in message


@pytest.mark.parametrize(
    "typed", ["2026-10-25 01:59:59", "2026-10-25 03:00", "2027-03-28 01:59:59", "2027-03-28 03:00"]
)
def test_the_borders_of_a_change_are_plain_times(typed: str) -> None:
    assert format_local(parse_instant(typed, WARSAW, NOW), WARSAW).startswith(typed)


@pytest.mark.parametrize(
    ("day", "hours"), [("2026-10-25", 25), ("2027-03-28", 23), ("2026-11-21", 24), ("2026-10-24", 24)]
)
def test_days_have_23_24_or_25_hours(day: str, hours: int) -> None:
    assert parse_day(day, WARSAW, NOW).duration_ns == hours * 3600 * SECOND_NS


def test_a_day_whose_midnight_is_skipped_begins_at_the_change() -> None:
    # Beirut's clocks go from 24:00 to 01:00 on the last Sunday of March.
    day = day_range(date(2027, 3, 28), ZoneInfo("Asia/Beirut"))
    assert format_local(day.start_ns, ZoneInfo("Asia/Beirut")) == "2027-03-28 01:00:00+03:00"
    assert day.duration_ns == 23 * 3600 * SECOND_NS


def test_a_day_the_calendar_skipped_is_refused() -> None:
    with pytest.raises(UserError, match="does not exist"):
        day_range(date(2011, 12, 30), ZoneInfo("Pacific/Apia"))


@given(st.dates(date(1970, 1, 2), date(2200, 1, 1)), zones)
def test_days_follow_each_other_without_gap(day: date, zone: ZoneInfo) -> None:
    assert day_range(day, zone).end_ns == day_range(day + timedelta(days=1), zone).start_ns


@given(instants, zones)
def test_what_is_written_is_read_back_to_the_nanosecond(ns: int, zone: ZoneInfo) -> None:
    assert parse_instant(format_utc(ns), WARSAW, NOW) // 1000 == ns // 1000
    assert parse_instant(format_utc(ns), WARSAW, NOW) == ns
    assert parse_instant(format_local(ns, zone), WARSAW, NOW) == ns


@given(st.integers(0, 9_000_000_000), zones)
def test_a_local_time_is_read_or_refused_as_the_zone_says(seconds: int, zone: ZoneInfo) -> None:
    """Every instant's local reading comes back, unless another instant reads the same."""
    local = datetime.fromtimestamp(seconds, UTC).astimezone(zone)
    typed = f"{local:%Y-%m-%d %H:%M:%S}"
    twin = local.replace(fold=1 - local.fold)
    if twin.utcoffset() == local.utcoffset():
        assert parse_instant(typed, zone, NOW) == seconds * SECOND_NS
    else:
        with pytest.raises(UserError, match="twice"):
            parse_instant(typed, zone, NOW)


@given(st.text(max_size=80))
def test_any_text_parses_or_is_refused(text: str) -> None:
    try:
        ns = parse_instant(text, WARSAW, NOW)
    except UserError:
        return
    assert 0 <= ns <= LATEST_NS


def test_formats() -> None:
    assert format_utc(0) == "1970-01-01T00:00:00.000000Z"
    assert format_utc(SECOND_NS + 1) == "1970-01-01T00:00:01.000000001Z"
    assert format_utc(1_500_000) == "1970-01-01T00:00:00.001500Z"
    assert format_local(1_500_000, WARSAW) == "1970-01-01 01:00:00.001500+01:00"
    assert format_local(999_999_999, WARSAW, digits=0) == "1970-01-01 01:00:00+01:00"
    assert [format_duration(s * SECOND_NS) for s in (0, 59, 60, 3723)] == [
        "0.0 s",
        "59.0 s",
        "1 min 00 s",
        "1 h 02 min 03 s",
    ]


def test_ranges() -> None:
    day = parse_range(WARSAW, NOW, day="2026-10-25")
    assert day == parse_range(WARSAW, NOW, start="2026-10-25", end="2026-10-25")
    assert parse_range(WARSAW, NOW, start="-10m", end="now").duration_ns == 600 * SECOND_NS


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "say which time"),
        ({"start": "now"}, "say which time"),
        ({"day": "today", "start": "now"}, "not both"),
        ({"start": "now", "end": "-1s"}, "must come after"),
        ({"start": "now", "end": "now"}, "must come after"),
        ({"day": "2026-10-25 10:00"}, "not a day"),
    ],
)
def test_ranges_that_are_none(options: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_range(WARSAW, NOW, **options)


@pytest.mark.parametrize("name", ["Europe/Warszawa", "", "../../etc/passwd", "/etc/localtime", "a\0b", "Europe"])
def test_unknown_zones_are_refused(name: str) -> None:
    with pytest.raises(UserError, match="IANA"):
        load_zone(name)
