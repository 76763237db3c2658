"""What a process holds in memory stays there: passwords of cameras, stores and people, and everybody's pictures.

Owns two refusals, of a core dump on disk and of other processes of the same user that would read memory or environment.
Each process of ours begins with `keep_memory_private`; only the limit is inherited over exec, so each says it again. What
went wrong is told by `faulthandler`, whose stacks hold no values.
"""

from __future__ import annotations

import ctypes
import resource
import sys

_PR_SET_DUMPABLE = 4  # prctl(2)


def keep_memory_private() -> None:
    """No core file from now on, whatever the parent allowed, nor a core piped to a collector, which knows no limit (core(5)).

    Then `/proc/PID/mem`, `environ`, `maps`, `fd` and ptrace are root's alone. May be repeated.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
