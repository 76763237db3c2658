"""A real site whose camera, store and spool fail: who is told what, once, and that nobody who is asked says otherwise."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import urllib.request
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from aiosmtpd.smtp import LoginPassword

from storage.objects.embedded import EmbeddedServer
from tests.support.alarm_receivers import MailReceiver, WebhookReceiver, mail_receiver, webhook_receiver
from tests.support.free_ports import free_port
from tests.support.unreliable_proxy import UnreliableProxy
from tests.support.vms_process import Running, processes_of, until, vms, vms_running
from vms.localtime import parse_instant
from vms.simulate import Simulator, SimulatorOptions, prepare_small, running

pytestmark = [pytest.mark.network, pytest.mark.slow, pytest.mark.timeout(400)]

TOLD_SECONDS = 30.0  # from when a camera stopped
PATIENCE_S = 90.0  # of the test; machines that run tests are busy
QUICK = """[alarms]
camera_seconds = 3
process_seconds = 3
store_seconds = 3
spool_seconds = 0
clock_seconds = 0
clear_seconds = 2
"""
CANARIES = {
    "VMS_ALARMS_WEBHOOK_SECRET": "kanarek-podpisu-19bc",
    "VMS_ALARMS_SMTP_PASSWORD": "kanarek-poczty-55d0",
}
TOKEN = "kanarek-adresu-7f3a"  # in the webhook's address


@dataclass
class Site:
    """A site of two cameras and where its alarms arrive."""

    data: Path
    env: dict[str, str]
    webhook: WebhookReceiver
    mail: MailReceiver

    async def ask(self, *words: str) -> Any:
        answer = await vms("--data", self.data, *words, "--json", env=self.env)
        assert answer.out, answer.err
        return answer.json

    async def active(self) -> set[tuple[str, str | None]]:
        return about(await self.ask("alarm", "list"))

    async def told(self, event: str, wanted: set[tuple[str, str | None]]) -> None:
        """Wait until webhook and mail have told of exactly these alarms."""

        def both() -> bool:
            by_mail = " ".join(self.mail.texts().split()) if self.mail.mails else ""
            titles = [m["title"] for m in self.webhook.messages if m["event"] == event and m["kind"] != "clock_wrong"]
            mailed = all(f"{'ALARM' if event == 'raised' else 'ENDED'} {n}" in by_mail for n in self.numbers(event))
            return wanted <= about(self.webhook.messages, event) and mailed and bool(titles)

        await until(f"{event}: {wanted}", both, PATIENCE_S)

    def numbers(self, event: str) -> list[int]:
        return [m["alarm"] for m in self.webhook.messages if m["event"] == event]


def about(answer: Any, event: str = "") -> set[tuple[str, str | None]]:
    """(kind, camera) of alarms; the clock of the machine that tests run on is its own affair."""
    alarms = answer["active"] if isinstance(answer, Mapping) else [m for m in answer if m["event"] == event]
    return {(a["kind"], a["about"]) for a in alarms if a["kind"] != "clock_wrong"}


def at_ns(text: str) -> int:
    return parse_instant(text, ZoneInfo("UTC"), 0)


@asynccontextmanager
async def receivers(data: Path) -> AsyncIterator[Site]:
    """A webhook, a mail server and settings that name them."""
    async with webhook_receiver(path=f"/alarmy/{TOKEN}") as webhook:
        login = LoginPassword(b"stroz", CANARIES["VMS_ALARMS_SMTP_PASSWORD"].encode())
        async with mail_receiver(login=login) as mail:
            env = CANARIES | {
                "VMS_ALARMS_WEBHOOK_URL": webhook.url, "VMS_ALARMS_SMTP_SERVER": f"127.0.0.1:{mail.port}",
                "VMS_ALARMS_SMTP_TLS": "none", "VMS_ALARMS_SMTP_USER": "stroz",
                "VMS_ALARMS_EMAIL_FROM": "stroz@miasto.test", "VMS_ALARMS_EMAIL_TO": "it@miasto.test",
            }  # fmt: skip
            yield Site(data, env, webhook, mail)


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    footage = await asyncio.to_thread(prepare_small)
    async with running(SimulatorOptions(tuple(footage[:1]), cameras=2, port=0)) as started:
        yield started


@pytest.fixture
async def proxy(seaweedfs: EmbeddedServer) -> AsyncIterator[UnreliableProxy]:
    host, _, port = seaweedfs.location.netloc.rpartition(":")
    async with UnreliableProxy(host, int(port)) as opened:
        yield opened


async def page(up: Running) -> str:
    address = re.search(r"metrics: (http://\S+)", up.out)
    assert address
    with await asyncio.to_thread(urllib.request.urlopen, address[1], timeout=10) as answer:
        found: str = answer.read().decode()
    return found


def sample(metrics: str, name: str, **labels: str) -> list[float]:
    """The values of all samples of `name` that have these labels."""
    found = re.findall(rf"^{name}(?:\{{(.*?)\}})? (\S+)$", metrics, re.MULTILINE)
    return [float(v) for given, v in found if labels.items() <= dict(re.findall(r'(\w+)="(.*?)"', given)).items()]


async def test_camera_store_and_spool_fail_and_everybody_says_the_same_until_it_is_over(
    tmp_path: Path, simulator: Simulator, proxy: UnreliableProxy, seaweedfs: EmbeddedServer
) -> None:
    data = tmp_path / "data"
    for i in range(2):
        answer = await vms("--data", data, "camera", "add", f"Rynek {i + 1}", simulator.url(f"cam{i}"))
        assert answer.code == 0, answer.err
    (data / "site.toml").write_text(
        f"{QUICK}[recorder]\nworkers = 1\nsegment_seconds = 2\n"
        "[spool]\nreserve_bytes = 67108864\nbudget_bytes = 900000\nshed_first = '2'\n"
    )
    location = seaweedfs.location
    store = {
        "VMS_STORE_KIND": "s3", "VMS_STORE_ENDPOINT": f"127.0.0.1:{proxy.port}", "VMS_STORE_BUCKET": "alarmy",
        "VMS_STORE_TLS": "false", "VMS_STORE_ACCESS_KEY": location.access_key,
        "VMS_STORE_SECRET_KEY": location.secret_key,
    }  # fmt: skip
    first, second = ("camera_not_recording", "camera 1 Rynek 1"), ("camera_not_recording", "camera 2 Rynek 2")
    away, full = ("store_away", None), ("spool_over_budget", None)
    async with receivers(data) as site:
        site.env |= store
        async with vms_running(tmp_path / "up", "--data", data, "up", env=site.env) as up:

            async def quiet() -> bool:
                states = [s["state"] for s in (await site.ask("status"))["streams"]]
                return states == ["recording", "recording"] and await site.active() == set()

            await until("both cameras recording, nothing wrong", quiet, PATIENCE_S)
            site.webhook.posts.clear()  # what a slow start may have alarmed

            await simulator.stop_camera("cam0")
            proxy.away = True
            await site.told("raised", {first, away})
            (watch,) = [pid for pid, line in processes_of(data).items() if "vms.cli.alarm_watch" in line]
            os.kill(watch, signal.SIGKILL)
            await site.told("raised", {first, away, second, full})
            status = await agreement(site, up, {"1": "camera_unreachable", "2": "spool_full"})
            (spool,) = (m for m in site.webhook.messages if m["kind"] == "spool_over_budget")
            assert "2 main" in spool["detail"]
            told_ns = [at_ns(m["raised"]) - at_ns(m["since"]) for m in site.webhook.messages if m["event"] == "raised"]
            assert max(told_ns) < TOLD_SECONDS * 1e9
            assert [g["camera"] for g in status["given_up"]] == [2]

            proxy.away = False
            await simulator.start_camera("cam0")
            await site.told("cleared", {first, away, second, full})
            await until("both cameras recording, nothing wrong", quiet, PATIENCE_S)
            await agreement(site, up, {})
            code, _ = await up.stop()
            assert code == 0
    told = [(m["kind"], m["about"], m["event"]) for m in site.webhook.messages if m["kind"] != "clock_wrong"]
    wanted = [(*alarm, event) for alarm in (first, second, away, full) for event in ("raised", "cleared")]
    assert sorted(told, key=str) == sorted(wanted, key=str)  # each once, although the watch was killed
    assert "Traceback" not in up.err
    for canary in (*CANARIES.values(), TOKEN):
        assert canary not in up.out + up.err


async def agreement(site: Site, up: Running, missing: dict[str, str]) -> Any:
    """Status, timeline, metrics and alarms say the same of which cameras are missing and why, of spool and of store."""

    async def once() -> Any:
        status, listed, metrics, *timelines = await asyncio.gather(
            site.ask("status"),
            site.ask("alarm", "list"),
            page(up),
            *(site.ask("timeline", number, "--from", "-10m", "--to", "now") for number in ("1", "2")),
        )
        gaps = {str(found["camera"]["number"]): found["gaps"] for found in timelines}
        for stream in status["streams"]:
            number = str(stream["camera"]["number"])
            reason = missing.get(number)
            assert (stream["reason"], stream["level"]) == (reason, "bad" if reason else "good")
            assert sample(metrics, "stroz_camera_recording", camera=number) == [0.0 if reason else 1.0]
            assert sample(metrics, "stroz_recording", camera=number) == [0.0 if reason else 1.0]
            if reason:
                assert (gaps[number][-1]["reason"], gaps[number][-1]["start"]) == (reason, stream["since"])
        given_up = [reason for reason in missing.values() if reason == "spool_full"]
        assert len(status["given_up"]) == sum(sample(metrics, "stroz_spool_given_up_streams")) == len(given_up)
        active = listed["active"]
        assert bool(status["store"]["error"]) == (("store_away", None) in about(listed))
        cameras = {a["about"].split()[1] for a in active if a["kind"] == "camera_not_recording"}
        assert cameras == set(missing)
        for kind in ("camera_not_recording", "store_away", "spool_over_budget", "clock_wrong"):
            count = sum(a["kind"] == kind for a in active)
            assert sample(metrics, "stroz_alarms_active", kind=kind) == [count], kind
        assert (status["clock"]["synchronised"] is False) == any(a["kind"] == "clock_wrong" for a in active)
        return status

    last: list[AssertionError] = []

    async def settled() -> Any:
        try:
            return await once()
        except AssertionError as error:  # they are asked one after another, not at one moment
            last[:] = [error]
            return None

    try:
        return await until("all say the same", settled, PATIENCE_S)
    except AssertionError as error:
        raise (last or [error])[0] from error


async def test_killed_between_deciding_and_handing_over_it_is_told_after_the_restart_and_then_no_more(
    tmp_path: Path,
) -> None:
    """`vms alarm watch` alone, on a site where nothing runs: recorder and archiver are down."""
    data = tmp_path / "data"
    assert (await vms("--data", data, "migrate")).code == 0
    (data / "site.toml").write_text(QUICK.replace("process_seconds = 3", "process_seconds = 0"))
    wanted: set[tuple[str, str | None]] = {("recorder_down", None), ("archiver_down", None)}
    async with receivers(data) as site:
        site.webhook.silent = True
        site.mail.answer = "451 try again later"
        async with vms_running(tmp_path / "1", "--data", data, "alarm", "watch", env=site.env) as watch:
            await until("it is on its way", lambda: about(site.webhook.messages, "raised") == wanted, PATIENCE_S)
            assert await site.active() == wanted
            refused = await vms("--data", data, "alarm", "watch", env=site.env)
            assert (refused.code, "runs already" in refused.err) == (2, True)
            watch.process.kill()
            await watch.process.wait()
        ids = {m["id"] for m in site.webhook.messages}
        site.webhook.posts.clear()
        site.webhook.silent, site.mail.answer = False, ""
        async with vms_running(tmp_path / "2", "--data", data, "alarm", "watch", env=site.env) as watch:
            await site.told("raised", wanted)
            assert {m["id"] for m in site.webhook.messages} == ids

            async def handed_over() -> bool:
                boxes = (await site.ask("alarm", "list"))["destinations"]
                return all(box["waiting"] == 0 and box["last_sent"] for box in boxes.values())

            await until("that both took it is known", handed_over, PATIENCE_S)
            watch.process.kill()
            await watch.process.wait()
        posts, mails = len(site.webhook.posts), len(site.mail.mails)
        async with vms_running(tmp_path / "3", "--data", data, "alarm", "watch", env=site.env) as watch:
            archiver = vms_running(tmp_path / "archiver", "--data", data, "archiver", env=site.env)
            async with archiver:
                await site.told("cleared", {("archiver_down", None)})
            assert (await watch.stop())[0] == 0
        assert (len(site.webhook.posts), len(site.mail.mails)) == (posts + 1, mails + 1)
    assert len(site.webhook.messages) == len({m["id"] for m in site.webhook.messages})


async def test_pages_and_live_pictures_that_do_not_answer_are_told_until_they_do(tmp_path: Path) -> None:
    """The watch alone, and then the two processes beside it, as where each is a unit of its own."""
    data, port = tmp_path / "data", free_port()
    assert (await vms("--data", data, "migrate")).code == 0
    (data / "site.toml").write_text(QUICK.replace("process_seconds = 3", "process_seconds = 0"))
    both: set[tuple[str, str | None]] = {("web_down", None), ("live_down", None)}
    async with receivers(data) as site:
        site.env |= {"VMS_WEB_ENABLED": "true", "VMS_WEB_LISTEN": f"127.0.0.1:{port}"}
        async with vms_running(tmp_path / "watch", "--data", data, "alarm", "watch", env=site.env) as watch:
            await site.told("raised", both | {("recorder_down", None), ("archiver_down", None)})
            status = await site.ask("status")
            assert (status["web"], status["live"]) == ({"answers": False}, {"answers": False})
            async with (
                vms_running(tmp_path / "web", "--data", data, "web", env=site.env),
                vms_running(tmp_path / "live", "--data", data, "live", env=site.env),
            ):
                await site.told("cleared", both)
                status = await site.ask("status")
                assert (status["web"], status["live"]) == ({"answers": True}, {"answers": True})
            assert (await watch.stop())[0] == 0
    told = [(m["kind"], m["event"]) for m in site.webhook.messages if m["kind"] in ("web_down", "live_down")]
    assert sorted(told)[:2] == [("live_down", "cleared"), ("live_down", "raised")]
    assert "Traceback" not in watch.err


async def test_no_secret_is_shown_by_anything_when_nobody_takes_an_alarm(tmp_path: Path) -> None:
    data = tmp_path / "data"
    assert (await vms("--data", data, "migrate")).code == 0
    (data / "site.toml").write_text(QUICK.replace("process_seconds = 3", "process_seconds = 0"))
    async with receivers(data) as site:
        site.webhook.status = 503
        site.mail.login = LoginPassword(b"stroz", b"another")  # so the server refuses the password, and repeats it
        site.env["VMS_LOG_LEVEL"] = "debug"
        async with vms_running(tmp_path / "watch", "--data", data, "alarm", "watch", env=site.env) as watch:
            await until("both refused", lambda: "503" in watch.err and "535" in watch.err, PATIENCE_S)
            answers = [
                await vms("--data", data, *words, env=site.env)
                for words in (("alarm", "list"), ("alarm", "list", "--json"), ("alarm", "test"), ("status", "--json"))
            ]
            with await asyncio.to_thread(_metrics, data / "run" / "alarms.metrics") as metrics:
                seen = metrics.read().decode()
            await watch.stop()
    assert [a.code for a in answers] == [0, 0, 1, 1]
    assert "answered 503 instead of 2xx" in answers[2].out
    assert "is wrong" in answers[2].out
    assert 'stroz_alarm_messages_total{destination="email",result="failed"}' in seen
    assert site.mail.logins
    shown = "".join((seen, watch.out, watch.err, (data / "alarms.json").read_text(), *(a.out + a.err for a in answers)))
    for canary in (*CANARIES.values(), TOKEN):
        assert canary not in shown


def _metrics(socket: Path) -> Any:
    import http.client
    import socket as sockets

    connection = http.client.HTTPConnection("localhost")
    connection.sock = sockets.socket(sockets.AF_UNIX)
    connection.sock.connect(str(socket))
    connection.request("GET", "/metrics")
    return connection.getresponse()


async def test_a_test_message_reaches_both_and_without_anybody_to_tell_that_is_said(tmp_path: Path) -> None:
    data = tmp_path / "data"
    assert (await vms("--data", data, "migrate")).code == 0
    nobody = await vms("--data", data, "alarm", "test")
    assert nobody.code == 2
    assert "alarms.webhook_url or alarms.smtp_server" in nobody.err
    async with receivers(data) as site:
        tested = await vms("--data", data, "alarm", "test", env=site.env)
    assert tested.code == 0
    assert re.findall(r"^(\w+): delivered", tested.out, re.MULTILINE) == ["webhook", "email"]
    assert [m["event"] for m in site.webhook.messages] == ["test"]
    assert site.mail.subjects("this is a test")
    listed = await vms("--data", data, "alarm", "list")
    assert "nobody is told" in listed.err
    assert "nothing watches now" in listed.err
