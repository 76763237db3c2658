"""RTSP servers of other people as child processes: GStreamer's and VLC's, each over one file. Skips where they are not."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from tests.support.free_ports import free_port
from tests.support.waiting import until
from vms.model import Codec
from vms.simulate import materials
from vms.simulate.footage import cached
from vms.simulate.recipes import Material, Recipe

GSTREAMER = Path(__file__).with_name("gst_rtsp_server.py")
SYSTEM_PYTHON = "/usr/bin/python3"


def film(codec: Codec, *, seconds: int = 40, b_frames: int = 0) -> Path:
    """A small file long enough that nobody sees its end; encoded once, in the simulator's cache."""
    base = Recipe("film", Material.PATTERN, codec, 320, 180, Fraction(25), seconds, 25, 200_000)
    named = replace(base, name=f"film-{codec.value}{'-b' if b_frames else ''}", b_frames=b_frames)
    return cached(named, materials.default_cache())


@functools.cache
def _has_gstreamer() -> bool:
    check = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run([SYSTEM_PYTHON, "-c", check], capture_output=True, timeout=30, check=False)
        return done.returncode == 0
    return False


@asynccontextmanager
async def gstreamer(path: Path, kind: str) -> AsyncIterator[str]:
    """GStreamer's server; `kind` as in gst_rtsp_server.py. The URL of its stream."""
    if not _has_gstreamer():
        pytest.skip("GStreamer's RTSP server is not installed (Debian: gir1.2-gst-rtsp-server-1.0)")
    port = free_port()
    child = await asyncio.create_subprocess_exec(
        SYSTEM_PYTHON, str(GSTREAMER), str(port), str(path), kind,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        assert child.stdout is not None
        async with asyncio.timeout(20):
            assert await child.stdout.readline() == b"ready\n"
        yield f"rtsp://127.0.0.1:{port}/cam"
    finally:
        await _end(child)


@asynccontextmanager
async def vlc(path: Path) -> AsyncIterator[str]:
    """VLC's RTSP output (UDP only), as nobody where we are root. The URL of its stream."""
    program = shutil.which("cvlc")
    if program is None:
        pytest.skip("VLC is not installed (Debian: vlc-bin, vlc-plugin-base)")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="stroz-vlc-") as home:
        copy = Path(shutil.copy(path, home))
        os.chmod(home, 0o777)
        copy.chmod(0o644)
        command = [
            program,
            "-q",
            "--loop",
            str(copy),
            "--sout",
            f"#rtp{{sdp=rtsp://127.0.0.1:{port}/cam}}",
            "--sout-keep",
        ]
        if os.geteuid() == 0:
            if shutil.which("setpriv") is None:
                pytest.skip("VLC refuses to run as root, and setpriv (util-linux) is not there to change the user")
            command = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", *command]
        child = await asyncio.create_subprocess_exec(
            *command, env={**os.environ, "HOME": home, "XDG_RUNTIME_DIR": home}, cwd=home,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        try:
            await until(lambda: child.returncode is not None or _answers(port), 20)
            if child.returncode is not None:
                pytest.skip(f"VLC ended with {child.returncode}: it cannot run here as another user")
            yield f"rtsp://127.0.0.1:{port}/cam"
        finally:
            await _end(child)


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=0.5):
        return True
    return False


async def _end(child: asyncio.subprocess.Process) -> None:
    """The child and what it started: it is the leader of a session of its own."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGTERM)
    try:
        async with asyncio.timeout(5):
            await child.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        await child.wait()
