"""`vms version` and `vms migrate`: the program and its data folder."""

from __future__ import annotations

import asyncio
import platform
from importlib import metadata

import typer

from vms.cli.output import JsonFlag, note, print_facts, print_json, working


def register(app: typer.Typer) -> None:
    """Hang the commands into the root."""
    app.command(epilog="Example: vms version --json")(version)
    app.command(epilog="Example: vms migrate --data /srv/stroz")(migrate)


def version(as_json: JsonFlag = False) -> None:
    """Say which version this is, and which of the parts it stands on."""
    from vms.site import FORMAT

    parts = ("av", "uvloop", "sqlalchemy", "minio", "cryptography")
    facts = {
        "version": metadata.version("stroz"),
        "data_format": FORMAT,
        "python": platform.python_version(),
        "parts": {name: metadata.version(name) for name in parts},
    }
    if as_json:
        print_json(facts)
        return
    print_facts(
        [
            ("Stróż", facts["version"]),
            ("data format", FORMAT),
            ("Python", facts["python"]),
            *((name, metadata.version(name)) for name in parts),
        ]
    )


def migrate(ctx: typer.Context) -> None:
    """Make the data folder where there is none, and bring the catalogue to this version's schema. May be repeated."""
    from storage.camera_registry import follow_legal_settings
    from storage.catalogue import Catalogue
    from storage.catalogue import migrate as migrate_catalogue

    site = ctx.obj.create_site()

    async def work() -> str:
        schema = await migrate_catalogue(site.catalogue_url)
        async with Catalogue(site.catalogue_url, site.sealer) as catalogue:
            await follow_legal_settings(catalogue, site.settings.legal)
        return schema

    with working("migrating the catalogue"):
        schema = asyncio.run(work())
    note(f"{site.path}: the catalogue has schema {schema}")
