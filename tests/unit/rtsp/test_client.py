"""The RTSP client against a scripted camera: methods, URLs, authentication, redirects, keep-alive, endings."""

from __future__ import annotations

import asyncio
import base64
import logging
import re
import socket
import ssl
import time
from dataclasses import replace

import pytest
import trustme
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.rtsp_watch import QUICK, Collected, watch
from tests.support.scripted_rtsp import (
    AUDIO,
    SDP,
    SSRC,
    Asked,
    Close,
    Scripted,
    Step,
    describe,
    frame,
    ok,
    picture,
    pictures,
    status,
)
from tests.support.waiting import until
from vms.errors import SourceError, SpoolError, UserError
from vms.media.rtcp import SenderReportPacket, build_bye, build_sender_report, parse_rtcp
from vms.model import AccessUnit, GapReason
from vms.rtsp.auth import ServerAuth
from vms.rtsp.client import RtspOptions, RtspSession
from vms.sentences import sentence_of

GOODBYE = frame(1, build_bye(SSRC, "kamera"))
PASSWORD = "bardzo-tajne-Hasło"


class Ids:
    """A session store in memory."""

    def __init__(self, *pending: str) -> None:
        self.ids = list(pending)
        self.log: list[str] = []

    def remember(self, url: str, session_id: str) -> None:
        self.ids.append(session_id)
        self.log.append(f"+{session_id} {url.rpartition('/')[2]}")

    def forgotten(self, url: str, session_id: str) -> None:
        self.ids.remove(session_id)
        self.log.append(f"-{session_id} {url.rpartition('/')[2]}")

    def pending(self, url: str) -> list[str]:
        return list(self.ids)


async def test_a_session_from_options_to_teardown() -> None:
    sink = Collected()
    async with Scripted(media=pictures(30)) as camera:
        async with RtspSession.open(camera.url, options=QUICK) as session:
            assert session.server == "Scripted"
            assert session.transport == "tcp"
            track = await session.setup(session.description.media[0], sink)
            await session.play()
            await until(lambda: len(sink.units) >= 29)
            assert track.facts.units >= 29
            assert track.facts.lost == 0
        assert [r.method for r in camera.requests] == ["OPTIONS", "DESCRIBE", "SETUP", "PLAY", "TEARDOWN"]
        assert [r.headers["cseq"] for r in camera.requests] == ["1", "2", "3", "4", "5"]
        describe_request, setup, play, teardown = camera.requests[1:]
        assert describe_request.headers["accept"] == "application/sdp"
        assert setup.uri == f"{camera.url}/trackID=1"
        assert setup.headers["transport"] == "RTP/AVP/TCP;unicast;interleaved=0-1"
        assert play.uri == f"{camera.url}/"
        assert play.headers["session"] == teardown.headers["session"] == "4711"
    assert [u.key for u in sink.units[:3]] == [True, False, False]
    assert [u.pts - sink.units[0].pts for u in sink.units[:3]] == [0, 3600, 7200]


@pytest.mark.parametrize("pieces", [1, 7, 61, 1500])
async def test_answers_and_media_in_pieces(pieces: int) -> None:
    sink = Collected()
    async with Scripted(media=[*pictures(12), GOODBYE], pieces=pieces) as camera:
        error = await watch(camera.url, sink)
    assert "ended the session" in str(error)
    assert len(sink.units) == 12


async def test_messages_and_reports_between_frames_padding_and_garbage() -> None:
    sink = Collected()
    report = build_sender_report(SenderReportPacket(SSRC, 1_700_000_000_000_000_000, 93_600), "kamera")
    odd: list[bytes] = [
        b"\r\n\r\n",
        *pictures(2),
        b"RTSP/1.0 200 OK\r\nCSeq: 999\r\n\r\n",
        frame(1, report),
        *pictures(1, start=2),
        b"\0\0\0\r\n",
        b"\xde\xad\xbe\xef RTS nonsense $\xff\x00 more",
        *pictures(1, start=3),
        frame(9, picture(0)),  # of a channel nobody asked for
        b"OPTIONS rtsp://klient RTSP/1.0\r\nCSeq: 77\r\n\r\n",
        b"ANNOUNCE rtsp://klient RTSP/1.0\r\nCSeq: 78\r\nContent-Length: 3\r\n\r\n$ab",
        *pictures(3, start=4),
    ]
    async with Scripted(media=odd) as camera:
        error = await watch(camera.url, sink)
        answers = [r.method for r in camera.requests if r.method.startswith("answer")]
    assert error.reason is GapReason.STALLED
    assert [u.pts for u in sink.units] == [90_000 + 3600 * n for n in range(7)]
    assert sink.lost == 0
    assert [(r.pts, r.ntp_ns) for r in sink.reports] == [(93_600, 1_700_000_000_000_000_000)]
    assert answers == ["answer 200", "answer 501"]


