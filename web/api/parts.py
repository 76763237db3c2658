"""What the interface is put together from, and how a request finds out who asks.

`Parts` is handed to `create_app` once and reached through `request.app.state.parts`. `Need` is the one door of every route:
who asks, by session cookie or bearer token; that an unsafe request by cookie comes from our own page; that a one-time
password was changed, a sensitive act confirmed, and the act allowed. Routes about a camera ask `camera_for` besides.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from uuid import UUID

from fastapi import Request
from starlette.requests import HTTPConnection

from vms.model import Camera
from web.identity.access import Access, Act
from web.identity.callers import Caller
from web.identity.refusals import Code, Refusal, not_found

if TYPE_CHECKING:
    from storage.catalogue import Catalogue
    from vms.clock import Clock
    from vms.feed import FeedClient
    from vms.metrics import Metrics
    from vms.site import Site
    from web.api.ice import IceServers
    from web.api.live_gateway import GatewayClient
    from web.api.live_views import LiveViews
    from web.api.watching import Watch
    from web.identity.checkpoints import AuditKey
    from web.identity.signing_in import Identity

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True)
class Parts:
    """Everything the routes use. Made in `web.api.process`, ended there."""

    site: Site
    catalogue: Catalogue
    identity: Identity
    watch: Watch
    views: LiveViews
    gateway: GatewayClient
    feed: FeedClient
    ice: IceServers
    audit_key: AuditKey
    metrics: Metrics
    clock: Clock
    tls: bool  # whether we are reached over TLS only

    @property
    def cookie(self) -> str:
        """The session cookie's name. Browsers keep the prefix for TLS; on loopback without it there is no network to guard."""
        return "__Host-stroz" if self.tls else "stroz"

    @property
    def device_cookie(self) -> str:
        return "__Host-stroz-device" if self.tls else "stroz-device"


def parts_of(connection: HTTPConnection) -> Parts:
    parts: Parts = connection.app.state.parts
    return parts


def ip_of(connection: HTTPConnection) -> str:
    """The client's IP address. Headers of proxies are not believed."""
    return connection.client.host if connection.client else ""


@dataclass(frozen=True)
class Need:
    """A dependency that gives the caller. `act`: must be allowed; over cameras where `somewhere`, else over the site.

    `confirmed`: the password must have been given within the last minutes. `fresh`: also with a one-time password.
    `browser`: not by a program's token, which is not to make or end other logins.
    """

    act: Act | None = None
    somewhere: bool = False
    confirmed: bool = False
    fresh: bool = False
    browser: bool = False

    async def __call__(self, request: Request) -> Caller:
        caller = await caller_of_request(request)
        if caller.login.user.must_change_password and not self.fresh:
            raise Refusal(Code.CHANGE_PASSWORD)
        if self.browser and caller.login.session is None:
            raise Refusal(Code.FORBIDDEN, "not by an API token")
        if self.act is not None:
            allowed = self.act in (caller.acts_somewhere() if self.somewhere else caller.access(None).acts)
            if not allowed:
                raise Refusal(Code.FORBIDDEN, f"{self.act.value} is needed")
        if self.confirmed and not caller.confirmed:
            raise Refusal(Code.CONFIRM_PASSWORD)
        return caller


async def caller_of_request(request: Request) -> Caller:
    """Who asks. Refusals NOT_SIGNED_IN, CSRF."""
    parts, ip = parts_of(request), ip_of(request)
    scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
    if scheme:
        if scheme.lower() != "bearer":
            raise Refusal(Code.NOT_SIGNED_IN)
        return await parts.identity.by_token(bearer.strip(), ip=ip)
    secret = request.cookies.get(parts.cookie, "")
    caller = await parts.identity.by_session(secret, ip=ip)
    if request.method not in SAFE:
        require_same_origin(request)
        given = request.headers.get("x-csrf-token", "")
        if not hmac.compare_digest(given.encode("utf-8", "replace"), caller.csrf.encode()):
            raise Refusal(Code.CSRF, "the header X-CSRF-Token is missing or of another session")
    return caller


def require_same_origin(connection: HTTPConnection) -> None:
    """Refusal CSRF where a browser says that another site's page asks."""
    origin = connection.headers.get("origin")
    if origin is None:
        if connection.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            raise Refusal(Code.CSRF, "the request comes from another site")
        return
    try:
        parts = urlsplit(origin if len(origin) < 512 else "")
    except ValueError:  # an address in brackets that is none
        parts = urlsplit("")
    secure = {"https": True, "wss": True}.get(connection.url.scheme, False)
    if parts.netloc.lower() != connection.headers.get("host", "").lower() or (parts.scheme == "https") != secure:
        raise Refusal(Code.CSRF, "the request comes from another site")


def camera_for(parts: Parts, caller: Caller, camera_id: UUID, act: Act | None = None) -> tuple[Camera, Access]:
    """The camera, and what the caller may do with it.

    Refusals NOT_FOUND when it is not there or `act` (anything) is not allowed, CATALOGUE_AWAY while nobody can know yet.
    """
    camera = parts.watch.registered().get(camera_id)
    if camera is None:
        raise not_found()
    allowed = caller.access(camera)
    if not allowed.acts or (act is not None and not allowed.may(act)):
        raise not_found()
    return camera, allowed
