"""Leftovers of a crash: cut anywhere, what is whole is sealed and sound, and nothing else is touched."""

from __future__ import annotations

import errno
import hashlib
import os
from dataclasses import replace
from uuid import uuid4

import pytest

import storage.spool_files
from recorder.segmenter import Begin, Finish, Fragment, Segmenter
from storage.check_looks import parsing_problem
from storage.salvage import salvage
from storage.spool import Spool
from tests.support.encoded import RUN, made_up, mapping_at, small_config, video
from vms.errors import SpoolError
from vms.media.boxes import BytesSource, FileSource
from vms.media.segment_reader import SegmentReader, scan_open, verify
from vms.model import Codec, GapReason

UNITS = [made_up(n * 3600, key=n % 50 == 0, config=small_config()) for n in range(150)]


def actions(units, *, digests: bool = True):
    segmenter = Segmenter(RUN, mapping_at, digests=digests)
    return [a for u in units for a in segmenter.push(u)] + segmenter.flush()


@pytest.fixture
def spool(tmp_path):
    spool = Spool(tmp_path)
    spool.prepare()
    return spool


def leave(spool: Spool, data: bytes, number: int = 0):
    (spool.open_path / f"{RUN.stream_id}-{RUN.id}-{number}.part").write_bytes(data)
    (part,) = spool.leftovers(RUN.stream_id)
    return part


def whole_file(units=UNITS, *, digests: bool = True) -> bytes:
    made = actions(units, digests=digests)
    return b"".join(b"".join(a.buffers) for a in made if isinstance(a, (Begin, Fragment, Finish)))


def check(spool: Spool, facts) -> list:
    (sealed,) = spool.sealed()
    assert sealed.facts == facts
    assert spool.parts() == []
    fd = os.open(sealed.path, os.O_RDONLY)
    try:
        found = verify(FileSource(fd))
        assert found.sound, found
        assert found.facts == facts
        return list(SegmentReader(FileSource(fd)).units())
    finally:
        os.close(fd)


@pytest.mark.parametrize("lost", [1, 20, 47, 100, 333, 1000, 1500, 2000, 3000])
def test_every_whole_fragment_is_kept_wherever_the_file_was_cut(spool, lost):
    data = whole_file()[:-lost]
    scan = scan_open(BytesSource(data))
    facts = salvage(spool, leave(spool, data))
    units = check(spool, facts)
    assert facts.units == len(units) == sum(f.units for f in scan.fragments)
    assert [(u.pts, u.data) for u in units] == [(u.pts, u.data) for u in UNITS[: len(units)]]
    assert facts.end_ns == mapping_at(0).capture_ns(units[-1].pts + 3600)


@pytest.mark.parametrize("codec", [Codec.H264, Codec.H265])
def test_pictures_out_of_order_end_where_the_last_one_does(spool, codec):
    units = video(codec, 75, 2)
    data = whole_file(list(units))[:-700]
    facts = salvage(spool, leave(spool, data))
    kept = check(spool, facts)
    assert facts.end_ns == mapping_at(0).capture_ns(max(u.pts for u in kept) + 3600)


def test_a_file_that_only_had_to_be_renamed_keeps_its_bytes(spool):
    data = whole_file()
    facts = salvage(spool, leave(spool, data))
    check(spool, facts)
    assert spool.sealed()[0].path.read_bytes() == data
    assert facts == next(a.facts for a in actions(UNITS) if isinstance(a, Finish))


def test_recorded_without_digests_it_keeps_its_bytes_and_seal_too(spool):
    data = whole_file(digests=False)
    facts = salvage(spool, leave(spool, data))
    assert spool.sealed()[0].path.read_bytes() == data
    stated = next(a.facts for a in actions(UNITS, digests=False) if isinstance(a, Finish))
    assert facts == replace(stated, digest=hashlib.sha256(data).digest())


def test_recorded_without_digests_and_with_a_wrong_seal_it_gets_a_new_end(spool):
    data = bytearray(whole_file(digests=False))
    seal = next(a.facts for a in actions(UNITS, digests=False) if isinstance(a, Finish)).seal
    at = bytes(data).rindex(seal)
    data[at] ^= 1
    facts = salvage(spool, leave(spool, bytes(data)))
    check(spool, facts)


