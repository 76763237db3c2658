"""Who acts on the command line and how it is put on record; for commands about people the catalogue, and refusals as messages."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Unpack

from vms.errors import UserError

if TYPE_CHECKING:
    from storage.catalogue import Actor, Catalogue, Detail, User
    from vms.model import Camera
    from vms.site import Site


@asynccontextmanager
async def people_of(site: Site) -> AsyncIterator[Catalogue]:
    """The catalogue, of our schema; what is refused is said in words."""
    from storage.catalogue import Catalogue, check

    await check(site.catalogue_url)
    async with Catalogue(site.catalogue_url) as catalogue:
        with _said():
            yield catalogue


def whoever_runs_this() -> Actor:
    """Commands are put on record under the name of who runs them on this machine."""
    from storage.catalogue import Actor
    from vms.site import operating_system_user

    return Actor(f"{operating_system_user()} (on the server)")


async def put_on_record(
    catalogue: Catalogue,
    act: str,
    about: str = "",
    *,
    camera: Camera | None = None,
    purpose: str = "",
    **detail: Unpack[Detail],
) -> None:
    """What a command is about to do; before it is done, so that it is not done without its entry."""
    who = whoever_runs_this()
    await catalogue.audit(who.does(act, time.time_ns(), about, camera=camera, purpose=purpose, **detail))


async def find_user(catalogue: Catalogue, name: str) -> User:
    """The user with this login name; UserError where there is none."""
    found = await catalogue.user_named(name)
    if found is None:
        raise UserError(f"there is no user {name!r}; see: vms user list")
    return found


@contextlib.contextmanager
def _said() -> Iterator[None]:
    from web.identity.refusals import Refusal

    try:
        yield
    except Refusal as refusal:
        raise UserError(str(refusal)) from refusal
