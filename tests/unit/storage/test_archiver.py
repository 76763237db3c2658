"""The archiver on a real spool, a real catalogue and a real folder: every step, every crash point, every refusal."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from storage.archiver import SET_ASIDE_S, Archiver
from storage.catalogue import Copy, CopyState, Registered, Registration
from storage.deleter import Deleter
from storage.facts import RunFact
from storage.journal import HOUR_NS, SETTLE_NS, parse_journal
from storage.objects import FolderStore, journal_key, segment_key
from storage.spool_files import FACTS_ATTRIBUTE
from storage.stores import SpoolCopies, StoreCopies
from tests.support.made_store import made_store
from tests.support.sealed import HOST, OBJECT_STORE, SECOND, SPOOL_STORE, WALL_NS, Site, open_site
from vms.clock import SimulatedClock
from vms.errors import CatalogueUnavailable, ObjectMissing, StoreDenied, StoreError, StoreUnavailable
from vms.metrics import Metrics
from vms.model import Gap, GapReason, SegmentFacts
from vms.timeline import TimeRange

FAR = TimeRange(0, 2**62)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    opened = await open_site(tmp_path)
    yield opened
    await opened.close()


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return made_store(tmp_path / "store")


def archiver_of(site: Site, store: Any, clock: SimulatedClock | None = None, **changes: Any) -> Archiver:
    parts: dict[str, Any] = {"spool": site.spool, "catalogue": site.catalogue, "store": store} | changes
    return Archiver(
        **parts, host=HOST, spool_store=SPOOL_STORE, object_store=OBJECT_STORE, clock=clock or SimulatedClock(WALL_NS)
    )


def key_of(facts: SegmentFacts) -> str:
    return segment_key(facts.stream_id, facts.run_id, facts.number, facts.start_ns)


async def one_pass(archiver: Archiver) -> None:
    await archiver.register_sealed()
    await archiver.upload_pending()
    await archiver.write_journals()


async def locations(site: Site) -> dict[int, list[str]]:
    found = await site.catalogue.segments([site.stream_id], FAR)
    return {segment.number: sorted(copy.store for copy in segment.copies) for segment in found}


async def journals_of(store: FolderStore) -> list[Any]:
    keys = [info.key async for info in store.list("journals/")]
    return [
        parse_journal(await store.read(key, 0, 10_000_000)) for key in sorted(keys, key=lambda key: (len(key), key))
    ]


async def test_what_is_sealed_is_registered_stored_and_forgotten(site: Site, store: FolderStore) -> None:
    made = await site.seal(site.run(), [0, 1, 2])
    archiver = archiver_of(site, store)
    await archiver.register_sealed()
    assert await locations(site) == {n: [SPOOL_STORE.name] for n in range(3)}
    assert (archiver.progress().backlog_segments, archiver.progress().oldest_start_ns) == (3, made[0].start_ns)
    await archiver.upload_pending()
    assert await locations(site) == {n: [OBJECT_STORE.name] for n in range(3)}
    assert site.files() == []
    for facts in made:
        info = await store.head(key_of(facts))
        assert (info.size_bytes, info.digest) == (facts.size_bytes, facts.digest)
    progress = archiver.progress()
    assert (progress.backlog_segments, progress.backlog_bytes, progress.oldest_start_ns) == (0, 0, None)
    assert (progress.uploaded_segments, progress.uploaded_bytes) == (3, sum(f.size_bytes for f in made))
    assert progress.last_upload_s is not None


async def test_footage_is_on_the_timeline_while_the_store_is_away(site: Site, store: FolderStore) -> None:
    made = await site.seal(site.run(), [0, 1])
    away = Failing(store, {"check": StoreUnavailable("no answer")})
    archiver = archiver_of(site, away)
    await archiver.register_sealed()
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await archiver.upload_pending()
    assert await locations(site) == {0: [SPOOL_STORE.name], 1: [SPOOL_STORE.name]}
    assert len(site.files()) == 2
    away.errors.clear()
    await archiver.upload_pending()
    assert site.files() == []
    assert len(made) == archiver.progress().uploaded_segments


async def test_a_store_that_fails_midway_is_one_failure(site: Site, store: FolderStore) -> None:
    await site.seal(site.run(), range(8))
    failing = Failing(store, {"put": StoreUnavailable("503")})
    archiver = archiver_of(site, failing)
    await archiver.register_sealed()
    with pytest.raises(StoreUnavailable):
        await archiver.upload_pending()
    assert failing.calls.count("put") <= 4  # those under way together, not one for each file
    assert len(site.files()) == 8
    assert archiver.progress().set_aside == 0


async def test_oldest_first(site: Site, store: FolderStore) -> None:
    made = await site.seal(site.run(), [3, 1, 2, 0])
    noting = Failing(store, {})
    archiver = archiver_of(site, noting, uploads=1)
    await one_pass(archiver)
    assert noting.keys == [key_of(facts) for facts in sorted(made, key=lambda f: f.start_ns)]


async def test_wrong_bytes_are_set_aside_and_hold_nobody_up(site: Site, store: FolderStore) -> None:
    made = await site.seal(site.run(), [0, 1, 2])
    spoilt = next(path for path in site.spool.sealed_path.iterdir() if path.name.endswith("-1.mp4"))
    data = bytearray(spoilt.read_bytes())
    data[100] ^= 1
    spoilt.write_bytes(data)
    clock = SimulatedClock(WALL_NS)
    archiver = archiver_of(site, store, clock)
    await one_pass(archiver)
    assert site.files() == [spoilt.name]
    assert archiver.progress().set_aside == 1
    with pytest.raises(ObjectMissing):
        await store.head(key_of(made[1]))
    data[100] ^= 1
    spoilt.write_bytes(data)
    await one_pass(archiver)
    assert site.files() == [spoilt.name]  # its time has not come
    clock.advance(round(SET_ASIDE_S * 1e9) + 1)
    await one_pass(archiver)
    assert site.files() == []


async def test_other_bytes_under_the_key_are_never_believed(site: Site, store: FolderStore) -> None:
    (facts,) = await site.seal(site.run())
    await store.put(key_of(facts), b"x", digest=hashlib.sha256(b"x").digest(), size_bytes=1)
    archiver = archiver_of(site, store)
    await one_pass(archiver)
    assert await locations(site) == {0: [SPOOL_STORE.name]}
    assert len(site.files()) == 1
    assert archiver.progress().set_aside == 1


async def test_a_file_nobody_can_read_stays(site: Site, store: FolderStore) -> None:
    await site.seal(site.run(), [0])
    odd = site.spool.sealed_path / f"{site.stream_id}_{WALL_NS}-{uuid4()}-0.mp4"
    odd.write_bytes(b"not a segment")
    archiver = archiver_of(site, store)
    await one_pass(archiver)
    assert site.files() == [odd.name]
    assert archiver.progress().set_aside == 1


async def test_facts_and_run_come_from_the_file_when_nothing_else_knows_them(site: Site, store: FolderStore) -> None:
    run = site.run(epoch=7)
    (facts,) = await site.seal(run)
    for path in site.spool.sealed_path.iterdir():
        os.removexattr(path, FACTS_ATTRIBUTE)
    for path in site.spool.facts_path.iterdir():
        path.unlink()
    await one_pass(archiver_of(site, store))
    (found,) = await site.catalogue.segments([site.stream_id], FAR)
    assert (found.digest, found.seal, found.start_ns, found.end_ns) == (
        facts.digest, facts.seal, facts.start_ns, facts.end_ns,
    )  # fmt: skip
    assert await site.catalogue.runs(site.stream_id, 0, 2**62) == [run]
    assert site.files() == []


async def test_a_stream_the_catalogue_does_not_know_waits_alone(site: Site, store: FolderStore) -> None:
    await site.seal(site.run(), [0])
    stranger = replace(site.run(), stream_id=uuid4())
    await site.seal(stranger, [0, 1])
    site.spool.put_gap(Gap(uuid4(), uuid4(), WALL_NS, WALL_NS + SECOND, GapReason.STALLED))
    await site.spool.drained()
    archiver = archiver_of(site, store)
    await one_pass(archiver)
    await one_pass(archiver)
    assert await locations(site) == {0: [OBJECT_STORE.name]}
    assert all(name.startswith(str(stranger.stream_id)) for name in site.files())
    assert archiver.progress().set_aside == 4  # two segments, a run and a gap


async def test_a_deleted_segment_is_not_brought_back(site: Site, store: FolderStore) -> None:
    run = site.run()
    (facts,) = await site.seal(run)
    (path,) = site.spool.sealed_path.iterdir()
    archiver = archiver_of(site, store)
    await archiver.register_sealed()
    later = facts.end_ns + 31 * 24 * HOUR_NS
    assert (await site.catalogue.condemn_expired(site.stream_id, later, at_ns=later)).segments == 1
    await archiver.upload_pending()
    assert path.exists()  # the deleter's, by its row among the condemned
    again = archiver_of(site, store)
    await one_pass(again)
    assert again.progress().backlog_segments == 0
    assert await locations(site) == {}


async def test_what_was_put_and_never_noted_goes_with_its_segment(site: Site, store: FolderStore) -> None:
    """An archiver died between a put and the row of it, and the segment expired before there was another."""
    (facts,) = await site.seal(site.run())
    (path,) = site.spool.sealed_path.iterdir()
    await archiver_of(site, store).register_sealed()
    await store.put(key_of(facts), path, digest=facts.digest, size_bytes=facts.size_bytes)
    await deleter_of(site, store, facts.end_ns + 31 * 24 * HOUR_NS).run_once()
    assert site.files() == []
    assert [info.key async for info in store.list("segments/")] == []
    assert await site.catalogue.pending_deletions() == 0


async def test_an_upload_under_way_is_not_deleted_before_it_has_arrived(site: Site, store: FolderStore) -> None:
    """Its object goes with the run after, also when the archiver dies before it could note it."""
    (facts,) = await site.seal(site.run())
    later = facts.end_ns + 31 * 24 * HOUR_NS

    class Slow(Failing):
        async def put(self, key: str, *args: Any, **options: Any) -> Any:
            if key.startswith("segments/"):
                done = await deleter_of(site, store, later, archiver).run_once()
                assert (done.removed_objects, done.failed_objects, done.reported_segments) == (1, 1, 0)
                await store.put(key, kept, **options)  # the file was open
                raise Crash
            return await store.put(key, *args, **options)

    kept = next(site.spool.sealed_path.iterdir()).read_bytes()
    archiver = archiver_of(site, Slow(store, {}))
    await archiver.register_sealed()
    with pytest.raises(ExceptionGroup):
        await archiver.upload_pending()
    assert len([info async for info in store.list("segments/")]) == 1
    done = await deleter_of(site, store, later, archiver).run_once()
    assert (done.removed_objects, done.reported_segments) == (1, 1)
    assert [info async for info in store.list("segments/")] == []


def deleter_of(site: Site, store: FolderStore, now_ns: int, archiver: Archiver | None = None) -> Deleter:
    return Deleter(
        site.catalogue,
        {
            SPOOL_STORE.name: SpoolCopies(site.spool),
            OBJECT_STORE.name: StoreCopies(store, archiver.is_uploading if archiver else lambda _key: False),
        },
        clock=SimulatedClock(now_ns),
        uploads={SPOOL_STORE.name: OBJECT_STORE.name},
    )


async def test_an_uncertain_put_is_looked_for_before_it_is_sent_again(site: Site, store: FolderStore) -> None:
    (facts,) = await site.seal(site.run())
    (path,) = site.spool.sealed_path.iterdir()
    await store.put(key_of(facts), path, digest=facts.digest, size_bytes=facts.size_bytes)  # by a process that died
    noting = Failing(store, {})
    await one_pass(archiver_of(site, noting))
    assert noting.calls.count("put") == 0
    assert await locations(site) == {0: [OBJECT_STORE.name]}


async def test_runs_and_gaps_become_rows_when_they_open_and_when_they_close(site: Site, store: FolderStore) -> None:
    run = site.run()
    gap = Gap(uuid4(), site.stream_id, WALL_NS + SECOND, None, GapReason.STALLED)
    site.spool.put_run(RunFact(run))
    site.spool.put_gap(gap)
    await site.spool.drained()
    archiver = archiver_of(site, store)
    await one_pass(archiver)
    assert await site.catalogue.runs(site.stream_id, 0, 2**62) == [run]
    assert await site.catalogue.open_gaps() == [gap]
    run = replace(run, end_ns=WALL_NS + 5 * SECOND, end_reason=GapReason.STALLED)
    gap = replace(gap, end_ns=WALL_NS + 9 * SECOND)
    site.spool.put_run(RunFact(run))
    site.spool.put_gap(gap)
    await site.spool.drained()
    await one_pass(archiver)
    assert await site.catalogue.runs(site.stream_id, 0, 2**62) == [run]
    assert await site.catalogue.gaps([site.stream_id], 0, 2**62) == [gap]
    assert len(site.facts()) == 2  # until a journal states them


async def test_closed_facts_leave_the_spool_once_a_journal_states_them(site: Site, store: FolderStore) -> None:
    clock = SimulatedClock(WALL_NS)
    ended = site.run(end_ns=WALL_NS + 120 * SECOND, end_reason=GapReason.STALLED)
    going_on = site.run(start_ns=WALL_NS + 130 * SECOND)
    made = await site.seal(ended, [0, 1])
    made += await site.seal(going_on, [0])
    gap = Gap(uuid4(), site.stream_id, WALL_NS + 120 * SECOND, WALL_NS + 130 * SECOND, GapReason.STALLED)
    site.spool.put_gap(gap)
    await site.spool.drained()
    archiver = archiver_of(site, store, clock)
    await one_pass(archiver)
    assert await journals_of(store) == []
    clock.advance(HOUR_NS + SETTLE_NS)
    await one_pass(archiver)
    (journal,) = await journals_of(store)
    assert [(fact.run.id, fact.run.end_ns) for fact in journal.runs] == [
        (ended.id, None), (ended.id, ended.end_ns), (going_on.id, None),
    ]  # fmt: skip
    assert journal.gaps == (gap,)
    assert [line.digest for line in journal.segments] == [facts.digest for facts in made]
    assert [line.seal for line in journal.segments] == [facts.seal for facts in made]
    assert site.facts() == [f"run-{going_on.id}.json"]
    (entry,) = await site.catalogue.journals(site.stream_id, 0, 2**62)
    assert (entry.hour_ns, entry.host) == (WALL_NS, HOST)
    for _ in range(2):
        await one_pass(archiver)
        await one_pass(archiver_of(site, store, clock))
    assert len(await journals_of(store)) == 1

    late = await site.seal(going_on, [5])  # found by salvage, say
    await one_pass(archiver)
    first, second = await journals_of(store)
    assert first == journal
    assert [line.digest for line in second.segments] == [late[0].digest]
    assert (second.runs, second.gaps) == ((), ())


@pytest.mark.parametrize("hours_off", [2, 9, 24 * 30])
async def test_hours_an_earlier_process_left_without_journal_are_written(
    site: Site, store: FolderStore, hours_off: int
) -> None:
    run = site.run()
    made = await site.seal(run, [0, 1, 61, 62, 180])  # hours 0, 1 and 3
    await one_pass(archiver_of(site, store))
    assert site.files() == []
    later = archiver_of(site, store, SimulatedClock(WALL_NS + (3 + hours_off) * HOUR_NS))
    for _ in range(2):
        await one_pass(later)
    journals = await journals_of(store)
    assert [((j.hour_ns - WALL_NS) // HOUR_NS, len(j.segments)) for j in journals] == [(0, 2), (1, 2), (3, 1)]
    assert {line.digest for j in journals for line in j.segments} == {facts.digest for facts in made}


async def test_hours_are_written_although_nothing_of_the_stream_is_in_the_spool(site: Site, store: FolderStore) -> None:
    await site.seal(site.run(), [61])
    await one_pass(archiver_of(site, store))
    for path in site.spool.facts_path.iterdir():
        path.unlink()
    await one_pass(archiver_of(site, store, SimulatedClock(WALL_NS + 9 * HOUR_NS)))
    assert [len(journal.segments) for journal in await journals_of(store)] == [1]


async def test_an_hour_that_cannot_be_written_holds_no_other_up(
    site: Site, store: FolderStore, caplog: pytest.LogCaptureFixture
) -> None:
    await site.seal(site.run(), [0, 61, 121])

    class Stubborn:
        spoilt = journal_key(site.stream_id, WALL_NS, HOST)

        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        async def put(self, key: str, *args: Any, **kwargs: Any) -> Any:
            if key == self.spoilt:
                raise StoreError("no such luck")
            return await store.put(key, *args, **kwargs)

    stubborn = Stubborn()
    clock = SimulatedClock(WALL_NS + 4 * HOUR_NS)
    archiver = archiver_of(site, stubborn, clock)
    for _ in range(3):
        await one_pass(archiver)
    assert [(j.hour_ns - WALL_NS) // HOUR_NS for j in await journals_of(store)] == [1, 2]
    assert archiver.progress().journals_set_aside == 1
    assert len([r for r in caplog.records if "journal of stream" in r.message]) == 1
    stubborn.spoilt = ""
    await one_pass(archiver)
    assert len(await journals_of(store)) == 2
    clock.advance(round(SET_ASIDE_S * SECOND))
    await one_pass(archiver)
    assert [(j.hour_ns - WALL_NS) // HOUR_NS for j in await journals_of(store)] == [0, 1, 2]
    assert archiver.progress().journals_set_aside == 0


async def test_a_file_that_went_before_it_was_archived_is_lost_aloud(
    site: Site, store: FolderStore, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = Metrics.create()
    made = await site.seal(site.run(), [0, 1, 2])
    archiver = archiver_of(site, store, metrics=metrics)
    await archiver.register_sealed()
    gone = next(path for path in site.spool.sealed_path.iterdir() if path.name.endswith("-1.mp4"))
    data = gone.read_bytes()
    gone.unlink()
    await one_pass(archiver)
    found = {s.number: s.copies for s in await site.catalogue.segments([site.stream_id], FAR)}
    assert [(c.store, c.state) for c in found[1]] == [(SPOOL_STORE.name, CopyState.MISSING)]
    assert [c.store for n in (0, 2) for c in found[n]] == [OBJECT_STORE.name] * 2
    progress = archiver.progress()
    assert (progress.lost_segments, progress.backlog_segments, progress.set_aside) == (1, 0, 0)
    assert metrics.registry.get_sample_value("stroz_upload_failures_total", {"error": "FileNotFoundError"}) == 1
    assert [r.levelname for r in caplog.records if gone.name in r.message] == ["ERROR"]

    gone.write_bytes(data)  # the disk it lay on is back
    await one_pass(archiver)
    assert await locations(site) == {n: sorted([OBJECT_STORE.name]) for n in range(3)}
    assert (await store.head(key_of(made[1]))).digest == made[1].digest


async def test_a_file_that_went_with_its_segment_or_is_stored_already_is_not_lost(
    site: Site, store: FolderStore
) -> None:
    made = await site.seal(site.run(), [0, 100])
    archiver = archiver_of(site, store)
    await archiver.register_sealed()
    first, second = (p.path for p in site.spool.sealed())
    await store.put(key_of(made[1]), second, digest=made[1].digest, size_bytes=made[1].size_bytes)
    later = made[0].end_ns + 30 * 24 * HOUR_NS + SECOND
    assert (await site.catalogue.condemn_expired(site.stream_id, later, at_ns=later)).segments == 1
    first.unlink()
    second.unlink()
    archiver._unsure.clear()
    await one_pass(archiver)
    assert (archiver.progress().lost_segments, archiver.progress().backlog_segments) == (0, 0)
    assert await locations(site) == {100: [OBJECT_STORE.name]}


async def test_one_fact_that_the_disk_does_not_give_back_keeps_nobody_waiting(
    site: Site, store: FolderStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run, archiver, real = site.run(), archiver_of(site, store), Path.read_bytes
    await site.seal(run, [0, 1])
    site.spool.put_run(RunFact(run))
    await site.spool.drained()
    (bad,) = site.spool.facts_path.glob("run-*.json")
    failing = True

    def read(self: Path) -> bytes:
        if failing and self == bad:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(self)

    monkeypatch.setattr(Path, "read_bytes", read)
    for _ in range(3):
        await archiver.register_sealed()
    assert sorted(await locations(site)) == [0, 1]
    assert caplog.text.count("cannot be read") == 1
    assert not archiver._facts.knows_run(run.id)
    failing = False
    await archiver.register_sealed()
    assert archiver._facts.knows_run(run.id)


async def test_one_refused_file_alone_is_set_aside(site: Site, store: FolderStore) -> None:
    stranger = replace(site.run(), stream_id=uuid4())
    await site.seal(stranger)
    archiver = archiver_of(site, store)
    await one_pass(archiver)
    assert archiver.progress().set_aside == 2  # the segment and its run


async def test_a_pass_over_a_spool_without_news_looks_into_no_file(site: Site, store: FolderStore) -> None:
    await site.seal(site.run(), range(3))
    gap = Gap(uuid4(), site.stream_id, WALL_NS, None, GapReason.STALLED)
    site.spool.put_gap(gap)
    await site.spool.drained()
    spool, rows = Failing(site.spool, {}), Failing(site.catalogue, {})
    archiver = archiver_of(site, store, spool=spool, catalogue=rows)
    await archiver.register_sealed()
    assert sorted(spool.calls) == ["fact_named"] * 2 + ["fact_stamps"] + ["sealed_named"] * 3 + ["sealed_names"]
    assert [rows.calls.count(name) for name in ("put_runs", "put_gaps", "register_many")] == [1, 1, 1]
    spool.calls.clear()
    rows.calls.clear()
    await archiver.register_sealed()
    assert (sorted(spool.calls), rows.calls) == (["fact_stamps", "sealed_names"], [])
    site.spool.put_gap(replace(gap, end_ns=WALL_NS + SECOND))
    await site.spool.drained()
    spool.calls.clear()
    await archiver.register_sealed()
    assert spool.calls.count("fact_named") == 1
    assert (await site.catalogue.gaps([site.stream_id], 0, 2**62))[0].end_ns == WALL_NS + SECOND


async def test_many_facts_are_told_in_few_transactions(site: Site, store: FolderStore) -> None:
    for second in range(450):
        site.spool.put_gap(
            Gap(uuid4(), site.stream_id, WALL_NS + second * SECOND, WALL_NS + second * SECOND + 1, GapReason.STALLED)
        )
    await site.spool.drained()
    rows = Failing(site.catalogue, {})
    await archiver_of(site, store, catalogue=rows).register_sealed()
    assert rows.calls.count("put_gaps") == 3
    assert len(await site.catalogue.gaps([site.stream_id], 0, 2**62)) == 450


async def test_metrics_follow(site: Site, store: FolderStore) -> None:
    metrics = Metrics.create()
    made = await site.seal(site.run(), [0, 1])
    archiver = archiver_of(site, Failing(store, {"put": StoreDenied("wrong key")}), metrics=metrics)
    await archiver.register_sealed()
    value = metrics.registry.get_sample_value
    assert value("stroz_store_backlog_segments") == 2
    assert value("stroz_store_backlog_bytes") == sum(f.size_bytes for f in made)
    with pytest.raises(StoreDenied):
        await archiver.upload_pending()
    archiver._store = store
    await archiver.upload_pending()
    assert value("stroz_store_backlog_segments") == 0
    assert value("stroz_uploaded_bytes_total") == sum(f.size_bytes for f in made)
    assert value("stroz_upload_seconds_count") == 2


class Crash(Exception):
    """The process ends here."""


class Failing:
    """Passes calls on to the real thing, but for those told to fail; notes them."""

    def __init__(self, real: Any, errors: dict[str, Exception]) -> None:
        self._real, self.errors = real, errors
        self.calls: list[str] = []
        self.keys: list[str] = []

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._real, name)
        if not callable(real):
            return real

        def call(*args: Any, **kwargs: Any) -> Any:
            self.calls.append(name)
            if name == "put" and args[0].startswith("segments/"):
                self.keys.append(args[0])
            if name in self.errors:
                raise self.errors[name]
            return real(*args, **kwargs)

        return call


class Fuse:
    """Counts calls over all parts of the site and crashes at the `limit`th, before or after it has had its effect."""

    def __init__(self, limit: int, *, after: bool) -> None:
        self.limit, self.after, self.count = limit, after, 0

    @property
    def blown(self) -> bool:
        return self.count >= self.limit

    def wrap(self, real: Any, names: set[str]) -> Any:
        return _Fused(real, self, names)

    def step(self, *, after: bool) -> None:
        if not after:
            self.count += 1
        if self.count >= self.limit and after == self.after:
            raise Crash


class _Fused:
    def __init__(self, real: Any, fuse: Fuse, names: set[str]) -> None:
        self._real, self._fuse, self._names = real, fuse, names

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._real, name)
        if name not in self._names:
            return real
        if name == "forget":

            def forget(path: Path) -> None:
                self._fuse.step(after=False)
                real(path)
                self._fuse.step(after=True)

            return forget

        async def call(*args: Any, **kwargs: Any) -> Any:
            self._fuse.step(after=False)
            result = await real(*args, **kwargs)
            self._fuse.step(after=True)
            return result

        return call


async def check_invariants(site: Site, store: FolderStore, made: list[SegmentFacts]) -> None:
    """I1: a copy row names bytes that exist. I3: what left the spool is in the store."""
    files = set(site.files())
    for segment in await site.catalogue.segments([site.stream_id], FAR):
        assert segment.copies
        for copy in segment.copies:
            if copy.store == SPOOL_STORE.name:
                assert copy.key in files
            else:
                info = await store.head(copy.key)
                assert (info.size_bytes, info.digest) == (segment.size_bytes, segment.digest)
    for facts in made:
        name = f"{facts.stream_id}_{facts.start_ns}-{facts.run_id}-{facts.number}.mp4"
        if name not in files:
            assert (await store.head(key_of(facts))).digest == facts.digest


@pytest.mark.parametrize("after", [False, True])
async def test_every_step_may_be_the_last(tmp_path: Path, after: bool) -> None:
    """Crash at every call there is, start again, and find the same end each time."""
    limit, crashed = 0, True
    while crashed:
        limit += 1
        folder = tmp_path / str(limit)
        folder.mkdir()
        site, store = await open_site(folder), made_store(folder / "store")
        clock = SimulatedClock(WALL_NS + HOUR_NS + SETTLE_NS)
        run = site.run(end_ns=WALL_NS + 120 * SECOND, end_reason=GapReason.UNREACHABLE)
        made = await site.seal(run, [0, 1])
        gap = Gap(uuid4(), site.stream_id, WALL_NS + 120 * SECOND, WALL_NS + 130 * SECOND, GapReason.UNREACHABLE)
        site.spool.put_gap(gap)
        await site.spool.drained()

        fuse = Fuse(limit, after=after)
        archiver = archiver_of(
            site, fuse.wrap(store, {"put", "head", "check"}), clock,
            spool=fuse.wrap(site.spool, {"forget"}),
            catalogue=fuse.wrap(
                site.catalogue,
                {"put_store", "put_runs", "put_gaps", "register_many", "record_copy", "drop_copy", "segments",
                 "run_hosts", "hours_without_journal", "record_journal"},
            ),
        )  # fmt: skip
        try:
            await one_pass(archiver)
        except (Crash, ExceptionGroup):
            assert fuse.blown
        crashed = fuse.blown
        await check_invariants(site, store, made)

        await one_pass(archiver_of(site, store, clock))
        await check_invariants(site, store, made)
        assert (site.files(), site.facts()) == ([], [])
        assert await locations(site) == {0: [OBJECT_STORE.name], 1: [OBJECT_STORE.name]}
        assert await site.catalogue.gaps([site.stream_id], 0, 2**62) == [gap]
        (journal,) = await journals_of(store)
        assert [line.number for line in journal.segments] == [0, 1]
        assert journal.gaps == (gap,)
        assert len(journal.runs) == 2
        assert sorted([i.key async for i in store.list("segments/")]) == sorted(map(key_of, made))
        await site.close()
    assert limit > 15


async def test_registering_what_another_process_registered(site: Site, store: FolderStore) -> None:
    run = site.run()
    (facts,) = await site.seal(run)
    (path,) = site.spool.sealed_path.iterdir()
    await site.catalogue.put_store(SPOOL_STORE)
    copy = Copy(SPOOL_STORE.name, path.name, facts.size_bytes, facts.digest)
    assert await site.catalogue.register_many([Registration(facts, copy, run)]) == [Registered.NEW]
    await one_pass(archiver_of(site, store))
    assert await locations(site) == {0: [OBJECT_STORE.name]}


async def test_a_catalogue_that_is_away_sets_nothing_aside(site: Site, store: FolderStore) -> None:
    await site.seal(site.run(), [0, 1])
    for name in ("put_runs", "put_gaps", "register_many", "record_copy", "drop_copy"):
        away = Failing(site.catalogue, {name: CatalogueUnavailable("no answer")})
        archiver = archiver_of(site, store, catalogue=away)
        with pytest.raises(CatalogueUnavailable):
            await one_pass(archiver)
        assert archiver.progress().set_aside == 0
        assert len(site.files()) == 2
    await one_pass(archiver_of(site, store))
    assert site.files() == []
