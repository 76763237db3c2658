"""What people get wrong, each as the real command in a process of its own.

Every refusal: a short message that says what to do, no traceback, no password anywhere, an exit code other than zero,
and nothing changed in the data folder.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import re
import shutil
import socket
import sqlite3
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from storage.objects.embedded import EmbeddedServer
from storage.objects.s3_wire import S3Location
from tests.support.scripted_rtsp import SDP, Scripted, pictures, status
from tests.support.servers import temporary_folder
from tests.support.zygote import Zygote

pytestmark = pytest.mark.network

ROOT = Path(__file__).resolve().parents[2]
CAMERA_PASSWORD = "kanarek-kamery-7731"
STORE_PASSWORD = "kanarek-magazynu-4402"
CANARIES = (CAMERA_PASSWORD, STORE_PASSWORD)
VOLATILE = ("catalogue.db-wal", "catalogue.db-shm")  # SQLite's own; what they hold counts when it reaches the file
SECONDS = 40
DIGEST = b'WWW-Authenticate: Digest realm="kamera", nonce="abc", qop="auth", algorithm=MD5'


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return self.out + self.err


@dataclass
class Desk:
    """A person at a terminal with a data folder."""

    folder: Path
    data: Path
    zygote: Zygote

    def run(
        self,
        *args: object,
        data: Path | None = None,
        prefix: tuple[str, ...] = (),
        env: dict[str, str] | None = None,
    ) -> Ran:
        """`vms --data DATA args`, with nothing to type on; with `prefix` another program starts it."""
        line = ["--data", str(data or self.data), *map(str, args)]
        clean = {k: v for k, v in os.environ.items() if not k.startswith("VMS_")} | (env or {})
        if not prefix:
            return Ran(*self.zygote.run(line, cwd=self.folder, env=clean, timeout=SECONDS))
        done = subprocess.run(
            [*prefix, sys.executable, "-m", "vms.cli", *line],
            cwd=self.folder,
            env=clean | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
        return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())

    def does(self, *args: object) -> Ran:
        ran = self.run(*args)
        assert ran.code == 0, ran
        return ran

    def refused(self, *args: object, says: str, code: int = 2, data: Path | None = None, **how: object) -> Ran:
        """Run what must be refused: `says` is a pattern for standard error. Checks all that holds for every refusal."""
        watched = data or self.data
        before = fingerprint(watched)
        ran = self.run(*args, data=data, **how)  # type: ignore[arg-type]
        assert ran.code == code, ran
        check_message(ran, says)
        assert fingerprint(watched) == before, "something was changed"
        for file in self.folder.rglob("*"):
            if file.is_file() and not file.name.startswith("secret"):
                content = file.read_bytes()
                assert not any(c.encode() in content for c in CANARIES), f"{file} holds a password"
        return ran

    def secret(self, text: str, name: str = "secret") -> Path:
        """A file with a password, which is where passwords belong."""
        file = self.folder / name
        file.write_text(text + "\n")
        return file

    def settings(self, text: str) -> None:
        (self.data / "site.toml").write_text(text)


def check_message(ran: Ran, says: str) -> None:
    lines = ran.err.strip().splitlines()
    assert 1 <= len(lines) <= 3, ran.err
    assert all(len(line) <= 400 for line in lines), ran.err
    assert "Traceback" not in ran.text
    assert re.search(says, ran.err, re.DOTALL), ran.err
    assert not any(c in ran.text for c in CANARIES)


RECORD = re.compile(r'INSERT INTO "audit_\w+"')


def fingerprint(folder: Path) -> dict[str, str]:
    """Path → SHA-256 of every file below `folder`; of a catalogue without its record of what was tried."""
    if not folder.is_dir():
        return {}
    return {
        str(file.relative_to(folder)): hashlib.sha256(_content(file)).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name not in VOLATILE and file.suffix != ".lock"
    }


def _content(file: Path) -> bytes:
    if file.name == "catalogue.db":
        with contextlib.suppress(sqlite3.DatabaseError), contextlib.closing(sqlite3.connect(file)) as catalogue:
            return "\n".join(line for line in catalogue.iterdump() if not RECORD.match(line)).encode()
    return file.read_bytes()


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    with Zygote() as started:
        yield started


@pytest.fixture(scope="module")
def site(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with one camera whose password is a canary."""
    folder = tmp_path_factory.mktemp("site")
    desk = Desk(folder, folder / "data", zygote)
    file = desk.secret(CAMERA_PASSWORD)
    desk.does("camera", "add", "Rynek", "rtsp://127.0.0.1:9/kam", "--user", "jan", "--password-file", file)
    return folder / "data"


