"""Waiting for something to come true: polled with a deadline, never slept for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

PAUSE_S = 0.01  # between two looks of a test at itself; what asks other processes looks less often


async def until(
    condition: Callable[[], object] | Callable[[], Awaitable[object]],
    seconds: float = 30.0,
    what: str = "it",
    *,
    pause_s: float = PAUSE_S,
) -> Any:
    """The first true answer of `condition`, a function or a coroutine function; what it was about when time is over."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if isinstance(found, Awaitable):
            found = await found
        if found:
            return found
        assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s"
        await asyncio.sleep(pause_s)
