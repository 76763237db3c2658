"""Whether a test has the machine to itself: limits in time are the asked ones then, and looser ones beside other tests."""

from __future__ import annotations

import os
from typing import TypeVar

Number = TypeVar("Number", int, float)


def alone() -> bool:
    """No other test runs at the same time: pytest without workers, as `make browser` has it, or with a single one."""
    return os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1") == "1"


def limit(asked: Number, *, beside: Number) -> Number:
    """What is asked for, or `beside` while other tests run."""
    return asked if alone() else beside
