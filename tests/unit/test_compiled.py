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
    """Everything that depacketisers, wires and clock maps say of streams made from `seed`, and what the live sender puts
    on the wire, as one digest."""
    from tests.fuzz import fuzz_video_runs
    from tests.support import clock_histories
    from vms.media import video_units
    from web.live import sender

    said, rng = hashlib.sha256(), random.Random(seed)
    for _ in range(INPUTS):
        said.update(repr(fuzz_video_runs.three_ways(rng.randbytes(90))).encode())
    for number in range(3):
        outcome = clock_histories.play(clock_histories.draw(seed + number))
        said.update(repr((outcome.mappings, outcome.placed, outcome.run_clocks)).encode())
    for datagram in live_datagrams(rng):
        said.update(datagram)
    return json.dumps([sender.__file__.endswith(".so") and video_units.__file__.endswith(".so"), said.hexdigest()])


def live_datagrams(rng: random.Random) -> list[bytes]:
    """What a viewer is sent of pictures of all sizes, with requests for repeats between them."""
    from tests.unit.web.test_live_sender import MS, Bench
    from vms.model import AccessUnit, TimedUnit
    from web.live.packets import LiveUnit

    found = []
    for tag, segments in ((16, True), (10, False)):
        bench = Bench(tag=tag, segments=segments, key=rng.randbytes(30))
        try:
            for number in range(60):
                nals = [bytes((0x65 if number % 20 == 0 else 0x41,)) + rng.randbytes(rng.randrange(1, 30_000))]
                nals += [b"\x06" + rng.randbytes(rng.randrange(1, 300)) for _ in range(rng.randrange(3))]
                data = b"".join(len(nal).to_bytes(4, "big") + nal for nal in nals)
                unit = AccessUnit(0, data, number % 20 == 0, bench.config, 0)
                bench.sender.push(LiveUnit(TimedUnit(unit, 1_790_000_000_000_000_000 + number * 40 * MS)))
                bench.clock.advance(40 * MS)
                if number % 7 == 6:
                    bench.sender.repeat([(1000 + rng.randrange(200)) & 0xFFFF for _ in range(5)])
                found += bench.datagrams()
        finally:
            bench.close()
    assert len(found) > INPUTS
    return found


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
    for name in ("vms/media", "vms/rtsp", "recorder", "web/live", "scripts"):
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
