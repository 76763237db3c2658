"""Basic and Digest: the published examples, cameras' oddities, and client against server."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vms.rtsp.auth import Challenge, ClientAuth, Outcome, ServerAuth, authorise, choose, parse_challenges
from vms.rtsp.message import Headers

# RFC 7616 §3.9.1: the same challenge with SHA-256 and MD5.
RFC7616 = (
    'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm={}, '
    'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
)
CNONCE = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"


def answer_of(header: str, **more: object) -> dict[str, str]:
    value = authorise(parse_challenges([header]), "GET", "/dir/index.html", "Mufasa", "Circle of Life", **more)  # type: ignore[arg-type]
    assert value is not None
    return {n: v.strip('"') for n, _, v in (p.partition("=") for p in value.removeprefix("Digest ").split(", "))}


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_the_standards_examples(algorithm: str, response: str) -> None:
    answer = answer_of(RFC7616.format(algorithm), cnonce=CNONCE)
    assert answer["response"] == response
    assert (answer["nc"], answer["qop"], answer["cnonce"]) == ("00000001", "auth", CNONCE)


def test_the_example_of_rfc_2617() -> None:
    challenge = 'Digest realm="testrealm@host.com", qop="auth,auth-int", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093"'
    value = authorise(
        parse_challenges([challenge]), "GET", "/dir/index.html", "Mufasa", "Circle Of Life", cnonce="0a4f113b"
    )
    assert value is not None
    assert 'response="6629fae49393a05397450978507c4ef1"' in value


def test_without_qop_there_is_no_count() -> None:
    answer = answer_of('Digest realm="IP Camera(C1234)", nonce="abc", stale="FALSE"')
    assert "nc" not in answer
    assert "cnonce" not in answer
    assert answer["algorithm"] == "MD5"


def test_the_strongest_challenge_that_can_be_answered() -> None:
    both = parse_challenges(
        [
            'Basic realm="cam"',
            'Digest realm="cam", nonce="n1", algorithm=MD5, Digest realm="cam", nonce="n2", algorithm="SHA-256"',
            'NTLM, Digest realm="cam", nonce="n3", algorithm=SHA-512-256',
        ]
    )
    assert [c.nonce for c in both] == ["", "n1", "n2", "n3"]
    chosen = choose(both)
    assert chosen is not None
    assert chosen.nonce == "n2"
    assert choose(parse_challenges(["Negotiate", 'Digest realm="x", nonce="y", qop="auth-int"', "Digest"])) is None
    basic = choose(parse_challenges(["Basic"]))
    assert basic == Challenge("Basic", "")
    assert authorise([], "PLAY", "*", "u", "p") is None


def test_odd_realms_are_echoed_as_they_came() -> None:
    [challenge] = parse_challenges([r'Digest realm="DOM\user, \"x\"" , nonce="1",opaque="",qop="auth",stale=TRUE'])
    assert challenge.realm == r"DOM\user, \"x\""
    assert challenge.stale
    assert challenge.opaque == ""
    value = authorise([challenge], "PLAY", "rtsp://c/", "u", "p")
    assert value is not None
    assert r'realm="DOM\user, \"x\""' in value
    assert 'opaque=""' in value


@given(st.text(max_size=400))
def test_any_header_parses(value: str) -> None:
    choose(parse_challenges([value]))
    server = ServerAuth("r", lambda _: "p")
    assert not server.verify("Digest " + value, "PLAY", "rtsp://c/").accepted
    assert not server.verify(value, "PLAY", "rtsp://c/").accepted


def test_a_long_hostile_header_takes_no_time() -> None:
    for text in ("a" * 60_000, " " * 60_000, 'Digest realm="' + "\\" * 60_000, "a=" * 30_000, ", " * 30_000):
        parse_challenges([text])


PASSWORD = "zażółć:gęślą jaźń"


@pytest.mark.parametrize("scheme", ["SHA-256", "MD5", "Basic"])
@pytest.mark.parametrize("user", ["straż", 'a"b\\c'])
def test_client_against_server(scheme: str, user: str) -> None:
    server = ServerAuth("Stróż", {user: PASSWORD}.get, schemes=[scheme])
    client = ClientAuth(user, PASSWORD)
    assert client.header("DESCRIBE", "rtsp://c/1") is None
    assert server.verify(None, "DESCRIBE", "rtsp://c/1").outcome is Outcome.MISSING
    assert client.accept(Headers(tuple(server.challenge_headers())))
    for method in ("DESCRIBE", "SETUP", "PLAY"):
        verdict = server.verify(client.header(method, "rtsp://c/1"), method, "rtsp://c/1")
        assert verdict.accepted
        assert verdict.user == user
    assert not client.accept(Headers((("WWW-Authenticate", "Negotiate"),)))


@pytest.mark.parametrize("scheme", ["SHA-256", "MD5", "Basic"])
def test_the_server_refuses(scheme: str) -> None:
    server = ServerAuth("r", {"u": "p"}.get, schemes=[scheme])
    challenges = server.challenges()

    def outcome(user: str = "u", password: str = "p", method: str = "PLAY", uri: str = "rtsp://c/1") -> Outcome:
        return server.verify(authorise(challenges, method, uri, user, password), "PLAY", "rtsp://c/1").outcome

    assert outcome() is Outcome.ACCEPTED
    assert outcome(password="q") is Outcome.REFUSED
    assert outcome(user="v") is Outcome.REFUSED
    assert outcome(user="v", password="") is Outcome.REFUSED
    if scheme != "Basic":
        assert outcome(method="SETUP") is Outcome.REFUSED
        assert outcome(uri="rtsp://c/2") is Outcome.REFUSED
        assert outcome(uri="rtsp://c/") is Outcome.ACCEPTED
        other = ServerAuth("r", {"u": "p"}.get, schemes=[scheme])
        value = authorise(other.challenges(), "PLAY", "rtsp://c/1", "u", "p")
        assert server.verify(value, "PLAY", "rtsp://c/1").outcome is Outcome.REFUSED
    weaker = ServerAuth("r", {"u": "p"}.get, schemes=[scheme])
    for value, known in itertools.product(("Basic dTpw", "Basic ???", "Bearer x", "Digest"), (weaker,)):
        assert known.verify(value, "PLAY", "*").accepted is (scheme == "Basic" and value == "Basic dTpw")


def test_an_old_nonce_is_stale_and_is_renewed() -> None:
    now = [0]
    server = ServerAuth("r", {"u": "p"}.get, nonce_seconds=10, mono_ns=lambda: now[0])
    client = ClientAuth("u", "p")
    client.accept(Headers(tuple(server.challenge_headers())))
    now[0] = 10_000_000_001
    assert server.verify(client.header("OPTIONS", "*"), "OPTIONS", "*").outcome is Outcome.STALE
    assert client.accept(Headers(tuple(server.challenge_headers(stale=True))))
    assert server.verify(client.header("OPTIONS", "*"), "OPTIONS", "*").accepted


def test_the_same_challenge_again_means_wrong_password() -> None:
    client = ClientAuth("u", "p")
    headers = Headers((("WWW-Authenticate", 'Digest realm="r", nonce="1"'),))
    assert client.accept(headers)
    assert not client.accept(headers)
    basic = ClientAuth("u", "p")
    headers = Headers((("WWW-Authenticate", 'Basic realm="r"'),))
    assert basic.accept(headers)
    assert not basic.accept(headers)


def test_secrets_stay_out_of_repr() -> None:
    assert "tajne" not in repr(ClientAuth("u", "tajne"))
    with pytest.raises(ValueError, match="realm"):
        ServerAuth('a"b', lambda _: None)
    with pytest.raises(ValueError, match="unknown"):
        ServerAuth("a", lambda _: None, schemes=["SHA-1"])


def test_counting_requests_of_one_nonce() -> None:
    client = ClientAuth("u", "p")
    client.accept(Headers((("WWW-Authenticate", 'Digest realm="r", nonce="1", qop="auth", algorithm=MD5-sess'),)))
    first, second = client.header("PLAY", "*"), client.header("PLAY", "*")
    assert first is not None
    assert second is not None
    assert "nc=00000001" in first
    assert "nc=00000002" in second
    assert "algorithm=MD5-SESS" in first
