"""Real footage in a spool: encoded pictures and sound cut into segments by hand, under any clock mapping."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import av

from storage.archiver import Archiver
from storage.catalogue.values import StoreInfo
from storage.facts import RunFact
from storage.objects.base import ObjectStore
from storage.reader import Reader
from tests.support.sealed import HOST, OBJECT_STORE, SPOOL_STORE, Site
from vms.media.segment_head import ClockState, SegmentHead
from vms.media.segment_writer import SegmentWriter
from vms.model import AccessUnit, ClockMapping, Codec, RunInfo, SegmentFacts
from vms.timeline import TimeRange

FRAME = 3600  # ticks of 90 kHz
FRAME_NS = 40_000_000
FIRST_PTS = 900_000


@dataclass(frozen=True, slots=True)
class Part:
    """One segment to write: units in decoding order, where it begins and ends in media time, and its clock."""

    units: Sequence[AccessUnit]
    start: int
    end: int
    mapping: ClockMapping
    independent: bool = True
    trailer: bool = True
    frame: int = FRAME  # how long its last picture is shown


async def write(site: Site, run: RunInfo, parts: Sequence[Part], *, first: int = 0) -> list[SegmentFacts]:
    """Write segments into the spool and seal those with a trailer; the run's fact beside them."""
    made = []
    for number, part in enumerate(parts, first):
        units = part.units
        video_track = units[0].config.codec.is_video
        times = sorted(u.pts for u in units)
        back = max((t - u.pts for t, u in zip(times, units, strict=True)), default=0)
        decoded = [t - back for t in times]
        head = SegmentHead(
            run.stream_id, run.id, number, run.origin, run.host, run.epoch, run.clock, part.mapping,
            run_start_ticks=part.start, base_ticks=decoded[0], start_ticks=part.start, independent=part.independent,
            previous_seal=bytes(32),
        )  # fmt: skip
        writer = SegmentWriter(head, units[0].config)
        opened = site.spool.open_segment(run.stream_id, run.id, number)
        buffers = list(writer.begin())
        gathered: list[tuple[AccessUnit, int, int]] = []
        for n, (unit, at) in enumerate(zip(units, decoded, strict=True)):
            if gathered and ((unit.key and video_track) or len(gathered) == 12):
                buffers += writer.fragment(gathered)
                gathered = []
            step = decoded[n + 1] - at if n + 1 < len(units) else part.frame if video_track else 1024
            gathered.append((unit, at, step))
        buffers += writer.fragment(gathered)
        site.spool.write(opened, [b"".join(buffers)])
        if not part.trailer:
            continue
        last, facts = writer.finish(part.end, ClockState(ntp_synchronised=True, camera_offset_ns=137_000_000_000))
        site.spool.write(opened, [b"".join(last)])
        await site.spool.seal(opened, facts)
        made.append(facts)
    site.spool.put_run(RunFact(run))
    await site.spool.drained()
    return made


def mapping(run: RunInfo, rate_ppb: int = 0, clock_hz: int = 90_000, pts: int = FIRST_PTS) -> ClockMapping:
    return ClockMapping(pts, run.start_ns, clock_hz, rate_ppb)


def split(
    units: Sequence[AccessUnit], run: RunInfo, at: Sequence[int], rates: Sequence[int] = (), frame: int = FRAME
) -> list[Part]:
    """Cut before the units numbered `at` in decoding order; `rates` are the clock rates of the segments."""
    edges = [0, *at, len(units)]
    clock = mapping(run)
    parts = []
    for n, (low, high) in enumerate(itertools.pairwise(edges)):
        some = units[low:high]
        start = min(u.pts for u in some)
        end = min((u.pts for u in units[high:]), default=max(u.pts for u in some) + frame)
        rate = rates[n] if rates else 0
        clock = ClockMapping(start, clock.capture_ns(start), clock.clock_hz, rate)
        parts.append(Part(some, start, end, clock, independent=some[0].key, frame=frame))
    return parts


async def record(
    site: Site, units: Sequence[AccessUnit], at: Sequence[int] = (), rates: Sequence[int] = (), **run: object
) -> RunInfo:
    """One run of segments in the spool."""
    made = site.run(**run)
    await write(site, made, split(units, made, at, rates))
    return made


async def archive(site: Site, store: ObjectStore, info: StoreInfo = OBJECT_STORE) -> None:
    """Everything sealed into a store, as the archiver does it."""
    archiver = Archiver(site.spool, site.catalogue, store, host=HOST, spool_store=SPOOL_STORE, object_store=info)
    await archiver.register_sealed()
    while archiver.progress().backlog_segments:
        await archiver.upload_pending()


def reader(site: Site, **stores: ObjectStore) -> Reader:
    return Reader(site.catalogue, site.spool, stores)


def span(run: RunInfo, first: float, last: float) -> TimeRange:
    """From picture `first` to before picture `last` of a run at 25 pictures a second."""
    return TimeRange(run.start_ns + round(first * FRAME_NS), run.start_ns + round(last * FRAME_NS))


def picture(frame: av.VideoFrame) -> bytes:
    """Its luma without what the decoder leaves beside the rows."""
    plane = frame.planes[0]
    data = bytes(plane)
    return b"".join(data[y * plane.line_size :][: frame.width] for y in range(frame.height))


def pictures(units: Sequence[AccessUnit]) -> list[bytes]:
    """Pictures in output order, decoded from the units alone."""
    config = units[0].config
    decoder = av.CodecContext.create("h264" if config.codec is Codec.H264 else "hevc", "r")
    assert isinstance(decoder, av.VideoCodecContext)
    decoder.thread_count = 1
    frames = []
    for n, unit in enumerate(units):
        data, at = b"", 0
        while at < len(unit.data):
            size = int.from_bytes(unit.data[at : at + 4], "big")
            data += b"\0\0\0\1" + unit.data[at + 4 : at + 4 + size]
            at += 4 + size
        sets = b"".join(b"\0\0\0\1" + nal for nal in config.parameter_sets) if n == 0 else b""
        packet = av.Packet(sets + data)
        packet.pts = unit.pts
        frames += decoder.decode(packet)
    return [picture(frame) for frame in frames + decoder.decode(None)]


def played(path: Path) -> list[tuple[int, bytes]]:
    """What a player shows of a file: presentation time in ticks, picture."""
    with av.open(str(path)) as container:
        return [(frame.pts or 0, picture(frame)) for frame in container.decode(video=0)]


def samples(path: Path, kind: str = "video") -> list[bytes]:
    """Every sample of a file, also those that the edit list hides."""
    with av.open(str(path), options={"ignore_editlist": "1"}) as container:
        return [bytes(p) for p in container.demux(**{kind: 0}) if p.size]
