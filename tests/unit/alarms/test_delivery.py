"""The way out: a signed POST and a mail, over real sockets, and what is said when the other side does not take them."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import ssl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiosmtpd.smtp import LoginPassword

from tests.support.alarm_receivers import mail_receiver, webhook_receiver
from vms.alarms import delivery
from vms.alarms.decision import Alarm, AlarmKind, Event, Message
from vms.alarms.delivery import Mail, Webhook, destinations
from vms.alarms.words import TEST_ALARM
from vms.errors import DeliveryError
from vms.settings import AlarmsSection, Listen, MailTls, Secret
from vms.site import Site

S = 1_000_000_000
NOW = 1_795_300_000 * S
PAGE = Path(__file__).parents[3] / "docs" / "reference" / "alarms.md"
KEY, PASSWORD, TOKEN = "klucz-podpisu-1", "haslo\\poczty 2", "zeton-adresu-3"
CAMERA = Alarm(
    7, AlarmKind.CAMERA, "9c81", "camera 12 Łąkowa", "camera unreachable: no answer", NOW - 60 * S, NOW, NOW + 5 * S
)
BOTH = [Message(Event.RAISED, replace(CAMERA, cleared_ns=None)), Message(Event.CLEARED, CAMERA)]
SECTION = AlarmsSection(
    webhook_secret=Secret(KEY), smtp_user="stroz", smtp_password=Secret(PASSWORD), smtp_tls=MailTls.STARTTLS,
    email_from="stroz@miasto.test", email_to="it@miasto.test, dyzurny@miasto.test",
)  # fmt: skip


@pytest.fixture
def site(tmp_path: Path) -> Site:
    (tmp_path / "d").mkdir(mode=0o700)
    (tmp_path / "d" / "site.toml").write_text('[site]\nname = "Straż Miejska"\nhost = "rejestrator-1"\n')
    return Site.create(tmp_path / "d", {})


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    return context


def pem(authority: trustme.CA, folder: Path) -> Path:
    file = folder / "ca.pem"
    authority.cert_pem.write_to_path(file)
    return file


def sender() -> delivery.From:
    from zoneinfo import ZoneInfo

    return delivery.From("Straż Miejska", "rejestrator-1", ZoneInfo("Europe/Warsaw"))


def webhook(url: str, **fields: Any) -> Webhook:
    return Webhook(replace(SECTION, webhook_url=Secret(url), **fields), sender())


def mail(port: int, **fields: Any) -> Mail:
    return Mail(replace(SECTION, smtp_server=Listen("127.0.0.1", port), **fields), sender())


def documented_check() -> Callable[[bytes, str, bytes], bool]:
    """The receiver's function as the reference gives it."""
    code = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert code
    namespace: dict[str, Any] = {}
    exec(code[1], namespace)
    found: Callable[[bytes, str, bytes], bool] = namespace["is_ours"]
    return found


