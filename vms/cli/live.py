"""`vms live`: the live gateway in the foreground."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from web.live.ice import AddressPolicy


def register(app: typer.Typer) -> None:
    """Hang the command into the root."""
    app.command(epilog="Example: vms live --data /srv/stroz")(live)


def live(ctx: typer.Context) -> None:
    """Serve live pictures to browsers over WebRTC, until Ctrl-C. `vms up` does it; this is for a host of its own."""
    from vms.cli.running import alone
    from vms.observe import configure_logging
    from vms.processes import run_process
    from web.live.process import run_live

    site = ctx.obj.open_site()
    configure_logging(site.settings.log, site.zone)
    with alone(site, "live"):
        run_process(lambda: run_live(site, _introduce))


def _introduce(policy: AddressPolicy) -> None:
    typer.echo(f"live pictures on {', '.join(policy.addresses)}; Ctrl-C ends it", err=True)
