"""The spool's disk and the reserve that must stay free on it, asked of the file system and of nobody else; and bytes in words."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from vms.site import Site


@dataclass(frozen=True, slots=True)
class SpoolDisk:
    """Bytes that are free on it, that it has in all, and of them `spool.reserve_bytes`."""

    free_bytes: int
    disk_bytes: int
    reserve_bytes: int

    @property
    def room_bytes(self) -> int:
        """What is free beyond the reserve."""
        return max(0, self.free_bytes - self.reserve_bytes)

    @property
    def too_small(self) -> str | None:
        """Why nothing at all can be recorded there, however empty it is; None: something can."""
        if self.disk_bytes > self.reserve_bytes:
            return None
        return (
            f"its disk has {size(self.disk_bytes)} and spool.reserve_bytes is {size(self.reserve_bytes)}, so it counts as full "
            "although it may be empty; give the spool a larger disk (spool.path), or lower that setting"
        )


def ask_disk(site: Site) -> SpoolDisk | None:
    """None where it cannot be asked. A spool that was not made yet will be on the disk of the folder above."""
    folder: Path = site.spool
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        disk = os.statvfs(folder)
    except OSError:
        return None
    block = disk.f_frsize
    return SpoolDisk(disk.f_bavail * block, disk.f_blocks * block, site.settings.spool.reserve_bytes)


def size(count: int) -> str:
    """Bytes for people: `12.3 MB`, decimal."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit in ("B", "kB") else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"
