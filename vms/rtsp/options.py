"""What a caller may choose about an RTSP session besides its address: time limits and seams. Values only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from vms.rtsp.transport import Opener, open_tcp
from vms.rtsp.turns import ReadTurns


class SessionStore(Protocol):
    """Session ids kept on disk, so that a session that outlived us is ended at the next start. Calls are quick."""

    def remember(self, url: str, session_id: str) -> None:
        """The camera at `url` (no credentials) gave us this session."""

    def forgotten(self, url: str, session_id: str) -> None:
        """The camera knows this session no more."""

    def pending(self, url: str) -> list[str]:
        """Sessions remembered and not forgotten."""


@dataclass(frozen=True, slots=True)
class RtspOptions:
    """Time limits in seconds, and the seams of a session."""

    connect_timeout: float = 5.0  # DNS, TCP and TLS together
    request_timeout: float = 10.0  # one request, one try
    stall_timeout: float = 4.5  # no access unit for this long after PLAY or the last one
    report_interval: float = 5.0  # RTCP receiver reports
    teardown_timeout: float = 1.0
    lingering_timeout: float = 5.0  # for ending all sessions of an earlier life
    max_redirects: int = 3
    user_agent: str = "Stroz"
    session_store: SessionStore | None = None
    opener: Opener = open_tcp
    turns: ReadTurns | None = None  # read media over TCP in turns with others
    hurried: Callable[[], bool] = bool  # whether somebody waits for every picture, so that turns are not waited for
    turn_ended: Callable[[], None] | None = None  # called when everything a turn brought was handed on
