"""Fuzz target: small files that processes leave for others: the archiver's report, RTSP session ids, a child's last words.

A machine that lost power, or a person, may have left anything there. What is read can be shown.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace

from recorder.sessions import SessionFolder
from recorder.sources.libav import _said
from storage.archive_process import STATUS_FILE
from vms.cli.retention import _last_run
from vms.cli.status_table import foot_lines
from vms.errors import MalformedError
from vms.status.site_status import SiteStatus, read_report
from vms.status.status_json import status_json

_FOLDER = Path(tempfile.mkdtemp(prefix="vms-fuzz-state-"))
_URL = "rtsp://10.0.0.5/kam"
_NOW_NS = 1_793_000_000_000_000_000


def fuzz(data: bytes) -> None:
    (_FOLDER / STATUS_FILE).write_bytes(data)
    report = read_report(_FOLDER / STATUS_FILE)
    status = SiteStatus(_NOW_NS, "Stróż", "/srv", "s3", "pid 5", True, report is not None, report, ())
    json.dumps(status_json(status), allow_nan=False)
    foot_lines(status)
    run = _last_run(SimpleNamespace(run=_FOLDER))  # type: ignore[arg-type]
    assert run is None or run["at_ns"] >= 0
    _read_sessions(data)
    with contextlib.suppress(MalformedError):
        assert _said(data).reason


def _read_sessions(data: bytes) -> None:
    folder = SessionFolder(_FOLDER / "sessions", "a")
    folder._file(_URL).write_bytes(data)
    known = folder.pending(_URL)
    folder.remember(_URL, "4711")
    assert folder.pending(_URL) == [*known, "4711"][-8:]
    folder.forgotten(_URL, "4711")
    assert "4711" not in folder.pending(_URL)
    shutil.rmtree(_FOLDER / "sessions")


def seeds() -> list[bytes]:
    names = "at_ns backlog_segments backlog_bytes uploaded_segments uploaded_bytes lost_segments set_aside "
    names += "journals_set_aside spool_open_bytes spool_sealed_bytes spool_room_bytes spool_strays"
    facts: dict[str, object] = dict.fromkeys(names.split(), _NOW_NS)
    facts |= {"oldest_start_ns": 5, "catalogue_error": None, "store_error": "away", "spool_hours": 1.5}
    facts |= {"retention_braked": True, "spool_bytes_per_second": 9, "deletion": None}
    return [
        json.dumps(facts).encode(),
        json.dumps(facts | {"spool_hours": 1e308, "backlog_bytes": 10**300}).encode(),
        b'["1234", "abc", 5]',
        b'{"reason": "refused", "message": "no"}',
        b"[" * 100_000,
    ]
