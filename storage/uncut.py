"""Awaiting a transaction to its end, also when the awaiting task is cancelled meanwhile.

A catalogue call cut off in the middle may leave its connection inside a transaction, and with SQLite that keeps every
other writer out. Such calls end by themselves within their own timeouts, so a cancellation can wait for them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def uncut(call: Coroutine[Any, Any, T]) -> T:
    """`call`'s result or error; a cancellation is delivered only after `call` has ended."""
    task = asyncio.ensure_future(call)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if not task.cancelled():
            await asyncio.wait([task])
            if not task.cancelled():
                task.exception()  # heard; the cancellation goes first
        raise
