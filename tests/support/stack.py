"""A small site that runs: recorder worker and archiver on the test's own loop, catalogue and reader at hand.

Real modules throughout, short segments, a folder store. Nothing sleeps for a fixed time: `until` polls with a deadline.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from recorder.worker import run_worker
from storage.archive_process import run_archiver
from storage.catalogue import Catalogue, RecordedSegment, StreamTimeline
from storage.catalogue.schema import migrate
from storage.export import Export, Wish, export
from storage.objects import ObjectStore, open_store
from storage.reader import Reader
from storage.spool import Spool
from storage.stores import object_store_info
from tests.support.waiting import until
from vms.assignment import assign, write_assignment
from vms.errors import VmsError
from vms.feed import FeedClient
from vms.media.boxes import BytesSource
from vms.media.segment_reader import SegmentReader
from vms.model import Camera, CodecConfig, Gap, LegalProfile, SourceKind, Stream, StreamKind
from vms.site import Site
from vms.timeline import TimeRange

SECOND = 1_000_000_000
MS = 1_000_000
ALL = TimeRange(0, 2**62)


@dataclass(frozen=True, slots=True)
class Recorded:
    """One access unit as it stands in a stored segment."""

    data: bytes
    pts: int
    capture_ns: int
    key: bool
    damaged: bool
    config: CodecConfig
    segment: RecordedSegment


@dataclass
class Stack:
    """A site with its recorder and archiver. Cameras are added before or while it records."""

    site: Site
    catalogue: Catalogue
    spool: Spool
    store: ObjectStore
    reader: Reader
    profile: LegalProfile
    cameras: dict[str, Camera] = field(default_factory=dict)
    _tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    async def add(
        self,
        name: str,
        url: str,
        *,
        sub: str = "",
        audio: bool = False,
        record_sub: bool = False,
        profile: LegalProfile | None = None,
        **fields: Any,
    ) -> Camera:
        """Register a camera; it is recorded once `assign` was called or the recorder starts."""
        camera_id = uuid4()
        streams = [Stream(uuid4(), camera_id, StreamKind.MAIN, url, True)]
        if sub:
            streams.append(Stream(uuid4(), camera_id, StreamKind.SUB, sub, record_sub))
        if audio:
            streams.append(Stream(uuid4(), camera_id, StreamKind.AUDIO, url, True))
        plain = Camera(
            camera_id, len(self.cameras) + 1, name, (profile or self.profile).id, tuple(streams), source=SourceKind.RTSP
        )
        camera = replace(plain, **fields)
        await self.catalogue.add_camera(camera, at_ns=time.time_ns())
        self.cameras[name] = camera
        return camera

    async def assign(self) -> None:
        """Write the assignment that the catalogue now asks for."""
        profiles = {p.id: p for p in await self.catalogue.profiles()}
        wanted = assign(await self.catalogue.cameras(), profiles, await self.catalogue.awaited())
        write_assignment(self.site.assignment_file, wanted, self.site.sealer)

    async def start(self) -> None:
        """Recorder and archiver, over the cameras there are."""
        await self.assign()
        self._tasks["recorder"] = asyncio.create_task(run_worker(self.site, 0, 1), name="test recorder")
        self._tasks["archiver"] = asyncio.create_task(run_archiver(self.site), name="test archiver")
        await until(lambda: (self.site.run / "recorder-0.sock").exists() or self._ended(), 10, "the recorder's start")

    def _ended(self) -> bool:
        for task in self._tasks.values():
            if task.done():
                task.result()
        return False

    async def stop_recorder(self) -> None:
        """End the recorder as `vms up` does: segments are sealed, gaps say why."""
        await self._end("recorder")

    async def _end(self, name: str) -> None:
        task = self._tasks.pop(name, None)
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def stop(self) -> None:
        """Both, the archiver only after everything is in the store and known to the catalogue."""
        await self.stop_recorder()
        await self.archived()
        await self._end("archiver")

    async def abort(self) -> None:
        for name in ("recorder", "archiver"):
            await self._end(name)

    async def archived(self) -> None:
        """Wait until no sealed segment is left in the spool and the catalogue knows every gap as the spool does."""

        async def done() -> bool:
            self._ended()
            if self.spool.sealed():
                return False
            here = {gap for _, gap in self.spool.gaps()}
            return here <= set(await self.catalogue.gaps([s.id for s in self.streams()], 0, 2**62))

        await until(done, 30, "archiving")

    def streams(self) -> list[Stream]:
        return [stream for camera in self.cameras.values() for stream in camera.streams]

    def stream(self, name: str, kind: StreamKind = StreamKind.MAIN) -> UUID:
        """Id of a camera's stream."""
        return next(s.id for s in self.cameras[name].streams if s.kind is kind)

    async def states(self) -> dict[UUID, dict[str, Any]]:
        """What the recorder says of every stream, as `vms status` asks for it."""
        self._ended()
        try:
            found = await FeedClient(self.site.run / "recorder-0.sock").states()
        except VmsError:
            return {}
        return {UUID(state["stream_id"]): state for state in found}

    async def state(self, name: str, kind: StreamKind = StreamKind.MAIN) -> dict[str, Any]:
        return (await self.states()).get(self.stream(name, kind), {})

    async def recording(self, *names: str, seconds: float = 15.0) -> None:
        """Wait until these cameras (all, when none is named) are being recorded."""
        wanted = [self.stream(name) for name in names or self.cameras]

        async def all_record() -> bool:
            states = await self.states()
            return all(states.get(stream, {}).get("state") == "recording" for stream in wanted)

        await until(all_record, seconds, f"recording of {', '.join(names) or 'all cameras'}")

    async def recorded_for(self, seconds: float, *names: str) -> None:
        """Wait until so much media time is on the timeline of each of these cameras (of all)."""

        async def enough() -> bool:
            for name in names or self.cameras:
                timeline = await self.timeline(name)
                if sum(span.range.duration_ns for span in timeline.spans) < seconds * SECOND:
                    return False
            return True

        await until(enough, seconds + 20, f"{seconds} s of {', '.join(names) or 'all cameras'}")

    async def timeline(
        self, name: str, within: TimeRange | None = None, kind: StreamKind = StreamKind.MAIN
    ) -> StreamTimeline:
        return await self.reader.timeline(self.stream(name, kind), within or ALL, time.time_ns())

    async def gaps(self, name: str, kind: StreamKind = StreamKind.MAIN) -> list[Gap]:
        """Every gap fact of the stream, from spool and catalogue, by start; the newest statement of each."""
        stream_id = self.stream(name, kind)
        known = {gap.id: gap for gap in await self.catalogue.gaps([stream_id], 0, 2**62)}
        known |= {gap.id: gap for _, gap in self.spool.gaps() if gap.stream_id == stream_id}
        return sorted(known.values(), key=lambda gap: (gap.start_ns, gap.end_ns or 2**62))

    async def segments(self, name: str, kind: StreamKind = StreamKind.MAIN) -> list[RecordedSegment]:
        return await self.reader.segments(self.stream(name, kind), ALL)

    async def export(self, name: str, within: TimeRange, output: Path, **wishes: Any) -> Export:
        """What `vms export` writes."""
        wish = Wish(self.stream(name), within, **wishes)
        return await export(self.reader, wish, output, now_ns=time.time_ns(), about={"camera": {"name": name}})

    async def stored(self, segment: RecordedSegment) -> bytes:
        """The bytes of a segment, from the object store and nowhere else."""
        name = object_store_info(self.site.settings.store).name
        (copy,) = [c for c in segment.copies if c.store == name]
        return b"".join([block async for block in self.store.get(copy.key)])

    async def units(self, name: str, kind: StreamKind = StreamKind.MAIN) -> list[Recorded]:
        """Every access unit of the stream's segments in the object store, in decoding order of each run."""
        found = []
        for segment in await self.segments(name, kind):
            reader = SegmentReader(BytesSource(await self.stored(segment)))
            capture_ns = reader.head.mapping.capture_ns
            found += [
                Recorded(u.data, u.pts, capture_ns(u.pts), u.key, u.damaged, u.config, segment) for u in reader.units()
            ]
        return found


