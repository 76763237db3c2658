"""`vms rebuild` with a page cache of 2 MB instead of 32: what still grows is ours, and not a cache on its way to be full.

Usage: python -m bench.lean_rebuild --data FOLDER rebuild [--json]
"""

from __future__ import annotations

from storage.catalogue import engine
from vms.cli import main

engine.PAGE_CACHE_KIB = 2048

if __name__ == "__main__":
    main()
