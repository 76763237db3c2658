"""The data folder of a site: its layout, format version, key file, the lock of a running `vms up`, the access log.

Owns creation and opening of the folder and the paths in it; what is inside the spool, the store and the catalogue
belongs to those. The layout is drawn in ARCHITECTURE.md ("The data folder"). Invariants: the folder's mode is 0700,
the key's 0600; a key is never replaced; a folder of a newer format is refused before anything in it is touched.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import pwd
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from zoneinfo import ZoneInfo

from vms.durable import sync_directory, write_all, write_atomically
from vms.errors import UserError
from vms.localtime import format_utc, load_zone
from vms.sealing import KEY_BYTES, Sealer
from vms.settings import Settings
from vms.settings_reader import load_settings
from vms.timeline import TimeRange

FORMAT = 1
_EXPECTED = {"site.toml", "site.key", "catalogue.db", "run", "spool", "store", "lost+found"}  # may be there before us


def operating_system_user() -> str:
    """Who runs this process; behind sudo, who called it."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = f"uid {os.getuid()}"
    behind = os.environ.get("SUDO_USER")
    return f"{behind} (as {name})" if behind and behind != name else name


@dataclass(frozen=True, slots=True)
class AccessEntry:
    """One line of the access log: who did what with whose picture, and why."""

    at_ns: int
    what: str  # "export", "view"
    camera_id: str
    camera_number: int
    camera_name: str
    range: TimeRange
    reason: str
    files: tuple[tuple[str, str], ...] = ()  # path and SHA-256 (hex) of each file written
    who: str = field(default_factory=operating_system_user)


@dataclass(frozen=True)
class Site:
    """An opened data folder. `path` is absolute."""

    path: Path
    settings: Settings
    key: bytes = field(repr=False)

    @classmethod
    def create(cls, path: Path, environ: Mapping[str, str] | None = None) -> Site:
        """Make the folder unless it is there already, and open it. Nothing that exists is changed."""
        path = _absolute(path)
        with _explained(path):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not (path / "FORMAT").exists():
                _refuse_foreign(path)
                if stat.S_IMODE(path.stat().st_mode) & 0o077 and path.stat().st_uid == os.geteuid():
                    path.chmod(0o700)
                _create_key(path / "site.key")
                write_atomically(path / "FORMAT", f"{FORMAT}\n".encode())
        return cls.open(path, environ)

    @classmethod
    def open(cls, path: Path, environ: Mapping[str, str] | None = None) -> Site:
        """Open an existing folder; UserError when there is none, its format is newer, or its key is missing."""
        path = _absolute(path)
        _check_format(path)
        key = _read_key(path / "site.key")
        site = cls(path, load_settings(path, environ), key)
        with _explained(path):
            site.run.mkdir(mode=0o700, exist_ok=True)
        return site

    @property
    def spool(self) -> Path:
        return self.settings.spool.path

    @property
    def run(self) -> Path:
        """Unix sockets, status files, the lock."""
        return self.path / "run"

    @property
    def live_socket(self) -> Path:
        """The live gateway's inner door, for the web process."""
        return self.run / "live.sock"

    @property
    def assignment_file(self) -> Path:
        return self.path / "assignment.sealed"

    @property
    def waiting_file(self) -> Path:
        """Why the archiver is not started yet, in words, while that is so (`vms.cli.running`)."""
        return self.run / "archiver.waits"

    @property
    def access_log_file(self) -> Path:
        return self.path / "access.log"

    @property
    def catalogue_file(self) -> Path | None:
        """The file of a SQLite catalogue; None when a server keeps it."""
        url = self.settings.catalogue.url.reveal()
        if not url:
            return self.path / "catalogue.db"
        scheme, _, rest = url.partition(":///")
        return self.path / rest.partition("?")[0] if scheme.startswith("sqlite") else None

    @property
    def catalogue_url(self) -> str:
        """SQLAlchemy URL of the catalogue. May hold a password: never to be logged."""
        file = self.catalogue_file
        return f"sqlite:///{file}" if file else self.settings.catalogue.url.reveal()

    @cached_property
    def zone(self) -> ZoneInfo:
        return load_zone(self.settings.site.time_zone)

    @cached_property
    def sealer(self) -> Sealer:
        return Sealer(self.key)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the lock of a running `vms up`; UserError when another process holds it."""
        file = self.run / "up.lock"
        with _explained(self.path):
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UserError(
                    f"{self.path} is in use by process {_read_pid(file)}; stop that one first, or name another --data"
                ) from error
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            yield
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def hold(self, name: str) -> Iterator[Callable[[], bool]]:
        """A lock `name` for a short piece of work; yields `try_to_take`, which says whether it is held now."""
        with _explained(self.path):
            descriptor = os.open(self.run / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

        def try_to_take() -> bool:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        try:
            yield try_to_take
        finally:
            os.close(descriptor)

    def running_process(self) -> str | None:
        """The process id of the `vms up` that holds the lock, or None."""
        file = self.run / "up.lock"
        try:
            descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _read_pid(file)
        else:
            return None
        finally:
            os.close(descriptor)

    def access_log(self, entry: AccessEntry) -> None:
        """Append `entry` as one JSON line; it is on disk when this returns. Raises UserError where that cannot be."""
        facts = asdict(entry) | {
            "at": format_utc(entry.at_ns),
            "range": {"start": format_utc(entry.range.start_ns), "end": format_utc(entry.range.end_ns)},
            "files": [{"file": file, "sha256": digest} for file, digest in entry.files],
        }
        del facts["at_ns"]
        line = json.dumps(facts, ensure_ascii=False).encode("utf-8", "surrogateescape") + b"\n"
        with _explained(self.path):
            is_new = not self.access_log_file.exists()
            descriptor = os.open(self.access_log_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                write_all(descriptor, line)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            if is_new:
                sync_directory(self.path)


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path.expanduser()))


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn the operating system's refusal into what to do about it."""
    try:
        yield
    except (PermissionError, FileNotFoundError) as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror}); give {operating_system_user()} the right to, "
            "or name another folder with --data"
        ) from error
    except (NotADirectoryError, FileExistsError) as error:
        raise UserError(f"{path} cannot be a data folder: a file stands in its place or above it") from error
    except OSError as error:
        do = "free space or name another --data"
        if error.errno == errno.EROFS:
            do = "its disk is mounted so, as a rule after an I/O error: look at dmesg and SMART, then remount it for writing"
        raise UserError(f"{path} cannot be written: {error.strerror}; {do}") from error


