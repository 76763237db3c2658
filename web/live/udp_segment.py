"""Many datagrams by one system call: UDP generic segmentation offload of Linux (udp(7), UDP_SEGMENT).

Whether the kernel knows it is asked once, of a socket that is thrown away. A viewer's route that refuses it later (a device
without checksum offload, a fragment larger than its MTU) is served datagram by datagram from then on.
"""

from __future__ import annotations

import errno
import functools
import socket
import struct
from typing import Any

SOL_UDP, UDP_SEGMENT = 17, 103
MOST_SEGMENTS = 64
MOST_BYTES = 65_000  # of one call; IP's length field ends it
_REFUSALS = {errno.EIO, errno.EINVAL, errno.EMSGSIZE, errno.EOPNOTSUPP, errno.ENOPROTOOPT}
_SIZE = struct.Struct("H")


@functools.cache
def kernel_segments() -> bool:
    """Whether this kernel cuts one buffer into datagrams."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.setsockopt(SOL_UDP, UDP_SEGMENT, 1200)
        except OSError:
            return False
    return True


@functools.lru_cache(maxsize=512)
def _ancillary(size: int) -> list[tuple[int, int, bytes]]:
    return [(SOL_UDP, UDP_SEGMENT, _SIZE.pack(size))]


class DatagramSender:
    """Sends runs of equal datagrams over one socket; decides for itself how."""

    __slots__ = ("segments",)

    def __init__(self, segments: bool) -> None:
        self.segments = segments

    def send(self, sock: socket.socket, packets: memoryview, size: int, address: Any) -> None:
        """`packets` in datagrams of `size` bytes, the last one perhaps shorter; at most `MOST_SEGMENTS` and `MOST_BYTES`.

        Raises BlockingIOError when the socket's buffer is full (then nothing went, or, without segmentation, a part:
        to a receiver that looks like loss), OSError when it cannot be at all.
        """
        total = len(packets)
        if total <= size:
            sock.sendto(packets, address)
            return
        if self.segments:
            try:
                sock.sendmsg((packets,), _ancillary(size), 0, address)
                return
            except OSError as error:
                if error.errno not in _REFUSALS:
                    raise
                self.segments = False
        for at in range(0, total, size):
            sock.sendto(packets[at : at + size], address)
