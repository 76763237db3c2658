"""R-03, R-04 in short: a real store that goes away, fails, cuts, loses and doubles, under a recorder that records on.

The long form is `make store-faults`.
"""

from __future__ import annotations

import random

import pytest

from tests.support.store_run import FAULTS, run

pytestmark = [pytest.mark.network, pytest.mark.slow, pytest.mark.timeout(300)]


def test_no_fault_of_the_store_costs_a_picture_or_an_object() -> None:
    seed = random.SystemRandom().randrange(1 << 31)
    print(f"seed {seed}")
    names = [name for name in FAULTS if name not in ("silence", "delay")]  # these end by time-outs of half a minute
    found = run("seaweedfs", names, 5.0, 4, seed, calm=0.0)  # longer than a segment
    assert found.problems == [], f"seed {seed}"
    assert found.pictures > 0
    assert found.lost == 0
    assert found.segments == found.objects > 4 * len(names)
    assert found.faults["error"]["befell"]["error"] > 0
    assert found.faults["away"]["worst_backlog_segments"] > 0
