"""Object stores: bytes under keys, written once. `base` says what is promised; a folder and S3 keep the promise."""

from storage.objects.base import ObjectInfo, ObjectStore, journal_key, put_once, segment_key
from storage.objects.folder import FolderStore
from storage.objects.s3 import S3Store
from storage.objects.s3_wire import S3Location

__all__ = [
    "FolderStore",
    "ObjectInfo",
    "ObjectStore",
    "S3Location",
    "S3Store",
    "journal_key",
    "put_once",
    "segment_key",
]
