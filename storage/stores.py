"""The names by which the catalogue knows a site's stores, and what the deleter sees of them, the spool included.

A store's name is for ever: copies go on naming it when settings point elsewhere. So a folder is `folder:<path>`, a
bucket `s3:<endpoint>/<bucket>`, the spool of a host `spool:<host>`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from storage.catalogue.values import StoreInfo, StoreKind
from storage.objects.base import ObjectStore
from storage.spool import Spool
from vms import settings
from vms.errors import SpoolError, StoreError, StoreUnavailable


def object_store_info(section: settings.StoreSection) -> StoreInfo:
    """What the catalogue calls the configured object store."""
    if section.kind is settings.StoreKind.FOLDER:
        return StoreInfo(f"folder:{section.path}", StoreKind.FOLDER)
    return StoreInfo(f"s3:{section.endpoint}/{section.bucket}", StoreKind.S3)


def spool_info(host: str) -> StoreInfo:
    """What the catalogue calls a host's spool."""
    return StoreInfo(f"spool:{host}", StoreKind.SPOOL, host)


@dataclass(frozen=True, slots=True)
class StoreCopies:
    """An object store as the deleter sees it. What is being uploaded this moment is left for the next run: gone before
    it has arrived, it would stay for ever.
    """

    store: ObjectStore
    is_uploading: Callable[[str], bool]

    async def delete(self, key: str) -> None:
        """Remove the object with all its versions. A missing one is no error. Raises StoreError."""
        if self.is_uploading(key):
            raise StoreError(f"{key} is being uploaded just now")
        await self.store.delete(key)


@dataclass(frozen=True, slots=True)
class SpoolCopies:
    """A spool as the deleter sees it: keys are the names of sealed files."""

    spool: Spool

    async def delete(self, key: str) -> None:
        """Remove a sealed file. A missing one is no error. Raises StoreUnavailable when the disk refuses."""
        if Path(key).name != key:
            raise ValueError(f"{key!r} is not the name of a file in a spool")
        try:
            await asyncio.to_thread(self.spool.forget, self.spool.sealed_path / key)
        except SpoolError as error:
            raise StoreUnavailable(str(error)) from error
