"""The certificate the gateway shows in every DTLS handshake; its fingerprint stands in the answer.

aiortc's own certificates agree only with peers whose certificates are ECDSA as well. GStreamer before 1.24 and others
have RSA ones, so the suites for these are added. RFC 8827 §6.5 asks for ECDSA with P-256 of ourselves.
"""

from __future__ import annotations

import datetime as dt

from aiortc.rtcdtlstransport import RTCCertificate, SRTPProtectionProfile
from OpenSSL import SSL

RENEW_CERTIFICATE = dt.timedelta(days=20)  # of the 30 that aiortc gives one
CIPHERS = ":".join(
    f"ECDHE-{kind}-{cipher}" for cipher in ("AES128-GCM-SHA256", "CHACHA20-POLY1305") for kind in ("ECDSA", "RSA")
)


class OpenCertificate(RTCCertificate):
    """A P-256 certificate for peers with certificates of either kind."""

    def _create_ssl_context(self, srtp_profiles: list[SRTPProtectionProfile]) -> SSL.Context:
        context = super()._create_ssl_context(srtp_profiles)
        context.set_cipher_list(CIPHERS.encode())
        return context


class Certificates:
    """One certificate for all sessions, made anew in good time: making one for each would cost more than its handshake."""

    def __init__(self) -> None:
        self._certificate: OpenCertificate | None = None

    def __call__(self) -> OpenCertificate:
        now = dt.datetime.now(tz=dt.UTC)
        if self._certificate is None or self._certificate.expires - now < RENEW_CERTIFICATE:
            self._certificate = OpenCertificate.generateCertificate()
        return self._certificate
