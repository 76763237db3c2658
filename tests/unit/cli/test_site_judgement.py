"""What is wrong with a site, by code: what pages and `vms status --json` are told, in step with the table and alarms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from tests.unit.cli.test_alarm_findings import GONE, GOOD, NOW, REPORT, SUB, WELL, S, report
from vms.ntp import HostClock
from vms.status.site_judgement import TroubleCode, troubles
from vms.status.site_status import SiteStatus
from vms.status.status_json import status_json

Found = list[tuple[str, Mapping[str, object]]]
SYNCHRONISED = HostClock(synchronised=True)
CASES: list[tuple[SiteStatus, Found]] = [
    (WELL, []),
    (replace(WELL, web_answers=None, live_answers=None, clock=HostClock()), []),
    (replace(WELL, problem="wrong key"), [("cameras_unreadable", {})]),
    (replace(WELL, recorder_answers=False), [("recorder_down", {})]),
    (replace(WELL, archiver_answers=False), [("archiver_down", {})]),
    (replace(WELL, archiver_answers=False, archiver=None), [("archiver_down", {})]),
    (replace(WELL, archiver_answers=False, archiver_waits="it is lost"), [("archiver_waits", {"why": "it is lost"})]),
    (replace(WELL, web_answers=False), [("web_down", {})]),
    (replace(WELL, live_answers=False), [("live_down", {})]),
    (report(catalogue_error="away", spool_hours=9.0), [("catalogue_error", {})]),
    (report(catalogue_error="away"), [("spool_tight", {"minutes": 6}), ("catalogue_error", {})]),
    (report(store_error="503", spool_hours=9.0), [("store_error", {"segments": 1})]),
    (report(lost_segments=2), [("store_lost", {"segments": 2})]),
    (report(set_aside=3), [("set_aside", {"segments": 3})]),
    (report(journals_set_aside=4), [("journals_set_aside", {"journals": 4})]),
    (replace(WELL, spool_too_small="64 MB"), [("spool_too_small", {})]),
    (replace(WELL, streams=(GONE, SUB)), [("spool_given_up", {})]),
    (report(spool_room_bytes=0), [("spool_full", {})]),
    (report(oldest_start_ns=NOW - 601 * S), [("spool_tight", {"minutes": 6})]),
    (report(clock_stepped_ns=3600 * S), [("clock_set_forward", {"seconds": 3600.0})]),
    (report(clock_stepped_ns=-90 * S), [("clock_set_back", {"seconds": 90.0})]),
    (replace(WELL, clock=HostClock(synchronised=False)), [("clock_free", {})]),
    (replace(WELL, clock=replace(SYNCHRONISED, offset_ns=3 * S)), [("clock_behind", {"seconds": 3.0})]),
    (replace(WELL, clock=replace(SYNCHRONISED, offset_ns=-3 * S)), [("clock_ahead", {"seconds": 3.0})]),
    (report(retention_braked=True), [("retention_braked", {})]),
    (report(retention_off=True), [("retention_off", {})]),
    (replace(WELL, streams=(replace(GOOD, clock_offset_ns=S),)), []),
    (replace(WELL, streams=(replace(GOOD, clock_offset_ns=2 * S),)), [("camera_clock_ahead", {"seconds": 2.0})]),
    (replace(WELL, streams=(replace(GOOD, clock_offset_ns=-2 * S),)), [("camera_clock_behind", {"seconds": 2.0})]),
    (replace(WELL, streams=(GOOD, replace(SUB, clock_offset_ns=2 * S))), []),
]


@pytest.mark.parametrize(("status", "found"), CASES)
def test_each_trouble_has_its_code_and_facts(status: SiteStatus, found: Found) -> None:
    assert [(t.code.value, t.facts) for t in troubles(status)] == found


def test_there_is_a_case_of_every_code() -> None:
    assert {code for _, found in CASES for code, _ in found} == {code.value for code in TroubleCode}


def test_what_only_a_silent_archiver_would_know_is_not_said() -> None:
    report = replace(REPORT, store_error="503", retention_braked=True, clock_stepped_ns=3600 * S, spool_room_bytes=0)
    silent = replace(WELL, archiver_answers=False, archiver=report)
    assert [t.code for t in troubles(silent)] == [TroubleCode.ARCHIVER_DOWN]


def test_programs_are_told_what_is_grave_and_of_which_camera() -> None:
    status = replace(report(store_error="503"), streams=(replace(GOOD, clock_offset_ns=2 * S),))
    whole = {"camera": None, "camera_id": None}
    camera = {"camera": {"number": 12, "name": "Rynek"}, "camera_id": "k12"}
    assert status_json(status)["troubles"] == [
        {"code": "spool_tight", "grade": "bad", "facts": {"minutes": 6}} | whole,
        {"code": "store_error", "grade": "bad", "facts": {"segments": 1}} | whole,
        {"code": "camera_clock_ahead", "grade": "warning", "facts": {"seconds": 2.0}} | camera,
    ]
