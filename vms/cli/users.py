"""`vms user …`: who may sign in. Passwords are made here, shown once and must be changed at the first sign-in."""

# ruff: noqa: PLR0917 - typer turns parameters into options, which are given by name

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vms.cli.identity import find_user, people_of, whoever_runs_this
from vms.cli.output import JsonFlag, note, print_json, print_table
from vms.errors import UserError

if TYPE_CHECKING:
    from storage.catalogue import StoredGrant, User

users_app = typer.Typer(help="Users: add, list, password, disable, enable, remove.", no_args_is_help=True)
UserArgument = Annotated[str, typer.Argument(metavar="USER", help="Login name.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Hang the group into the root command."""
    app.add_typer(users_app, name="user")


@users_app.command(epilog="Example: vms user add anna.nowak --display-name 'Anna Nowak' --role operator")
def add(
    ctx: typer.Context,
    name: UserArgument,
    display_name: Annotated[str, typer.Option("--display-name", help="As people say it.")] = "",
    language: Annotated[str, typer.Option("--language", help="pl or en.")] = "pl",
    role: Annotated[str | None, typer.Option("--role", help="A role over all cameras; others: vms role give.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Add a user. The one-time password is shown now and never again."""
    from vms.cli.roles import role_of
    from web.identity.passwords import Passwords
    from web.identity.people import LANGUAGES, create_user

    if language not in LANGUAGES:
        raise UserError(f"--language is {' or '.join(LANGUAGES)}")
    site, given = ctx.obj.open_site(), None if role is None else role_of(role)

    async def work() -> tuple[User, str]:
        async with people_of(site) as catalogue:
            return await create_user(
                catalogue, Passwords(), whoever_runs_this(), time.time_ns(), name=name, display_name=display_name,
                language=language, role=given,
            )  # fmt: skip

    user, password = asyncio.run(work())
    if as_json:
        print_json({"id": str(user.id), "name": user.name, "password": password})
        return
    note(f"added user {user.name}" + (f", {given}" if given else "; give a role with: vms role give"))
    typer.echo(password)


@users_app.command("list", epilog="Example: vms user list --json")
def list_users(ctx: typer.Context, as_json: JsonFlag = False) -> None:
    """List the users by name, with their roles in force."""
    from vms.localtime import format_local, format_utc
    from web.identity.access import roles_in_force
    from web.identity.callers import grants_of

    site = ctx.obj.open_site()

    async def work() -> tuple[list[User], list[StoredGrant]]:
        async with people_of(site) as catalogue:
            found: list[User] = []
            while page := await catalogue.users(after=found[-1].name if found else "", limit=1000):
                found += page
            return found, await catalogue.all_grants()

    users, grants = asyncio.run(work())
    now_ns = time.time_ns()
    roles = {u.id: roles_in_force(grants_of(g for g in grants if g.user_id == u.id), now_ns) for u in users}
    if as_json:
        print_json(
            [
                {
                    "id": str(u.id), "name": u.name, "display_name": u.display_name, "language": u.language,
                    "disabled": u.disabled_ns is not None, "must_change_password": u.must_change_password,
                    "roles": [r.value for r in roles[u.id]],
                    "last_sign_in": None if u.signed_in_ns is None else format_utc(u.signed_in_ns),
                }
                for u in users
            ]
        )  # fmt: skip
        return
    rows = [
        (
            u.name, u.display_name, ", ".join(roles[u.id]) or "-",
            "never" if u.signed_in_ns is None else format_local(u.signed_in_ns, site.zone, digits=0), _state(u),
        )
        for u in users
    ]  # fmt: skip
    print_table(("name", "display name", "roles", "last sign-in", "state"), rows)


@users_app.command(epilog="Example: vms user password anna.nowak")
def password(ctx: typer.Context, name: UserArgument) -> None:
    """Give a user a new one-time password, shown once. Sessions, tokens and live pictures of the user end."""
    from web.identity.passwords import Passwords
    from web.identity.people import reset_password

    site = ctx.obj.open_site()

    async def work() -> str:
        async with people_of(site) as catalogue:
            user = await find_user(catalogue, name)
            return await reset_password(catalogue, Passwords(), whoever_runs_this(), time.time_ns(), user)

    typer.echo(asyncio.run(work()))


@users_app.command(epilog="Example: vms user disable anna.nowak")
def disable(ctx: typer.Context, name: UserArgument) -> None:
    """Switch a user off. Sessions, tokens and live pictures of the user end within two seconds."""
    _change(ctx, name, disabled=True)
    note(f"user {name} is switched off")


@users_app.command(epilog="Example: vms user enable anna.nowak")
def enable(ctx: typer.Context, name: UserArgument) -> None:
    """Switch a user on again."""
    _change(ctx, name, disabled=False)
    note(f"user {name} may sign in")


@users_app.command(epilog="Example: vms user remove anna.nowak --yes")
def remove(
    ctx: typer.Context, name: UserArgument, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False
) -> None:
    """Remove a user for ever. What is on record keeps the name, which is free again."""
    from web.identity.people import remove_user

    if not yes:
        if not sys.stdin.isatty():
            raise UserError(f"to remove user {name!r} without being asked, add --yes")
        if not typer.confirm(f"Remove user {name}?"):
            raise UserError("nothing was changed")
    site = ctx.obj.open_site()

    async def work() -> None:
        async with people_of(site) as catalogue:
            await remove_user(catalogue, whoever_runs_this(), time.time_ns(), await find_user(catalogue, name))

    asyncio.run(work())
    note(f"user {name} is removed")


def _change(ctx: typer.Context, name: str, **wishes: Any) -> None:
    from web.identity.people import change_user

    site = ctx.obj.open_site()

    async def work() -> None:
        async with people_of(site) as catalogue:
            user = await find_user(catalogue, name)
            await change_user(catalogue, whoever_runs_this(), time.time_ns(), user, wishes)

    asyncio.run(work())


def _state(user: User) -> str:
    if user.disabled_ns is not None:
        return "switched off"
    return "one-time password" if user.must_change_password else "active"
