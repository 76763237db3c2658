"""The JSON of the interface about people: sessions, users, roles, grants, tokens. Conventions as in `web.api.schemas`."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from web.api.schemas import CAMERA_ID, Incoming, Instant, Name, Outgoing, Password, Text, example, shown
from web.identity.access import Act, Rendition, Role, Scope

Language = Literal["pl", "en"]
LoginName = Annotated[str, Field(min_length=1, max_length=64, examples=["anna.nowak"])]


class SetUp(Incoming):
    model_config = example(
        setup_code="abcde-fghjk-mnpqr", name="jan.kowalski", password="…", display_name="Jan Kowalski", language="pl"
    )

    setup_code: Annotated[str, Field(max_length=64)]
    name: LoginName
    password: Password
    display_name: Text = ""
    language: Language = "pl"


class SignIn(Incoming):
    model_config = example(name="anna.nowak", password="…")

    name: Annotated[str, Field(max_length=256)]
    password: Password


class PasswordOnly(Incoming):
    model_config = example(password="…")

    password: Password


class PasswordChange(Incoming):
    model_config = example(old="…", new="zielony tramwaj jedzie")

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
    model_config = example(items=[shown(User)], next="YW5uYS5ub3dhaw")

    items: list[User]
    next: str | None


class NewGrant(Incoming):
    model_config = example(role="operator", scope="group", group="Śródmieście", expires_at=None, back_hours=48)

    role: Role
    scope: Scope = Scope.ALL
    group: Name | None = None
    camera_id: UUID | None = None
    expires_at: Instant | None = None
    back_hours: int | None = Field(None, ge=0, le=876_000, description="How far back; null: any age.")


class NewUser(Incoming):
    model_config = example(
        name="anna.nowak", display_name="Anna Nowak", language="pl", grant={"role": "operator", "scope": "all"}
    )

    name: LoginName
    display_name: Text = ""
    language: Language = "pl"
    grant: NewGrant | None = Field(None, description="The first role. Whoever has none sees nothing.")


class UserChange(Incoming):
    model_config = example(display_name="Anna Nowak-Lis", disabled=False)

    display_name: Text | None = None
    language: Language | None = None
    disabled: bool | None = None


class UserCreated(Outgoing):
    model_config = example(user=shown(User), password="abcde-fghjk-mnpqr")

    user: User
    password: str = Field(description="One-time: shown now and never again; must be changed at the first sign-in.")


class OneTimePassword(Outgoing):
    model_config = example(password="abcde-fghjk-mnpqr")

    password: str


class RoleInfo(Outgoing):
    role: Role
    acts: list[Act]
    purpose_required: list[Act]
    footage: bool


class RoleList(Outgoing):
    model_config = example(
        items=[{"role": "operator", "acts": ["view_live", "view_recorded", "place_hold"],
                "purpose_required": ["view_recorded"], "footage": True}]
    )  # fmt: skip

    items: list[RoleInfo]


class Grant(Outgoing):
    model_config = example(
        id=CAMERA_ID, user_id=CAMERA_ID, role="operator", scope="group", group="Śródmieście", camera_id=None,
        expires_at=None, back_hours=48, created_at="2026-11-01T08:00:00.000Z", created_by="jan.kowalski",
    )  # fmt: skip

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
    model_config = example(items=[shown(Grant)])

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

    model_config = example(
        site_acts=["read_health"],
        cameras=[
            {"id": CAMERA_ID, "number": 12, "name": "Rynek 1", "group": "Śródmieście", "acts": ["view_live"],
             "sights": [{"act": "view_live", "rendition": "original", "back_hours": 0.0}], "purpose_required": []}
        ],
    )  # fmt: skip

    site_acts: list[Act]
    cameras: list[SeenCamera]


class Token(Outgoing):
    model_config = example(
        id=CAMERA_ID, name="zabbix", user="jan.kowalski", acts=["read_health"], created_at="2026-11-01T08:00:00.000Z",
        expires_at="2027-01-30T08:00:00.000Z", used_at=None, revoked=False,
    )  # fmt: skip

    id: UUID
    name: str
    user: str
    acts: list[Act]
    created_at: Instant
    expires_at: Instant
    used_at: Instant | None
    revoked: bool


class TokenPage(Outgoing):
    model_config = example(items=[shown(Token)], next=None)

    items: list[Token]
    next: str | None


class NewToken(Incoming):
    model_config = example(name="zabbix", acts=["read_health"], days=90)

    name: Name
    acts: list[Act] = Field(min_length=1, max_length=len(Act))
    days: int = Field(90, ge=1, le=366)


class TokenCreated(Outgoing):
    model_config = example(token=shown(Token), secret="stroz_…")

    token: Token
    secret: str = Field(description="Shown now and never again.", examples=["stroz_…"])


class OpenSession(Outgoing):
    model_config = example(
        id=CAMERA_ID, user="anna.nowak", user_id=CAMERA_ID, ip="10.20.0.14", agent="Mozilla/5.0 …",
        created_at="2026-11-30T07:15:00.000Z", seen_at="2026-11-30T09:02:10.000Z",
        expires_at="2026-11-30T20:15:00.000Z", mine=True, live=16,
    )  # fmt: skip

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
    model_config = example(items=[shown(OpenSession)], next=None)

    items: list[OpenSession]
    next: str | None
