"""The process behind `LibavSource`: FFmpeg's demuxers through PyAV, alone with one camera.

Reads one JSON line from stdin (url, username, password, transport, audio) and writes to stdout, until it is killed:

    1 byte "v" or "a", 4 bytes length (big-endian), frames of `vms.feed`: C (configuration) and U (unit). Where the
                       feed has capture time, U has the monotonic time of arrival, which is one clock for all processes.
    1 byte "e", 4 bytes length, JSON {"reason", "message"}: why it ends. Never with credentials in it.

Packets are remuxed, not decoded: Annex B or length-prefixed NAL units of H.264 and H.265 become the house's access units
(`vms.model.AccessUnit`). Every open has a `protocol_whitelist` with what its scheme needs and nothing else: a playlist
from a camera cannot make us read files or other hosts' services by other protocols.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn
from urllib.parse import quote

import av
import av.error
import av.logging
from av.stream import Discard

from vms.camera_url import CameraUrl
from vms.errors import MalformedError, SourceError, UserError
from vms.feed import encode_config, encode_unit
from vms.media import audio, h264, h265
from vms.model import AccessUnit, Codec, CodecConfig, GapReason, SourceKind, TimedUnit
from vms.secrecy import keep_memory_private

OPEN_SECONDS = 10.0
READ_SECONDS = 30.0
MAX_MEMORY_BYTES = 2 << 30
MAX_UNIT_BYTES = 15 << 20

PROTOCOLS = {
    "rtsp": "rtsp,rtp,tcp,udp",
    "rtsps": "rtsp,rtsps,rtp,tcp,udp,tls",
    "rtmp": "rtmp,tcp",
    "rtmps": "rtmps,rtmp,tls,tcp",
    "http": "http,tcp",
    "https": "https,http,tls,tcp,crypto",
    "srt": "srt,udp",
    "file": "file",
}
_CODECS = {
    "h264": Codec.H264,
    "hevc": Codec.H265,
    "aac": Codec.AAC,
    "pcm_alaw": Codec.PCMA,
    "pcm_mulaw": Codec.PCMU,
    "opus": Codec.OPUS,
}
_PARAMETER_SETS = {Codec.H264: (7, 8), Codec.H265: (32, 33, 34)}
_LEFT_OUT = {Codec.H264: (9, 10, 11, 12), Codec.H265: (35, 36, 37, 38)}  # delimiters, ends of sequence, filler


@dataclass(frozen=True, slots=True)
class Order:
    """What to open."""

    url: CameraUrl
    username: str
    password: str
    transport: str
    audio: bool

    @classmethod
    def parse(cls, line: bytes) -> Order:
        """Raises MalformedError or UserError."""
        try:
            body = json.loads(line)
            texts = [body[name] for name in ("url", "username", "password", "transport")]
            if not all(isinstance(text, str) for text in texts) or not isinstance(body["audio"], bool):
                raise MalformedError("order", "has a value of another type")
        except (ValueError, KeyError, TypeError) as error:
            raise MalformedError("order", "is not what the recorder writes") from error
        url, username, password, transport = texts
        return cls(CameraUrl.parse(url, SourceKind.LIBAV), username, password, transport, body["audio"])

    def address(self) -> str:
        """With credentials, for libav's ears only."""
        text = self.url.filled(self.username, self.password)
        if not self.username or self.url.scheme == "file":
            return text
        scheme, _, rest = text.partition("://")
        return f"{scheme}://{quote(self.username, safe='')}:{quote(self.password, safe='')}@{rest}"

    def options(self) -> dict[str, str]:
        options = {"protocol_whitelist": PROTOCOLS[self.url.scheme], "fflags": "+genpts"}
        if self.url.scheme.startswith("rtsp"):
            options |= {"rtsp_transport": "udp" if self.transport == "udp" else "tcp", "timeout": "5000000"}
            options["allowed_media_types"] = "video+audio" if self.audio else "video"
        return options


