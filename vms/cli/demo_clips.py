"""The clips of the demo: exported by the very command a person would type, and named with a way to play them."""

from __future__ import annotations

import asyncio
import json
import shlex
import time
from collections.abc import Callable
from pathlib import Path

from vms.cli.demo_footage import CODEC_NAMES
from vms.localtime import format_utc
from vms.processes import python_module
from vms.site import Site
from vms.status.site_status import Level, SiteStatus

CLIP_SECONDS = 20.0
LEAST_SECONDS = 3.0
AFTER_START_NS = 1_000_000_000
EXPORT_SECONDS = 60.0


class Clips:
    """Exports once there is footage enough, beside everything else; `finish` waits for it, or does it at the end."""

    def __init__(self, site: Site, folder: Path, say: Callable[[str], None], seconds: float | None) -> None:
        self._site = site
        self._folder = folder
        self._say = say
        self._length_s = CLIP_SECONDS if seconds is None else min(CLIP_SECONDS, max(LEAST_SECONDS, seconds - 10.0))
        self._since_ns: int | None = None  # since when both cameras record
        self._task: asyncio.Task[None] | None = None
        self._files: list[Path] = []
        self.complete = False

    def consider(self, status: SiteStatus) -> None:
        """Begin the export when both cameras have recorded long enough."""
        if self._task is not None:
            return
        good = {s.number for s in status.recorded if s.level is Level.GOOD}
        if self._since_ns is None and good >= CODEC_NAMES.keys():
            self._since_ns = status.at_ns
        if self._since_ns is not None and status.at_ns - self._since_ns >= self._length_s * 1e9:
            self._begin()

    async def finish(self, *, asked_to_end: bool) -> None:
        """Wait for the clips; export what there is when there was no time before. Too little is a fault unless asked for."""
        if self._task is None:
            if self._since_ns is None or time.time_ns() - self._since_ns < LEAST_SECONDS * 1e9:
                self._say("ended too soon for clips")
                self.complete = asked_to_end
                return
            self._begin()
        assert self._task is not None
        await self._task

    def tell(self) -> None:
        """Name the files and how to play them."""
        for file in self._files:
            self._say(f"clip: ffplay -autoexit {shlex.quote(str(file))}")

    def _begin(self) -> None:
        assert self._since_ns is not None
        start_ns, end_ns = self._since_ns + AFTER_START_NS, time.time_ns() - AFTER_START_NS
        self._task = asyncio.create_task(self._export_all(start_ns, end_ns), name="clips")

    async def _export_all(self, start_ns: int, end_ns: int) -> None:
        self._folder.mkdir(exist_ok=True)
        results = [await self._export(number, codec, start_ns, end_ns) for number, codec in CODEC_NAMES.items()]
        self.complete = all(results)
        self.tell()

    async def _export(self, number: int, codec: str, start_ns: int, end_ns: int) -> bool:
        output = self._folder / f"camera-{number}-{codec}.mp4"
        arguments = (
            "export", str(number), "--from", format_utc(start_ns), "--to", format_utc(end_ns), "-o", str(output),
            "--reason", "vms demo", "--json",
        )  # fmt: skip
        process = await asyncio.create_subprocess_exec(
            *python_module("vms.cli", "--data", str(self._site.path), *arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # the terminal's Ctrl-C is for us
        )
        try:
            async with asyncio.timeout(EXPORT_SECONDS):
                out, err = await process.communicate()
        except TimeoutError:
            self._say(f"the clip of camera {number} took longer than {EXPORT_SECONDS:.0f} s")
            return False
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0:
            why = (err.decode(errors="replace").strip().splitlines() or ["no reason given"])[-1]
            self._say(f"the clip of camera {number} could not be exported: {why[:500]}")
            return False
        self._files += [Path(one["file"]) for one in json.loads(out)["files"]]
        return True
