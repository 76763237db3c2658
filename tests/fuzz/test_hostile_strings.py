"""A megabyte made to hurt, for every reader of outside bytes: no regular expression backtracks without end, nothing
recurses away, and memory stays in proportion. The bound is generous: what this finds takes minutes, not seconds.
"""

from __future__ import annotations

import contextlib
import json
import time
import tracemalloc
from collections.abc import Callable

import pytest

from tests.fuzz import targets
from vms.errors import MalformedError, VmsError
from vms.feed import FrameDecoder, encode_config
from vms.localtime import load_zone, parse_instant
from vms.media.sdp import parse_sdp
from vms.model import CodecConfig
from vms.observe import redact
from vms.rtsp.auth import parse_challenges
from vms.rtsp.headers import parse_session, parse_transport
from vms.rtsp.message import MessageParser

MEGABYTE = 1 << 20
SECONDS = 20.0
MEMORY_BYTES = 128 * MEGABYTE

HOSTILE = {
    "zeros": b"\0" * MEGABYTE,
    "ones": b"\xff" * MEGABYTE,
    "spaces": b" " * MEGABYTE,
    "lines": b"\n" * MEGABYTE,
    "brackets": b"[" * MEGABYTE,
    "objects": b'{"a":' * (MEGABYTE // 5),
    "digits": b"9" * MEGABYTE,
    "letters": b"a" * MEGABYTE + b"!",
    "equals": b"a=" * (MEGABYTE // 2),
    "quotes": b'"\\' * (MEGABYTE // 2),
    "commas": b", " * (MEGABYTE // 2),
    "semicolons": b"a;" * (MEGABYTE // 2),
    "dots": b"a." * (MEGABYTE // 2) + b"!",
    "media": b"v=0\n" + b"m=video 0 RTP/AVP 96\n" * (MEGABYTE // 21),
    "attributes": b"v=0\nm=video 0 RTP/AVP 96\n" + b"a=fmtp:96 a=b;\n" * (MEGABYTE // 15),
    "headers": b"RTSP/1.0 200 OK\r\n" + b"A: b\r\n" * (MEGABYTE // 6),
    "folded": b"RTSP/1.0 200 OK\r\nA: b\r\n" + b" c\r\n" * (MEGABYTE // 4),
    "frames": b"$\0\0\0" * (MEGABYTE // 4),
    "starts": b"\0\0\1" * (MEGABYTE // 3),
    "escapes": b"rtsp://" + b"%41" * (MEGABYTE // 3),
    "users": b"rtsp://" + b"a:b@" * (MEGABYTE // 4),
}
READERS: dict[str, Callable[[bytes], object]] = {
    "challenges": lambda b: parse_challenges([b"Digest ".decode() + b.decode("latin-1")]),
    "session": lambda b: parse_session("x;" + b.decode("latin-1")),
    "transport": lambda b: parse_transport("RTP/AVP;" + b.decode("latin-1")),
    "time": lambda b: parse_instant(b.decode("latin-1"), load_zone("UTC"), 0),
    "sdp": lambda b: parse_sdp(b"v=0\n" + b),
    "redact": lambda b: redact(b.decode("latin-1")),
    "message": lambda b: MessageParser().feed(b"RTSP/1.0 200 OK\r\n" + b),
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("name", [*targets.names(), *READERS])
def test_a_megabyte_made_to_hurt(name: str, kind: str) -> None:
    read = READERS.get(name) or targets.load(name)
    began = time.process_time()
    with contextlib.suppress(VmsError):
        read((b"" if name in READERS else b"\0") + HOSTILE[kind])
    assert time.process_time() - began < SECONDS


@pytest.mark.parametrize("kind", ["brackets", "objects", "headers", "folded", "media", "lines"])
@pytest.mark.parametrize("name", ["message", "sdp", "challenges"])
def test_memory_stays_in_proportion(name: str, kind: str) -> None:
    tracemalloc.start()
    try:
        with contextlib.suppress(VmsError):
            READERS[name](HOSTILE[kind])
        assert tracemalloc.get_traced_memory()[1] < MEMORY_BYTES
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("value", ["1e999", "NaN", "[" * 100_000, '{"a":' * 50_000, "9" * 5000, '"x"', "null"])
def test_numbers_and_brackets_without_end_in_the_feed(value: str) -> None:
    facts = json.loads(encode_config(_config())[5:])
    document = json.dumps(facts | {"clock_hz": 0}).replace('"clock_hz": 0', f'"clock_hz": {value}').encode()
    with pytest.raises(MalformedError):
        list(FrameDecoder().feed(b"C" + len(document).to_bytes(4, "big") + document))


def _config() -> CodecConfig:
    from tests.support.encoded import small_config

    return small_config()
