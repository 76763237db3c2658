"""Alarms on their way out of the machine: one HTTP POST, or one mail, with all messages that wait.

Owns both adapters: timeouts, certificates, the signature, and the translation of what went wrong into DeliveryError.
Does not repeat anything (`vms.cli.alarm_watch`). No message of an error holds an address's path, a user or a password.

The signature of a POST is `X-Stroz-Signature: t=SECONDS,v1=HEX`: HMAC-SHA-256 under `alarms.webhook_secret` of the bytes
`SECONDS.BODY`, SECONDS being the UTC of sending, so that a receiver can refuse what is old.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import aiohttp
import aiosmtplib

from vms.alarms.decision import Message
from vms.alarms.words import body, subject_line, text
from vms.errors import DeliveryError
from vms.observe import REDACTED, redact
from vms.settings import AlarmsSection, MailTls, Secret
from vms.site import Site

log = logging.getLogger(__name__)

HTTP_SECONDS = 10.0
SMTP_SECONDS = 60.0  # of the whole; greylisting servers think long
LONGEST_ANSWER = 200
SIGNATURE_HEADER = "X-Stroz-Signature"


@dataclass(frozen=True, slots=True)
class From:
    """Who sends: the site's name, its host, its time zone."""

    site: str
    host: str
    zone: ZoneInfo


class Destination(Protocol):
    """Somewhere alarms are sent to."""

    name: str

    async def send(self, messages: Sequence[Message], dropped: int = 0) -> str:
        """Deliver all of them, or none; says what was answered. Raises DeliveryError."""


class Webhook:
    """One HTTP POST of JSON, signed."""

    name = "webhook"

    def __init__(self, section: AlarmsSection, sender: From) -> None:
        self._url, self._secret, self._sender = section.webhook_url.reveal(), section.webhook_secret, sender
        self._where, self._ca_file = urlsplit(self._url).netloc, section.webhook_ca_file

    async def send(self, messages: Sequence[Message], dropped: int = 0) -> str:
        facts = body(self._sender.site, self._sender.host, messages, self._sender.zone, dropped)
        content = json.dumps(facts, ensure_ascii=False).encode()
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "User-Agent": "stroz",
            SIGNATURE_HEADER: signature(self._secret, int(time.time()), content),
        }
        timeout = aiohttp.ClientTimeout(total=HTTP_SECONDS)
        tls = _tls(self._ca_file)  # each time: certificates are renewed
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.post(self._url, data=content, headers=headers, ssl=tls, allow_redirects=False) as answer,
            ):
                status = answer.status
        except aiohttp.ClientConnectorCertificateError as error:
            raise DeliveryError(f"{self._where}: its certificate is not trusted: {error.certificate_error}") from error
        except TimeoutError as error:
            raise DeliveryError(f"{self._where} did not answer within {HTTP_SECONDS:.0f} s") from error
        except aiohttp.ClientConnectorError as error:
            raise DeliveryError(f"{self._where} cannot be reached: {error.os_error.strerror or 'no route'}") from error
        except (aiohttp.ClientError, OSError) as error:
            raise DeliveryError(f"{self._where} {_broke_off(error)}") from error
        if not 200 <= status < 300:
            raise DeliveryError(f"{self._where} answered {status} instead of 2xx")
        return f"{self._where} answered {status}"


