"""The JSON of the interface about people: sessions, users, roles, grants, tokens. Conventions as in `web.api.schemas`."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from web.api.schemas import CAMERA_ID, Incoming, Instant, Name, Outgoing, Password, Text, example
from web.identity.access import Act, Rendition, Role, Scope

Language = Literal["pl", "en"]
LoginName = Annotated[str, Field(min_length=1, max_length=64, examples=["anna.nowak"])]


class SetUp(Incoming):
    setup_code: Annotated[str, Field(max_length=64)]
    name: LoginName
    password: Password
    display_name: Text = ""
    language: Language = "pl"


class SignIn(Incoming):
    name: Annotated[str, Field(max_length=256)]
    password: Password


class PasswordOnly(Incoming):
    password: Password


class PasswordChange(Incoming):
    old: Password
    new: Password


class SessionUser(Outgoing):
    id: UUID
    name: str
    display_name: str
    language: Language
    must_change_password: bool


class LoginNotice(Outgoing):
    """What happened to the account before this sign-in, for its owner to look at."""

    last_at: Instant | None
    last_ip: str | None
    failed_since: int


class Session(Outgoing):
    model_config = example(
        id=CAMERA_ID,
        user={"id": CAMERA_ID, "name": "anna.nowak", "display_name": "Anna Nowak", "language": "pl",
              "must_change_password": False},
        roles=["operator"], acts=["manage_layouts", "read_health", "view_live"], csrf="Yx3…",
        expires_at="2026-11-30T20:15:00.000Z", confirmed_until=None,
        login_notice={"last_at": "2026-11-29T06:58:11.000Z", "last_ip": "10.20.0.14", "failed_since": 0},
    )  # fmt: skip

    id: UUID
    user: SessionUser
    roles: list[Role]
    acts: list[Act] = Field(description="Everything the roles in force allow somewhere; per camera see the cameras.")
    csrf: str = Field(description="Header X-CSRF-Token of every unsafe request.")
    expires_at: Instant
    confirmed_until: Instant | None = Field(description="Until when sensitive acts need no password again.")
    login_notice: LoginNotice


class User(Outgoing):
    model_config = example(
        id=CAMERA_ID, name="anna.nowak", display_name="Anna Nowak", language="pl", disabled=False,
        must_change_password=False, created_at="2026-11-01T08:00:00.000Z", last_sign_in_at=None, roles=["operator"],
        version=3,
    )  # fmt: skip

    id: UUID
    name: str
    display_name: str
    language: Language
    disabled: bool
    must_change_password: bool
    created_at: Instant
    last_sign_in_at: Instant | None
    roles: list[Role]
    version: int


class UserPage(Outgoing):
    items: list[User]
    next: str | None


class NewGrant(Incoming):
    role: Role
    scope: Scope = Scope.ALL
    group: Name | None = None
    camera_id: UUID | None = None
    expires_at: Instant | None = None
    back_hours: int | None = Field(None, ge=0, le=876_000, description="How far back; null: any age.")


class NewUser(Incoming):
    name: LoginName
    display_name: Text = ""
    language: Language = "pl"
    grant: NewGrant | None = Field(None, description="The first role. Whoever has none sees nothing.")


class UserChange(Incoming):
    display_name: Text | None = None
    language: Language | None = None
    disabled: bool | None = None


class UserCreated(Outgoing):
    user: User
    password: str = Field(description="One-time: shown now and never again; must be changed at the first sign-in.")


class OneTimePassword(Outgoing):
    password: str


class RoleInfo(Outgoing):
    role: Role
    acts: list[Act]
    purpose_required: list[Act]
    footage: bool


class RoleList(Outgoing):
    items: list[RoleInfo]


class Grant(Outgoing):
    id: UUID
    user_id: UUID
    role: Role
    scope: Scope
    group: str | None
    camera_id: UUID | None
    expires_at: Instant | None
    back_hours: int | None
    created_at: Instant
    created_by: str


class GrantList(Outgoing):
    items: list[Grant]


class Sight(Outgoing):
    """A way of seeing footage. Several of one camera do not add up: each has its own look back."""

    act: Act
    rendition: Rendition
    back_hours: float | None = Field(description="null: footage of any age; 0 for what is live.")


class SeenCamera(Outgoing):
    id: UUID
    number: int
    name: str
    group: str
    acts: list[Act]
    sights: list[Sight]
    purpose_required: list[Act]


class Sees(Outgoing):
    """What a user may do now, camera by camera; cameras without any right are left out."""

    site_acts: list[Act]
    cameras: list[SeenCamera]


class Token(Outgoing):
    id: UUID
    name: str
    user: str
    acts: list[Act]
    created_at: Instant
    expires_at: Instant
    used_at: Instant | None
    revoked: bool


class TokenPage(Outgoing):
    items: list[Token]
    next: str | None


class NewToken(Incoming):
    name: Name
    acts: list[Act] = Field(min_length=1, max_length=len(Act))
    days: int = Field(90, ge=1, le=366)


class TokenCreated(Outgoing):
    token: Token
    secret: str = Field(description="Shown now and never again.", examples=["stroz_…"])


class OpenSession(Outgoing):
    id: UUID
    user: str
    user_id: UUID
    ip: str
    agent: str
    created_at: Instant
    seen_at: Instant
    expires_at: Instant
    mine: bool
    live: int = Field(description="Live pictures that are open in it.")


class OpenSessionPage(Outgoing):
    items: list[OpenSession]
    next: str | None
