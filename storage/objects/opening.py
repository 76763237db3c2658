"""The site's object store as its settings name it. Connects to nothing yet; `check` does."""

from __future__ import annotations

from storage.objects.base import ObjectStore
from storage.objects.folder import FolderStore
from storage.objects.s3 import S3Store
from storage.objects.s3_wire import S3Location
from vms.settings import StoreKind, StoreSection


def open_store(section: StoreSection) -> ObjectStore:
    """A folder or S3. Raises `UserError` for settings that cannot be a store."""
    if section.kind is StoreKind.FOLDER:
        return FolderStore(section.path)
    return S3Store(
        S3Location(
            endpoint=f"{'https' if section.tls else 'http'}://{section.endpoint}",
            bucket=section.bucket,
            access_key=section.access_key.reveal(),
            secret_key=section.secret_key.reveal(),
            region=section.region,
            ca_file=section.ca_file,
        )
    )
