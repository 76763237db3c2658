"""An archiver that starts while its catalogue cannot be asked: it waits, and refuses only what is not ours."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path

import pytest

from storage.archive_process import STATUS_FILE, run_archiver
from storage.catalogue import migrate
from vms.errors import UserError
from vms.site import Site
from vms.status.site_status import read_report


async def test_it_waits_for_a_catalogue_that_cannot_be_opened(tmp_path: Path) -> None:
    site = Site.create(tmp_path / "data")
    await migrate(site.catalogue_url)
    file, aside = site.path / "catalogue.db", site.path / "aside"
    file.rename(aside)
    file.mkdir()  # what SQLite cannot open: as a disk without room for its shared memory
    running = asyncio.create_task(run_archiver(site))
    done, _ = await asyncio.wait({running}, timeout=2.5)
    assert not done
    assert not (site.run / STATUS_FILE).exists()
    file.rmdir()
    aside.rename(file)
    async with asyncio.timeout(20):
        while not (site.run / STATUS_FILE).exists():
            assert not running.done(), running.exception()
            await asyncio.sleep(0.05)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def test_a_catalogue_taken_away_under_a_running_archiver_is_told(tmp_path: Path) -> None:
    site = Site.create(tmp_path / "data")
    await migrate(site.catalogue_url)
    file, aside = site.path / "catalogue.db", site.path / "aside"

    async def said(words: str) -> None:
        async with asyncio.timeout(20):
            while True:
                assert not running.done(), running.exception()
                report = read_report(site.run / STATUS_FILE)
                if report is not None and words in (report.catalogue_error or "none"):
                    return
                await asyncio.sleep(0.05)

    running = asyncio.create_task(run_archiver(site))
    await said("none")
    file.rename(aside)
    await said("catalogue.db is gone: ")
    sqlite3.connect(file).execute("CREATE TABLE other (x)").connection.close()
    await said("was replaced while it was open: ")
    aside.rename(file)
    await said("none")
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def test_a_schema_that_is_not_ours_is_refused_at_once(tmp_path: Path) -> None:
    site = Site.create(tmp_path / "data")
    sqlite3.connect(site.path / "catalogue.db").close()
    with pytest.raises(UserError, match="vms migrate"):
        await run_archiver(site)
