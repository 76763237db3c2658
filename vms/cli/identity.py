"""What the commands about people have in common: the catalogue opened, who acts, and refusals as messages."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from vms.errors import UserError

if TYPE_CHECKING:
    from storage.catalogue import Catalogue, User
    from vms.site import Site
    from web.identity.callers import Actor


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
    from vms.site import operating_system_user
    from web.identity.callers import Actor

    return Actor(f"{operating_system_user()} (on the server)")


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
