"""Where alarms arrive in tests: a webhook and a mail server on loopback, which can refuse, be silent and go away."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiohttp import web
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session


@dataclass(frozen=True)
class Post:
    """One POST as it came."""

    path: str
    headers: dict[str, str]
    content: bytes

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.content)  # type: ignore[no-any-return]


@dataclass
class WebhookReceiver:
    """Takes POSTs. `status` is what it answers; while `silent` is set, nothing."""

    posts: list[Post] = field(default_factory=list)
    status: int = 204
    silent: bool = False
    url: str = ""

    async def _take(self, request: web.Request) -> web.Response:
        self.posts.append(Post(request.path_qs, dict(request.headers), await request.read()))
        while self.silent:
            await asyncio.sleep(0.05)
        return web.Response(status=self.status, headers={"Location": "http://127.0.0.1:1/"})

    @property
    def messages(self) -> list[dict[str, Any]]:
        """Every message of every POST, in order."""
        return [message for post in self.posts for message in post.json["messages"]]

    def told(self, event: str) -> list[tuple[str, str | None]]:
        """(kind, about) of the messages of an event."""
        return [(m["kind"], m["about"]) for m in self.messages if m["event"] == event]


@asynccontextmanager
async def webhook_receiver(tls: ssl.SSLContext | None = None, path: str = "/alarmy") -> AsyncIterator[WebhookReceiver]:
    receiver = WebhookReceiver()
    app = web.Application()
    app.router.add_post("/{rest:.*}", receiver._take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        host, port = runner.addresses[0][:2]
        receiver.url = f"{'https' if tls else 'http'}://{'localhost' if tls else host}:{port}{path}"
        yield receiver
    finally:
        receiver.silent = False
        await runner.cleanup()


@dataclass
class MailReceiver:
    """Takes mails. `refused`: addresses it knows nothing of; `answer`: what it says to a mail instead of taking it."""

    mails: list[EmailMessage] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    logins: list[LoginPassword] = field(default_factory=list)
    login: LoginPassword | None = None
    refused: frozenset[str] = frozenset()
    answer: str = ""
    port: int = 0

    async def handle_RCPT(
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.refused:
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 ok"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        if self.answer:
            return self.answer
        assert isinstance(envelope.content, bytes)
        mail = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        self.recipients.append(list(envelope.rcpt_tos))
        return "250 taken"

    def authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, mechanism: str, given: object
    ) -> AuthResult:
        assert isinstance(given, LoginPassword)
        self.logins.append(given)
        if given == self.login:
            return AuthResult(success=True)
        said = f"535 5.7.8 {mechanism}: {given.password.decode()} is wrong"  # some servers are that careless
        return AuthResult(success=False, handled=False, message=said)

    def subjects(self, begin: str) -> list[str]:
        return [str(m["Subject"]) for m in self.mails if begin in str(m["Subject"])]

    def texts(self) -> str:
        return "\n".join(m.get_content() for m in self.mails)


@asynccontextmanager
async def mail_receiver(
    starttls: ssl.SSLContext | None = None, tls: ssl.SSLContext | None = None, login: LoginPassword | None = None
) -> AsyncIterator[MailReceiver]:
    receiver = MailReceiver(login=login)
    loop = asyncio.get_running_loop()

    def serve() -> SMTP:
        return SMTP(
            receiver,
            hostname="poczta.test",
            tls_context=starttls,
            authenticator=receiver.authenticate,
            auth_required=login is not None and starttls is not None,  # else the library warns of it
            auth_require_tls=starttls is not None,
            loop=loop,
        )

    server = await loop.create_server(serve, "127.0.0.1", 0, ssl=tls)
    async with server:
        receiver.port = server.sockets[0].getsockname()[1]
        yield receiver


def canaries() -> dict[str, str]:
    """A secret of each kind that alarms have, by setting."""
    return {
        "alarms.webhook_url": "kanarek-adresu-7f3a",
        "alarms.webhook_secret": "kanarek-podpisu-19bc",
        "alarms.smtp_password": "kanarek-poczty-55d0",
    }
