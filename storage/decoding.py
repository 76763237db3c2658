"""Whether footage can be seen: a decoder in a process of its own, asked about one file at a time.

Owns that process: it is started when first asked for, replaced when it dies or takes too long, and ended by `close`.
What footage makes a decoder do can be anything, a crash included; there it happens to the child alone, and is the
answer for that file.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from vms.errors import VmsError

DECODE_SECONDS = 900.0  # of one segment of at most five minutes
_COMMAND = (sys.executable, "-m", "storage.decoding_child")
_PASSED_ON = ("PATH", "PYTHONPATH", "LANG", "HOME")  # and no setting of a site: they may hold secrets


class DecodingProcess:
    """A `storage.check_looks.Decoder`. Use from one event loop; `close` it."""

    def __init__(self, command: Sequence[str] = _COMMAND, seconds: float = DECODE_SECONDS) -> None:
        self._command, self._seconds = command, seconds
        self._child: asyncio.subprocess.Process | None = None
        self._one_at_a_time = asyncio.Lock()

    async def problem(self, path: Path) -> str | None:
        """Why this file cannot be decoded to its end; None: it can. Raises VmsError where no decoder can be started."""
        async with self._one_at_a_time:
            child = await self._started()
            assert child.stdin is not None
            assert child.stdout is not None
            try:
                async with asyncio.timeout(self._seconds):
                    child.stdin.write(json.dumps(str(path)).encode() + b"\n")
                    await child.stdin.drain()
                    answer = await child.stdout.readline()
            except TimeoutError:
                await self.close()
                return f"the decoder had not finished after {self._seconds:.0f} s"
            except ConnectionError:
                answer = b""
            except asyncio.CancelledError:
                await self.close()  # its answer must not be taken for that of another file
                raise
            if answer:
                found: str | None = json.loads(answer)
                return found
            code = await child.wait()
            self._child = None
            return f"the decoder died of it (signal {-code})" if code < 0 else f"the decoder gave up (exit code {code})"

    async def _started(self) -> asyncio.subprocess.Process:
        if self._child is None:
            try:
                self._child = await asyncio.create_subprocess_exec(
                    *self._command,
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.DEVNULL,
                    env={name: os.environ[name] for name in _PASSED_ON if name in os.environ},
                )
            except OSError as error:
                raise VmsError(f"the decoder cannot be started: {error.strerror or error}") from error
        return self._child

    async def close(self) -> None:
        """End the process. May be repeated."""
        child, self._child = self._child, None
        if child is not None:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()