async def test_a_post_is_signed_and_is_what_the_reference_says() -> None:
    async with webhook_receiver(path=f"/alarmy?token={TOKEN}") as receiver:
        said = await webhook(receiver.url).send(BOTH, dropped=3)
    assert said.endswith("answered 204")
    assert TOKEN not in said
    (post,) = receiver.posts
    assert post.path == f"/alarmy?token={TOKEN}"
    is_ours, given = documented_check(), post.headers["X-Stroz-Signature"]
    assert is_ours(KEY.encode(), given, post.content)
    assert not is_ours(b"another", given, post.content)
    assert not is_ours(KEY.encode(), given, post.content + b" ")
    assert not is_ours(KEY.encode(), re.sub(r"t=\d", "t=0", given), post.content)

    import json

    (example,) = (json.loads(b) for b in re.findall(r"```json\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL))
    assert list(post.json) == list(example)
    raised, cleared = post.json["messages"]
    assert list(raised) == list(cleared) == list(example["messages"][0])
    assert (raised["event"], raised["cleared"], cleared["event"], cleared["seconds"]) == ("raised", None, "cleared", 65)
    assert raised["do"].startswith("vms camera test 12 ")
    assert post.json["dropped"] == 3
    assert post.json["text"].startswith("[Straż Miejska] 1 ALARM, 1 ended: camera 12 Łąkowa does not record")


@pytest.mark.parametrize("status", [302, 404, 500])
async def test_what_is_not_taken_is_an_error_without_the_addresses_token(status: int) -> None:
    async with webhook_receiver(path=f"/{TOKEN}") as receiver:
        receiver.status = status
        with pytest.raises(DeliveryError, match=f"answered {status} instead of 2xx") as caught:
            await webhook(receiver.url).send(BOTH)
    assert len(receiver.posts) == 1
    assert TOKEN not in str(caught.value)


async def test_a_test_message_has_the_fields_of_an_alarm() -> None:
    test = Message(Event.TEST, replace(TEST_ALARM, raised_ns=1_795_000_000 * 10**9))
    async with webhook_receiver() as receiver:
        await webhook(receiver.url).send([test, *BOTH])
    told, raised, _ = receiver.posts[0].json["messages"]
    assert list(told) == list(raised)
    known = {name: value for name, value in told.items() if value is not None}
    assert list(known) == ["id", "event", "title", "raised"]
    assert (known["event"], known["raised"]) == ("test", "2026-11-18T11:06:40.000000Z")


@pytest.mark.parametrize(
    ("answer", "said"), [(b"", "closed the connection without an answer"), (b"220 mail\r\n\r\n", "not HTTP")]
)
async def test_whoever_breaks_off_is_told_in_words(answer: bytes, said: str) -> None:
    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        with pytest.raises(DeliveryError, match=said) as told:
            await webhook(f"http://127.0.0.1:{port}/{TOKEN}").send(BOTH)
    finally:
        server.close()
        await server.wait_closed()
    assert TOKEN not in str(told.value)
    assert "Error" not in str(told.value)


async def test_nobody_there_and_no_answer_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    async with webhook_receiver(path=f"/{TOKEN}") as receiver:
        url, receiver.silent = receiver.url, True
        monkeypatch.setattr(delivery, "HTTP_SECONDS", 0.3)
        with pytest.raises(DeliveryError, match="did not answer within") as silent:
            await webhook(url).send(BOTH)
    with pytest.raises(DeliveryError, match="cannot be reached") as gone:
        await webhook(url).send(BOTH)
    assert TOKEN not in f"{silent.value}{gone.value}"


async def test_a_certificate_is_checked_and_an_authority_of_ones_own_will_do(
    authority: trustme.CA, tmp_path: Path
) -> None:
    async with webhook_receiver(server_tls(authority)) as receiver:
        with pytest.raises(DeliveryError, match="certificate is not trusted"):
            await webhook(receiver.url).send(BOTH)
        assert receiver.posts == []
        await webhook(receiver.url, webhook_ca_file=pem(authority, tmp_path)).send(BOTH)
        assert len(receiver.posts) == 1
    with pytest.raises(DeliveryError, match=r"none\.pem cannot be used as certificate authority"):
        await webhook(receiver.url, webhook_ca_file=tmp_path / "none.pem").send(BOTH)


async def test_a_mail_says_all_and_is_the_same_when_it_is_sent_again(authority: trustme.CA, tmp_path: Path) -> None:
    login = LoginPassword(b"stroz", PASSWORD.encode())
    async with mail_receiver(starttls=server_tls(authority), login=login) as receiver:
        to = mail(receiver.port, smtp_ca_file=pem(authority, tmp_path))
        said = await to.send(BOTH, dropped=3)
        await to.send(BOTH, dropped=3)
        await to.send(BOTH[:1])
    assert said == f"127.0.0.1:{receiver.port} took it for it@miasto.test, dyzurny@miasto.test: taken"
    assert receiver.logins == [login] * 3
    assert receiver.recipients[0] == ["it@miasto.test", "dyzurny@miasto.test"]
    first, again, other = receiver.mails
    assert first["Subject"] == "[Straż Miejska] 1 ALARM, 1 ended: camera 12 Łąkowa does not record …"
    assert other["Subject"] == "[Straż Miejska] ALARM: camera 12 Łąkowa does not record"
    assert (first["From"], first["Auto-Submitted"]) == ("stroz@miasto.test", "auto-generated")
    assert first["Message-ID"] == again["Message-ID"] != other["Message-ID"]
    text = first.get_content()
    for part in ("ALARM 7: camera 12 Łąkowa does not record", "ENDED 7:", "camera unreachable: no answer", "1 min 05 s",
                 "vms camera test 12", "3 older messages", "rejestrator-1, Stróż"):  # fmt: skip
        assert part in text, part


async def test_mail_over_tls_from_the_first_byte(authority: trustme.CA, tmp_path: Path) -> None:
    async with mail_receiver(tls=server_tls(authority)) as receiver:
        with pytest.raises(DeliveryError, match=r"(?i)certificate"):
            await mail(receiver.port, smtp_tls=MailTls.TLS, smtp_user="", smtp_password=Secret()).send(BOTH)
        ca = pem(authority, tmp_path)
        to = mail(receiver.port, smtp_tls=MailTls.TLS, smtp_user="", smtp_password=Secret(), smtp_ca_file=ca)
        await to.send(BOTH)
    assert len(receiver.mails) == 1


async def test_a_mail_server_that_says_nothing_is_not_waited_for_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "SMTP_SECONDS", 0.3)
    accepted: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _r, writer: accepted.append(writer), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(DeliveryError, match=f"127.0.0.1:{port} did not answer within"):
            await mail(port, smtp_tls=MailTls.NONE).send(BOTH)
    for writer in accepted:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_a_server_without_starttls_gets_neither_mail_nor_password() -> None:
    async with mail_receiver(login=LoginPassword(b"stroz", PASSWORD.encode())) as receiver:
        with pytest.raises(DeliveryError, match="STARTTLS"):
            await mail(receiver.port).send(BOTH)
    assert receiver.logins == receiver.mails == []


async def test_a_refused_login_is_told_without_the_password_the_server_repeats() -> None:
    async with mail_receiver(login=LoginPassword(b"stroz", b"another")) as receiver:
        with pytest.raises(DeliveryError, match="535") as caught:
            await mail(receiver.port, smtp_tls=MailTls.NONE).send(BOTH)
    assert receiver.logins
    assert "is wrong" in str(caught.value)
    assert PASSWORD not in str(caught.value)


def test_what_a_server_says_is_one_line_without_the_password_in_any_form_it_was_sent_in() -> None:
    plain, login = (base64.b64encode(s.encode()).decode() for s in (f"\0stroz\0{PASSWORD}", PASSWORD))
    said = delivery._said(f"no:\r\n{plain}\n {login} {PASSWORD} {'x' * 300}", SECTION)
    assert said.startswith("no: *** *** *** xxx")
    assert len(said) == delivery.LONGEST_ANSWER


async def test_one_address_that_is_refused_does_not_keep_the_others_from_being_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with mail_receiver() as receiver:
        to = mail(receiver.port, smtp_tls=MailTls.NONE, smtp_user="", smtp_password=Secret())
        receiver.refused = frozenset({"it@miasto.test"})
        assert "refused it@miasto.test" in await to.send(BOTH)
        assert "takes no mail for it@miasto.test" in caplog.text
        receiver.refused |= {"dyzurny@miasto.test"}
        with pytest.raises(DeliveryError, match="no such mailbox"):
            await to.send(BOTH)
        receiver.refused, receiver.answer = frozenset(), "451 try again later"
        with pytest.raises(DeliveryError, match="try again later"):
            await to.send(BOTH)
    assert receiver.recipients == [["dyzurny@miasto.test"]]
    with pytest.raises(DeliveryError, match=f"127.0.0.1:{receiver.port}"):
        await to.send(BOTH)  # nobody is there any more


def test_destinations_are_those_that_the_settings_name(site: Site) -> None:
    assert destinations(site) == []
    file = site.path / "site.toml"
    file.write_text(
        file.read_text() + '[alarms]\nwebhook_url = "https://czat.test/x"\nwebhook_secret = "s"\n'
        'smtp_server = "poczta.test:587"\nemail_from = "a@b.pl"\nemail_to = "c@d.pl"\n'
    )
    assert [d.name for d in destinations(Site.open(site.path, {}))] == ["webhook", "email"]
