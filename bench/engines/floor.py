"""The floor: the same reads and the same writes as a recorder, and nothing in between.

Usage: python -m bench.engines.floor FOLDER URL…   Records raw interleaved bytes, 256 KiB a write, until SIGTERM.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import sys
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import uvloop

BUFFER_BYTES = 256 * 1024


class RawRecorder(asyncio.BufferedProtocol):
    """Fills its buffer from the socket and writes it out when it is full."""

    def __init__(self, path: Path) -> None:
        self._buffer = memoryview(bytearray(BUFFER_BYTES))
        self._filled = 0
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio names it
        return self._buffer[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        self._filled += nbytes
        if self._filled == BUFFER_BYTES:
            os.write(self._file, self._buffer)
            self._filled = 0


async def record(url: str, path: Path) -> asyncio.StreamWriter:
    """Shake hands as a client would, then let the bytes flow."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)

    numbers = itertools.count(1)

    async def ask(method: str, target: str, *headers: str) -> str:
        writer.write("\r\n".join([f"{method} {target} RTSP/1.0", f"CSeq: {next(numbers)}", *headers, "", ""]).encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next((int(x.split(":")[1]) for x in head.splitlines() if x.lower().startswith("content-length")), 0)
        return head + (await reader.readexactly(length)).decode()

    answer = await ask("DESCRIBE", url, "Accept: application/sdp")
    base = next((x.split(":", 1)[1].strip() for x in answer.splitlines() if x.lower().startswith("content-base")), url)
    video = answer[answer.index("m=video") :]
    control = next(x.split(":", 1)[1].strip() for x in video.splitlines() if x.startswith("a=control"))
    track = control if control.startswith("rtsp://") else f"{base.rstrip('/')}/{control}"
    answer = await ask("SETUP", track, "Transport: RTP/AVP/TCP;unicast;interleaved=0-1")
    session = next(
        x.split(":", 1)[1].split(";")[0].strip() for x in answer.splitlines() if x.lower().startswith("session")
    )
    await ask("PLAY", base, f"Session: {session}", "Range: npt=0.000-")
    transport = writer.transport
    transport.set_protocol(RawRecorder(path))
    # The reader before may have asked for a pause when the first picture came together with the answer to PLAY.
    with contextlib.suppress(RuntimeError):
        cast("asyncio.ReadTransport", transport).resume_reading()
    return writer  # to be kept: it closes its connection when it is collected


async def main() -> None:
    folder = Path(sys.argv[1])
    kept = [await record(url, folder / f"{i}.raw") for i, url in enumerate(sys.argv[2:])]
    print("recording", len(kept), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