class Mail:
    """One mail to everybody named."""

    name = "email"

    def __init__(self, section: AlarmsSection, sender: From) -> None:
        assert section.smtp_server is not None
        self._section, self._server, self._sender = section, section.smtp_server, sender
        self._to = recipients(section.email_to)

    async def send(self, messages: Sequence[Message], dropped: int = 0) -> str:
        section, password = self._section, self._section.smtp_password
        tls = None if section.smtp_tls is MailTls.NONE else _tls(section.smtp_ca_file)
        try:
            async with asyncio.timeout(SMTP_SECONDS):
                refused, answer = await aiosmtplib.send(
                    self._mail(messages, dropped),
                    hostname=self._server.host,
                    port=self._server.port,
                    local_hostname=self._sender.host,
                    username=section.smtp_user or None,
                    password=password.reveal() or None,
                    use_tls=section.smtp_tls is MailTls.TLS,
                    start_tls=section.smtp_tls is MailTls.STARTTLS,
                    tls_context=tls,
                    timeout=SMTP_SECONDS,
                )
        except TimeoutError as error:  # also aiosmtplib's own
            raise DeliveryError(f"{self._server} did not answer within {SMTP_SECONDS:.0f} s") from error
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            raise DeliveryError(f"{self._server}: {_said(_what(error), section)}") from error
        if refused:
            log.warning("%s takes no mail for %s; the others got it", self._server, ", ".join(sorted(refused)))
            return f"{self._server} took it for {len(self._to) - len(refused)}, refused {', '.join(sorted(refused))}"
        return f"{self._server} took it for {', '.join(self._to)}: {_said(answer, section)}"

    def _mail(self, messages: Sequence[Message], dropped: int) -> EmailMessage:
        mail = EmailMessage()
        mail["From"] = self._section.email_from
        mail["To"] = ", ".join(self._to)
        mail["Subject"] = subject_line(self._sender.site, messages)
        mail["Date"] = formatdate()
        mail["Message-ID"] = f"<alarm.{_name_of(messages)}@{self._sender.host}>"
        mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no vacation notices, please
        mail.set_content(text(messages, self._sender.zone, dropped) + f"\n-- \n{self._sender.host}, Stróż\n")
        return mail


def destinations(site: Site) -> list[Destination]:
    """Those that the settings name."""
    section = site.settings.alarms
    sender = From(site.settings.site.name, site.settings.site.host, site.zone)
    found: list[Destination] = []
    if section.webhook_url:
        found.append(Webhook(section, sender))
    if section.smtp_server is not None:
        found.append(Mail(section, sender))
    return found


def signature(secret: Secret, seconds: int, content: bytes) -> str:
    """The value of X-Stroz-Signature."""
    mac = hmac.new(secret.reveal().encode(), f"{seconds}.".encode() + content, hashlib.sha256)
    return f"t={seconds},v1={mac.hexdigest()}"


def recipients(addresses: str) -> tuple[str, ...]:
    """The addresses of a list with commas."""
    return tuple(a.strip() for a in addresses.split(",") if a.strip())


def _name_of(messages: Sequence[Message]) -> str:
    """One name for one set of messages, so that a mail sent twice is seen to be one."""
    return hashlib.sha256(",".join(m.id for m in messages).encode()).hexdigest()[:32]


def _tls(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # ssl.SSLError is one
        raise DeliveryError(f"{ca_file} cannot be used as certificate authority: {error.strerror or error}") from error


def _broke_off(error: Exception) -> str:
    """What became of a POST, without the words of the library: they may quote the address."""
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "closed the connection without an answer"
    if isinstance(error, aiohttp.ClientResponseError):
        return "answered something that is not HTTP"
    if isinstance(error, OSError) and error.strerror:
        return f"broke off: {error.strerror}"
    return "broke off before its answer was whole"


def _what(error: Exception) -> str:
    """The server's own words where it said some: an error's text may quote them in another form."""
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        return "; ".join(f"{e.recipient}: {e.code} {e.message}" for e in error.recipients)
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return f"{error.code} {error.message}"
    return str(error) or "the connection broke off"


def _said(answer: str, section: AlarmsSection) -> str:
    """What a mail server said, as one line; servers repeat what they refuse, also as it was sent to them."""
    if password := section.smtp_password.reveal():
        for secret in (password, f"\0{section.smtp_user}\0{password}"):
            answer = answer.replace(secret, REDACTED).replace(base64.b64encode(secret.encode()).decode(), REDACTED)
    return redact(" ".join(answer.split()))[:LONGEST_ANSWER]
