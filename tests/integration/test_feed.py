"""The feed of a real recorder over real sockets: what it gives is what is recorded, and nothing a reader does disturbs."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import ssl
import stat
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import trustme

from recorder.host import between_hosts
from tests.support.live_site import LiveSite, eventually, live_site
from vms.errors import SourceError, UserError
from vms.feed import End, FeedClient, StreamState, feed_token
from vms.model import StreamKind, TimedUnit
from vms.settings import Listen
from vms.simulate import prepare_small

pytestmark = [pytest.mark.network, pytest.mark.slow]
SECOND = 1_000_000_000


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveSite]:
    """Two cameras with main and sub-stream that are being recorded and relayed."""
    folder = tmp_path_factory.getbasetemp().parent / "footage-cache"
    folder.mkdir(exist_ok=True)
    with live_site(prepare_small(folder, pattern=True)[:2], ["Rynek", "Aleja"]) as live:
        asyncio.run(live.live())
        yield live


async def units(client: FeedClient, stream_id: UUID, count: int, seconds: float = 20) -> list[TimedUnit]:
    found = []
    async with asyncio.timeout(seconds), aclosing(client.units(stream_id)) as events:
        async for event in events:
            if isinstance(event, TimedUnit):
                found.append(event)
                if len(found) == count:
                    break
    return found


async def spooled(live: LiveSite, stream_id: UUID, start_ns: int, end_ns: int) -> list[TimedUnit]:
    found = []
    async with asyncio.timeout(20), aclosing(live.client.spool_range(stream_id, start_ns, end_ns)) as events:
        async for event in events:
            if isinstance(event, End):
                return found
            found.append(event)
    raise AssertionError("a finite range has an end")


async def raw(path: Path, request: bytes) -> bytes:
    """The head of the answer to bytes on a Unix socket."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    try:
        writer.write(request)
        async with asyncio.timeout(10):
            return await reader.readuntil(b"\r\n\r\n")
    finally:
        writer.transport.abort()


def get(path: str, more: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: r\r\nConnection: close\r\n{more}\r\n".encode()


@pytest.mark.parametrize("index", [0, 1])
async def test_what_is_seen_live_is_what_is_recorded(live, index):
    """Bit for bit and to the nanosecond of capture time, over the cut between segments."""
    stream = live.stream(index)
    seen = await units(live.client, stream, 130)
    assert seen[0].unit.key
    assert all(b.capture_ns > a.capture_ns for a, b in itertools.pairwise(seen))

    async def written() -> bool:
        kept = await spooled(live, stream, seen[-1].capture_ns, seen[-1].capture_ns + SECOND)
        return any(t.capture_ns == seen[-1].capture_ns for t in kept)

    await eventually(written, 10, "the last unit in the spool")
    kept = await spooled(live, stream, seen[0].capture_ns, seen[-1].capture_ns + 1)
    facts = [(t.capture_ns, t.unit.pts, t.unit.key, t.unit.damaged, t.unit.data) for t in seen]
    assert [(t.capture_ns, t.unit.pts, t.unit.key, t.unit.damaged, t.unit.data) for t in kept[: len(seen)]] == facts
    assert all(t.capture_ns > seen[-1].capture_ns for t in kept[len(seen) :])  # what a decoder may need besides
    assert {t.unit.config.parameter_sets for t in kept} == {t.unit.config.parameter_sets for t in seen}


async def test_a_reader_begins_with_the_group_under_way(live):
    """Two readers half a second apart begin with a key unit that was there before they came, and see the same."""
    for kind in (StreamKind.MAIN, StreamKind.SUB):
        first = await units(live.client, live.stream(0, kind), 40)
        both = await asyncio.gather(*(units(live.client, live.stream(0, kind), 40) for _ in range(2)))
        assert all(found[0].unit.key for found in (first, *both))
        by_time = {t.capture_ns: t for t in first}
        assert [t.unit.data for t in both[0][:30]] == [t.unit.data for t in both[1][:30]]
        assert all(by_time[t.capture_ns].unit.data == t.unit.data for t in both[0] if t.capture_ns in by_time)


async def test_states(live):
    states = await live.states()
    assert set(states) == {s.id for c in live.cameras for s in c.streams}
    main = states[live.stream(0)]
    assert (main["state"], main["camera_number"], main["camera_name"], main["kind"]) == (
        "recording",
        1,
        "Rynek",
        "main",
    )
    assert states[live.stream(1, StreamKind.SUB)]["state"] == "relaying"
    async with asyncio.timeout(10), aclosing(live.client.units(live.stream(0))) as events:
        assert await anext(events) == StreamState("recording", None)


async def test_only_this_user_may_open_the_sockets(live):
    for socket in (live.site.settings.feed.socket, live.site.run / "recorder-0.sock"):
        assert stat.S_IMODE(socket.stat().st_mode) == 0o600


async def test_ranges_that_cannot_be(live):
    stream = live.stream(0)
    assert await spooled(live, stream, 1, 2) == []
    for query in ("", "?start_ns=5&end_ns=5", "?start_ns=x&end_ns=5", f"?start_ns=0&end_ns={86_401 * SECOND}"):
        answer = await raw(live.site.settings.feed.socket, get(f"/v1/streams/{stream}/spool{query}"))
        assert answer.startswith(b"HTTP/1.1 400 "), query


async def test_streams_and_paths_that_are_not_there(live):
    with pytest.raises(UserError, match="no such stream"):
        await units(live.client, uuid4(), 1)
    for path in ("/v1/streams/rubbish/units", f"/v1/streams/{live.stream(0)}/rubbish", "/", "/v1/cameras/test"):
        answer = await raw(live.site.settings.feed.socket, get(path))
        assert answer.split()[1] in (b"404", b"405"), path


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00rubbish\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /v1/streams HTTP/1.1\r\nA: " + b"a" * 100_000 + b"\r\n\r\n",
        b"POST /v1/cameras/test HTTP/1.1\r\nHost: r\r\nContent-Length: 3\r\nConnection: close\r\n\r\n{x}",
        b"POST /v1/cameras/test HTTP/1.1\r\nHost: r\r\nContent-Length: 2\r\nConnection: close\r\n\r\n[]",
        b"POST /v1/cameras/test HTTP/1.1\r\nHost: r\r\nContent-Length: 99999999\r\nConnection: close\r\n\r\n" + b" " * 70_000,
    ],
)  # fmt: skip
async def test_rubbish_is_refused_and_nothing_notices(live, request_bytes):
    answer = await raw(live.site.settings.feed.socket, request_bytes)
    assert answer.split()[1] in (b"400", b"413")
    assert len(await live.states()) == 4


