"""The seam between an RTSP server and what it serves: offers, playbacks, and how the server is to behave.

Publishing gives access units; the camera simulator gives packets it made itself and manners of odd cameras.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from vms.model import CodecConfig
from vms.rtsp.auth import ServerAuth
from vms.rtsp.outlet import Outlet

METHODS = ("OPTIONS", "DESCRIBE", "SETUP", "PLAY", "PAUSE", "GET_PARAMETER", "SET_PARAMETER", "TEARDOWN")


@dataclass(frozen=True, slots=True)
class Offer:
    """What a path has: one configuration per track, in the order of their numbers.

    `ssrcs` names the sources where the provider makes the packets. `edit_sdp` may spoil the result.
    """

    tracks: tuple[CodecConfig, ...]
    name: str = ""
    ssrcs: tuple[int, ...] = ()
    edit_sdp: Callable[[bytes], bytes] | None = None


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who asks: the peer's address, the name it signed in with (empty without authentication), the RTSP session."""

    peer: str
    user: str = ""
    session: str = ""


@dataclass(frozen=True, slots=True)
class Start:
    """First sequence number and timestamp of a track, for RTP-Info (RFC 2326 §12.33)."""

    sequence: int
    timestamp: int | None = None


class Playback(Protocol):
    """One PLAY. Between `begin` and `stop` it writes to its outlets from the event loop, never waiting."""

    def starts(self) -> Mapping[int, Start]:
        """What RTP-Info shall say, by track; a track that is missing is not mentioned."""

    def begin(self) -> None:
        """The answer to PLAY is on its way: send. Called once."""

    def stop(self) -> None:
        """Send no more. Called once, also after the connection was lost."""


@dataclass(frozen=True, slots=True)
class Manners:
    """How the server behaves on a path. The defaults are proper; the rest is what cameras do."""

    transports: tuple[str, ...] = ("tcp", "udp")  # others are answered 461
    methods: tuple[str, ...] = METHODS  # advertised by OPTIONS
    refused: tuple[str, ...] = ()  # answered 501, advertised or not
    channel_shift: int = 0  # added to the interleaved channels asked for
    ssrc_first: bool = False  # `ssrc=` before the other parameters of Transport
    content_base: bool = True
    absolute_control: bool = False
    redirect: str = ""  # DESCRIBE is answered 302 with this Location
    hang_up: bool = False  # close at the first request
    max_sessions: int = 0  # 0: no limit; beyond it SETUP is answered 453
    linger_seconds: float = 0.0  # a session whose connection was lost counts for so long


PROPER = Manners()


class StreamProvider(Protocol):
    """What a server serves. `path` has no slash at its ends and no track."""

    async def describe(self, path: str) -> Offer | None:
        """What is there; None: nothing (404). May wait a moment for a stream to start."""

    def play(self, path: str, outlets: Mapping[int, Outlet], viewer: Viewer) -> Playback | None:
        """Prepare to send to these outlets, by track number. None: the stream is gone (404)."""

    def manners(self, path: str) -> Manners:
        """How to behave on this path."""

    def gate(self, path: str) -> ServerAuth | None:
        """Who may come in; None: everybody."""
