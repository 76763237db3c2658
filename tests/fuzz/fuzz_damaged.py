"""Fuzz target: good segments, damaged, as salvage, check and rebuild meet them. First byte: which; then damages.

A damage is six bytes: what, where (of a box, or anywhere), a value. Salvage gives a segment that is sound or nothing;
an object's two ends say what the whole says, or nothing.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

from storage.check_looks import parsing_problem
from storage.object_ends import read_ends
from storage.salvage import salvage
from storage.sealed_file import read_facts, read_run
from storage.spool import Spool
from tests.fuzz.fuzz_segment import segment
from tests.support.encoded import RUN, aac, made_up, small_config, video
from vms.errors import MalformedError
from vms.media.boxes import BytesSource
from vms.media.segment_reader import SegmentReader, read_head, verify
from vms.model import Codec

_LOOP = asyncio.new_event_loop()
_SHARED = Path("/dev/shm")
_SPOOL = Spool(Path(tempfile.mkdtemp(prefix="vms-fuzz-damaged-", dir=_SHARED if _SHARED.is_dir() else None)))
_RECORD = 6
_MOST = 24  # damages of one file
_LOG = logging.getLogger("storage.salvage")


@functools.cache
def _files() -> tuple[bytes, ...]:
    config = small_config()
    small = tuple(made_up(3600 * n, key=n % 2 == 0, config=config) for n in range(6))
    large = tuple(made_up(3600 * n, key=n % 4 == 0, config=config, size=9000) for n in range(12))  # ends lie apart
    return (
        segment(small),
        segment(small, in_band=True),
        segment(large),
        segment(video(Codec.H265, 3)),
        segment(aac(8)),
    )


@functools.cache
def _boxes(which: int) -> tuple[int, ...]:
    """Where a four-letter word stands that may be a box's type."""
    data = _files()[which]
    words = (b"ftyp", b"moov", b"uuid", b"moof", b"mdat", b"mfra", b"traf", b"trun", b"tfhd", b"tfdt", b"mfro", b"tfra")
    words += (b"trak", b"stsd", b"avcC", b"hvcC", b"mvex", b"mdhd")
    found = []
    for word in words:
        at = data.find(word)
        while at >= 0:
            found.append(at - 4)
            at = data.find(word, at + 1)
    return tuple(sorted(found))


def damaged(data: bytes) -> bytes:
    """The file that `data` describes."""
    which = data[0] % len(_files())
    file = bytearray(_files()[which])
    for at in range(1, min(len(data) - _RECORD, _RECORD * _MOST) + 1, _RECORD):
        what, place, high, low, value, more = data[at : at + _RECORD]
        boxes = _boxes(which)
        offset = (high << 8 | low) * len(file) >> 16 if what & 8 else boxes[place % len(boxes)] + low % 64
        offset = min(offset, len(file))
        match what & 7:
            case 0:
                file[offset : offset + 1] = bytes((value,))
            case 1 if offset < len(file):
                file[offset] ^= 1 << (value & 7)
            case 2:
                del file[offset:]
            case 3:
                del file[offset : offset + value]
            case 4:
                file[offset:offset] = bytes((more,)) * value
            case 5:
                file[offset : offset + 4] = (value << 8 * (more & 3)).to_bytes(4, "big")
            case 6:
                file[offset : offset + value] = bytes(min(value, len(file) - offset))
            case _:
                file[offset:offset] = file[offset : offset + 16 * value]
    return bytes(file)


def fuzz(data: bytes) -> None:
    if not data:
        return
    file = damaged(data)
    _check_ends(file)
    _check_salvage(file, _files()[data[0] % len(_files())])


def _check_ends(file: bytes) -> None:
    async def read(key: str, offset: int, length: int) -> bytes:
        return file[offset : offset + length]

    try:
        reader = _LOOP.run_until_complete(read_ends(SimpleNamespace(read=read), "x", len(file)))  # type: ignore[arg-type]
    except MalformedError:
        return
    whole = SegmentReader(BytesSource(file))
    assert (reader.head, reader.trailer, reader.config) == (whole.head, whole.trailer, whole.config)


def _check_salvage(file: bytes, good: bytes) -> None:
    _SPOOL.prepare()
    _LOG.disabled = True  # it tells of every damage; other tests in this process read what it tells
    try:
        (_SPOOL.open_path / f"{RUN.stream_id}-{RUN.id}-0.part").write_bytes(file)
        (part,) = _SPOOL.parts()
        facts = salvage(_SPOOL, part)
        sealed = _SPOOL.sealed()
        assert len(sealed) == (facts is not None)
        if facts is not None:
            path = sealed[0].path
            problem = parsing_problem(path)
            # An end that tells of other pictures is kept. A head that was changed and still parses is believed: nothing
            # in the file says otherwise.
            tells = path.read_bytes() == file and bool(verify(BytesSource(file)).bad_groups)
            assert problem is None or tells or read_head(file).head != read_head(good).head, problem
            stated = read_facts(path)
            assert facts == (replace(stated, damaged_units=facts.damaged_units) if tells else stated)
            assert facts.damaged_units > stated.damaged_units or not tells or stated.damaged_units == stated.units
            assert read_run(path).id == RUN.id
            assert salvage(_SPOOL, part) is None
        elif part.path.exists():
            assert part.path.read_bytes()[:64] == file[:64]  # whatever it is, it is still there
    finally:
        _LOG.disabled = False
        shutil.rmtree(_SPOOL.path, ignore_errors=True)


def seeds() -> list[bytes]:
    cuts = [bytes((which, 2 | 8, 0, high, 0, 0, 0)) for which in range(5) for high in (40, 128, 250)]
    whole = [bytes((which, 1, 0, 0, 60, 0, 0)) for which in range(5)]
    odd = [bytes((0, 5, place, 0, 0, 255, place)) for place in range(12)]
    return [*cuts, *whole, *odd, bytes((2, 5, 30, 0, 0, 1, 1, 4, 20, 0, 9, 9, 9))]
