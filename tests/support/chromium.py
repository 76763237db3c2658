"""Plays a file in Debian's Chromium, headless, and hears what the page saw: over loopback, until the page reports."""

from __future__ import annotations

import contextlib
import json
import queue
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

SECONDS = 60.0
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required", "--mute-audio",
)  # fmt: skip

PAGE = b"""<!doctype html><title>clip</title><video id=v muted src=/clip.mp4></video><script>
const v = document.getElementById('v'), seen = {times: []};
function tell() { fetch('/report', {method: 'POST', body: JSON.stringify(seen)}); }
v.onloadedmetadata = () => Object.assign(seen, {first_duration: v.duration, width: v.videoWidth, height: v.videoHeight});
v.onerror = () => { seen.error = v.error.message; tell(); };
v.onended = () => {
  Object.assign(seen, {ended: true, at: v.currentTime, duration: v.duration});
  seen.frames = v.getVideoPlaybackQuality().totalVideoFrames; tell();
};
const note = (now, frame) => { seen.times.push(frame.mediaTime); v.requestVideoFrameCallback(note); };
v.requestVideoFrameCallback(note); v.play();
</script>"""


def play(clip: Path) -> dict[str, Any]:
    """What the page saw: `ended`, `at`, `first_duration`, `duration`, `width`, `height`, `frames`, `times`, or `error`."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("Chromium is not installed (Debian: chromium)")
    reports: queue.Queue[dict[str, Any]] = queue.Queue()
    with (
        _serving(clip.read_bytes(), reports) as url,
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile,
    ):
        browser = subprocess.Popen(
            [program, *FLAGS, f"--user-data-dir={profile}", "--remote-debugging-port=0", url],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            return reports.get(timeout=SECONDS)
        finally:
            browser.terminate()
            try:
                browser.wait(10)
            except subprocess.TimeoutExpired:
                browser.kill()
                browser.wait()


@contextlib.contextmanager
def _serving(clip: bytes, reports: queue.Queue[dict[str, Any]]) -> Iterator[str]:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/":
                self._send(200, "text/html", PAGE)
            elif self.path == "/clip.mp4":
                self._send_clip()
            else:
                self._send(404, "text/plain", b"")

        def do_POST(self) -> None:
            reports.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self._send(200, "text/plain", b"")

        def _send_clip(self) -> None:
            start, end = 0, len(clip)
            asked = self.headers.get("Range", "")
            if asked.startswith("bytes="):
                first, _, last = asked[6:].partition("-")
                start, end = int(first), int(last) + 1 if last else end
                extra = {"Content-Range": f"bytes {start}-{end - 1}/{len(clip)}"}
            self._send(206 if asked else 200, "video/mp4", clip[start:end], **(extra if asked else {}))

        def _send(self, status: int, kind: str, body: bytes, **headers: str) -> None:
            self.send_response(status)
            for name, value in {
                "Content-Type": kind,
                "Content-Length": str(len(body)),
                "Accept-Ranges": "bytes",
            }.items():
                self.send_header(name, value)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
