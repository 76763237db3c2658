"""The catalogue's registry as commands use it: opened, checked, and closed with the assignment written anew.

What changing cameras means is `storage.camera_registry`'s; here is only how a command comes to it and leaves it.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from storage.camera_registry import (
    CameraRegistry,
    assigned_cameras,
    follow_legal_settings,
    refresh_assignment,
    refuse_emptied,
    refuse_lost,
)
from storage.catalogue import Catalogue, check, migrate
from vms.cli.identity import whoever_runs_this
from vms.errors import UserError, VmsError

if TYPE_CHECKING:
    from vms.site import Site


@asynccontextmanager
async def reading(site: Site) -> AsyncIterator[CameraRegistry]:
    """The registry for looking; UserError when the catalogue is not there, lost, or of another schema."""
    await refuse_absent(site)
    async with Catalogue(site.catalogue_url, site.sealer) as catalogue:
        await refuse_emptied(site, catalogue)
        yield CameraRegistry(site, catalogue, by=whoever_runs_this())


@asynccontextmanager
async def changing(site: Site) -> AsyncIterator[CameraRegistry]:
    """The registry for changes. Afterwards, even if only a part was done, the assignment says what the catalogue says."""
    if is_there(site) or assigned_cameras(site):
        await refuse_absent(site)
    else:
        await migrate(site.catalogue_url)
    async with Catalogue(site.catalogue_url, site.sealer) as catalogue:
        await refuse_lost(site, catalogue)
        await follow_legal_settings(catalogue, site.settings.legal)
        registry = CameraRegistry(site, catalogue, by=whoever_runs_this())
        try:
            yield registry
        except BaseException:  # Ctrl-C too: what was written must reach the recorder
            if registry.changed:
                with contextlib.suppress(VmsError):  # the first error is the one to tell
                    await refresh_assignment(site, catalogue)
            raise
        if registry.changed:
            await refresh_assignment(site, catalogue)


async def refuse_absent(site: Site) -> None:
    """UserError for a catalogue that is not there, saying whether it was lost or never made, or of another schema."""
    if not is_there(site):
        assigned = assigned_cameras(site)
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


def is_there(site: Site) -> bool:
    """Whether there is a catalogue. False only for a SQLite file that does not exist; looking would create it."""
    return site.catalogue_file is None or site.catalogue_file.exists()
