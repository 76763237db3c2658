"""Running the hot path from its sources where it was compiled too (`scripts/compile.py`)."""

from __future__ import annotations

import sys
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, SourceFileLoader
from pathlib import Path

OURS = tuple(Path(__file__).resolve().parent.parent.parent / name for name in ("vms", "recorder", "storage"))


def run_from_sources() -> None:
    """Have this process import nothing compiled of ours. Call it before the first import of ours."""

    def ours(path: str) -> FileFinder:
        if not any(Path(path).resolve().is_relative_to(folder) for folder in OURS):
            raise ImportError(path)
        return FileFinder(path, (SourceFileLoader, SOURCE_SUFFIXES))

    sys.path_hooks.insert(0, ours)
    sys.path_importer_cache.clear()
