"""Fuzz target: parameter sets, slice headers, SEI of H.264 and H.265, and AudioSpecificConfigs, all from the same bytes."""

from __future__ import annotations

from vms.errors import MalformedError
from vms.media import audio, h264, h265

_PARSERS = (
    h264.parse_sps,
    h264.parse_pps,
    h264.parse_slice_header,
    h265.parse_sps,
    h265.parse_pps,
    h265.parse_vps_id,
    h265.slice_pps_id,
    audio.parse_audio_specific_config,
)


def fuzz(data: bytes) -> None:
    for parse in _PARSERS:
        try:
            parse(data or b"\0")
        except MalformedError:
            continue
    if data:
        h264.recovery_frame_count(data)
        h265.recovery_picture_count(data)
    h264.make_config([data], shows_b=True)
    h265.make_config([data])
