"""The wire: frames and messages come out the same however the bytes come in; what is not either costs little."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vms.camera_url import CameraUrl
from vms.errors import MalformedError, SourceError
from vms.rtsp.headers import parse_public, parse_session, parse_transport, redirect_target, without_credentials
from vms.rtsp.message import Headers, Message, Request, Response
from vms.rtsp.transport import BUFFER_BYTES, MAX_GARBAGE_BYTES, RtspWire


class Owner:
    """Remembers messages, frames and how it ended."""

    def __init__(self) -> None:
        self.seen: list[object] = []
        self.ends: list[BaseException | None] = []

    def on_message(self, message: Message) -> None:
        self.seen.append(message.body if isinstance(message, Response) else message)

    def on_wire_end(self, error: BaseException | None) -> None:
        self.ends.append(error)

    def push(self, buf: bytearray, start: int, end: int, arrival_mono_ns: int) -> None:
        assert arrival_mono_ns > 0
        self.seen.append(bytes(buf[start:end]))


def receive(data: bytes, steps: list[int]) -> tuple[Owner, RtspWire]:
    owner = Owner()
    wire = RtspWire(owner)
    wire.channels[0] = wire.channels[1] = owner.push
    at, turn = 0, 0
    while at < len(data):
        view = wire.get_buffer(-1)
        assert len(view) >= BUFFER_BYTES - 65_539
        size = min(steps[turn % len(steps)], len(view), len(data) - at)
        view[:size] = data[at : at + size]
        wire.buffer_updated(size)
        at, turn = at + size, turn + 1
        if owner.ends:
            break
    return owner, wire


def frame(payload: bytes, channel: int = 0) -> bytes:
    return b"$" + bytes((channel,)) + len(payload).to_bytes(2, "big") + payload


PAYLOAD = st.binary(min_size=8, max_size=300).map(lambda b: b"\x80" + b)
PART: st.SearchStrategy[tuple[bytes, list[bytes]]] = st.one_of(
    PAYLOAD.map(lambda b: (frame(b), [b])),
    st.binary(max_size=50).map(lambda b: (Response(200, "OK", Headers(), b).encode(), [b])),
    st.sampled_from([(b"\r\n", []), (b"\0\0\0\0", []), (frame(b"\x80" + bytes(20), 7), [])]),
    st.just((frame(b""), [b""])),
)


@given(st.lists(PART, max_size=30), st.lists(st.integers(1, 700), min_size=1, max_size=9))
def test_any_cut_gives_the_same(parts: list[tuple[bytes, list[bytes]]], steps: list[int]) -> None:
    hello = Response(200, "OK", Headers(), b"hello")
    data = hello.encode() + b"".join(p for p, _ in parts)
    owner, wire = receive(data, steps)
    assert owner.seen == [b"hello", *(b for _, found in parts for b in found)]
    assert owner.ends == []
    assert wire.bytes_received == len(data)


@given(st.binary(max_size=2000), st.lists(st.integers(1, 900), min_size=1, max_size=5))
def test_arbitrary_bytes_end_quietly_or_typed(data: bytes, steps: list[int]) -> None:
    for before in (b"", Response(200).encode()):
        owner, _ = receive(before + data, steps)
        assert all(isinstance(e, MalformedError) for e in owner.ends)
        assert len(owner.ends) <= 1


def test_frames_of_every_size_fit() -> None:
    largest = b"\x80" + bytes(65_534)
    data = Response(200).encode() + b"".join(frame(largest[: 65_535 - n]) for n in range(12))
    owner, _ = receive(data, [BUFFER_BYTES])
    assert [len(p) for p in owner.seen[1:]] == [65_535 - n for n in range(12)]  # type: ignore[arg-type]


def test_garbage_is_skipped_and_bounded() -> None:
    good = frame(b"\x80" + bytes(20))
    start = Response(200).encode()
    for garbage in (
        b"\xff" * 500,
        b"GARBAGE\r\n" * 9,
        b"$\x09\xff\xff" + b"x" * 99,
        b"RTSQ/1.0 200 OK\r\n\r\n",
        b"OPTI",
    ):
        for steps in ([1], [37], [100_000]):
            owner, wire = receive(start + good + garbage + good + b"\r\n" + good, steps)
            assert len(owner.seen) == 4, garbage
            assert 0 < wire.garbage_bytes <= len(garbage)  # padding is not counted
    owner, _ = receive(start + b"\xff" * (MAX_GARBAGE_BYTES + BUFFER_BYTES), [BUFFER_BYTES])
    [error] = owner.ends
    assert isinstance(error, MalformedError)
    owner, _ = receive(start + frame(b"\x80" + bytes(999), 9) * 400, [5000])
    assert isinstance(owner.ends[0], MalformedError)  # nothing but frames nobody asked for


def test_what_speaks_first_must_be_rtsp() -> None:
    for data in (b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 200 OK\r\n", b"220 ftp\r\n"):
        owner, _ = receive(data, [3])
        assert isinstance(owner.ends[0], MalformedError)


def test_a_failing_sink_ends_the_wire_with_its_own_error() -> None:
    error = SourceError.__new__(SourceError)
    owner = Owner()
    wire = RtspWire(owner)

    def fail(buf: bytearray, start: int, end: int, arrival_mono_ns: int) -> None:
        raise error

    wire.channels[0] = fail
    data = frame(b"\x80" + bytes(20)) * 3
    wire.get_buffer(-1)[: len(data)] = data
    wire.buffer_updated(len(data))
    assert owner.ends == [error]
    assert wire.write(b"x") is False
    assert wire.channels == [None] * 256


def test_headers_as_cameras_write_them() -> None:
    header = parse_transport('RTP/AVP;unicast;client_port=5000-5001;server_port=6000-6001;ssrc=0BADF00D;mode="PLAY"')
    assert (header.client_port, header.server_port, header.ssrc, header.tcp) == (
        (5000, 5001),
        (6000, 6001),
        0x0BADF00D,
        False,
    )
    assert parse_transport("RTP/AVP/TCP;interleaved=0-1, RTP/AVP;unicast").interleaved == (0, 1)
    assert parse_transport("ssrc=nonsense; RTP/AVP/TCP").ssrc is None
    with pytest.raises(MalformedError):
        parse_transport("RTP/AVP;server_port=x")
    assert parse_session(' 12AB$-_.+  ;  timeout = "90" ') == ("12AB$-_.+", 90)
    assert parse_session("1") == ("1", 60)
    assert parse_session("1;timeout=0") == ("1", 60)
    assert parse_session("1;timeout=999999999") == ("1", 3600)
    for bad in ("", ";timeout=5", "a b", "ż"):
        with pytest.raises(MalformedError):
            parse_session(bad)
    assert parse_public(Headers.of(("Public", "OPTIONS,DESCRIBE"), ("Public", " play "))) == {
        "OPTIONS",
        "DESCRIBE",
        "PLAY",
    }
    assert without_credentials("rtsp://u:p@h/x@y") == "rtsp://h/x@y"
    assert redirect_target(CameraUrl("rtsp", "h", None, "/a"), "rtsps://H:99/b").effective_port == 99
    with pytest.raises(MalformedError, match="rtsps to rtsp"):
        redirect_target(CameraUrl("rtsps", "h", None, "/a"), "rtsp://h/b")


def test_requests_of_a_server_are_messages() -> None:
    owner, _ = receive(Request("OPTIONS", "*").encode() + b"$\0\0\x01\x80" + Request("REDIRECT", "*").encode(), [1])
    assert [getattr(m, "method", m) for m in owner.seen] == ["OPTIONS", b"\x80", "REDIRECT"]