class NalPacker:
    """NAL units of one video stream as libav gives them → access units' data and the configuration in force."""

    def __init__(self, codec: Codec, extradata: bytes, has_b_frames: int) -> None:
        self.codec = codec
        self._reorders = has_b_frames > 0
        self._sets: dict[tuple[int, bytes], bytes] = {}
        self.length_bytes = 0  # of the prefix of each NAL; 0: Annex B
        at = 4 if codec is Codec.H264 else 21  # where the configuration record says how long lengths are
        if extradata[:1] == b"\x01" and len(extradata) > at:
            self.length_bytes = (extradata[at] & 3) + 1
            sets = _sets_of_avcc(extradata) if codec is Codec.H264 else _sets_of_hvcc(extradata)
        else:
            sets = list(split_annex_b(extradata))
        self._known = self._take_sets(sets)
        self.config = self._make_config()

    def pack(self, data: bytes) -> bytes:
        """The unit's data; empty when there is no picture in it. `config` is new when its parameter sets are."""
        nals = split_annex_b(data) if not self.length_bytes else split_lengths(data, self.length_bytes)
        kept: list[bytes] = []
        sets: list[bytes] = []
        picture = False
        for nal in nals:
            if not nal:
                continue
            kind = nal[0] & 0x1F if self.codec is Codec.H264 else nal[0] >> 1 & 0x3F
            if kind in _PARAMETER_SETS[self.codec]:
                sets.append(nal)
            elif kind not in _LEFT_OUT[self.codec]:
                kept += (len(nal).to_bytes(4, "big"), nal)
                picture = picture or (1 <= kind <= 5 if self.codec is Codec.H264 else kind < 32)
        if sets:
            known = self._take_sets(sets)
            if known != self._known:
                self._known = known
                self.config = self._make_config()
        return b"".join(kept) if picture else b""

    def _take_sets(self, nals: list[bytes]) -> tuple[bytes, ...]:
        for nal in nals[:64]:
            self._sets[self._set_key(nal)] = nal
        return tuple(self._sets[key] for key in sorted(self._sets))

    def _set_key(self, nal: bytes) -> tuple[int, bytes]:
        """Kind and id; where the id does not parse the kind alone, so that rubbish cannot pile up."""
        try:
            if self.codec is Codec.H264:
                kind = nal[0] & 0x1F
                number = h264.parse_sps(nal).id if kind == 7 else h264.parse_pps(nal)[0]
            else:
                kind = nal[0] >> 1 & 0x3F
                number = {
                    32: lambda: h265.parse_vps_id(nal),
                    33: lambda: h265.parse_sps(nal).id,
                    34: lambda: h265.parse_pps(nal)[0],
                }[kind]()
        except (MalformedError, KeyError):
            return nal[0], b""
        return kind, bytes([number & 0xFF])

    def _make_config(self) -> CodecConfig:
        sets = self._known
        if self.codec is Codec.H264:
            return h264.make_config(sets, shows_b=self._reorders)
        return h265.make_config(sets)


def split_annex_b(data: bytes) -> Iterator[bytes]:
    """NAL units between start codes (ITU-T H.264 annex B)."""
    start = data.find(b"\x00\x00\x01")
    while start >= 0:
        begin = start + 3
        start = data.find(b"\x00\x00\x01", begin)
        nal = data[begin : start if start >= 0 else len(data)].rstrip(b"\x00")
        if nal:
            yield nal


def split_lengths(data: bytes, length_bytes: int) -> Iterator[bytes]:
    """NAL units after their lengths; a length that reaches beyond the data ends it."""
    at = 0
    while at + length_bytes <= len(data):
        size = int.from_bytes(data[at : at + length_bytes], "big")
        at += length_bytes
        if size > len(data) - at:
            return
        yield data[at : at + size]
        at += size


def without_adts(data: bytes) -> bytes:
    """A raw AAC frame of one with an ADTS header (ISO/IEC 14496-3 §1.A.3.2), as MPEG-TS carries them.

    No raw frame begins like that header: its first element would be the one that ends a frame.
    """
    if len(data) > 7 and data[0] == 0xFF and data[1] & 0xF6 == 0xF0:
        return data[7 if data[1] & 1 else 9 :]
    return data


def _sets_of_avcc(box: bytes) -> list[bytes]:
    """AVCDecoderConfigurationRecord (ISO/IEC 14496-15 §5.3.3.1)."""
    sets: list[bytes] = []
    at = 5
    for mask in (0x1F, 0xFF):
        if at >= len(box):
            break
        count = box[at] & mask
        at += 1
        for _ in range(count):
            size = int.from_bytes(box[at : at + 2], "big")
            sets.append(box[at + 2 : at + 2 + size])
            at += 2 + size
    return [s for s in sets if s]


def _sets_of_hvcc(box: bytes) -> list[bytes]:
    """HEVCDecoderConfigurationRecord (ISO/IEC 14496-15 §8.3.3.1)."""
    sets: list[bytes] = []
    at = 23
    for _ in range(box[22] if len(box) > 22 else 0):
        count = int.from_bytes(box[at + 1 : at + 3], "big")
        at += 3
        for _ in range(min(count, 64)):
            size = int.from_bytes(box[at : at + 2], "big")
            sets.append(box[at + 2 : at + 2 + size])
            at += 2 + size
    return [s for s in sets if s]


