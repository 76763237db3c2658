"""One running site a test, copied from one migrated folder a test process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.web_site import WebSite, migrated, running


@pytest.fixture(scope="session")
def site_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("web") / "data"
    asyncio.run(migrated(folder))
    return folder


@pytest_asyncio.fixture
async def web_site(site_template: Path, tmp_path: Path) -> AsyncIterator[WebSite]:
    async with running(site_template, tmp_path / "data") as site:
        yield site
