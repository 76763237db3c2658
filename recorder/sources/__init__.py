"""Where access units come from: the seam `PacketSource`, and how one is chosen for a stream.

Implementations: `rtsp` (ours), `libav` (PyAV in a process of its own), `auto` (ours first), `scripted` (a play with times).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from vms.media.sink import UnitSink
from vms.model import SourceKind

LIVE_PATIENCE_S = 4.0  # silence after which a live stream counts as stalled


@dataclass(frozen=True, slots=True)
class SourceTarget:
    """What a source needs to know of a stream. `url` has no credentials in it."""

    url: str
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    transport: str = "tcp"  # or "udp"
    certificate_pin: str = ""


@dataclass(frozen=True, slots=True)
class TrackSinks:
    """Who receives what. `audio` None: audio is not asked for and dropped before any buffer."""

    video: UnitSink | None
    audio: UnitSink | None = None


class PacketSource(Protocol):
    """Receives one stream, one attempt per call of `run`; attempts never overlap.

    `kind` says which implementation is in use now and `why` says so in words where that is not the obvious one.
    `patience_s`: how long this source may be silent in the midst of a stream before it counts as stalled; may be set
    between attempts, because some cameras send a picture every ten seconds.
    """

    patience_s: float

    @property
    def kind(self) -> SourceKind: ...

    @property
    def why(self) -> str: ...

    async def run(self, sinks: TrackSinks) -> None:
        """Connect and deliver until cancelled or the attempt ends, which it does by `SourceError` and never otherwise.

        Everything it opened is closed when it ends. Every unit has the time it came; sinks are called on this loop.
        """
