"""Logs tell what and where, and never a password."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import time
from collections.abc import Iterator
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vms.camera_url import CameraUrl
from vms.observe import configure_logging, log_context, redact
from vms.settings import LogFormat, LogLevel, LogSection, Secret

CANARY = "kanarek7"
WARSAW = ZoneInfo("Europe/Warsaw")


@pytest.fixture(autouse=True)
def _root_logger() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def captured(format_: LogFormat, level: LogLevel = LogLevel.INFO) -> io.StringIO:
    out = io.StringIO()
    configure_logging(LogSection(level, format_), WARSAW, out)
    return out


def test_json_lines_have_context_and_extras() -> None:
    out = captured(LogFormat.JSON)
    with log_context(camera=12, stream="main"), log_context(run="r1"):
        logging.getLogger("recorder.worker").warning("lost %d packets", 3, extra={"reason": "packet_loss"})
    logging.getLogger("recorder.worker").info("outside")
    first, second = [json.loads(line) for line in out.getvalue().splitlines()]
    assert first["level"] == "warning"
    assert first["message"] == "lost 3 packets"
    assert (first["camera"], first["stream"], first["run"], first["reason"]) == (12, "main", "r1", "packet_loss")
    assert first["time"].endswith("Z")
    assert "camera" not in second


def test_console_lines_are_for_people() -> None:
    out = captured(LogFormat.CONSOLE)
    with log_context(camera=12):
        logging.getLogger("recorder").info("recording", extra={"name_of": "Rynek 1"})
    assert out.getvalue().rstrip().endswith('INFO    recorder: recording  camera=12 name_of="Rynek 1"')


async def test_tasks_inherit_the_context() -> None:
    out = captured(LogFormat.JSON)

    async def task(camera: int) -> None:
        with log_context(camera=camera):
            await asyncio.sleep(0)
            logging.getLogger("x").info("tick")

    with log_context(host="rej-1"):
        await asyncio.gather(task(1), task(2))
    assert [(j["host"], j["camera"]) for j in map(json.loads, out.getvalue().splitlines())] == [
        ("rej-1", 1),
        ("rej-1", 2),
    ]


def test_levels() -> None:
    out = captured(LogFormat.JSON, LogLevel.WARNING)
    logging.getLogger("x").info("quiet")
    assert not out.getvalue()


@pytest.mark.parametrize("format_", list(LogFormat))
def test_no_credentials_reach_the_log(format_: LogFormat) -> None:
    out = captured(format_)
    log = logging.getLogger("x")
    url = f"rtsp://admin:{CANARY}@10.0.0.5:554/x"
    log.info("secret %s, url %s", Secret(CANARY), CameraUrl.parse(url))
    log.info("raw %s", url)
    log.info(f"raw {url} and rtsp://u:{CANARY}/{CANARY}@h/")
    log.info("header %r", b"Authorization: Basic " + CANARY.encode() + b"\r\n")
    log.info("header %s", {"Authorization": f"Digest {CANARY}"})
    log.info("opened", extra={"url": url, "options": {"password": CANARY, "list": [url]}, "uri": CameraUrl.parse(url)})
    with log_context(source=url):
        log.info("x password=%s&x=1 token='%s'", CANARY, CANARY)
    try:
        raise ValueError(f"cannot open {url}")
    except ValueError:
        log.exception("failed", stack_info=True)
    assert CANARY not in out.getvalue()
    assert "10.0.0.5" in out.getvalue()
    assert "cannot open" in out.getvalue()


def test_a_cameras_text_cannot_forge_lines_or_drive_the_terminal() -> None:
    out = captured(LogFormat.CONSOLE)
    logging.getLogger("x").info("server says %s", "ok\n2026-01-01 00:00:00 INFO forged\x1b[2J")
    assert len(out.getvalue().splitlines()) == 1
    assert "\x1b" not in out.getvalue()


def test_ordinary_text_stays() -> None:
    for text in (
        "rtsp://10.0.0.5:554/cam0?user=x",
        "http://h/pic@2x.png",
        "camera 12: wrong password: answer 401",
        "mail it@miasto.pl about it",
        "segment 12:30:00 sealed",
    ):
        assert redact(text) == text


@given(st.text(max_size=300))
def test_any_text_is_logged_as_one_json_object(text: str) -> None:
    out = captured(LogFormat.JSON)
    logging.getLogger("x").info("%s", text, extra={"facts": {text: [text]}})
    assert len(out.getvalue().rstrip("\n").split("\n")) == 1
    assert json.loads(out.getvalue())["level"] == "info"


@pytest.mark.parametrize(
    "text", ["://" * 5000, "://:" * 4000, "://a:" + "b" * 16_000, "authorization: " * 1000, "password=" * 1500]
)
def test_redaction_takes_bounded_time(text: str) -> None:
    began = time.monotonic()
    redact(text)
    assert time.monotonic() - began < 1.0


def test_a_long_message_is_cut() -> None:
    out = captured(LogFormat.JSON)
    logging.getLogger("x").info("%s", "x" * 1_000_000)
    assert len(out.getvalue()) < 20_000
