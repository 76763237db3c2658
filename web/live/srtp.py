"""SRTP on a piece of memory of our own: libsrtp called in place, through the binding that pylibsrtp ships.

`pylibsrtp.Session.protect` copies every packet twice and makes two objects for it. Here a run of packets lies in one
scratch buffer with room for each tag; libsrtp's `srtp_protect` writes into it. One scratch serves the whole process:
a run is copied, protected and sent without anything else happening in between.
"""

from __future__ import annotations

import struct
from typing import Any

import pylibsrtp
from pylibsrtp._binding import ffi, lib  # type: ignore[import-not-found]  # a compiled module without stubs

from vms.errors import VmsError

SCRATCH_BYTES = 1 << 16
MOST_STRIDES = 320  # fragments have at most 300 lengths, by their alignment
_PATCH = struct.Struct("!HII")  # sequence number, timestamp, SSRC: bytes 2 to 11 of a packet (RFC 3550 §5.1)
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

    __slots__ = ("_base", "_first", "_length", "_places", "view")

    def __init__(self) -> None:
        self._base = ffi.new("char[]", SCRATCH_BYTES)
        self._length = ffi.new("int *")
        self._first = [(0, self._base)]
        self._places: dict[int, list[tuple[int, Any]]] = {}  # stride → where packets begin, as number and as pointer
        self.view = memoryview(ffi.buffer(self._base))

    def protect_run(
        self, session: pylibsrtp.Session, header: tuple[int, int, int], stride: int, end: int, usual: int
    ) -> None:
        """Patch and protect packets that lie `stride` apart from the beginning of the scratch on.

        `header`: sequence number of the first one, timestamp and SSRC. `end`: bytes up to the end of the last packet
        without its tag; `usual`: how long every other packet is without it.
        """
        sequence, timestamp, ssrc = header
        view, length, context = self.view, self._length, session._srtp[0]  # noqa: SLF001 - the handle
        for at, pointer in self._packets(stride, end):
            _patch(view, at + 2, sequence & 0xFFFF, timestamp, ssrc)
            length[0] = usual if at + stride < end else end - at
            status = _protect(context, pointer, length)
            if status != _OK:
                raise ProtectError(f"SRTP: {pylibsrtp.ERRORS[status]}")
            sequence += 1

    def _packets(self, stride: int, end: int) -> list[tuple[int, Any]]:
        """Where the packets up to `end` begin, as number and as pointer."""
        if end <= stride:
            return self._first
        places = self._places.get(stride)
        if places is None:
            if len(self._places) >= MOST_STRIDES:
                self._places.clear()
            places = self._places[stride] = [(at, self._base + at) for at in range(0, SCRATCH_BYTES, stride)]
        return places[: (end - 1) // stride + 1]