class _Track:
    """One stream of the container on its way out."""

    def __init__(self, stream: Any, codec: Codec, letter: bytes) -> None:
        context = stream.codec_context
        self.letter = letter
        self._sent: CodecConfig | None = None
        self._packer: NalPacker | None = None
        extradata = bytes(context.extradata or b"")
        if codec.is_video:
            self._packer = NalPacker(codec, extradata, int(getattr(context, "has_b_frames", 0) or 0))
            self.config = self._packer.config
        elif codec is Codec.AAC:
            self.config = audio.aac_config(extradata, context.sample_rate, context.channels)
        elif codec is Codec.OPUS:
            self.config = audio.opus_config(context.channels)
        else:
            self.config = audio.g711_config(codec, context.sample_rate or 8000, context.channels or 1)

    def frames(self, packet: Any, arrival_mono_ns: int) -> bytes:
        """The packet as frames for the recorder; empty when there is nothing to deliver."""
        data = bytes(packet)
        key = True
        if self._packer is not None:
            data = self._packer.pack(data)
            self.config = self._packer.config
            key = bool(packet.is_keyframe)
        elif self.config.codec is Codec.AAC:
            data = without_adts(data)
        if not data or len(data) > MAX_UNIT_BYTES:
            return b""
        hz = self.config.clock_hz
        time_stamp = packet.pts if packet.pts is not None else packet.dts
        if time_stamp is None:
            pts = arrival_mono_ns * hz // 1_000_000_000
        else:
            pts = time_stamp * hz * packet.time_base.numerator // packet.time_base.denominator
        out = b""
        if self.config is not self._sent:
            self._sent = self.config
            out = encode_config(self.config)
        unit = AccessUnit(pts, data, key, self.config, arrival_mono_ns)
        return out + encode_unit(TimedUnit(unit, arrival_mono_ns))


def choose_tracks(container: Any, *, with_audio: bool) -> dict[int, _Track]:
    """The first video stream and, if allowed, the first audio stream that can be recorded, by their index."""
    tracks: dict[int, _Track] = {}
    for stream in container.streams:
        stream.discard = Discard.all
    videos = list(container.streams.video)
    if not videos:
        raise SourceError(GapReason.UNSUPPORTED_CODEC, "the camera sends no video")
    codec = _CODECS.get(videos[0].codec_context.name)
    if codec is None or not codec.is_video:
        name = str(videos[0].codec_context.name).upper()
        raise SourceError(
            GapReason.UNSUPPORTED_CODEC, f"the camera sends {name}, which is not recorded: set it to H.264 or H.265"
        )
    tracks[videos[0].index] = _Track(videos[0], codec, b"v")
    for stream in container.streams.audio if with_audio else ():
        codec = _CODECS.get(stream.codec_context.name)
        if codec is not None and not codec.is_video:
            tracks[stream.index] = _Track(stream, codec, b"a")
            break
    for index in tracks:
        container.streams[index].discard = Discard.default
    return tracks


def receive(order: Order, out: Any) -> NoReturn:
    """Open, demux, write; ends by SourceError or when the reader of `out` is gone (OSError)."""
    try:
        container = av.open(order.address(), options=order.options(), timeout=(OPEN_SECONDS, READ_SECONDS))
    except av.error.FFmpegError as error:
        raise _translate(error, "cannot be opened") from error
    with container:
        tracks = choose_tracks(container, with_audio=order.audio)
        pace = _Pace() if order.url.scheme == "file" else None
        try:
            for packet in container.demux(*(container.streams[index] for index in tracks)):
                if packet.size == 0:
                    continue
                if pace is not None:
                    pace.wait(packet)
                track = tracks[packet.stream_index]
                frames = track.frames(packet, time.monotonic_ns())
                if frames:
                    out.write(track.letter + len(frames).to_bytes(4, "big") + frames)
        except av.error.FFmpegError as error:
            raise _translate(error, "broke off") from error
    raise SourceError(GapReason.STALLED, "the camera ended the stream")


class _Pace:
    """Gives out a file's packets when they are due, as a camera would."""

    def __init__(self) -> None:
        self._lead: float | None = None

    def wait(self, packet: Any) -> None:
        if packet.dts is None:
            return
        due = float(packet.dts * packet.time_base)
        now = time.monotonic()
        if self._lead is None:
            self._lead = now - due
        time.sleep(max(0.0, min(10.0, self._lead + due - now)))


def _translate(error: av.error.FFmpegError, what: str) -> SourceError:
    """libav's word for it; its message names the address with credentials and is not passed on."""
    reason = GapReason.UNREACHABLE
    if isinstance(error, (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError)):
        reason = GapReason.UNAUTHORISED
    elif isinstance(error, (av.error.ConnectionRefusedError, av.error.HTTPNotFoundError, av.error.InvalidDataError)):
        reason = GapReason.REFUSED
    words = "no answer in time" if isinstance(error, av.error.ExitError) else error.strerror or "unknown"
    return SourceError(reason, f"the stream {what}: {words}"[:180])


def main() -> int:
    """Returns the exit code: 0 after saying why it ends, 1 when the recorder has gone."""
    keep_memory_private()
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    av.logging.set_level(None)
    out = os.fdopen(sys.stdout.fileno(), "wb", buffering=0, closefd=False)
    buffered = _WholeWrites(out)
    try:
        try:
            receive(Order.parse(sys.stdin.buffer.readline(64 * 1024)), buffered)
        except SourceError as error:
            reason, message = error.reason, str(error)
        except (MalformedError, UserError) as error:
            reason, message = GapReason.INTERNAL_ERROR, str(error)
        body = json.dumps({"reason": reason.value, "message": message}).encode()
        buffered.write(b"e" + len(body).to_bytes(4, "big") + body)
    except BrokenPipeError:
        return 1
    return 0


class _WholeWrites:
    """An unbuffered pipe that takes every byte."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._raw.write(view) :]


if __name__ == "__main__":
    sys.exit(main())
