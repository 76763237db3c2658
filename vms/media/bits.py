"""Bits of H.264 and H.265 headers: emulation prevention taken out, Exp-Golomb codes, all reads bounded."""

from __future__ import annotations

from vms.errors import MalformedError

MAX_RBSP_BYTES = 4096  # no header or parameter set that we read needs more; what follows is not looked at


def unescape(nal: bytes | bytearray | memoryview, limit: int = MAX_RBSP_BYTES) -> bytes:
    """The first `limit` bytes of a NAL without emulation prevention bytes (ITU-T H.264 §7.4.1, H.265 §7.4.2)."""
    data = bytes(nal[:limit])
    if b"\0\0\3" not in data:
        return data
    # Every 00 00 03 loses its 03; replace() scans left to right without overlap, which is the standard's reading too,
    # because after a removed 03 the count of zeros starts anew.
    return data.replace(b"\0\0\3", b"\0\0")


class BitReader:
    """Reads an RBSP from the left. Running off the end raises MalformedError with the name given at construction."""

    __slots__ = ("_data", "_end", "_where", "at")

    def __init__(self, data: bytes, where: str, skip_bytes: int = 0) -> None:
        self._data = data
        self._end = len(data) * 8
        self._where = where
        self.at = skip_bytes * 8  # in bits

    def u(self, bits: int) -> int:
        """An unsigned number of `bits` ≤ 64 bits."""
        at, end = self.at, self.at + bits
        if end > self._end:
            raise MalformedError(self._where, "ends too early", len(self._data))
        self.at = end
        last = (end + 7) >> 3
        return (int.from_bytes(self._data[at >> 3 : last], "big") >> (last * 8 - end)) & ((1 << bits) - 1)

    def flag(self) -> bool:
        return self.u(1) == 1

    def skip(self, bits: int) -> None:
        self.at += bits
        if self.at > self._end:
            raise MalformedError(self._where, "ends too early", len(self._data))

    def ue(self) -> int:
        """Unsigned Exp-Golomb (H.264 §9.1), at most 32 leading zeros."""
        zeros = 0
        while self.u(1) == 0:
            zeros += 1
            if zeros > 32:
                raise MalformedError(self._where, "Exp-Golomb code too long", self.at >> 3)
        return (1 << zeros) - 1 + (self.u(zeros) if zeros else 0)

    def se(self) -> int:
        """Signed Exp-Golomb (H.264 §9.1.1)."""
        code = self.ue()
        return (code + 1) >> 1 if code & 1 else -(code >> 1)

    def ue_max(self, highest: int, name: str) -> int:
        """`ue` that must not exceed `highest`."""
        value = self.ue()
        if value > highest:
            raise MalformedError(self._where, f"{name} is {value}, at most {highest}", self.at >> 3)
        return value


def find_sei(rbsp: bytes, header_bytes: int, payload_type: int) -> bytes | None:
    """The first SEI payload of this type in an unescaped SEI NAL, or None (H.264 §7.3.2.3.1, H.265 §7.3.5)."""
    at, end = header_bytes, len(rbsp)
    while at + 2 <= end:
        kind = size = 0
        while at < end and rbsp[at] == 0xFF:
            kind, at = kind + 255, at + 1
        if at >= end:
            return None
        kind, at = kind + rbsp[at], at + 1
        while at < end and rbsp[at] == 0xFF:
            size, at = size + 255, at + 1
        if at >= end:
            return None
        size, at = size + rbsp[at], at + 1
        if kind == payload_type:
            return rbsp[at : at + size]
        at += size
    return None