def test_pictures_other_than_those_digested_keep_the_end_that_tells_of_it(spool, caplog):
    """Sealed anew they would be sound for ever after."""
    data = bytearray(whole_file())
    data[len(data) // 2] ^= 0xFF  # within the second of three groups
    facts = salvage(spool, leave(spool, bytes(data)))
    (sealed,) = spool.sealed()
    assert sealed.path.read_bytes() == data
    assert sealed.facts == facts
    found = verify(BytesSource(bytes(data)))
    assert (found.bad_groups, found.flaw) == ((1,), "1 group digests differ from those stated")
    assert facts == replace(found.facts, damaged_units=50)
    assert facts.digest == hashlib.sha256(data).digest()
    assert found.flaw in caplog.text
    assert parsing_problem(sealed.path) == found.flaw  # as `vms check --depth decode` looks at it


def test_the_digest_is_that_of_the_file_although_the_disk_changed_a_byte_nobody_reads(spool):
    data = bytearray(whole_file()[:-333])
    data[data.index(b"mvhd") + 8] ^= 1  # the time of creation
    check(spool, salvage(spool, leave(spool, bytes(data))))


@pytest.mark.parametrize("data", [b"", b"".join(actions(UNITS)[0].buffers)])
def test_a_file_that_never_had_a_unit_is_removed(spool, data):
    part = leave(spool, data)
    assert salvage(spool, part) is None
    assert spool.parts() == []
    assert spool.sealed() == []


@pytest.mark.parametrize("data", [b"rubbish" * 100, whole_file()[:300], b"".join(actions(UNITS)[0].buffers) + b"moof"])
def test_what_has_nothing_whole_stays_where_it_is(spool, data):
    part = leave(spool, data)
    assert salvage(spool, part) is None
    assert part.path.read_bytes() == data
    assert spool.sealed() == []


def test_a_part_named_after_another_segment_stays(spool):
    part = leave(spool, whole_file()[:-10], number=7)
    assert salvage(spool, part) is None
    assert part.path.exists()


def test_a_part_that_went_away_meanwhile_is_no_error(spool):
    part = leave(spool, whole_file()[:-10])
    part.path.unlink()
    assert salvage(spool, part) is None


def test_a_full_disk_leaves_the_part_for_another_time(spool, monkeypatch):
    data = whole_file()[:-10]
    part = leave(spool, data)
    real = os.writev

    def full(fd, buffers):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(storage.spool_files.os, "writev", full)
    with pytest.raises(SpoolError) as caught:
        salvage(spool, part)
    assert caught.value.reason is GapReason.SPOOL_FULL
    monkeypatch.setattr(storage.spool_files.os, "writev", real)
    check(spool, salvage(spool, part))


def test_leftovers_of_other_streams_are_none_of_ours(spool):
    leave(spool, whole_file()[:-10])
    assert spool.leftovers(uuid4()) == []


def test_what_another_process_still_writes_is_left_alone(spool):
    predecessor = Spool(spool.path)
    segment = predecessor.open_segment(RUN.stream_id, RUN.id, 0)
    made = actions(UNITS)
    predecessor.write(segment, made[0].buffers + made[1].buffers)
    (part,) = spool.leftovers(RUN.stream_id)
    before = part.path.read_bytes()
    assert salvage(spool, part) is None
    assert part.path.read_bytes() == before
    predecessor.abandon(segment)
    assert salvage(spool, part) is not None


def test_what_was_sealed_while_it_was_opened_is_left_alone(spool, monkeypatch):
    part = leave(spool, whole_file())
    opened = storage.spool_files.fcntl.flock

    def seal_first(fd, operation):
        os.rename(part.path, spool.sealed_path / part.path.with_suffix(".mp4").name)
        opened(fd, operation)

    monkeypatch.setattr(storage.spool_files.fcntl, "flock", seal_first)
    assert salvage(spool, part) is None
    assert (spool.sealed_path / part.path.with_suffix(".mp4").name).read_bytes() == whole_file()
