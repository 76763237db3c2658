"""The RTSP server against raw sockets: methods, refusals, bounds, units packetised by itself, slow clients."""

import asyncio
import base64
import contextlib
import ssl

import pytest
import trustme

from tests.support.raw_rtsp import RawClient
from vms.model import AccessUnit, Codec, CodecConfig
from vms.rtsp.auth import ServerAuth
from vms.rtsp.outlet import Outlet
from vms.rtsp.provider import PROPER, Offer
from vms.rtsp.server import Limits, RtspServer, split_uri
from vms.rtsp.server_session import parse_transport

pytestmark = pytest.mark.network
CONFIG = CodecConfig(Codec.H264, parameter_sets=(bytes.fromhex("6742000a96530589"), b"\x68\xc9\x63\x88"))
KEY = b"\0\0\0\5\x65\1\2\3\4"
SECOND_NS = 1_000_000_000


class Ready:
    def __init__(self, outlets, provider):
        self.outlets, self.provider = outlets, provider

    def starts(self):
        return {}

    def begin(self):
        self.provider.playing.append(self)

    def stop(self):
        self.provider.playing.remove(self)


class OneStream:
    """`rynek` has one H.264 track; whoever plays is in `playing`."""

    def __init__(self, gate=None):
        self.playing, self.door = [], gate

    async def describe(self, path):
        return Offer((CONFIG,)) if path == "rynek" else None

    def play(self, path, outlets, viewer):
        return Ready(outlets, self)

    def manners(self, path):
        return PROPER

    def gate(self, path):
        return self.door


@pytest.fixture
async def provider():
    return OneStream()


@pytest.fixture
async def server(provider):
    server = RtspServer(provider, limits=Limits(session_timeout_s=1.0))
    await server.start()
    yield server
    await server.close()


async def test_methods(server):
    async with RawClient(server.port) as client:
        assert "DESCRIBE" in (await client.ask("OPTIONS", "rynek")).header("Public")
        described = await client.ask("DESCRIBE", "rynek", Accept="application/sdp")
        assert b"H264/90000" in described.body
        assert described.header("Content-Base").endswith("/rynek/")
        assert (await client.ask("DESCRIBE", "brak")).status == 404
        assert (await client.ask("SET_PARAMETER", "rynek")).status == 451
        assert (await client.ask("ANNOUNCE", "rynek")).status == 405
        assert (await client.ask("PLAY", "rynek", Session="unknown")).status == 454
        assert (await client.ask("SETUP", "rynek/trackID=0", Transport="RTP/AVP;multicast")).status == 461
        assert (await client.ask("SETUP", "rynek/trackID=1", Transport="RTP/AVP/TCP;interleaved=0-1")).status == 404
        await client.start("rynek")
        assert (await client.ask("GET_PARAMETER", "rynek", Session=client.session)).status == 200
        assert (await client.ask("PAUSE", "rynek", Session=client.session)).status == 200
        assert (await client.ask("TEARDOWN", "rynek", Session=client.session)).status == 200
    assert not server.sessions


async def test_units_are_packetised_with_sets_before_keys(server, provider):
    async with RawClient(server.port) as client:
        await client.start("rynek")
        outlet = provider.playing[0].outlets[0]
        assert outlet.send_unit(AccessUnit(1000, KEY, True, CONFIG, 0), 5 * SECOND_NS)
        assert outlet.send_unit(AccessUnit(4600, b"\0\0\0\2\x41\1", False, CONFIG, 0), 6 * SECOND_NS)
        packets = await client.receive(2)
    assert CONFIG.parameter_sets[0] in packets[0].payload
    assert packets[0].marker
    assert (packets[-1].timestamp - packets[0].timestamp) & 0xFFFFFFFF == 3600
    assert next(c for c, _ in client.frames) == 1  # the sender report goes first


async def test_receiver_reports_keep_a_session_alive_and_silence_ends_it(server, provider):
    async with RawClient(server.port) as client:
        await client.start("rynek")
        session = next(iter(server.sessions.values()))
        client.writer.write(b"$\1\0\x08" + bytes.fromhex("80c9000100000001"))
        await client.ask("OPTIONS", "other")
        assert session.reports == 1
        async with asyncio.timeout(6):
            while server.sessions:
                await asyncio.sleep(0.05)
    assert not provider.playing


