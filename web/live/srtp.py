"""SRTP on a piece of memory of our own: libsrtp called in place, through the binding that pylibsrtp ships.

`pylibsrtp.Session.protect` copies every packet twice and makes two objects for it. Here a run of packets lies in one
scratch buffer with room for each tag; libsrtp's `srtp_protect` writes into it. One scratch serves the whole process:
a run is copied, protected and sent without anything else happening in between.
"""

from __future__ import annotations

import struct
from array import array
from typing import Any

import pylibsrtp
from pylibsrtp._binding import ffi, lib  # type: ignore[import-not-found]  # a compiled module without stubs

from vms.errors import VmsError
from web.live.udp_segment import MOST_SEGMENTS

SCRATCH_BYTES = 1 << 16
MOST_STRIDES = 320  # fragments have at most 300 lengths, by their alignment
_PATCH = struct.Struct("!H8s")  # sequence number, then timestamp and SSRC: bytes 2 to 11 of a packet (RFC 3550 §5.1)
_STAMP = struct.Struct("!II")
_patch = _PATCH.pack_into
_protect = lib.srtp_protect
_OK = lib.srtp_err_status_ok

TAG_BYTES = {
    b"SRTP_AEAD_AES_256_GCM": 16,
    b"SRTP_AEAD_AES_128_GCM": 16,
    b"SRTP_AES128_CM_SHA1_80": 10,
}


class ProtectError(VmsError):
    """libsrtp refused: a bug, or a key that has protected all it may."""


class Scratch:
    """Memory to protect packets in."""

    __slots__ = ("_alone", "_base", "_length_places", "_lengths", "_lengths_memory", "_places", "view")

    def __init__(self) -> None:
        self._base = ffi.new("char[]", SCRATCH_BYTES)
        self._lengths_memory = ffi.new("int[]", MOST_SEGMENTS)
        self._lengths = memoryview(ffi.buffer(self._lengths_memory)).cast("i")
        self._length_places = [self._lengths_memory + i for i in range(MOST_SEGMENTS)]
        self._alone = [(2, self._base, self._length_places[0])]
        self._places: dict[int, list[tuple[int, Any, Any]]] = {}  # stride → of each packet: patch, packet, length
        self.view = memoryview(ffi.buffer(self._base))

    def protect_run(
        self, session: pylibsrtp.Session, header: tuple[int, int, int], stride: int, end: int, usual: int
    ) -> None:
        """Patch and protect at most `MOST_SEGMENTS` packets that lie `stride` apart from the scratch's beginning on.

        `header`: sequence number of the first one, timestamp and SSRC. `end`: bytes up to the end of the last packet
        without its tag; `usual`: how long every other packet is without it.
        """
        sequence, timestamp, ssrc = header
        view, context, stamp = self.view, session._srtp[0], _STAMP.pack(timestamp, ssrc)  # noqa: SLF001 - the handle
        packets = self._packets(stride, end)
        last = len(packets) - 1
        if last:
            self._lengths[:last] = array("i", (usual,)) * last
        self._lengths[last] = end - last * stride
        for patch_at, packet, length in packets:
            _patch(view, patch_at, sequence & 0xFFFF, stamp)
            status = _protect(context, packet, length)
            if status != _OK:
                raise ProtectError(f"SRTP: {pylibsrtp.ERRORS[status]}")
            sequence += 1

    def _packets(self, stride: int, end: int) -> list[tuple[int, Any, Any]]:
        """Of each packet up to `end`: where it is patched, and pointers to it and to its length."""
        if end <= stride:
            return self._alone
        places = self._places.get(stride)
        if places is None:
            if len(self._places) >= MOST_STRIDES:
                self._places.clear()
            starts = range(0, SCRATCH_BYTES, stride)
            places = [
                (at + 2, self._base + at, length) for at, length in zip(starts, self._length_places, strict=False)
            ]
            self._places[stride] = places
        return places[: (end - 1) // stride + 1]
