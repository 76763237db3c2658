"""Sealing of small secrets (camera passwords, the recorder's assignment) with the site's key.

AES-256-GCM (NIST SP 800-38D) with a random 96-bit nonce. The context says what is sealed ("camera password <id>"); it
is authenticated, not stored, so a sealed value moved to another place does not open there. Owns no files.

Sealed form, version 1: 0x01, nonce (12 bytes), ciphertext, tag (16 bytes).
"""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from vms.errors import MalformedError

KEY_BYTES = 32
_VERSION = b"\x01"
_NONCE_BYTES = 12
_TAG_BYTES = 16


class Sealer:
    """Seals and unseals with one key of 32 bytes. Safe to share between threads."""

    __slots__ = ("_cipher",)

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"a site key has {KEY_BYTES} bytes, not {len(key)}")
        self._cipher = AESGCM(key)

    def seal(self, plain: bytes, context: str | bytes) -> bytes:
        """`plain` encrypted and bound to `context`; 29 bytes longer, different on every call."""
        nonce = os.urandom(_NONCE_BYTES)
        return _VERSION + nonce + self._cipher.encrypt(nonce, plain, _VERSION + _as_bytes(context))

    def unseal(self, sealed: bytes, context: str | bytes) -> bytes:
        """What was sealed under `context`; MalformedError when key, context or a single bit differ."""
        if sealed[:1] != _VERSION or len(sealed) < 1 + _NONCE_BYTES + _TAG_BYTES:
            raise MalformedError(_where(context), "is not something this version sealed")
        nonce, body = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        try:
            return self._cipher.decrypt(nonce, body, _VERSION + _as_bytes(context))
        except InvalidTag as error:
            raise MalformedError(
                _where(context), "does not open: it was changed, or sealed with another site.key"
            ) from error


def _as_bytes(context: str | bytes) -> bytes:
    return context.encode() if isinstance(context, str) else context


def _where(context: str | bytes) -> str:
    return f"sealed {context if isinstance(context, str) else context.decode(errors='replace')}"
