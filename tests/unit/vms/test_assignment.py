"""The sealed assignment: round trip, no clear password on disk, damage is refused."""

from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from vms.assignment import Assignment, assign, read_assignment, write_assignment
from vms.errors import MalformedError
from vms.model import Camera, LegalProfile, Stream, StreamKind
from vms.sealing import Sealer

PROFILE = LegalProfile(uuid4(), "Straż Miejska", "art. 11", 30)


def camera(number: int, retired_ns: int | None = None) -> Camera:
    camera_id = uuid4()
    stream = Stream(uuid4(), camera_id, StreamKind.MAIN, "rtsp://10.0.0.1/main", record=True)
    return Camera(
        camera_id,
        number,
        "Rynek, północ",
        PROFILE.id,
        (stream,),
        username="vms",
        password="kanarek",
        retired_ns=retired_ns,
    )


def test_round_trip_without_retired_cameras(tmp_path: Path) -> None:
    sealer = Sealer(bytes(32))
    path = tmp_path / "assignment.sealed"
    wanted = assign([camera(2), camera(1), camera(3, retired_ns=1)], {PROFILE.id: PROFILE})
    assert [c.number for c in wanted.cameras] == [1, 2]
    write_assignment(path, wanted, sealer)
    assert read_assignment(path, sealer) == wanted
    assert b"kanarek" not in path.read_bytes()
    assert "kanarek" not in repr(wanted)
    assert path.stat().st_mode & 0o777 == 0o600


def test_since_when_a_stream_is_awaited_is_kept_and_restarts_nothing(tmp_path: Path) -> None:
    sealer = Sealer(bytes(32))
    path = tmp_path / "assignment.sealed"
    given = camera(1)
    stream = given.streams[0].id
    profiles = {PROFILE.id: PROFILE}
    write_assignment(path, assign([given], profiles, {stream: 1_700_000_000_000_000_000, uuid4(): 5}), sealer)
    (found,) = read_assignment(path, sealer).cameras
    assert found.since_ns == {stream: 1_700_000_000_000_000_000}
    assert found == assign([given], profiles).cameras[0]
    write_assignment(path, assign([given], profiles), sealer)  # as older versions wrote it
    assert read_assignment(path, sealer).cameras[0].since_ns == {}


@pytest.mark.parametrize("since", [-1, 2**63, 1.5, "1", None, [0]])
def test_a_time_that_is_none_is_refused(tmp_path: Path, since: object) -> None:
    sealer = Sealer(bytes(32))
    path = tmp_path / "assignment.sealed"
    wanted = assign([camera(1)], {PROFILE.id: PROFILE})
    stream = wanted.cameras[0].streams[0].id
    write_assignment(path, replace(wanted, cameras=(replace(wanted.cameras[0], since_ns={stream: since}),)), sealer)
    with pytest.raises(MalformedError):
        read_assignment(path, sealer)


def test_absent_is_empty_and_damage_is_refused(tmp_path: Path) -> None:
    sealer = Sealer(bytes(32))
    path = tmp_path / "assignment.sealed"
    assert read_assignment(path, sealer) == Assignment()
    write_assignment(path, Assignment(), sealer)
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(MalformedError):
        read_assignment(path, sealer)
