"""What a site does before its processes may use store and catalogue: ask the one, bring the other up to date.

Owns what is told and what is refused meanwhile. Imported once the recorder has been started: loading what talks to
databases takes longer than an outage of a camera may.
"""

from __future__ import annotations

import asyncio

from storage.camera_registry import follow_legal_settings, refresh_assignment, refuse_lost
from storage.catalogue import Catalogue, migrate
from storage.objects import open_store
from storage.stores import object_store_info
from vms.errors import CatalogueError, CatalogueUnavailable, StoreDenied, StoreError, StoreUnavailable, UserError
from vms.site import Site

STORE_SECONDS = 5.0  # for the store to answer before recording begins without it
CATALOGUE_SECONDS = 10.0  # the same for the catalogue, where there is something to record


async def prepare_catalogue(site: Site) -> None:
    """Bring schema, legal profile and sealed assignment up to date. Raises CatalogueError, UserError."""
    await migrate(site.catalogue_url)
    async with Catalogue(site.catalogue_url, site.sealer) as catalogue:
        await refuse_lost(site, catalogue)
        await follow_legal_settings(catalogue, site.settings.legal)
        try:
            await refresh_assignment(site, catalogue)
        except OSError as error:
            raise UserError(
                f"{site.assignment_file} cannot be written: {error.strerror}; free space on its disk"
            ) from error


async def store_trouble(site: Site, *, assigned: bool) -> str | None:
    """What to tell when the store cannot be used; UserError when waiting will not cure it and nothing is `assigned`.

    It is made where it is not there and the catalogue knows of nothing in it; else it is away, perhaps not mounted.
    """
    settings = site.path / "site.toml"
    try:
        await _ask_store(site, make=not await _holds_footage(site))
    except (StoreDenied, UserError) as error:
        if not assigned:
            raise UserError(f"{error}. Nothing was started; correct the section [store] in {settings}") from error
        return (
            f"the store cannot be used ({error}); recording goes on into the spool. If the section [store] in {settings} "
            "is wrong, correct it and start again"
        )
    except StoreError as error:
        return f"the store does not answer ({error}); recording goes on into the spool until it does"
    return None


async def _holds_footage(site: Site) -> bool:
    """Whether footage was brought to the store before, as far as can be told: a catalogue that is away may know of some."""
    if site.catalogue_file is not None and not site.catalogue_file.exists():
        return False
    async with Catalogue(site.catalogue_url) as catalogue:
        try:
            return await catalogue.has_copies(object_store_info(site.settings.store).name)
        except CatalogueError:
            return True


async def _ask_store(site: Site, *, make: bool) -> None:
    store = open_store(site.settings.store)
    try:
        async with asyncio.timeout(STORE_SECONDS):
            await store.check(make=make)
    except TimeoutError as error:
        raise StoreUnavailable(f"{store.name} was silent for {STORE_SECONDS:.0f} s") from error
    finally:
        await store.close()


async def catalogue_trouble(preparing: asyncio.Task[None], *, assigned: bool) -> str | None:
    """What to tell when the catalogue cannot be used; UserError when only a person can help and nothing is `assigned`.

    Where cameras are `assigned` they wait for it `CATALOGUE_SECONDS` at most; `preparing` then goes on.
    """
    await asyncio.wait({preparing}, timeout=CATALOGUE_SECONDS if assigned else None)
    known = "the cameras last assigned are recorded" if assigned else "no camera is known, so nothing is recorded"
    if not preparing.done():
        return f"the catalogue is not ready after {CATALOGUE_SECONDS:.0f} s; {known}, and archiving begins when it is"
    try:
        preparing.result()
    except CatalogueUnavailable as error:
        return f"{error}; {known}, and archiving begins when it answers"
    except (CatalogueError, UserError) as error:
        if not assigned:
            raise UserError(f"{error}. Nothing was started") from error
        return f"{error}; {known} into the spool, and archiving begins when that is mended"
    return None
