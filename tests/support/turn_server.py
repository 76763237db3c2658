"""Debian's coturn on loopback, with credentials made from a shared secret, as docs/guide-it.md sets it up."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.foreign_servers import free_port
from tests.support.live_site import eventually_sync

REALM = "monitoring"


@dataclass(frozen=True, slots=True)
class TurnServer:
    """It takes clients over TCP alone, and relays UDP."""

    port: int
    secret: str
    _log: Path

    @property
    def url(self) -> str:
        return f"turn:127.0.0.1:{self.port}?transport=tcp"

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")


@contextmanager
def turn_server(folder: Path, secret: str) -> Iterator[TurnServer]:
    """It listens when this yields."""
    program = shutil.which("turnserver")
    if program is None:
        pytest.skip("coturn is not installed (Debian: coturn)")
    port, log = free_port(), folder / "turn.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                program, "-n", "--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1", f"--listening-port={port}", "--no-udp",
                "--no-tls", "--no-dtls", "--use-auth-secret", f"--static-auth-secret={secret}", f"--realm={REALM}",
                "--no-cli", "--allow-loopback-peers", "--denied-peer-ip=0.0.0.0-255.255.255.255", "--allowed-peer-ip=127.0.0.1",
                "--fingerprint", "--verbose", "--log-file=stdout",
                f"--pidfile={folder / 'turn.pid'}", f"--userdb={folder / 'turn.db'}",
            ],
            cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
        )  # fmt: skip
    try:
        eventually_sync(lambda: _listens(process, port, log), 15, "coturn's door")
        yield TurnServer(port, secret, log)
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait()


def _listens(process: subprocess.Popen[bytes], port: int, log: Path) -> bool:
    assert process.poll() is None, log.read_text(errors="replace")[-3000:]
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
