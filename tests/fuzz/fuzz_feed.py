"""Fuzz target: frames of the feed as a client decodes them. First byte: the size of the pieces."""

from __future__ import annotations

from tests.support.encoded import made_up, small_config
from vms.errors import MalformedError
from vms.feed import FrameDecoder, encode_config, encode_dropped, encode_end, encode_state, encode_unit
from vms.model import GapReason, TimedUnit


def fuzz(data: bytes) -> None:
    if not data:
        return
    decoder, piece = FrameDecoder(), data[0] or len(data)
    try:
        for at in range(1, len(data), piece):
            for event in decoder.feed(data[at : at + piece]):
                if isinstance(event, TimedUnit):
                    assert len(event.unit.data) < len(data)
                repr(event)
    except MalformedError:
        return


def seeds() -> list[bytes]:
    config = small_config()
    unit = encode_unit(TimedUnit(made_up(3600, key=True, config=config), 1_790_000_000_000_000_000))
    endless = b'{"codec":"h264","clock_hz":1e999,"parameter_sets":[]}'
    state = encode_state("gap", GapReason.STALLED)
    return [
        b"\0" + encode_config(config) + unit + state + encode_end(),
        b"\3" + encode_config(config) + encode_dropped(7) + unit,
        b"\0" + encode_state("recording", None),
        b"\0C" + len(endless).to_bytes(4, "big") + endless,
    ]