async def test_two_tracks_of_one_session() -> None:
    video, audio = Collected(), Collected()
    media = [*pictures(3), frame(2, b"\x80\x08" + bytes(10) + b"\xd5" * 160), *pictures(2, start=3)]
    async with Scripted(sdp=SDP + AUDIO, media=media) as camera:
        async with RtspSession.open(camera.url, options=QUICK) as session:
            await session.setup(session.description.media[0], video)
            await session.setup(session.description.media[1], audio)
            await session.play()
            with pytest.raises(SourceError):
                await session.run()
        first, second = camera.asked("SETUP")
        assert "session" not in first.headers
        assert second.headers["session"] == "4711"
        assert second.headers["transport"].endswith("interleaved=2-3")
        assert second.uri == f"{camera.url}/trackID=2"
    assert len(video.units) == 5
    assert [u.data for u in audio.units] == [b"\xd5" * 160]


@pytest.mark.parametrize(
    ("transport", "channel"),
    [
        (b"RTP/AVP/TCP;unicast;interleaved=6-7", 6),
        (b"ssrc=1234ABCD;RTP/AVP/TCP;interleaved=0-1;mode=play", 0),
        (b"RTP/AVP/TCP; ssrc = 1234ABCD ;unicast; interleaved = 2-3", 2),
        (b"RTP/AVP/TCP;unicast", 0),
        (b"RTP/AVP/TCP;interleaved=4", 4),
        (b"", 0),
    ],
)
async def test_channels_other_than_asked_for(transport: bytes, channel: int) -> None:
    sink = Collected()
    setup = ok(b"Session:  0815 ; Timeout = 30 ", *([b"Transport: " + transport] if transport else []))
    goodbye = frame(channel + 1, build_bye(SSRC, "kamera"))
    async with Scripted({"SETUP": [setup]}, media=[*pictures(3, channel), goodbye]) as camera:
        await watch(camera.url, sink)
        assert camera.asked("PLAY")[0].headers["session"] == "0815"
    assert len(sink.units) == 3


@pytest.mark.parametrize(
    ("base", "control", "track", "aggregate"),
    [
        (b"rtsp://c/live/", b"trackID=1", "rtsp://c/live/trackID=1", "rtsp://c/live/"),
        (b"rtsp://c/live", b"trackID=1", "rtsp://c/live/trackID=1", "rtsp://c/live"),
        (b"rtsp://c/cam?channel=1&subtype=0", b"trackID=0", "rtsp://c/cam?channel=1&subtype=0/trackID=0", None),
        (b"rtsp://c/live/", b"rtsp://u:p@10.0.0.1/live/video", "rtsp://10.0.0.1/live/video", "rtsp://c/live/"),
        (b"rtsp://c/live", b"/live/trackID=1", "rtsp://c/live/trackID=1", "rtsp://c/live"),
        (b"rtsp://c/live/", b"/video", "rtsp://c/live/video", "rtsp://c/live/"),
        (b"rtsp://u:p@c/live/", b"*", "rtsp://c/live/", "rtsp://c/live/"),
        (b"nonsense", b"a", "rtsp://127.0.0.1:{port}/kam/a", "rtsp://127.0.0.1:{port}/kam"),
        (b"rtsp://10.0.[0.5/kam/", b"a", "rtsp://127.0.0.1:{port}/kam/a", "rtsp://127.0.0.1:{port}/kam"),
    ],
)
async def test_control_urls(base: bytes, control: bytes, track: str, aggregate: str | None) -> None:
    sdp = SDP.replace(b"trackID=1", control)
    async with Scripted({"DESCRIBE": [describe(sdp, base)], "PLAY": [status(503)]}) as camera:
        await watch(camera.url)
        assert camera.asked("SETUP")[0].uri == track.format(port=camera.port)
        assert camera.asked("PLAY")[0].uri == (aggregate or base.decode()).format(port=camera.port)


async def test_aggregate_url_of_the_session_and_content_location() -> None:
    sdp = SDP.replace(b"control:*", b"control:rtsp://c/all/")
    answer = ok(b"Content-Location: rtsp://c/elsewhere", b"Content-Length: %d" % len(sdp)) + sdp
    async with Scripted({"DESCRIBE": [answer], "PLAY": [status(503)]}) as camera:
        await watch(camera.url)
        assert camera.asked("SETUP")[0].uri == "rtsp://c/elsewhere/trackID=1"
        assert camera.asked("PLAY")[0].uri == camera.asked("TEARDOWN")[0].uri == "rtsp://c/all/"


