"""The catalogue's registry as commands use it: opened, checked, and the recorder's assignment kept in step.

Owns the rule that every change of cameras is followed by a new sealed assignment, written from what the catalogue then
says, under a lock, so that two commands at once cannot leave the older one behind. The catalogue's default legal
profile follows the settings' section [legal].
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import uuid4

from storage.catalogue import Catalogue, HistoryEntry, check, migrate
from vms.assignment import assign, read_assignment, write_assignment
from vms.errors import MalformedError, UserError, VmsError
from vms.model import Camera, LegalProfile
from vms.site import operating_system_user

if TYPE_CHECKING:
    from vms.settings import LegalSection
    from vms.site import Site

LOCK_TIMEOUT_S = 30.0


class CameraRegistry:
    """An open catalogue, and who changes it. `changed`: the assignment must be written anew."""

    def __init__(self, site: Site, catalogue: Catalogue) -> None:
        self._site = site
        self._catalogue = catalogue
        self._by = operating_system_user()
        self.changed = False

    async def profiles(self) -> tuple[list[LegalProfile], LegalProfile]:
        """All legal profiles, and the one for cameras that name none."""
        found = await self._catalogue.profiles()
        name = self._site.settings.legal.name
        default = next((p for p in found if p.name == name), None)
        return found, default or profile_of(self._site.settings.legal)

    async def cameras(self, *, include_retired: bool = False) -> list[Camera]:
        return await self._catalogue.cameras(include_retired=include_retired)

    async def history(self, camera: Camera) -> list[HistoryEntry]:
        return await self._catalogue.history(camera.id)

    async def next_number(self) -> int:
        return await self._catalogue.next_number()

    async def add(self, camera: Camera) -> Camera:
        added = await self._catalogue.add_camera(camera, at_ns=time.time_ns(), by=self._by)
        self.changed = True
        return added

    async def update(self, camera: Camera, *, replaced: bool = False) -> Camera:
        updated = await self._catalogue.update_camera(camera, at_ns=time.time_ns(), by=self._by, replaced=replaced)
        self.changed = True
        return updated

    async def retire(self, camera: Camera) -> Camera:
        retired = await self._catalogue.retire_camera(camera.id, at_ns=time.time_ns(), by=self._by)
        self.changed = True
        return retired


@asynccontextmanager
async def reading(site: Site) -> AsyncIterator[CameraRegistry]:
    """The registry for looking; UserError when the catalogue is not there, lost, or of another schema."""
    await refuse_absent(site)
    async with Catalogue(site.catalogue_url, site.sealer) as catalogue:
        await refuse_emptied(site, catalogue)
        yield CameraRegistry(site, catalogue)


@asynccontextmanager
async def changing(site: Site) -> AsyncIterator[CameraRegistry]:
    """The registry for changes. Afterwards, even if only a part was done, the assignment says what the catalogue says."""
    if _is_there(site) or _assigned(site):
        await refuse_absent(site)
    else:
        await migrate(site.catalogue_url)
    async with Catalogue(site.catalogue_url, site.sealer) as catalogue:
        await refuse_lost(site, catalogue)
        await follow_legal_settings(catalogue, site.settings.legal)
        registry = CameraRegistry(site, catalogue)
        try:
            yield registry
        except BaseException:  # Ctrl-C too: what was written must reach the recorder
            if registry.changed:
                with contextlib.suppress(VmsError):  # the first error is the one to tell
                    await refresh_assignment(site, catalogue)
            raise
        if registry.changed:
            await refresh_assignment(site, catalogue)


async def refuse_lost(site: Site, catalogue: Catalogue) -> None:
    """UserError for a catalogue that was lost and is not whole again: from it the recorder would be told to record nothing.

    A camera once registered stays in the catalogue. So one that knows none, beside an assignment that names some, is new.
    """
    state = await catalogue.rebuild_state()
    if state is not None and state.finished_ns is None:
        raise UserError("the rebuild of the catalogue was broken off; run it to its end: vms rebuild")
    await refuse_emptied(site, catalogue)


async def refuse_emptied(site: Site, catalogue: Catalogue) -> None:
    """UserError for a catalogue that knows no camera although some are recorded: a new one in a lost one's place."""
    assigned = _assigned(site)
    if assigned and not await catalogue.cameras(include_retired=True):
        raise UserError(
            f"the catalogue was lost: it knows no camera, but {assigned} are recorded. Restore it from your backup, or "
            f"run: vms rebuild. To begin anew, remove {site.assignment_file}"
        )


async def refuse_absent(site: Site) -> None:
    """UserError for a catalogue that is not there, saying whether it was lost or never made, or of another schema."""
    if not _is_there(site):
        assigned = _assigned(site)
        if assigned:
            raise UserError(
                f"the catalogue was lost: {site.catalogue_file} is not there, but {assigned} cameras are recorded, and go on "
                "being. Stop the service and bring it back from your backup, or without one run: vms rebuild"
            )
        raise UserError(
            f"there is no catalogue in {site.path} yet; add a camera, or run: vms migrate. If there was one, bring it back from "
            "your backup, or run: vms rebuild"
        )
    await check(site.catalogue_url)


def _assigned(site: Site) -> int:
    """How many cameras the recorder was told to record; 0 where nobody can tell."""
    try:
        return len(read_assignment(site.assignment_file, site.sealer).cameras)
    except (MalformedError, OSError):
        return 0


async def follow_legal_settings(catalogue: Catalogue, legal: LegalSection) -> LegalProfile:
    """Make the catalogue's profile of that name say what the settings say, creating it if need be."""
    found = next((p for p in await catalogue.profiles() if p.name == legal.name), None)
    wanted = profile_of(legal)
    if found is None:
        return await catalogue.put_profile(wanted)
    wanted = replace(wanted, id=found.id)
    return found if found == wanted else await catalogue.put_profile(wanted)


async def refresh_assignment(site: Site, catalogue: Catalogue) -> None:
    """Write the sealed assignment from what the catalogue says now."""
    with site.hold("assignment") as try_to_take:
        try:
            async with asyncio.timeout(LOCK_TIMEOUT_S):
                while not try_to_take():  # noqa: ASYNC110 - the lock is another process's
                    await asyncio.sleep(0.05)
        except TimeoutError as error:
            raise UserError(
                f"another command has been changing cameras for {LOCK_TIMEOUT_S:.0f} s; try again"
            ) from error
        profiles = {p.id: p for p in await catalogue.profiles()}
        wanted = assign(await catalogue.cameras(), profiles, await catalogue.awaited())
        write_assignment(site.assignment_file, wanted, site.sealer)


def profile_of(legal: LegalSection) -> LegalProfile:
    """The legal profile that the settings describe, under a new id."""
    return LegalProfile(uuid4(), legal.name, legal.basis, legal.days, legal.audio)


def _is_there(site: Site) -> bool:
    """False only for a SQLite file that does not exist; looking would create it."""
    return site.catalogue_file is None or site.catalogue_file.exists()
