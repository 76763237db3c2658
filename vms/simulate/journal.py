"""What the simulator sent and when: JSON lines, one per access unit and session, and one per event.

A unit: {"camera","stream","session","index","pts","rtp","utc_ns","key","bytes","sha256","lost"}. `index` counts the
stream's units since the simulator's start of time, `pts` is its unwrapped 90 kHz time, `rtp` the timestamp really
written, `utc_ns` when it was handed to the socket, `bytes` and `sha256` are of `AccessUnit.data`, `lost` says that not
every packet went out. An event: {"event","camera","utc_ns", …}.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from vms.errors import UserError


class Journal:
    """Appends to a file, to a listener, or to nothing. `close` once."""

    def __init__(self, path: Path | None = None, listener: Callable[[dict[str, Any]], None] | None = None) -> None:
        self._file: TextIO | None = None
        self._listener = listener
        if path is not None:
            try:
                self._file = path.open("w", encoding="utf-8", buffering=1 << 16)
            except OSError as error:
                raise UserError(f"The log {path} cannot be written: {error.strerror}") from error
        self.enabled = path is not None or listener is not None

    def write(self, record: dict[str, Any]) -> None:
        """One line. Cheap when nobody listens; check `enabled` first where building the record costs."""
        if self._file is not None:
            self._file.write(json.dumps(record, separators=(",", ":")) + "\n")
        if self._listener is not None:
            self._listener(record)

    def flush(self) -> None:
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
