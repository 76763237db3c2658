"""Fuzz target: one packet at a time on the long way, on the short ways, and many in a row give the same units.

The same interleaved packets go three ways: each through `_push_any`, each through `push`, and all through an `RtspWire`
with `push_run`, in pieces of any size. First byte: the codec and whether its parameter sets are known; second: the
pieces; then six bytes a NAL (`_Script`), so that fragments in a row, which short ways exist for, are easy to come by.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable

from tests.support.encoded import video
from vms.media.rtp import build_rtp
from vms.media.video_units import VideoDepacketiser
from vms.model import AccessUnit, Codec, CodecConfig, SenderReport
from vms.rtsp.message import Message
from vms.rtsp.transport import RtspWire

_RECORD = 6
_MOST_RECORDS = 16
_STEP_NS = 40_000_000  # between two pieces
_SSRC, _FOREIGN = 7, 8


class _Heard:
    """A sink that keeps all it is told, in order."""

    def __init__(self) -> None:
        self.said: list[object] = []

    def on_unit(self, unit: AccessUnit) -> None:
        self.said.append(unit._replace(data=bytes(unit.data)))

    def on_loss(self, packets: int) -> None:
        self.said.append(packets)

    def on_sender_report(self, report: SenderReport) -> None:
        self.said.append(report)


class _Owner:
    def on_message(self, message: Message) -> None:
        raise AssertionError(f"no message was sent: {message}")

    def on_wire_end(self, error: BaseException | None) -> None:
        raise AssertionError(f"the wire ended: {error}")


class _Script:
    """Records made packets. A record: shape, NAL type, fragments, their size, what goes wrong where, what fills it."""

    def __init__(self, codec: Codec) -> None:
        self.frames: list[tuple[int, bytes]] = []  # channel, packet
        self._h264 = codec is Codec.H264
        self._sequence, self._timestamp = 65_500, 0xFFFF_0000

    def add(self, record: bytes) -> None:
        shape, kind, count, size, twist, fill = record
        self._timestamp += (0, 3600, 3600, -3600)[shape & 3]
        count = 1 + count % 24 if shape & 4 else 1
        body = bytes((fill,)) * (count * (1 + (size * size >> 3)))
        nal = (bytes((kind,)) if self._h264 else bytes((kind, 1))) + body
        if shape & 8:
            at = len(nal) * (twist & 31) // 31
            nal = nal[:at] + b"\0\0\1" + nal[: min(at, 40)] + nal[at:]
        payloads = [nal] if count == 1 else self._fragments(nal, count)
        where = (twist >> 3) % len(payloads)
        for number, payload in enumerate(payloads):
            marker = bool(shape & 16) if number == len(payloads) - 1 else bool(shape & 32)
            self._send(payload, marker=marker, wrong=twist & 7 if number == where else 0)

    def _fragments(self, nal: bytes, count: int) -> list[bytes]:
        if self._h264:
            lead, kind, body = bytes((nal[0] & 0xE0 | 28,)), nal[0] & 31, nal[1:]
        else:
            lead, kind, body = bytes((nal[0] & 0x81 | 49 << 1, nal[1])), nal[0] >> 1 & 63, nal[2:]
        step = -(-len(body) // count)
        parts = [body[at : at + step] for at in range(0, len(body), step)]
        ends = [0x80 * (n == 0) | 0x40 * (n == len(parts) - 1) for n in range(len(parts))]
        return [lead + bytes((end | kind,)) + part for end, part in zip(ends, parts, strict=True)]

    def _send(self, payload: bytes, *, marker: bool, wrong: int) -> None:
        timestamp, ssrc = self._timestamp & 0xFFFFFFFF, _SSRC
        kind = 96
        match wrong:
            case 1:  # lost
                self._sequence += 1
                return
            case 2:
                kind = 97
            case 3:
                ssrc = _FOREIGN
            case 4:  # a sender report in between
                self.frames.append((1, timestamp.to_bytes(4, "big")))
            case 5:
                timestamp ^= 0x4000
            case 6:
                self._sequence -= 1  # said twice
        packet = build_rtp(kind, self._sequence & 0xFFFF, timestamp, ssrc, payload, marker=marker)
        if wrong == 7:  # padding
            packet = bytes((packet[0] | 0x20,)) + packet[1:] + b"\0\0\3"
        self._sequence += 1
        self.frames.append((0, packet))


@functools.cache
def _config(codec: Codec, known: bool) -> CodecConfig:
    return video(codec, 2)[0].config if known else CodecConfig(codec)


def three_ways(data: bytes) -> list[tuple[list[object], tuple[object, ...]]]:
    """What is said of `data` on each way, and what was counted."""
    if len(data) < 2 + _RECORD:
        return []
    codec = Codec.H265 if data[0] & 1 else Codec.H264
    script = _Script(codec)
    for at in range(2, min(len(data) - _RECORD, _RECORD * _MOST_RECORDS) + 1, _RECORD):
        script.add(data[at : at + _RECORD])
    config = _config(codec, bool(data[0] & 2))
    pieces = _pieces(sum(4 + len(packet) for _, packet in script.frames), data[1])
    heard = [_Heard() for _ in range(3)]
    long, short, running = ways = [VideoDepacketiser(config, 96, sink) for sink in heard]
    _push_each(long, long._push_any, script.frames, pieces)
    _push_each(short, short.push, script.frames, pieces)
    _push_through_wire(running, script.frames, pieces)
    for way in ways:
        way.flush()
    counted = [(w.packets, w.lost, w.malformed, w.ignored, w.skipped, w.by_arrival, w.report_block()) for w in ways]
    return [(sink.said, counts) for sink, counts in zip(heard, counted, strict=True)]


def fuzz(data: bytes) -> None:
    first, *others = three_ways(data) or [None]
    assert all(other == first for other in others), (first, others)


def _pieces(size: int, seed: int) -> list[int]:
    """Where each piece of the stream ends."""
    rng, ends = random.Random(seed), [0]
    while ends[-1] < size:
        ends.append(min(size, ends[-1] + rng.choice((rng.randrange(1, 64), rng.randrange(1, 3000), 60_000))))
    return ends[1:]


def _report(way: VideoDepacketiser, packet: bytes | bytearray, arrival_ns: int) -> None:
    way.sender_report(int.from_bytes(packet, "big"), 1_790_000_000_000_000_000, arrival_ns)


def _push_each(
    way: VideoDepacketiser,
    push: Callable[[bytearray, int, int, int], None],
    frames: list[tuple[int, bytes]],
    pieces: list[int],
) -> None:
    end, piece = 0, 0
    for channel, packet in frames:
        end += 4 + len(packet)
        while pieces[piece] < end:
            piece += 1
        arrival_ns = (piece + 1) * _STEP_NS
        if channel:
            _report(way, packet, arrival_ns)
        else:
            push(bytearray(packet), 0, len(packet), arrival_ns)


def _push_through_wire(way: VideoDepacketiser, frames: list[tuple[int, bytes]], pieces: list[int]) -> None:
    """As a session does it, but for the clock: what comes in one piece came at one time."""
    wire, now_ns = RtspWire(_Owner()), 0
    wire.channels[0] = lambda buf, start, end, _: way.push(buf, start, end, now_ns)
    wire.channels[1] = lambda buf, start, end, _: _report(way, buf[start:end], now_ns)
    wire.runs[0] = lambda buf, view, at, end, channel, _: way.push_run(buf, view, at, end, channel, now_ns)
    stream = b"".join(b"$" + bytes((channel,)) + len(p).to_bytes(2, "big") + p for channel, p in frames)
    at = 0
    for end in pieces:
        now_ns += _STEP_NS
        wire.get_buffer(-1)[: end - at] = stream[at:end]
        wire.buffer_updated(end - at)
        at = end


def seeds() -> list[bytes]:
    key, plain = {0: 0x65, 1: 0x26}, {0: 0x41, 1: 0x02}
    found = []
    for codec in (0, 1):
        for twist in range(8):
            records = [(5 | 16, key[codec], 23, 90, 0, 0x88), (5 | 16, plain[codec], 9, 60, 8 * 3 + twist, 0x9A)]
            records += [
                (5 | 16, plain[codec], 5, 60, 0, 0x9A),
                (0, 6, 0, 20, 0, 5),
                (5, plain[codec], 12, 100, twist, 0xE0),
            ]
            found.append(bytes((codec | 2 * (twist & 1), twist, *(value for record in records for value in record))))
    found.append(bytes((0, 1, 5, 0x67, 23, 250, 0, 0x42, 13, 0x67, 23, 255, 30, 0x88)))
    return found
