"""R-03, R-04: a store that fails in every way, and what it cost: no picture, and no object lost or doubled.

Usage: python -m tests.support.store_run --seconds 600 --cameras 40 [--faults away,error,…] [--server minio] [--seed N]
                                         [--json FILE]
       python -m tests.support.store_run --merge FILE…

Recorder and archiver are real processes, the store is a real server behind `unreliable_proxy`. Each fault lasts
`--seconds`; meanwhile timeline and export are asked for, afterwards the backlog must drain by itself. In the end every
picture is accounted for by what the simulator sent, and catalogue, store and spool are checked byte by byte. A run can
be split by faults; seeds differ, results merge.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.scrape import Page, scrape, spread
from storage.catalogue import Catalogue
from storage.catalogue.schema import migrate
from storage.check import check_site
from storage.check_findings import Depth
from storage.check_looks import Places
from storage.export import Wish, export
from storage.objects import embedded, open_store
from storage.objects.base import ObjectStore
from storage.objects.embedded import EmbeddedServer
from storage.reader import Reader
from storage.spool import Spool
from storage.stores import object_store_info, spool_info
from tests.support.recorder_site import AccountedSite, recorder_site
from tests.support.split_run import add_up, conclude, merged, options
from tests.support.unreliable_proxy import Mishap, UnreliableProxy
from vms.errors import StoreError
from vms.model import Camera
from vms.simulate import prepare_small
from vms.status.site_status import ArchiverLine, read_report
from vms.timeline import TimeRange

SECOND = 1_000_000_000
SEGMENT_SECONDS = 4
DRAIN_SECONDS = 300.0
ASK_SECONDS = 5.0  # between looks at timeline and export
FRESH_NS = 15 * SECOND  # the timeline must reach so near to now while the store is away
SERVERS = {"seaweedfs": embedded.start_seaweedfs, "minio": embedded.start_minio}
ALONE = (Mishap.LOSE_ANSWER, Mishap.LATE_ERROR, Mishap.ERROR, Mishap.CUT_REQUEST, Mishap.CUT_ANSWER, Mishap.DUPLICATE)
FAULTS: dict[str, Mapping[Mishap, float]] = {  # fault → how likely what befalls each request
    "away": {},
    "error": {Mishap.ERROR: 1.0},
    "silence": {Mishap.SILENCE: 1.0},
    "delay": {Mishap.DELAY: 1.0},
    "truncate": {Mishap.CUT_REQUEST: 0.2, Mishap.CUT_ANSWER: 0.2},
    "lose": {Mishap.LOSE_ANSWER: 0.2, Mishap.LATE_ERROR: 0.1},
    "duplicate": {Mishap.DUPLICATE: 0.5},
    "mixed": dict.fromkeys(ALONE, 0.05),
}
TOTAL = ("away", "error", "silence")


@dataclass(slots=True)
class Fault:
    """What one fault did."""

    seconds: float = 0.0
    befell: dict[str, int] = field(default_factory=dict)
    worst_backlog_segments: int = 0
    worst_backlog_mb: float = 0.0
    worst_drain_s: float = 0.0  # until everything sealed before its end was in the store
    drained_mb: float = 0.0
    exports: int = 0
    refused_exports: int = 0  # of footage that had reached a store which then did not answer
    worst_lag_p99_ms: dict[str, float] = field(default_factory=dict)  # of the recorder's loop: calm, fault, drain


@dataclass(slots=True)
class Figures:
    """What a run found. Merged: worst of the worst, sums of the rest."""

    seeds: list[int] = field(default_factory=list)
    servers: list[str] = field(default_factory=list)
    cameras: int = 0
    faults: dict[str, dict[str, Any]] = field(default_factory=dict)
    pictures: int = 0
    lost: int = 0
    segments: int = 0
    objects: int = 0
    checked_mb: float = 0.0
    problems: list[str] = field(default_factory=list)


def merge(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Several runs' results as one."""
    whole = merged(Figures(), parts, {"cameras"})
    whole["servers"] = sorted(set(whole["servers"]))
    return whole


