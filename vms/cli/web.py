"""`vms web`: the web process alone, in the foreground."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from vms.site import Site


def register(app: typer.Typer) -> None:
    """Hang the command into the root."""
    app.command(epilog="Example: vms web --data /srv/stroz")(web)


def web(ctx: typer.Context) -> None:
    """Run only the web process: pages, interface, sign-in. Needs a migrated catalogue; figures on its socket in `run`."""
    from vms.cli.running import alone
    from vms.cli.up import say
    from vms.observe import configure_logging
    from vms.processes import run_process
    from web.api.process import run_web

    site = ctx.obj.open_site()
    configure_logging(site.settings.log, site.zone)
    with alone(site, "web"):
        for line in asyncio.run(introduction(site)):
            say(line)
        run_process(lambda: run_web(site, lambda address: say(f"open {address}")))


async def introduction(site: Site) -> list[str]:
    """What whoever starts the web process must know: the set-up code while there is no user, which authority to trust,
    and whether there are pages at all."""
    from storage.catalogue import Catalogue
    from vms.errors import CatalogueError
    from web.identity.signing_in import issue_set_up_code

    lines = missing_pages()
    section = site.settings.web
    if not section.listen.is_loopback and section.certificate is None:
        lines.append(f"browsers must trust {site.path / 'tls' / 'ca.pem'}, once")
    try:
        async with Catalogue(site.catalogue_url) as catalogue:
            code = await issue_set_up_code(catalogue, time.time_ns())
    except CatalogueError as error:
        return [*lines, f"whether the site is set up cannot be asked: {error}"]
    if code is not None:
        lines.append(f"there is no user yet; the page asks for this set-up code: {code}")
    return lines


def missing_pages() -> list[str]:
    """What to say where the client was not built: recording and interface are there, and no page for a browser."""
    from web.api.client_files import DIST

    if (DIST / "index.html").is_file():
        return []
    line = (
        "NO PAGES: the web client is not built, so browsers find nothing here. End this, run scripts/client "
        "(it needs Node 20.19 or newer with npm; Debian: apt-get install nodejs npm), and start again"
    )
    return [line]