async def test_a_camera_is_tested_from_the_recorder(live):
    url = live.simulator.call(lambda sim: sim.url("cam1"))
    report = await live.client.test_camera({"url": url})
    assert (report["codec"], report["width"]) == ("hevc", 320)
    with pytest.raises(UserError, match="not a camera test"):
        await live.client.test_camera({"url": "gopher://x"})
    failed = await live.client.test_camera({"url": "rtsp://127.0.0.1:1/x", "password": "tajne"})
    assert (failed["reason"], failed["said"]["code"]) == ("refused", "connection_refused")
    assert "tajne" not in live.log("host").read_text()


async def test_reload_takes_up_a_new_assignment_at_once(live):
    gone = {s.id for s in live.cameras[1].streams}
    live.change(1, enabled=False)
    await live.client.reload()

    async def ended() -> bool:
        return not gone & set(await live.states())

    await eventually(ended, 10, "the end of the disabled camera")
    with pytest.raises(UserError, match="no such stream"):
        await units(live.client, live.stream(1), 1)
    live.change(1, enabled=True)
    await live.client.reload()
    await live.live()


async def test_readers_who_do_not_read_cost_the_recorder_nothing(live):
    stuck = []
    before = (await live.states())[live.stream(0)]
    for _ in range(20):
        _, writer = await asyncio.open_unix_connection(str(live.site.settings.feed.socket), limit=1024)
        writer.transport.pause_reading()
        writer.write(get(f"/v1/streams/{live.stream(0)}/units"))
        stuck.append(writer)
    seen = await units(live.client, live.stream(0), 75)
    assert all(b.unit.pts - a.unit.pts == 3600 for a, b in itertools.pairwise(seen))
    after = (await live.states())[live.stream(0)]
    assert (after["attempts"], after["gap_since_ns"]) == (before["attempts"], None)
    for writer in stuck:
        writer.transport.abort()


async def test_between_hosts_the_door_wants_tls_and_the_sites_token(live, tmp_path):
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    issued.private_key_pem.write_to_path(key)
    for blob in issued.cert_chain_pems:
        blob.write_to_path(certificate, append=True)
    feed = replace(live.site.settings.feed, listen=Listen("127.0.0.1", 0), certificate=certificate, key=key)
    site = replace(live.site, settings=replace(live.site.settings, feed=feed))
    tls = ssl.create_default_context()
    authority.configure_trust(tls)
    async with between_hosts(site, 1) as port:
        address = f"https://127.0.0.1:{port}"
        client = FeedClient(address, token=feed_token(site.key), tls=tls)
        assert len(await client.states()) == 4
        assert len(await units(client, live.stream(0), 30)) == 30
        for token in ("", "rubbish", feed_token(b"another key")):
            with pytest.raises(UserError, match="token"):
                await FeedClient(address, token=token, tls=tls).states()
            with pytest.raises(UserError, match="token"):
                await FeedClient(address, token=token, tls=tls).reload()
        with pytest.raises(SourceError):  # who it is cannot be known, so the token is not even sent
            await FeedClient(address, token=feed_token(site.key)).states()
        with pytest.raises(UserError, match="TLS only"):
            FeedClient(f"http://127.0.0.1:{port}", token="x")
    feed = replace(feed, key=certificate)
    site = replace(live.site, settings=replace(live.site.settings, feed=feed))
    with pytest.raises(UserError, match=r"feed\.key"):
        async with between_hosts(site, 1):
            pass


async def test_without_a_worker_the_door_says_503_and_readers_resume(live):
    host = live.processes["host"]
    (worker,) = (int(p) for p in Path(f"/proc/{host.pid}/task/{host.pid}/children").read_text().split())
    before = await units(live.client, live.stream(0), 30)
    reading = asyncio.create_task(until_it_breaks(live.client, live.stream(0)))
    await asyncio.sleep(0)
    os.kill(worker, signal.SIGKILL)
    answer = await raw(live.site.settings.feed.socket, get(f"/v1/streams/{live.stream(0)}/units"))
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"Retry-After: 2" in answer
    with pytest.raises(SourceError, match=r"cannot answer now|broke off|closed"):
        await units(live.client, live.stream(0), 1)
    assert isinstance(await asyncio.wait_for(reading, 10), SourceError)
    resumed: list[TimedUnit] = []

    async def again() -> bool:
        try:
            resumed[:] = await units(live.client, live.stream(0), 30)
        except (SourceError, UserError):
            return False
        return True

    await eventually(again, 25, "units from the new worker")
    assert resumed[0].unit.key
    assert resumed[0].capture_ns > before[-1].capture_ns
    await live.live()


async def until_it_breaks(client: FeedClient, stream_id: UUID) -> SourceError:
    try:
        async with aclosing(client.units(stream_id)) as events:
            async for _ in events:
                pass
    except SourceError as error:
        return error
    raise AssertionError
