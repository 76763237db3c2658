"""All sessions of the gateway: who gets in, what each is shown, and which there are.

Admission counts sessions from the moment they are asked for, and those that have not connected yet apart, so that a
flood of offers ends in refusals and never in a gateway that serves nobody. A stream that cannot be shown as it is gives
way to the first of its fallbacks that can, and the answer says which, and why.

Rights are the web process's to compare, which it does once a second by asking which sessions there are. Where it has not
asked for `LEASE_SECONDS` nobody knows whether those who watch still may: all sessions end then. It is back sooner than that
when it was only restarted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from vms.errors import UserError
from vms.feed import FeedClient
from web.live.negotiation import Choice, Offer, choose, read_offer
from web.live.refusals import Refusal
from web.live.session import Session, Tools
from web.live.source import Source, Sources
from web.live.transcoding import MOST_TRANSCODES, transcoded

log = logging.getLogger(__name__)

MOST_CONNECTING = 100
FULL_RETRY_SECONDS = 5
BUSY_RETRY_SECONDS = 1
MOST_FALLBACKS = 8
LEASE_SECONDS = 30.0
LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """A request for a session."""

    id: UUID
    stream: UUID
    offer: str
    fallbacks: tuple[UUID, ...] = ()


@dataclass(frozen=True, slots=True)
class Given:
    """What a viewer was given. `why`: why not the stream that was asked for, as it is; empty when it is that."""

    answer: str
    stream: UUID
    codec: str
    transcoded: bool
    why: str


@dataclass(frozen=True, slots=True)
class Transcoded:
    """What a transcoded stream goes by among the sources."""

    stream: UUID


@dataclass(frozen=True, slots=True)
class _Found:
    """A source that is held for a viewer."""

    source: Source
    key: object
    stream: UUID
    choice: Choice
    why: str = ""


class Viewing:
    """The sessions there are."""

    def __init__(self, feed: FeedClient, sources: Sources, tools: Tools, most: int) -> None:
        self._feed, self._sources, self._tools, self._most = feed, sources, tools, most
        self._sessions: dict[UUID, Session] = {}
        self._tasks: dict[UUID, asyncio.Task[None]] = {}
        self._asked: set[UUID] = set()  # being answered
        self._streams: dict[UUID, UUID] = {}  # what each session shows
        self._leased_ns = tools.clock.mono_ns()  # when the web process last asked
        tools.metrics.live_sessions.set(0)

    def sessions(self) -> list[tuple[Session, UUID]]:
        """All sessions with the streams they show."""
        return [(session, self._streams[session.id]) for session in self._sessions.values()]

    def renew_lease(self) -> None:
        """The web process compares what there is with what may be."""
        self._leased_ns = self._tools.clock.mono_ns()

    async def watch_lease(self) -> None:
        """End all sessions whenever the lease is over, for ever."""
        clock = self._tools.clock
        while True:
            await clock.sleep(LOOK_SECONDS)
            seconds = (clock.mono_ns() - self._leased_ns) / 1e9
            if self._sessions and seconds > LEASE_SECONDS:
                log.warning("the web process has not asked for %.0f s: %d sessions end", seconds, len(self._sessions))
                await asyncio.gather(*(self._end(session_id, "lease_over") for session_id in list(self._sessions)))

    async def create(self, wanted: Wanted) -> Given:
        """Answer an offer and begin to serve. Refusal when that cannot be."""
        metrics, clock = self._tools.metrics, self._tools.clock
        began = clock.mono_ns()
        try:
            self._admit(wanted.id)
            self._asked.add(wanted.id)
            try:
                given = await self._create(wanted)
            finally:
                self._asked.discard(wanted.id)
        except Refusal as refusal:
            metrics.live_offers.labels(refusal.code).inc()
            raise
        metrics.live_offers.labels("answered").inc()
        metrics.live_answer_seconds.observe((clock.mono_ns() - began) / 1e9)
        return given

    def _admit(self, session_id: UUID) -> None:
        if session_id in self._sessions or session_id in self._asked:
            raise Refusal("conflict", "there is a session with this id")
        if len(self._sessions) + len(self._asked) >= self._most:
            raise Refusal("too_many_sessions", f"there are {self._most} sessions already", FULL_RETRY_SECONDS)
        connecting = len(self._asked) + sum(s.state != "live" for s in self._sessions.values())
        if connecting >= MOST_CONNECTING:
            raise Refusal("too_many_sessions", "too many sessions are being set up", BUSY_RETRY_SECONDS)

    async def _create(self, wanted: Wanted) -> Given:
        offer = read_offer(wanted.offer, loopback=self._tools.policy.loopback)
        found = await self._find(offer, (wanted.stream, *wanted.fallbacks))
        try:
            session = Session(wanted.id, found.source, offer, found.choice, key=found.key, tools=self._tools)
            try:
                answer = await session.prepare()
            except BaseException:
                await session.discard()
                raise
        except BaseException:
            self._sources.release(found.key)
            raise
        self._begin(session, found.stream)
        return Given(answer, found.stream, found.choice.codec.value, isinstance(found.key, Transcoded), found.why)

    async def _find(self, offer: Offer, streams: Sequence[UUID]) -> _Found:
        """The first of these streams that is live and that this viewer can be shown; at last, the first one that is
        live, transcoded. Its source is held. Refusal when there is none."""
        why, refusals, to_transcode = "", [], None
        for stream in streams:
            try:
                found = await self._try(offer, stream, stream, lambda s=stream: self._source(s))  # type: ignore[misc]
            except Refusal as refusal:
                refusals.append(refusal)
                why = why or refusal.code
                continue
            if isinstance(found, _Found):
                return replace(found, why=why)
            refusals.append(Refusal("codec_unsupported", f"this viewer cannot be shown the stream: {found}"))
            why, to_transcode = why or found, to_transcode or stream
        if to_transcode is not None:
            return replace(await self._transcode(offer, to_transcode), why=why)
        order = ("codec_unsupported", "source_not_live", "unknown_stream")
        raise min(refusals, key=lambda r: order.index(r.code))

    async def _transcode(self, offer: Offer, stream: UUID) -> _Found:
        key = Transcoded(stream)
        if not self._sources.has(key) and self._sources.count_held(Transcoded) >= MOST_TRANSCODES:
            raise Refusal("codec_unsupported", "this viewer cannot be shown the stream, and another one is transcoded")
        make = transcoded(lambda: self._feed.units(stream))
        found = await self._try(offer, stream, key, lambda: Source(stream, make))
        if isinstance(found, str):
            raise Refusal("codec_unsupported", f"this viewer cannot be shown the stream: {found}")
        return found

    async def _try(self, offer: Offer, stream: UUID, key: object, make: Callable[[], Source]) -> _Found | str:
        """Hold a source and look whether this viewer can be shown it; in a word, why not. Refusal when it is not live."""
        source = self._sources.hold(key, make)
        try:
            choice = choose(offer, await source.ready())
            if not source.begins_with_idr:
                choice = "no_idr"
        except BaseException:
            self._sources.release(key)
            raise
        if isinstance(choice, str):
            self._sources.release(key)
            return choice
        return _Found(source, key, stream, choice)

    def _source(self, stream: UUID) -> Source:
        return Source(stream, lambda: self._feed.units(stream))

    def _begin(self, session: Session, stream: UUID) -> None:
        if not self._sessions:
            self.renew_lease()  # it begins with the first session: who asked for that one compares from now on
        self._sessions[session.id], self._streams[session.id] = session, stream
        task = asyncio.create_task(session.run(), name=f"live session {session.id}")
        self._tasks[session.id] = task
        task.add_done_callback(lambda done: self._ended(session, done))
        self._tools.metrics.live_sessions.set(len(self._sessions))
        log.info("session %s begins: stream %s", session.id, stream)

    def _ended(self, session: Session, task: asyncio.Task[None]) -> None:
        self._sessions.pop(session.id, None)
        self._tasks.pop(session.id, None)
        self._streams.pop(session.id, None)
        self._sources.release(session.key)
        self._tools.metrics.live_sessions.set(len(self._sessions))
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log.error("session %s met a bug", session.id, exc_info=error)
        else:
            log.info("session %s ended: %s", session.id, session.why_ended or "stopped")

    async def switch(self, session_id: UUID, stream: UUID) -> None:
        """Show another stream in a session that there is. Refusal when that cannot be; nothing changed then."""
        if session_id not in self._sessions:
            raise Refusal("not_found", "there is no such session")
        source = self._sources.hold(stream, lambda: self._source(stream))
        try:
            await source.ready()
            session = self._sessions.get(session_id)
            if session is None:
                raise Refusal("not_found", "the session has ended")
            if not source.begins_with_idr:
                raise Refusal("codec_unsupported", "browsers cannot begin with any of the other stream's pictures")
            before = session.key
            session.switch(source, stream)
        except BaseException:
            self._sources.release(stream)
            raise
        self._streams[session_id] = stream
        self._sources.release(before)

    async def delete(self, session_id: UUID) -> None:
        """End a session; fine when there is none."""
        await self._end(session_id, "deleted")

    async def _end(self, session_id: UUID, why: str) -> None:
        session, task = self._sessions.get(session_id), self._tasks.get(session_id)
        if session is not None and task is not None:
            session.end(why)
            task.cancel()  # whatever it is waiting for
            await asyncio.wait({task}, timeout=2.0)

    async def close(self) -> None:
        """End all of them."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=5.0)


def parse_wanted(body: object) -> Wanted:
    """The JSON body of `POST /v1/sessions`. UserError for anything else."""
    if not isinstance(body, dict):
        raise UserError("the body must be an object")
    fallbacks, offer = body.get("fallbacks", []), body.get("offer")
    if not isinstance(offer, str):
        raise UserError("offer must be a text")
    if not isinstance(fallbacks, list) or len(fallbacks) > MOST_FALLBACKS:
        raise UserError(f"fallbacks must be a list of at most {MOST_FALLBACKS} streams")
    found = [parse_id(f, "fallbacks") for f in fallbacks]
    stream = parse_id(body.get("stream"), "stream")
    return Wanted(parse_id(body.get("id"), "id"), stream, offer, tuple(f for f in found if f != stream))


def parse_id(text: object, what: str) -> UUID:
    if not isinstance(text, str):
        raise UserError(f"{what} must be a UUID")
    try:
        return UUID(text)
    except ValueError as error:
        raise UserError(f"{what} must be a UUID") from error