async def test_lines_that_end_in_one_byte_and_no_sequence_numbers() -> None:
    sink = Collected()
    body = b"RTSP/1.0 200 OK\nContent-Length: %d\n\n" % len(SDP) + SDP
    async with Scripted(
        {"OPTIONS": [b"RTSP/1.0 200 OK\n\n"], "DESCRIBE": [body]}, media=pictures(2), greeting=b"\r\n\0\0"
    ) as camera:
        await watch(camera.url, sink)
    assert len(sink.units) == 2


def gate(auth: ServerAuth) -> dict[str, list[Step]]:
    """Steps that let nobody in but through `auth`."""

    def step(camera: Scripted, asked: Asked) -> bytes:
        verdict = auth.verify(asked.headers.get("authorization"), asked.method, asked.uri)
        if verdict.accepted:
            return camera.usual(camera, asked)
        headers = [f"WWW-Authenticate: {v}".encode() for _, v in auth.challenge_headers(stale=verdict.user != "")]
        return status(401, *headers, reason=b"Unauthorized")

    methods = ("OPTIONS", "DESCRIBE", "SETUP", "PLAY", "GET_PARAMETER", "TEARDOWN")
    return {m: [step] * 50 for m in methods}


@pytest.mark.parametrize("schemes", [["SHA-256", "MD5"], ["MD5"], ["Basic"]])
async def test_authentication(schemes: list[str]) -> None:
    sink = Collected()
    auth = ServerAuth("Kamera 7", {"straż": PASSWORD}.get, schemes=schemes)
    async with Scripted(gate(auth), media=[*pictures(2), GOODBYE]) as camera:
        await watch(camera.url, sink, username="straż", password=PASSWORD)
        assert len(camera.asked("OPTIONS")) == 2  # challenged once, for the whole session
        assert len(camera.requests) == 6
    assert len(sink.units) == 2


async def test_credentials_of_the_url_serve_and_never_travel_in_it() -> None:
    auth = ServerAuth("r", {"u": "p@:ss"}.get)
    async with Scripted(gate(auth), media=[*pictures(1), GOODBYE]) as camera:
        await watch(camera.url.replace("//", "//u:p%40%3Ass@"))
        assert all("@" not in r.uri for r in camera.requests)


async def test_a_stale_nonce_is_renewed_in_keep_alive() -> None:
    now = [0]
    auth = ServerAuth("r", {"u": PASSWORD}.get, nonce_seconds=10, mono_ns=lambda: now[0])
    steps = gate(auth)
    session = ok(b"Session: 1;timeout=1", b"Transport: RTP/AVP/TCP;interleaved=0-1")
    steps["SETUP"] = [session]
    async with Scripted(steps, media=pictures(2)) as camera:
        options = replace(QUICK, stall_timeout=1.2)

        def age() -> None:
            now[0] += 60_000_000_000

        asyncio.get_running_loop().call_later(0.3, age)
        error = await watch(camera.url, username="u", password=PASSWORD, options=options)
        assert error.reason is GapReason.STALLED
        kept = camera.asked("GET_PARAMETER")
        assert len(kept) >= 3  # refused as stale, tried again, and once more later
        assert kept[0].headers["authorization"] != kept[1].headers["authorization"]


async def test_a_wrong_password_is_tried_once() -> None:
    auth = ServerAuth("r", {"u": "right"}.get)

    def refuse(camera: Scripted, asked: Asked) -> bytes:
        return status(401, *(f"WWW-Authenticate: {v}".encode() for _, v in auth.challenge_headers()))

    async with Scripted({"OPTIONS": [refuse] * 9}) as camera:
        error = await watch(camera.url, username="u", password=PASSWORD)
        assert len(camera.requests) == 2
    assert error.reason is GapReason.UNAUTHORISED
    assert "does not accept the user name or password" in str(error)
    async with Scripted({"OPTIONS": [refuse] * 9, "DESCRIBE": [refuse] * 9}) as camera:
        error = await watch(camera.url)
        assert len(camera.requests) == 2
    assert "asks for a user name and password" in str(error)
    stale = status(401, b'WWW-Authenticate: Digest realm="r", nonce="x", stale=true')
    async with Scripted({"OPTIONS": [stale] * 50}) as camera:
        error = await watch(camera.url, username="u", password="p")
        assert len(camera.requests) == 3
    assert error.reason is GapReason.UNAUTHORISED
    async with Scripted({"OPTIONS": [status(401, b"WWW-Authenticate: Negotiate")] * 9}) as camera:
        error = await watch(camera.url, username="u", password="p")
    assert "not Basic or Digest" in str(error)