@pytest.fixture
def desk(site: Path, zygote: Zygote, tmp_path: Path) -> Desk:
    return Desk(tmp_path, Path(shutil.copytree(site, tmp_path / "data")), zygote)


@pytest.fixture
def new_desk(desk: Desk) -> Desk:
    """The same without a camera in service: there is nothing to record yet."""
    desk.does("camera", "remove", "1", "--yes")
    return desk


# -- cameras ----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def serving(camera: Scripted) -> Iterator[Scripted]:
    """The scripted camera on a loop of its own, as the command is another process."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(camera.__aenter__(), loop).result(10)
        try:
            yield camera
        finally:
            asyncio.run_coroutine_threadsafe(camera.__aexit__(), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@contextlib.contextmanager
def talking(greeting: bytes, answer: bytes) -> Iterator[int]:
    """A port that is not RTSP: says `greeting`, and `answer` to whatever comes. The port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        open_ones: list[socket.socket] = []

        def serve() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                open_ones.append(client)
                with contextlib.suppress(OSError):
                    client.sendall(greeting)
                    if answer and client.recv(4096):
                        client.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)
            for client in open_ones:
                client.close()


def test_a_wrong_camera_password(desk: Desk) -> None:
    file = desk.secret(CAMERA_PASSWORD)
    refusal = status(401, DIGEST)
    with serving(Scripted({"DESCRIBE": [refusal] * 9, "OPTIONS": [refusal] * 9})) as camera:
        desk.refused(
            *("camera", "test", camera.url, "--user", "jan", "--password-file", file),
            says="does not accept the user name or password.*--password-file",
            code=1,
        )
        assert camera.requests


def test_a_camera_that_asks_for_a_password_nobody_gave(desk: Desk) -> None:
    with serving(Scripted({"DESCRIBE": [status(401, DIGEST)] * 9})) as camera:
        desk.refused("camera", "test", camera.url, says="--user", code=1)


def test_a_wrong_path(desk: Desk) -> None:
    with serving(Scripted({"DESCRIBE": [status(404, reason=b"Not Found")] * 9})) as camera:
        desk.refused("camera", "test", camera.url, says="404.*check address, port and path", code=1)


