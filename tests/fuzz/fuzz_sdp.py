"""Fuzz target: session descriptions, with the configuration each medium gives, and what is built from them."""

from __future__ import annotations

from vms.errors import MalformedError
from vms.media.sdp import build_sdp, initial_config, parse_sdp


def fuzz(data: bytes) -> None:
    try:
        session = parse_sdp(data)
    except MalformedError:
        return
    for media in session.media:
        initial_config(media)
    parse_sdp(build_sdp(session)[: 64 * 1024])