@pytest.mark.parametrize("scheme", ["Basic", "MD5"])
async def test_authentication(scheme):
    gate = ServerAuth("r", {"anna": "x"}.get, schemes=(scheme,))
    heard = []
    server = RtspServer(OneStream(gate), on_event=heard.append)
    await server.start()
    try:
        async with RawClient(server.port) as client:
            answer = await client.ask("DESCRIBE", "rynek")
            assert answer.status == 401
            assert answer.header("WWW-Authenticate")
            wrong = base64.b64encode(b"anna:y").decode()
            assert (await client.ask("DESCRIBE", "rynek", Authorization=f"Basic {wrong}")).status == 401
            assert [e.kind for e in heard] == ["refused"]
            if scheme == "Basic":
                right = base64.b64encode(b"anna:x").decode()
                assert (await client.ask("DESCRIBE", "rynek", Authorization=f"Basic {right}")).status == 200
    finally:
        await server.close()


@pytest.mark.parametrize("rubbish", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\n\n", b"A" * 200_000])
async def test_what_is_not_rtsp_is_refused(server, rubbish):
    async with RawClient(server.port) as client:
        client.writer.write(rubbish)
        async with asyncio.timeout(5):
            assert (await client.reader.read(4096)).startswith((b"RTSP/1.0 400", b""))


async def test_too_many_requests_at_once_end_the_connection(server):
    async with RawClient(server.port) as client:
        client.writer.write(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n" * 5000)
        async with asyncio.timeout(5):
            with contextlib.suppress(ConnectionResetError):
                assert (await client.reader.read(-1)).endswith(b"400 Bad Request\r\n\r\n")
            while server.connected:
                await asyncio.sleep(0.01)


class Slow:
    interleaved, takes_blobs, backlog_bytes = True, True, 0

    def __init__(self):
        self.written = []

    def write(self, data):
        self.written.append(data)


def test_a_slow_client_gets_nothing_until_a_key_picture():
    wire = Slow()
    outlet = Outlet(wire, CONFIG, 96, 1000)
    assert outlet.send_blob(b"a", 1, 1, key=False)
    wire.backlog_bytes = 1001
    assert not outlet.send_blob(b"b", 1, 1, key=False)
    wire.backlog_bytes = 0
    assert not outlet.send_blob(b"c", 1, 1, key=False)
    wire.backlog_bytes = 500
    assert not outlet.send_blob(b"d", 1, 1, key=True)
    wire.backlog_bytes = 100
    assert outlet.send_blob(b"e", 1, 1, key=True)
    assert wire.written == [b"a", b"e"]
    assert outlet.sent.dropped_units == 3


async def test_rtsps():
    authority = trustme.CA()
    serving, asking = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(serving)
    authority.configure_trust(asking)
    server = RtspServer(OneStream())
    await server.start(tls=serving)
    try:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", server.port, ssl=asking, server_hostname="localhost"
        )
        writer.write(b"DESCRIBE rtsps://localhost/rynek RTSP/1.0\r\nCSeq: 7\r\n\r\n")
        async with asyncio.timeout(5):
            assert (await reader.readline()).startswith(b"RTSP/1.0 200")
        writer.close()
        await writer.wait_closed()
    finally:
        await server.close()


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("rtsp://h/cam0/sub/trackID=0", ("cam0/sub", 0)),
        ("rtsp://h:1/cam0/", ("cam0", None)),
        ("rtsp://h/cam0/trackID=x", ("cam0/trackID=x", None)),
        ("*", ("*", None)),
        ("rtsp://[/", ("", None)),
    ],
)
def test_split_uri(uri, expected):
    assert split_uri(uri) == expected


def test_parse_transport():
    kinds = [
        (t.kind, t.first, t.second)
        for t in parse_transport("RTP/AVP;multicast,RTP/AVP/TCP;interleaved=2-3,RTP/AVP;client_port=70000")
    ]
    assert kinds == [("tcp", 2, 3)]