@asynccontextmanager
async def running_stack(*, segment_seconds: int = 2, audio: bool = False) -> AsyncIterator[Stack]:
    """A site in a short temporary path (Unix sockets have short names), gone afterwards."""
    memory = Path("/dev/shm")  # no disk between the test and the clock, where there is such a place
    folder = Path(tempfile.mkdtemp(prefix="stroz-", dir=memory if os.access(memory, os.W_OK) else None))
    try:
        path = folder / "site"
        path.mkdir(mode=0o700)
        (path / "site.toml").write_text(
            f"[recorder]\nsegment_seconds = {segment_seconds}\nstall_timeout_seconds = 5\n"
            f'[spool]\nreserve_bytes = 67108864\n[site]\nhost = "rejestrator"\n'
        )
        site = Site.create(path, {})
        await migrate(site.catalogue_url)
        async with contextlib.AsyncExitStack() as undo:
            catalogue = await undo.enter_async_context(Catalogue(site.catalogue_url, site.sealer))
            profile = LegalProfile(uuid4(), "straż miejska", "art. 11", 30, audio)
            await catalogue.put_profile(profile)
            spool = Spool(site.spool)
            undo.push_async_callback(spool.close)
            spool.prepare()
            store = open_store(site.settings.store)
            undo.push_async_callback(store.close)
            name = object_store_info(site.settings.store).name
            reader = Reader(catalogue, spool, {name: store})
            stack = Stack(site, catalogue, spool, store, reader, profile)
            undo.push_async_callback(stack.abort)
            yield stack
    finally:
        shutil.rmtree(folder, ignore_errors=True)