def _refuse_foreign(path: Path) -> None:
    foreign = sorted(name for name in os.listdir(path) if name not in _EXPECTED and not name.startswith(".FORMAT"))
    if foreign:
        raise UserError(
            f'{path} is no data folder and not empty ("{foreign[0]}"); name an empty or new folder with --data'
        )
    if (path / "catalogue.db").exists() and not (path / "site.key").exists():
        raise UserError(f"{path} has a catalogue but no site.key; restore FORMAT and site.key from your backup")


def _check_format(path: Path) -> None:
    try:
        with (path / "FORMAT").open("rb") as stream:
            text = stream.read(32).strip()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError(
            f"{path} is no data folder; name yours with --data or VMS_DATA, or make one with: vms --data {path} migrate"
        ) from error
    except OSError as error:
        raise UserError(
            f"{path} cannot be read: {error.strerror}; give {operating_system_user()} the right to"
        ) from error
    if not text.isdigit():
        raise UserError(f"{path}/FORMAT does not hold a number; restore it from your backup")
    if int(text) > FORMAT:
        raise UserError(
            f"{path} has format {int(text)}, this version knows {FORMAT}; nothing was changed. Use the newer version"
        )


def _create_key(file: Path) -> None:
    """The key, complete or absent: written aside and linked into place, which fails where one is already."""
    draft = file.with_name(f".FORMAT-key-{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        write_all(descriptor, os.urandom(KEY_BYTES))
        os.fsync(descriptor)
        with contextlib.suppress(FileExistsError):
            os.link(draft, file)
    finally:
        os.close(descriptor)
        draft.unlink()
    sync_directory(file.parent)


def _read_key(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            mode, key = stat.S_IMODE(os.fstat(stream.fileno()).st_mode), stream.read(KEY_BYTES + 1)
    except FileNotFoundError as error:
        raise UserError(
            f"{file} is missing; camera passwords cannot be read without it. Restore it from your backup"
        ) from error
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from error
    if mode & 0o077:
        raise UserError(f"{file} can be read by others; run: chmod 600 {file}")
    if len(key) != KEY_BYTES:
        raise UserError(f"{file} does not hold {KEY_BYTES} bytes; restore it from your backup")
    return key


def _read_pid(file: Path) -> str:
    text = file.read_bytes()[:16].decode("ascii", "replace").strip()
    return text if text.isdigit() else "unknown"
