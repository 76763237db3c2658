"""Publishing over real sockets from a real recorder: to our own client, ffprobe, ffplay, VLC and GStreamer."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.free_ports import free_port
from tests.support.live_site import LiveSite, eventually, eventually_sync, live_site
from tests.support.raw_rtsp import Packet, RawClient
from tests.support.rtsp_watch import Collected
from tests.support.waiting import until
from vms.errors import SourceError
from vms.metrics import gather
from vms.rtsp.client import RtspOptions, RtspSession
from vms.simulate import prepare_small

pytestmark = [pytest.mark.network, pytest.mark.slow]

PASSWORD = "bardzo-tajne-haslo"
NAMES = ["Rynek", "Aleja Łódzka"]  # H.264, H.265


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LiveSite, int]]:
    """A recorder with an H.264 and an H.265 camera, published to the consumer `anna`; and the port."""
    folder = tmp_path_factory.getbasetemp().parent / "footage-cache"
    folder.mkdir(exist_ok=True)
    footage = prepare_small(folder, pattern=True)[:2]
    with live_site(footage, NAMES) as live:
        secret = live.site.path / "anna.txt"
        secret.write_text(PASSWORD + "\n")
        process = live.start(
            "publish", "vms.cli", "publish", "--listen", "127.0.0.1:0", "--consumer", "anna",
            "--password-file", str(secret), stdout=subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        first = process.stdout.readline().decode()
        port = int(first.split("/")[2].partition(":")[2])
        asyncio.run(live.live())
        yield live, port


def url(port: int, path: str) -> str:
    return f"rtsp://anna:{PASSWORD}@127.0.0.1:{port}/{path}"


def need(*programs: str) -> None:
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")


def run(*argv: str, seconds: float = 40, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv, capture_output=True, text=True, errors="replace", timeout=seconds, check=False, env={**os.environ, **env}
    )


CODECS = [("camera/1", "h264"), ("camera/2", "hevc")]


@pytest.mark.parametrize("transport", ["tcp", "udp"])
@pytest.mark.parametrize(("path", "codec"), [*CODECS, ("camera/2/sub", "h264")])
def test_ffprobe_counts_pictures_without_an_error(published, path, codec, transport):
    need("ffprobe")
    done = run(
        "ffprobe", "-v", "error", "-rtsp_transport", transport, "-read_intervals", "%+3", "-count_frames",
        "-show_entries", "stream=codec_name,nb_read_frames,width", "-of", "json", url(published[1], path),
    )  # fmt: skip
    (stream,) = json.loads(done.stdout)["streams"]
    assert done.stderr == ""
    assert (stream["codec_name"], stream["width"]) == (codec, 160 if path.endswith("sub") else 320)
    assert int(stream["nb_read_frames"]) > 25


@pytest.mark.parametrize("transport", ["tcp", "udp"])
@pytest.mark.parametrize(("path", "codec"), CODECS)
def test_ffplay_plays(published, tmp_path, path, codec, transport):
    need("ffplay")
    said = tmp_path / "said"
    with said.open("wb") as log:
        player = subprocess.Popen(
            ["ffplay", "-v", "verbose", "-stats", "-rtsp_transport", transport, url(published[1], path)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            env={**os.environ, "SDL_VIDEODRIVER": "dummy", "SDL_AUDIODRIVER": "dummy"},
        )  # fmt: skip

    def played() -> bool:
        """Its clock, which follows the pictures, has gone on for two seconds."""
        assert player.poll() is None, said.read_text(errors="replace")[-2000:]
        clock = [float(at) for at in re.findall(r"(\d+\.\d+) M-V: +-?\d", said.read_text(errors="replace"))]
        return bool(clock) and clock[-1] - clock[0] > 2

    try:
        eventually_sync(played, 30, "two seconds of play")
    finally:
        player.terminate()
        player.wait(10)
    assert f"Video: {codec}" in said.read_text(errors="replace")


@pytest.mark.parametrize("transport", ["tcp", "udp"])
@pytest.mark.parametrize(("path", "codec"), CODECS)
def test_gstreamer_plays(published, tmp_path, path, codec, transport):
    need("gst-launch-1.0", "gst-inspect-1.0")
    short = "h264" if codec == "h264" else "h265"
    for element in ("rtspsrc", f"rtp{short}depay", f"{short}parse"):
        if run("gst-inspect-1.0", element).returncode:
            pytest.skip(f"GStreamer has no {element}")
    out = tmp_path / f"out.{short}"
    done = run(
        "gst-launch-1.0", "-q", "rtspsrc", f"location=rtsp://127.0.0.1:{published[1]}/{path}", "user-id=anna",
        f"user-pw={PASSWORD}", f"protocols={transport}", "latency=200", "!", f"rtp{short}depay", "!", f"{short}parse",
        "!", f"video/x-{short},stream-format=byte-stream,alignment=au", "!", "identity", "eos-after=60", "!", "filesink",
        f"location={out}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:] + done.stdout[-2000:]
    assert decoded(out) >= 50


@pytest.fixture
def vlc() -> Iterator[tuple[Path, list[str]]]:
    """A folder that VLC may write to, and the words before its arguments: it refuses to run as root."""
    need("cvlc", "setpriv")
    folder = Path(tempfile.mkdtemp(prefix="stroz-vlc-"))
    try:
        if os.geteuid():
            words = ["env", f"HOME={folder}", "cvlc"]
        else:
            shutil.chown(folder, "nobody", "nogroup")
            other = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
            words = [*other, "env", f"HOME={folder}", "cvlc"]
        if "live555" not in run(*words, "--no-color", "--list").stdout:
            pytest.skip(
                "this VLC was built without live555, its RTSP client (as Debian's is), and plays no RTSP at all"
            )
        yield folder, words
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("transport", ["tcp", "udp"])
@pytest.mark.parametrize(("path", "codec"), CODECS)
def test_vlc_plays(published, vlc, path, codec, transport):
    folder, words = vlc
    out = folder / "out.ts"
    done = run(
        *words, "-q", *(["--rtsp-tcp"] if transport == "tcp" else []), "--run-time", "5", url(published[1], path),
        "--sout", f"#std{{access=file,mux=ts,dst={out}}}", "vlc://quit",
    )  # fmt: skip
    assert out.exists(), done.stderr[-2000:]
    assert decoded(out) >= 25, done.stderr[-2000:]


@pytest.mark.parametrize("transport", ["RTP/AVP/TCP;unicast;interleaved=0-1", "RTP/AVP;unicast;client_port={}-{}"])
async def test_the_dialect_of_vlc_is_understood(published, transport):
    """What VLC 3.0.24 with live555 2023.06.14 was seen to send: Digest with MD5, SETUP signed over the session's URL."""
    _, port = published
    with contextlib.ExitStack() as sockets:
        if "client_port" in transport:
            rtp = sockets.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            rtp.bind(("127.0.0.1", 0))
            rtp.setblocking(False)
            transport = transport.format(rtp.getsockname()[1], rtp.getsockname()[1] + 1)
        client = await sockets_of(sockets, port)
        agent = {"User_Agent": "LibVLC/3.0.24 (LIVE555 Streaming Media v2023.06.14)"}
        assert (await client.ask("OPTIONS", "camera/2", **agent)).status == 200
        refused = await client.ask("DESCRIBE", "camera/2", Accept="application/sdp", **agent)
        assert refused.status == 401
        realm, nonce = re.search(r'realm="(.*?)", nonce="(.*?)"[^\n]*algorithm=MD5', refused.head).groups()

        def signed(method: str, path: str) -> dict[str, str]:
            uri = client.url(path)
            ha1, ha2 = md5(f"anna:{realm}:{PASSWORD}"), md5(f"{method}:{uri}")
            answer = md5(f"{ha1}:{nonce}:{ha2}")
            value = f'Digest username="anna", realm="{realm}", nonce="{nonce}", uri="{uri}", response="{answer}"'
            return {"Authorization": value, **agent}

        described = await client.ask("DESCRIBE", "camera/2", Accept="application/sdp", **signed("DESCRIBE", "camera/2"))
        assert b"H265/90000" in described.body
        assert described.header("Content-Base") == client.url("camera/2/")
        track = "camera/2/trackID=0"
        setup = await client.ask("SETUP", track, Transport=transport, **signed("SETUP", "camera/2/"))
        assert "ssrc=" in setup.header("Transport")
        session = setup.header("Session").partition(";")[0]
        more = {"Session": session, "Range": "npt=0.000-"}
        played = await client.ask("PLAY", "camera/2/", **more, **signed("PLAY", "camera/2/"))
        assert (played.status, "rtptime=" in played.header("RTP-Info")) == (200, True)
        if "client_port" in transport:
            async with asyncio.timeout(10):
                packets = [Packet(await asyncio.get_running_loop().sock_recv(rtp, 2048)) for _ in range(40)]
        else:
            packets = await client.receive(40)
        first = int(re.search(r"seq=(\d+)", played.head)[1])
        assert [p.sequence for p in packets] == [(first + n) & 0xFFFF for n in range(40)]
        assert packets[0].timestamp == int(re.search(r"rtptime=(\d+)", played.head)[1])
        assert {f"{p.ssrc:08X}" for p in packets} == {re.search(r"ssrc=(\w+)", setup.head)[1]}
        ends = [p.timestamp for p in packets if p.marker]
        assert len(set(ends)) == len(ends) >= 5  # one marker a picture
        keep = await client.ask("GET_PARAMETER", "camera/2/", Session=session, **signed("GET_PARAMETER", "camera/2/"))
        assert keep.status == 200
        gone = await client.ask("TEARDOWN", "camera/2/", Session=session, **signed("TEARDOWN", "camera/2/"))
        assert gone.status == 200


