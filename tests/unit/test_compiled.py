"""The compiled hot path does what its sources do, and what runs is what stands there (`scripts/compile.py`)."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
INPUTS = 150


def told(seed: int) -> str:
    """Everything that depacketisers, wires and clock maps say of streams made from `seed`, as one digest."""
    from tests.fuzz import fuzz_video_runs
    from tests.support import clock_histories
    from vms.media import video_units

    said, rng = hashlib.sha256(), random.Random(seed)
    for _ in range(INPUTS):
        said.update(repr(fuzz_video_runs.three_ways(rng.randbytes(90))).encode())
    for number in range(3):
        outcome = clock_histories.play(clock_histories.draw(seed + number))
        said.update(repr((outcome.mappings, outcome.placed, outcome.run_clocks)).encode())
    return json.dumps([video_units.__file__.endswith(".so"), said.hexdigest()])


def of_a_process(seed: int, first: str) -> list[object]:
    program = f"{first}; from tests.unit.test_compiled import told; print(told({seed}))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answer: list[object] = json.loads(done.stdout)
    return answer


def test_compiled_and_sources_say_the_same() -> None:
    compiled, said = of_a_process(20261127, "pass")
    if not compiled:
        pytest.skip("the hot path is not compiled here: no compiler or no headers")
    from_sources = of_a_process(20261127, "from tests.support.sources import run_from_sources as s; s()")
    assert from_sources == [False, said]


def test_what_is_stale_is_noticed_and_never_run(tmp_path: Path) -> None:
    """In a tree of its own, with a compiler that fails: what was compiled of an older source goes."""
    for name in ("vms/media", "vms/rtsp", "recorder", "scripts"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    shutil.copy2(ROOT / "uv.lock", tmp_path)
    stale = tmp_path / "recorder" / "clockmap.cpython-311-x86_64-linux-gnu.so"
    stale.write_bytes(b"of yesterday")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(tmp_path / "scripts" / "compile.py"), *arguments]
        return subprocess.run(
            command, env={"CC": "no-such-compiler", "PATH": "/nowhere"}, capture_output=True, text=True, check=False
        )

    assert run("--check").returncode == 1
    done = run()
    assert (done.returncode, stale.exists()) == (0, False)
    assert "runs from its sources" in done.stdout
    assert run("--check").returncode == 0
