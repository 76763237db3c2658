"""Every socket through which somebody outside could reach a process: asked of the kernel, by the processes' descriptors.

Owns which sockets count: those that listen, those bound to an address without a fixed peer, and those that read the wire
raw. A connection that a process made itself is no door.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

LISTENS = "0A"  # the state of TCP in /proc/net/tcp
ACCEPTS = 0x10000  # the flag in /proc/net/unix
OF_INTERNET = ("tcp", "tcp6", "udp", "udp6", "raw", "raw6")


@dataclass(frozen=True, slots=True, order=True)
class Door:
    """`kind`: tcp, udp, unix, raw, packet. `place`: address and port, or the path; a Unix socket without one is `@`."""

    kind: str
    place: str

    @property
    def host(self) -> str:
        return self.place.rpartition(":")[0]

    @property
    def port(self) -> int:
        return int(self.place.rpartition(":")[2])

    @property
    def is_loopback(self) -> bool:
        return self.kind in ("tcp", "udp") and ipaddress.ip_address(self.host).is_loopback


def doors(pids: Iterable[int]) -> dict[int, set[Door]]:
    """The doors of each process that still lives. Needs the right to see other processes' descriptors."""
    found: dict[int, set[Door]] = {}
    for pid in pids:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            inodes = set(_inodes(pid))
            known = dict(_of_the_kernel(Path(f"/proc/{pid}/net")))
            found[pid] = {door for inode, door in known.items() if inode in inodes}
    return found


def _inodes(pid: int) -> Iterator[int]:
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            match = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(f"/proc/{pid}/fd/{name}"))
            if match:
                yield int(match[1])


def _of_the_kernel(net: Path) -> Iterator[tuple[int, Door]]:
    """Every door in this network, by inode (proc(5))."""
    for table in OF_INTERNET:
        for fields in _rows(net / table):
            local, peer, state = fields[1], fields[2], fields[3]
            fixed = int(peer.partition(":")[0], 16) != 0
            if state == LISTENS if table.startswith("tcp") else not fixed:
                yield int(fields[9]), Door(table.removesuffix("6"), _address(local))
    for fields in _rows(net / "unix"):
        path = fields[7] if len(fields) > 7 else "@"
        if int(fields[3], 16) & ACCEPTS or path != "@":
            yield int(fields[6]), Door("unix", path)
    for fields in _rows(net / "packet"):
        yield int(fields[8]), Door("packet", fields[3])


def _rows(file: Path) -> Iterator[list[str]]:
    with contextlib.suppress(FileNotFoundError):  # a kernel without IPv6
        yield from (line.split() for line in file.read_text().splitlines()[1:])


def _address(text: str) -> str:
    """`0100007F:1F90` as `127.0.0.1:8080`: words of the machine's own byte order."""
    host, _, port = text.partition(":")
    words = [int(host[i : i + 8], 16) for i in range(0, len(host), 8)]
    return f"{ipaddress.ip_address(struct.pack(f'={len(words)}I', *words))}:{int(port, 16)}"
