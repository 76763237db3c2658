"""TLS of the web process: the certificate given in the settings, or one of an authority of the site's own.

Owns the folder `tls` in the data folder: `ca.key`, `ca.pem` (to be trusted by the workstations, once), `server.key`, `server.pem`.
The authority is made once and never replaced; the server's certificate is made anew when it runs out within a month or
the names and addresses it must speak for have changed. Keys have mode 0600.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from vms.durable import write_atomically
from vms.errors import UserError
from vms.settings import WebSection, local_host_name

AUTHORITY_DAYS = 3650
SERVER_DAYS = 397  # the most that browsers take
RENEW_DAYS = 30


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """What the server is started with. `authority`: to be trusted by browsers; None where the settings name a certificate."""

    certificate: Path
    key: Path
    authority: Path | None = None


def tls_files(section: WebSection, data: Path, now: datetime) -> TlsFiles | None:
    """None: plain HTTP, which is for loopback only. UserError when files cannot be read or written."""
    if section.certificate is not None and section.key is not None:
        for file in (section.certificate, section.key):
            if not os.access(file, os.R_OK):
                raise UserError(f"{file} cannot be read; correct the section [web] of the settings")
        return TlsFiles(section.certificate, section.key)
    if section.listen.is_loopback:
        return None
    folder = data / "tls"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        authority, key = _authority(folder, now)
        return _server(folder, authority, key, _names(section.listen.host), now)
    except OSError as error:
        raise UserError(f"{folder} cannot be used: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"what is in {folder} is no certificate of ours; restore it, or remove the folder") from error


def _authority(folder: Path, now: datetime) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    certificate_file, key_file = folder / "ca.pem", folder / "ca.key"
    if certificate_file.exists() and key_file.exists():
        return x509.load_pem_x509_certificate(certificate_file.read_bytes()), _load_key(key_file)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Stroz {local_host_name()}")])
    made = (
        _builder(name, name, key.public_key(), now, AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    _write_key(key_file, key)
    write_atomically(certificate_file, made.public_bytes(serialization.Encoding.PEM), 0o644)
    return made, key


def _server(
    folder: Path, authority: x509.Certificate, authority_key: ec.EllipticCurvePrivateKey,
    names: list[x509.GeneralName], now: datetime,
) -> TlsFiles:  # fmt: skip
    files = TlsFiles(folder / "server.pem", folder / "server.key", folder / "ca.pem")
    if files.certificate.exists() and files.key.exists():
        there = x509.load_pem_x509_certificates(files.certificate.read_bytes())[0]
        speaks_for = there.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        lasts = there.not_valid_after_utc > now + timedelta(days=RENEW_DAYS)
        if lasts and set(speaks_for) >= set(names) and there.issuer == authority.subject:
            return files
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, local_host_name())])
    made = (
        _builder(name, authority.subject, key.public_key(), now, SERVER_DAYS)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    _write_key(files.key, key)
    chain = made.public_bytes(serialization.Encoding.PEM) + authority.public_bytes(serialization.Encoding.PEM)
    write_atomically(files.certificate, chain, 0o644)
    return files


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))  # workstations' clocks may be behind
        .not_valid_after(now + timedelta(days=days))
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates, key_cert_sign=signs_certificates, crl_sign=signs_certificates,
        content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _names(host: str) -> list[x509.GeneralName]:
    """What the certificate speaks for: the address listened on, or all of this machine's; its name; loopback."""
    names: list[x509.GeneralName] = [x509.DNSName("localhost"), x509.DNSName(local_host_name())]
    with contextlib.suppress(OSError, UnicodeError):
        full = socket.getfqdn()
        if full.isascii() and 0 < len(full) < 254 and "." in full and not full[0].isdigit():
            names.append(x509.DNSName(full))
    addresses = {"127.0.0.1", "::1"}
    try:
        given = ipaddress.ip_address(host)
        addresses |= set() if given.is_unspecified else {str(given)}
    except ValueError:
        names.append(x509.DNSName(host))
        given = None
    if given is None or given.is_unspecified:
        with contextlib.suppress(OSError, UnicodeError):
            addresses |= {str(info[4][0]).partition("%")[0] for info in socket.getaddrinfo(socket.gethostname(), None)}
        addresses |= _outward_address()
    names += [x509.IPAddress(ipaddress.ip_address(a)) for a in sorted(addresses)]
    return list(dict.fromkeys(names))


def _outward_address() -> set[str]:
    """The address by which this machine reaches others. Nothing is sent."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # TEST-NET-1 (RFC 5737)
        return {str(probe.getsockname()[0])}
    return set()


def _write_key(file: Path, key: ec.EllipticCurvePrivateKey) -> None:
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    write_atomically(file, pem, 0o600)


def _load_key(file: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(file.read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("not a key of ours")  # noqa: TRY004 - what a file that is none of ours gives
    return key


def utc_now() -> datetime:
    return datetime.now(UTC)