async def test_no_message_holds_the_password(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    echo = base64.b64encode(f"u:{PASSWORD}".encode())
    basic = status(401, b'WWW-Authenticate: Basic realm="r"')
    shown = []
    for last in (
        status(404, reason=b"Basic " + echo),
        status(500, reason=PASSWORD.encode()),
        b"RTSP/1.0 200 OK\r\nCSeq: {cseq}\r\nContent-Length: " + PASSWORD.encode() + b"\r\n\r\n",
        b"HTTP " + PASSWORD.encode() + b"\r\n",
        status(302, b"Location: rtsp://u:" + PASSWORD.encode() + b"@elsewhere/"),
        Close,
        None,
    ):
        async with Scripted({"OPTIONS": [basic, ok()], "DESCRIBE": [last]}) as camera:
            url = camera.url.replace("//", f"//u:{'bardzo-tajne-Has%C5%82o'}@")
            session = RtspSession.open(url, options=QUICK)
            shown.append(repr(session) + repr(vars(session)["_url"]))
            error = await watch(url)
            chain: BaseException | None = error
            while chain is not None:
                shown.append(f"{chain} {chain!r}")
                chain = chain.__cause__ or chain.__context__
    with pytest.raises(UserError) as caught:
        RtspSession.open(f"http://u:{PASSWORD.encode().hex()}@host/")
    shown.append(str(caught.value))
    text = "\n".join(shown) + caplog.text
    assert "bardzo-tajne" not in text
    assert echo.decode() not in text
    assert PASSWORD.encode().hex() not in text


async def test_credentials_in_the_path_reach_the_camera_and_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    """XM and HiSilicon cameras want them there; every request line then holds the password."""
    caplog.set_level(logging.DEBUG)
    ids, sink, shown = Ids("dawna"), Collected(), []
    form = "/user={user}&password={password}&channel=1"
    filled = "/user=jan&password=tajne%20kanarek&channel=1"
    echo = filled.encode()
    keys: list[str] = []
    ids.pending = lambda url: keys.append(url) or ["dawna"]  # type: ignore[func-returns-value]
    async with Scripted(media=[*pictures(2), GOODBYE]) as camera:
        url = camera.url.removesuffix("/kam") + form
        error = await watch(
            url, sink, username="jan", password="tajne kanarek", options=replace(QUICK, session_store=ids)
        )
        asked = {r.method: r.uri for r in camera.requests}
        shown += [str(error), *keys, *ids.log]
        assert len(sink.units) == 2
    assert set(asked) >= {"OPTIONS", "DESCRIBE", "SETUP", "PLAY", "TEARDOWN"}
    assert all(uri.startswith(f"rtsp://127.0.0.1:{camera.port}{filled}") for uri in asked.values()), asked
    assert keys == [url]
    for last in (
        status(404, reason=echo),
        status(302, b"Location: rtsp://127.0.0.1:9" + echo),
        describe(SDP.replace(b"a=control:trackID", b"a=control:" + echo + b" \x7f"), b"rtsp://127.0.0.1" + echo),
        b"RTSP/1.0 200 OK\r\nCSeq: {cseq}\r\nContent-Length: " + echo + b"\r\n\r\n",
    ):
        async with Scripted({"DESCRIBE": [last]}) as camera:
            literal = camera.url.removesuffix("/kam") + filled
            session = RtspSession.open(literal, options=QUICK)
            shown.append(repr(session) + repr(vars(session)["_url"]))
            caught: BaseException | None = await watch(literal)
            assert camera.asked("DESCRIBE")[0].uri == literal
            while caught is not None:
                shown.append(f"{caught} {caught!r}" if isinstance(caught, SourceError) else "")
                caught = caught.__cause__ or caught.__context__
    assert "kanarek" not in "\n".join(shown) + caplog.text


async def test_the_server_header_shows_no_credentials() -> None:
    answer = describe(SDP, b"rtsp://127.0.0.1/").replace(b"Server: Scripted", b"Server: kamera tajne/1 " + b"x" * 90)
    async with Scripted({"DESCRIBE": [answer]}) as camera:
        session = RtspSession.open(camera.url, username="u", password="tajne/1", options=QUICK)
        async with session:
            assert re.fullmatch("kamera … x{71}…", session.server)


@pytest.mark.parametrize("code", [301, 302, 303, 305, 307, 308])
async def test_a_redirect_on_the_same_host(code: int) -> None:
    sink = Collected()
    async with Scripted(media=[*pictures(2), GOODBYE]) as second:
        location = f"Location: rtsp://u:p@127.0.0.1:{second.port}/inna".encode()
        async with Scripted({"DESCRIBE": [status(code, location)]}) as first:
            await watch(first.url, sink)
            assert [r.method for r in first.requests] == ["OPTIONS", "DESCRIBE"]
        assert second.requests[0].uri == f"rtsp://127.0.0.1:{second.port}/inna"
    assert len(sink.units) == 2


@pytest.mark.parametrize(
    ("location", "words"),
    [
        (b"rtsp://192.0.2.1/x", "another host"),
        (b"http://127.0.0.1/", "nobody may follow"),
        (b"", "circles"),
        (b"/kam", "circles"),
    ],
)
async def test_redirects_that_are_not_followed(location: bytes, words: str) -> None:
    async with Scripted({"DESCRIBE": [status(302, b"Location: " + location)] * 9}) as camera:
        error = await watch(camera.url)
    assert error.reason is GapReason.REFUSED
    assert words in str(error)


@pytest.mark.parametrize(
    ("answers", "reason", "words"),
    [
        (
            {"DESCRIBE": [status(404, reason=b"Not Found")]},
            GapReason.REFUSED,
            r"DESCRIBE with 404: check the path of the stream address \(404 Not Found\)",
        ),
        ({"DESCRIBE": [status(403)]}, GapReason.UNAUTHORISED, "forbids DESCRIBE"),
        ({"SETUP": [status(453)]}, GapReason.REFUSED, "SETUP with 453: .*no bandwidth"),
        ({"PLAY": [status(503)]}, GapReason.REFUSED, "PLAY with 503"),
        ({"SETUP": [status(461), status(461)]}, GapReason.REFUSED, "neither TCP nor UDP"),
        ({"DESCRIBE": [Close]}, GapReason.UNREACHABLE, "closed the connection"),
        ({"DESCRIBE": [None]}, GapReason.UNREACHABLE, "did not answer DESCRIBE within 1 s"),
        ({"OPTIONS": [None]}, GapReason.UNREACHABLE, "did not answer OPTIONS"),
        ({"OPTIONS": [b"HTTP/1.1 400 Bad Request\r\n\r\n"]}, GapReason.REFUSED, "not RTSP: “HTTP/1.1 400 Bad Request”"),
        ({"DESCRIBE": [ok() + SDP]}, GapReason.REFUSED, "DESCRIBE does not parse.*no Content-Length"),
        ({"DESCRIBE": [describe(b"<html>", b"x")]}, GapReason.REFUSED, r"DESCRIBE does not parse \(SDP"),
        ({"DESCRIBE": [ok(b"Content-Length: 4294967296")]}, GapReason.REFUSED, "4294967296 is more than 1048576"),
        ({"DESCRIBE": [b"RTSP/1.0 200 OK\r\n" + b"X: y\r\n" * 300]}, GapReason.UNREACHABLE, "did not answer"),
        ({"DESCRIBE": [b"RTSP/1.0 200 OK\r\n" + b"X: y\r\n" * 300 + b"\r\n"]}, GapReason.REFUSED, "more than 256"),
        ({"DESCRIBE": [b"RTSP/1.0 200 OK\r\nX: " + b"y" * 70_000]}, GapReason.REFUSED, "longer than 65536"),
        ({"DESCRIBE": [b"\xff" * 300_000]}, GapReason.REFUSED, "neither message nor media"),
        ({"SETUP": [ok(b"Session: a\x01b")]}, GapReason.REFUSED, "not a session id"),
        ({"SETUP": [ok(b"Transport: RTP/AVP/TCP;interleaved=7-999")]}, GapReason.REFUSED, "out of range"),
        ({"SETUP": [ok(b"Transport: RTP/AVP;multicast;port=1-2")]}, GapReason.REFUSED, "multicast"),
        ({"SETUP": [ok(b"Transport: RTP/AVP/TCP;interleaved=3-3")]}, GapReason.REFUSED, "taken"),
    ],
)
async def test_refusals_say_who_what_and_why(answers: dict[str, list[Step]], reason: GapReason, words: str) -> None:
    async with Scripted(answers) as camera:
        error = await watch(camera.url)
        assert f"127.0.0.1:{camera.port}" in str(error)
    assert error.reason is reason
    assert re.search(words, str(error)), str(error)
    assert sentence_of(error) is not None, "pages say it by its code"


async def test_a_port_that_is_closed_and_a_name_that_is_none() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        error = await watch(f"rtsp://127.0.0.1:{closed.getsockname()[1]}/x")
    assert error.reason is GapReason.REFUSED
    error = await watch("rtsp://nie-ma-takiej.invalid/x")
    assert error.reason is GapReason.UNREACHABLE
    assert "cannot be reached" in str(error)


async def test_unsupported_codec() -> None:
    sdp = SDP.replace(b"RTP/AVP 96", b"RTP/AVP 26").split(b"a=rtpmap")[0]
    async with Scripted(sdp=sdp) as camera:
        error = await watch(camera.url)
    assert error.reason is GapReason.UNSUPPORTED_CODEC
    assert "video as JPEG" in str(error)


async def test_a_camera_that_sends_nothing_and_one_that_stops() -> None:
    async with Scripted() as camera:
        error = await watch(camera.url)
        assert error.reason is GapReason.STALLED
        assert "sent no video at all" in str(error)
        assert len(camera.asked("TEARDOWN")) == 1
    async with Scripted(media=[frame(0, b"\x80\x60" + bytes(10) + b"\x01") for _ in range(5)]) as camera:
        error = await watch(camera.url)
        assert error.reason is GapReason.STALLED
        assert "no whole picture" in str(error)


async def test_sound_does_not_hide_a_video_that_stalls() -> None:
    def talk(camera: Scripted) -> None:
        camera.send(frame(2, b"\x80\x08" + bytes(10) + b"\xd5" * 80))

    async with Scripted(sdp=SDP + AUDIO, media=pictures(1)) as camera:
        task = asyncio.create_task(watch(camera.url, tracks=2))
        await until(lambda: camera.asked("PLAY"))
        while not task.done():
            talk(camera)
            await asyncio.sleep(0.02)
        assert (await task).reason is GapReason.STALLED


async def test_goodbye_reset_and_end_of_the_connection() -> None:
    async with Scripted(media=[*pictures(2), frame(1, build_bye(7, "k")), *pictures(1, start=2)]) as camera:
        error = await watch(camera.url)
        assert error.reason is GapReason.STALLED  # another source's goodbye
    async with Scripted(media=[*pictures(2), frame(1, build_bye(SSRC, "k", "koniec"))]) as camera:
        error = await watch(camera.url)
        assert error.reason is GapReason.UNREACHABLE
        assert "ended the session (BYE koniec)" in str(error)
    patient = replace(QUICK, stall_timeout=60.0, report_interval=60.0)  # nobody has to look: an end is told at once
    for end in ("close", "reset", "teardown"):
        async with Scripted(media=pictures(2)) as camera:
            sink = Collected()
            task = asyncio.create_task(watch(camera.url, sink, options=patient))
            await until(sink.units.__len__)
            if end == "close":
                camera.writers[-1].close()
            elif end == "reset":
                camera.writers[-1].get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0"
                )
                camera.writers[-1].transport.abort()
            else:
                camera.send(b"TEARDOWN rtsp://x RTSP/1.0\r\nCSeq: 1\r\n\r\n")
            error = await asyncio.wait_for(task, 10)
            assert error.reason is GapReason.UNREACHABLE
            assert len(sink.units) == 2


