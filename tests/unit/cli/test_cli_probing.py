"""`vms camera test` and `vms simulate`: against each other, and against what is not there."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest
from typer.testing import CliRunner

from tests.unit.cli.conftest import Vms
from vms.cameras.probing import StreamTest, failure_of, measure_camera, stream_test_facts, stream_test_json
from vms.cli.app import app
from vms.errors import SourceError
from vms.model import Camera, GapReason, Stream, StreamKind
from vms.rtsp.probe import ADD_H264_SUB, CameraReport
from vms.sentences import Sentence, say
from vms.simulate import SimulatorOptions, prepare_small, running

COMMAND = [sys.executable, "-c", "from vms.cli import main; main()"]


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_a_report_for_people_and_programs() -> None:
    report = CameraReport(
        "rtsp://h/x", "Kamera/1", "tcp", "h264", "High", 1920, 1080, 24.9, 25.0, 4_000_000, 50, 2.0, 3,
        clock_offset_ns=-1_500_000_000, seconds=6.0, advice=("set an NTP server",),
    )  # fmt: skip
    test = StreamTest(StreamKind.MAIN, "rtsp://h/x", report)
    facts = stream_test_json(test)
    assert (facts["ok"], facts["codec"], facts["clock_offset_seconds"]) == (True, "h264", -1.5)
    shown = dict(stream_test_facts(test))
    assert shown["size"] == "1920 x 1080"
    assert shown["clock"] == "-1.500 s from ours"
    assert shown["advice"] == "set an NTP server"


def test_a_failure_is_an_answer() -> None:
    test = StreamTest(StreamKind.SUB, "rtsp://h/x", None, SourceError(GapReason.REFUSED, "no"))
    assert stream_test_json(test) == {
        "stream": "sub", "url": "rtsp://h/x", "ok": False, "reason": "refused", "message": "no",
        "said": say("test_failed").noted("no").as_json(),
    }  # fmt: skip
    assert ("not received", "no (refused)") in stream_test_facts(test)


def test_what_says_itself_what_to_do_gets_no_second_advice() -> None:
    def failing(said: Sentence) -> str | None:
        return failure_of(StreamTest(StreamKind.MAIN, "rtsp://h/x", None, SourceError(GapReason.REFUSED, said)))

    pinned = say("certificate_unknown", camera="h:322", pin="ab" * 32)
    assert failing(pinned) == pinned
    assert failing(say("connection_refused", camera="pinokio:554")) == (
        "pinokio:554 refuses connections: RTSP is off, or not on this port; check address, port and path"
    )


def test_a_camera_that_is_not_there_is_exit_code_1(vms: Vms) -> None:
    url = f"rtsp://127.0.0.1:{closed_port()}/cam0"
    assert vms("camera", "add", "Rynek", url).exit_code == 0
    result = vms("camera", "test", "Rynek", "--seconds", "1", "--json")
    assert result.exit_code == 1
    (stream,) = json.loads(result.stdout)["streams"]
    assert not stream["ok"]
    assert stream["reason"] in ("camera_unreachable", "refused")


def test_a_test_by_address_is_on_record_where_there_is_a_site(vms: Vms, tmp_path: Path) -> None:
    url, password = f"rtsp://127.0.0.1:{closed_port()}/cam0", tmp_path / "password"
    password.write_text("kanarek\n")
    password.chmod(0o600)
    more = ("--seconds", "1", "--user", "admin", "--password-file", password)
    assert vms("camera", "test", url, *more).exit_code == 1
    found = vms("audit", "list", "--reason", "kontrola", "--act", "test_camera", "--json")
    assert found.exit_code == 0, found.output
    (entry,) = json.loads(found.stdout)
    assert url in json.dumps(entry)
    assert "kanarek" not in found.stdout
    elsewhere = CliRunner().invoke(app, ["--data", str(tmp_path / "none"), "camera", "test", url, "--seconds", "1"])
    assert elsewhere.exit_code == 1  # without a site it is tested all the same
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["camera", "test", "7"], "7"),
        (["camera", "test", "http://h/x"], "only rtsp"),
        (["camera", "test", "rtsp://u:kanarek@h/x"], "process list"),
        (["simulate", "/nie/ma.mp4"], "is no file"),
        (["simulate", "--quirk", "lata", __file__, "--no-sub"], "lata"),
        (["simulate", __file__, "--no-sub", "--port", "0"], ""),
        (["simulate", "--loss", "2", __file__, "--no-sub"], "loss"),
    ],
)
def test_what_cannot_be_carried_out(vms: Vms, args: list[str], words: str) -> None:
    result = vms(*args)
    assert result.exit_code == 2, result.output
    assert words in result.stderr
    assert "kanarek" not in result.output


def test_the_quirks_are_listed(vms: Vms) -> None:
    result = vms("simulate", "--list-quirks")
    assert result.exit_code == 0
    assert "marker_never" in result.stdout


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """Four seconds of H.264."""
    file = tmp_path / "film.mp4"
    encode = (
        "ffmpeg -v error -f lavfi -i testsrc2=size=320x240:rate=25 -t 4 -c:v libx264 -preset ultrafast -g 25 -bf 0 -y"
    )
    try:
        subprocess.run([*encode.split(), str(file)], check=True, timeout=60)
    except FileNotFoundError:
        pytest.skip("ffmpeg is not installed")
    return file


@pytest.mark.network
def test_a_simulated_camera_is_tested(vms: Vms, film: Path, tmp_path: Path) -> None:
    with subprocess.Popen(
        [*COMMAND, "simulate", str(film), "--no-sub", "--port", "0", "--auth", "stroz:tajne"],
        stdout=subprocess.PIPE,
        text=True,
    ) as simulator:
        try:
            assert simulator.stdout
            url = simulator.stdout.readline().strip()
            (tmp_path / "p").write_text("tajne")
            result = vms(
                "camera", "test", url, "--user", "stroz", "--password-file", tmp_path / "p", "--seconds", "2", "--json"
            )
        finally:
            simulator.send_signal(signal.SIGINT)
            simulator.wait(30)
    assert result.exit_code == 0, result.output
    (stream,) = json.loads(result.stdout)["streams"]
    assert (stream["codec"], stream["width"], stream["height"], stream["gop_seconds"]) == ("h264", 320, 240, 1.0)
    assert simulator.returncode == 130


@pytest.mark.network
async def test_main_and_sub_stream_are_received_at_once_and_h265_beside_an_h264_sub_is_no_trouble() -> None:
    footage = await asyncio.to_thread(prepare_small)
    async with running(SimulatorOptions((footage[1],), cameras=1, port=0)) as simulator:
        camera_id = uuid4()
        streams = tuple(
            Stream(uuid4(), camera_id, kind, simulator.url("cam0", sub=kind is StreamKind.SUB), True)
            for kind in (StreamKind.MAIN, StreamKind.SUB)
        )
        camera = Camera(camera_id, 1, "Rynek", uuid4(), streams)
        measuring = asyncio.create_task(measure_camera(camera, 1.0))
        async with asyncio.timeout(30):
            while sum(bool(s.sessions) for s in simulator.state().streams) < 2:
                assert not measuring.done()
                await asyncio.sleep(0.02)
            main, sub = await measuring
    assert main.report is not None
    assert sub.report is not None
    assert (main.kind, main.report.codec, sub.report.codec) == (StreamKind.MAIN, "hevc", "h264")
    assert ADD_H264_SUB not in main.report.advice
