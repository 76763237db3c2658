"""Object stores: bytes under keys, written once. `base` says what is promised; a folder and S3 keep the promise.

The S3 store is loaded when first asked for: its SDK takes a quarter of a second, which whoever only builds keys or
keeps objects in a folder need not wait for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from storage.objects.base import ObjectInfo, ObjectStore, journal_key, put_once, segment_key
from storage.objects.folder import FolderStore
from vms.settings import StoreKind, StoreSection

if TYPE_CHECKING:
    from storage.objects.s3 import S3Store
    from storage.objects.s3_wire import S3Location

__all__ = [
    "FolderStore",
    "ObjectInfo",
    "ObjectStore",
    "S3Location",
    "S3Store",
    "journal_key",
    "open_store",
    "put_once",
    "segment_key",
]


def open_store(section: StoreSection) -> ObjectStore:
    """The store that the settings name. Nothing is connected yet; `check` does. Raises `UserError`."""
    if section.kind is StoreKind.FOLDER:
        return FolderStore(section.path)
    from storage.objects import s3, s3_wire  # noqa: PLC0415 - on demand

    location = s3_wire.S3Location(
        endpoint=f"{'https' if section.tls else 'http'}://{section.endpoint}",
        bucket=section.bucket,
        access_key=section.access_key.reveal(),
        secret_key=section.secret_key.reveal(),
        region=section.region,
        ca_file=section.ca_file,
    )
    return s3.S3Store(location)


def __getattr__(name: str) -> Any:
    if name not in ("S3Location", "S3Store"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from storage.objects import s3  # noqa: PLC0415 - on demand

    return getattr(s3, name)