@pytest.mark.parametrize(
    ("public", "refuse", "methods"),
    [
        (b"OPTIONS, GET_PARAMETER", None, ["GET_PARAMETER", "GET_PARAMETER"]),
        (b"OPTIONS, DESCRIBE", None, ["OPTIONS", "OPTIONS"]),
        (b"OPTIONS, GET_PARAMETER", status(501), ["GET_PARAMETER", "OPTIONS", "OPTIONS"]),
        (b"OPTIONS, GET_PARAMETER", status(400), ["GET_PARAMETER", "OPTIONS", "OPTIONS"]),
    ],
)
async def test_keep_alive_at_half_the_servers_timeout(public: bytes, refuse: bytes | None, methods: list[str]) -> None:
    setup = ok(b"Session: 12 ;timeout=1", b"Transport: RTP/AVP/TCP;interleaved=0-1")
    answers: dict[str, list[Step]] = {"SETUP": [setup]}
    if refuse:
        answers["GET_PARAMETER"] = [refuse]
    async with Scripted(answers, public=public) as camera:
        began = time.monotonic()
        await watch(camera.url, options=replace(QUICK, stall_timeout=1.3))
        assert time.monotonic() - began < 2.5
        kept = [r for r in camera.requests[4:] if r.method != "TEARDOWN"]
    assert [r.method for r in kept] == methods
    assert all(r.headers["session"] == "12" for r in kept)


