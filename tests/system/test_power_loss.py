"""R-02, the short form of `make power`: power lost at calls of a real recorder's run, and what salvage makes of the rest."""

from __future__ import annotations

import pytest

from tests.support.power_run import run_power

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


async def test_two_seconds_are_lost_at_most_and_what_is_left_agrees() -> None:
    found = await run_power(4.0, 25, 10, 20261127)
    assert found.problems == []
    assert found.cuts > 15
    assert found.salvaged > 10  # part files were there to be salvaged
    assert found.segments > 10