class StoreRun:
    """One site under faults."""

    def __init__(
        self, live: AccountedSite, proxy: UnreliableProxy, server: EmbeddedServer, rng: random.Random, figures: Figures
    ) -> None:
        self._live, self._proxy, self._server, self._rng, self.figures = live, proxy, server, rng, figures

    def report(self) -> ArchiverLine | None:
        return read_report(self._live.site.run / "archiver.json")

    async def suffer(self, name: str, seconds: float, calm: float) -> None:
        """Seconds of calm, one fault, its end, and the drain."""
        fault = Fault(seconds=seconds)
        befell = self._proxy.befell.copy()
        at_first = self._page()
        await asyncio.sleep(calm)
        before = self._page()
        self._proxy.misbehave(FAULTS[name], self._rng)
        until = time.monotonic() + seconds
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._ask(name, fault, until))
                tasks.create_task(self._watch(fault, until))
        finally:
            self._proxy.behave()
        after = self._page()
        await self._drain(name, fault)
        drained = self._page()
        pages = {"calm": (at_first, before), "fault": (before, after), "drain": (after, drained)}
        fault.worst_lag_p99_ms = {k: round(spread(*p, "loop_lag_seconds").p99 * 1e3, 1) for k, p in pages.items()}
        fault.befell = {str(k): v for k, v in (self._proxy.befell - befell).items() if k is not Mishap.NONE}
        add_up(self.figures.faults.setdefault(name, {}), asdict(fault))

    def _page(self) -> Page:
        return scrape(self._live.site.run / "recorder-0.metrics")

    async def _watch(self, fault: Fault, until: float) -> None:
        while time.monotonic() < until:
            if (report := self.report()) is not None:
                fault.worst_backlog_segments = max(fault.worst_backlog_segments, report.backlog_segments)
                fault.worst_backlog_mb = max(fault.worst_backlog_mb, round(report.backlog_bytes / 1e6, 1))
            await asyncio.sleep(0.2)

    async def _ask(self, name: str, fault: Fault, until: float) -> None:
        """Timeline and export of the last seconds, while the store cannot be relied on."""
        site = self._live.site
        straight = open_store(site.settings.store)
        spool = Spool(site.spool)
        async with Catalogue(site.catalogue_url, site.sealer) as catalogue:
            reader = Reader(catalogue, spool, {object_store_info(site.settings.store).name: straight})
            began_ns = time.time_ns()
            while time.monotonic() < until:
                index = self._rng.randrange(len(self._live.cameras))
                stream, now = self._live.stream_of(index), time.time_ns()
                within = TimeRange(now - 3 * FRESH_NS, now)
                timeline = await reader.timeline(stream, within, now)
                reach = max((span.range.end_ns for span in timeline.spans), default=0)
                if now - reach > FRESH_NS:
                    self.figures.problems.append(
                        f"{name}: the timeline of camera {index} ends {(now - reach) // SECOND} s ago"
                    )
                if reach - began_ns > 4 * SECOND:
                    await self._export(name, fault, reader, Wish(stream, TimeRange(reach - 3 * SECOND, reach)))
                await asyncio.sleep(min(ASK_SECONDS, max(0.0, until - time.monotonic())))
        await spool.close()
        await straight.close()

    async def _export(self, name: str, fault: Fault, reader: Reader, wish: Wish) -> None:
        """Of footage that is in the spool as long as nothing at all reaches the store."""
        with tempfile.TemporaryDirectory() as folder:
            try:
                done = await export(reader, wish, Path(folder, "k.mp4"), now_ns=time.time_ns(), about={})
            except StoreError as error:
                fault.refused_exports += 1
                if name in TOTAL:
                    self.figures.problems.append(f"{name}: footage of the outage cannot be exported: {error}")
                return
        fault.exports += 1
        if not sum(file.pictures for file in done.files):
            self.figures.problems.append(f"{name}: an export is empty")

    async def _drain(self, name: str, fault: Fault) -> None:
        """Until everything that was sealed by now is in the store."""
        began, now = time.monotonic(), time.time_ns()
        first = self.report()
        while time.monotonic() - began < DRAIN_SECONDS:
            report = self.report()
            fresh = report is not None and report.at_ns > now
            if report is not None and fresh and (report.oldest_start_ns is None or report.oldest_start_ns > now):
                fault.worst_drain_s = round(time.monotonic() - began, 1)
                if first is not None:
                    fault.drained_mb = round((report.uploaded_bytes - first.uploaded_bytes) / 1e6, 1)
                return
            await asyncio.sleep(0.2)
        self.figures.problems.append(f"{name}: the backlog did not drain within {DRAIN_SECONDS:.0f} s: {self.report()}")

    async def settle(self) -> None:
        """With the recorder ended: until the spool has no segment left."""
        began = time.monotonic()
        while any(self._live.site.spool.joinpath("sealed").iterdir()):
            if time.monotonic() - began > DRAIN_SECONDS:
                self.figures.problems.append("segments are left in the spool after the end")
                return
            await asyncio.sleep(0.2)

    async def judge(self) -> None:
        """Every object once, with the digest that was sealed; and copies of them for the account."""
        site, figures = self._live.site, self.figures
        store, spool = open_store(site.settings.store), Spool(site.spool)
        streams = [self._live.stream_of(i) for i in range(len(self._live.cameras))]
        async with Catalogue(site.catalogue_url, site.sealer) as catalogue:
            info = object_store_info(site.settings.store)
            recorded = await catalogue.segments(streams, TimeRange(0, 2**62))
            figures.segments += len(recorded)
            keys = [item.key async for item in store.list("segments/")]
            figures.objects += len(keys)
            if len(keys) != len(recorded):
                figures.problems.append(f"{len(keys)} objects for {len(recorded)} segments")
            for segment in recorded:
                copies = [c for c in segment.copies if c.store == info.name]
                if len(copies) != 1 or len(segment.copies) != 1:
                    figures.problems.append(f"segment {segment.ref} has the copies {segment.copies}")
                    continue
                data = await _fetch(store, copies[0].key, site.path / "store" / copies[0].key)
                if hashlib.sha256(data).digest() != segment.digest:
                    figures.problems.append(f"{copies[0].key} is not what was sealed")
            host = site.settings.site.host
            places = Places(catalogue, spool, store, spool_name=spool_info(host).name, store_name=info.name, host=host)
            found = await check_site(places, Depth.DIGEST, settle_seconds=0.5)
            figures.checked_mb += round(found.read_bytes / 1e6, 1)
            figures.problems += [f"check: {f.kind} {f.key} {f.detail}" for f in found.findings[:20]]
        await spool.close()
        await store.close()

    def account(self) -> None:
        """Every picture sent from where recording was seen to where it was stopped is stored, once and unchanged."""
        accounts, stored = self._live.accounts(range(len(self._live.cameras)), decode=lambda n: n % 50 == 0)
        self.figures.problems += [f"not sound: {what}" for what in stored.undecodable[:20]]
        for number, account in accounts.items():
            self.figures.pictures += account.stored
            self.figures.lost += sum(outage.pictures for outage in account.outages)
            self.figures.problems += [f"camera {number}: {problem}" for problem in account.problems]
            self.figures.problems += [
                f"camera {number}: {outage.pictures} pictures are missing" for outage in account.outages
            ]


