"""Long runs that can be split: what several of them found, added up, and how each of them ends."""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

RUNS = ("clock_run", "kill_run", "neighbours_run", "power_run", "soak", "store_run")


@pytest.mark.parametrize("name", RUNS)
def test_results_of_a_run_in_parts_are_added_up(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = importlib.import_module(f"tests.support.{name}")
    empty = asdict(module.Figures())
    counted = next(
        key for key, value in empty.items() if value == 0 and not key.startswith(("worst", "cam", "sim", "good"))
    )
    worst = next((key for key, value in empty.items() if key.startswith("worst") and value == 0), None)
    parts = []
    for number, problems in ((3, []), (5, ["a camera lost a picture"])):
        parts.append(tmp_path / f"{number}.json")
        figures = empty | {counted: number, "problems": problems} | ({worst: number} if worst else {})
        parts[-1].write_text(json.dumps(figures))
    whole = tmp_path / "whole.json"
    for files, code in ((parts[:1], 0), (parts, 1)):
        monkeypatch.setattr(sys, "argv", [name, "--json", str(whole), "--merge", *map(str, files)])
        assert module.main() == code
    found = json.loads(whole.read_text())
    assert json.loads(capsys.readouterr().out.split("\n}\n")[1] + "}") == found
    assert (found[counted], found["problems"]) == (8, ["a camera lost a picture"])
    assert worst is None or found[worst] == 5
    assert found.keys() >= empty.keys()
