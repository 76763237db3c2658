"""Signed heads of the audit log: the site's audit key, and notes that anybody with its public half can check.

A checkpoint is a note of the form C2SP tlog-checkpoint (signed-note, Ed25519): origin, size, root in base64, and a line
with the signature. Two notes of one log that do not fit together prove that it was rewritten, so they are worth keeping
elsewhere. The key is a file of its own in the data folder, mode 0600, sealed with the site's key: made at first use and
never replaced. Does not own the log (`storage.catalogue.audit_log`).
"""

from __future__ import annotations

import base64
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from storage.catalogue import Catalogue, StoredCheckpoint
from vms.durable import sync_directory, write_all
from vms.errors import MalformedError, UserError
from vms.sealing import Sealer

KEY_FILE = "audit.key"
_CONTEXT = "audit signing key"
_ED25519 = b"\x01"  # the signature type of the key id (C2SP signed-note)
_KEY_ID_BYTES = 4


@dataclass(frozen=True)
class AuditKey:
    """Signs and recognises heads."""

    private: Ed25519PrivateKey

    @classmethod
    def open(cls, folder: Path, sealer: Sealer) -> AuditKey:
        """The key in `folder`, made if there is none. UserError when the file cannot be used."""
        file = folder / KEY_FILE
        try:
            sealed = file.read_bytes()
        except FileNotFoundError:
            sealed = _create(file, sealer)
        except OSError as error:
            raise UserError(f"{file} cannot be read: {error.strerror}") from error
        try:
            return cls(Ed25519PrivateKey.from_private_bytes(sealer.unseal(sealed, _CONTEXT)))
        except (MalformedError, ValueError) as error:
            raise UserError(f"{file} is not this site's audit key; restore it from your backup") from error

    @property
    def origin(self) -> str:
        """Names the log in its notes."""
        return origin_of(self.public)

    @property
    def public(self) -> bytes:
        return self.private.public_key().public_bytes_raw()

    @property
    def key_id(self) -> str:
        """By which its notes name the key (C2SP signed-note), hex."""
        return _key_id(self.origin, self.public).hex()

    def sign(self, size: int, root: bytes, at_ns: int) -> StoredCheckpoint:
        """The note of this head."""
        text = f"{self.origin}\n{size}\n{base64.b64encode(root).decode()}\nat {at_ns}\n"
        signature = base64.b64encode(_key_id(self.origin, self.public) + self.private.sign(text.encode())).decode()
        return StoredCheckpoint(size, at_ns, root, f"{text}\n— {self.origin} {signature}\n")

    def is_signed(self, checkpoint: StoredCheckpoint) -> bool:
        """Whether this key signed that head."""
        return check_note(checkpoint.note, self.public) == (checkpoint.size, checkpoint.root)


def origin_of(public_key: bytes) -> str:
    """Unique to the key, so that notes of two sites are not taken for each other's."""
    return f"stroz/{hashlib.sha256(public_key).hexdigest()[:16]}"


def check_note(note: str, public_key: bytes) -> tuple[int, bytes] | None:
    """Size and root that a note states, if that key signed it. Needs nothing but these two."""
    origin = origin_of(public_key)
    text, separator, signed = note.partition("\n\n")
    text += "\n"
    lines = text.split("\n")
    dash, _, rest = signed.strip().partition(" ")
    name, _, encoded = rest.rpartition(" ")
    if not separator or dash != "—" or name != origin or len(lines) < 4 or lines[0] != origin:
        return None
    try:
        signature = base64.b64decode(encoded, validate=True)
        size, root = int(lines[1]), base64.b64decode(lines[2], validate=True)
        if signature[:_KEY_ID_BYTES] != _key_id(origin, public_key):
            return None
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature[_KEY_ID_BYTES:], text.encode())
    except (ValueError, InvalidSignature):
        return None
    return size, root


async def sign_head(catalogue: Catalogue, key: AuditKey, at_ns: int) -> StoredCheckpoint | None:
    """Sign the log's head if it grew since the last time, and keep the note. None: it has not, or is empty."""
    head = await catalogue.audit_head()
    if not head.size:
        return None
    checkpoint = key.sign(head.size, head.root, at_ns)
    return checkpoint if await catalogue.put_checkpoint(checkpoint) else None


def _key_id(origin: str, public_key: bytes) -> bytes:
    return hashlib.sha256(origin.encode() + b"\n" + _ED25519 + public_key).digest()[:_KEY_ID_BYTES]


def _create(file: Path, sealer: Sealer) -> bytes:
    """A new key, complete or absent; where another process was first, that one's."""
    sealed = sealer.seal(Ed25519PrivateKey.generate().private_bytes_raw(), _CONTEXT)
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            write_all(descriptor, sealed)
            os.fsync(descriptor)
            os.link(draft, file)
        except FileExistsError:
            return file.read_bytes()
        finally:
            os.close(descriptor)
            draft.unlink()
        sync_directory(file.parent)
    except OSError as error:
        raise UserError(f"{file} cannot be written: {error.strerror}") from error
    return sealed
