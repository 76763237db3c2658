"""A PostgreSQL server of this machine for a benchmark, with its data in a folder that may be used again.

Durable as a site's would be (fsync on), `shared_buffers` 256 MB. It listens on loopback only, with a password, and is
stopped when its block is left. It refuses to run as root, so for root it runs as an unprivileged user.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

from bench.processes import BenchError
from storage.objects.embedded import free_ports

READY_SECONDS = 60.0
STOP_SECONDS = 60.0
OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "shared_buffers": "256MB",
    "maintenance_work_mem": "512MB",
    "max_wal_size": "4GB",
}


@contextlib.contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """A SQLAlchemy URL of the server's database, made in `folder` unless it is there already."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name.split(".")[0]))
    if not found:
        raise BenchError("PostgreSQL's server programs are not installed")
    identity = _identity()
    folder.mkdir(exist_ok=True)
    if identity:
        os.chown(folder, identity["user"], identity["group"])
        folder.parent.chmod(0o711)  # it must be able to enter
    data, password_file = folder / "data", folder / "password"
    environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8", "HOME": str(folder), "TZ": "UTC"}
    plain: dict[str, Any] = {"cwd": folder, "env": environment, **identity}
    if not data.exists():
        password_file.write_text(secrets.token_hex(16))
        if identity:
            os.chown(password_file, identity["user"], identity["group"])
        initdb = [found[-1] / "initdb", "-D", data, "-U", "stroz", "-E", "UTF8", "-A", "scram-sha-256"]
        subprocess.run([*initdb, f"--pwfile={password_file}"], check=True, capture_output=True, **plain)
    port = free_ports(1)[0]
    flags = [part for name, value in (OPTIONS | {"port": str(port)}).items() for part in ("-c", f"{name}={value}")]
    with open(folder / "log", "wb") as log:
        server = subprocess.Popen([found[-1] / "postgres", "-D", data, *flags], stdout=log, stderr=log, **plain)
    url = f"postgresql://stroz:{password_file.read_text().strip()}@127.0.0.1:{port}/postgres"
    try:
        _wait(server, url, folder / "log")
        yield url
    finally:
        server.send_signal(2)  # SIGINT: a fast shutdown
        try:
            server.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _identity() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam(name)
            return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    raise BenchError("PostgreSQL refuses root, and there is neither a user postgres nor nobody")


def _wait(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            psycopg.connect(url, connect_timeout=2).close()
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise BenchError(f"PostgreSQL did not start:\n{log.read_text()[-2000:]}") from None
            time.sleep(0.1)
        else:
            return
