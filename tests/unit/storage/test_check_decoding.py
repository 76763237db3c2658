"""Depth `decode`: a real decoder in its own process, on real footage, on footage it cannot take, and when it dies."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path
from uuid import UUID

import pytest

from recorder.segmenter import Begin, Finish, Fragment, Segmenter
from storage.archiver import Archiver
from storage.check import check_site
from storage.check_findings import CheckReport, Depth, Kind
from storage.check_looks import Places
from storage.decoding import DecodingProcess
from storage.facts import RunFact
from storage.objects import FolderStore, segment_key
from tests.support.encoded import aac, made_up, mapping_at, small_config, video
from tests.support.made_store import made_store
from tests.support.sealed import HOST, OBJECT_STORE, SPOOL_STORE, WALL_NS, Site, open_site
from vms.clock import SimulatedClock
from vms.model import AccessUnit, Codec

MADE_UP = tuple(made_up(n * 3600, key=n % 25 == 0, config=small_config()) for n in range(50))


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    opened = await open_site(tmp_path)
    yield opened
    await opened.close()


@pytest.fixture
async def decoder() -> AsyncIterator[DecodingProcess]:
    opened = DecodingProcess()
    yield opened
    await opened.close()


async def record(site: Site, units: Sequence[AccessUnit]) -> UUID:
    """One sealed segment of these units in a run of its own, as the recorder makes it. The run."""
    run = site.run()
    segmenter = Segmenter(run, partial(mapping_at, clock_hz=units[0].config.clock_hz))
    opened = site.spool.open_segment(run.stream_id, run.id, 0)
    for action in [*(a for unit in units for a in segmenter.push(unit)), *segmenter.flush()]:
        if isinstance(action, Begin | Fragment | Finish):
            site.spool.write(opened, action.buffers)
        if isinstance(action, Finish):
            await site.spool.seal(opened, action.facts)
    site.spool.put_run(RunFact(run))
    await site.spool.drained()
    return run.id


async def checked(site: Site, store: FolderStore, decoder: DecodingProcess, **options: bool) -> CheckReport:
    places = Places(
        site.catalogue, site.spool, store, spool_name=SPOOL_STORE.name, store_name=OBJECT_STORE.name, host=HOST,
        decoder=decoder,
    )  # fmt: skip
    return await check_site(places, Depth.DECODE, settle_seconds=0, **options)


def archiver_of(site: Site, store: FolderStore) -> Archiver:
    return Archiver(
        site.spool, site.catalogue, store, host=HOST, spool_store=SPOOL_STORE, object_store=OBJECT_STORE,
        clock=SimulatedClock(WALL_NS),
    )  # fmt: skip


async def test_what_decodes_is_sound_and_what_does_not_is_said_and_kept(
    site: Site, tmp_path: Path, decoder: DecodingProcess
) -> None:
    store = made_store(tmp_path / "store")
    lossy = [u if n != 30 else u._replace(damaged=True) for n, u in enumerate(MADE_UP)]
    for units in (video(Codec.H264, 50, 2), video(Codec.H265, 50), aac(50), lossy):
        await record(site, units)
    unseen = await record(site, MADE_UP)
    archiver = archiver_of(site, store)
    await archiver.register_sealed()
    for where in (SPOOL_STORE, OBJECT_STORE):
        report = await checked(site, store, decoder, repair=True)
        (finding,) = report.findings
        assert (finding.kind, finding.invariant, finding.repaired) == (Kind.UNDECODABLE, "I4", False)
        assert (finding.store, finding.ref and finding.ref.run_id) == (where.name, unseen)
        assert "refuses" in finding.detail
        assert (report.segments, report.copies) == (5, 5)
        await archiver.upload_pending()


async def test_an_object_that_no_row_names_is_decoded_too(site: Site, tmp_path: Path, decoder: DecodingProcess) -> None:
    store = made_store(tmp_path / "store")
    await archiver_of(site, store).register_sealed()  # makes the stores known
    for units in (video(Codec.H264, 50, 2), MADE_UP):
        await record(site, units)
    for sealed in site.spool.sealed():
        assert sealed.facts is not None
        key = segment_key(sealed.stream_id, sealed.run_id, sealed.number, sealed.start_ns)
        await store.put(key, sealed.path, digest=sealed.facts.digest, size_bytes=sealed.size_bytes)
        site.spool.forget(sealed.path)
    found = sorted(f.kind for f in (await checked(site, store, decoder)).findings)
    assert found == [Kind.ORPHAN_SEGMENT, Kind.ORPHAN_SEGMENT, Kind.UNDECODABLE]


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("import os; input(); os.kill(os.getpid(), 11)", "died of it (signal 11)"),
        ("input(); raise SystemExit(7)", "exit code 7"),
        ("raise SystemExit(7)", "exit code 7"),
        ("input(); import time; time.sleep(600)", "not finished after 1 s"),
    ],
)
async def test_a_decoder_that_dies_or_hangs_is_the_answer_for_that_file_and_is_replaced(
    tmp_path: Path, program: str, said: str
) -> None:
    flag = tmp_path / "first"
    once = f"import os, pathlib\nif not pathlib.Path({str(flag)!r}).exists():\n pathlib.Path({str(flag)!r}).touch()\n {program}\n"
    decoder = DecodingProcess(
        [sys.executable, "-c", once + "import sys\nfor _ in sys.stdin: print('null', flush=True)"], 1
    )
    assert said in str(await decoder.problem(tmp_path / "a.mp4"))
    assert await decoder.problem(tmp_path / "b.mp4") is None
    await decoder.close()
    await decoder.close()


async def test_the_decoder_gets_no_secret_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VMS_STORE_SECRET_KEY", "geheim")
    tell = "import json, os, sys\nfor _ in sys.stdin: print(json.dumps(repr(dict(os.environ))), flush=True)"
    decoder = DecodingProcess([sys.executable, "-c", tell])
    assert "geheim" not in str(await decoder.problem(tmp_path / "a.mp4"))
    await decoder.close()
