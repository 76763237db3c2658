"""What the web process knows of the site, when it is asked for twice at once."""

from __future__ import annotations

import asyncio
from typing import Any, cast
from uuid import uuid4

from vms.clock import SimulatedClock
from vms.model import Camera
from web.api.watching import Watch

BEFORE = Camera(uuid4(), 1, "Rynek", uuid4(), ())
AFTER = Camera(BEFORE.id, 1, "Rynek 1", BEFORE.profile_id, ())


class SlowCatalogue:
    """One camera, whose first reading is slow to arrive."""

    def __init__(self) -> None:
        self.camera, self.version = BEFORE, 1
        self.asked, self.arrives = asyncio.Event(), asyncio.Event()

    async def registry_version(self) -> tuple[int, int]:
        return self.version, 0

    async def cameras(self, *, include_retired: bool) -> list[Camera]:
        assert include_retired
        read = self.camera
        if not self.asked.is_set():
            self.asked.set()
            await self.arrives.wait()
        return [read]


async def test_a_slow_reading_does_not_bring_back_what_was_changed_meanwhile() -> None:
    catalogue = SlowCatalogue()
    watch = Watch(cast("Any", catalogue), cast("Any", None), SimulatedClock())
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        tasks.create_task(watch.read_cameras())
        await catalogue.asked.wait()
        catalogue.camera, catalogue.version = AFTER, 2
        changing = tasks.create_task(watch.read_cameras())
        await asyncio.wait({changing}, timeout=0)
        catalogue.arrives.set()
    assert (watch.version, watch.cameras[BEFORE.id].name) == ((2, 0), "Rynek 1")
