"""`keep_running`: the only retry loop in the house; and `contained`, for what serves many in turn.

One attempt is a coroutine that raises when it ends badly. This loop decides when the next one begins: expected errors
(`VmsError`) back off with jitter, anything else is a bug that is logged with its traceback and backed off for longer,
so that it stays with its own stream. Cancellation is the only stop signal.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from vms.clock import Clock, SystemClock
from vms.errors import VmsError

log = logging.getLogger(__name__)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits in seconds: `first`, then doubled up to `longest`, each cut by up to `jitter` of itself at random."""

    first: float = 0.5
    longest: float = 15.0
    jitter: float = 0.3
    after_bug: float = 30.0  # a bug is not cured by trying soon
    reset_after: float = 30.0  # an attempt that lasted this long was a success: start again from `first`

    def delay(self, failures: int, rng: random.Random) -> float:
        """Wait before the next attempt after `failures` ≥ 1 failures in a row."""
        full = min(self.longest, self.first * float(2 ** min(failures - 1, 16)))
        return full * (1.0 - self.jitter * rng.random())


def contained(name: str, serve: Callable[[_T], None], what: _T) -> bool:
    """Serve one of many: False when that met a bug, which is logged and does not reach the others."""
    try:
        serve(what)
    except Exception:
        log.exception("%s met a bug", name)
        return False
    return True


async def keep_running(
    name: str,
    attempt: Callable[[], Awaitable[None]],
    *,
    backoff: Backoff | None = None,
    clock: Clock | None = None,
    on_error: Callable[[Exception, float], None] | None = None,
    rng: random.Random | None = None,
) -> None:
    """Run `attempt` for ever. `on_error(error, wait_seconds)` hears of every ending before the wait begins."""
    backoff, clock, rng = backoff or Backoff(), clock or SystemClock(), rng or random.Random()  # noqa: S311 - jitter
    failures = 0
    while True:
        began = clock.mono_ns()
        try:
            await attempt()
            failures, wait = 0, backoff.first
        except VmsError as error:
            failures = 1 if clock.mono_ns() - began > backoff.reset_after * 1e9 else failures + 1
            wait = backoff.delay(failures, rng)
            log.info("%s ended: %s; next attempt in %.1f s", name, error, wait)
            if on_error:
                on_error(error, wait)
        except Exception as error:
            failures += 1
            wait = backoff.after_bug
            log.exception("%s met a bug; next attempt in %.0f s", name, wait)
            if on_error:
                on_error(error, wait)
        await clock.sleep(wait)
