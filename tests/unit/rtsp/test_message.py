"""RTSP messages: what real servers send, what hostile ones send, and that parsing in pieces changes nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vms.errors import MalformedError
from vms.rtsp.message import (
    MAX_BODY_BYTES,
    MAX_HEADER_BYTES,
    MAX_HEADERS,
    Headers,
    Message,
    MessageParser,
    Request,
    Response,
    parse_message,
    printable,
)

DESCRIBE = b"RTSP/1.0 200 OK\r\nCSeq: 2\r\nContent-Base: rtsp://c/\r\nContent-Length: 5\r\n\r\nv=0\r\n"


def feed_all(data: bytes, step: int) -> tuple[list[Message], MessageParser]:
    parser = MessageParser()
    found: list[Message] = []
    for at in range(0, len(data), step):
        piece = data[at : at + step]
        position = 0
        while position < len(piece):
            before = position
            position = parser.feed(memoryview(piece), position)
            message = parser.take()
            if message is not None:
                found.append(message)
            elif position == before:
                return found, parser  # a `$`
    return found, parser


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
def test_messages_in_pieces_are_the_messages_whole(step: int) -> None:
    request = Request("GET_PARAMETER", "rtsp://c/", Headers.of(("CSeq", "7")), b"a")
    found, parser = feed_all(DESCRIBE + b"\r\n\0 \r\n" + request.encode() + DESCRIBE, step)
    assert [type(m) for m in found] == [Response, Request, Response]
    assert found[0] == found[2]
    assert found[0].body == b"v=0\r\n"
    assert found[0].headers.get("content-base") == "rtsp://c/"
    assert found[1].cseq == 7
    assert found[1].body == b"a"
    assert parser.idle


def test_line_ends_of_one_byte_and_folded_lines() -> None:
    message = parse_message(b"RTSP/1.0 200 OK\nCSeq : 3\nTransport: RTP/AVP;\n unicast\nnonsense\nSession:abc\n\n")
    assert isinstance(message, Response)
    assert message.cseq == 3
    assert message.headers.get("Transport") == "RTP/AVP; unicast"
    assert message.headers.get("session") == "abc"
    assert len(message.headers) == 3


def test_reason_may_be_missing_and_dollar_ends_the_padding() -> None:
    message = parse_message(b"RTSP/1.0 404\r\n\r\n")
    assert isinstance(message, Response)
    assert (message.status, message.reason) == (404, "")
    parser = MessageParser()
    assert parser.feed(b"\r\n\0$\0\0\4RTSP") == 3
    assert parser.idle
    assert parser.take() is None


@pytest.mark.parametrize(
    ("data", "where"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n", "not RTSP"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "not RTSP"),
        (b"\xff\xd8\xff\n", "not RTSP"),
        (b"RTSP/1.0 200 OK\r\nContent-Length: 4294967296\r\n\r\n", "more than"),
        (b"RTSP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1), "more than"),
        (b"RTSP/1.0 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", "more than"),
        (b"RTSP/1.0 200 OK\r\nContent-Length: -1\r\n\r\n", "not one number"),
        (b"RTSP/1.0 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "not one number"),
        (b"RTSP/1.0 200 OK\r\n" + b"a: b\r\n" * (MAX_HEADERS + 1) + b"\r\n", "more than"),
        (b"RTSP/1.0 200 OK\r\n" + b"a" * MAX_HEADER_BYTES, "longer than"),
        (b"R" * (MAX_HEADER_BYTES + 1), "longer than"),
        (b"RTSP/1.0 200 OK\r\na: " + b"b" * MAX_HEADER_BYTES + b"\r\n\r\n", "longer than"),
    ],
)
@pytest.mark.parametrize("step", [4096, 10**9])
def test_hostile_messages_are_refused(data: bytes, where: str, step: int) -> None:
    with pytest.raises(MalformedError, match=where):
        feed_all(data, step)


def test_the_largest_message_passes() -> None:
    body = bytes(MAX_BODY_BYTES)
    found, _ = feed_all(Response(200, "OK", Headers.of(("CSeq", "1")), body).encode(), 65536)
    assert found[0].body == body


@given(st.lists(st.binary(max_size=60), max_size=20))
def test_arbitrary_bytes_parse_or_raise(pieces: list[bytes]) -> None:
    parser = MessageParser()
    try:
        for piece in pieces:
            position = 0
            while position < len(piece):
                after = parser.feed(piece, position)
                assert position <= after <= len(piece)
                if parser.take() is None and after == position:
                    return
                position = after
    except MalformedError:
        pass


TEXT = st.text(st.characters(blacklist_characters="\r\n\0", blacklist_categories=["Cs"]), max_size=30).map(str.strip)
NAME = st.from_regex(r"[A-Za-z][A-Za-z-]{0,15}", fullmatch=True).filter(lambda n: n.lower() != "content-length")


@given(st.lists(st.tuples(NAME, TEXT), max_size=8), st.binary(max_size=100), st.integers(1, 40))
def test_what_is_written_reads_back(pairs: list[tuple[str, str]], body: bytes, step: int) -> None:
    headers = Headers(tuple(pairs))
    for message in (Request("SETUP", "rtsp://c/1", headers, body), Response(200, "OK", headers, body)):
        found, parser = feed_all(message.encode(), step)
        assert len(found) == 1
        assert type(found[0]) is type(message)
        assert found[0].body == body
        assert found[0].headers.items[: len(pairs)] == headers.items
        assert parser.idle


def test_bytes_that_are_not_utf8_come_back_as_they_were() -> None:
    message = parse_message(b'RTSP/1.0 401 No\r\nWWW-Authenticate: Basic realm="\xb3\xf3"\r\n\r\n')
    again = Request("OPTIONS", "*", Headers.of(("X", message.headers.get("www-authenticate")))).encode()
    assert b'realm="\xb3\xf3"' in again
    assert printable(message.headers.get("www-authenticate")) == 'Basic realm="??"'


def test_a_value_cannot_bring_a_header_of_its_own() -> None:
    with pytest.raises(ValueError, match="line break"):
        Request("SETUP", "rtsp://c/\r\nX: y").encode()
    with pytest.raises(ValueError, match="line break"):
        Response(200, "OK", Headers.of(("Session", "1\nX: y"))).encode()


def test_an_answer_echoes_the_sequence_number() -> None:
    request = parse_message(b"OPTIONS * RTSP/1.0\r\nCSeq: 0012\r\n\r\n")
    assert isinstance(request, Request)
    answer = Response.to(request, 501, ("Server", "x"))
    assert answer.encode() == b"RTSP/1.0 501 Not Implemented\r\nCSeq: 0012\r\nServer: x\r\n\r\n"
    assert Response.to(Request("OPTIONS", "*"), 200).cseq is None
    assert parse_message(b"RTSP/1.0 200 OK\r\nCSeq: x1\r\n\r\n").cseq is None


def test_one_message_means_one_message() -> None:
    with pytest.raises(MalformedError, match="not whole"):
        parse_message(DESCRIBE[:-1])
    with pytest.raises(MalformedError, match="bytes after"):
        parse_message(DESCRIBE + b"x")


def test_a_break_inside_of_a_line_is_read_as_a_space_so_that_it_can_be_sent_on() -> None:
    message = parse_message(b'RTSP/1.0 401 N\0o\r\nCSeq: 1\r2\r\nWWW-Authenticate: Digest realm="a\0b"\r\n\r\n')
    assert isinstance(message, Response)
    assert message.reason == "N o"
    assert message.headers.get("CSeq") == "1 2"
    assert message.headers.get("WWW-Authenticate") == 'Digest realm="a b"'
    assert parse_message(message.encode()) == message


@pytest.mark.parametrize("line", ["RTSP/1.0 000 OK", "RTSP/1.0 099 OK", "RTSP/1.0 ٢٠٠ OK", "RTSP/٢.0 200 OK"])
def test_a_status_has_three_ascii_digits_and_does_not_begin_with_zero(line: str) -> None:
    with pytest.raises(MalformedError, match="start line"):
        parse_message(f"{line}\r\n\r\n".encode())