async def sockets_of(stack: contextlib.ExitStack, port: int) -> RawClient:
    client = await RawClient(port).__aenter__()
    stack.callback(client.writer.transport.abort)
    return client


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


def decoded(file: Path) -> int:
    """Pictures that decode without an error."""
    done = run(
        "ffprobe", "-v", "error", "-count_frames", "-show_entries", "stream=nb_read_frames", "-of", "csv=p=0", str(file)
    )
    return int(done.stdout.split()[0].strip(","))


def views(live: LiveSite) -> list[dict[str, Any]]:
    file = live.site.access_log_file
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


async def test_every_view_is_in_the_access_log_with_start_and_end(published):
    live, port = published
    before = len(views(live))
    done = await asyncio.to_thread(
        run, "ffprobe", "-v", "error", "-rtsp_transport", "tcp", "-read_intervals", "%+1", "-count_frames",
        "-show_entries", "stream=codec_name", "-of", "json", url(port, "camera/1"),
    )  # fmt: skip
    assert "h264" in done.stdout

    async def ended() -> bool:
        mine.clear()
        entries = views(live)[before:]
        begun = {e["reason"] for e in entries if e["what"] == "view_begun" and e["who"] == "anna"}
        mine.extend(e for e in entries if e["what"] == "view" and e["reason"] in begun)
        return bool(mine)

    mine: list[dict[str, Any]] = []
    await eventually(ended, 10, "the end of the view")
    seconds = [datetime.fromisoformat(mine[0]["range"][edge]).timestamp() for edge in ("start", "end")]
    assert 0.2 < seconds[1] - seconds[0] < 30
    assert (mine[0]["camera_name"], mine[0]["camera_number"]) == ("Rynek", 1)
    log = live.log("publish").read_text()
    assert "RTSP play by anna" in log
    assert PASSWORD not in log + live.site.access_log_file.read_text()


