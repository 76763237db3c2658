"""A folder store that is there, as after `check`, without asking it anything."""

from __future__ import annotations

from pathlib import Path

from storage.objects import FolderStore
from storage.objects.folder import INCOMING


def made_store(root: Path) -> FolderStore:
    (root / INCOMING).mkdir(parents=True, exist_ok=True)
    return FolderStore(root)
