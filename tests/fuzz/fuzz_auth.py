"""Fuzz target: authentication headers, as a client meets them in a 401 and as a server in a request."""

from __future__ import annotations

from vms.rtsp.auth import ClientAuth, Outcome, ServerAuth, authorise, parse_challenges
from vms.rtsp.message import Headers, Request

_SERVER = ServerAuth("kamery", {"jan": "hasło"}.get, schemes=("SHA-256", "MD5", "Basic"))
_URI = "rtsp://10.0.0.5/kam"


def fuzz(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    lines = text.replace("\r", " ").replace("\0", " ").split("\n")
    values = [line.strip() for line in lines]  # as the message parser hands them on
    for challenge in parse_challenges(values):
        challenge.header()
    answer = authorise(parse_challenges(values), "DESCRIBE", _URI, "jan", "hasło", cnonce="1")
    client = ClientAuth("jan", "hasło")
    again = client.accept(Headers(tuple(("WWW-Authenticate", v) for v in values)))
    sent = client.header("DESCRIBE", _URI)
    assert (answer is None) == (sent is None)
    assert sent is None or again
    if sent is not None:
        Request("DESCRIBE", _URI, Headers.of(("Authorization", sent))).encode()
    for value in values:
        verdict = _SERVER.verify(value, "DESCRIBE", _URI)
        assert verdict.outcome in (Outcome.REFUSED, Outcome.MISSING) or verdict.user == "jan"


def seeds() -> list[bytes]:
    return [
        b'Digest realm="IP Camera(C1)", nonce="abc", stale=FALSE\nBasic realm="x"',
        b'Digest realm="a\\\\b", nonce="n", qop="auth,auth-int", algorithm=SHA-256, opaque="o"',
        b'Digest realm="r", nonce="n", algorithm=MD5-sess, qop=auth, stale=true, Basic realm="y"',
        b'Digest username="jan", realm="kamery", nonce="00", uri="rtsp://10.0.0.5/kam", response="0", qop=auth, nc=1',
        b"Basic amFuOmhhc8WCbw==",
    ]
