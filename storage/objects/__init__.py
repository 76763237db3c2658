"""Object stores: bytes under keys, written once. `base` says what is promised; a folder and S3 keep the promise."""

from storage.objects.base import ObjectInfo, ObjectStore, journal_key, put_once, segment_key
from storage.objects.folder import FolderStore
from storage.objects.s3 import S3Store
from storage.objects.s3_wire import S3Location
from vms.settings import StoreKind, StoreSection

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
    location = S3Location(
        endpoint=f"{'https' if section.tls else 'http'}://{section.endpoint}",
        bucket=section.bucket,
        access_key=section.access_key.reveal(),
        secret_key=section.secret_key.reveal(),
        region=section.region,
        ca_file=section.ca_file,
    )
    return S3Store(location)
