"""A recorder worker under cProfile: its statistics go to a file when it ends.

Usage: python -m bench.engines.profiled_worker STATS_FILE --data DIR --index 0 --workers 1
"""

from __future__ import annotations

import cProfile
import sys

from recorder.worker import main as work


def main() -> None:
    stats_file = sys.argv.pop(1)
    profile = cProfile.Profile()
    try:
        profile.runcall(work)
    finally:
        profile.dump_stats(stats_file)


if __name__ == "__main__":
    main()