async def test_refusals_are_alike_and_say_nothing(published):
    """Without or with a wrong credential 401 for whatever path; with a right one 404 for what is not there."""
    _, port = published
    async with RawClient(port) as client:
        heads = []
        for path in ("camera/1", "camera/99", "stream/rubbish", "../etc/passwd"):
            answer = await client.ask("DESCRIBE", path, Accept="application/sdp")
            assert answer.status == 401
            heads.append(re.sub(r'nonce="\w+"|CSeq: \d+', "", answer.head))
        assert len(set(heads)) == 1
    for path, password, status in (
        ("camera/99", PASSWORD, "404"), ("camera/1/audio", PASSWORD, "404"), ("camera/1", "zle-haslo", "401"),
    ):  # fmt: skip
        done = await asyncio.to_thread(
            run, "ffprobe", "-v", "error", "-rtsp_transport", "tcp", f"rtsp://anna:{password}@127.0.0.1:{port}/{path}"
        )
        assert status in done.stderr
    assert "wrong RTSP credentials for 'anna'" in published[0].log("publish").read_text()


async def test_a_viewer_stays_while_the_camera_is_away_and_sees_it_come_back(published):
    """Over our own client: one session, sequence without a hole, media time as long as the real time that passed."""
    live, port = published
    sink = Collected()
    pin = RtspOptions(stall_timeout=40)

    async def watch() -> None:
        async with RtspSession.open(
            f"rtsp://127.0.0.1:{port}/camera/1", username="anna", password=PASSWORD, options=pin
        ) as session:
            await session.setup(session.description.media[0], sink)
            await session.play()
            await session.run()

    task = asyncio.create_task(watch())
    try:
        await until(lambda: len(sink.units) > 30, 20)
        await asyncio.to_thread(live.simulator.call, lambda sim: sim.stop_camera("cam0"))
        count = len(sink.units)

        async def still() -> bool:
            return (await live.states())[live.stream(0)]["state"] not in ("recording", "settling")

        await eventually(still, 15, "the camera's absence noticed")
        left_at, left_pts = time.monotonic(), sink.units[-1].pts
        await asyncio.to_thread(live.simulator.call, lambda sim: sim.start_camera("cam0"))
        await until(lambda: len(sink.units) > count + 60 or task.done(), 30)
        assert not task.done()
        media = (sink.units[-1].pts - left_pts) / 90_000
        assert abs(media - (time.monotonic() - left_at)) < 4
        assert sink.lost == 0
        assert all(b.pts > a.pts for a, b in itertools.pairwise(sink.units))
        await asyncio.to_thread(live.processes["publish"].send_signal, signal.SIGTERM)
        with pytest.raises(SourceError):
            await asyncio.wait_for(task, 10)  # publishing ended: its viewers are told at once
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert await asyncio.to_thread(live.stop, "publish") == 0
    assert [e["what"] for e in views(live)][-1] == "view"