async def test_keep_alive_that_is_never_answered_or_says_the_session_is_gone() -> None:
    setup = ok(b"Session: 12;timeout=1", b"Transport: RTP/AVP/TCP;interleaved=0-1")
    async with Scripted({"SETUP": [setup], "GET_PARAMETER": [None] * 9}) as camera:
        error = await watch(camera.url, options=replace(QUICK, stall_timeout=1.3, request_timeout=0.3))
        assert error.reason is GapReason.STALLED
    async with Scripted({"SETUP": [setup], "GET_PARAMETER": [status(454)]}) as camera:
        error = await watch(camera.url, options=replace(QUICK, stall_timeout=3))
        assert error.reason is GapReason.REFUSED
        assert "forgotten the session" in str(error)


async def test_receiver_reports() -> None:
    report = build_sender_report(SenderReportPacket(SSRC, 1_700_000_000_000_000_000, 90_000), "k")
    lost = [*pictures(3), *pictures(3, start=5)]
    async with Scripted(media=[*lost, frame(1, report)]) as camera:
        await watch(camera.url, options=replace(QUICK, report_interval=0.1))
        assert len(camera.frames) >= 2
        assert {c for c, _ in camera.frames} == {1}
        [first, _] = parse_rtcp(camera.frames[0][1])
        [block] = first.blocks  # type: ignore[union-attr]
    assert block.ssrc == SSRC
    assert block.lost == 2
    assert block.last_sr != 0
    assert 0 < block.delay_since_last_sr < 65536


