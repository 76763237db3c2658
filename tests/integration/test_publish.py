"""Publishing over real sockets from a real recorder: to our own client, ffprobe, ffplay, VLC and GStreamer."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.live_site import LiveSite, eventually, eventually_sync, live_site
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


@pytest.mark.parametrize("transport", ["tcp", "udp"])
@pytest.mark.parametrize(("path", "codec"), CODECS)
def test_vlc_plays(published, path, codec, transport):
    need("cvlc", "setpriv")
    folder = Path(tempfile.mkdtemp(prefix="stroz-vlc-"))
    try:
        shutil.chown(folder, "nobody", "nogroup")
        out = folder / "out.ts"
        as_nobody = [] if os.geteuid() else ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
        done = run(
            *as_nobody, "env", f"HOME={folder}", "cvlc", "-q", *(["--rtsp-tcp"] if transport == "tcp" else []),
            "--run-time", "5", url(published[1], path), "--sout", f"#std{{access=file,mux=ts,dst={out}}}", "vlc://quit",
        )  # fmt: skip
        assert out.exists(), done.stderr[-2000:]
        assert decoded(out) >= 25, done.stderr[-2000:]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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
