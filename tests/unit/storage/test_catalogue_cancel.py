"""A write that is cancelled in the middle is whole or absent, and keeps nobody else out."""

import asyncio
from pathlib import Path
from uuid import uuid4

from storage.catalogue import Catalogue, migrate, sqlite_url
from vms.model import LegalProfile


async def test_cancelled_writes_keep_no_lock(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "catalogue.db")
    await migrate(url)
    async with Catalogue(url) as catalogue:
        for turn in range(40):
            writing = asyncio.create_task(catalogue.put_profile(LegalProfile(uuid4(), f"profil {turn}", "art. 9a", 30)))
            for _ in range(turn):
                await asyncio.sleep(0)
            writing.cancel()
            await asyncio.wait([writing])
        async with asyncio.timeout(2):  # far less than the busy time-out
            await catalogue.put_profile(LegalProfile(uuid4(), "ostatni", "art. 9a", 30))
        assert "ostatni" in {profile.name for profile in await catalogue.profiles()}
