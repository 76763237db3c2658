"""RTSP session ids on disk, so that a session that outlived a crash is ended at the next start.

Some cameras allow two sessions and keep a dead one for a minute: without this, a crash would cost that minute. One
small file per stream and address, named by their hash; losing one costs only that wait, so nothing is flushed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from pathlib import Path

log = logging.getLogger(__name__)

MAX_IDS = 8


class SessionFolder:
    """A `vms.rtsp.client.SessionStore` in a folder of its own, for one `owner`.

    Two streams may have one address: neither must end the session that the other holds, so each is an owner of its own.
    """

    def __init__(self, path: Path, owner: str) -> None:
        self._path = path
        self._owner = owner
        path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def remember(self, url: str, session_id: str) -> None:
        self._write(url, [*self.pending(url), session_id][-MAX_IDS:])

    def forgotten(self, url: str, session_id: str) -> None:
        self._write(url, [known for known in self.pending(url) if known != session_id])

    def pending(self, url: str) -> list[str]:
        try:
            found = json.loads(self._file(url).read_bytes())
        except (OSError, ValueError, RecursionError):
            return []
        return [s for s in found if isinstance(s, str)][:MAX_IDS] if isinstance(found, list) else []

    def _write(self, url: str, ids: list[str]) -> None:
        file = self._file(url)
        try:
            if ids:
                file.write_text(json.dumps(ids))
            else:
                with contextlib.suppress(FileNotFoundError):
                    file.unlink()
        except OSError as error:
            log.warning("RTSP session ids cannot be kept: %s", error.strerror)

    def _file(self, url: str) -> Path:
        name = hashlib.sha256(f"{self._owner} {url}".encode()).hexdigest()[:32]
        return self._path / f"{name}.json"
