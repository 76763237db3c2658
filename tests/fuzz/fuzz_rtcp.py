"""Fuzz target: compound RTCP packets."""

from __future__ import annotations

from vms.errors import MalformedError
from vms.media.rtcp import parse_rtcp


def fuzz(data: bytes) -> None:
    try:
        packets = parse_rtcp(data)
    except MalformedError:
        return
    assert len(packets) <= 64 * 32
