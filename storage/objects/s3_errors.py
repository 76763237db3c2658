"""The one place where an S3 server's refusals and its clients' exceptions become the house's errors.

Messages are made for people and from known parts: the store's name, what was asked, the S3 error code. No header, no
signature and no credential ever goes into one.
"""

from __future__ import annotations

import http.client
import re
import ssl
from xml.etree.ElementTree import ParseError

import urllib3.exceptions
from minio.error import InvalidResponseError, MinioException, S3Error, ServerError

from vms.errors import DigestMismatch, ObjectExists, ObjectMissing, StoreDenied, StoreError, StoreFull, StoreUnavailable

FOREIGN = (MinioException, urllib3.exceptions.HTTPError, http.client.HTTPException, ParseError, OSError, ValueError)

_CODE = re.compile(rb"<Code>([A-Za-z0-9.]{1,80})</Code>")
_DIGEST_CODES = {
    "BadDigest",
    "InvalidDigest",
    "XAmzContentSHA256Mismatch",
    "XAmzContentChecksumMismatch",
    "InvalidChecksum",
    "XMinioInvalidChecksum",
}
_DENIED_ADVICE = {
    "InvalidAccessKeyId": "the access key is not known there: check the access key in the settings",
    "SignatureDoesNotMatch": "the secret key does not fit the access key: check both in the settings",
    "AuthorizationHeaderMalformed": "the region is wrong: set the bucket's own region in the settings",
    "RequestTimeTooSkewed": "this machine's clock and the store's differ by more than 15 minutes: set both right (NTP)",
    "NoSuchBucket": "the bucket is not there: create it, or let `vms` create it at its start",
    "InvalidBucketName": "the store does not accept this bucket name: choose another in the settings",
    "BucketAlreadyExists": "the bucket belongs to somebody else: choose another name in the settings",
}
_TRY_LATER_CODES = {
    "SlowDown",
    "RequestTimeout",
    "OperationAborted",
    "ConditionalRequestConflict",
    "IncompleteBody",
    "InternalError",
    "ServiceUnavailable",
}


def code_in(body: bytes) -> str:
    """The S3 error code in an error document, "" when there is none (HEAD has no body)."""
    found = _CODE.search(body)
    return found[1].decode() if found else ""


def refused(status: int, code: str, store: str, what: str) -> StoreError:
    """The error for an answer that is no success. `what` names the request: "put segments/…"."""
    said = f"{store}: {what}: HTTP {status}" + (f" {code}" if code else "")
    if status == 412 or code == "PreconditionFailed":
        return ObjectExists(said)
    if code in _DIGEST_CODES:
        return DigestMismatch(said)
    if status == 507:  # RFC 4918 §11.5; MinIO: XMinioStorageFull
        return StoreFull(f"{said}: the store is full; give it more disk")
    if code in _TRY_LATER_CODES or status >= 500 or status in (408, 409, 429):
        return StoreUnavailable(said)
    if code in _DENIED_ADVICE:
        return StoreDenied(f"{said}; {_DENIED_ADVICE[code]}")
    if status == 404 or code in ("NoSuchKey", "NoSuchVersion"):
        return ObjectMissing(said)
    if status in (301, 307, 308):
        return StoreDenied(f"{said}; the endpoint or region is wrong: name the bucket's own in the settings")
    if status in (401, 403):
        return StoreDenied(
            f"{said}; check the access key and the secret key in the settings, and that they may list, read and write "
            "this bucket"
        )
    return StoreError(said)


def translated(error: Exception, store: str, what: str) -> StoreError:
    """The error for a foreign exception of `FOREIGN`; certificate trouble is told apart from a store that is away."""
    if isinstance(error, S3Error):
        return refused(error.response.status, error.code or "", store, what)
    if isinstance(error, ServerError):
        return refused(error.status_code, "", store, what)
    if isinstance(error, InvalidResponseError):
        return StoreUnavailable(f"{store}: {what}: the answer is not S3's; is this the store's S3 port?")
    tls = _find(error, ssl.SSLError)
    if isinstance(tls, ssl.SSLCertVerificationError):
        return StoreDenied(
            f"{store}: the server's certificate is not trusted ({tls.verify_message}); name the file of its "
            "certificate authority in the settings"
        )
    if isinstance(tls, ssl.SSLError) and tls.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"):
        return StoreDenied(f"{store} does not speak TLS; use http:// in the endpoint, or the store's TLS port")
    if _find(error, ConnectionRefusedError):
        return StoreUnavailable(f"{store}: nothing listens there; is the store running, and is the port right?")
    # After the refusal: urllib3 counts every failed connection among its timeouts.
    if isinstance(error, TimeoutError) or _find(error, urllib3.exceptions.TimeoutError):
        return StoreUnavailable(f"{store}: {what}: no answer in time")
    system = _find(error, OSError)
    if isinstance(system, OSError) and system.strerror:
        return StoreUnavailable(f"{store}: {what}: {system.strerror}")
    return StoreUnavailable(f"{store}: {what}: the connection broke ({type(error).__name__})")


def _find(error: BaseException | None, kind: type[BaseException]) -> BaseException | None:
    """The first exception of `kind` in the chain of causes; urllib3 wraps its own in `reason`."""
    for _ in range(8):
        if error is None or isinstance(error, kind):
            return error
        reason = getattr(error, "reason", None)
        error = reason if isinstance(reason, BaseException) else error.__cause__ or error.__context__
    return None
