"""The benchmarks' pure parts: measuring trees, histograms, and the account of access units."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import measure, processes
from bench.accounts import MOST_UNDER_WAY, Sent, StoredUnit, compare
from bench.ingest import Outcome, judge, mb_per_camera, rows_of
from bench.scrape import quantile, spread
from bench.simulator import Accounts

BURN = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass\n"
TREE = (
    f"import subprocess, sys, time\nsubprocess.run([sys.executable, '-c', {BURN!r}])\n{BURN}print('done', flush=True)\n"
)


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_tree_counts_living_and_ended_children() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", TREE + "import signal; signal.pause()"], stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            seen = measure.sample(process.pid)
            assert seen.processes == 1
            assert 0.55 < seen.cpu_seconds < 3
            assert 1_000_000 < seen.pss_bytes < 500_000_000
            assert measure.sample(process.pid, memory=False).pss_bytes == 0
        finally:
            process.kill()


def test_a_process_that_is_gone_has_used_nothing() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    assert measure.sample(process.pid).processes == 0


def test_folder_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.mp4").write_bytes(b"x" * 1000)
    (tmp_path / "c.mp4").write_bytes(b"x" * 23)
    assert measure.folder_bytes(tmp_path) == 1023


def test_results_name_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "RESULTS", tmp_path / "results")
    facts = json.loads(measure.write_results("trial", {"answer": 42}).read_text())
    assert facts["answer"] == 42
    assert facts["machine"]["cores"] == os.cpu_count()


def test_leaving_the_block_stops_the_child_and_its_children(tmp_path: Path) -> None:
    script = "import subprocess\np = subprocess.Popen(['sleep', '60'])\nprint(p.pid, flush=True)\np.wait()\n"
    with processes.child("tree", (sys.executable, "-c", script), tmp_path) as one:
        grandchild = int(one.first_line())
    assert one.process.returncode == -signal.SIGTERM
    _until(lambda: not _alive(grandchild))


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def test_a_child_that_ended_is_said_with_its_last_words(tmp_path: Path) -> None:
    script = "import sys; sys.exit('no camera answers')"
    with (
        processes.child("engine", (sys.executable, "-c", script), tmp_path) as one,
        pytest.raises(processes.BenchError, match="no camera answers"),
    ):
        one.first_line()


def test_a_busy_machine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (1.5, 1.0, 1.0))
    monkeypatch.setattr(processes, "busy_share", lambda _seconds: 0.6)
    with pytest.raises(processes.BenchError, match="load average is"):
        processes.require_quiet(force=False)
    processes.require_quiet(force=True)


def test_a_load_that_is_only_remembered_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    loads = iter([(1.5, 1.0, 1.0), (0.9, 1.0, 1.0), (0.9, 1.0, 1.0)])
    monkeypatch.setattr(os, "getloadavg", lambda: next(loads, (0.3, 1.0, 1.0)))
    monkeypatch.setattr(processes, "busy_share", lambda _seconds: 0.01)
    monkeypatch.setattr(processes.time, "sleep", lambda _seconds: None)
    processes.require_quiet(force=False)


@pytest.mark.parametrize(
    ("buckets", "q", "expected"),
    [
        ({}, 0.5, 0.0),
        ({1.0: 0.0, math.inf: 0.0}, 0.5, 0.0),
        ({1.0: 10.0, 2.0: 10.0, math.inf: 10.0}, 0.5, 0.5),
        ({1.0: 0.0, 2.0: 10.0, math.inf: 10.0}, 0.5, 1.5),
        ({1.0: 5.0, math.inf: 10.0}, 0.99, math.inf),
    ],
)
def test_quantiles(buckets: dict[float, float], q: float, expected: float) -> None:
    assert quantile(buckets, q) == pytest.approx(expected)


def test_a_spread_is_of_what_came_between_two_readings() -> None:
    def page(low: float, high: float, total: float) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        name = "stroz_loop_lag_seconds"
        counts = {"0.01": low, "0.1": high, "+Inf": high}
        page = {(f"{name}_bucket", (("le", le),)): value for le, value in counts.items()}
        return page | {(f"{name}_count", ()): high, (f"{name}_sum", ()): total}

    found = spread(page(0, 50, 5.0), page(99, 150, 6.0), "loop_lag_seconds")
    assert found.count == 100
    assert found.mean == pytest.approx(0.01)
    assert found.p99 == pytest.approx(0.01)
    assert found.most == 0.1
    assert spread(page(0, 1, 1.0), page(0, 1, 1.0), "loop_lag_seconds").as_ms()["p99_ms"] == 0


# The account of access units

CLIP = Sent(duration=4 * 3600, pts=(0, 3600, 7200, 10800), sha256=("a", "b", "c", "d"))
BASE = 2**32 - 5000  # wraps within the first loop


def _session(first: int, last: int, lost: tuple[int, ...] = ()) -> dict[str, object]:
    return {"camera": "cam0", "first": first, "last": last, "base": BASE, "lost": list(lost)}


def _stored(first: int, last: int) -> list[StoredUnit]:
    """As a recorder stores them: unwrapped from the first timestamp on."""
    return [
        StoredUnit(BASE + index // 4 * CLIP.duration + CLIP.pts[index % 4], CLIP.sha256[index % 4], damaged=False)
        for index in range(first, last + 1)
    ]


@given(first=st.integers(0, 1000), count=st.integers(1, 60), after=st.integers(0, MOST_UNDER_WAY))
def test_everything_stored_is_sound(first: int, count: int, after: int) -> None:
    found = compare(CLIP, [_session(first, first + count - 1 + after)], _stored(first, first + count - 1))
    assert found.sound
    assert (found.stored, found.lost, found.under_way) == (count, 0, after)


@given(data=st.data(), count=st.integers(3, 40))
def test_every_missing_unit_is_found(data: st.DataObject, count: int) -> None:
    gone = data.draw(st.sets(st.integers(1, count - 2), min_size=1))
    stored = [unit for i, unit in enumerate(_stored(0, count - 1)) if i not in gone]
    found = compare(CLIP, [_session(0, count - 1, lost=tuple(gone))], stored)
    assert found.lost == len(gone)
    assert not found.sound


def test_what_else_can_be_wrong_with_stored_units() -> None:
    good = _stored(0, 9)
    changed = [*good[:3], StoredUnit(good[3].pts, "z", damaged=False), *good[4:]]
    assert compare(CLIP, [_session(0, 9)], changed).changed == 1
    assert compare(CLIP, [_session(0, 9)], [*good[:4], *good[3:]]).doubled == 1
    assert compare(CLIP, [_session(0, 9)], [good[1], good[0], *good[2:]]).disordered == 1
    assert compare(CLIP, [_session(0, 9)], [*good, StoredUnit(17, "a", damaged=False)]).unknown == 1
    assert compare(CLIP, [_session(0, 9)], [*good[:9], StoredUnit(good[9].pts, "b", damaged=True)]).damaged == 1
    assert not compare(CLIP, [_session(0, 200)], good).sound
    assert not compare(CLIP, [_session(0, 9)], good[1:]).sound
    assert not compare(CLIP, [_session(0, 9)], []).sound
    assert not compare(CLIP, [], good).sound
    assert not compare(CLIP, [_session(0, 4), _session(5, 9)], good).sound


def test_the_simulators_account_keeps_what_was_lost_on_the_way_out() -> None:
    accounts = Accounts()
    for index in (10, 11, 12, 15):
        accounts.note(
            {"camera": "cam0", "session": "1", "index": index, "pts": 5, "rtp": 3, "lost": index == 11, "key": False}
        )
    accounts.note({"event": "disconnect", "camera": "cam0"})
    (session,) = accounts._sessions.values()
    assert (session.first, session.last, session.base) == (10, 15, 2**32 - 2)
    assert session.lost == [11, 13, 14]


# The comparison of engines


def _outcome(engine: str, cpu_s: float, pss: int) -> Outcome:
    return Outcome(engine, 41, 30.0, cpu_s, 600_000_000, pss, 1, 1.0, 41, 100, ())


def test_ratio_and_memory_of_an_engine() -> None:
    outcomes = [_outcome("ffmpeg", 6.0, 400_000_000), _outcome("ours", 2.4, 90_000_000)]
    rows = rows_of(outcomes, {"ffmpeg": 20_000_000, "ours": 50_000_000})
    assert rows["ffmpeg"]["cpu_ms_per_mb"] == 10
    assert rows["ours"]["ratio_to_ffmpeg"] == pytest.approx(0.4)
    assert rows["ours"]["mb_per_camera"] == 1.0
    assert all("MISSED" not in line for line in judge(rows))
    assert any("MISSED" in line for line in judge(rows_of([_outcome("ours", 2.4, 190_000_000)], {"ours": 50_000_000})))
    assert mb_per_camera(Outcome("ours", 1, 1.0, 1.0, 1, 70_000_000, 1, 0.0, 1, 1, ()), 50_000_000) == 70
