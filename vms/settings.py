"""The settings: one typed tree, read once at start from DATA/site.toml, the environment and secret files.

Owns names, defaults, limits and descriptions of all settings (docs/reference/settings.md repeats them; a test
compares) and the messages about wrong ones. The reading itself is in `vms.settings_reader`. Nothing is changed at run
time. Order of precedence: environment, then file, then default. A `Secret` never shows its value unless `reveal`ed.
"""

# ruff: noqa: RUF009 - `setting` makes a field, as `dataclasses.field` does

from __future__ import annotations

import hmac
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from vms.errors import UserError
from vms.settings_network import (
    check_endpoint,
    check_ip_addresses,
    check_mail_address,
    check_mail_addresses,
    check_port_range,
    check_stun_url,
    check_turn_url,
)

MOST_SOCKET_BYTES = 107  # of the path of a Unix socket (unix(7))
_DAY = 86_400


class Secret:
    """A string that does not appear in `repr`, `str`, `format`, logs or tracebacks; `reveal()` gives it."""

    __slots__ = ("_value",)

    def __init__(self, value: str = "") -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return "Secret('***')" if self._value else "Secret('')"

    def __str__(self) -> str:
        return "***" if self._value else ""

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)


class StoreKind(StrEnum):
    FOLDER = "folder"
    S3 = "s3"


class MailTls(StrEnum):
    STARTTLS = "starttls"
    TLS = "tls"
    NONE = "none"


