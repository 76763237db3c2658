"""`vms up`, `vms recorder`, `vms archiver`: the site's processes, all of them supervised, or one in the foreground."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from vms.cli.output import printable

if TYPE_CHECKING:
    from vms.cli.running import RunningSite
    from vms.settings import Listen
    from vms.site import Site


def register(app: typer.Typer) -> None:
    """Hang the commands into the root."""
    app.command(epilog="Example: vms up --data /srv/stroz")(up)
    app.command(epilog="Example: vms recorder --data /srv/stroz")(recorder)
    app.command(epilog="Example: vms archiver --data /srv/stroz")(archiver)


def up(ctx: typer.Context) -> None:
    """Run the site: recorder, archiver, pages, live pictures and metrics, watched and restarted. Ctrl-C ends all in order."""
    import uvloop

    from vms.observe import configure_logging

    site = ctx.obj.create_site()
    configure_logging(site.settings.log, site.zone)
    uvloop.run(_run(site))


async def _run(site: Site) -> None:
    from vms.cli.running import stop_on_signals, supervised
    from vms.cli.web import introduction

    stop = stop_on_signals()
    say("preparing the catalogue, looking for the store")
    async with supervised(site, tell=say) as running:
        _introduce(running)
        if running.address is not None:
            for line in await introduction(site):
                say(line)
            say(f"open {running.address}")
        await running.wait(stop)
    say("ended; everything recorded is sealed")


def _introduce(running: RunningSite) -> None:
    from vms.assignment import read_assignment
    from vms.errors import MalformedError

    site = running.site
    try:
        cameras = read_assignment(site.assignment_file, site.sealer).cameras
    except (MalformedError, OSError) as error:
        say(f"the cameras to record cannot be read: {error}")
    else:
        enabled = sum(c.enabled for c in cameras)
        hint = "" if enabled else f"; add one: vms --data {site.path} camera add NAME URL"
        say(f"running: recorder ({enabled} cameras), archiver{hint}")
    _say_metrics(running.metrics)
    say("log: here, on standard error")
    say(f"look: vms --data {site.path} status    end: Ctrl-C")


def recorder(ctx: typer.Context) -> None:
    """Run only the recorder, in the foreground. It needs the sealed assignment and the spool, no catalogue, no store."""
    from recorder.host import run_host
    from vms.cli.running import alone, metrics_page, tell_of_small_disk
    from vms.observe import configure_logging
    from vms.processes import run_process

    site = ctx.obj.open_site()
    configure_logging(site.settings.log, site.zone)
    with alone(site, "recorder"), metrics_page(site, ("recorder", "publish"), next_port=True) as metrics:
        _say_metrics(metrics)
        tell_of_small_disk(site, say)
        run_process(lambda: run_host(site))


def archiver(ctx: typer.Context) -> None:
    """Run only the archiver, in the foreground: spool to store, journals, retention. Needs a migrated catalogue."""
    from storage.archive_process import run_archiver
    from storage.archiver import make_way_for_the_recorder
    from vms.cli.running import alone, forget_report, metrics_page
    from vms.observe import configure_logging
    from vms.processes import run_process

    site = ctx.obj.open_site()
    configure_logging(site.settings.log, site.zone)
    make_way_for_the_recorder()
    with alone(site, "archiver"), metrics_page(site, ("archiver", "alarms")) as metrics:
        _say_metrics(metrics)
        try:
            run_process(lambda: run_archiver(site))
        finally:
            forget_report(site)


def _say_metrics(listen: Listen | None) -> None:
    if listen is not None:
        say(f"metrics: http://{listen}/metrics")


def say(text: str) -> None:
    """One line on standard output at once, also into a pipe."""
    from vms.observe import redact

    typer.echo(redact(printable(text)))
