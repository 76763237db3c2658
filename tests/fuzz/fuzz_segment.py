"""Fuzz target: segment files: head, trailer, index, fragments, groups; whole, open and cut off. First byte: how read."""

from __future__ import annotations

import functools
from uuid import UUID

from tests.support.encoded import RUN, aac, mapping_at, small_config, video
from vms.errors import MalformedError
from vms.media.boxes import BytesSource
from vms.media.digest import first_seal
from vms.media.segment_head import ClockState, SegmentHead
from vms.media.segment_reader import SegmentReader, read_head, scan_open, verify
from vms.media.segment_writer import SegmentWriter
from vms.model import AccessUnit, ClockMapping, Codec


class _Bounded(BytesSource):
    """No read may be longer than the file, and a little."""

    def read(self, offset: int, length: int) -> bytes:
        assert 0 <= offset <= self.size
        assert 0 <= length <= self.size + 64
        return super().read(offset, length)


def fuzz(data: bytes) -> None:
    if not data:
        return
    source = _Bounded(data[1:])
    try:
        if data[0] & 1:
            scan = scan_open(source)
            assert scan.whole_bytes <= source.size
            assert scan_open(source, scan).fragments == scan.fragments
            read_head(data[1:])
        elif data[0] & 2:
            verify(source)
        else:
            reader = SegmentReader(source)
            units = list(reader.units())
            assert sum(len(u.data) for u in units) <= source.size + 64 * len(units)
            begin = units[len(units) // 2].pts if units else 0
            list(reader.units(begin, begin + 7200))
            low, high = reader.byte_range(begin, begin + 7200)
            assert low >= 0
            assert high <= source.size
            sum(len(samples) for samples in reader.fragments())
            reader.facts()
    except MalformedError:
        return


@functools.cache
def segment(units: tuple[AccessUnit, ...], in_band: bool = False) -> bytes:
    config = units[0].config
    step = 1024 if not config.codec.is_video else 3600
    start = units[0].pts
    mapping = mapping_at if config.codec.is_video else (lambda pts: ClockMapping(pts, RUN.start_ns, config.clock_hz))
    begin = first_seal(RUN.stream_id, RUN.host, RUN.epoch, RUN.origin, RUN.id)
    head = SegmentHead(
        RUN.stream_id, RUN.id, 0, RUN.origin, RUN.host, RUN.epoch, RUN.clock, mapping(start), start, start, start, True, begin
    )  # fmt: skip
    writer = SegmentWriter(head, config, in_band=in_band)
    samples = [(u, start + i * step, step) for i, u in enumerate(units)]
    half = len(samples) // 2
    buffers = [*writer.begin(), *writer.fragment(samples[:half]), *writer.fragment(samples[half:])]
    last, _ = writer.finish(start + len(units) * step, ClockState())
    return b"".join([*buffers, *last])


def seeds() -> list[bytes]:
    small = tuple(u._replace(data=u.data[:4] + u.data[4:]) for u in video(Codec.H264, 4, gop=2))
    config = small_config()
    plain = tuple(
        AccessUnit(3600 * n, b"\0\0\0\6\x65" + UUID(int=n).bytes[-5:], n % 2 == 0, config, 0) for n in range(4)
    )
    files = [segment(plain), segment(plain, in_band=True), segment(small), segment(aac(8))]
    files += [segment(video(Codec.H265, 3, gop=2)), files[0][:-300]]
    return [bytes((mode,)) + file for file in files for mode in (0, 1, 2)]
