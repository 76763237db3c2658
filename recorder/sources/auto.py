"""Ours first, PyAV where that may cure what ours fails at, with the reason for people to see.

Falls back when the camera's codec or dialect is the trouble: at once for a codec or for answers that do not parse, after
three refusals or silences in a row otherwise, unless ours has had pictures of this camera before: then it is starting or
ill, and not odd. Never for a wrong password, an unreachable host or a refused connection, which PyAV would meet alike (and a
second wrong try may lock an account). Ours is tried again after an hour, and at once
when PyAV brings no picture either.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from recorder.sources import LIVE_PATIENCE_S, PacketSource, SourceTarget, TrackSinks
from recorder.sources.libav import LibavSource
from recorder.sources.rtsp import RtspSource
from vms.camera_url import RTSP_SCHEMES, CameraUrl
from vms.clock import Clock, SystemClock
from vms.errors import MalformedError, SourceError, UserError
from vms.media.sink import UnitSink
from vms.model import AccessUnit, GapReason, SenderReport, SourceKind
from vms.rtsp.client import RtspOptions

log = logging.getLogger(__name__)

TRY_OURS_AGAIN_NS = 3600 * 1_000_000_000
PATIENT_FAILURES = 3


class AutoSource:
    """Chooses per attempt between two sources."""

    def __init__(
        self,
        ours: Callable[[], PacketSource],
        libav: Callable[[], PacketSource],
        clock: Clock | None = None,
    ) -> None:
        self._ours, self._libav = ours, libav
        self._clock = clock or SystemClock()
        self._source = ours()
        self._failures = 0
        self._proven = False  # ours has had pictures
        self._why = ""
        self._since_ns = 0

    @property
    def kind(self) -> SourceKind:
        return self._source.kind

    @property
    def why(self) -> str:
        """Why it is not ours; empty while it is."""
        return self._why

    @property
    def patience_s(self) -> float:
        return self._source.patience_s

    @patience_s.setter
    def patience_s(self, seconds: float) -> None:
        self._source.patience_s = seconds

    async def run(self, sinks: TrackSinks) -> None:
        now = self._clock.mono_ns()
        if self._why and now - self._since_ns >= TRY_OURS_AGAIN_NS:
            self._use_ours()
        seen = _Seen()
        try:
            await self._source.run(TrackSinks(seen.around(sinks.video), seen.around(sinks.audio)))
        except SourceError as error:
            self._judge(error, units=seen.units)
            raise

    def _judge(self, error: SourceError, *, units: int) -> None:
        if units:
            self._failures = 0
            self._proven = self._proven or not self._why
            return
        if self._why:
            log.info("libav brings no picture either (%s); going back to our own client", error)
            self._use_ours()
            return
        self._failures += 1
        patient = error.reason in (GapReason.REFUSED, GapReason.STALLED) and self._failures >= PATIENT_FAILURES
        if is_dialect(error) or (patient and not self._proven and not _comes_from(error, OSError)):
            self._why = str(error)[:200]
            self._since_ns = self._clock.mono_ns()
            self._source = self._libav()
            log.warning("falling back to libav: %s", error)

    def _use_ours(self) -> None:
        self._source, self._why, self._failures = self._ours(), "", 0


class _Seen:
    """Tells whether an attempt brought anything."""

    def __init__(self) -> None:
        self.units = 0

    def around(self, sink: UnitSink | None) -> UnitSink | None:
        return None if sink is None else _CountingSink(self, sink)


class _CountingSink:
    def __init__(self, seen: _Seen, sink: UnitSink) -> None:
        self._seen = seen
        self._sink = sink
        self.on_loss = sink.on_loss

    def on_unit(self, unit: AccessUnit) -> None:
        self._seen.units += 1
        self._sink.on_unit(unit)

    def on_sender_report(self, report: SenderReport) -> None:
        self._sink.on_sender_report(report)


def is_dialect(error: SourceError) -> bool:
    """Whether another implementation may understand what ours did not."""
    return error.reason is GapReason.UNSUPPORTED_CODEC or _comes_from(error, MalformedError)


def _comes_from(error: BaseException | None, kind: type[BaseException]) -> bool:
    for _ in range(10):
        if error is None:
            return False
        if isinstance(error, kind):
            return True
        error = error.__cause__
    return False


class DeferredSource:
    """A source that is built by its first attempt, so that an address that nothing can be built for ends only that."""

    def __init__(
        self, build: Callable[[], PacketSource], kind: SourceKind, patience_s: float = LIVE_PATIENCE_S
    ) -> None:
        """`kind` and `patience_s` are told until there is a source that knows better."""
        self._build = build
        self._kind = SourceKind.RTSP if kind is SourceKind.AUTO else kind
        self._patience_s = patience_s
        self._source: PacketSource | None = None

    @property
    def kind(self) -> SourceKind:
        return self._kind if self._source is None else self._source.kind

    @property
    def why(self) -> str:
        return "" if self._source is None else self._source.why

    @property
    def patience_s(self) -> float:
        return self._patience_s if self._source is None else self._source.patience_s

    @patience_s.setter
    def patience_s(self, seconds: float) -> None:
        self._patience_s = seconds
        if self._source is not None:
            self._source.patience_s = seconds

    async def run(self, sinks: TrackSinks) -> None:
        if self._source is None:
            try:
                self._source = self._build()
            except UserError as error:
                raise SourceError(GapReason.REFUSED, str(error)) from error
        await self._source.run(sinks)


def source_for(
    target: SourceTarget,
    kind: SourceKind,
    clock: Clock | None = None,
    options: RtspOptions | None = None,
    patience_s: float = LIVE_PATIENCE_S,
) -> PacketSource:
    """The source a camera's `source` setting asks for. Raises UserError for an address it cannot have.

    `patience_s` is that of live streams; what comes a segment at a time is never given less than its own.
    """
    scheme = CameraUrl.parse(target.url, kind).scheme

    def ours() -> PacketSource:
        return RtspSource(target, options, patience_s)

    def libav(why: str = "") -> PacketSource:
        return LibavSource(target, why=why, patience_s=patience_s)

    if kind is SourceKind.RTSP:
        return ours()
    if kind is SourceKind.LIBAV:
        return libav()
    if scheme not in RTSP_SCHEMES:
        return libav(f"our own client does not speak {scheme}")
    return AutoSource(ours, libav, clock)
