"""Every fuzz target on its seeds, its regressions and a little noise; the long search is `make fuzz`."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.fuzz import mutate, targets

CASES = [(name, path) for name in targets.names() for path in targets.regressions(name)]


@pytest.mark.parametrize(("name", "path"), CASES, ids=[f"{name}-{path.name}" for name, path in CASES])
def test_regressions(name: str, path: Path) -> None:
    targets.load(name)(path.read_bytes())


@pytest.mark.parametrize("name", targets.names())
def test_seeds_and_noise(name: str) -> None:
    target, rng = targets.load(name), random.Random(name)
    seeds = [*targets.seeds(name), *(path.read_bytes() for path in targets.regressions(name))] or [b""]
    for data in seeds:
        target(data)
    for _ in range(200):
        target(
            mutate.mutate(rng.choice(seeds), seeds, rng) if rng.random() < 0.8 else rng.randbytes(rng.randrange(200))
        )