async def test_sessions_of_an_earlier_life_are_ended_first() -> None:
    ids = Ids("stara1", "stara2")
    async with Scripted() as camera:
        await watch(camera.url, options=replace(QUICK, session_store=ids))
        assert [r.headers["session"] for r in camera.asked("TEARDOWN")] == ["stara1", "stara2", "4711"]
        assert camera.connections == 2
    assert ids.log == ["-stara1 kam", "-stara2 kam", "+4711 kam", "-4711 kam"]
    ids = Ids("stara")
    async with Scripted({"TEARDOWN": [Close, None]}) as camera:
        began = time.monotonic()
        await watch(camera.url, options=replace(QUICK, session_store=ids, teardown_timeout=0.3))
        assert time.monotonic() - began < 2
    assert ids.ids == ["stara", "4711"]  # nobody confirmed: to be tried again


async def test_closing_takes_a_second_at_most_and_cancelling_says_goodbye() -> None:
    async with Scripted({"TEARDOWN": [None]}) as camera:
        async with RtspSession.open(camera.url, options=replace(QUICK, teardown_timeout=0.2)) as session:
            await session.setup(session.description.media[0], Collected())
            await session.play()
            began = time.monotonic()
        assert time.monotonic() - began < 0.9
    async with Scripted(media=pictures(1)) as camera:
        task = asyncio.create_task(watch(camera.url, options=replace(QUICK, stall_timeout=30)))
        await until(lambda: camera.asked("PLAY"))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(camera.asked("TEARDOWN")) == 1


