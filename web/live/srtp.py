"""SRTP on a piece of memory of our own: libsrtp called in place, through the binding that pylibsrtp ships.

`pylibsrtp.Session.protect` copies every packet twice and makes two objects for it. Here a run of packets lies in one
scratch buffer with room for each tag; libsrtp's `srtp_protect` writes into it. One scratch serves the whole process:
a run is copied, protected and sent without anything else happening in between.
"""

from __future__ import annotations

import struct

import pylibsrtp
from pylibsrtp._binding import ffi, lib  # type: ignore[import-not-found]  # a compiled module without stubs

from vms.errors import VmsError

SCRATCH_BYTES = 1 << 16
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

    __slots__ = ("_base", "_length", "view")

    def __init__(self) -> None:
        self._base = ffi.new("char[]", SCRATCH_BYTES)
        self._length = ffi.new("int *")
        self.view = memoryview(ffi.buffer(self._base))

    def protect_run(
        self, session: pylibsrtp.Session, header: tuple[int, int, int], stride: int, end: int, usual: int
    ) -> None:
        """Patch and protect packets that lie `stride` apart from the beginning of the scratch on.

        `header`: sequence number of the first one, timestamp and SSRC. `end`: bytes up to the end of the last packet
        without its tag; `usual`: how long every other packet is without it.
        """
        sequence, timestamp, ssrc = header
        base, view, length, context = self._base, self.view, self._length, session._srtp[0]  # noqa: SLF001 - the handle
        at = 0
        while at < end:
            _patch(view, at + 2, sequence & 0xFFFF, timestamp, ssrc)
            left = end - at
            length[0] = usual if left > stride else left
            status = _protect(context, base + at, length)
            if status != _OK:
                raise ProtectError(f"SRTP: {pylibsrtp.ERRORS[status]}")
            at += stride
            sequence += 1
