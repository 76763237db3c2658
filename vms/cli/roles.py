"""`vms role …`: what the roles may, and who has them over which cameras."""

# ruff: noqa: PLR0917 - typer turns parameters into options, which are given by name

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
    from storage.catalogue import StoredGrant
    from vms.model import Camera
    from web.identity.access import Access, Role

roles_app = typer.Typer(help="Roles: list, give, take, grants, sees.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Hang the group into the root command."""
    app.add_typer(roles_app, name="role")


@roles_app.command("list", epilog="Example: vms role list")
def list_roles(as_json: JsonFlag = False) -> None:
    """Say what each role may do."""
    from web.identity.access import ROLES, Act

    if as_json:
        print_json(
            [
                {
                    "role": role.value,
                    "acts": [a.value for a in Act if a in rights.acts],
                    "purpose_required": [a.value for a in Act if a in rights.purposeful],
                }
                for role, rights in ROLES.items()
            ]
        )
        return
    rows = [
        (role, ", ".join(f"{a}*" if a in rights.purposeful else a for a in Act if a in rights.acts))
        for role, rights in ROLES.items()
    ]
    print_table(("role", "may (* with a stated purpose)"), rows)


@roles_app.command(epilog="Example: vms role give anna.nowak operator --group Centrum --expires '2027-01-01 00:00'")
def give(
    ctx: typer.Context,
    user: UserArgument,
    role: Annotated[str, typer.Argument(help="See: vms role list.", show_default=False)],
    group: Annotated[str | None, typer.Option("--group", help="Over the cameras of a group only.")] = None,
    camera: Annotated[str | None, typer.Option("--camera", help="Over one camera only: number, name or id.")] = None,
    expires: Annotated[str | None, typer.Option("--expires", metavar="TIME", help="Until then.")] = None,
    back_hours: Annotated[int | None, typer.Option("--back-hours", min=0, help="How far back.")] = None,
) -> None:
    """Give a user a role over all cameras, a group or one camera."""
    from vms.localtime import parse_instant
    from web.identity.access import Scope
    from web.identity.people import give_role

    if group is not None and camera is not None:
        raise UserError("give either --group or --camera, not both")
    site, wanted, now_ns = ctx.obj.open_site(), role_of(role), time.time_ns()
    expires_ns = None if expires is None else parse_instant(expires, site.zone, now_ns)
    scope = Scope.GROUP if group else Scope.CAMERA if camera else Scope.ALL

    async def work() -> StoredGrant:
        async with people_of(site) as catalogue:
            found = await find_user(catalogue, user)
            over = None if camera is None else (await catalogue.find(camera)).id
            return await give_role(
                catalogue, whoever_runs_this(), now_ns, found, role=wanted, scope=scope, group=group, camera_id=over,
                expires_ns=expires_ns, back_hours=back_hours,
            )  # fmt: skip

    granted = asyncio.run(work())
    note(f"user {user} is {granted.role} over {group or camera or 'all cameras'}")
    typer.echo(str(granted.id))


@roles_app.command(epilog="Example: vms role take anna.nowak operator")
def take(
    ctx: typer.Context,
    user: UserArgument,
    role: Annotated[str, typer.Argument(help="The role, or the id of one grant.", show_default=False)],
) -> None:
    """Take a role from a user, wherever it holds; or one grant. Live pictures that rested on it end within two seconds."""
    from web.identity.people import take_role

    site = ctx.obj.open_site()
    one = _uuid(role)
    wanted = None if one else role_of(role).value

    async def work() -> int:
        async with people_of(site) as catalogue:
            found = await find_user(catalogue, user)
            held = [g for g in await catalogue.grants(found.id) if g.id == one or g.role == wanted]
            for grant in held:
                await take_role(catalogue, whoever_runs_this(), time.time_ns(), found, grant)
            return len(held)

    taken = asyncio.run(work())
    if not taken:
        raise UserError(f"user {user} has no such role; see: vms role grants {user}")
    note(f"{'1 grant' if taken == 1 else f'{taken} grants'} taken from user {user}")


@roles_app.command(epilog="Example: vms role grants anna.nowak")
def grants(ctx: typer.Context, user: UserArgument, as_json: JsonFlag = False) -> None:
    """List a user's grants, expired ones too."""
    from vms.localtime import format_local, format_utc

    site = ctx.obj.open_site()

    async def work() -> tuple[list[StoredGrant], dict[UUID, Camera]]:
        async with people_of(site) as catalogue:
            found = await catalogue.grants((await find_user(catalogue, user)).id)
            return found, {c.id: c for c in await catalogue.cameras(include_retired=True)}

    found, cameras = asyncio.run(work())
    if as_json:
        print_json(
            [
                {
                    "id": str(g.id), "role": g.role, "scope": g.scope, "group": g.camera_group,
                    "camera_id": g.camera_id and str(g.camera_id), "created_by": g.created_by,
                    "expires": None if g.expires_ns is None else format_utc(g.expires_ns),
                    "back_ns": g.back_ns and str(g.back_ns),
                }
                for g in found
            ]
        )  # fmt: skip
        return
    rows = [
        (
            g.id, g.role,
            g.camera_group or (f"camera {cameras[g.camera_id].number}" if g.camera_id in cameras else "all cameras"),
            "-" if g.expires_ns is None else format_local(g.expires_ns, site.zone, digits=0), g.created_by,
        )
        for g in found
    ]  # fmt: skip
    print_table(("id", "role", "over", "until", "given by"), rows)


@roles_app.command(epilog="Example: vms role sees anna.nowak")
def sees(ctx: typer.Context, user: UserArgument, as_json: JsonFlag = False) -> None:
    """Say what a user may do now, camera by camera, by the function that decides it everywhere."""
    from web.identity.access import Act, access
    from web.identity.callers import grants_of

    site, now_ns = ctx.obj.open_site(), time.time_ns()

    async def work() -> list[tuple[Camera, Access]]:
        async with people_of(site) as catalogue:
            found = await find_user(catalogue, user)
            held = grants_of(await catalogue.grants(found.id)) if found.disabled_ns is None else ()
            return [(c, access(held, c, now_ns)) for c in await catalogue.cameras()]

    seen = [(camera, allowed) for camera, allowed in asyncio.run(work()) if allowed.acts]
    if as_json:
        print_json(
            [
                {"camera": c.number, "id": str(c.id), "acts": [a.value for a in Act if a in allowed.acts]}
                for c, allowed in seen
            ]
        )
        return
    print_table(
        ("camera", "name", "group", "may (* with a stated purpose)"),
        [
            (
                c.number,
                c.name,
                c.group,
                ", ".join(f"{a}*" if a in r.purpose_required else a for a in Act if a in r.acts),
            )
            for c, r in seen
        ],
    )


def role_of(text: str) -> Role:
    """The role with this name; UserError names those there are."""
    from web.identity.access import Role

    try:
        return Role(text.strip().lower().replace("-", "_"))
    except ValueError as error:
        raise UserError(f'there is no role "{text[:60]}"; known are {", ".join(Role)}') from error


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
