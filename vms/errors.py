"""The exception tree. Foreign exceptions are translated to these at the adapter that talks to the foreign library.

VmsError
├── UserError          a person's input cannot be carried out; the message says what to do; nothing was changed
│   └── ChangedMeanwhile   somebody else was first: look again
├── MalformedError     bytes from outside do not parse (RTSP, SDP, RTP, MP4, fact files); carries where
├── SourceError        one attempt to receive a stream ended; carries the `GapReason` the gap will state
├── StoreError         the object store did not do what was asked
│   ├── StoreUnavailable   cannot be reached or answers 5xx: try again later
│   │   └── StoreFull          has no room left: what has expired must go first
│   ├── StoreDenied        credentials or permissions are wrong: trying again will not help
│   ├── ObjectMissing      no object under this key
│   ├── ObjectExists       create-only put, and the key is taken
│   └── DigestMismatch     the bytes are not those the digest names
├── CatalogueError     the catalogue did not do what was asked
│   └── CatalogueUnavailable   cannot be reached: try again later
├── SpoolError         the spool's disk refused a write; carries the `GapReason` (spool full, disk error)
└── DeliveryError      an alarm could not be handed over to its destination; try again later
"""

from __future__ import annotations

from vms.model import GapReason


class VmsError(Exception):
    """Root of everything the house raises on purpose."""


class UserError(VmsError):
    """A short message in plain words that says what to do next. Shown without a traceback; exit code 2."""


class ChangedMeanwhile(UserError):
    """What was to be changed is no longer what the person had looked at."""


class MalformedError(VmsError):
    """Bytes from outside that do not parse.

    `where` names the format and place ("SDP line 7", "RTP header"), `offset` the byte if known.
    """

    def __init__(self, where: str, problem: str, offset: int | None = None) -> None:
        super().__init__(f"{where}: {problem}" + (f" (byte {offset})" if offset is not None else ""))
        self.where = where
        self.problem = problem
        self.offset = offset


class SourceError(VmsError):
    """One attempt to receive a stream ended. `reason` goes into the gap; the message is for people, credentials redacted."""

    def __init__(self, reason: GapReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class StoreError(VmsError):
    """The object store did not do what was asked."""


class StoreUnavailable(StoreError):
    """Cannot be reached, timed out or answered 5xx. Worth another try later."""


class StoreFull(StoreUnavailable):
    """Has no room left. Worth another try once what has expired is gone, or somebody gave it more disk."""


class StoreDenied(StoreError):
    """Credentials or permissions are wrong. Trying again will not help."""


class ObjectMissing(StoreError):
    """No object under this key (or version)."""


class ObjectExists(StoreError):
    """A create-only put found the key taken; what is there was not touched."""


class DigestMismatch(StoreError):
    """The bytes received or stored are not those the digest names."""


class CatalogueError(VmsError):
    """The catalogue did not do what was asked."""


class CatalogueUnavailable(CatalogueError):
    """Cannot be reached. Worth another try later."""


class SpoolError(VmsError):
    """The spool's disk refused a write. `reason` is SPOOL_FULL or DISK_ERROR and goes into the gap."""

    def __init__(self, reason: GapReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class DeliveryError(VmsError):
    """An alarm could not be handed over. Worth another try later; the message names the destination without secrets."""
