"""A spool with real sealed segments, and a catalogue that knows their camera: what the archiver begins with."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID, uuid4

from storage.catalogue import Catalogue, StoreInfo, StoreKind, migrate, sqlite_url
from storage.facts import RunFact
from storage.spool import Spool
from tests.support.encoded import made_up, small_config
from tests.support.footage_rows import PlainSealer, add_camera
from vms.media.digest import first_seal
from vms.media.segment_head import ClockState, SegmentHead
from vms.media.segment_writer import SegmentWriter
from vms.model import ClockMapping, Origin, RunClock, RunInfo, SegmentFacts

SECOND = 1_000_000_000
HOST = "rejestrator-1"
SPOOL_STORE = StoreInfo(f"spool-{HOST}", StoreKind.SPOOL, HOST)
OBJECT_STORE = StoreInfo("main", StoreKind.FOLDER)
WALL_NS = 1_790_000_000 * SECOND // (3600 * SECOND) * (3600 * SECOND)  # a full hour


@dataclass(slots=True)
class Site:
    """One host: its spool, the catalogue and a camera's stream."""

    spool: Spool
    catalogue: Catalogue
    stream_id: UUID

    def run(self, **changes: object) -> RunInfo:
        plain = RunInfo(uuid4(), self.stream_id, Origin.LIVE, HOST, 0, RunClock.ARRIVAL, WALL_NS)
        return replace(plain, **changes)  # type: ignore[arg-type]

    async def seal(
        self, run: RunInfo, numbers: Sequence[int] = (0,), *, frames: int = 50, size: int = 400, seconds: int = 60
    ) -> list[SegmentFacts]:
        """Seal segments of a run, and write its fact file as it stands."""
        made = []
        for number in numbers:
            data, facts = segment_of(run, number, frames=frames, size=size, seconds=seconds)
            opened = self.spool.open_segment(run.stream_id, run.id, number)
            self.spool.write(opened, [data])
            await self.spool.seal(opened, facts)
            made.append(facts)
        self.spool.put_run(RunFact(run))
        await self.spool.drained()
        return made

    def files(self) -> list[str]:
        return sorted(path.name for path in self.spool.sealed_path.iterdir())

    def facts(self) -> list[str]:
        return sorted(path.name for path in self.spool.facts_path.iterdir())

    async def close(self) -> None:
        await self.spool.close()
        await self.catalogue.close()


def segment_of(
    run: RunInfo, number: int, *, frames: int = 50, size: int = 400, seconds: int = 60
) -> tuple[bytes, SegmentFacts]:
    """A whole segment file of made-up pictures that lasts `seconds`, and its facts."""
    start = number * seconds * 90_000
    config = small_config()
    mapping = ClockMapping(0, run.start_ns, 90_000)
    before = bytes(32) if number else first_seal(run.stream_id, run.host, run.epoch, run.origin, run.id)
    head = SegmentHead(
        run.stream_id, run.id, number, run.origin, run.host, run.epoch, run.clock, mapping, 0, start, start, True, before
    )  # fmt: skip
    writer = SegmentWriter(head, config)
    step = seconds * 90_000 // frames
    units = [made_up(start + i * step, key=i == 0, config=config, size=size) for i in range(frames)]
    buffers = [*writer.begin(), *writer.fragment([(unit, unit.pts, step) for unit in units])]
    last, facts = writer.finish(start + seconds * 90_000, ClockState())
    data = b"".join([*buffers, *last])
    assert facts.digest == hashlib.sha256(data).digest()
    return data, facts


_template: list[tuple[bytes, UUID]] = []  # a migrated database with one camera, and its stream; made once a process


async def open_site(folder: Path) -> Site:
    """A new site in `folder` with one camera; `close` it."""
    path = folder / "catalogue.db"
    url = sqlite_url(path)
    if not _template:
        await migrate(url)
        async with Catalogue(url, PlainSealer()) as made:
            camera = await add_camera(made, 1, at_ns=WALL_NS)
        _template.append((path.read_bytes(), camera.streams[0].id))
    database, stream_id = _template[0]
    path.write_bytes(database)
    spool = Spool(folder / "spool")
    spool.prepare()
    return Site(spool, Catalogue(url, PlainSealer()), stream_id)
