"""The root of the `vms` command: global options and the border at which errors become messages and exit codes.

Global options are understood before and after the command's name (`vms --data D camera list`, `vms camera list
--data D`). Errors of the house are one short message without traceback; `--debug` shows the traceback.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from vms.cli import (
    alarms,
    audit,
    bringing,
    cameras,
    check,
    demo,
    live,
    publish,
    rebuilding,
    records,
    retention,
    roles,
    run,
    site,
    status,
    tokens,
    up,
    users,
    web,
)
from vms.errors import UserError, VmsError

if TYPE_CHECKING:
    from vms.site import Site

_GLOBAL_WITH_VALUE = ("--data",)
_GLOBAL_FLAGS = ("--debug",)


@dataclass(frozen=True, slots=True)
class Session:
    """What the global options said; `typer.Context.obj` of every command."""

    data: Path
    debug: bool

    def open_site(self) -> Site:
        """The site's data folder, which must exist."""
        from vms.site import Site

        return self._log_of(Site.open(self.data))

    def create_site(self) -> Site:
        """The site's data folder, made where there is none."""
        from vms.site import Site

        return self._log_of(Site.create(self.data))

    def _log_of(self, site: Site) -> Site:
        """Commands that answer and end say only what is wrong; the site's processes set up their own log."""
        from dataclasses import replace

        from vms.observe import configure_logging
        from vms.settings import LogLevel

        level = LogLevel.DEBUG if self.debug else LogLevel.WARNING
        configure_logging(replace(site.settings.log, level=level), site.zone)
        return site


class RootGroup(TyperGroup):
    """Takes global options from anywhere on the line, and turns the house's errors into messages."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        parsed: list[str] = super().parse_args(ctx, hoist_global_options(args))
        return parsed

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except VmsError as error:
            if ctx.params.get("debug"):
                import traceback

                traceback.print_exception(error)
            from vms.observe import redact

            typer.echo(f"vms: {redact(str(error))}", err=True)
            raise typer.Exit(2 if isinstance(error, UserError) else 1) from error
        except typer.Abort as error:  # Ctrl-C or end of input at a question
            raise typer.Exit(130) from error


def hoist_global_options(args: list[str]) -> list[str]:
    """`args` with global options moved to the front; what follows `--` stays."""
    front: list[str] = []
    rest: list[str] = []
    position = 0
    while position < len(args):
        arg = args[position]
        if arg == "--":
            rest += args[position:]
            break
        if arg in _GLOBAL_WITH_VALUE and position + 1 == len(args):
            return [arg]  # its value is missing: let the parser say that, rather than take the command's name for it
        if arg in _GLOBAL_WITH_VALUE:
            front += args[position : position + 2]
            position += 1
        elif arg in _GLOBAL_FLAGS or arg.startswith(tuple(f"{name}=" for name in _GLOBAL_WITH_VALUE)):
            front.append(arg)
        else:
            rest.append(arg)
        position += 1
    return front + rest


app = typer.Typer(
    cls=RootGroup,
    name="vms",
    help="Stróż: records cameras, keeps the footage under law, and gives it back by camera and time.",
    epilog="Every command: vms COMMAND --help. Example: vms --data /srv/stroz camera list",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


@app.callback()
def _root(
    ctx: typer.Context,
    data: Annotated[
        Path,
        typer.Option(
            envvar="VMS_DATA",
            help="Data folder of the site.",
            show_default=True,
            metavar="DIR",
            readable=False,  # whether it can be read is ours to say
        ),
    ] = Path("vms-data"),
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    ctx.obj = Session(data, debug)
    if not sys.stdout.isatty():
        _write_utf8()


def _write_utf8() -> None:
    """Names have Polish letters; a pipe under LANG=C must not fail on them."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(encoding="utf-8", errors="backslashreplace")


site.register(app)
cameras.register(app)
records.register(app)
retention.register(app)
check.register(app)
rebuilding.register(app)
bringing.register(app)
alarms.register(app)
users.register(app)
roles.register(app)
tokens.register(app)
audit.register(app)
up.register(app)
web.register(app)
status.register(app)
demo.register(app)
publish.register(app)
live.register(app)
run.register(app)
