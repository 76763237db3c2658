"""Archiver, deleter and salvage killed at every numbered step: the short form of `make crash-points`.

On a folder and SQLite at every call and commit of every step, and salvage; on the other pairs at a share of them, another one every
day (on a server always the same).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from storage.objects import embedded
from tests.support.crashes.archive import NUMBERED
from tests.support.crashes.run import main, merge, missed_steps, shortfalls, table
from tests.support.servers import postgres_programs

HOUSE = Path(__file__).resolve().parents[2]
SHARES = 16
pytestmark = [pytest.mark.network, pytest.mark.slow, pytest.mark.timeout(600)]


def crash(tmp_path: Path, *arguments: str) -> list[dict[str, Any]]:
    """What `tests.support.crashes.run` found. In a process of its own, for it forks."""
    result = tmp_path / "result.json"
    command = [sys.executable, "-m", "tests.support.crashes.run", *arguments, "--json", str(result)]
    done = subprocess.run(command, cwd=HOUSE, capture_output=True, text=True, check=False)
    assert result.exists(), done.stderr[-4000:]
    found: list[dict[str, Any]] = json.loads(result.read_text())
    return found


def test_at_every_numbered_step_on_a_folder_and_sqlite(tmp_path: Path) -> None:
    only, salvage = crash(tmp_path, "--stores", "folder", "--catalogues", "sqlite", "--points", "each")
    assert only["problems"] == []
    assert (only["kills"] > 60, only["not_reached"]) == (True, 0)
    assert missed_steps([only]) == []
    assert salvage["problems"] == []
    assert (salvage["kills"] > 30, salvage["not_reached"]) == (True, 0)


def test_at_some_steps_on_other_stores_and_catalogues(tmp_path: Path) -> None:
    if embedded.find_weed() is None or embedded.find_minio() is None or postgres_programs() is None:
        pytest.skip("needs SeaweedFS, MinIO and PostgreSQL")
    day = 0 if os.environ.get("CI") else datetime.now(UTC).date().toordinal()
    share = ("--points", "each", "--share", f"{day % (SHARES - 1) + 2}/{SHARES}")
    found = crash(tmp_path, "--stores", "folder,seaweedfs,minio", "--catalogues", "sqlite,postgres", *share)
    assert [(part["pair"], part["problems"]) for part in found if part["problems"]] == []
    assert [part["kills"] > 2 for part in found] == [True] * 6


def test_shares_of_a_pair_merge() -> None:
    part = {
        "pair": "folder, sqlite",
        "points": 9,
        "kills": 2,
        "not_reached": 0,
        "by_step": {"archive 1": 2},
        "seconds": 1.0,
    }
    (whole,) = merge([part | {"problems": []}, part | {"problems": ["x"], "by_step": {"archive 1": 1, "delete 2": 1}}])
    assert (whole["points"], whole["kills"], whole["problems"]) == (9, 4, ["x"])
    assert whole["by_step"] == {"archive 1": 3, "delete 2": 1}
    assert "folder, sqlite: nobody was killed at archive 3" in missed_steps([whole])


def test_a_pair_is_judged_where_every_point_of_it_was_tried() -> None:
    steps = dict.fromkeys(NUMBERED, 1)
    count = len(steps)
    whole = {"pair": "folder, sqlite", "points": count, "kills": count, "not_reached": 0, "by_step": steps}
    salvage = {"pair": "salvage", "points": 2, "kills": 2, "not_reached": 0, "by_step": {"salvage": 2}}
    assert shortfalls([whole, salvage]) == ([], [])
    missed = whole | {"by_step": {step: 1 for step in steps if step != "delete 2"}}
    says = "folder, sqlite: nobody was killed at delete 2"
    assert shortfalls([missed, salvage]) == ([says], [])
    assert shortfalls([missed | {"points": count + 1}]) == ([], [says])
    away = salvage | {"kills": 1, "not_reached": 1}
    assert shortfalls([whole, away]) == (["salvage: 1 points were not reached"], [])
    assert shortfalls([away | {"points": 9}]) == ([], ["salvage: 1 points were not reached"])


def test_the_command_fails_for_what_was_missed_of_a_whole_pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = {"pair": "folder, sqlite", "kills": 1, "not_reached": 0, "by_step": {"archive 1": 1}, "seconds": 1.0}
    file = tmp_path / "one.json"
    monkeypatch.setattr(sys, "argv", ["run", "--merge", str(file)])
    for points, code in ((1, 1), (2, 0)):
        file.write_text(json.dumps([part | {"points": points, "problems": []}]))
        assert main() == code


def test_what_is_written_of_it_is_what_was_found() -> None:
    """`python -m tests.support.crashes.run --table bench/results/crash-points.json`"""
    found = json.loads((HOUSE / "bench/results/crash-points.json").read_text())
    assert table(found) in (HOUSE / "docs/reliability.md").read_text()
