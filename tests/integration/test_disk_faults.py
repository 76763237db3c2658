"""R-05: every kind of call to the disk refused, in every place; the process goes on, says why, and nothing is half written.

A sample of each; all of them with `python -m tests.support.disk_faults --most 1000`.
"""

from __future__ import annotations

import random

import pytest

from tests.support.disk_faults import run
from tests.support.failing_disk import missing

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

LEAST = {  # kinds of calls and places that must have been among those refused
    "recording": ("open /open", "write /open", "sync /open", "attribute /open", "rename /sealed", "write /facts", "sync /spool"),
    "archiving": (
        "write /.incoming", "sync /.incoming", "rename /segments", "sync /segments", "rename /journals", "write archiver.json",
        "rename archiver.json", "write catalogue.db-wal", "sync catalogue.db-wal", "unlink /sealed", "unlink /segments",
    ),
    "exporting": ("open /out", "write /out", "sync /out", "rename /out", "write access.log", "sync access.log"),
}  # fmt: skip


@pytest.mark.parametrize("name", LEAST)
def test_every_kind_of_call_refused_once(name: str) -> None:
    if reason := missing():
        pytest.skip(reason)
    seed = random.SystemRandom().randrange(1 << 31)
    print(f"seed {seed}")
    result = run(name, seed, 1)
    assert result.problems == [], f"seed {seed}"
    for what in LEAST[name]:
        for error in ("ENOSPC", "EIO"):
            assert any(key.startswith(f"{name}: {what}, {error}") for key in result.refused), (what, error, seed)
