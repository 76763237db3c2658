"""Every fuzz target on its regressions and on a little noise; the long search is `make fuzz`."""

from __future__ import annotations

import importlib.util
import random
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
_spec = importlib.util.spec_from_file_location("fuzz_run", HERE / "run.py")
assert _spec is not None and _spec.loader is not None  # noqa: PT018
run = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(run)

CASES = [(name, path) for name in run.names() for path in sorted((run.REGRESSIONS / name).glob("*"))]


@pytest.mark.parametrize(("name", "path"), CASES, ids=[f"{name}-{path.name}" for name, path in CASES])
def test_regressions(name: str, path: Path) -> None:
    run.load(name)(path.read_bytes())


@pytest.mark.parametrize("name", run.names())
def test_noise(name: str) -> None:
    target, rng = run.load(name), random.Random(name)
    seeds = [path.read_bytes() for other, path in CASES if other == name] or [b""]
    for _ in range(300):
        data = bytearray(rng.choice(seeds) if rng.random() < 0.7 else rng.randbytes(rng.randrange(200)))
        for _ in range(rng.randrange(6)):
            if data:
                data[rng.randrange(len(data))] = rng.choice((0, 1, 3, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        target(bytes(data))
