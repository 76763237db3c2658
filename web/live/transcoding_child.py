"""The process behind `transcoded`: one stream that browsers cannot take, decoded and encoded as H.264 they can.

Reads frames of `vms.feed` (C and U) from stdin and writes such frames to stdout, until stdin ends. What comes out is
baseline H.264 without B-frames, at most `WIDEST` wide, a key picture every two seconds, with the capture times of what
went in. It has no other door: no socket, no file, no setting. A picture that makes the decoder crash ends this process
and nothing else.
"""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from collections import OrderedDict
from fractions import Fraction
from typing import Any

import av
import av.error
import av.logging

from vms.errors import MalformedError
from vms.feed import FrameDecoder, encode_config, encode_unit
from vms.media import h264
from vms.media.rtp import split_nals, with_parameter_sets
from vms.model import VIDEO_CLOCK_HZ, AccessUnit, CodecConfig, TimedUnit
from vms.secrecy import keep_memory_private

WIDEST = 1280
KEY_SECONDS = 2
USUAL_FPS = 25
BITS_PER_PIXEL = 0.1
MAX_MEMORY_BYTES = 2 << 30
MOST_OPEN = 64  # pictures in the decoder whose capture time is kept
READ_BYTES = 1 << 18
TIME_BASE = Fraction(1, VIDEO_CLOCK_HZ)


class Transcoder:
    """Units in, units out. A change of the stream's configuration begins decoder and encoder anew."""

    def __init__(self) -> None:
        self._config: CodecConfig | None = None
        self._decoder: Any = None
        self._encoder: Any = None
        self._size = (0, 0)
        self._captures: OrderedDict[int, int] = OrderedDict()  # pts → capture time of what is in the decoder
        self._sent: CodecConfig | None = None

    def take(self, timed: TimedUnit) -> bytes:
        """What a unit makes: frames of the feed, or nothing yet."""
        unit = timed.unit
        if unit.config != self._config:
            self._begin(unit.config)
        self._captures[unit.pts] = timed.capture_ns
        while len(self._captures) > MOST_OPEN:
            self._captures.popitem(last=False)
        data = with_parameter_sets(unit.data, unit.config.parameter_sets) if unit.key else unit.data
        packet = av.Packet(b"".join(b"\0\0\0\1" + bytes(nal) for nal in split_nals(data)))
        packet.pts = packet.dts = unit.pts
        packet.time_base = TIME_BASE
        out = b""
        with contextlib.suppress(av.error.FFmpegError):  # damaged pictures: the decoder goes on at the next one it can
            for picture in self._decoder.decode(packet):
                out += self._encode(picture)
        return out

    def _begin(self, config: CodecConfig) -> None:
        self._config = config
        self._decoder = av.CodecContext.create(config.codec.value, "r")
        self._decoder.thread_count = 1  # more would each hold a picture back
        self._encoder = None
        self._captures.clear()

    def _encode(self, picture: Any) -> bytes:
        width = min(WIDEST, picture.width) // 2 * 2
        height = picture.height * width // picture.width // 2 * 2
        if self._encoder is None or (width, height) != self._size:
            self._encoder = _encoder(width, height, self._config.nominal_fps if self._config else 0)
            self._size, self._sent = (width, height), None
        made = picture.reformat(width=width, height=height, format="yuv420p")
        made.pts, made.time_base = picture.pts, TIME_BASE
        made.pict_type = 0  # the encoder decides
        out = b""
        for packet in self._encoder.encode(made):
            out += self._packed(packet)
        return out

    def _packed(self, packet: Any) -> bytes:
        nals = [n for n in _split(bytes(packet)) if n]
        sets = [n for n in nals if n[0] & 31 in (7, 8)]
        pictures = [n for n in nals if n[0] & 31 in (1, 5, 6)]
        out = b""
        if sets and (self._sent is None or list(self._sent.parameter_sets) != sets):
            self._sent = h264.make_config(sets)
            out = encode_config(self._sent)
        if self._sent is None or not pictures:
            return out
        data = b"".join(len(n).to_bytes(4, "big") + n for n in pictures)
        unit = AccessUnit(int(packet.pts), data, bool(packet.is_keyframe), self._sent, 0)
        return out + encode_unit(TimedUnit(unit, self._capture(unit.pts)))

    def _capture(self, pts: int) -> int:
        """Of the picture with this presentation time; of the nearest one where the decoder made up its own."""
        found = self._captures.get(pts)
        if found is None:
            nearest = min(self._captures, key=lambda known: abs(known - pts))
            found = self._captures[nearest] + (pts - nearest) * 100_000 // 9
        return found


def _encoder(width: int, height: int, fps: float) -> Any:
    encoder: Any = av.CodecContext.create("libx264", "w")
    rate = round(fps) if 1 <= fps <= 60 else USUAL_FPS
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.time_base, encoder.framerate = TIME_BASE, Fraction(rate)
    encoder.bit_rate = int(width * height * rate * BITS_PER_PIXEL)
    keys = KEY_SECONDS * rate
    encoder.options = {
        "preset": "ultrafast", "tune": "zerolatency", "profile": "baseline",
        "x264-params": f"keyint={keys}:min-keyint={keys}:scenecut=0:bframes=0:repeat-headers=1:sliced-threads=0:log-level=none",
    }  # fmt: skip
    encoder.thread_count = 1
    return encoder


def _split(data: bytes) -> list[bytes]:
    """NAL units of an Annex B byte stream."""
    return [nal.rstrip(b"\0") for nal in data.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1")[1:]]


def main() -> None:
    """`python -m web.live.transcoding_child`."""
    keep_memory_private()
    av.logging.set_level(None)
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    os.nice(5)  # pictures that need no help go first
    decoder, transcoder = FrameDecoder(), Transcoder()
    with contextlib.suppress(BrokenPipeError), open(sys.stdout.fileno(), "wb", buffering=0, closefd=False) as out:
        while data := os.read(sys.stdin.fileno(), READ_BYTES):
            for event in decoder.feed(data):
                if isinstance(event, TimedUnit):
                    with contextlib.suppress(MalformedError):
                        write_all(out, transcoder.take(event))


def write_all(out: Any, data: bytes) -> None:
    """An unbuffered file may take less than it is given."""
    view = memoryview(data)
    while view:
        view = view[out.write(view) :]


if __name__ == "__main__":
    main()
