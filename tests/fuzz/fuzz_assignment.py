"""Fuzz target: the recorder's assignment, sealed (as found on the disk) and what is inside of the seal."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from uuid import UUID

from vms.assignment import Assignment, CameraAssignment, read_assignment, write_assignment
from vms.errors import MalformedError
from vms.model import SourceKind, Stream, StreamKind
from vms.sealing import Sealer

_FILE = Path(tempfile.mkdtemp(prefix="vms-fuzz-assignment-")) / "assignment.sealed"
_SEALER = Sealer(bytes(32))


class _Open:
    """No seal: the bytes in the file are what is inside."""

    def seal(self, plain: bytes, context: str) -> bytes:
        return plain

    def unseal(self, sealed: bytes, context: str) -> bytes:
        return sealed


def fuzz(data: bytes) -> None:
    _FILE.write_bytes(data)
    with contextlib.suppress(MalformedError):
        read_assignment(_FILE, _SEALER)
    try:
        assignment = read_assignment(_FILE, _Open())
    except MalformedError:
        return
    write_assignment(_FILE, assignment, _Open())
    assert read_assignment(_FILE, _Open()) == assignment


def seeds() -> list[bytes]:
    camera = UUID(int=7)
    stream = Stream(UUID(int=8), camera, StreamKind.MAIN, "rtsp://10.0.0.5/a", True)
    given = CameraAssignment(camera, 1, "Rynek", True, SourceKind.RTSP, "tcp", "", False, False, (stream,), "jan", "x")
    files = []
    for assignment in (Assignment(), Assignment((given,))):
        for sealer in (_Open(), _SEALER):
            write_assignment(_FILE, assignment, sealer)
            files.append(_FILE.read_bytes())
    return files
