"""The recorder's recovery of what a crash left, as something that may itself be killed anywhere and repeated.

Three streams that nobody records any more, each with a run that nobody ended: one was cut in the middle of a fragment,
one lacks only its renaming, one never had a unit. `recover` is what a worker does at its start.
"""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any
from uuid import UUID

from recorder.leavings import settle_orphans
from recorder.segmenter import Begin, Finish, Fragment, Segmenter
from storage.facts import RunFact, encode_run
from storage.spool import Spool
from tests.support.encoded import made_up, mapping_at, small_config
from vms.model import Origin, RunClock, RunInfo
from vms.site import Site

START_NS = 1_790_000_000_000_000_000
UNITS = [made_up(n * 3600, key=n % 50 == 0, config=small_config()) for n in range(150)]


def prepare(data: Path) -> None:
    """A data folder with the leavings of three streams."""
    site = Site.create(data, {})
    spool = Spool(site.spool)
    spool.prepare()
    for number in range(3):
        stream, run_id = UUID(int=0xA0 + number, version=4), UUID(int=0xB0 + number, version=4)
        run = RunInfo(run_id, stream, Origin.LIVE, "rejestrator-1", 0, RunClock.ARRIVAL, START_NS)
        segmenter = Segmenter(run, mapping_at)
        actions = [a for unit in UNITS for a in segmenter.push(unit)] + segmenter.flush()
        written = [b"".join(a.buffers) for a in actions if isinstance(a, Begin | Fragment | Finish)]
        content = (b"".join(written)[: -len(written[-1]) - 20], b"".join(written), written[0])[number]
        (spool.open_path / f"{stream}-{run_id}-0.part").write_bytes(content)
        (spool.facts_path / f"run-{run_id}.json").write_bytes(encode_run(RunFact(run)))


async def recover(data: Path) -> None:
    """What a worker does at its start about streams that nobody records; returns once it is on disk."""
    site = Site.open(data)
    spool = Spool(site.spool)
    spool.prepare()
    await settle_orphans(spool, lambda _stream: True, time.time_ns())
    await spool.close()


def state(data: Path) -> dict[str, Any]:
    """What of it is on disk, but for the names of gaps and the moment they end, which is that of the restart."""
    spool = Spool(Site.open(data).spool)
    return {
        "parts": sorted(part.path.name for part in spool.parts()),
        "sealed": {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(spool.sealed_path.iterdir())},
        "facts": [str(sealed.facts) for sealed in spool.sealed()],
        "runs": sorted(str(fact) for _, fact in spool.runs()),
        "gaps": sorted([str(g.stream_id), g.start_ns, g.reason, g.end_ns is not None] for _, g in spool.gaps()),
    }