async def test_the_recorder_publishes_where_the_settings_say_so(tmp_path_factory):
    """Without consumers, on loopback: no credential, a view all the same; and the end when the camera is disabled."""
    folder = tmp_path_factory.getbasetemp().parent / "footage-cache"
    folder.mkdir(exist_ok=True)
    port = free_port()
    settings = f'[publishing]\nenabled = true\nlisten = "127.0.0.1:{port}"\n'
    with live_site(prepare_small(folder, pattern=True)[:1], ["Rynek"], settings=settings, sub=False) as live:
        await live.live()
        async with RawClient(port) as client:
            assert (await client.ask("DESCRIBE", f"stream/{live.stream(0)}", Accept="application/sdp")).status == 200
            await client.start("camera/1")
            packets = await client.receive(20)
            assert len({p.ssrc for p in packets}) == 1
            page = await asyncio.to_thread(gather, {"publish": live.site.run / "publish.metrics"})
            assert b'stroz_published_sessions{consumer="unnamed",process="publish"} 1.0' in page
            live.change(0, enabled=False)
            with contextlib.suppress(asyncio.IncompleteReadError):
                await client.receive(1 << 20, seconds=10)
            goodbye = [data for channel, data in client.frames if channel == 1][-1]
            assert b"\xcb\x00" in goodbye  # RTCP BYE comes last (RFC 3550 §6.6)

        async def over() -> bool:
            return [(e["what"], e["who"]) for e in views(live)] == [("view_begun", "unnamed"), ("view", "unnamed")]

        await eventually(over, 5, "the view's end in the log")
        async with RawClient(port) as client:
            assert (await client.ask("DESCRIBE", "camera/1", Accept="application/sdp")).status == 404