class LogLevel(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    CONSOLE = "console"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Listen:
    """Where a server listens: `host:port`, `[ipv6]:port`."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Listen:
        match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]{2,45})\]|([A-Za-z0-9._-]{1,253})):(\d{1,5})", text, re.ASCII)
        if not match or int(match[3]) > 65_535:
            raise UserError('must be "host:port" with a port from 0 (any free one) to 65535, such as "127.0.0.1:9464"')
        return cls(match[1] or match[2], int(match[3]))

    @property
    def is_loopback(self) -> bool:
        return self.host in ("localhost", "::1") or bool(re.fullmatch(r"127(\.\d{1,3}){3}", self.host))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a setting must keep to. `check` returns what is wrong, or nothing."""

    least: int | None = None
    most: int | None = None
    check: Callable[[Any], str | None] | None = None


def setting(default: Any, doc: str, **limits: Any) -> Any:
    """A dataclass field with its description and limits."""
    return field(default=default, metadata={"doc": doc, "limits": Limits(**limits)})


def _short_line(text: str) -> str | None:
    if not 1 <= len(text) <= 200 or re.search(r"[\x00-\x1f\x7f]", text):
        return "must be one line of 1 to 200 characters"
    return None


def _host_name(text: str) -> str | None:
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", text):
        return "must be 1 to 63 letters, digits, dots and hyphens"
    return None


def _optional_host_name(text: str) -> str | None:
    return _host_name(text) if text else None


def _time_zone(name: str) -> str | None:
    from vms.localtime import load_zone  # noqa: PLC0415 - loads a database file, only when settings are read

    try:
        load_zone(name)
    except UserError as error:
        return str(error)
    return None


def camera_numbers(text: str) -> tuple[range, ...]:
    """`12, 40-55` as ranges. UserError when it is something else."""
    found = []
    for part in text.split(",") if text.strip() else ():
        match = re.fullmatch(r"\s*(\d{1,9})\s*(?:-\s*(\d{1,9})\s*)?", part, re.ASCII)
        if match is None or int(match[2] or match[1]) < int(match[1]):
            raise UserError('must be camera numbers, such as "12, 40-55"')
        found.append(range(int(match[1]), int(match[2] or match[1]) + 1))
    return tuple(found)


def _camera_numbers(text: str) -> str | None:
    try:
        camera_numbers(text)
    except UserError as error:
        return str(error)
    return None


def _bucket(name: str) -> str | None:
    if name and not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", name):
        return "must be 3 to 63 lower-case letters, digits, dots and hyphens (Amazon S3 bucket naming rules)"
    return None


def _catalogue_url(url: Secret) -> str | None:
    if url and not re.match(r"(sqlite|postgresql)(\+\w+)?://", url.reveal()):
        return "must begin with sqlite:// or postgresql://"
    return None


def _webhook_url(url: Secret) -> str | None:
    """Beyond this machine only HTTPS; a host's name is what its certificate is checked against."""
    if not url:
        return None
    match = re.fullmatch(r"(https?)://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:\d{1,5})?([/?][!-~]*)?", url.reveal())
    if not match:
        return "must be https://host/path without user and password"
    if match[1] == "http" and not Listen(match[2].strip("[]"), 80).is_loopback:
        return "must begin with https:// (http:// is for this machine only)"
    return None


@dataclass(frozen=True, slots=True)
class SiteSection:
    """Who this installation is."""

    name: str = setting("Stróż", "Name of the site, as people see it.", check=_short_line)
    time_zone: str = setting(
        "Europe/Warsaw", "IANA time zone in which people type and read times. Stored times are UTC.", check=_time_zone
    )
    host: str = setting(
        "",
        "Name of this machine in runs and journals. Empty: the operating system's host name.",
        check=_optional_host_name,
    )


@dataclass(frozen=True, slots=True)
class CatalogueSection:
    """The database that knows what is recorded."""

    url: Secret = setting(
        Secret(),
        "SQLAlchemy URL, `sqlite:///…` or `postgresql://user:password@host/name`. Empty: `catalogue.db` in the data folder.",
        check=_catalogue_url,
    )


@dataclass(frozen=True, slots=True)
class StoreSection:
    """The object store that keeps the footage."""

    kind: StoreKind = setting(StoreKind.FOLDER, "A folder of this machine, or an S3 server.")
    path: Path = setting(Path("store"), "The folder, for kind `folder`.")
    endpoint: str = setting("", "S3 server, `host:port`. Required for kind `s3`.", check=check_endpoint)
    bucket: str = setting("", "S3 bucket. Required for kind `s3`.", check=_bucket)
    region: str = setting("us-east-1", "S3 region; most servers of one's own accept any.", check=_short_line)
    tls: bool = setting(True, "Speak HTTPS to the S3 server.")
    ca_file: Path | None = setting(
        None, "PEM file of the authority that signed the server's certificate. Absent: the system's."
    )
    access_key: Secret = setting(Secret(), "S3 access key. Required for kind `s3`.")
    secret_key: Secret = setting(Secret(), "S3 secret key. Required for kind `s3`.")


@dataclass(frozen=True, slots=True)
class SpoolSection:
    """Local disk between the recorder and the store."""

    path: Path = setting(
        Path("spool"), "Folder of the spool; a local disk with room for the longest outage of the store."
    )
    budget_bytes: int = setting(
        0,
        "Bytes the spool takes at most. When they are used up, streams are given up in order, with gaps `spool_full`, until "
        "there is room again. 0: all of the disk but the reserve.",
        least=0,
        most=2**60,
    )
    reserve_bytes: int = setting(
        2 * 2**30,
        "Bytes of the spool's disk that recording leaves free, for facts, catalogue and status.",
        least=2**20,
        most=2**50,
    )
    shed_first: str = setting(
        "",
        "Numbers of cameras given up before others when the spool runs full, `12, 40-55`; recorded sub-streams go before "
        "them.",
        check=_camera_numbers,
    )
    shed_last: str = setting(
        "", "Numbers of cameras that are recorded longest; they win over `spool.shed_first`.", check=_camera_numbers
    )


@dataclass(frozen=True, slots=True)
class RecorderSection:
    """How recording is done."""

    workers: int = setting(0, "Worker processes. 0: one per two processors, at most 8.", least=0, most=64)
    segment_seconds: int = setting(
        60, "Target length of a segment; it is cut at a random-access picture.", least=2, most=300
    )
    stall_timeout_seconds: int = setting(
        5, "A stream without a picture for so long is stalled and connected anew.", least=2, most=60
    )
    digests: bool = setting(True, "Digests of every picture group and the seal. Off only to measure their cost.")


@dataclass(frozen=True, slots=True)
class FeedSection:
    """The recorder's door for other processes of the site."""

    socket: Path = setting(Path("run/feed.sock"), "Unix socket on which the recorder serves live access units.")
    listen: Listen | None = setting(
        None, "Where the recorder serves them to other hosts of the site as well, over TLS. Absent: nowhere."
    )
    certificate: Path | None = setting(None, "PEM file of the certificate for `feed.listen`, with its chain.")
    key: Path | None = setting(None, "PEM file of its private key.")


@dataclass(frozen=True, slots=True)
class MetricsSection:
    """Figures for Prometheus."""

    enabled: bool = setting(True, "Serve metrics.")
    listen: Listen = setting(
        Listen("127.0.0.1", 9464),
        "Where `vms up` serves the metrics of all its processes, and `vms archiver` alone its own; `vms recorder` alone "
        "takes the next port. Port 0 takes any free one.",
    )
    token: Secret = setting(Secret(), "Bearer token to ask for. Required when listening beyond loopback.")


@dataclass(frozen=True, slots=True)
class Consumer:
    """Somebody who may watch what is published over RTSP."""

    name: str = setting("", "Name, in the log of views and as RTSP user name.", check=_host_name)
    password: Secret = setting(Secret(), "RTSP password.")


@dataclass(frozen=True, slots=True)
class PublishingSection:
    """Streams for other systems over RTSP. Off until asked for."""

    enabled: bool = setting(False, "Publish streams over RTSP.")
    listen: Listen = setting(Listen("127.0.0.1", 8554), "Where the RTSP server listens.")
    consumers: tuple[Consumer, ...] = setting(
        (), "Who may connect, as `[[publishing.consumers]]` tables. At least one is required beyond loopback."
    )


@dataclass(frozen=True, slots=True)
class LegalSection:
    """The legal profile that a camera gets when none is named."""

    name: str = setting("straż miejska", "Name of the default legal profile.", check=_short_line)
    basis: str = setting(
        "art. 11 ust. 2 ustawy z dnia 29 sierpnia 1997 r. o strażach gminnych",
        "Legal basis of the recording.",
        check=_short_line,
    )
    days: int = setting(30, "Days after which footage is deleted.", least=1, most=3650)
    audio: bool = setting(False, "Whether sound may be recorded at all.")


@dataclass(frozen=True, slots=True)
class AlarmsSection:
    """Who is told when something is wrong, and after how long. Nobody until somebody is named."""

    webhook_url: Secret = setting(
        Secret(),
        "`https://…` to which alarms are sent as JSON by POST. It may hold a token, so it is kept like a password.",
        check=_webhook_url,
    )
    webhook_secret: Secret = setting(Secret(), "Key of the signature that every POST carries. Required for a webhook.")
    webhook_ca_file: Path | None = setting(
        None, "PEM file of the authority that signed the webhook's certificate. Absent: the system's."
    )
    smtp_server: Listen | None = setting(None, "Mail server that takes alarms, `host:port`; usually port 587.")
    smtp_tls: MailTls = setting(
        MailTls.STARTTLS, "How the way to it is encrypted: STARTTLS, TLS from the first byte (port 465), or not at all."
    )
    smtp_ca_file: Path | None = setting(
        None, "PEM file of the authority that signed its certificate. Absent: the system's."
    )
    smtp_user: str = setting("", "User to log in as. Empty: no login.")
    smtp_password: Secret = setting(Secret(), "Password of that user.")
    email_from: str = setting("", "Address that mails come from.", check=check_mail_address)
    email_to: str = setting("", "Addresses that get them, with commas between.", check=check_mail_addresses)
    camera_seconds: int = setting(
        60, "A camera must be without recording for so long before it is told.", least=0, most=86_400
    )
    process_seconds: int = setting(30, "Recorder or archiver must be silent for so long.", least=0, most=86_400)
    store_seconds: int = setting(60, "Store or catalogue must be away for so long.", least=0, most=86_400)
    spool_seconds: int = setting(
        10, "The spool must be over its budget, or deletion braked, for so long.", least=0, most=86_400
    )
    clock_seconds: int = setting(300, "The machine's clock must be wrong for so long.", least=0, most=86_400)
    clear_seconds: int = setting(
        30, "What was told must be well again for so long before its end is told.", least=0, most=86_400
    )


@dataclass(frozen=True, slots=True)
class WebSection:
    """The one door for people: pages, interface, live pictures' signalling. Beyond loopback over TLS only."""

    enabled: bool = setting(True, "Have `vms up` serve pages and live pictures.")
    listen: Listen = setting(Listen("127.0.0.1", 8080), "Where browsers and programs connect. Port 0: any free one.")
    certificate: Path | None = setting(
        None, "PEM file of the certificate, with its chain. Absent: plain HTTP on loopback, else the site's own."
    )
    key: Path | None = setting(None, "PEM file of its private key.")


@dataclass(frozen=True, slots=True)
class LiveSection:
    """Live pictures in browsers, over WebRTC."""

    addresses: str = setting(
        "",
        "IP addresses of this machine to which browsers are told to come, with commas between. Empty: all but loopback, "
        "or loopback alone while `web.listen` is there.",
        check=check_ip_addresses,
    )
    udp_ports: str = setting(
        "",
        "UDP ports for them, such as `50000-50199`; a session takes one on each address. Empty: any free ones.",
        check=check_port_range,
    )
    max_sessions: int = setting(200, "Sessions at the same time; each tile of a wall is one.", least=1, most=5000)
    max_sessions_per_user: int = setting(128, "Of them, one user's: four walls of 16, old and new.", least=1, most=5000)
    stun_url: str = setting("", "STUN server that browsers are told of, `stun:host:port`.", check=check_stun_url)
    turn_url: str = setting(
        "", "TURN server for browsers without UDP, `turn:host:port?transport=tcp` or `turns:…`.", check=check_turn_url
    )
    turn_secret: Secret = setting(
        Secret(), "Secret shared with the TURN server, from which credentials for an hour are made. Required with it."
    )


@dataclass(frozen=True, slots=True)
class LogSection:
    """What the processes write to standard error."""

    level: LogLevel = setting(LogLevel.INFO, "Least severity that is written.")
    format: LogFormat = setting(LogFormat.CONSOLE, "Lines for people, or one JSON object a line.")


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole tree. Paths are absolute after `load_settings`."""

    site: SiteSection = field(default_factory=SiteSection)
    catalogue: CatalogueSection = field(default_factory=CatalogueSection)
    store: StoreSection = field(default_factory=StoreSection)
    spool: SpoolSection = field(default_factory=SpoolSection)
    recorder: RecorderSection = field(default_factory=RecorderSection)
    feed: FeedSection = field(default_factory=FeedSection)
    metrics: MetricsSection = field(default_factory=MetricsSection)
    publishing: PublishingSection = field(default_factory=PublishingSection)
    legal: LegalSection = field(default_factory=LegalSection)
    alarms: AlarmsSection = field(default_factory=AlarmsSection)
    web: WebSection = field(default_factory=WebSection)
    live: LiveSection = field(default_factory=LiveSection)
    log: LogSection = field(default_factory=LogSection)


def check_together(settings: Settings) -> list[str]:
    """What is wrong between settings that are each right alone; one sentence each, naming the keys."""
    store, metrics, publishing = settings.store, settings.metrics, settings.publishing
    problems = []
    if store.kind is StoreKind.S3:
        missing = [k for k in ("endpoint", "bucket", "access_key", "secret_key") if not getattr(store, k)]
        if missing:
            problems.append(f"store.kind is s3, so {' and '.join(f'store.{k}' for k in missing)} must be set")
    if metrics.enabled and not metrics.listen.is_loopback and not metrics.token:
        problems.append(f"metrics.listen {metrics.listen} is open to the network, so metrics.token must be set")
    if publishing.enabled and not publishing.listen.is_loopback and not publishing.consumers:
        problems.append("publishing.listen is open to the network, so publishing.consumers must name who may connect")
    names = [c.name for c in publishing.consumers]
    problems += [
        f'publishing.consumers: "{n}" is there twice' for n in sorted({n for n in names if names.count(n) > 1})
    ]
    problems += [f'publishing.consumers: "{c.name}" has no password' for c in publishing.consumers if not c.password]
    if settings.feed.listen and not (settings.feed.certificate and settings.feed.key):
        problems.append("feed.listen is served over TLS only, so feed.certificate and feed.key must be set")
    if len(str(settings.feed.socket).encode()) > MOST_SOCKET_BYTES:
        problems.append(
            f"feed.socket: a Unix socket path has at most {MOST_SOCKET_BYTES} bytes; set a shorter one, such as "
            "/run/stroz/feed.sock"
        )
    return problems + _check_alarms(settings.alarms) + _check_live(settings)


def _check_alarms(alarms: AlarmsSection) -> list[str]:
    problems = []
    if alarms.webhook_url and not alarms.webhook_secret:
        problems.append("alarms.webhook_url is set, so alarms.webhook_secret must be set")
    if alarms.smtp_server is not None:
        missing = [k for k in ("email_from", "email_to") if not getattr(alarms, k)]
        if missing:
            problems.append(f"alarms.smtp_server is set, so {' and '.join(f'alarms.{k}' for k in missing)} must be set")
        if not alarms.smtp_server.port:
            problems.append("alarms.smtp_server must have a port, usually 587")
        if alarms.smtp_user and alarms.smtp_tls is MailTls.NONE and not alarms.smtp_server.is_loopback:
            problems.append("alarms.smtp_user logs in over the network, so alarms.smtp_tls must not be none")
    if bool(alarms.smtp_user) != bool(alarms.smtp_password):
        problems.append("alarms.smtp_user and alarms.smtp_password must be set together")
    return problems


def _check_live(settings: Settings) -> list[str]:
    web, live = settings.web, settings.live
    problems = []
    if bool(web.certificate) != bool(web.key):
        problems.append("web.certificate and web.key must be set together")
    if bool(live.turn_url) != bool(live.turn_secret):
        problems.append("live.turn_url and live.turn_secret must be set together")
    return problems


def local_host_name() -> str:
    """The operating system's host name without its domain, reduced to what `site.host` allows."""
    name = re.sub(r"[^A-Za-z0-9-]+", "-", socket.gethostname().split(".")[0]).strip("-")[:63]
    return name or "host"