@pytest.mark.parametrize(
    ("greeting", "answer"),
    [
        (b"", b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\n\r\n<html>no</html>"),
        (b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", b""),
    ],
    ids=["http", "ssh"],
)
def test_a_port_that_is_not_rtsp(desk: Desk, greeting: bytes, answer: bytes) -> None:
    with talking(greeting, answer) as port:
        desk.refused(
            "camera", "test", f"rtsp://127.0.0.1:{port}/kam", says="does not speak RTSP.*check address, port", code=1
        )


def test_a_port_that_says_nothing(desk: Desk) -> None:
    with talking(b"", b"") as port:
        desk.refused(
            "camera", "test", f"rtsp://127.0.0.1:{port}/kam", says="did not answer.*check address and port", code=1
        )


def test_a_refused_connection(desk: Desk) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    desk.refused("camera", "test", f"rtsp://127.0.0.1:{port}/kam", says="refuses connections.*port", code=1)


def test_a_self_signed_certificate_is_pinned_by_what_the_message_says(desk: Desk) -> None:
    with serving(Scripted(media=pictures(60), tls=self_signed(desk.folder))) as camera:
        ran = desk.refused("camera", "test", camera.url, "--seconds", 1, says="certificate.*pin", code=1)
        found = re.search(r"[0-9a-f]{64}", ran.err)
        assert found
        desk.does("camera", "test", camera.url, "--seconds", 1, "--pin", found[0])
        desk.refused("camera", "test", camera.url, "--pin", "0" * 64, says=f"not the pinned one.*{found[0]}", code=1)
    desk.refused("camera", "test", "rtsps://127.0.0.1/a", "--pin", "abc", says="64 hex digits")


def self_signed(folder: Path) -> ssl.SSLContext:
    """A server's context with a certificate that nobody vouches for."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kamera")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    file = folder / "kamera.pem"
    file.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


@pytest.mark.parametrize(
    "body", [b"\xff\x00\xfe" * 50, b"<html>login</html>", b"v=0\r\nm=video x\r\n"], ids=["bytes", "html", "line"]
)
def test_garbage_for_a_description(desk: Desk, body: bytes) -> None:
    with serving(Scripted(sdp=body)) as camera:
        desk.refused("camera", "test", camera.url, says="(does not parse|no video).*check address", code=1)


def test_a_camera_that_sends_nothing(desk: Desk) -> None:
    with serving(Scripted()) as camera:
        desk.refused("camera", "test", camera.url, "--seconds", 3, says="sent no video.*switched on", code=1)


@pytest.mark.parametrize("codec", ["MP4V-ES", "VP8", "JPEG"])
def test_a_codec_that_is_not_recorded(desk: Desk, codec: str) -> None:
    sdp = re.sub(rb"a=fmtp.*?\r\n", b"", SDP.replace(b"H264", codec.encode()))
    with serving(Scripted(sdp=sdp)) as camera:
        desk.refused("camera", "test", camera.url, says=f"{codec}.*not recorded.*H\\.264", code=1)


def test_a_stream_that_cannot_be_tested_and_addresses_that_are_none(desk: Desk) -> None:
    for address, says in (
        ("rtsp://", "no host"),
        ("rtsp://10.0.0.300/a", "IPv4"),
        ("ftp://10.0.0.3/a", "begins with rtsp"),
        ("http://10.0.0.3/a", "only rtsp"),
        ("rtsp://10.0.0.3/a b", "%XX"),
        (f"rtsp://jan:{CAMERA_PASSWORD}@10.0.0.3/a", "leave the password out"),
    ):
        desk.refused("camera", "test", address, says=says)


# -- settings and data folder -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[store]\nbuckett = 'x'\n", r"site\.toml: unknown key store\.buckett; did you mean store\.bucket\?"),
        ("[stores]\n", "unknown key stores; did you mean"),
        ("[legal]\ndays = 'thirty'\n", r"legal\.days must be a whole number"),
        ("[legal]\ndays = 0\n", r"legal\.days must be from 1"),
        ("[site]\ntime_zone = 'Europe/Krakow'\n", "time zone.*Europe/Warsaw"),
        ("[site\n", "not valid TOML"),
        ("store = 3\n", r"write \[store\]"),
        (f"[store]\nkind = 's3'\nsecret_key = '{STORE_PASSWORD}'\n", "endpoint|bucket|access_key"),
    ],
)
def test_settings_that_are_wrong(desk: Desk, text: str, says: str) -> None:
    file = desk.data / "site.toml"
    file.write_text(text)
    before = fingerprint(desk.data)
    ran = desk.run("camera", "list")
    assert ran.code == 2
    check_message(ran, says)
    assert fingerprint(desk.data) == before


def test_settings_of_the_environment_that_are_wrong(desk: Desk) -> None:
    desk.refused("camera", "list", env={"VMS_STORE_KINDD": "s3"}, says="unknown variable VMS_STORE_KINDD; did you mean")
    desk.refused("camera", "list", env={"VMS_LEGAL_DAYS": "x"}, says="VMS_LEGAL_DAYS must be a whole number")


def test_a_data_folder_of_a_newer_version(desk: Desk) -> None:
    (desk.data / "FORMAT").write_text("99\n")
    for command in (("camera", "list"), ("migrate",), ("up",)):
        desk.refused(*command, says="format 99.*nothing was changed.*newer version")


def test_a_catalogue_of_a_newer_version(new_desk: Desk) -> None:
    desk = new_desk
    with contextlib.closing(sqlite3.connect(desk.data / "catalogue.db")) as catalogue:
        catalogue.execute("update alembic_version set version_num = '9999'")
        catalogue.commit()
        catalogue.execute("pragma wal_checkpoint(truncate)")
    for command in (
        ("camera", "list"),
        ("camera", "add", "X", "rtsp://h/a"),
        ("migrate",),
        ("timeline", "1", "--day", "today"),
    ):
        ran = desk.run(*command)
        assert ran.code in (1, 2)
        check_message(ran, "newer")
    desk.settings("[metrics]\nenabled = false\n[web]\nenabled = false\n")
    desk.refused("up", says="newer")


def test_a_catalogue_that_is_corrupt(new_desk: Desk) -> None:
    desk = new_desk
    for name in VOLATILE:
        (desk.data / name).unlink(missing_ok=True)
    (desk.data / "catalogue.db").write_bytes(b"kotek" * 4096)
    for command in (
        ("camera", "list"),
        ("camera", "add", "X", "rtsp://h/a"),
        ("migrate",),
        ("timeline", "1", "--day", "today"),
    ):
        desk.refused(*command, says="catalogue.*backup", code=1)
    desk.settings("[metrics]\nenabled = false\n[web]\nenabled = false\n")
    desk.refused("up", says="catalogue.*backup.*[Nn]othing was started")


@pytest.mark.parametrize("text", ["", "one", "-1", "1 2"])
def test_a_format_that_is_no_number(desk: Desk, text: str) -> None:
    (desk.data / "FORMAT").write_text(text)
    desk.refused("camera", "list", says="FORMAT does not hold a number.*backup")


def test_keys_that_are_missing_open_to_others_or_cut(desk: Desk) -> None:
    key = desk.data / "site.key"
    content = key.read_bytes()
    key.unlink()
    desk.refused("camera", "list", says=r"site\.key is missing.*backup")
    desk.refused("camera", "add", "X", "rtsp://h/a", says=r"site\.key is missing.*backup")
    key.write_bytes(content)
    key.chmod(0o644)
    desk.refused("camera", "list", says="chmod 600")
    key.chmod(0o600)
    key.write_bytes(content[:-1])
    desk.refused("camera", "list", says="32 bytes.*backup")
    key.write_bytes(bytes(32))
    desk.refused("camera", "list", says="key", code=1)


def test_a_folder_whose_path_leaves_no_room_for_sockets(desk: Desk) -> None:
    with temporary_folder("long") as folder:
        data = folder / ("d" * (90 - len(str(folder)) - 1))  # feed.sock still fits
        shutil.copytree(desk.data, data)
        for command in ("up", "recorder", "archiver"):
            desk.refused(command, data=data, says="too long a path.*shorter")


def test_folders_that_are_none(desk: Desk) -> None:
    file = desk.folder / "plik"
    file.write_text("x")
    foreign = desk.folder / "obcy"
    foreign.mkdir()
    (foreign / "zdjęcie.jpg").write_text("x")
    desk.refused("camera", "list", data=desk.folder / "nie-ma", says="no data folder.*--data")
    desk.refused("migrate", data=file / "data", says="--data|file stands")
    desk.refused("migrate", data=file, says="file stands in its place")
    desk.refused("migrate", data=foreign, says="not empty.*--data")
    assert not (desk.folder / "nie-ma").exists()
    if Path("/proc/self").exists():
        desk.refused("migrate", data=Path("/proc/stroz"), says="/proc/stroz cannot be written.*--data")


NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


@pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("setpriv"), reason="needs root and setpriv to be somebody else"
)
def test_a_folder_of_somebody_else(desk: Desk) -> None:
    probe = subprocess.run(
        [*NOBODY, sys.executable, "-c", "import vms"],
        cwd="/",
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
    )
    if probe.returncode:
        pytest.skip("nobody may not read this checkout")
    path = desk.folder
    while path != path.parent and path.stat().st_uid == 0 and not path.stat().st_mode & 0o001:
        path.chmod(path.stat().st_mode | 0o011)
        path = path.parent
    how = {"prefix": NOBODY, "env": {"HOME": "/"}}
    desk.refused("camera", "list", says="cannot be (read|written).*right to", **how)
    desk.refused("migrate", data=desk.folder / "nowy", says="cannot be written.*right to", **how)


# -- cameras in the registry ------------------------------------------------------------------------------------------


def test_cameras_that_are_unknown_or_there_twice(desk: Desk) -> None:
    desk.refused("camera", "show", "99", says="99.*(camera list|known)")
    desk.refused("camera", "edit", "Rynk", "--name", "X", says="Rynk")
    desk.refused("camera", "remove", "99", "--yes", says="99")
    desk.refused("camera", "remove", "1", says="--yes")
    desk.refused("timeline", "99", "--day", "today", says="99")
    desk.refused("camera", "add", "Drugi", "rtsp://h/a", "--number", "1", says="number 1")
    desk.refused("camera", "edit", "1", "--no-sub", "--sub", "rtsp://h/b", says="either --sub or --no-sub")
    desk.refused("camera", "add", "X", "rtsp://h/a", "--user", "jan", says="--password-file")
    desk.refused(
        "camera", "add", "X", "rtsp://h/a", "--user", "j", "--password", CAMERA_PASSWORD, says="--password is refused"
    )
    desk.refused("camera", "add", "X", f"rtsp://jan:{CAMERA_PASSWORD}@h/a", says="leave the password out")
    desk.refused("camera", "add", "X", "rtsp://h/a", "--profile", "Nie ma", says="no legal profile.*known are")


def test_tables_with_bad_rows(desk: Desk) -> None:
    table = desk.folder / "kamery.csv"
    table.write_text(
        "numer;nazwa;adres;hasło_ref\n2;Most;10.0.0.2;\n2;Dwa;10.0.0.3;\nx;Trzy;10.0.0.4;\n5;;10.0.0.5;env:NIE_MA\n"
    )
    for options in ((), ("--commit",)):
        ran = desk.refused(
            "camera", "import", table, *options, says="4 rows: 1 new.*3 error.*nothing was written; mend"
        )
        assert "already in line 2" in ran.out
        assert "whole number" in ran.out
    answer = json.loads(desk.run("camera", "import", table, "--json").out)
    assert [row["verdict"] for row in answer["rows"]] == ["new", "error", "error", "error"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"numer;nazwaa\n1;x\n", "unknown column.*did you mean nazwa"),
        (b"nazwa\nx\n", "numer.*missing"),
        (b"\x00\x01\x02", "CSV UTF-8"),
        (b'numer;nazwa\n1;"x\n', "check the quotes"),
        (b"numer;nazwa;numer\n", "twice"),
    ],
)
def test_tables_that_are_none(desk: Desk, content: bytes, says: str) -> None:
    table = desk.folder / "kamery.csv"
    table.write_bytes(content)
    desk.refused("camera", "import", table, "--commit", says=says)


def test_a_table_that_is_not_there(desk: Desk) -> None:
    desk.refused("camera", "import", desk.folder / "nie-ma.csv", says="cannot be read")


# -- times and exports ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("times", "says"),
    [
        (("--from", "2026-10-25 02:30", "--to", "2026-10-25 04:00"), r"twice.*02:30:00\+02:00.*02:30:00\+01:00"),
        (("--from", "2027-03-28 02:30", "--to", "2027-03-28 04:00"), r"never happened.*\+01:00.*\+02:00"),
        (("--from", "2026-11-20 12:00", "--to", "2026-11-20 11:00"), "end .* must come after the start"),
        (("--from", "2026-11-20 12:00", "--to", "2026-11-20 12:00"), "must come after"),
        (("--from", "2026-11-20 12:00"), "--day YYYY-MM-DD, or both --from and --to"),
        (("--day", "2026-02-30"), "2026-02-30"),
        (("--day", "today", "--from", "now"), "either --day"),
        (("--day", "jutro"), "YYYY-MM-DD"),
        (("--from", "wczoraj", "--to", "now"), "not a time; write for example"),
    ],
)
def test_times_that_are_wrong(desk: Desk, times: tuple[str, ...], says: str) -> None:
    desk.refused("timeline", "1", *times, says=says)
    desk.refused("export", "1", *times, "-o", "klip.mp4", "--reason", "KMP 7/26", says=says)
    assert not (desk.folder / "klip.mp4").exists()


def test_exports_that_cannot_be(desk: Desk) -> None:
    day = ("--day", "2026-11-20")
    why = ("--reason", "KMP 7/26")
    (desk.folder / "jest.mp4").write_text("nie ruszać")
    desk.refused("export", "1", *day, *why, "-o", "klip.mp4", says="(nothing|no footage|not).*recorded")
    desk.refused("export", "1", *day, *why, "-o", "klip.avi", says=r"\.mp4")
    desk.refused("export", "1", *day, *why, "-o", "nie-ma/klip.mp4", says="does not exist; make it first")
    desk.refused("export", "1", *day, *why, "-o", "jest.mp4", says="already there; name another")
    desk.refused("export", "1", *day, "-o", "klip.mp4", says="--reason")
    desk.refused("export", "1", *day, "-o", "klip.mp4", "--reason", " ", says="--reason")
    desk.refused("export", "77", *day, *why, "-o", "klip.mp4", says="77")
    desk.refused("export", "1", *day, *why, "--stream", "sub", "-o", "klip.mp4", says="no sub stream; it has: main")
    assert (desk.folder / "jest.mp4").read_text() == "nie ruszać"
    assert sorted(p.name for p in desk.folder.iterdir()) == ["data", "jest.mp4"]


# -- the store --------------------------------------------------------------------------------------------------------


def s3_settings(there: S3Location, access_key: str) -> str:
    return (
        f"[store]\nkind = 's3'\nendpoint = '{there.netloc}'\ntls = {str(there.secure).lower()}\n"
        f"bucket = '{there.bucket}'\naccess_key = '{access_key}'\nsecret_key_file = '../secret-store'\n"
        "[metrics]\nenabled = false\n[web]\nenabled = false\n"
    )


def test_credentials_of_the_store_that_are_wrong(new_desk: Desk, seaweedfs: EmbeddedServer) -> None:
    desk = new_desk
    desk.secret(STORE_PASSWORD, "secret-store")
    there = seaweedfs.location
    desk.settings(s3_settings(there, there.access_key))
    desk.refused("up", says=r"check .*settings.*Nothing was started; correct the section \[store\]")
    desk.settings(s3_settings(there, "nieznany-klucz"))
    desk.refused("up", says=r"check .*settings.*Nothing was started; correct the section \[store\]")


def test_a_status_of_what_does_not_run(desk: Desk) -> None:
    desk.refused("status", says="nothing runs on .*start it with: vms --data .* up", code=1)
    desk.refused("status", data=desk.folder / "nie-ma", says="no data folder.*--data")


def test_a_second_up_on_the_same_folder(desk: Desk) -> None:
    import fcntl

    (desk.data / "run").mkdir(exist_ok=True)
    with (desk.data / "run" / "up.lock").open("a+") as held:
        held.write(f"{os.getpid()}\n")
        held.flush()
        fcntl.flock(held, fcntl.LOCK_EX)
        desk.refused("up", says=f"in use by process {os.getpid()}; stop that one first")


def test_a_port_of_ours_that_is_taken(desk: Desk) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        desk.settings(f"[metrics]\nenabled = true\nlisten = '127.0.0.1:{port}'\n")
        desk.refused("up", says=f"{port}.*(taken|in use).*metrics")
        desk.refused("publish", "--listen", f"127.0.0.1:{port}", says=f"{port}.*(taken|in use)")


def test_an_assignment_that_is_corrupt_is_told_and_mended_by_the_next_change(desk: Desk) -> None:
    """The recorder waits for a better one rather than end: a change of cameras writes it anew."""
    file = desk.data / "assignment.sealed"
    file.write_bytes(b"\x01" + bytes(200))
    log = desk.folder / "log"
    command = [sys.executable, "-m", "vms.cli", "--data", str(desk.data), "recorder"]
    with log.open("wb") as stream:
        recorder = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream)
    try:
        deadline = time.monotonic() + SECONDS
        while "assignment" not in log.read_text():
            assert recorder.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        assert file.read_bytes() == b"\x01" + bytes(200)
        assert "Traceback" not in log.read_text()
        desk.does("camera", "edit", "1", "--disable")
        assert file.read_bytes() != b"\x01" + bytes(200)
    finally:
        recorder.terminate()
        assert recorder.wait(SECONDS) == 0
    assert not any(c in log.read_text() for c in CANARIES)


def test_what_no_command_is(desk: Desk) -> None:
    for line in (
        ("nagrywaj",),
        ("camera", "lst"),
        ("camera", "list", "--jsno"),
        ("export", "1"),
        ("demo", "--store", "s4"),
    ):
        before = fingerprint(desk.data)
        ran = desk.run(*line)
        assert ran.code == 2
        assert "Traceback" not in ran.text
        assert " -h' for help" in ran.err
        assert fingerprint(desk.data) == before
