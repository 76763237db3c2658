"""Structured logs of every process, with camera and stream in them and without credentials.

Owns the format of log lines and the redaction of credentials: first by type (`Secret` and `CameraUrl` print without
them), then, as a second net, by pattern over everything that is about to be written. Does not decide what is logged.
Metrics are in `vms.metrics`.

A process calls `configure_logging` once. Code binds what it works on with `log_context(camera=12, stream="main")`;
asyncio tasks started within inherit it. Facts go into `extra={"reason": …}`.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import sys
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any, TextIO
from zoneinfo import ZoneInfo

from vms.localtime import format_local, format_utc
from vms.settings import LogFormat, LogSection

REDACTED = "***"
MAX_MESSAGE_CHARS = 16_384

# Quantifiers are bounded, so that hostile text costs linear time.
_URL_USERINFO = re.compile(r"""(://)[^\s"'<>/@:]{0,256}(?::[^\s"'<>]{0,256})?@""")
_AUTHORIZATION = re.compile(r"""((?:proxy-)?authorization['"]?\s{0,8}[:=,]\s{0,8})[^\r\n]{1,4096}""", re.IGNORECASE)
_PLACEHOLDER = r"""(?!\{password\}(?:[\s"',;&/?_]|$))"""  # of a stream address: no secret, and what advice is about
_ASSIGNED = re.compile(
    r"""((?:password|passwd|pwd|hasło|secret|secret_key|token)(?:['"]\s{0,8}[:=]\s{0,8}['"]|=['"]?))"""
    + _PLACEHOLDER
    + r"""[^\s"',;&]{1,4096}""",
    re.IGNORECASE,
)
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), 127, *range(128, 160)) if code not in (9, 10)}

_context: ContextVar[Mapping[str, Any]] = ContextVar("log_context", default={})  # noqa: B039 - never changed in place
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "context"}


def redact(text: str) -> str:
    """`text` without credentials in URLs, Authorization headers and `password=` assignments."""
    if "@" in text:
        text = _URL_USERINFO.sub(rf"\1{REDACTED}@", text)
    text = _AUTHORIZATION.sub(rf"\1{REDACTED}", text)
    return _ASSIGNED.sub(rf"\1{REDACTED}", text)


@contextlib.contextmanager
def log_context(**facts: Any) -> Iterator[None]:
    """Add `facts` to every log line written within, in this task and those it starts."""
    token = _context.set({**_context.get(), **facts})
    try:
        yield
    finally:
        _context.reset(token)


class RedactingFilter(logging.Filter):
    """Puts the context into a record and takes credentials out of its message and extras."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if len(message) > MAX_MESSAGE_CHARS:
            message = message[:MAX_MESSAGE_CHARS] + "…"
        record.msg, record.args = redact(message), ()
        extras = {k: v for k, v in vars(record).items() if k not in _STANDARD}
        record.context = {k: _plain(v) for k, v in {**_context.get(), **extras}.items()}
        return True


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, then context and extras, then exception."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": format_utc(_created_ns(record)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {k: v for k, v in getattr(record, "context", {}).items() if k not in line}
        if record.exc_info:
            line["exception"] = redact(self.formatException(record.exc_info))
        if record.stack_info:
            line["stack"] = redact(record.stack_info)
        return json.dumps(line, ensure_ascii=False)


class ConsoleFormatter(logging.Formatter):
    """A line for people, in the site's time zone: time, level, logger, message, then `key=value`."""

    def __init__(self, zone: ZoneInfo) -> None:
        super().__init__()
        self._zone = zone

    def format(self, record: logging.LogRecord) -> str:
        context = " ".join(f"{k}={_shown(v)}" for k, v in getattr(record, "context", {}).items())
        line = (
            f"{format_local(_created_ns(record), self._zone, digits=3)} {record.levelname:<7} {record.name}: "
            f"{record.getMessage()}" + (f"  {context}" if context else "")
        )
        line = line.replace("\n", "\\n").translate(_CONTROL)  # a camera's text must not forge lines or drive a terminal
        if record.exc_info:
            line += "\n" + redact(self.formatException(record.exc_info)).translate(_CONTROL)
        if record.stack_info:
            line += "\n" + redact(record.stack_info).translate(_CONTROL)
        return line


def configure_logging(section: LogSection, zone: ZoneInfo, stream: TextIO | None = None) -> None:
    """Send the process's log to `stream` (standard error), and nowhere else. May be called again."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.addFilter(RedactingFilter())
    handler.setFormatter(JsonFormatter() if section.format is LogFormat.JSON else ConsoleFormatter(zone))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(section.level.upper())
    for chatty in ("asyncio", "aiosqlite", "urllib3", "alembic", "uvicorn"):
        logging.getLogger(chatty).setLevel(max(root.level, logging.WARNING))


def _plain(value: Any) -> Any:
    """`value` as JSON knows it, redacted; containers are followed, anything else becomes its `str`."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {
            str(k): REDACTED if isinstance(v, str) and v and _is_secret_name(str(k)) else _plain(v)
            for k, v in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(v) for v in value]
    return redact(str(value)[:MAX_MESSAGE_CHARS])


def _is_secret_name(name: str) -> bool:
    return name.lower() in ("password", "passwd", "secret", "secret_key", "token", "authorization")


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return value if value and not re.search(r"[\s\"=]", value) else json.dumps(value, ensure_ascii=False)
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)


def _created_ns(record: logging.LogRecord) -> int:
    return int(record.created * 1_000_000) * 1000
