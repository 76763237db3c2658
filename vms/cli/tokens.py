"""`vms token …`: programs' keys to the interface. A secret is shown once; the catalogue has its digest."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from vms.cli.identity import find_user, people_of, whoever_runs_this
from vms.cli.output import JsonFlag, note, print_json, print_table
from vms.cli.users import UserArgument
from vms.errors import UserError

if TYPE_CHECKING:
    from storage.catalogue import Login, StoredToken

tokens_app = typer.Typer(help="API tokens: create, list, revoke.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Hang the group into the root command."""
    app.add_typer(tokens_app, name="token")


@tokens_app.command(epilog="Example: vms token create monitoring --name zabbix --act read_health --days 365")
def create(
    ctx: typer.Context,
    user: UserArgument,
    name: Annotated[str, typer.Option("--name", help="What it is for.")],
    act: Annotated[list[str], typer.Option("--act", help="An act it may do, if its user may; more than once.")],
    days: Annotated[int, typer.Option("--days", min=1, max=366, help="How long it is good.")] = 90,
) -> None:
    """Make a token of a user's, cut to some acts. The secret is shown now and never again."""
    from web.identity.access import Act
    from web.identity.people import create_token

    try:
        acts = {Act(one) for one in act}
    except ValueError as error:
        raise UserError(f"--act is one of {', '.join(Act)}") from error
    if not 1 <= len(name.strip()) <= 120:
        raise UserError("--name is one line of 1 to 120 characters")
    site = ctx.obj.open_site()

    async def work() -> tuple[StoredToken, str]:
        async with people_of(site) as catalogue:
            owner = await find_user(catalogue, user)
            return await create_token(
                catalogue, whoever_runs_this(), time.time_ns(), owner, name=name.strip(), acts=acts, days=days
            )

    made, secret = asyncio.run(work())
    note(f"token {made.id} of user {user}, for {days} days")
    typer.echo(secret)


@tokens_app.command("list", epilog="Example: vms token list")
def list_tokens(ctx: typer.Context, as_json: JsonFlag = False) -> None:
    """List tokens, the newest first; never their secrets."""
    from vms.localtime import format_local, format_utc

    site, now_ns = ctx.obj.open_site(), time.time_ns()

    async def work() -> list[Login]:
        async with people_of(site) as catalogue:
            return await catalogue.tokens()

    found = [(login.user, login.token) for login in asyncio.run(work()) if login.token is not None]
    if as_json:
        print_json(
            [
                {
                    "id": str(t.id), "name": t.name, "user": user.name, "acts": sorted(t.acts),
                    "expires": format_utc(t.expires_ns), "state": _state(t, now_ns),
                    "used": None if t.used_ns is None else format_utc(t.used_ns),
                }
                for user, t in found
            ]
        )  # fmt: skip
        return
    rows = [
        (
            t.id, t.name, user.name, ", ".join(sorted(t.acts)), format_local(t.expires_ns, site.zone, digits=0),
            _state(t, now_ns),
        )
        for user, t in found
    ]  # fmt: skip
    print_table(("id", "name", "user", "acts", "until", "state"), rows)


@tokens_app.command(epilog="Example: vms token revoke 7c7a1d5e-6b0c-4c5e-9b7e-0f1a2b3c4d5e")
def revoke(
    ctx: typer.Context, token: Annotated[str, typer.Argument(metavar="ID", help="The token's id.", show_default=False)]
) -> None:
    """End a token. Live pictures that it opened end within two seconds."""
    from web.identity.people import revoke_token

    site = ctx.obj.open_site()
    try:
        wanted = UUID(token)
    except ValueError as error:
        raise UserError("a token is named by its id; see: vms token list") from error

    async def work() -> None:
        async with people_of(site) as catalogue:
            login = (await catalogue.logins({wanted})).get(wanted)
            found = None if login is None else login.token
            if found is None:
                raise UserError("there is no such token; see: vms token list")
            await revoke_token(catalogue, whoever_runs_this(), time.time_ns(), found)

    asyncio.run(work())
    note("the token is revoked")


def _state(token: StoredToken, now_ns: int) -> str:
    if token.revoked_ns is not None:
        return "revoked"
    return "good" if token.expires_ns > now_ns else "expired"
