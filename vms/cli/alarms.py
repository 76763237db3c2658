"""`vms alarm`: what is and was wrong, a test of the way out, and the watch in the foreground."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import typer

from vms.cli.output import JsonFlag, note, print_json, print_listed, working
from vms.errors import DeliveryError, MalformedError, UserError

if TYPE_CHECKING:
    from vms.alarms.decision import Alarm
    from vms.alarms.delivery import Destination
    from vms.alarms.memory import Memory
    from vms.site import Site

RECENT_SHOWN = 20

alarms_app = typer.Typer(help="Alarms: what is wrong and was, test the way out, watch alone.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Hang the group into the root command."""
    app.add_typer(alarms_app, name="alarm")


@alarms_app.command("list", epilog="Example: vms alarm list --json")
def list_alarms(ctx: typer.Context, as_json: JsonFlag = False) -> None:
    """List active alarms, those that ended lately, and whether messages wait to be sent."""
    from vms.alarms.delivery import destinations
    from vms.alarms.words import alarm_json

    site = ctx.obj.open_site()
    memory = _memory(site)
    active = sorted(memory.state.active.values(), key=lambda a: a.number, reverse=True)
    recent = memory.state.recent
    if as_json:
        print_json(
            {
                "active": [alarm_json(a) for a in active],
                "recent": [alarm_json(a) for a in recent],
                "destinations": _destinations_json(memory, [d.name for d in destinations(site)]),
            }
        )
        return
    if active or recent:
        rows = [_row(site, a) for a in (*active, *recent[:RECENT_SHOWN])]
        print_listed(("alarm", "state", "since", "for", "what"), rows)
    note(f"{len(active)} active, {len(recent)} ended" if active or recent else "no alarm so far")
    _note_destinations(site, memory)


@alarms_app.command("test", epilog="Example: vms alarm test")
def try_out(ctx: typer.Context, as_json: JsonFlag = False) -> None:
    """Send a test message to every destination of the settings now, and say what happened."""
    from vms.alarms.delivery import destinations

    site = ctx.obj.open_site()
    told = destinations(site)
    if not told:
        raise UserError(
            f"nobody is named who could be told; set alarms.webhook_url or alarms.smtp_server in {site.path}/site.toml"
        )
    with working("sending"):
        results = asyncio.run(_send_test(told))
    if as_json:
        print_json([{"destination": n, "ok": ok, "answer": said, "seconds": s} for n, ok, said, s in results])
    else:
        for name, ok, said, seconds in results:
            typer.echo(f"{name}: {'delivered' if ok else 'FAILED'}, {said} ({seconds:.1f} s)")
    if not all(ok for _, ok, _, _ in results):
        raise typer.Exit(1)


@alarms_app.command(epilog="Example: vms alarm watch --data /srv/stroz")
def watch(ctx: typer.Context) -> None:
    """Watch the site and send alarms, in the foreground. `vms up` does it by itself; this is for processes run apart."""
    from vms.cli.alarm_watch import run_alarms
    from vms.cli.running import alone
    from vms.observe import configure_logging
    from vms.processes import run_process

    site = ctx.obj.open_site()
    configure_logging(site.settings.log, site.zone)
    with alone(site, "alarms"):
        run_process(lambda: run_alarms(site))


async def _send_test(told: list[Destination]) -> list[tuple[str, bool, str, float]]:
    from vms.alarms.decision import Event, Message
    from vms.alarms.words import TEST_ALARM

    message = Message(Event.TEST, replace(TEST_ALARM, raised_ns=time.time_ns()))

    async def send(to: Destination) -> tuple[str, bool, str, float]:
        began = time.monotonic()
        try:
            ok, said = True, await to.send([message])
        except DeliveryError as error:
            ok, said = False, str(error)
        return to.name, ok, said, round(time.monotonic() - began, 3)

    return list(await asyncio.gather(*(send(to) for to in told)))


def _memory(site: Site) -> Memory:
    from vms.alarms.memory import FILE, read_memory

    try:
        return read_memory(site.path / FILE)
    except (MalformedError, OSError) as error:
        raise UserError(
            f"{site.path / FILE} cannot be read ({error}); the watch begins anew at its next start"
        ) from error


def _row(site: Site, alarm: Alarm) -> tuple[tuple[object, ...], str]:
    """Its line of the list, and why, below it."""
    from vms.alarms.words import lasted_ns, title_of
    from vms.cli.status_table import short
    from vms.localtime import format_local

    ended = alarm.cleared_ns is not None
    lasted = lasted_ns(alarm) if ended else time.time_ns() - alarm.since_ns
    since = format_local(alarm.since_ns, site.zone, digits=0)
    return (
        (alarm.number, "ended" if ended else "ACTIVE", since, short(lasted), title_of(alarm)),
        alarm.end or alarm.detail,
    )


def _destinations_json(memory: Memory, names: list[str]) -> dict[str, Any]:
    from vms.alarms.memory import Outbox
    from vms.localtime import format_utc

    boxes = {name: memory.outboxes.get(name, Outbox()) for name in names}
    return {
        name: {
            "waiting": len(box.waiting),
            "dropped": box.dropped,
            "last_sent": None if box.last_ok_ns is None else format_utc(box.last_ok_ns),
            "error": box.last_error or None,
        }
        for name, box in boxes.items()
    }


def _note_destinations(site: Site, memory: Memory) -> None:
    from vms.alarms.delivery import destinations

    names = [d.name for d in destinations(site)]
    if not names:
        note("nobody is told: set alarms.webhook_url or alarms.smtp_server (docs/faults.md)")
    for name, facts in _destinations_json(memory, names).items():
        if facts["error"]:
            note(f"{name}: {facts['waiting']} messages wait, {facts['error']}")
    with site.hold("alarms") as try_to_take:
        if try_to_take():
            note(f"nothing watches now; vms --data {site.path} up does, or: vms --data {site.path} alarm watch")
