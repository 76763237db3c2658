"""Metrics: every one documented, served on loopback and Unix sockets, merged with the process's name."""

from __future__ import annotations

import re
import socket
import stat
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from vms.errors import UserError
from vms.metrics import UNKNOWN, Metrics, MetricsServer, gather, metric_fields
from vms.settings import Listen, Secret

REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "metrics.md"
LOOPBACK = Listen("127.0.0.1", 0)


def fetch(url: str, token: str = "") -> str:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read().decode()


def reference_row(field: object) -> str:
    facts = field.metadata  # type: ignore[attr-defined]
    labels = ", ".join(f"`{label}`" for label in facts["labels"])
    return f"| `{facts['name']}` | {field.type.lower()} | {labels} | {facts['doc']} |"  # type: ignore[attr-defined]


def test_the_reference_describes_every_metric_as_the_code_does() -> None:
    page = REFERENCE.read_text(encoding="utf-8")
    rows = [r for r in re.findall(r"^\| `stroz_.*\|$", page, re.MULTILINE) if "process_up" not in r]
    assert rows == [reference_row(f) for f in metric_fields()]


def test_every_metric_is_set_by_some_process() -> None:
    root = Path(__file__).parents[3]
    sources = [
        p
        for room in ("vms", "recorder", "storage", "web")
        for p in (root / room).rglob("*.py")
        if p.name != "metrics.py"
    ]
    code = "\n".join(p.read_text(encoding="utf-8") for p in sources)
    assert [f.name for f in metric_fields() if not re.search(rf"metrics\.{f.name}\b", code)] == []


def test_each_process_has_metrics_of_its_own() -> None:
    one, two = Metrics.create(), Metrics.create()
    one.gaps.labels(12, "main", "stalled").inc()
    assert b'stroz_gaps_total{camera="12",reason="stalled",stream="main"} 1.0' in one.page()
    assert b'reason="stalled"' not in two.page()
    assert b"process_resident_memory_bytes" in two.page()


def test_a_gauge_that_was_never_set_is_on_no_page(tmp_path: Path) -> None:
    archiver, worker = Metrics.create(), Metrics.create()
    assert b"stroz_spool_hours" not in worker.page()
    archiver.spool_hours.set(12.5)
    archiver.retention_braked.set(0)
    worker.recording.labels("1", "main").set(0)
    sockets = {"archiver": tmp_path / "a", "recorder-0": tmp_path / "b"}
    with (
        MetricsServer.start(archiver.page, sockets["archiver"]),
        MetricsServer.start(worker.page, sockets["recorder-0"]),
    ):
        page = gather(sockets).decode()
    assert re.findall(r"^stroz_spool_hours.*$", page, re.MULTILINE) == ['stroz_spool_hours{process="archiver"} 12.5']
    assert 'stroz_retention_braked{process="archiver"} 0.0' in page
    assert 'stroz_recording{camera="1",process="recorder-0",stream="main"} 0.0' in page
    assert "stroz_upload_failures_total{error" not in page
    assert 'stroz_uploaded_bytes_total{process="recorder-0"} 0.0' in page  # counters begin at 0, as rates need it
    archiver.spool_hours.set(UNKNOWN)
    assert b"stroz_spool_hours" not in archiver.page()


def test_served_over_loopback() -> None:
    metrics = Metrics.create()
    metrics.access_units.labels(1, "sub").inc(5)
    with MetricsServer.start(metrics.page, LOOPBACK) as server:
        assert server.listen
        assert server.listen.port
        assert 'stroz_access_units_total{camera="1",stream="sub"} 5.0' in fetch(f"http://{server.listen}/metrics")
        with pytest.raises(urllib.error.HTTPError, match="404"):
            fetch(f"http://{server.listen}/")
    with pytest.raises(OSError, match="refused"), socket.create_connection((server.listen.host, server.listen.port), 5):
        pass


def test_a_token_is_asked_for() -> None:
    with MetricsServer.start(lambda: b"x 1\n", LOOPBACK, Secret("tajny")) as server:
        url = f"http://{server.listen}/metrics"
        assert fetch(url, "tajny") == "x 1\n"
        for wrong in ("", "inny"):
            with pytest.raises(urllib.error.HTTPError, match="401"):
                fetch(url, wrong)


def test_an_address_in_use_is_said() -> None:
    with MetricsServer.start(lambda: b"", LOOPBACK) as server:
        assert server.listen
        with pytest.raises(UserError, match=r"metrics\.listen"):
            MetricsServer.start(lambda: b"", server.listen)


def test_pages_of_several_processes_become_one(tmp_path: Path) -> None:
    pages = [Metrics.create(), Metrics.create()]
    for i, m in enumerate(pages):
        m.uploaded_bytes.inc(10 + i)
        m.loop_lag.observe(0.002)
    sockets = {name: tmp_path / f"{name}.sock" for name in ("worker-0", "archiver", "gone")}
    with (
        MetricsServer.start(pages[0].page, sockets["worker-0"]),
        MetricsServer.start(pages[1].page, sockets["archiver"]),
    ):
        assert stat.S_IMODE(sockets["archiver"].stat().st_mode) == 0o600
        page = gather(sockets).decode()
    assert not sockets["archiver"].exists()
    assert 'stroz_uploaded_bytes_total{process="worker-0"} 10.0' in page
    assert 'stroz_uploaded_bytes_total{process="archiver"} 11.0' in page
    assert 'stroz_loop_lag_seconds_bucket{le="0.0025",process="archiver"} 1.0' in page
    assert 'stroz_process_up{process="gone"} 0.0' in page
    assert 'stroz_process_up{process="archiver"} 1.0' in page
    assert page.count("# TYPE stroz_uploaded_bytes_total counter") == 1


def test_garbage_of_one_process_does_not_spoil_the_page(tmp_path: Path) -> None:
    with MetricsServer.start(lambda: b"stroz_x{ 1 2 3 }}}\n\xff", tmp_path / "a"):
        assert 'stroz_process_up{process="a"} 0.0' in gather({"a": tmp_path / "a"}).decode()


def test_a_socket_left_by_a_killed_process_is_replaced(tmp_path: Path) -> None:
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / "a"))
    left.close()
    with MetricsServer.start(lambda: b"x 1\n", tmp_path / "a"):
        assert "x{process" in gather({"a": tmp_path / "a"}).decode()


def test_an_older_process_leaves_its_successors_socket_alone(tmp_path: Path) -> None:
    file = tmp_path / "recorder.metrics"
    older = MetricsServer.start(lambda: b"stroz_older 1\n", file)
    newer = MetricsServer.start(lambda: b"stroz_newer 1\n", file)
    older.stop()
    assert b"stroz_newer" in gather({"recorder": file})
    newer.stop()
    assert not file.exists()
