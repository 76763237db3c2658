"""What a second look at a spool tells: changes, each once."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from storage.facts import RunFact
from storage.spool_watch import SpoolChanges, SpoolWatch
from tests.support.sealed import SECOND, WALL_NS, Site, open_site
from vms.model import Gap, GapReason

NOTHING = SpoolChanges((), frozenset(), {}, frozenset())


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    opened = await open_site(tmp_path)
    yield opened
    await opened.close()


async def test_each_change_is_told_once(site: Site) -> None:
    watch = SpoolWatch(site.spool)
    assert watch.look() == NOTHING
    run = site.run()
    made = await site.seal(run, [0, 1])
    first = watch.look()
    assert [sealed.facts for sealed in first.sealed] == made
    assert list(first.facts.values()) == [RunFact(run)]
    assert watch.look() == NOTHING
    ended = replace(run, end_ns=WALL_NS + SECOND, end_reason=GapReason.STALLED)
    (last,) = await site.seal(ended, [2])
    second = watch.look()
    assert ([s.facts for s in second.sealed], list(second.facts.values())) == ([last], [RunFact(ended)])
    (fact_path,) = second.facts
    site.spool.forget(first.sealed[0].path)
    site.spool.forget(fact_path)
    assert watch.look() == SpoolChanges((), frozenset({first.sealed[0].path}), {}, frozenset({fact_path}))
    assert watch.look() == NOTHING


async def test_a_fact_of_the_same_size_and_time_in_a_new_file_is_seen(site: Site) -> None:
    gap = Gap(uuid4(), site.stream_id, WALL_NS, WALL_NS + 1, GapReason.STALLED)
    watch = SpoolWatch(site.spool)
    for changed in (gap, replace(gap, end_ns=WALL_NS + 2)):
        site.spool.put_gap(changed)
        await site.spool.drained()
        (path,) = site.spool.facts_path.iterdir()
        os.utime(path, ns=(1, 1))
        assert list(watch.look().facts.values()) == [changed]


async def test_what_cannot_be_read_is_logged_once(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    (site.spool.facts_path / f"gap-{uuid4()}.json").write_bytes(b"{")
    for folder in (site.spool.facts_path, site.spool.sealed_path):
        (folder / "notatki.txt").write_bytes(b"x")
    watch = SpoolWatch(site.spool)
    for _ in range(3):
        assert watch.look() == NOTHING
    assert len([r for r in caplog.records if "cannot be read" in r.message]) == 1