async def _fetch(store: ObjectStore, key: str, path: Path) -> bytes:
    data = b"".join([block async for block in store.get(key)])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return data


async def _register(live: AccountedSite) -> None:
    """What the catalogue must know of the cameras before the archiver may register their footage."""
    await migrate(live.site.catalogue_url)
    async with Catalogue(live.site.catalogue_url, live.site.sealer) as catalogue:
        profile = await catalogue.default_profile()
        for one in live.cameras:
            streams = tuple(replace(stream, camera_id=one.camera_id) for stream in one.streams)
            camera = Camera(one.camera_id, one.number, one.name, profile.id, streams, source=one.source)
            await catalogue.add_camera(camera, at_ns=time.time_ns())


async def _whole(server: EmbeddedServer, names: Sequence[str], seconds: float, calm: float, figures: Figures) -> None:
    cameras = figures.cameras
    host, _, port = server.location.netloc.rpartition(":")
    async with UnreliableProxy(host, int(port)) as proxy:
        location = server.location
        settings = (
            f'[site]\nhost = "rejestrator"\n[store]\nkind = "s3"\nendpoint = "127.0.0.1:{proxy.port}"\ntls = false\n'
            f'bucket = "{location.bucket}"\naccess_key = "{location.access_key}"\nsecret_key = "{location.secret_key}"\n'
        )
        footage = (await asyncio.to_thread(prepare_small))[:2]
        manager = recorder_site(footage, cameras, segment_seconds=SEGMENT_SECONDS, settings=settings)
        live = await asyncio.to_thread(manager.__enter__)
        try:
            await _register(live)
            live.start("archiver", "storage.archive_process")
            await live.recording(range(cameras), 90.0)
            run = StoreRun(live, proxy, server, random.Random(figures.seeds[0]), figures)
            for name in names:
                await run.suffer(name, seconds, calm)
            await asyncio.to_thread(live.stop, "host")
            await run.settle()
            await asyncio.to_thread(live.stop, "archiver")
            await run.judge()
            await asyncio.to_thread(run.account)
        finally:
            await asyncio.to_thread(manager.__exit__, None, None, None)


def run(  # noqa: PLR0917
    kind: str, names: Sequence[str], seconds: float, cameras: int, seed: int, calm: float = 10.0
) -> Figures:
    """A whole run. Blocks."""
    with tempfile.TemporaryDirectory(prefix="stroz-w-") as folder, SERVERS[kind](Path(folder, "data")) as server:
        figures = Figures([seed], [kind], cameras)
        asyncio.run(_whole(server, names, seconds, calm, figures))
        return figures


def main() -> int:
    parser = options("store_run", __doc__)
    parser.add_argument("--seconds", type=float, default=600.0, help="of each fault")
    parser.add_argument("--cameras", type=int, default=40)
    parser.add_argument("--faults", default=",".join(FAULTS), help="of: " + ", ".join(FAULTS))
    parser.add_argument("--server", choices=SERVERS, default="seaweedfs")
    arguments = parser.parse_args()

    def under_faults() -> dict[str, Any]:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
        names = arguments.faults.split(",")
        return asdict(run(arguments.server, names, arguments.seconds, arguments.cameras, arguments.seed))

    return conclude(arguments, merge, under_faults)


if __name__ == "__main__":
    sys.exit(main())