class Broken(Collected):
    """A sink that fails at its second unit."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def on_unit(self, unit: AccessUnit) -> None:
        super().on_unit(unit)
        if len(self.units) == 2:
            raise self.error


@pytest.mark.parametrize("transport", ["tcp", "udp"])
@pytest.mark.parametrize("error", [SpoolError(GapReason.SPOOL_FULL, "full"), ZeroDivisionError()])
async def test_what_a_sink_raises_ends_the_session_as_it_is(
    error: Exception, transport: str, caplog: pytest.LogCaptureFixture
) -> None:
    heard = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context))
    sink = Broken(error)
    async with udp_camera(transport == "udp") as camera:
        with pytest.raises(type(error)):
            async with RtspSession.open(camera.url, options=QUICK, transport=transport) as session:
                await session.setup(session.description.media[0], sink)
                await session.play()
                await session.run()
    assert len(sink.units) <= 3
    assert all(context["exception"] is error for context in heard)


def udp_camera(udp: bool = True, server_port: bool = True, source: str = "127.0.0.1", count: int = 6) -> Scripted:
    """A camera that sends its pictures over UDP from a port of its own, or over TCP."""
    if not udp:
        return Scripted(media=pictures(count))
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.bind((source, 0))
    port = sender.getsockname()[1]
    client: list[int] = []

    def setup(camera: Scripted, asked: Asked) -> bytes:
        match = re.search(r"client_port=(\d+)-(\d+)", asked.headers["transport"])
        if match is None:
            return status(461)
        client[:] = [int(match[1]), int(match[2])]
        ours = f";server_port={port}-{port + 1}" if server_port else ""
        return ok(b"Session: 5", f"Transport: {asked.headers['transport']}{ours}".encode())

    def play(camera: Scripted, asked: Asked) -> bytes:
        order = [0, 2, 1, *range(3, count)]
        for number in order:
            sender.sendto(picture(number), ("127.0.0.1", client[0]))
        camera.client_ports = tuple(client)  # type: ignore[attr-defined]
        asyncio.get_running_loop().call_soon(sender.close)
        return ok(b"Session: 5")

    camera = Scripted({"SETUP": [setup] * 3, "PLAY": [play]})
    camera.sender = sender  # type: ignore[attr-defined]
    return camera


@pytest.mark.parametrize("server_port", [True, False])
async def test_udp_puts_packets_back_in_order(server_port: bool) -> None:
    sink = Collected()
    async with udp_camera(server_port=server_port) as camera:
        error = await watch(camera.url, sink, transport="udp")
        ports = camera.client_ports  # type: ignore[attr-defined]
    assert error.reason is GapReason.STALLED
    assert ports[0] % 2 == 0
    assert ports[1] == ports[0] + 1
    assert [u.pts for u in sink.units] == [90_000 + 3600 * n for n in range(6)]
    assert sink.lost == 0


async def test_udp_from_elsewhere_reaches_nobody() -> None:
    sink = Collected()
    async with udp_camera(server_port=False, source="127.0.0.2") as camera:
        error = await watch(camera.url, sink, transport="udp")
    assert "sent no video at all" in str(error)
    assert sink.units == []


async def test_udp_opens_firewalls() -> None:
    async with udp_camera() as camera:
        sender = camera.sender  # type: ignore[attr-defined]
        sender.setblocking(False)
        async with RtspSession.open(camera.url, options=QUICK, transport="udp") as session:
            await session.setup(session.description.media[0], Collected())
            loop = asyncio.get_running_loop()
            punched = await asyncio.wait_for(loop.sock_recv(sender, 2000), 2)
        sender.close()
    assert punched[0] == 0x80
    assert len(punched) == 12


@pytest.mark.parametrize("first", ["tcp", "udp"])
async def test_the_other_transport_after_461(first: str) -> None:
    sink = Collected()
    camera = udp_camera() if first == "tcp" else Scripted({"SETUP": [status(461)]}, media=pictures(6))
    async with camera:
        async with RtspSession.open(camera.url, options=QUICK, transport=first) as session:
            await session.setup(session.description.media[0], sink)
            assert session.transport == ("udp" if first == "tcp" else "tcp")
            await session.play()
            await until(lambda: len(sink.units) >= 5)
        assert len(camera.asked("SETUP")) == 2
        assert len(camera.asked("DESCRIBE")) == 1


@pytest.fixture(scope="module")
def authority() -> tuple[ssl.SSLContext, str, trustme.CA]:
    """A server context, the pin of its certificate, and the authority that nobody knows."""
    import hashlib

    ca = trustme.CA()
    certificate = ca.issue_cert("127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    der = ssl.PEM_cert_to_DER_cert(certificate.cert_chain_pems[0].bytes().decode())
    return context, hashlib.sha256(der).hexdigest(), ca


async def test_rtsps_with_a_pin(authority: tuple[ssl.SSLContext, str, trustme.CA]) -> None:
    context, pin, _ = authority
    sink = Collected()
    async with Scripted(tls=context, media=pictures(3)) as camera:
        error = await watch(camera.url, sink, pin=pin.upper())
        assert error.reason is GapReason.STALLED
        assert len(sink.units) == 3
        error = await watch(camera.url, pin="00" * 32)
        assert error.reason is GapReason.REFUSED
        assert pin in str(error)
        assert camera.asked("OPTIONS") == camera.requests[:1]


async def test_rtsps_with_an_authority(
    authority: tuple[ssl.SSLContext, str, trustme.CA], monkeypatch: pytest.MonkeyPatch
) -> None:
    context, pin, ca = authority
    async with Scripted(tls=context, media=pictures(1)) as camera:
        error = await watch(camera.url)
        assert error.reason is GapReason.REFUSED
        assert f"pin it: {pin}" in str(error)
        assert camera.requests == []
        original = ssl.create_default_context

        def trusting(*args: object, **kwargs: object) -> ssl.SSLContext:
            made = original()
            ca.configure_trust(made)
            return made

        monkeypatch.setattr(ssl, "create_default_context", trusting)
        error = await watch(camera.url)
        assert error.reason is GapReason.STALLED
    async with Scripted() as plain:
        error = await watch(plain.url.replace("rtsp:", "rtsps:"), pin=pin)
        assert error.reason in (GapReason.REFUSED, GapReason.UNREACHABLE)


CHUNKS = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [b"RTSP/1.0 200 OK\r\n", b"CSeq: 1\r\n", b"\r\n", b"$\0\0\x0c\x80", b"$\1", b"Content-Length: 9\r\n", SDP]
    ),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(answers=st.lists(st.lists(CHUNKS, max_size=6).map(b"".join), min_size=1, max_size=5), chop=st.integers(0, 4))
def test_arbitrary_bytes_end_in_a_source_error(answers: list[bytes], chop: int) -> None:
    async def attempt() -> None:
        good = {0: [], 1: ["OPTIONS"], 2: ["OPTIONS", "DESCRIBE"]}.get(chop, ["OPTIONS", "DESCRIBE", "SETUP"])
        methods = [m for m in ("OPTIONS", "DESCRIBE", "SETUP", "PLAY", "TEARDOWN") if m not in good]
        steps: dict[str, list[Step]] = {m: [answers[i % len(answers)]] for i, m in enumerate(methods)}
        options = RtspOptions(connect_timeout=1, request_timeout=0.05, stall_timeout=0.05, teardown_timeout=0.05)
        async with Scripted(steps) as camera:
            await asyncio.wait_for(watch(camera.url, options=options), 3)

    asyncio.run(attempt())
