"""Live views: who watches which camera now, from the offer to the end, and that nobody watches longer than they may.

Owns the bond between a session of the gateway and the login that opened it: kept in the catalogue, so that it outlives this
process, and on record from beginning to end. Nobody takes the places of all others: each user has a share. Once a second
everything that is open is compared with what may be: views whose login ended, whose user was switched off or whose right was
taken away are ended in the gateway, all at the same time; so is a session nobody here knows. While the catalogue is away what was last known counts, and times run out all the same.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from uuid import UUID, uuid4

from storage.catalogue import Actor, Catalogue, Happening, LiveView, Login, Why
from vms.clock import Clock
from vms.errors import CatalogueError
from vms.localtime import format_utc
from vms.metrics import Metrics
from vms.model import Camera, Stream, StreamKind
from vms.timeline import SECOND_NS
from web.api.live_gateway import GatewayClient, LiveAnswer
from web.api.watching import Watch
from web.identity.access import Access, Act, Rendition, is_purpose
from web.identity.callers import Caller, access_of
from web.identity.refusals import Code, Refusal, not_found

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
MOST_CONNECTING = 32  # of one user: pictures that are being set up, whose number the gateway bounds for all together
FULL_RETRY_SECONDS = 5
BUSY_RETRY_SECONDS = 1
OFF_RETRY_SECONDS = 30  # of a camera that is switched off: it comes when somebody switches it on
LINGERING_NS = 60_000_000_000  # how long logins that listen no more are read on
CATALOGUE_SECONDS = (
    8.0  # how long comparing waits for the catalogue: the gateway ends all that is not compared for 30 s
)
SETTLING_NS = 5_000_000_000  # so young a view may be missing in a list that was asked for before it
Revoked = Callable[[list[UUID], str], None]


class LiveViews:
    """All live views of the site. Use from one event loop; `run` beside it."""

    def __init__(
        self, catalogue: Catalogue, gateway: GatewayClient, watch: Watch, clock: Clock, metrics: Metrics, *,
        most_of_user: int,
    ) -> None:  # fmt: skip
        self._catalogue, self._gateway, self._watch = catalogue, gateway, watch
        self._clock, self._metrics, self._most_of_user = clock, metrics, most_of_user
        self.views: dict[UUID, LiveView] = {}
        self.gateway_answers: bool | None = None  # None: not asked yet
        self.logins: dict[UUID, Login] = {}  # of views and of `listen`ers, as last read
        self._opening: dict[UUID, UUID] = {}  # whose offers are with the gateway now
        self._connecting: set[UUID] = set()  # views that have shown no picture yet, as far as the gateway said
        self._listening: dict[UUID, set[Revoked]] = {}
        self._left: dict[UUID, int] = {}  # when logins ceased to listen: a page whose connection broke comes back
        self._loaded = False
        self._woken = asyncio.Event()
        metrics.live_views.set(0)

    async def begin(
        self, caller: Caller, camera: Camera, allowed: Access, *, stream: str, purpose: str, offer: str
    ) -> tuple[LiveView, LiveAnswer]:
        """Open a session for this caller.

        Refusals NOT_FOUND, PURPOSE_REQUIRED, TOO_MANY_VIEWS, TOO_MANY_CONNECTING, the gateway's.
        """
        if not _may_watch(allowed):
            raise not_found()
        if Act.VIEW_LIVE in allowed.purpose_required and not is_purpose(purpose):
            raise Refusal(Code.PURPOSE_REQUIRED)
        first, others = streams_for(camera, stream)
        self._admit(caller.id)
        view_id, now_ns = uuid4(), self._clock.wall_ns()
        self._opening[view_id] = caller.id
        try:
            answer = await self._gateway.open(view_id, first.id, offer, [s.id for s in others])
            shown = next((s.kind.value for s in camera.streams if s.id == answer.stream_id), first.kind.value)
            view = LiveView(
                view_id, caller.login.id, caller.id, caller.login.user.name, camera.id, answer.stream_id, shown, purpose,
                now_ns,
            )  # fmt: skip
            record = caller.actor.does(
                "view_live", now_ns, camera=camera, purpose=purpose, view=str(view_id), stream=shown,
                transcoded=answer.transcoded,
            )  # fmt: skip
            try:
                await self._catalogue.begin_live_view(view, record)
            except BaseException:  # nobody watches what is not on record
                await asyncio.shield(self._close(view_id))
                raise
            self.views[view_id] = view
            self._connecting.add(view_id)
            self.logins.setdefault(caller.login.id, caller.login)
            self._metrics.live_views.set(len(self.views))
            return view, answer
        finally:
            del self._opening[view_id]

    def _admit(self, user_id: UUID) -> None:
        watched = [v.id for v in self.views.values() if v.user_id == user_id]
        opening = sum(owner == user_id for owner in self._opening.values())
        if len(watched) + opening >= self._most_of_user:
            detail = f"there are {self._most_of_user} pictures already"
            raise Refusal(Code.TOO_MANY_VIEWS, detail, retry_after=FULL_RETRY_SECONDS)
        if len(self._connecting.intersection(watched)) + opening >= MOST_CONNECTING:
            detail = f"{MOST_CONNECTING} pictures are being set up already"
            raise Refusal(Code.TOO_MANY_CONNECTING, detail, retry_after=BUSY_RETRY_SECONDS)

    async def switch(self, caller: Caller, view_id: UUID, stream: str) -> None:
        """Show main or sub in a view of the caller's. Refusals NOT_FOUND, NO_SUCH_STREAM, the gateway's."""
        view = self.of_caller(caller, view_id)
        camera = self._watch.registered().get(view.camera_id)
        if camera is None or not _may_watch(caller.access(camera)):
            raise not_found()
        wanted = next((s for s in camera.streams if s.kind.value == stream), None)
        if wanted is None:
            raise Refusal(Code.NO_SUCH_STREAM, f"the camera has no {stream} stream")
        await self._gateway.switch(view_id, wanted.id)
        record = caller.actor.does(
            "switch_live", self._clock.wall_ns(), camera=camera, view=str(view_id), stream=stream
        )
        await self._catalogue.change_live_view(view_id, wanted.id, stream, record=record)
        if view_id not in self.views:
            raise not_found()  # it was ended meanwhile
        self.views[view_id] = replace(view, stream_id=wanted.id, stream=stream)

    async def snapshot(self, caller: Caller, view_id: UUID, captured_ns: int | None) -> None:
        """Put on record that a still of a view of the caller's is kept. Refusal NOT_FOUND also for a view that may no longer be."""
        view = self.of_caller(caller, view_id)
        camera = self._watch.registered().get(view.camera_id)
        if camera is None or not _may_watch(caller.access(camera)):
            raise not_found()
        record = caller.actor.does(
            "snapshot", self._clock.wall_ns(), camera=camera, purpose=view.purpose, view=str(view_id),
            stream=view.stream, captured_at=None if captured_ns is None else format_utc(captured_ns),
        )  # fmt: skip
        await self._catalogue.audit(record)

    async def end(self, caller: Caller, view_id: UUID) -> None:
        """End a view of the caller's. Refusal NOT_FOUND for another's and for none."""
        view = self.of_caller(caller, view_id)
        await self._gateway.close(view_id)
        await self._forget([view], "closed", caller.actor)

    def of_caller(self, caller: Caller, view_id: UUID) -> LiveView:
        """A view that this very login opened: what else its user has open is no business of a token's."""
        view = self.views.get(view_id)
        if view is None or view.login_id != caller.login.id:
            raise not_found()
        return view

    def wake(self) -> None:
        """Compare now: somebody's rights have changed."""
        self._woken.set()

    def listen(self, login: Login, revoked: Revoked) -> Callable[[], None]:
        """Hear of views of this login that were ended; keeps the login in `logins`. Gives how to stop."""
        self.logins.setdefault(login.id, login)
        self._listening.setdefault(login.id, set()).add(revoked)

        def stop() -> None:
            there = self._listening.get(login.id, set())
            there.discard(revoked)
            if not there:
                self._listening.pop(login.id, None)
                self._left[login.id] = self._clock.mono_ns()

        return stop

    async def run(self) -> None:
        """Compare once a second and whenever woken, for ever."""
        while True:
            self._woken.clear()
            await self.compare()
            waiting = asyncio.create_task(self._woken.wait(), name="live views woken")
            ticking = asyncio.create_task(self._clock.sleep(LOOK_SECONDS), name="next look at live views")
            try:
                await asyncio.wait({waiting, ticking}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                waiting.cancel()
                ticking.cancel()

    async def compare(self) -> None:
        """End what may not be open, forget what is not, close what nobody knows."""
        await self._read_logins()
        now_ns = self._clock.wall_ns()
        await self._revoke([view for view in self.views.values() if not self._is_allowed(view, now_ns)])
        try:
            there = await self._gateway.sessions()
        except Refusal as refusal:
            log.debug("the gateway's sessions cannot be compared: %s", refusal)
            self.gateway_answers = False
            return
        self.gateway_answers = True
        self._connecting -= {view_id for view_id, facts in there.items() if facts.get("state") == "live"}
        settled = [view for view in self.views.values() if now_ns - view.started_ns > SETTLING_NS]
        await self._forget([view for view in settled if view.id not in there], "gone")
        if self._loaded:
            await asyncio.gather(*map(self._close, there.keys() - self.views.keys() - self._opening.keys()))

    def _is_allowed(self, view: LiveView, now_ns: int) -> bool:
        if self._watch.version is None:
            return True  # not read yet
        camera = self._watch.cameras.get(view.camera_id)
        return camera is not None and _may_watch(access_of(self.logins.get(view.login_id), camera, now_ns))

    async def _read_logins(self) -> None:
        try:
            async with asyncio.timeout(CATALOGUE_SECONDS):
                if not self._loaded:
                    self.views |= {v.id: v for v in await self._catalogue.live_views()}
                    self._loaded = True
                    self._metrics.live_views.set(len(self.views))
                wanted = {v.login_id for v in self.views.values()} | self._listening.keys() | self._left.keys()
                found = await self._catalogue.logins(wanted)
            since_ns = self._clock.mono_ns() - LINGERING_NS
            self._left = {login_id: ns for login_id, ns in self._left.items() if ns > since_ns}
            self.logins = found | {
                i: login for i, login in self.logins.items() if i not in wanted and self._is_asked(i)
            }
        except (CatalogueError, TimeoutError) as error:
            log.warning("who may watch cannot be asked, what was known last counts: %s", error or "no answer")

    def _is_asked(self, login_id: UUID) -> bool:
        """Whether somebody came to listen or watch while the others were being read."""
        return login_id in self._listening or any(v.login_id == login_id for v in self.views.values())

    async def _revoke(self, views: Sequence[LiveView]) -> None:
        """Close them all at once, for each second counts, and only then put it on record."""
        closed = await asyncio.gather(*(self._close(view.id) for view in views))
        ended = [view for view, done in zip(views, closed, strict=True) if done]  # others are tried again in a second
        for login_id in {view.login_id for view in ended}:
            code = "not_signed_in" if self.logins.get(login_id) is None else "forbidden"
            for revoked in list(self._listening.get(login_id, ())):
                revoked([view.id for view in ended if view.login_id == login_id], code)
        await self._forget(ended, "revoked")

    async def _forget(self, views: Sequence[LiveView], why: Why, actor: Actor | None = None) -> None:
        ended = [view for view in views if self.views.pop(view.id, None) is not None]
        if not ended:
            return
        self._connecting.difference_update(view.id for view in ended)
        self._metrics.live_views.set(len(self.views))
        self._metrics.live_views_ended.labels(why).inc(len(ended))
        now_ns = self._clock.wall_ns()
        records = {view.id: self._end_of(view, why, actor, now_ns) for view in ended}
        try:
            async with asyncio.timeout(CATALOGUE_SECONDS):
                await self._catalogue.end_live_views(records)
        except (CatalogueError, TimeoutError) as error:
            log.warning("the end of live views could not be put on record: %s", error or "no answer")
            self._loaded = False  # read again what the catalogue still has, and end it then

    def _end_of(self, view: LiveView, why: Why, actor: Actor | None, now_ns: int) -> Happening:
        who = actor or Actor(view.user_name, view.user_id)
        seconds = max(0, now_ns - view.started_ns) // SECOND_NS
        camera = self._watch.cameras.get(view.camera_id)
        return who.does("end_live", now_ns, camera=camera, view=str(view.id), why=why, seconds=seconds)

    async def _close(self, view_id: UUID) -> bool:
        try:
            await self._gateway.close(view_id)
        except Refusal as refusal:
            log.warning("a session of the gateway could not be ended, it is tried again: %s", refusal)
            return False
        return True


def _may_watch(allowed: Access) -> bool:
    """The gateway shows pictures as the camera sends them and masks none: the right to a masked one opens nothing here."""
    return allowed.sees(Act.VIEW_LIVE, Rendition.ORIGINAL)


def streams_for(camera: Camera, wanted: str) -> tuple[Stream, list[Stream]]:
    """The stream to show and what to fall back to: sub first, but for the main stream when it is asked for."""
    order = [StreamKind.MAIN, StreamKind.SUB] if wanted == "main" else [StreamKind.SUB, StreamKind.MAIN]
    found = [s for kind in order for s in camera.streams if s.kind is kind]
    if not found or not camera.enabled:
        why = "the camera is switched off" if found else "the camera has no stream"
        raise Refusal(Code.SOURCE_NOT_LIVE, why, retry_after=OFF_RETRY_SECONDS)
    return found[0], found[1:]
